"""Waiting for a reservation: calls that are held open, and operations on tickets."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

import trio
from msgspec.structs import replace

from actors import ActorStopped
from intermute.domain import limits
from intermute.domain import waiting as domain
from intermute.domain.commands import (
    NOBODY,
    CancelTicket,
    Command,
    ConfirmGrant,
    DescribeTicket,
    HangUp,
    Heartbeat,
    QueuePaths,
    ReservePaths,
)
from intermute.domain.conflicts import conflict_refusal
from intermute.domain.decision import Accepted
from intermute.domain.events import (
    ReservationCancelled,
    ReservationGranted,
    ReservationSkipped,
)
from intermute.domain.refusals import Code, Refusal
from intermute.domain.views import CheckedView, QueuedView, ReservationView, TicketView
from intermute.project.directory import Asked
from intermute.project.messages import CommandFailed, Told
from intermute.project.waiting import HungUp, Line, Word
from intermute.web.calls import Call
from intermute.web.errors import Refused
from intermute.web.operations import Asking, Operations, place
from intermute.web.outcome import Outcome, refusal_outcome
from intermute.wire import reservations as wire_reservations
from intermute.wire import waiting as wire
from intermute.wire.bodies import BadRequest, decimal, line

NO_TICKETS: list[TicketView] = []
operations = Operations()


def waiting(call: Call, project: str, command: QueuePaths) -> Asking:
    """Take the paths or wait for them: with a ticket, or on the line until one of several ends.

    Raises:
        BadRequest: It is to wait on the line and is one of several that are answered together.
    """
    if command.held_open and not call.may_wait:
        raise BadRequest(_NOT_TOGETHER)
    follow: Callable[[Told], Awaitable[Outcome]] = partial(_show_queued, call)
    if command.held_open:
        open_call = OpenCall(call, project, command)
        command, follow = open_call.command, open_call.follow
    return Asking(project, command, follow=follow, held=command.held_open)


async def _show_queued(call: Call, told: Told) -> Outcome:
    """A request that does not stay on the line: granted, or a ticket."""
    assert isinstance(told.decision, Accepted)
    answer: QueuedView = told.decision.answer
    if answer.reservation is not None:
        return _granted(call, answer.reservation)
    assert answer.ticket is not None
    return Outcome(202, wire.ticket(answer.ticket))


def _granted(call: Call, view: ReservationView) -> Outcome:
    return Outcome(201, wire_reservations.reservation(view, now_us=call.now_us()))


class _Left(Exception):
    """Whoever asked has gone, which the server may not have noticed yet."""


class OpenCall:
    """A call that is held open until the paths are granted, its time is over, or its client leaves.

    A call that is not answered hangs up, and gives up what it alone has waited for, see
    `intermute.domain.calls`. What is answered was confirmed, so it is a whole lease. What is
    granted without a wait, at first or when it asks anew, stays though nobody hears of it, as that
    of any request does.

    Attributes:
        command: What it asks for, with its number.
    """

    def __init__(self, call: Call, project: str, command: QueuePaths) -> None:
        self._call = call
        self._project = project
        self._number = call.projects.open_calls.next_number()
        self.command = replace(command, call=self._number)
        self._since_s = trio.current_time()
        self._until_s = self._since_s + command.wait_ms / 1000
        # The ticket that the call is to hang up on if it is not answered.
        self._ticket_id: str | None = None

    async def follow(self, told: Told) -> Outcome:
        """Wait, from the decision that made the ticket. Ends when the client has gone.

        Raises:
            ActorStopped, Overloaded, StorageUnavailable, CommandFailed.

        Cancellation: at any time; the call hangs up.
        """
        found: Outcome | None = None
        try:
            with suppress(_Left), self._call.until_left():
                found = await self._wait(told)
        finally:
            if self._ticket_id is not None:
                hang_up = HangUp(self._ticket_id, self._number)
                self._call.projects.hang_up(self._project, hang_up)
        return found or refusal_outcome(_NOBODY_LISTENS)

    async def _wait(self, told: Told) -> Outcome:
        look = told.replayed
        while True:
            if isinstance(told.decision, Refusal):
                return place(refusal_outcome(told.decision), told)
            answer: QueuedView = told.decision.answer
            if answer.reservation is not None:
                return place(_granted(self._call, answer.reservation), told)
            assert answer.ticket is not None
            self._ticket_id = answer.ticket.ticket_id
            try:
                outcome = await self._hold(answer.ticket, look=look)
            except HungUp:
                raise ActorStopped("the server stops", 1.0) from None
            self._ticket_id = None
            if outcome is not None:
                return outcome
            # The place in the line was lost through no fault of the client: begin anew.
            await self._stay()
            told, look = await self._ask_again(), False

    async def _stay(self) -> None:
        """Go no further for a client that has gone.

        Raises:
            _Left: It has.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._call.has_left():
            raise _Left

    async def _ask_again(self) -> Told:
        left_ms = max(1, round((self._until_s - trio.current_time()) * 1000))
        # Were it cancelled in between, nobody would know the ticket.
        with trio.CancelScope(shield=True):
            (told,) = await self._ask(replace(self.command, wait_ms=left_ms))
        return told

    async def _hold(self, ticket: TicketView, *, look: bool) -> Outcome | None:
        """Stay on the line for a ticket; None when it has ended and is to be asked for anew."""
        calls, tag = self._call.projects.open_calls, self._call.projects.tag_of(self._project)
        with calls.join(tag, ticket.ticket_id) as on_line:
            look = look or not on_line.sure
            while True:
                if look:
                    outcome, (described,) = await self._take_up(
                        ticket, DescribeTicket(ticket.ticket_id)
                    )
                    if outcome is not None or isinstance(described.decision, Refusal):
                        return outcome
                with trio.move_on_at(self._until_s) as waiting:
                    word = await self._hear(on_line)
                if waiting.cancelled_caught:
                    return await self._time_over(ticket)
                if word is not None:
                    return await self._ended(ticket, word)
                look = True

    async def _hear(self, on_line: Line) -> Word | None:
        """What becomes of the ticket. Meanwhile the agent lives, because it is on the line."""
        while True:
            with trio.move_on_after(limits.LINE_HEARTBEAT_MS / 1000):
                return await on_line.hear()
            await self._stay()
            self._call.tell(self._project, Heartbeat(self.command.agent_id))

    async def _take_up(
        self, ticket: TicketView, *further: Command
    ) -> tuple[Outcome | None, Sequence[Told]]:
        """The answer if the ticket was granted, which is confirmed; and those to `further`.

        Shielded, because what was taken up for somebody who has left is given back at once.
        """
        with trio.CancelScope(shield=True):
            confirmed, *others = await self._ask(
                ConfirmGrant(ticket.ticket_id, agent_id=ticket.agent_id, for_call=True), *further
            )
        if isinstance(confirmed.decision, Refusal):
            return None, others
        return await self._taken_up(confirmed), others

    async def _taken_up(self, confirmed: Told) -> Outcome:
        assert isinstance(confirmed.decision, Accepted)
        await self._stay()
        return place(_granted(self._call, confirmed.decision.answer), confirmed)

    async def _ended(self, ticket: TicketView, word: Word) -> Outcome | None:
        """The answer that follows from what became of the ticket, if any does."""
        event = word.event
        if isinstance(event, ReservationGranted):
            if word.taken_up is not None:
                return await self._taken_up(word.taken_up)
            outcome, _ = await self._take_up(ticket)
            return outcome
        if isinstance(event, ReservationCancelled):
            return refusal_outcome(_cancelled(ticket.ticket_id, event.cause))
        assert isinstance(event, ReservationSkipped), "nothing else becomes of a ticket"
        return await self._last_try() if event.cause == "timeout" else None

    async def _time_over(self, ticket: TicketView) -> Outcome:
        """Give up, and say who is in the way; a grant that came this moment is still good."""
        describe = DescribeTicket(ticket.ticket_id)
        hang_up = HangUp(ticket.ticket_id, self._number, keeps_grant=True)
        outcome, (described, _) = await self._take_up(ticket, describe, hang_up)
        if outcome is not None:
            return outcome
        if isinstance(described.decision, Refusal):
            return await self._last_try()
        view: TicketView = described.decision.answer
        listed = len(view.blocked_by)
        checked = CheckedView(
            view.blocked_by, view.blocked_total, view.blocked_total > listed, view.position - 1
        )
        return self._refused(described, conflict_refusal(checked))

    async def _last_try(self) -> Outcome:
        """The ticket is gone and so is the time: take the paths now or say who has them."""
        await self._stay()
        command = self.command
        (told,) = await self._ask(
            ReservePaths(
                agent_id=command.agent_id,
                patterns=command.patterns,
                mode=command.mode,
                reason=command.reason,
                ttl_ms=command.ttl_ms,
                renew_on_heartbeat=command.renew_on_heartbeat,
            )
        )
        if isinstance(told.decision, Accepted):
            return place(_granted(self._call, told.decision.answer), told)
        return self._refused(told, told.decision)

    def _refused(self, told: Told, refusal: Refusal) -> Outcome:
        waited_s = round(trio.current_time() - self._since_s, 3)
        data = {**refusal.data, "waited_seconds": waited_s}
        return place(refusal_outcome(Refusal(refusal.code, refusal.detail, data)), told)

    async def _ask(self, *commands: Command) -> Sequence[Told]:
        """Have commands decided one after the other; their answers.

        Raises:
            ActorStopped, Overloaded, StorageUnavailable, CommandFailed.
        """
        asked = [
            Asked(command, NOBODY) if isinstance(command, HangUp) else self._call.also(command)
            for command in commands
        ]
        answers = await self._call.projects.send(self._project, asked).wait()
        for answer in answers:
            if isinstance(answer, CommandFailed):
                raise answer
        return [answer for answer in answers if isinstance(answer, Told)]


_NOT_TOGETHER = (
    "wait_seconds would keep the others of this batch waiting: use queue, or ask by itself"
)
_NOBODY_LISTENS = Refusal(
    Code.TICKET_NOT_FOUND, "whoever waited has gone, so the ticket is cancelled"
)


def _cancelled(ticket_id: str, cause: str) -> Refusal:
    why = "its agent was retired" if cause == "retired" else "its agent has cancelled it"
    return Refusal(Code.TICKET_NOT_FOUND, f"ticket {ticket_id} waits no longer: {why}")


# -- Tickets ------------------------------------------------------------------------------------


@operations.query("tickets.list", "/api/reservations/tickets")
async def list_tickets(call: Call) -> Outcome:
    agent_id = line(call.query("agent") or "", "agent") or None
    limit = decimal(call.query("limit"), default=limits.PAGE_MAX, most=limits.PAGE_MAX)
    after = decimal(call.query("cursor"), default=0, most=limits.CURSOR_MAX)
    project = call.project_of_agent(call.query("project"), agent_id)
    await call.projects.wake(project)
    found = call.read(
        project,
        lambda reader: reader.tickets(agent_id=agent_id, after=after, limit=limit + 1),
        empty=NO_TICKETS,
    )
    page = found[:limit]
    return Outcome(
        200,
        {
            "tickets": [wire.listed_ticket(view) for view in page],
            "cursor": page[-1].cursor if page else after,
            "more": len(found) > limit,
        },
    )


@operations.query("tickets.get", "/api/reservations/tickets/<ticket_id>")
async def get_ticket(call: Call) -> Outcome:
    ticket_id = call.path("ticket_id")
    project = call.project_of(ticket_id, domain.ticket_not_found)
    asked = call.also(DescribeTicket(ticket_id))
    told = await call.projects.ask(project, asked.command, asked.caller)
    if isinstance(told.decision, Accepted):
        return place(Outcome(200, wire.ticket(told.decision.answer)), told)
    if told.decision.code is not Code.TICKET_NOT_FOUND:
        raise Refused(told.decision)
    ended = call.read(project, lambda reader: reader.ticket(ticket_id), empty=None)
    if ended is None:
        raise Refused(domain.ticket_not_found(ticket_id))
    return Outcome(200, wire.ticket(ended))


@operations.command("tickets.confirm", "POST", "/api/reservations/tickets/<ticket_id>/confirm")
def confirm(call: Call) -> Asking:
    ticket_id = call.path("ticket_id")
    agent_id = wire.waiter(call.members(optional=True), agent_id=call.agent_id)
    project = call.project_of(ticket_id, domain.ticket_not_found)
    render = partial(wire_reservations.reservation, now_us=call.now_us())
    return Asking(project, ConfirmGrant(ticket_id, agent_id=agent_id), render)


@operations.command("tickets.cancel", "DELETE", "/api/reservations/tickets/<ticket_id>")
def cancel(call: Call) -> Asking:
    ticket_id = call.path("ticket_id")
    project = call.project_of(ticket_id, domain.ticket_not_found)
    return Asking(project, CancelTicket(ticket_id, agent_id=call.agent_id), wire.ticket)
