"""Open calls that wait for a ticket, told at once what has become of it.

The feeds tell everybody everything, so with many who wait each grant would wake them all. Here a
ticket's id leads straight to those few, mostly one, whom it concerns. And the project's actor can
ask whether anybody is there: then it takes the grant up for them in the same transaction.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import attrs
import trio

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
    ticket_id: str
    _project: "_Project"
    _moved: trio.Event = attrs.field(factory=trio.Event)
    _word: Word | None = None
    _hung_up: bool = False

    @property
    def alone(self) -> bool:
        """Whether no other open call waits for the same ticket."""
        return len(self._project.lines[self.ticket_id]) == 1

    @property
    def granted(self) -> str | None:
        """The reservation that the ticket has become, heard or not."""
        event = None if self._word is None else self._word.event
        return event.reservation_id if isinstance(event, ReservationGranted) else None

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

    def leave(self, give_back: Callable[[str], object]) -> None:
        """Go before anything is heard.

        `give_back` is given the reservation that was being taken up for the call just then.
        """
        self._project.left[self.ticket_id] = give_back

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
        left: Who was, and what to do with what they may have been granted at the last moment.
        waiting: Tickets that are held open and that nothing has become of yet.
    """

    def __init__(self) -> None:
        self.lines: dict[str, list[Line]] = {}
        self.left: dict[str, Callable[[str], object]] = {}
        self.waiting: set[str] = set()

    def every_line(self) -> Iterator[Line]:
        for lines in self.lines.values():
            yield from lines


class OpenCalls:
    """The open calls of all projects, by tag."""

    def __init__(self) -> None:
        self._by_tag: dict[str, _Project] = {}
        self._hung_up = False

    def __len__(self) -> int:
        """How many calls are open now."""
        return sum(1 for project in self._by_tag.values() for _ in project.every_line())

    @contextmanager
    def join(self, tag: str, ticket_id: str) -> Iterator[Line]:
        """Be told of a ticket, for the length of the block."""
        project = self._by_tag.setdefault(tag, _Project())
        line = Line(ticket_id in project.waiting, ticket_id, project)
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
            project.left.clear()
            for line in project.every_line():
                line.tell(None)
            self._tidy(tag, project)

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
        give_back = project.left.pop(ticket_id, None)
        lines = project.lines.get(ticket_id, ())
        for line in lines:
            line.tell(word)
        granted = isinstance(word.event, ReservationGranted) and word.taken_up is not None
        if give_back is not None and granted and not lines:
            assert isinstance(word.event, ReservationGranted)
            give_back(word.event.reservation_id)
        self._tidy(tag, project)

    def _tidy(self, tag: str, project: _Project) -> None:
        used = project.lines or project.left or project.waiting
        if not used and self._by_tag.get(tag) is project:
            del self._by_tag[tag]
