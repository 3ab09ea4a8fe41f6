"""What the exactness of classes rests on, checked over all of Unicode as this Python knows it."""

import sys
import unicodedata

import pytest

from intermute.globs.alphabet import (
    ANY,
    ANY_BUT_DOT,
    CharSet,
    common_char,
    fold,
    is_mark,
)

EVERY = [chr(code) for code in range(sys.maxunicode + 1)]


def chars(text: str, *, folded: bool = False) -> CharSet:
    return CharSet([(ord(char), ord(char)) for char in text], folded=folded)


def test_whatever_composes_or_is_reordered_counts_as_a_mark() -> None:
    missed = []
    for char in EVERY:
        parts = unicodedata.decomposition(char).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            first, second = (chr(int(part, 16)) for part in parts)
            composes = unicodedata.normalize("NFC", first + second) == char
            if composes and not is_mark(second):
                missed.append(second)
        if unicodedata.combining(char) and not is_mark(char):
            missed.append(char)
    assert missed == []
    assert is_mark("\u1161")
    assert is_mark("\u11a8")


@pytest.mark.parametrize(
    "text", ["\u03b1\u0308\u0345", "\u1fb3\u0308", "\u0391\u0345\u0308", "\u1fbc\u0301x"]
)
def test_a_canonical_caseless_match_is_folded_to_the_same(text: str) -> None:
    """Unicode, 3.13, D145: the iota below becomes a letter, behind all marks of its vowel."""
    apart = unicodedata.normalize("NFD", text)
    assert fold(text) == fold(apart) == fold(apart.upper())
    assert fold(fold(text)) == fold(text)


def test_folding_twice_is_folding_once_and_stays_within_the_planes_looked_at() -> None:
    changed = [char for char in EVERY if char.casefold() != char]
    assert max(map(ord, changed)) < 0x20000
    assert all(fold(fold(char)) == fold(char) for char in changed)
    # A literal run may be folded apart from the rest only if no fold begins with a mark.
    assert not [char for char in changed if not is_mark(char) and is_mark(fold(char)[0])]


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ("a", "a", "a"),
        ("a", "b", None),
        ("/", ANY, None),
        (".", ANY, "."),
        (".", ANY_BUT_DOT, None),
        (ANY, ANY_BUT_DOT, "a"),
        (chars("xyz"), "y", "y"),
        (chars("xyz"), ANY, "x"),
        (chars(".!"), ANY_BUT_DOT, "!"),
        (chars("."), ANY_BUT_DOT, None),
        (chars("xyz"), chars("z!"), "z"),
        (chars("xyz"), chars("!"), None),
        (CharSet([(0x2F0, 0x330)]), CharSet([(0x300, 0x400)]), None),
        (CharSet([(0x2F0, 0x380)]), CharSet([(0x300, 0x400)]), "\u0370"),
        (CharSet([(0xD700, 0xE000)]), CharSet([(0xD7C7, 0xE100)]), "\ue000"),
        (CharSet([(0xF900, 0xFFFF)]), CharSet([(0xF900, 0xFA10)]), "\ufa0e"),
        (CharSet([(0x41, 0x5A)], folded=True), ANY, None),
        (chars("abc").negated(), chars("abcd"), "d"),
        (chars("abc").negated(), chars("abc"), None),
        (chars("-"), "-", "-"),
    ],
)
def test_common_characters(one: object, two: object, expected: str | None) -> None:
    assert common_char(one, two) == expected  # type: ignore[arg-type]
    assert common_char(two, one) == expected  # type: ignore[arg-type]


def test_sets_compare_by_value() -> None:
    assert chars("ab") == CharSet([(97, 98)])
    assert hash(chars("ab")) == hash(CharSet([(97, 98)]))
    assert chars("ab") != chars("ab", folded=True)
    assert chars("ab").negated().negated() == chars("ab")
