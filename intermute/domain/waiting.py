"""Waiting: a line in which nobody is overtaken by somebody who came later and wants the same.

A ticket waits for whatever is held by others and conflicts with it, and for the tickets of others
that are older and conflict with it. It is granted whole, never in part, as soon as it waits for
nothing; whoever conflicts with nobody ahead goes past freely. A request that would close a circle
of agents waiting for one another is refused, see `deadlock`.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import attrs

from intermute.domain import limits
from intermute.domain.calls import for_good, grant_id
from intermute.domain.commands import (
    Caller,
    CancelTicket,
    ConfirmGrant,
    DescribeTicket,
    HandOver,
    QueuePaths,
)
from intermute.domain.conflicts import blockers, conflicts
from intermute.domain.deadlock import refuse_circle_by_handing_over, refuse_deadlock
from intermute.domain.decision import Accepted, Decision, Decisions
from intermute.domain.events import (
    CallOpened,
    EventData,
    Mark,
    ReservationCancelled,
    ReservationCreated,
    ReservationGranted,
    ReservationQueued,
)
from intermute.domain.holdings import Reservation, Ticket
from intermute.domain.leases import released, renewed_in_full, skipped
from intermute.domain.modes import CONFLICTING, Mode
from intermute.domain.refusals import Code, Refusal, quoted
from intermute.domain.reservations import decide_reserve, find_held, view
from intermute.domain.stamp import Stamp, make_id
from intermute.domain.state import State
from intermute.domain.views import CheckedView, QueuedView, TicketView
from intermute.globs import Pattern, TooMuchWork, Work


def queue(state: State, command: QueuePaths, stamp: Stamp, caller: Caller) -> Decision:
    """Granted at once, or a place in the line; asking again for the same keeps the old place."""
    want = decide_reserve(state, command, stamp, _half(state))
    if isinstance(want, Refusal):
        return want
    if isinstance(want, Accepted):
        answer = QueuedView(reservation=want.answer)
        return Accepted(answer, want.events, want.marks, want.actor)
    known = state.line.by_terms.get(want.terms)
    if known is not None:
        return _ask_again(state, state.line.by_id[known], command)
    refusal = _refuse_wait(state, command, caller) or refuse_deadlock(state, want, _half(state))
    if refusal is not None:
        return refusal
    event = ReservationQueued(
        ticket_id=make_id("tkt", state.tag, stamp.unique()),
        agent_id=command.agent_id,
        patterns=command.patterns,
        mode=command.mode,
        reason=command.reason,
        ttl_ms=command.ttl_ms,
        renew_on_heartbeat=command.renew_on_heartbeat,
        held_open=command.held_open,
        wait_until_us=state.at_us + command.wait_ms * 1000,
    )
    ticket = make_ticket(state, event, want.parsed, cursor=state.cursor + 1)
    # Everything that stands in the way now is older than the ticket.
    answer = QueuedView(ticket=ticket_view(state, ticket, found=want.checked))
    return Accepted(answer, (event,), _on_the_line(command, ticket), command.agent_id)


def _on_the_line(command: QueuePaths, ticket: Ticket) -> tuple[Mark, ...]:
    return () if command.call is None else (CallOpened(ticket.key, command.call),)


def _half(state: State) -> Work:
    """For what is in the way, and again for whether there is a circle."""
    return state.allowance.to_find(limits.PATTERN_TURN_WORK_MAX)


def _ask_again(state: State, ticket: Ticket, command: QueuePaths) -> Accepted:
    """The place stays, the wait is never shortened, and what needs no call goes on needing none."""
    deadline_us = max(ticket.deadline_us, state.mono_us + command.wait_ms * 1000)
    event = ReservationQueued(
        ticket_id=ticket.key,
        agent_id=ticket.agent_id,
        patterns=ticket.patterns,
        mode=ticket.mode,
        reason=command.reason,
        ttl_ms=command.ttl_ms,
        renew_on_heartbeat=command.renew_on_heartbeat,
        held_open=ticket.held_open and command.held_open,
        wait_until_us=state.at_us + deadline_us - state.mono_us,
    )
    after = attrs.evolve(ticket, **_wishes(event), deadline_us=deadline_us)
    unchanged = after == ticket
    answer = QueuedView(ticket=ticket_view(state, ticket if unchanged else after))
    events = () if unchanged else (event,)
    return Accepted(answer, events, _on_the_line(command, ticket), ticket.agent_id)


def _wishes(data: ReservationQueued) -> dict[str, Any]:
    """What asking again changes in a ticket."""
    return {
        "reason": data.reason,
        "ttl_ms": data.ttl_ms,
        "renew_on_heartbeat": data.renew_on_heartbeat,
        "held_open": data.held_open,
        "wait_until_us": data.wait_until_us,
    }


def ask_again(state: State, ticket: Ticket, data: ReservationQueued) -> None:
    """Change the ticket as the event says."""
    for name, wish in _wishes(data).items():
        setattr(ticket, name, wish)
    state.line.extend(ticket, deadline_us=state.mono_us + data.wait_until_us - state.at_us)


def _refuse_wait(state: State, command: QueuePaths, caller: Caller) -> Refusal | None:
    if not command.held_open and command.agent_id not in state.agents:
        return Refusal(
            Code.AGENT_NOT_FOUND,
            f"{quoted(command.agent_id)} is not registered, so nobody could tell whether it is "
            "still there at its turn: register, or wait on the line with wait_seconds",
        )
    own = len(state.line.by_agent.get(command.agent_id, ()))
    if own >= limits.TICKETS_PER_AGENT_MAX or len(state.line) >= limits.TICKETS_MAX:
        return Refusal(
            Code.LIMIT_REACHED,
            f"an agent waits for at most {limits.TICKETS_PER_AGENT_MAX} sets of paths, and "
            f"{limits.TICKETS_MAX} wait in one project: cancel some first",
            {"held": own, "limit": limits.TICKETS_PER_AGENT_MAX},
        )
    return None


def make_ticket(
    state: State, data: ReservationQueued, parsed: tuple[Pattern, ...], *, cursor: int
) -> Ticket:
    """The ticket that the event makes."""
    return Ticket(
        key=data.ticket_id,
        agent_id=data.agent_id,
        patterns=data.patterns,
        mode=data.mode,
        reason=data.reason,
        ttl_ms=data.ttl_ms,
        renew_on_heartbeat=data.renew_on_heartbeat,
        created_at_us=state.at_us,
        deadline_us=state.mono_us + data.wait_until_us - state.at_us,
        cursor=cursor,
        parsed=parsed,
        held_open=data.held_open,
        wait_until_us=data.wait_until_us,
    )


def ticket_view(
    state: State, ticket: Ticket, *, found: CheckedView | None = None, ended: str | None = None
) -> TicketView:
    """The ticket as of now, with what it waits for, which is looked for unless it is given."""
    if ended is not None:
        found = CheckedView((), 0, more=False)
    if found is None:
        found = conflicts(
            state,
            ticket.parsed,
            ticket.mode,
            own=ticket.agent_id,
            work=_half(state),
            before=ticket.cursor,
            partly=True,
        )
    return TicketView(
        ticket_id=ticket.key,
        agent_id=ticket.agent_id,
        project=state.project,
        patterns=ticket.patterns,
        mode=ticket.mode,
        reason=ticket.reason,
        ttl_ms=ticket.ttl_ms,
        renew_on_heartbeat=ticket.renew_on_heartbeat,
        held_open=ticket.held_open,
        created_at_us=ticket.created_at_us,
        wait_until_us=ticket.wait_until_us,
        cursor=ticket.cursor,
        position=found.waiting + 1,
        blocked_by=found.conflicts,
        blocked_total=found.total,
        ended=ended,
        ended_at_us=None if ended is None else state.at_us,
    )


# -- Admission ----------------------------------------------------------------------------------


def admissions(state: State) -> Iterator[Accepted]:
    """What follows for the line from what was freed: grants, and skips of those who are gone.

    Each has to be applied before the next is asked for. Afterwards `state.freed` is done with.

    The line is gone through once, by age: a grant frees nobody, and whoever is skipped was only in
    the way of those who came later. Who cannot be looked at because the work for one time is
    spent is left in `state.unlooked` for the next time, which is then due at once; whoever waits
    is in the way of those who come later until then.
    """
    pending = _Pending(state)
    blocked: set[tuple[Mode, tuple[str, ...]]] = set()
    work = state.allowance.for_turns()
    while True:
        pending.learn()
        ticket = pending.pop()
        if ticket is None:
            return
        want = ticket.terms[1:]
        # Whoever wants just the same and came later waits at least as long, if the two conflict.
        if want in blocked:
            continue
        untouched = work.left == limits.PATTERN_TURN_WORK_MAX
        try:
            free = _is_free(state, ticket, work)
        except TooMuchWork:
            if not untouched:
                pending.leave(ticket)
                return
            # With all the work of one time it cannot be told whether its turn has come.
            yield Accepted(None, events=(skipped(ticket, "too_much_work"),))
            continue
        if free and not _is_there(state, ticket):
            yield Accepted(None, events=(skipped(ticket, "gone"),))
            continue
        if free:
            granted = grant(state, ticket, fencing_token=state.cursor + 1)
            yield Accepted(None, events=granted, actor=ticket.agent_id)
        if ticket.mode in CONFLICTING[ticket.mode]:
            blocked.add(want)


class _Pending:
    """Tickets whose turn may have come, oldest first, each once."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._heap: list[tuple[int, str]] = []
        self._known: set[str] = set()
        self._learnt = 0
        self._work = state.allowance.for_turns()
        for key in state.unlooked:
            # Some have left the line since.
            if key in state.line.by_id:
                self._put(state.line.by_id[key])
        state.unlooked = {}

    def learn(self) -> None:
        """Those who waited for what was freed meanwhile; when it takes too long to tell, all."""
        state = self._state
        try:
            for freed in state.freed[self._learnt :]:
                for ticket, _, _ in state.line.meeting(freed.parsed, freed.mode, self._work):
                    self._put(ticket)
        except TooMuchWork:
            for ticket in state.line.by_id.values():
                self._put(ticket)
        self._learnt = len(state.freed)

    def pop(self) -> Ticket | None:
        return self._state.line.by_id[heapq.heappop(self._heap)[1]] if self._heap else None

    def leave(self, ticket: Ticket) -> None:
        """Leave it, and all that are younger, for the next time."""
        self._state.unlooked = dict.fromkeys((ticket.key, *(key for _, key in self._heap)))

    def _put(self, ticket: Ticket) -> None:
        if ticket.key not in self._known:
            self._known.add(ticket.key)
            heapq.heappush(self._heap, (ticket.cursor, ticket.key))


def _is_free(state: State, ticket: Ticket, work: Work) -> bool:
    """Whether the ticket waits for nothing.

    Raises:
        TooMuchWork: The work is spent before it can be told.
    """
    wanted, mode = ticket.parsed, ticket.mode
    if any(blockers(state, wanted, mode, ticket.agent_id, ticket.cursor, work)):
        return False
    # A grant is compared with lapsed leases when it is applied, and that is counted here.
    with suppress(TooMuchWork):
        deque(state.lapsed.meeting(wanted, mode, work), maxlen=0)
    return True


def _is_there(state: State, ticket: Ticket) -> bool:
    agent = state.agents.get(ticket.agent_id)
    return ticket.held_open or (agent is not None and state.is_live(agent))


def grant(state: State, ticket: Ticket, *, fencing_token: int) -> tuple[EventData, ...]:
    """The ticket's turn: a lease just long enough to be taken up."""
    confirm_ms = min(limits.CONFIRM_MS, ticket.ttl_ms)
    created = ReservationCreated(
        reservation_id=grant_id(state, ticket.key),
        agent_id=ticket.agent_id,
        patterns=ticket.patterns,
        mode=ticket.mode,
        reason=ticket.reason,
        ttl_ms=ticket.ttl_ms,
        expires_at_us=state.at_us + confirm_ms * 1000,
        renew_on_heartbeat=ticket.renew_on_heartbeat,
        ticket_id=ticket.key,
    )
    granted = ReservationGranted(
        ticket_id=ticket.key,
        agent_id=ticket.agent_id,
        reservation_id=created.reservation_id,
        patterns=ticket.patterns,
        mode=ticket.mode,
        fencing_token=fencing_token,
        confirm_by_us=created.expires_at_us,
    )
    return created, granted


def confirm(state: State, command: ConfirmGrant, stamp: Stamp, caller: Caller) -> Decision:
    """Count the lease anew, in full. Confirming twice is no error."""
    reservation = _granted_to(state, command.ticket_id)
    if reservation is None:
        return ticket_not_found(command.ticket_id)
    if command.agent_id != reservation.agent_id:
        return _NOT_THE_WAITER
    event = renewed_in_full(state, reservation, "waiter")
    answer = view(state, reservation, expires_at_us=event.expires_at_us, taken_up=True)
    return Accepted(answer, events=(event,), actor=reservation.agent_id)


def take_up(state: State, command: ConfirmGrant, stamp: Stamp, caller: Caller) -> Decision:
    """The same, asked for: by the agent itself, which then has it for good, or by an open call."""
    decision = confirm(state, command, stamp, caller)
    if isinstance(decision, Refusal) or command.for_call:
        return decision
    marks = for_good(state.holdings.by_id[decision.answer.reservation_id])
    return Accepted(decision.answer, decision.events, marks, decision.actor)


def _granted_to(state: State, ticket_id: str) -> Reservation | None:
    """The reservation that a ticket has become, as long as it is held."""
    reservation_id = state.rows.granted_to(ticket_id)
    return None if reservation_id is None else state.holdings.by_id.get(reservation_id)


def describe(state: State, command: DescribeTicket, stamp: Stamp, caller: Caller) -> Decision:
    """A ticket that waits, as of now. What became of those that have ended, their rows tell."""
    ticket = state.line.by_id.get(command.ticket_id)
    if ticket is None:
        return ticket_not_found(command.ticket_id)
    return Accepted(ticket_view(state, ticket))


def cancel(state: State, command: CancelTicket, stamp: Stamp, caller: Caller) -> Decision:
    """Leave the line, or give back what was granted and not taken up yet."""
    ticket = state.line.by_id.get(command.ticket_id)
    if ticket is not None:
        if command.agent_id != ticket.agent_id:
            return _NOT_THE_WAITER
        event = ReservationCancelled(ticket.key, ticket.agent_id, "waiter")
        answer = ticket_view(state, ticket, ended="cancelled")
        return Accepted(answer, events=(event,), actor=ticket.agent_id)
    reservation = _granted_to(state, command.ticket_id)
    if reservation is None or reservation.ticket_id is None:
        return ticket_not_found(command.ticket_id)
    if command.agent_id != reservation.agent_id:
        return _NOT_THE_WAITER
    given_back = released(reservation, "holder")
    return Accepted(
        _cancelled_view(state, reservation), events=(given_back,), actor=reservation.agent_id
    )


def _cancelled_view(state: State, reservation: Reservation) -> TicketView:
    assert reservation.ticket_id is not None
    return TicketView(
        ticket_id=reservation.ticket_id,
        agent_id=reservation.agent_id,
        project=state.project,
        patterns=reservation.patterns,
        mode=reservation.mode,
        reason=reservation.reason,
        ttl_ms=reservation.ttl_ms,
        renew_on_heartbeat=reservation.renew_on_heartbeat,
        held_open=False,
        created_at_us=reservation.created_at_us,
        wait_until_us=state.at_us,
        cursor=reservation.cursor,
        ended="cancelled",
        ended_at_us=state.at_us,
        reservation_id=reservation.key,
    )


def hand_over(state: State, command: HandOver, stamp: Stamp, caller: Caller) -> Decision:
    """Release and grant in one step, to a ticket that then waits for nothing else.

    It is the holder's to say who goes on with its work, so the waiter passes those ahead of it.
    """
    reservation = find_held(state, command.reservation_id, command.agent_id)
    if isinstance(reservation, Refusal):
        return reservation
    work = state.allowance.to_find(limits.PATTERN_WORK_MAX)
    for ticket in _tickets_behind(state, reservation, command.to_agent_id, work):
        others = (
            claim
            for claim in blockers(state, ticket.parsed, ticket.mode, ticket.agent_id, 0, work)
            if claim.key != reservation.key
        )
        if any(others) or not _is_there(state, ticket):
            continue
        refusal = refuse_circle_by_handing_over(state, reservation, ticket, work)
        if refusal is not None:
            return refusal
        passed_on = released(reservation, "handover", successor=ticket.agent_id)
        answer = QueuedView(ticket=ticket_view(state, ticket, ended="granted"))
        granted = grant(state, ticket, fencing_token=state.cursor + 2)
        return Accepted(answer, (passed_on, *granted), actor=reservation.agent_id)
    return Refusal(
        Code.NO_SUCH_WAITER,
        f"{quoted(command.to_agent_id)} does not wait for these paths, or has gone, or would have "
        "to wait for something else too",
    )


def _tickets_behind(
    state: State, reservation: Reservation, agent_id: str, work: Work
) -> list[Ticket]:
    found = {
        ticket.key: ticket
        for ticket, _, _ in state.line.meeting(reservation.parsed, reservation.mode, work)
        if ticket.agent_id == agent_id
    }
    return sorted(found.values(), key=lambda ticket: ticket.cursor)


_NOT_THE_WAITER = Refusal(
    Code.NOT_THE_OWNER, "a ticket belongs to its waiter: send its agent id as X-Agent-ID"
)


def ticket_not_found(ticket_id: str) -> Refusal:
    return Refusal(
        Code.TICKET_NOT_FOUND,
        f"no ticket {quoted(ticket_id)} waits here: it was served, skipped or cancelled, or its "
        "time was over",
    )


DECISIONS: Decisions = {
    QueuePaths: queue,
    ConfirmGrant: take_up,
    DescribeTicket: describe,
    CancelTicket: cancel,
    HandOver: hand_over,
}
