"""Leases in the course of time: warned of, lapsed, remembered for a while, found at a start."""

from intermute.domain import limits
from intermute.domain.commands import Caller, ExpireLeases, ResumeLeases
from intermute.domain.decision import Accepted, Decision, Decisions
from intermute.domain.events import (
    EventData,
    ReservationExpired,
    ReservationExpiring,
    ReservationReleased,
    ReservationRenewed,
    ReservationSkipped,
)
from intermute.domain.holdings import Reservation, Ticket
from intermute.domain.stamp import Stamp
from intermute.domain.state import State
from intermute.domain.views import ExpiredView
from intermute.globs import TooMuchWork

GRACE_US = limits.HEARTBEAT_GRACE_MS * 1000


def next_due_us(state: State) -> int | None:
    """A lower bound of when time next makes something happen, None when it never does."""
    if state.unlooked:
        return state.mono_us
    held_us = state.holdings.next_deadline_us()
    waiting_us = state.line.next_deadline_us()
    if held_us is None or waiting_us is None:
        return waiting_us if held_us is None else held_us
    return min(held_us, waiting_us)


def expire(state: State, command: ExpireLeases, stamp: Stamp, caller: Caller) -> Decision:
    """Every lease and every wait whose time is over, and a warning for leases that near theirs."""
    events: list[EventData] = []
    lapsed = []
    for reservation in state.holdings.due(state.mono_us):
        if reservation.deadline_us > state.mono_us:
            # The time to take up a grant is short from the start, and its waiter knows it.
            if reservation.ticket_id is None:
                events.append(_expiring(reservation))
            continue
        events += _lapsing(reservation)
        lapsed.append(reservation.key)
    events += [skipped(ticket, "timeout") for ticket in state.line.due(state.mono_us)]
    return Accepted(ExpiredView(tuple(lapsed)), events=tuple(events))


def resume(state: State, command: ResumeLeases, stamp: Stamp, caller: Caller) -> Decision:
    """Judged on the wall clock: the monotonic clock of the former process is gone."""
    events: list[EventData] = []
    ended = []
    for reservation in state.holdings.by_id.values():
        left_us = reservation.expires_at_us - state.at_us
        least_us = least_after_start_us(reservation.ticket_id)
        if left_us < -GRACE_US:
            events += _lapsing(reservation)
            ended.append(reservation.key)
        elif left_us < least_us:
            events.append(
                renewed(
                    reservation,
                    "restart",
                    ttl_ms=reservation.ttl_ms,
                    expires_at_us=state.at_us + least_us,
                )
            )
    events += [skipped(ticket, "restart") for ticket in _ended_with_server(state)]
    return Accepted(ExpiredView(tuple(ended)), events=tuple(events))


def _ended_with_server(state: State) -> list[Ticket]:
    return [ticket for ticket in state.line.by_id.values() if ticket.held_open]


def least_after_start_us(ticket_id: str | None) -> int:
    """How long a lease that a new actor finds lasts at least: its holder could not renew it
    while nobody was there, and whoever was granted it could not take it up."""
    return GRACE_US if ticket_id is None else limits.CONFIRM_MS * 1000


def _lapsing(reservation: Reservation) -> tuple[EventData, ...]:
    """The lease lapses, and with it the turn of a waiter that did not take it up."""
    key, agent_id, patterns = reservation.key, reservation.agent_id, reservation.patterns
    expired = ReservationExpired(key, agent_id, patterns, fencing_token=reservation.cursor)
    if reservation.ticket_id is None:
        return (expired,)
    return expired, ReservationSkipped(reservation.ticket_id, agent_id, patterns, "unconfirmed")


def _expiring(reservation: Reservation) -> ReservationExpiring:
    return ReservationExpiring(
        reservation.key,
        reservation.agent_id,
        reservation.patterns,
        reservation.expires_at_us,
        fencing_token=reservation.cursor,
    )


def renewed(
    reservation: Reservation, cause: str, *, ttl_ms: int, expires_at_us: int
) -> ReservationRenewed:
    return ReservationRenewed(
        reservation_id=reservation.key,
        agent_id=reservation.agent_id,
        ttl_ms=ttl_ms,
        expires_at_us=expires_at_us,
        cause=cause,
        fencing_token=reservation.cursor,
    )


def renewed_in_full(
    state: State, reservation: Reservation, cause: str, *, ttl_ms: int | None = None
) -> ReservationRenewed:
    """The lease counts anew from now, as long as it was if nothing else is said."""
    ttl_ms = reservation.ttl_ms if ttl_ms is None else ttl_ms
    expires_at_us = state.at_us + ttl_ms * 1000
    return renewed(reservation, cause, ttl_ms=ttl_ms, expires_at_us=expires_at_us)


def released(
    reservation: Reservation,
    cause: str,
    *,
    reason: str = "",
    by: str = "",
    successor: str | None = None,
) -> ReservationReleased:
    return ReservationReleased(
        reservation.key,
        reservation.agent_id,
        cause,
        reason,
        successor,
        by,
        fencing_token=reservation.cursor,
    )


def skipped(ticket: Ticket, cause: str) -> ReservationSkipped:
    return ReservationSkipped(ticket.key, ticket.agent_id, ticket.patterns, cause)


def renewals(state: State, agent_id: str) -> tuple[ReservationRenewed, ...]:
    """What a sign of life renews: the agent's leases that are tied to it and half over."""
    found = []
    for reservation in state.holdings.of(agent_id):
        left_us = reservation.deadline_us - state.mono_us
        # A grant is taken up by its waiter and not by a sign of life.
        tied = reservation.renew_on_heartbeat and reservation.ticket_id is None
        if tied and left_us < reservation.ttl_ms * 500:
            found.append(renewed_in_full(state, reservation, "heartbeat"))
    return tuple(found)


def lapse(state: State, reservation: Reservation) -> None:
    """Remember an expired lease for its grace, and forget those whose grace is over."""
    state.lapsed.add(reservation)
    for old in state.lapsed.due(state.mono_us - GRACE_US):
        _forget(state, old.key)
    while state.lapsed.patterns_len > limits.PATTERNS_LAPSED_MAX:
        _forget(state, next(iter(state.lapsed.by_id)))


def _forget(state: State, reservation_id: str) -> None:
    state.touched[reservation_id] = None
    state.lapsed.remove(reservation_id)


def forget_same(state: State, held: Reservation) -> None:
    """Forget the lapsed lease of what is held anew: nothing may be held twice."""
    same = state.lapsed.by_terms.get(held.terms)
    if same is not None:
        _forget(state, same)


def forget_taken(state: State, granted: Reservation) -> None:
    """Forget the lapsed leases of others that a new grant conflicts with: they changed hands."""
    if not len(state.lapsed):
        return
    forget_same(state, granted)
    work = state.allowance.to_finish(limits.PATTERN_LAPSED_WORK_MAX)
    try:
        taken = {
            lapsed.key: None
            for lapsed, _, _ in state.lapsed.meeting(granted.parsed, granted.mode, work)
            if lapsed.agent_id != granted.agent_id
        }
    except TooMuchWork:
        # Which of them it conflicts with cannot be told in time, so none may come back.
        taken = dict.fromkeys(state.lapsed.by_id)
    for reservation_id in taken:
        _forget(state, reservation_id)


DECISIONS: Decisions = {ExpireLeases: expire, ResumeLeases: resume}
