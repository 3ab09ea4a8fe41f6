"""The decision against brute force and against a matcher that shares nothing with it.

The matcher below writes every brace expansion out and tries every way to spend stars. Whatever
`overlap` claims is checked with it: a witness must match both patterns, and a path that matches
both must be claimed.
"""

import itertools
import re
import unicodedata
from functools import cache

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from intermute.globs import BadPattern, Pattern, matches, overlap, parse, witness

QUICK = settings(max_examples=120, deadline=None)
SLOWER = settings(max_examples=40, deadline=None)


# The naive matcher.


def expand(text: str) -> list[str]:
    """Brace expansions as texts, escapes and classes kept."""
    opened = _find_brace(text)
    if opened is None:
        return [text]
    depth, start, parts, at = 0, opened + 1, [], opened
    while True:
        size = _token_size(text, at)
        token = text[at : at + size]
        if token == "{":
            depth += 1
        elif token == "}":
            depth -= 1
        if (token == "," and depth == 1) or depth == 0:
            parts.append(text[start:at])
            start = at + 1
        at += size
        if depth == 0:
            break
    return [each for part in parts for each in expand(text[:opened] + part + text[at:])]


def _find_brace(text: str) -> int | None:
    at = 0
    while at < len(text):
        if text[at] == "{":
            return at
        at += _token_size(text, at)
    return None


def _token_size(text: str, at: int) -> int:
    if text[at] == "\\":
        return 2
    if text[at] == "[":
        end = at + 1 + (text[at + 1] in "!^")
        # A `]` that comes first is a member, and so is an escaped one.
        end += 2 if text[end] == "\\" else 1
        while text[end] != "]":
            end += 2 if text[end] == "\\" else 1
        return end + 1 - at
    return 1


def naive_match(text: str, path: str) -> bool:
    return any(_match_expanded(each, tuple(path.split("/"))) for each in expand(text))


def _match_expanded(text: str, segments: tuple[str, ...]) -> bool:
    tokens = []
    at = 0
    while at < len(text):
        size = _token_size(text, at)
        token = text[at : at + size]
        tokens.append("/" if token == "\\/" else token)
        at += size
    pattern = []
    for slash, group in itertools.groupby(tokens, lambda token: token == "/"):
        if not slash:
            pattern.append(tuple(group))
    below = bool(tokens) and tokens[-1] == "/"
    pattern = [each for each in pattern if each not in ((".",), ("\\.",))]
    if text.endswith("/.") and pattern:
        below = False
    if below:
        return any(_match_segments(tuple(pattern), segments[:cut]) for cut in range(len(segments)))
    if pattern and all(token[0] not in "*?[" for token in pattern[-1]):
        return any(
            _match_segments(tuple(pattern), segments[:cut]) for cut in range(1, len(segments) + 1)
        )
    return _match_segments(tuple(pattern), segments)


def _match_segments(pattern: tuple[tuple[str, ...], ...], segments: tuple[str, ...]) -> bool:
    if not pattern:
        return not segments
    if pattern[0] == ("*", "*"):
        return any(_match_segments(pattern[1:], segments[cut:]) for cut in range(len(segments) + 1))
    return (
        bool(segments)
        and _match_name(pattern[0], segments[0])
        and _match_segments(pattern[1:], segments[1:])
    )


def _match_name(tokens: tuple[str, ...], name: str) -> bool:
    if not tokens:
        return not name
    if tokens[0] == "*":
        return any(_match_name(tokens[1:], name[cut:]) for cut in range(len(name) + 1))
    return bool(name) and _match_char(tokens[0], name[0]) and _match_name(tokens[1:], name[1:])


def _match_char(token: str, char: str) -> bool:
    if token == "?":
        return True
    if token[0] == "[":
        return re.fullmatch(token.replace("[!", "[^", 1), char) is not None
    return token[-1] == char


# What is generated: a small alphabet, so that patterns meet often.

ATOMS = ["a", "b", ".", "*", "?", "/", "**", "/**/", "[ab]", "[!a]", "[.]", "[.-b]", "\\a", "/./"]


def _in_braces(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    alternatives = st.lists(inner, min_size=1, max_size=3).map(",".join)
    return st.lists(
        st.one_of(st.sampled_from(ATOMS), alternatives.map(lambda each: "{" + each + "}")),
        max_size=4,
    ).map("".join)


texts = st.recursive(
    st.lists(st.sampled_from(ATOMS), max_size=5).map("".join), _in_braces, max_leaves=8
)


@cache
def parsed(text: str) -> Pattern | None:
    try:
        return parse(text)
    except BadPattern:
        return None


@st.composite
def patterns(draw: st.DrawFn) -> Pattern:
    pattern = parsed(draw(texts))
    assume(pattern is not None)
    assert pattern is not None
    assume(len(expand(pattern.text)) <= 64)
    return pattern


NAMES = [
    name
    for size in (1, 2)
    for name in map("".join, itertools.product("ab.", repeat=size))
    if name not in (".", "..")
]
PATHS = ["/".join(names) for depth in (1, 2) for names in itertools.product(NAMES, repeat=depth)]
DEEP_PATHS = ["/".join(names) for names in itertools.product(("a", "b", ".a", "ab"), repeat=3)]


@QUICK
@given(patterns(), patterns())
@example(parse("{a/,b}a"), parse("a/a"))
@example(parse("{*,a}*/b"), parse("a/a/b"))
@example(parse("{a,b/}/."), parse("b"))
@example(parse("[.-a][.-a]"), parse(".?"))
@example(parse("**/[.]a"), parse("*/.*"))
def test_overlap_iff_witness_and_both_ways(a: Pattern, b: Pattern) -> None:
    found = witness(a, b)
    assert overlap(a, b) is overlap(b, a) is (found is not None)
    assert (witness(b, a) is None) is (found is None)


@QUICK
@given(patterns(), patterns())
def test_a_witness_is_a_normal_path_that_both_match(a: Pattern, b: Pattern) -> None:
    for found in (witness(a, b), witness(b, a)):
        if found is not None:
            assert not {"", ".", ".."} & set(found.split("/"))
            assert unicodedata.is_normalized("NFC", found)
            assert naive_match(a.text, found), found
            assert naive_match(b.text, found), found
            assert matches(a, found)
            assert matches(b, found)


@SLOWER
@given(patterns())
def test_matches_agrees_with_the_naive_matcher_on_every_small_path(pattern: Pattern) -> None:
    for path in PATHS + DEEP_PATHS:
        assert matches(pattern, path) is naive_match(pattern.text, path), path


@SLOWER
@given(patterns(), patterns())
def test_no_common_path_is_missed(a: Pattern, b: Pattern) -> None:
    if not overlap(a, b):
        both = [path for path in PATHS + DEEP_PATHS if matches(a, path) and matches(b, path)]
        assert both == []


@QUICK
@given(patterns())
def test_a_pattern_meets_itself_and_everything(pattern: Pattern) -> None:
    assert overlap(pattern, pattern)
    assert overlap(pattern, parse("**"))
    assert witness(pattern, pattern) is not None


@QUICK
@given(patterns(), patterns())
def test_normalising_keeps_the_meaning_and_is_idempotent(pattern: Pattern, other: Pattern) -> None:
    again = parse(pattern.normalised)
    assert again.normalised == pattern.normalised
    assert again.is_literal is pattern.is_literal
    assert overlap(again, other) is overlap(pattern, other)
    for path in PATHS:
        assert matches(again, path) is matches(pattern, path), path


@QUICK
@given(st.text(alphabet="ab/.*?[]{},\\-!^éßI\u0301\u0323", max_size=12), st.booleans())
def test_any_text_is_read_or_refused(text: str, case_sensitive: bool) -> None:
    refusal = None
    try:
        pattern = parse(text, case_sensitive=case_sensitive)
    except BadPattern as bad:
        refusal = bad
    if refusal is not None:
        assert refusal.reason
        assert refusal.pattern == text
        assert refusal.position is None or 0 <= refusal.position <= len(text)
        return
    found = witness(pattern, pattern)
    assert found is not None
    assert unicodedata.is_normalized("NFC", found)
    assert matches(pattern, found)
    again = parse(pattern.normalised, case_sensitive=case_sensitive)
    assert again.normalised == pattern.normalised
