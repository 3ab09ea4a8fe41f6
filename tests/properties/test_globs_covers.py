"""What lies within what: never said wrongly, and exactly of paths without wildcards."""

import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intermute.globs import covers, overlap, parse

from .paths import COVERS, MEANING, PATTERNS

# The world holds three levels only, so what it cannot tell apart is left to the table below.
PAIRS = list(product(PATTERNS, repeat=2))


@pytest.mark.parametrize(("whole", "part"), PAIRS)
def test_what_is_said_to_be_covered_is(whole, part):
    if covers(parse(whole), parse(part)):
        assert COVERS[part] <= COVERS[whole]
        for other in PATTERNS:
            if overlap(parse(part), parse(other)):
                assert overlap(parse(whole), parse(other))


@pytest.mark.parametrize("path", ["a", "a/x", "a/x/z", "b", "b/y", "z/y/x/w"])
@pytest.mark.parametrize("whole", PATTERNS)
def test_of_a_plain_path_it_is_exact(whole, path):
    """A path with everything below it lies within whatever covers both: itself and the rest."""
    matched = [re.fullmatch(MEANING[whole], each) for each in (path, f"{path}/q", f"{path}/q/r")]
    assert covers(parse(whole), parse(path)) is all(matched)


@pytest.mark.parametrize(
    ("whole", "part", "expected"),
    [
        ("src", "src", True),
        ("src", "./src/", True),
        ("src/", "src", False),
        ("src/", "src/**", False),
        ("src/**", "src", True),
        ("src", "src/**/*.py", True),
        ("src", "src*", False),
        ("src", "srcs/a", False),
        ("src/*.py", "src/*.py", True),
        ("src/*.py", "src/a.py", False),
        ("**", "a/[bc]/{d,e}", True),
        ("**/test", "a/b/test/c", True),
        ("{a,b}", "b/c", True),
        ("{a,b}/", "b/c", True),
        ("{a,b}/", "b", False),
    ],
)
def test_what_covers_what(whole, part, expected):
    assert covers(parse(whole), parse(part)) is expected


texts = st.lists(
    st.sampled_from(("a", "b", "*", "?", "**", "[ab]", "{a,b}", "a*")), min_size=1, max_size=4
).map("/".join)


@settings(deadline=None, max_examples=400, derandomize=True, database=None)
@given(texts, texts, texts)
def test_whatever_meets_the_part_meets_the_whole(whole, part, other):
    one, two, three = parse(whole), parse(part), parse(other)
    if covers(one, two) and overlap(two, three):
        assert overlap(one, three)
