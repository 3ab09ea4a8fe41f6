"""The index against a linear scan, whatever was added and removed before."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intermute.globs import BadPattern, Pattern, PatternIndex, TooMuchWork, Work, overlap, parse
from tests.effort import effort

PIECES = [
    *("a", "b", "a/b", "c.py", "a/c.py", "**", "*", "*.py", "a*", "?", "[ab]", "**/c.py", "a/**"),
    *("**/*.py", "{a,b}", "{a,b/c}", "{,a/}b", "{**/,a}b", "a{,*}", "*a*", "a/", "{a,b}/{,.}"),
    *("[!a]*", "**/a/**/b", "{a,b,c}{a,b,c}{a,b,c}/{x,y}", "b*c", "[.-a][.-a]", "{*,a}*"),
    # Last segments that are, or may become, a lone dot, which vanishes.
    *("?{a,b}/.", "*{a/,}.", "?{a/,b}./c/*", "*/{,./}c", "?{,/.}", "{a/.,b}/?a", "?a/*"),
]

texts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map("/".join)


def parsed(text: str) -> list[Pattern]:
    try:
        return [parse(text)]
    except BadPattern:
        return []


patterns = texts.map(parsed).filter(bool).map(lambda found: found[0])
steps = st.lists(st.tuples(st.integers(0, 15), patterns), max_size=40)


def build(calls: list[tuple[int, Pattern]]) -> tuple[PatternIndex[int], dict[int, Pattern]]:
    """Add under each key that is free, remove each key that is not."""
    index: PatternIndex[int] = PatternIndex()
    model: dict[int, Pattern] = {}
    for key, pattern in calls:
        if key in model:
            index.remove(key)
            del model[key]
        else:
            index.add(key, pattern)
            model[key] = pattern
    return index, model


@settings(max_examples=80, deadline=None)
@given(steps, st.lists(patterns, min_size=1, max_size=5))
def test_the_index_finds_what_a_linear_scan_finds(
    calls: list[tuple[int, Pattern]], asked: list[Pattern]
) -> None:
    index, model = build(calls)
    assert len(index) == len(model)
    for pattern in asked:
        found = list(index.overlapping(pattern))
        assert sorted(found) == sorted(key for key in model if overlap(model[key], pattern))
        assert found == list(build(calls)[0].overlapping(pattern))


@settings(max_examples=40, deadline=None)
@given(steps)
def test_nothing_is_left_when_all_is_removed(calls: list[tuple[int, Pattern]]) -> None:
    index, model = build(calls)
    for key in model:
        index.remove(key)
        assert key not in index
    assert len(index) == 0
    assert list(index.overlapping(parse("**"))) == []


ENOUGH = 10**15

# Braces that change the number of segments in more ways than are filed, so that the whole is asked.
MANIFOLD = [
    "a/{b,c/d}{b,c/d}{b,c/d}{b,c/d}{b,c/d}",
    "{a,b/c}{a,b/c}{a,*/c}{a,b/}{**/,c}/x",
    "[.-a]/**",
]
alike = st.lists(st.one_of(patterns, st.sampled_from(MANIFOLD).map(parse)), min_size=4, max_size=12)
manifold_steps = st.lists(
    st.tuples(st.integers(0, 15), st.one_of(patterns, st.sampled_from(MANIFOLD).map(parse))),
    max_size=30,
)


def first_places(index: PatternIndex[int], asked: list[Pattern], work: Work) -> dict[int, int]:
    found: dict[int, int] = {}
    for place, key in index.meeting(asked, work):
        found[key] = min(place, found.get(key, place))
    return found


@settings(max_examples=effort(150, 3_000), deadline=None)
@given(manifold_steps, alike)
def test_patterns_together_find_what_a_linear_scan_finds(
    calls: list[tuple[int, Pattern]], asked: list[Pattern]
) -> None:
    """Each key with the first of the patterns that it overlaps, whatever else it is found with."""
    index, model = build(calls)
    for place, key in index.meeting(asked):
        assert overlap(model[key], asked[place])
    expected = {
        key: next(place for place, pattern in enumerate(asked) if overlap(pattern, held))
        for key, held in model.items()
        if any(overlap(pattern, held) for pattern in asked)
    }
    assert first_places(index, asked, Work(ENOUGH)) == expected


@settings(max_examples=effort(60, 1_000), deadline=None)
@given(manifold_steps, alike, st.randoms(use_true_random=False))
def test_work_is_what_is_asked_and_filed_and_not_what_was_done_before(
    calls: list[tuple[int, Pattern]], asked: list[Pattern], random: Random
) -> None:
    """Cold, warm, or filed in another order: it costs the same; with less, nothing is answered."""
    index, model = build(calls)
    spent = []
    shuffled = list(model.items())
    random.shuffle(shuffled)
    other, _ = build([(key, parse(held.text)) for key, held in shuffled])
    for searched, patterns in (
        (index, asked),
        (index, asked),
        (other, [parse(each.text) for each in asked]),
    ):
        work = Work(ENOUGH)
        expected = first_places(searched, patterns, work)
        spent.append(ENOUGH - work.left)
    assert len(set(spent)) == 1, spent
    assert first_places(index, asked, Work(spent[0])) == expected
    if spent[0]:
        with pytest.raises(TooMuchWork):
            first_places(index, asked, Work(spent[0] - 1))
