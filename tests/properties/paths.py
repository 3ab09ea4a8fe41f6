"""A small world of paths, and patterns over it judged by hand-written regular expressions.

It knows nothing of `intermute.globs`: what a pattern matches is written down beside it, and two
patterns overlap when some path of the world is matched by both.
"""

import re
from collections.abc import Iterable
from itertools import product

WORLD = tuple(
    "/".join(parts)
    for depth in (1, 2, 3)
    for parts in product(("a", "b", "z"), ("x", "y", "z"), ("x", "z"))
    for parts in (parts[:depth],)
)
_BELOW = "(/.*)?"
MEANING = {
    "a": "a" + _BELOW,
    "a/": "a/.+",
    "a/*": "a/[^/]+",
    "a/**": "a" + _BELOW,
    "a/x": "a/x" + _BELOW,
    "a/x/z": "a/x/z" + _BELOW,
    "*/x": "[^/]+/x" + _BELOW,
    "b/?": "b/[^/]",
    "b/[!x]": "b/[^/x]",
    "{a,b}/y": "[ab]/y" + _BELOW,
    "[bz]": "[bz]",
    "**": ".*",
    "**/z": "(.*/)?z" + _BELOW,
    "z/y/*": "z/y/[^/]+",
}
PATTERNS = tuple(MEANING)
COVERS = {
    pattern: frozenset(path for path in WORLD if re.fullmatch(meaning, path))
    for pattern, meaning in MEANING.items()
}


def covered(patterns: Iterable[str]) -> frozenset[str]:
    return frozenset().union(*(COVERS[pattern] for pattern in patterns))


def meet(one: Iterable[str], other: Iterable[str]) -> bool:
    return not covered(one).isdisjoint(covered(other))
