"""Reservations: who holds which paths, until when, and what a request would meet.

A lease lapses at its deadline: from then on it stops nobody, and an event says so. For the
heartbeat grace after that its holder may still renew it, as long as nobody was granted a
conflicting reservation in between: then nothing has changed hands, so nothing can have been
overwritten.
"""

from collections.abc import Sequence

from intermute.domain import limits
from intermute.domain.calls import for_good
from intermute.domain.commands import (
    Caller,
    CheckPaths,
    ForceRelease,
    ReleaseReservation,
    RenewReservation,
    ReservePaths,
)
from intermute.domain.conflicts import conflict_refusal, conflicts, read
from intermute.domain.decision import Accepted, Decision, Decisions
from intermute.domain.events import (
    ReservationCreated,
)
from intermute.domain.fences import refuse_other_token, refuse_stale
from intermute.domain.holdings import Reservation, Terms, terms_of, wild_len
from intermute.domain.leases import GRACE_US, released, renewed_in_full
from intermute.domain.modes import Mode
from intermute.domain.refusals import Code, Refusal, quoted
from intermute.domain.stamp import Stamp, make_id
from intermute.domain.state import State
from intermute.domain.times import iso
from intermute.domain.values import Value
from intermute.domain.views import CheckedView, ReservationView
from intermute.globs import Pattern, TooMuchWork, Work


def view(
    state: State,
    reservation: Reservation,
    *,
    patterns: tuple[str, ...] | None = None,
    ttl_ms: int | None = None,
    expires_at_us: int | None = None,
    taken_up: bool = False,
    ended: str | None = None,
    ended_at_us: int | None = None,
) -> ReservationView:
    """The reservation as of now, or with what is about to change in it."""
    return ReservationView(
        reservation_id=reservation.key,
        agent_id=reservation.agent_id,
        project=state.project,
        patterns=reservation.patterns if patterns is None else patterns,
        mode=reservation.mode,
        reason=reservation.reason,
        ttl_ms=reservation.ttl_ms if ttl_ms is None else ttl_ms,
        created_at_us=reservation.created_at_us,
        expires_at_us=reservation.expires_at_us if expires_at_us is None else expires_at_us,
        cursor=reservation.cursor,
        renew_on_heartbeat=reservation.renew_on_heartbeat,
        ticket_id=None if taken_up else reservation.ticket_id,
        ended=ended,
        ended_at_us=ended_at_us,
    )


class Want(Value):
    """A set of patterns that somebody wants and cannot have now.

    Attributes:
        terms: See `holdings.terms_of`.
        checked: What stands in the way.
    """

    agent_id: str
    mode: Mode
    parsed: tuple[Pattern, ...]
    terms: Terms
    checked: CheckedView


def reserve(state: State, command: ReservePaths, stamp: Stamp, caller: Caller) -> Decision:
    """Grant the whole set or refuse it whole. One's own reservations never conflict.

    Asking again for what one holds already is a renewal: nothing is held twice.
    """
    work = state.allowance.to_find(limits.PATTERN_WORK_MAX)
    decision = decide_reserve(state, command, stamp, work)
    if not isinstance(decision, Want):
        return decision
    if not decision.checked.conflicts:
        raise TooMuchWork
    return conflict_refusal(decision.checked)


def decide_reserve(
    state: State, command: ReservePaths, stamp: Stamp, work: Work
) -> Decision | Want:
    """A reservation, or why there is none, or what is in its way.

    Who waits for just this keeps waiting, and is told of what is in its way as far as it is found.

    Raises:
        TooMuchWork: To look for what is in its way would take too long.
    """
    parsed = read(state, command.patterns)
    if isinstance(parsed, Refusal):
        return parsed
    terms = terms_of(command.agent_id, parsed, command.mode)
    held = state.holdings.by_terms.get(terms)
    if held is not None:
        return _hold_on(state, state.holdings.by_id[held], command.ttl_ms)
    waits = terms in state.line.by_terms
    if not waits:
        # What it waits for is counted already.
        refusal = refuse_amount(state, command.agent_id, parsed)
        if refusal is not None:
            return refusal
    checked = conflicts(state, parsed, command.mode, own=command.agent_id, work=work, partly=waits)
    if checked.conflicts or checked.more:
        return Want(command.agent_id, command.mode, parsed, terms, checked)
    event = ReservationCreated(
        reservation_id=make_id("rsv", state.tag, stamp.unique()),
        agent_id=command.agent_id,
        patterns=command.patterns,
        mode=command.mode,
        reason=command.reason,
        ttl_ms=command.ttl_ms,
        expires_at_us=state.at_us + command.ttl_ms * 1000,
        renew_on_heartbeat=command.renew_on_heartbeat,
    )
    assert not waits, "whoever waits for something cannot have it"
    answer = ReservationView(
        reservation_id=event.reservation_id,
        agent_id=event.agent_id,
        project=state.project,
        patterns=event.patterns,
        mode=event.mode,
        reason=event.reason,
        ttl_ms=event.ttl_ms,
        created_at_us=state.at_us,
        expires_at_us=event.expires_at_us,
        cursor=state.cursor + 1,
        renew_on_heartbeat=event.renew_on_heartbeat,
    )
    return Accepted(answer, events=(event,), actor=command.agent_id)


def refuse_amount(
    state: State, agent_id: str, parsed: Sequence[Pattern], *, instead_of: Sequence[Pattern] = ()
) -> Refusal | None:
    """Why the agent may not have so many patterns more, `instead_of` some that it has."""
    wanted = len(parsed) - len(instead_of)
    holdings, line = state.holdings, state.line
    held = holdings.patterns_by_agent.get(agent_id, 0) + line.patterns_by_agent.get(agent_id, 0)
    if held + wanted > state.patterns_per_agent_max:
        return Refusal(
            Code.LIMIT_REACHED,
            f"agent {agent_id} holds or waits for {held} patterns and may have "
            f"{state.patterns_per_agent_max}: "
            "release some first, or reserve a directory instead of its files",
            {"held": held, "limit": state.patterns_per_agent_max},
        )
    total = holdings.patterns_len + line.patterns_len
    if total + wanted > limits.PATTERNS_ACTIVE_MAX:
        return Refusal(
            Code.LIMIT_REACHED,
            f"the project has {total} patterns and may have {limits.PATTERNS_ACTIVE_MAX}",
            {"held": total, "limit": limits.PATTERNS_ACTIVE_MAX},
        )
    length = wild_len(parsed)
    if not length:
        return None
    wild = holdings.wild_len_by_agent.get(agent_id, 0) + line.wild_len_by_agent.get(agent_id, 0)
    return _refuse_wild(wild - wild_len(instead_of), length)


def _refuse_wild(held_len: int, length: int) -> Refusal | None:
    """Bound what can be made slow on purpose; plain paths are free of this."""
    if not length or held_len + length <= limits.WILD_LEN_MAX:
        return None
    return Refusal(
        Code.LIMIT_REACHED,
        f"patterns with wildcards may have {limits.WILD_LEN_MAX} characters together, in one "
        "request and held by one agent: name directories or plain paths instead",
        {"held": held_len, "limit": limits.WILD_LEN_MAX},
    )


def check(state: State, command: CheckPaths, stamp: Stamp, caller: Caller) -> Decision:
    """What `reserve` would meet now. Changes nothing and promises nothing."""
    parsed = read(state, command.patterns)
    if isinstance(parsed, Refusal):
        return parsed
    refusal = _refuse_wild(0, wild_len(parsed)) or refuse_stale(state, command.fencing_token)
    if refusal is not None:
        return refusal
    work = state.allowance.to_find(limits.PATTERN_WORK_MAX)
    return Accepted(conflicts(state, parsed, command.mode, own=command.agent_id, work=work))


def not_found(reservation_id: str) -> Refusal:
    return Refusal(
        Code.RESERVATION_NOT_FOUND,
        f"no reservation {quoted(reservation_id)} is held here: it was released, or it lapsed "
        "and is gone",
    )


def find_own(
    state: State, reservation_id: str, agent_id: str | None, fencing_token: int | None = None
) -> Reservation | Refusal:
    """The agent's reservation, granted or lapsed; only its holder may renew and release it.

    Of one that is gone, a token tells who has its paths now.
    """
    held = state.holdings.by_id.get(reservation_id)
    reservation = held or state.lapsed.by_id.get(reservation_id)
    if reservation is None:
        return refuse_stale(state, fencing_token) or not_found(reservation_id)
    if agent_id != reservation.agent_id:
        return Refusal(
            Code.NOT_THE_OWNER,
            "a reservation is renewed and released by its holder: send its agent id as X-Agent-ID",
        )
    if fencing_token is not None and fencing_token != reservation.cursor:
        return refuse_other_token(reservation_id, fencing_token, actual=reservation.cursor)
    return reservation


def find_held(
    state: State, reservation_id: str, agent_id: str | None, fencing_token: int | None = None
) -> Reservation | Refusal:
    """The same, but only while it is granted."""
    reservation = find_own(state, reservation_id, agent_id, fencing_token)
    if isinstance(reservation, Refusal) or reservation_id in state.holdings.by_id:
        return reservation
    return Refusal(
        Code.RESERVATION_LAPSED,
        f"the lease lapsed at {iso(reservation.expires_at_us)}: renew it first",
    )


def renew(state: State, command: RenewReservation, stamp: Stamp, caller: Caller) -> Decision:
    """Count the lease anew from now, or take back one that lapsed and that nobody took since."""
    token = command.fencing_token
    reservation = find_own(state, command.reservation_id, command.agent_id, token)
    if isinstance(reservation, Refusal):
        return reservation
    active = reservation.key in state.holdings.by_id
    if not active:
        refusal = _refuse_lapsed(state, reservation)
        if refusal is not None:
            return refusal
    return _renewed(state, reservation, command.ttl_ms or reservation.ttl_ms)


def _hold_on(state: State, reservation: Reservation, ttl_ms: int) -> Accepted:
    """Renew what is asked for again, but never shorten what was promised."""
    taken_up = reservation.ticket_id is None
    if taken_up and state.mono_us + ttl_ms * 1000 <= reservation.deadline_us:
        return Accepted(view(state, reservation), marks=for_good(reservation))
    return _renewed(state, reservation, ttl_ms)


def _renewed(state: State, reservation: Reservation, ttl_ms: int) -> Accepted:
    event = renewed_in_full(state, reservation, "holder", ttl_ms=ttl_ms)
    expires_at_us = event.expires_at_us
    answer = view(state, reservation, ttl_ms=ttl_ms, expires_at_us=expires_at_us, taken_up=True)
    return Accepted(answer, (event,), for_good(reservation), reservation.agent_id)


def _refuse_lapsed(state: State, reservation: Reservation) -> Refusal | None:
    if state.mono_us < reservation.deadline_us + GRACE_US:
        refusal = refuse_amount(state, reservation.agent_id, reservation.parsed)
        if refusal is not None:
            return refusal
        # Nobody took it since, else it would be forgotten; but whoever waits for it is not
        # overtaken, as far as can be found out: nobody loses a lease because others are many. What
        # came before in one request is no such reason: then it has to be asked for by itself.
        work = state.allowance.to_find(limits.PATTERN_WORK_MAX)
        checked = conflicts(
            state,
            reservation.parsed,
            reservation.mode,
            own=reservation.agent_id,
            work=work,
            partly=not state.allowance.short,
        )
        return conflict_refusal(checked) if checked.conflicts else None
    return Refusal(
        Code.RESERVATION_LAPSED,
        f"the lease lapsed at {iso(reservation.expires_at_us)} and its grace is over: look at the "
        "files again before you write, and reserve anew",
    )


def release(state: State, command: ReleaseReservation, stamp: Stamp, caller: Caller) -> Decision:
    """Give it back. A lease that has lapsed but is remembered is given back without an event."""
    token = command.fencing_token
    reservation = find_own(state, command.reservation_id, command.agent_id, token)
    if isinstance(reservation, Refusal):
        return reservation
    active = reservation.key in state.holdings.by_id
    if not active:
        ended_at_us = reservation.expired_at_us
        return Accepted(view(state, reservation, ended="expired", ended_at_us=ended_at_us))
    event = released(reservation, "holder")
    answer = view(state, reservation, ended="released", ended_at_us=state.at_us)
    return Accepted(answer, events=(event,), actor=reservation.agent_id)


def force_release(state: State, command: ForceRelease, stamp: Stamp, caller: Caller) -> Decision:
    """End a reservation of somebody else. Its token is stale once another has the paths."""
    if not caller.operator:
        return Refusal(
            Code.OPERATOR_REQUIRED,
            "reservations of others are ended by operators: a key with that right",
        )
    reservation = state.holdings.by_id.get(command.reservation_id)
    if reservation is None:
        return not_found(command.reservation_id)
    event = released(reservation, "forced", reason=command.reason, by=command.by)
    answer = view(state, reservation, ended="released", ended_at_us=state.at_us)
    return Accepted(answer, events=(event,), actor=caller.agent_id)


DECISIONS: Decisions = {
    ForceRelease: force_release,
    ReservePaths: reserve,
    RenewReservation: renew,
    ReleaseReservation: release,
    CheckPaths: check,
}
