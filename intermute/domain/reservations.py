"""Reservations: who holds which paths, until when, and what a request would meet.

A lease lapses at its deadline: from then on it stops nobody, and an event says so. For the
heartbeat grace after that its holder may still renew it, as long as nobody was granted a
conflicting reservation in between: then nothing has changed hands, so nothing can have been
overwritten.
"""

from collections.abc import Iterable, Sequence

from intermute.domain import limits
from intermute.domain.commands import (
    Caller,
    CheckPaths,
    ExpireLeases,
    ReleaseReservation,
    RenewReservation,
    ReservePaths,
    ResumeLeases,
)
from intermute.domain.decision import Accepted, Decision, Decisions
from intermute.domain.events import (
    EventData,
    ReservationCreated,
    ReservationExpired,
    ReservationReleased,
    ReservationRenewed,
)
from intermute.domain.refusals import Code, Refusal
from intermute.domain.stamp import Stamp, make_id
from intermute.domain.state import Reservation, State, claim_of, parse_pattern, wild_len
from intermute.domain.times import iso
from intermute.domain.views import CheckedView, ConflictView, ExpiredView, ReservationView
from intermute.globs import BadPattern, Pattern, witness

GRACE_US = limits.HEARTBEAT_GRACE_MS * 1000


def view(
    state: State,
    reservation: Reservation,
    *,
    ttl_ms: int | None = None,
    expires_at_us: int | None = None,
    ended: str | None = None,
    ended_at_us: int | None = None,
) -> ReservationView:
    """The reservation as of now, or with what is about to change in it."""
    return ReservationView(
        reservation_id=reservation.reservation_id,
        agent_id=reservation.agent_id,
        project=state.project,
        patterns=reservation.patterns,
        exclusive=reservation.exclusive,
        reason=reservation.reason,
        ttl_ms=reservation.ttl_ms if ttl_ms is None else ttl_ms,
        created_at_us=reservation.created_at_us,
        expires_at_us=reservation.expires_at_us if expires_at_us is None else expires_at_us,
        cursor=reservation.cursor,
        ended=ended,
        ended_at_us=ended_at_us,
    )


def parse_all(patterns: Iterable[str], *, case_sensitive: bool) -> tuple[Pattern, ...] | Refusal:
    """The patterns parsed, or what is wrong with the first bad one and where."""
    parsed = []
    for ordinal, text in enumerate(patterns):
        try:
            parsed.append(parse_pattern(text, case_sensitive=case_sensitive))
        except BadPattern as bad:
            where = "" if bad.position is None else f" at character {bad.position}"
            return Refusal(
                Code.INVALID_PATTERN,
                f"pattern {text[:200]!r} is not valid: {bad.reason}{where}",
                {
                    "pattern": text[:200],
                    "pattern_index": ordinal,
                    "position": bad.position,
                    "reason": bad.reason,
                },
            )
    return tuple(parsed)


def conflicts(
    state: State, requested: Sequence[Pattern], *, exclusive: bool, own: str | None
) -> CheckedView:
    """Whose reservations stand in the way, each once, oldest first, up to the listed bound."""
    found: dict[str, tuple[Reservation, Pattern, Pattern]] = {}
    more = False
    for pattern in requested:
        for reservation, held in state.holdings.overlapping(pattern, exclusive=exclusive):
            if reservation.agent_id == own or reservation.reservation_id in found:
                continue
            if len(found) == limits.CONFLICTS_LISTED_MAX:
                more = True
                break
            found[reservation.reservation_id] = (reservation, held, pattern)
        if more:
            break
    oldest_first = sorted(found.values(), key=lambda conflict: conflict[0].cursor)
    return CheckedView(tuple(_conflict(state, *conflict) for conflict in oldest_first), more)


def _conflict(
    state: State, reservation: Reservation, held: Pattern, requested: Pattern
) -> ConflictView:
    holder = state.agents.get(reservation.agent_id)
    if holder is None:
        standing = "unregistered"
    else:
        standing = "live" if state.is_live(holder) else "quiet"
    path = witness(held, requested)
    assert path is not None, "the index reported an overlap that has no witness"
    return ConflictView(
        reservation_id=reservation.reservation_id,
        agent_id=reservation.agent_id,
        held_by=reservation.agent_id if holder is None else holder.name,
        holder=standing,
        pattern=held.text,
        requested=requested.text,
        witness=path,
        exclusive=reservation.exclusive,
        reason=reservation.reason,
        since_us=reservation.created_at_us,
        expires_at_us=reservation.expires_at_us,
    )


def reserve(state: State, command: ReservePaths, stamp: Stamp, caller: Caller) -> Decision:
    """Grant the whole set or refuse it whole. One's own reservations never conflict.

    Asking again for what one holds already is a renewal: nothing is held twice.
    """
    parsed = parse_all(command.patterns, case_sensitive=state.case_sensitive)
    if isinstance(parsed, Refusal):
        return parsed
    claim = claim_of(command.agent_id, parsed, exclusive=command.exclusive)
    held = state.holdings.by_claim.get(claim)
    if held is not None:
        return _hold_on(state, state.holdings.by_id[held], command.ttl_ms)
    refusal = _refuse_amount(state, command.agent_id, parsed)
    if refusal is not None:
        return refusal
    checked = conflicts(state, parsed, exclusive=command.exclusive, own=command.agent_id)
    if checked.conflicts:
        return Refusal(
            Code.RESERVATION_CONFLICT,
            _conflict_detail(checked),
            {"conflicts": checked.conflicts, "more": checked.more},
        )
    event = ReservationCreated(
        reservation_id=make_id("rsv", state.tag, stamp.unique()),
        agent_id=command.agent_id,
        patterns=command.patterns,
        exclusive=command.exclusive,
        reason=command.reason,
        ttl_ms=command.ttl_ms,
        expires_at_us=state.at_us + command.ttl_ms * 1000,
    )
    answer = ReservationView(
        reservation_id=event.reservation_id,
        agent_id=event.agent_id,
        project=state.project,
        patterns=event.patterns,
        exclusive=event.exclusive,
        reason=event.reason,
        ttl_ms=event.ttl_ms,
        created_at_us=state.at_us,
        expires_at_us=event.expires_at_us,
        cursor=state.cursor + 1,
    )
    return Accepted(answer, events=(event,), actor=command.agent_id)


def _refuse_amount(state: State, agent_id: str, parsed: Sequence[Pattern]) -> Refusal | None:
    wanted = len(parsed)
    held = state.holdings.patterns_by_agent.get(agent_id, 0)
    if held + wanted > state.patterns_per_agent_max:
        return Refusal(
            Code.LIMIT_REACHED,
            f"agent {agent_id} holds {held} patterns and may hold {state.patterns_per_agent_max}: "
            "release some first, or reserve a directory instead of its files",
            {"held": held, "limit": state.patterns_per_agent_max},
        )
    if state.holdings.patterns_len + wanted > limits.PATTERNS_ACTIVE_MAX:
        return Refusal(
            Code.LIMIT_REACHED,
            f"the project holds {state.holdings.patterns_len} patterns and may hold "
            f"{limits.PATTERNS_ACTIVE_MAX}",
            {"held": state.holdings.patterns_len, "limit": limits.PATTERNS_ACTIVE_MAX},
        )
    return _refuse_wild(state.holdings.wild_len_by_agent.get(agent_id, 0), parsed)


def _refuse_wild(held_len: int, parsed: Sequence[Pattern]) -> Refusal | None:
    """Bound what can be made slow on purpose; plain paths are free of this."""
    length = wild_len(parsed)
    if not length or held_len + length <= limits.WILD_LEN_MAX:
        return None
    return Refusal(
        Code.LIMIT_REACHED,
        f"patterns with wildcards may have {limits.WILD_LEN_MAX} characters together, in one "
        "request and held by one agent: name directories or plain paths instead",
        {"held": held_len, "limit": limits.WILD_LEN_MAX},
    )


def _conflict_detail(checked: CheckedView) -> str:
    first = checked.conflicts[0]
    mode = "exclusively" if first.exclusive else "shared"
    others = len(checked.conflicts) - 1
    also = "" if not others else f" ({others}{' or more' if checked.more else ''} more in the way)"
    return (
        f"{first.held_by} ({first.holder}) holds {first.pattern!r} {mode} until "
        f"{iso(first.expires_at_us)}; {first.requested!r} meets it at {first.witness!r}{also}. "
        "Take other paths, ask the holder, or try again after that time"
    )


def check(state: State, command: CheckPaths, stamp: Stamp, caller: Caller) -> Decision:
    """What `reserve` would meet now. Changes nothing and promises nothing."""
    parsed = parse_all(command.patterns, case_sensitive=state.case_sensitive)
    if isinstance(parsed, Refusal):
        return parsed
    refusal = _refuse_wild(0, parsed)
    if refusal is not None:
        return refusal
    return Accepted(conflicts(state, parsed, exclusive=command.exclusive, own=command.agent_id))


def not_found(reservation_id: str) -> Refusal:
    return Refusal(
        Code.RESERVATION_NOT_FOUND,
        f"no reservation {reservation_id[:100]!r} is held here: it was released, or it lapsed "
        "and is gone",
    )


def _find_own(state: State, reservation_id: str, agent_id: str | None) -> Reservation | Refusal:
    """The agent's reservation, granted or lapsed; only its holder may renew and release it."""
    held = state.holdings.by_id.get(reservation_id)
    reservation = held or state.lapsed.by_id.get(reservation_id)
    if reservation is None:
        return not_found(reservation_id)
    if agent_id != reservation.agent_id:
        return Refusal(
            Code.NOT_THE_OWNER,
            "a reservation is renewed and released by its holder: send its agent id as X-Agent-ID",
        )
    return reservation


def renew(state: State, command: RenewReservation, stamp: Stamp, caller: Caller) -> Decision:
    """Count the lease anew from now, or take back one that lapsed and that nobody took since."""
    reservation = _find_own(state, command.reservation_id, command.agent_id)
    if isinstance(reservation, Refusal):
        return reservation
    active = reservation.reservation_id in state.holdings.by_id
    if not active:
        refusal = _refuse_lapsed(state, reservation)
        if refusal is not None:
            return refusal
    return _renewed(state, reservation, command.ttl_ms or reservation.ttl_ms)


def _hold_on(state: State, reservation: Reservation, ttl_ms: int) -> Accepted:
    """Renew what is asked for again, but never shorten what was promised."""
    if state.mono_us + ttl_ms * 1000 <= reservation.deadline_us:
        return Accepted(view(state, reservation))
    return _renewed(state, reservation, ttl_ms)


def _renewed(state: State, reservation: Reservation, ttl_ms: int) -> Accepted:
    event = ReservationRenewed(
        reservation_id=reservation.reservation_id,
        agent_id=reservation.agent_id,
        ttl_ms=ttl_ms,
        expires_at_us=state.at_us + ttl_ms * 1000,
        cause="holder",
    )
    answer = view(state, reservation, ttl_ms=ttl_ms, expires_at_us=event.expires_at_us)
    return Accepted(answer, events=(event,), actor=reservation.agent_id)


def _refuse_lapsed(state: State, reservation: Reservation) -> Refusal | None:
    if state.mono_us < reservation.deadline_us + GRACE_US:
        return _refuse_amount(state, reservation.agent_id, reservation.parsed)
    return Refusal(
        Code.RESERVATION_LAPSED,
        f"the lease lapsed at {iso(reservation.expires_at_us)} and its grace is over: look at the "
        "files again before you write, and reserve anew",
    )


def release(state: State, command: ReleaseReservation, stamp: Stamp, caller: Caller) -> Decision:
    """Give it back. A lease that has lapsed but is remembered is given back without an event."""
    reservation = _find_own(state, command.reservation_id, command.agent_id)
    if isinstance(reservation, Refusal):
        return reservation
    active = reservation.reservation_id in state.holdings.by_id
    if not active:
        ended_at_us = reservation.expires_at_us
        return Accepted(view(state, reservation, ended="expired", ended_at_us=ended_at_us))
    event = ReservationReleased(reservation.reservation_id, reservation.agent_id, "holder")
    answer = view(state, reservation, ended="released", ended_at_us=state.at_us)
    return Accepted(answer, events=(event,), actor=reservation.agent_id)


def expired(reservation: Reservation) -> ReservationExpired:
    return ReservationExpired(
        reservation.reservation_id, reservation.agent_id, reservation.patterns
    )


def expire(state: State, command: ExpireLeases, stamp: Stamp, caller: Caller) -> Decision:
    due = state.holdings.due(state.mono_us)
    return Accepted(
        ExpiredView(tuple(reservation.reservation_id for reservation in due)),
        events=tuple(expired(reservation) for reservation in due),
    )


def resume(state: State, command: ResumeLeases, stamp: Stamp, caller: Caller) -> Decision:
    """Judged on the wall clock: the monotonic clock of the former process is gone."""
    events: list[EventData] = []
    ended = []
    for reservation in state.holdings.by_id.values():
        left_us = reservation.expires_at_us - state.at_us
        if left_us < -GRACE_US:
            events.append(expired(reservation))
            ended.append(reservation.reservation_id)
        elif left_us < GRACE_US:
            events.append(
                ReservationRenewed(
                    reservation_id=reservation.reservation_id,
                    agent_id=reservation.agent_id,
                    ttl_ms=reservation.ttl_ms,
                    expires_at_us=state.at_us + GRACE_US,
                    cause="restart",
                )
            )
    return Accepted(ExpiredView(tuple(ended)), events=tuple(events))


def lapse(state: State, reservation: Reservation) -> None:
    """Remember an expired lease for its grace, and forget those whose grace is over."""
    state.lapsed.add(reservation)
    for old in state.lapsed.due(state.mono_us - GRACE_US):
        _forget(state, old.reservation_id)
    while state.lapsed.patterns_len > limits.PATTERNS_LAPSED_MAX:
        _forget(state, next(iter(state.lapsed.by_id)))


def _forget(state: State, reservation_id: str) -> None:
    state.touched[reservation_id] = None
    state.lapsed.remove(reservation_id)


def forget_taken(state: State, granted: Reservation) -> None:
    """Forget the lapsed leases of others that a new grant conflicts with: they changed hands."""
    if not len(state.lapsed):
        return
    same = state.lapsed.by_claim.get(granted.claim)
    if same is not None:
        # Its holder has begun anew, and nothing may be held twice.
        _forget(state, same)
    taken = {
        lapsed.reservation_id: None
        for pattern in granted.parsed
        for lapsed, _ in state.lapsed.overlapping(pattern, exclusive=granted.exclusive)
        if lapsed.agent_id != granted.agent_id
    }
    for reservation_id in taken:
        _forget(state, reservation_id)


DECISIONS: Decisions = {
    ReservePaths: reserve,
    RenewReservation: renew,
    ReleaseReservation: release,
    CheckPaths: check,
    ExpireLeases: expire,
    ResumeLeases: resume,
}
