"""What stands in the way of a claim: others' reservations, then others' places in the line."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from intermute.domain import limits
from intermute.domain.holdings import Claim, Reservation, Ticket, parse_pattern
from intermute.domain.limits import CURSOR_MAX
from intermute.domain.modes import IN_WORDS, Mode
from intermute.domain.overlaps import can_show, charge_reading
from intermute.domain.refusals import Code, Refusal
from intermute.domain.state import State
from intermute.domain.times import iso
from intermute.domain.views import CheckedView, ConflictView
from intermute.globs import BadPattern, Pattern, TooMuchWork, Work, witness

_NOTHING = CheckedView((), 0, more=False)


def parse_all(
    patterns: Iterable[str], *, case_sensitive: bool, work: Work | None = None
) -> tuple[Pattern, ...] | Refusal:
    """The patterns parsed, or what is wrong with the first bad one and where.

    Raises:
        TooMuchWork: There is not as much left as it costs to read them.
    """
    parsed = []
    for ordinal, text in enumerate(patterns):
        if work is not None:
            charge_reading(text, work)
        try:
            parsed.append(parse_pattern(text, case_sensitive=case_sensitive))
        except BadPattern as bad:
            shown = text[: limits.QUOTED_PATTERN_LEN_MAX]
            where = "" if bad.position is None else f" at character {bad.position}"
            return Refusal(
                Code.INVALID_PATTERN,
                f"pattern {shown!r} is not valid: {bad.reason}{where}",
                {
                    "pattern": shown,
                    "pattern_index": ordinal,
                    "position": bad.position,
                    "reason": bad.reason,
                },
            )
    return tuple(parsed)


def read(state: State, patterns: Iterable[str]) -> tuple[Pattern, ...] | Refusal:
    """The same, by the project's rule and within what the request may spend on it.

    Raises:
        TooMuchWork: It is more.
    """
    work = state.allowance.to_read()
    return parse_all(patterns, case_sensitive=state.case_sensitive, work=work)


class Meeting(NamedTuple):
    """A claim in the way, by which two patterns, and the place of the one asked for."""

    claim: Claim
    held: Pattern
    requested: Pattern
    place: int


def blockers(
    state: State,
    wanted: Sequence[Pattern],
    mode: Mode,
    own: str | None,
    before: int,
    work: Work,
) -> Iterator[Claim]:
    """Each claim of somebody else that keeps a claim of that age from being granted.

    A claim may come more than once.

    Raises:
        TooMuchWork: From the iterator.
    """
    for meeting in _meetings(state, wanted, mode, own, before, work):
        yield meeting.claim


def _meetings(
    state: State,
    wanted: Sequence[Pattern],
    mode: Mode,
    own: str | None,
    before: int,
    work: Work | None,
) -> Iterator[Meeting]:
    """Who is met, with which pattern, by which wanted one: held first, then waiting."""
    for reservation, held, place in state.holdings.meeting(wanted, mode, work):
        if reservation.agent_id != own:
            yield Meeting(reservation, held, wanted[place], place)
    if not len(state.line):
        return
    for ticket, waiting, place in state.line.meeting(wanted, mode, work):
        if ticket.agent_id != own and ticket.cursor < before:
            yield Meeting(ticket, waiting, wanted[place], place)


def conflicts(
    state: State,
    wanted: Sequence[Pattern],
    mode: Mode,
    *,
    own: str | None,
    work: Work,
    before: int = CURSOR_MAX,
    partly: bool = False,
) -> CheckedView:
    """Whose claims stand in the way, each once: active before waiting, oldest first.

    They are counted, and listed, up to their bounds.

    Args:
        own: Whose claims are left out.
        work: What it may cost to find them; to show them has a bound of its own.
        before: The age of the claim that is asked for; only older tickets are in its way.
        partly: Be content with what was found when the work is spent.

    Raises:
        TooMuchWork: It is spent, and all is wanted.
    """
    found, more = meet(state, wanted, mode, own=own, before=before, work=work, partly=partly)
    if not found:
        return CheckedView((), 0, more=True) if more else _NOTHING
    listed = tuple(_shown(state, found))
    waiting = sum(isinstance(meeting.claim, Ticket) for meeting in found)
    return CheckedView(listed, len(found), more or len(found) > len(listed), waiting)


def meet(
    state: State,
    wanted: Sequence[Pattern],
    mode: Mode,
    *,
    own: str | None,
    before: int = CURSOR_MAX,
    counted_max: int = limits.CONFLICTS_COUNTED_MAX,
    work: Work | None = None,
    partly: bool = False,
) -> tuple[list[Meeting], bool]:
    """Each claim in the way once, as `conflicts` has them, and whether there may be more of them.

    Raises:
        TooMuchWork: The work is spent, and not only part of them is wanted.
    """
    found: dict[str, Meeting] = {}
    more = False
    try:
        for meeting in _meetings(state, wanted, mode, own, before, work):
            known = found.get(meeting.claim.key)
            if known is not None:
                # The one asked for first is shown.
                if meeting.place < known.place:
                    found[meeting.claim.key] = meeting
                continue
            if len(found) == counted_max:
                more = True
                break
            found[meeting.claim.key] = meeting
    except TooMuchWork:
        if not partly:
            raise
        more = True
    in_order = sorted(
        found.values(), key=lambda each: (isinstance(each.claim, Ticket), each.claim.cursor)
    )
    return in_order, more


def _shown(state: State, found: Sequence[Meeting]) -> Iterator[ConflictView]:
    """The first of them, as many as may be shown; always one."""
    work = state.allowance.to_finish(limits.PATTERN_SHOW_WORK_MAX)
    for ordinal, meeting in enumerate(found[: limits.CONFLICTS_LISTED_MAX]):
        if not can_show(work, meeting.held, meeting.requested) and ordinal:
            return
        yield conflict_view(state, meeting)


def conflict_view(state: State, meeting: Meeting) -> ConflictView:
    """The conflict as it is shown, with a path that both sides match."""
    claim, held, requested, _ = meeting
    holder = state.agents.get(claim.agent_id)
    if holder is None:
        standing = "unregistered"
    else:
        standing = "live" if state.is_live(holder) else "quiet"
    path = witness(held, requested)
    assert path is not None, "the index reported an overlap that has no witness"
    active = isinstance(claim, Reservation)
    return ConflictView(
        reservation_id=claim.key,
        agent_id=claim.agent_id,
        held_by=state.name_of(claim.agent_id),
        holder=standing,
        pattern=held.text,
        requested=requested.text,
        witness=path,
        mode=claim.mode,
        reason=claim.reason,
        since_us=claim.created_at_us,
        expires_at_us=claim.expires_at_us if isinstance(claim, Reservation) else _end_us(claim),
        fencing_token=claim.cursor if active else 0,
        standing="active" if active else "waiting",
    )


def _end_us(claim: Claim) -> int:
    assert isinstance(claim, Ticket)
    return claim.wait_until_us


def conflict_refusal(checked: CheckedView) -> Refusal:
    """The refusal that these conflicts are."""
    return Refusal(
        Code.RESERVATION_CONFLICT,
        _detail(checked),
        {"conflicts": checked.conflicts, "total": checked.total, "more": checked.more},
    )


def _detail(checked: CheckedView) -> str:
    first = checked.conflicts[0]
    others = checked.total - 1
    also = "" if not others else f" ({others} more in the way)"
    if first.standing == "waiting":
        said = f"{first.held_by} ({first.holder}) waits for {first.pattern!r} and came first"
    else:
        said = (
            f"{first.held_by} ({first.holder}) holds {first.pattern!r} {IN_WORDS[first.mode]} "
            f"until {iso(first.expires_at_us)}"
        )
    whom = "" if first.standing == "waiting" else f", ask the holder of {first.reservation_id},"
    return (
        f"{said}; {first.requested!r} meets it at {first.witness!r}{also}. "
        f"Wait in line, as number {checked.waiting + 1}: ask again with wait_seconds, or with "
        f"queue{whom} or take other paths"
    )
