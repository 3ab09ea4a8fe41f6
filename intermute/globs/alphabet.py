"""Characters and the symbolic sets of them that label a pattern's automaton.

A label is one of three things: a single character (`str` of length one), `ANY` (every character
but `/`; also with the dot taken out, as `ANY_BUT_DOT`), or a `CharSet` (a class such as `[a-z]`).
Labels are kept symbolic, as ranges of code points, so nothing here grows with the size of Unicode.

A class never matches `/`, a control character, a surrogate or a combining mark, and a folded
class never matches a character which case folding would change. None of these can stand alone
in a normalised path, so leaving them out is what makes "two classes meet" the same statement as
"a normalised path exists in which both match".
"""

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from functools import cache
from typing import Final

Ranges = tuple[tuple[int, int], ...]

_LAST = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)
# Vowels and finals which compose with the syllable before them (Unicode, 3.12), and the only
# composing characters that are not of category M.
_JAMO = ((0x1160, 0x11FF), (0xD7B0, 0xD7FF))
# What a witness shows first, where it has the choice.
_READABLE = "abcdefghijklmnopqrstuvwxyz0123456789_-"


class AnyChar:
    """The label of `?` and `*`: every character but `/`, and optionally not the dot either."""

    __slots__ = ("dot",)

    def __init__(self, *, dot: bool) -> None:
        self.dot = dot


class CharSet:
    """The set of characters one class matches, as sorted ranges that do not touch.

    Compares by value. `folded` says that the pattern ignores case: the ranges then hold the folded
    characters, and characters that folding would change never match.
    """

    __slots__ = ("folded", "ranges")

    def __init__(self, ranges: Iterable[tuple[int, int]], *, folded: bool = False) -> None:
        self.ranges = _merged(ranges)
        self.folded = folded

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, CharSet)
            and self.ranges == other.ranges
            and self.folded == other.folded
        )

    def __hash__(self) -> int:
        return hash((self.ranges, self.folded))

    def __contains__(self, char: str) -> bool:
        code = ord(char)
        at = bisect_right(self.ranges, (code, _LAST)) - 1
        return at >= 0 and code <= self.ranges[at][1] and _is_plain(code, self.folded)

    def negated(self) -> "CharSet":
        """Every character this class does not list."""
        gaps = []
        start = 0
        for low, high in self.ranges:
            if start < low:
                gaps.append((start, low - 1))
            start = high + 1
        if start <= _LAST:
            gaps.append((start, _LAST))
        return CharSet(gaps, folded=self.folded)

    def without_dot(self) -> "CharSet":
        dot = ord(".")
        parts = []
        for low, high in self.ranges:
            if low <= dot <= high:
                parts += [(low, dot - 1)] if low < dot else []
                parts += [(dot + 1, high)] if dot < high else []
            else:
                parts.append((low, high))
        return CharSet(parts, folded=self.folded)

    def common(self, other: "CharSet") -> "CharSet":
        parts = []
        mine, theirs = 0, 0
        while mine < len(self.ranges) and theirs < len(other.ranges):
            low = max(self.ranges[mine][0], other.ranges[theirs][0])
            high = min(self.ranges[mine][1], other.ranges[theirs][1])
            if low <= high:
                parts.append((low, high))
            if self.ranges[mine][1] < other.ranges[theirs][1]:
                mine += 1
            else:
                theirs += 1
        return CharSet(parts, folded=self.folded or other.folded)

    def example(self) -> str | None:
        """A character of the set, a readable one if there is one; None for the empty set."""
        if self.ranges and self.ranges[0][0] <= ord("z"):
            for char in _READABLE:
                if char in self:
                    return char
        for low, high in self.ranges:
            code = _next_plain(low, self.folded)
            if code <= high:
                return chr(code)
        return None


Label = str | AnyChar | CharSet

ANY: Final = AnyChar(dot=True)
ANY_BUT_DOT: Final = AnyChar(dot=False)


def common_char(one: Label, two: Label) -> str | None:
    """A character that both labels allow, or None if there is none."""
    if isinstance(one, str):
        return one if _allows(two, one) else None
    if isinstance(two, str):
        return two if _allows(one, two) else None
    if isinstance(one, AnyChar):
        one, two = two, one
    if isinstance(one, AnyChar):
        return "a"
    if isinstance(two, AnyChar):
        return (one if two.dot else one.without_dot()).example()
    return one.common(two).example()


def without_dot(label: AnyChar | CharSet) -> AnyChar | CharSet:
    return ANY_BUT_DOT if isinstance(label, AnyChar) else label.without_dot()


def is_mark(char: str) -> bool:
    """Whether the character joins the one before it, so that it cannot be judged alone."""
    code = ord(char)
    if code < 0x300:
        return False
    return unicodedata.category(char)[0] == "M" or any(low <= code <= high for low, high in _JAMO)


def nfc(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def fold(text: str) -> str:
    """The text as it is compared when case is ignored: full case folding, in NFC.

    Equal for two texts that are a canonical caseless match (Unicode, 3.13, D145). Folding needs
    them decomposed, because it makes a letter of the iota below (U+0345), which in NFC can stand
    before marks that are above.
    """
    if text.isascii():
        return text.lower()
    return nfc(unicodedata.normalize("NFD", text).casefold())


def fold_ranges(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges and, with them, what each of their characters folds to.

    A character which folds to several (`ß`) adds nothing, as no single character can match it.
    """
    merged = _merged(ranges)
    changed = _changed_by_folding()
    folded = list(merged)
    for low, high in merged:
        for at in range(bisect_left(changed, (low, "")), len(changed)):
            code, result = changed[at]
            if code > high:
                break
            if len(result) == 1:
                folded.append((ord(result), ord(result)))
    return folded


def _allows(label: Label, char: str) -> bool:
    if isinstance(label, str):
        return label == char
    if isinstance(label, AnyChar):
        return char != "/" and (label.dot or char != ".")
    return char in label


def _merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _is_plain(code: int, folded: bool) -> bool:
    if code < 0x80:
        return code >= 0x20 and code != 0x2F and not (folded and 0x41 <= code <= 0x5A)
    if _SURROGATES[0] <= code <= _SURROGATES[1]:
        return False
    char = chr(code)
    if is_mark(char) or not unicodedata.is_normalized("NFC", char):
        return False
    return not folded or fold(char) == char


def _next_plain(code: int, folded: bool) -> int:
    """The first plain code point from `code` on, or one past the last code point."""
    while code <= _LAST:
        if _is_plain(code, folded):
            return code
        following = _plain_in_block(code >> 8, folded)
        at = bisect_left(following, code)
        if at < len(following):
            return following[at]
        code = (code | 0xFF) + 1
    return code


@cache
def _plain_in_block(block: int, folded: bool) -> tuple[int, ...]:
    start = block << 8
    return tuple(code for code in range(start, start + 0x100) if _is_plain(code, folded))


@cache
def _changed_by_folding() -> list[tuple[int, str]]:
    # No character beyond the second plane folds, which a test checks.
    changed = []
    for code in range(0x20000):
        char = chr(code)
        if char.casefold() != char:
            changed.append((code, nfc(char.casefold())))
    return changed
