"""Narrowing: a holder keeps part of what it holds and frees the rest, without letting go of it."""

from collections.abc import Sequence

from intermute.domain import limits
from intermute.domain.calls import for_good
from intermute.domain.commands import Caller, NarrowReservation
from intermute.domain.conflicts import read
from intermute.domain.decision import Accepted, Decision, Decisions
from intermute.domain.events import ReservationNarrowed
from intermute.domain.holdings import Reservation, terms_of
from intermute.domain.overlaps import may_cover
from intermute.domain.refusals import Code, Refusal
from intermute.domain.reservations import find_held, refuse_amount, view
from intermute.domain.stamp import Stamp
from intermute.domain.state import State
from intermute.globs import Pattern, covers


def narrow(state: State, command: NarrowReservation, stamp: Stamp, caller: Caller) -> Decision:
    """Keep the patterns that are named, each of which lies within one that is held.

    The lease, the mode and the fencing token stay as they are.

    Raises:
        TooMuchWork: To find out whether they do would take too long.
    """
    reservation = find_held(state, command.reservation_id, command.agent_id, command.fencing_token)
    if isinstance(reservation, Refusal):
        return reservation
    parsed = read(state, command.patterns)
    if isinstance(parsed, Refusal):
        return parsed
    refusal = _refuse_kept(state, reservation, parsed)
    if refusal is not None:
        return refusal
    terms = terms_of(reservation.agent_id, parsed, reservation.mode)
    if terms == reservation.terms:
        return Accepted(view(state, reservation), marks=for_good(reservation))
    if terms in state.holdings.by_terms or terms in state.line.by_terms:
        return Refusal(
            Code.INVALID_REQUEST,
            f"{reservation.agent_id} holds or waits for just these patterns already: release "
            f"{reservation.key} instead",
        )
    event = ReservationNarrowed(
        reservation.key,
        reservation.agent_id,
        command.patterns,
        fencing_token=reservation.cursor,
    )
    answer = view(state, reservation, patterns=command.patterns)
    return Accepted(answer, (event,), for_good(reservation), reservation.agent_id)


def _refuse_kept(state: State, reservation: Reservation, kept: Sequence[Pattern]) -> Refusal | None:
    if not kept:
        return Refusal(
            Code.INVALID_REQUEST, "name the patterns that are kept, or release the reservation"
        )
    work = state.allowance.to_find(limits.PATTERN_WORK_MAX)
    same = {held.normalised for held in reservation.parsed}
    for ordinal, pattern in enumerate(kept):
        if pattern.normalised not in same and not any(
            may_cover(held, pattern, work) and covers(held, pattern) for held in reservation.parsed
        ):
            return Refusal(
                Code.NOT_COVERED,
                f"{pattern.text!r} is not known to lie within one of the patterns held: name one "
                "of them, or a path or directory inside",
                {"pattern": pattern.text, "pattern_index": ordinal},
            )
    return refuse_amount(state, reservation.agent_id, kept, instead_of=reservation.parsed)


DECISIONS: Decisions = {NarrowReservation: narrow}
