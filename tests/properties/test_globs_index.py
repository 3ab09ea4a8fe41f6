"""The index against a linear scan, whatever was added and removed before."""

from hypothesis import given, settings
from hypothesis import strategies as st

from intermute.globs import BadPattern, Pattern, PatternIndex, overlap, parse

PIECES = [
    *("a", "b", "a/b", "c.py", "a/c.py", "**", "*", "*.py", "a*", "?", "[ab]", "**/c.py", "a/**"),
    *("**/*.py", "{a,b}", "{a,b/c}", "{,a/}b", "{**/,a}b", "a{,*}", "*a*", "a/", "{a,b}/{,.}"),
    *("[!a]*", "**/a/**/b", "{a,b,c}{a,b,c}{a,b,c}/{x,y}", "b*c", "[.-a][.-a]", "{*,a}*"),
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
