"""Fencing tokens: whether what was granted long ago is still the newest grant of its paths.

The token of a grant is the cursor of its event, so tokens only grow. A token is stale once somebody
else was granted a conflicting reservation after it, whether that one is still held or not. While a
reservation is held nobody is, so only tokens of ended ones are looked for, among the grants that
came after them.

Whether two grants conflicted was judged by the rule for the case of letters that held then. Nothing
is held when that rule changes, so a token from before it belongs to an ended reservation; whether
its paths changed hands under the former rule is not found out under another one.
"""

from intermute.domain import limits
from intermute.domain.commands import Caller, CheckFence
from intermute.domain.conflicts import parse_all, read
from intermute.domain.decision import Accepted, Decision, Decisions
from intermute.domain.modes import CONFLICTING
from intermute.domain.refusals import Code, Refusal
from intermute.domain.stamp import Stamp
from intermute.domain.state import State
from intermute.domain.times import iso
from intermute.domain.views import FenceView, ReservationView, SupersededView
from intermute.globs import Pattern, PatternIndex, TooMuchWork, witness

# Characters of a wildcard pattern that cost as much to compare as a plain path does.
_WILD_LEN_OF_PLAIN = 8

# What it costs to look at a grant, in nanoseconds or thereabouts.
_GRANT = 5_000


def check_fence(state: State, command: CheckFence, stamp: Stamp, caller: Caller) -> Decision:
    """How a token stands. Changes nothing."""
    found = look(state, command.fencing_token)
    return found if isinstance(found, Refusal) else Accepted(found)


def look(state: State, fencing_token: int) -> FenceView | Refusal:
    """How a token stands, or that there is none."""
    granted = None if state.archive is None else state.archive.grant(fencing_token)
    if granted is None:
        return Refusal(
            Code.RESERVATION_NOT_FOUND, f"no reservation was granted with the token {fencing_token}"
        )
    status, superseded = "current", None
    if granted.reservation_id not in state.holdings.by_id:
        superseded, seen_all = _superseded_by(state, granted)
        if superseded is not None:
            status = "superseded"
        elif not seen_all:
            status = "outdated"
        else:
            status = "released" if granted.ended == "released" else "lapsed"
    return FenceView(
        fencing_token=fencing_token,
        reservation_id=granted.reservation_id,
        agent_id=granted.agent_id,
        project=state.project,
        status=status,
        newest=status in ("current", "released", "lapsed"),
        ended_at_us=granted.ended_at_us,
        superseded_by=superseded,
    )


def refuse_stale(state: State, fencing_token: int | None) -> Refusal | None:
    """The refusal of a token that is stale, or unknown; None when it is neither, or not given."""
    if fencing_token is None:
        return None
    fence = look(state, fencing_token)
    if isinstance(fence, Refusal):
        return fence
    if fence.newest:
        return None
    return Refusal(
        Code.STALE_TOKEN,
        f"the fencing token {fencing_token} is stale: {_by_whom(fence)}. Look at the files again "
        "before you write, and reserve anew",
        {
            "fencing_token": fencing_token,
            "reservation_id": fence.reservation_id,
            "superseded_by": fence.superseded_by,
        },
    )


def refuse_other_token(reservation_id: str, fencing_token: int, *, actual: int) -> Refusal:
    """The refusal of a token that is not that of the reservation it is presented for."""
    return Refusal(
        Code.STALE_TOKEN,
        f"the fencing token {fencing_token} is not that of {reservation_id}, which is {actual}",
        {"fencing_token": fencing_token, "reservation_id": reservation_id, "superseded_by": None},
    )


def _by_whom(fence: FenceView) -> str:
    by = fence.superseded_by
    if by is None:
        return (
            "too much was granted since to tell whether its paths changed hands, or the rule for "
            "the case of letters changed"
        )
    return (
        f"{by.held_by} was granted {by.pattern!r} at {iso(by.since_us)}, with the token "
        f"{by.fencing_token}"
    )


def _superseded_by(state: State, granted: ReservationView) -> tuple[SupersededView | None, bool]:
    """The first later grant that conflicts with an ended one, and whether all were looked at.

    Raises:
        TooMuchWork: Because of what came before it in the same request.
    """
    if granted.cursor < state.rows.case_changed():
        return None, False
    work = state.allowance.to_find(limits.PATTERN_WORK_MAX)
    own = read(state, granted.patterns)
    if isinstance(own, Refusal):
        return None, False
    index: PatternIndex[int] = PatternIndex(case_sensitive=state.case_sensitive)
    for ordinal, pattern in enumerate(own):
        index.add(ordinal, pattern)
    # The same patterns come again and again, and cost only once.
    free: set[tuple[str, ...]] = set()
    left = limits.FENCE_PATTERNS_MAX
    token, most = granted.cursor, limits.FENCE_GRANTS_MAX
    modes = CONFLICTING[granted.mode]
    for later in state.rows.grants_since(token, but_to=granted.agent_id, modes=modes, most=most):
        if later.patterns in free:
            continue
        try:
            work.spend(_GRANT)
            theirs = parse_all(later.patterns, case_sensitive=state.case_sensitive, work=work)
            if isinstance(theirs, Refusal):
                return None, False
            for pattern in theirs:
                met = next(index.overlapping(pattern, work), None)
                if met is not None:
                    return _superseded(state, later, pattern, own[met]), True
                left -= 1 if pattern.is_literal else 1 + len(pattern.text) // _WILD_LEN_OF_PLAIN
        except TooMuchWork:
            if state.allowance.short:
                raise
            return None, False
        if left <= 0:
            return None, False
        free.add(later.patterns)
    return None, not state.rows.more_grants_since(token, most)


def _superseded(
    state: State, later: ReservationView, pattern: Pattern, own: Pattern
) -> SupersededView:
    path = witness(pattern, own)
    assert path is not None, "the index reported an overlap that has no witness"
    return SupersededView(
        reservation_id=later.reservation_id,
        agent_id=later.agent_id,
        held_by=state.name_of(later.agent_id),
        fencing_token=later.cursor,
        pattern=pattern.text,
        witness=path,
        since_us=later.created_at_us,
    )


DECISIONS: Decisions = {CheckFence: check_fence}
