"""The pattern language: exact overlap of path patterns, witnesses, and an index of them."""

from intermute.globs.decide import covers, matches, overlap, settled, witness
from intermute.globs.index import PatternIndex
from intermute.globs.pattern import Pattern, parse
from intermute.globs.syntax import BadPattern
from intermute.globs.work import TooMuchWork, Work

__all__ = [
    "BadPattern",
    "Pattern",
    "PatternIndex",
    "TooMuchWork",
    "Work",
    "covers",
    "matches",
    "overlap",
    "parse",
    "settled",
    "witness",
]
