"""Open calls that wait for a ticket, told at once what has become of it.

The feeds tell everybody everything, so with many who wait each grant would wake them all. Here a
ticket's id leads straight to those few, mostly one, whom it concerns. And the project's actor can
ask whether anybody is there: then it takes the grant up for them in the same transaction.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count

import attrs
import trio

from intermute.domain import limits
from intermute.domain.commands import HangUp
from intermute.domain.events import (
    ReservationCancelled,
    ReservationGranted,
    ReservationQueued,
    ReservationSkipped,
    TicketEvent,
)
from intermute.project.feeds import Published
from intermute.project.messages import Told

_ENDS = (ReservationGranted, ReservationSkipped, ReservationCancelled)


class HungUp(Exception):
    """The server stops, and whoever is on the line has to ask again."""


@attrs.frozen
class Word:
    """What has become of a ticket.

    Attributes:
        taken_up: The decision that took up what was granted, if that was done for the call.
    """

    event: TicketEvent
    taken_up: Told | None


@attrs.define(eq=False)
class Line:
    """One open call for one ticket.

    Attributes:
        sure: Everything that becomes of the ticket will be heard. Otherwise it may have ended
            before the call joined, which has to be looked up once.
    """

    sure: bool
    _moved: trio.Event = attrs.field(factory=trio.Event)
    _word: Word | None = None
    _hung_up: bool = False

    async def hear(self) -> Word | None:
        """How the ticket has ended; None when something may have become of it, to be looked up.

        Raises:
            HungUp: The server stops.
        """
        await self._moved.wait()
        if self._word is None:
            if self._hung_up:
                raise HungUp
            self._moved = trio.Event()
        return self._word

    def tell(self, word: Word | None) -> None:
        """Let the call hear it. What becomes of a ticket first is all that becomes of it."""
        self._word = self._word or word
        self._moved.set()

    def hang_up(self) -> None:
        self._hung_up = True
        self._moved.set()


class _Project:
    """The open calls of one project, and what is known of its tickets.

    Attributes:
        lines: Who is on the line.
        waiting: Tickets that are held open and that nothing has become of yet.
    """

    def __init__(self) -> None:
        self.lines: dict[str, list[Line]] = {}
        self.waiting: set[str] = set()

    def every_line(self) -> Iterator[Line]:
        for lines in self.lines.values():
            yield from lines


class OpenCalls:
    """The open calls of all projects, by tag."""

    def __init__(self) -> None:
        self._by_tag: dict[str, _Project] = {}
        self._numbers = count(1)
        self._put_off: dict[str, list[HangUp]] = {}
        self._hung_up = False

    def __len__(self) -> int:
        """How many calls are open now."""
        return sum(1 for project in self._by_tag.values() for _ in project.every_line())

    def next_number(self) -> int:
        """A number for a call, by which the projects tell it from all others."""
        return next(self._numbers)

    @contextmanager
    def join(self, tag: str, ticket_id: str) -> Iterator[Line]:
        """Be told of a ticket, for the length of the block."""
        project = self._by_tag.setdefault(tag, _Project())
        line = Line(ticket_id in project.waiting)
        lines = project.lines.setdefault(ticket_id, [])
        lines.append(line)
        if self._hung_up:
            line.hang_up()
        try:
            yield line
        finally:
            lines.remove(line)
            if not lines:
                del project.lines[ticket_id]
            self._tidy(tag, project)

    def are_on_line(self, tag: str, ticket_id: str) -> bool:
        """Whether anybody will hear of the ticket."""
        project = self._by_tag.get(tag)
        return project is not None and ticket_id in project.lines

    def publish(self, tag: str, batch: Sequence[Published]) -> None:
        """Tell whom it concerns what was just committed. Never waits and never fails."""
        for published in batch:
            data = published.event.data
            if isinstance(data, _ENDS):
                self._end(tag, data.ticket_id, Word(data, published.taken_up))
            elif isinstance(data, ReservationQueued) and data.held_open:
                self._by_tag.setdefault(tag, _Project()).waiting.add(data.ticket_id)

    def look_again(self, tag: str) -> None:
        """Have every call of a project look its ticket up: something may not have been told."""
        project = self._by_tag.get(tag)
        if project is not None:
            project.waiting.clear()
            for line in project.every_line():
                line.tell(None)
            self._tidy(tag, project)

    def put_off(self, tag: str, hang_up: HangUp) -> None:
        """Keep a hang-up until the project has taken it."""
        waiting = self._put_off.setdefault(tag, [])
        if len(waiting) < limits.TICKETS_MAX:
            waiting.append(hang_up)

    def first_put_off(self, tag: str) -> list[HangUp]:
        """The hang-ups that the project is to be told of next, as many as may come together."""
        return self._put_off.get(tag, [])[: limits.BATCH_COMMANDS_MAX]

    def forget_put_off(self, tag: str, count: int) -> None:
        """The project knows the first of them."""
        left = self._put_off.pop(tag)[count:]
        if left:
            self._put_off[tag] = left

    def hang_up(self) -> None:
        """End every call, now and later ones: the server stops."""
        self._hung_up = True
        for project in self._by_tag.values():
            for line in project.every_line():
                line.hang_up()

    def _end(self, tag: str, ticket_id: str, word: Word) -> None:
        project = self._by_tag.get(tag)
        if project is None:
            return
        project.waiting.discard(ticket_id)
        for line in project.lines.get(ticket_id, ()):
            line.tell(word)
        self._tidy(tag, project)

    def _tidy(self, tag: str, project: _Project) -> None:
        if not (project.lines or project.waiting) and self._by_tag.get(tag) is project:
            del self._by_tag[tag]
