"""What the commands say to people: who has it, until when, where both meet, what to do next.

It comes from others and goes to a terminal, so nothing but printable characters gets through.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from intermute.domain.limits import PROBLEM_DETAIL_LEN_MAX
from intermute.domain.modes import IN_WORDS

Members = Mapping[str, Any]

_PATTERNS_SHOWN = 5


def plain(text: object) -> str:
    """The text without what a terminal would take for a command."""
    return "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(text)
    )


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def until(stamp: object, *, now: datetime | None = None) -> str:
    """The time as it came, and how far away it is if that can be told."""
    text = plain(stamp)
    try:
        left_s = (datetime.fromisoformat(text) - (now or datetime.now(UTC))).total_seconds()
    except (ValueError, TypeError):
        return text
    if left_s < 0:
        return text
    if left_s < 90:
        return f"{text} (in {left_s:.0f} s)"
    if left_s < 90 * 60:
        return f"{text} (in {left_s / 60:.0f} min)"
    return f"{text} (in {left_s / 3600:.0f} h)"


def patterns(members: Members) -> str:
    found = [plain(each) for each in members.get("patterns") or ()]
    more = len(found) - _PATTERNS_SHOWN
    shown = ", ".join(found[:_PATTERNS_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def reservation(members: Members) -> Iterator[str]:
    """A reservation in one line, or two."""
    mode = IN_WORDS.get(str(members.get("mode")), "")
    state = f"until {until(members.get('expires_at'))}"
    if not members.get("is_active"):
        over = members.get("released_at") or members.get("expired_at")
        state = "over" if over is None else f"over since {plain(over)}"
    agent = plain(members.get("agent_id"))
    yield f"{plain(members.get('id'))}  {agent}  {mode} {state}: {patterns(members)}"
    if members.get("reason"):
        yield f"    reason: {plain(members['reason'])}"


def conflict(members: Members) -> Iterator[str]:
    """Who is in the way, how, until when, and at which path."""
    who = f"{plain(members.get('held_by'))} ({plain(members.get('holder'))})"
    held, mode = plain(members.get("pattern")), IN_WORDS.get(str(members.get("mode")), "")
    if members.get("standing") == "waiting":
        said = f"{who} waits for {held} and came first; it waits until at most"
    else:
        said = f"{who} holds {held} {mode} until"
    yield f"{plain(members.get('requested'))}: {said} {until(members.get('expires_at'))}"
    yield f"    both match {plain(members.get('witness'))}"
    if members.get("reason"):
        yield f"    reason: {plain(members['reason'])}"


def conflicts(members: Members) -> Iterator[str]:
    """All that is listed, what is not, and the place in the line that there would be."""
    listed: Sequence[Members] = members.get("conflicts") or ()
    for each in listed:
        yield from conflict(each)
    total = members.get("total", len(listed))
    if total > len(listed):
        yield f"... and {count(total - len(listed), 'conflict')} more"
    elif members.get("more"):
        yield "... and there are more"
    waiting = sum(each.get("standing") == "waiting" for each in listed)
    if waiting:
        yield f"{count(waiting, 'other')} came first: the place in line would be {waiting + 1}"


def ticket(members: Members) -> Iterator[str]:
    """A place in the line, and what it waits for."""
    place, until_ = members.get("position"), until(members.get("wait_until"))
    yield f"{plain(members.get('ticket_id'))}  place {plain(place)} in line until {until_}"
    for each in members.get("blocked_by") or ():
        yield from conflict(each)


def problem(members: Members, status: int) -> str:
    """A refusal in the server's own words."""
    code, detail = members.get("code"), members.get("detail")
    if not (code and detail):
        return f"the server answered {status}"
    return plain(f"{str(code)[:PROBLEM_DETAIL_LEN_MAX]}: {str(detail)[:PROBLEM_DETAIL_LEN_MAX]}")
