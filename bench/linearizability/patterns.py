"""Which patterns of a history overlap, told by the product's language or by none of its code.

A language is asked once, for all the patterns of a history; after that the check looks at numbers.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import combinations, product
from typing import Final, Protocol

from bench.linearizability.history import MalformedHistoryError
from intermute import globs

# J. Gray et al., "Granularity of Locks and Degrees of Consistency in a Shared Data Base", 1976,
# table 1: the modes that may stand beside each mode on paths that overlap. Written out here, so
# that the check does not rely on the table that it checks.
BESIDE: Final = {
    "intent_shared": {"intent_shared", "intent_exclusive", "shared", "shared_intent_exclusive"},
    "intent_exclusive": {"intent_shared", "intent_exclusive"},
    "shared": {"intent_shared", "shared"},
    "shared_intent_exclusive": {"intent_shared"},
    "exclusive": set(),
}


class Language(Protocol):
    """What a check has to know about patterns."""

    def normal(self, pattern: str) -> str:
        """The text that two spellings of the same request have in common.

        Raises:
            ValueError: The pattern is not of the language.
        """
        ...

    def neighbours(self, patterns: Sequence[str]) -> list[set[int]]:
        """For each of the patterns, in normal form, the places of those that overlap it; its own
        among them."""
        ...


class Globs:
    """The product's own pattern language and its exact overlap."""

    def __init__(self, *, case_sensitive: bool = True) -> None:
        self._case_sensitive = case_sensitive

    def normal(self, pattern: str) -> str:
        return self._parsed(pattern).normalised

    def neighbours(self, patterns: Sequence[str]) -> list[set[int]]:
        index: globs.PatternIndex[int] = globs.PatternIndex(case_sensitive=self._case_sensitive)
        parsed = [self._parsed(pattern) for pattern in patterns]
        for place, pattern in enumerate(parsed):
            index.add(place, pattern)
        return [set(index.overlapping(pattern)) for pattern in parsed]

    def _parsed(self, pattern: str) -> globs.Pattern:
        return globs.parse(pattern, case_sensitive=self._case_sensitive)


_SPECIAL = re.compile(r"[*?\[\]{}\\]|(?:\A|/)\.{0,2}(?:/|\Z)")


class PlainPaths:
    """Patterns that are paths: each covers itself and what is below it.

    Knows nothing of the product. Paths with special characters, empty segments or dots for
    segments are not of this language, rather than being taken for something else.
    """

    def normal(self, pattern: str) -> str:
        if _SPECIAL.search(pattern) is not None:
            raise ValueError(f"{pattern!r} is no plain path")
        return pattern

    def neighbours(self, patterns: Sequence[str]) -> list[set[int]]:
        place_of = {pattern: place for place, pattern in enumerate(patterns)}
        found: list[set[int]] = [{place} for place in range(len(patterns))]
        for pattern, place in place_of.items():
            parts = pattern.split("/")
            for depth in range(1, len(parts)):
                above = place_of.get("/".join(parts[:depth]))
                if above is not None:
                    found[place].add(above)
                    found[above].add(place)
        return found


class Listed:
    """A language given by what each pattern covers in a small world of paths."""

    def __init__(self, covered: dict[str, Iterable[str]]) -> None:
        self._covered = {pattern: frozenset(paths) for pattern, paths in covered.items()}

    def normal(self, pattern: str) -> str:
        if pattern not in self._covered:
            raise ValueError(f"nothing is said about {pattern!r}")
        return pattern

    def neighbours(self, patterns: Sequence[str]) -> list[set[int]]:
        found: list[set[int]] = [{place} for place in range(len(patterns))]
        for (one, first), (other, second) in combinations(enumerate(patterns), 2):
            if not self._covered[first].isdisjoint(self._covered[second]):
                found[one].add(other)
                found[other].add(one)
        return found


class Terms:
    """The different things that are asked for in a history: whose, in which mode, which patterns.

    Terms are numbered in the order in which they are first seen; two requests with the same number
    are the same request to a server.
    """

    def __init__(self, language: Language) -> None:
        self._language = language
        self._normal: dict[str, int] = {}
        self._places: dict[str, int] = {}
        self._numbers: dict[tuple[str | None, str, frozenset[int]], int] = {}
        self.agents: list[str | None] = []
        self.modes: list[str] = []
        self.patterns: list[frozenset[int]] = []
        self._near: list[set[int]] = []
        self._met: dict[tuple[int, int], bool] = {}

    def number(self, agent: str | None, mode: str, patterns: Sequence[str]) -> int:
        """The number of terms.

        Raises:
            MalformedHistoryError: There is no such mode or pattern, or none at all.
        """
        if mode not in BESIDE:
            raise MalformedHistoryError(f"no such mode: {mode!r}; there are {sorted(BESIDE)}")
        if not patterns:
            raise MalformedHistoryError("at least one pattern has to be asked for")
        key = (agent, mode, frozenset(self._place(pattern) for pattern in patterns))
        found = self._numbers.setdefault(key, len(self._numbers))
        if found == len(self.agents):
            self.agents.append(agent)
            self.modes.append(mode)
            self.patterns.append(key[2])
        return found

    def __len__(self) -> int:
        return len(self.agents)

    def settle(self) -> None:
        """All patterns are known: find out which of them overlap."""
        self._near = self._language.neighbours(list(self._places))

    def near(self, pattern: int) -> set[int]:
        """The patterns that overlap one, by their places."""
        return self._near[pattern]

    def conflict(self, one: int, other: int) -> bool:
        """Whether only one of the two can be held: different agents, modes that do not get on,
        and a path that both cover."""
        key = (one, other)
        met = self._met.get(key)
        if met is None:
            met = self._met[key] = (
                (self.agents[one] is None or self.agents[one] != self.agents[other])
                and self.modes[other] not in BESIDE[self.modes[one]]
                and any(
                    second in self._near[first]
                    for first, second in product(self.patterns[one], self.patterns[other])
                )
            )
        return met

    def _place(self, pattern: str) -> int:
        place = self._normal.get(pattern)
        if place is None:
            try:
                normal = self._language.normal(pattern)
            except ValueError as error:
                raise MalformedHistoryError(str(error)) from None
            place = self._normal[pattern] = self._places.setdefault(normal, len(self._places))
        return place
