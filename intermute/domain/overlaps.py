"""Which of many patterns overlap, found for all of them at once and for a bounded price.

Paths are looked up in an index of the patterns with wildcards. Two patterns with wildcards are
only compared when neither their beginnings nor their ends tell them apart, which leaves few of
them unless somebody wants it otherwise. What the rest may cost at worst is counted before it is
done, so whether a plan is looked at or refused does not depend on how fast the machine is.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from intermute.globs import Pattern, PatternIndex, Work, overlap, settled
from intermute.globs.work import COMPILE_CHAR

_WILD = re.compile(r"[*?\[{\\]")
_LAST_NAME = re.compile(r"(?:\A|/)([^*?/]*)[*?](?:[^/]*[*?])?([^*?/]*)\Z")

# What things cost at worst, in nanoseconds or thereabouts.
_LOOK = 300
_LOOK_UP = 1_000
_SEARCH = 8_000
_ASK_WHOLE = 6_000
_DECIDE = 25_000
_DECIDE_CHARS = 3
_SHOW_TIMES = 6
_READ = 10_000
_READ_PLAIN_CHAR = 500
_READ_CHAR = 700
_READ_CHAR_SQUARED = 4
_READ_GROUP = 90_000
_READ_ALTERNATIVE = 30_000
_READ_CLASS = 40_000
_READ_WILDCARD = 3_000


def charge_reading(text: str, work: Work) -> None:
    """Count what it costs to read a pattern; a plain path costs next to nothing.

    Raises:
        TooMuchWork: It is more than is left.
    """
    if _WILD.search(text) is None:
        if text.isascii():
            return
        cost = _READ + len(text) * _READ_PLAIN_CHAR
    else:
        cost = (
            _READ
            + len(text) * (_READ_CHAR + len(text) * _READ_CHAR_SQUARED)
            + text.count("{") * _READ_GROUP
            + text.count(",") * _READ_ALTERNATIVE
            + text.count("[") * _READ_CLASS
            + (text.count("*") + text.count("?")) * _READ_WILDCARD
        )
    # No pattern holds the character that keeps this apart from what else is counted once.
    work.spend_once(f"\0{text}", cost)


def can_show(work: Work, a: Pattern, b: Pattern) -> bool:
    """Whether there is enough left to find a witness of these two; if so, it is spent."""
    cost = _LOOK_UP if a.is_literal and b.is_literal else _SHOW_TIMES * _cost(a, b)
    if cost > work.left:
        return False
    work.spend(cost)
    return True


def may_cover(whole: Pattern, part: Pattern, work: Work) -> bool:
    """Whether the beginnings of two patterns allow that one covers the other. What it costs to find
    out whether it does is spent, unless they do not.

    Raises:
        TooMuchWork: There is not as much left.
    """
    work.spend(_LOOK_UP)
    if not (part.normalised + "/").startswith(head_of(whole.normalised)):
        return False
    if whole.is_literal:
        return True
    work.spend_once(whole.normalised, len(whole.normalised) * COMPILE_CHAR)
    work.spend(len(part.normalised) * whole.automaton.step_work)
    return True


def overlapping_pairs(patterns: Sequence[Pattern], work: Work) -> Iterator[tuple[int, int]]:
    """The places of every two that overlap, each pair once. No two patterns are equal.

    Raises:
        TooMuchWork: Before most of it is done.
    """
    if not patterns:
        return
    paths: dict[str, int] = {}
    wild: list[int] = []
    for place, pattern in enumerate(patterns):
        if pattern.path is not None:
            paths[pattern.path] = place
        else:
            wild.append(place)
    compared = list(_to_compare(patterns, wild, work))
    starts = _Starts(path + "/" for path in paths)
    _charge((patterns[place].normalised for place in wild), starts, _LOOK_UP, work)
    yield from _nested(paths, work)
    index: PatternIndex[int] = PatternIndex(case_sensitive=patterns[0].case_sensitive)
    for place in wild:
        index.add(place, patterns[place])
    if wild:
        for place in paths.values():
            for other in index.overlapping(patterns[place]):
                yield place, other
    for place, other in compared:
        if overlap(patterns[place], patterns[other]):
            yield place, other


def _nested(paths: dict[str, int], work: Work) -> Iterator[tuple[int, int]]:
    """Paths of which one lies below the other."""
    for path, place in paths.items():
        end = path.find("/")
        while end > 0:
            work.spend(_LOOK)
            above = paths.get(path[:end])
            if above is not None:
                yield above, place
            end = path.find("/", end + 1)


class _Starts:
    """Texts in order, such that those which begin with one and the same text are counted fast."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._sorted = sorted(texts)
        self._lens = [0, *accumulate(map(len, self._sorted))]

    def below(self, head: str, *, longer: bool = False) -> tuple[int, int]:
        """How many begin with `head`, and their characters; those equal to it too or not."""
        first = (bisect_right if longer else bisect_left)(self._sorted, head)
        last = bisect_left(self._sorted, head + "\U0010ffff", lo=first)
        return last - first, self._lens[last] - self._lens[first]


def charge_searches(wanted: Iterable[Pattern], filed: Iterable[Pattern], work: Work) -> None:
    """Count what it may cost to look for all that is wanted in an index of what is filed.

    Raises:
        TooMuchWork: It is more than is left.
    """
    paths, wild = _sorted_out(wanted)
    filed_paths, filed_wild = _sorted_out(filed)
    if wild:
        _charge(wild, _Starts(filed_paths), _LOOK, work)
        _charge(wild, _Starts(head_of(text) for text in filed_wild), _SEARCH, work)
    if filed_wild:
        _charge(filed_wild, _Starts(paths), _LOOK_UP, work)
        heads = _Starts(head_of(text) for text in wild)
        _charge(filed_wild, heads, _SEARCH, work, longer=True)


def _sorted_out(patterns: Iterable[Pattern]) -> tuple[list[str], list[str]]:
    """Paths, with a `/` at their end, and the texts of the other patterns."""
    paths, wild = [], []
    for pattern in patterns:
        if pattern.path is None:
            wild.append(pattern.normalised)
        else:
            paths.append(pattern.path + "/")
    return paths, wild


def _charge(
    wild: Iterable[str], starts: _Starts, each: int, work: Work, *, longer: bool = False
) -> None:
    for text in wild:
        count, chars = starts.below(head_of(text), longer=longer)
        # A pattern that braces make into many may have to be asked as a whole.
        cost = max(each, _ASK_WHOLE) if "{" in text else each
        work.spend(count * cost + chars * len(text) * _DECIDE_CHARS)


def _to_compare(
    patterns: Sequence[Pattern], wild: Sequence[int], work: Work
) -> Iterator[tuple[int, int]]:
    """Those with wildcards that neither beginning nor end keeps apart."""
    ends = sorted(
        (head_of(text), *last_name_of(text), place)
        for place, text in ((place, patterns[place].normalised) for place in wild)
    )
    for at, (head, start, end, place) in enumerate(ends):
        # Sorted as they are, those that begin with a text stand together behind it.
        for beside in range(at + 1, len(ends)):
            longer, other_start, other_end, other = ends[beside]
            if not longer.startswith(head):
                break
            work.spend(_LOOK)
            if (end.endswith(other_end) or other_end.endswith(end)) and (
                start.startswith(other_start) or other_start.startswith(start)
            ):
                work.spend(_cost(patterns[place], patterns[other]))
                yield place, other


def _cost(a: Pattern, b: Pattern) -> int:
    return _DECIDE + len(a.normalised) * len(b.normalised) * _DECIDE_CHARS


def head_of(text: str) -> str:
    """What each match of a normalised pattern begins with, when a `/` is put at its end."""
    wild = _WILD.search(text)
    return settled(text if wild is None else text[: wild.start()])


def last_name_of(text: str) -> tuple[str, str]:
    """What the last name of each match of a normalised pattern begins and ends with.

    Both are empty where that is hard to tell, or where what lies below is matched as well.
    """
    if "{" in text or "[" in text or "\\" in text:
        return "", ""
    last = _LAST_NAME.search(text)
    return ("", "") if last is None else (last[1], last[2])
