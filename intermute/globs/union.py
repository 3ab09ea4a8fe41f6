"""Several patterns as one automaton, so that a tree is walked once for all of them.

The states of all stand side by side in the bits of one integer (the union of automata of the
textbooks, with no new start), so a step moves all of them at once, and the states that are left
say whose they are. What takes longer is to walk, not to have states: a hundred patterns in one walk
cost little more than one of them.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import takewhile
from operator import or_

from intermute.globs.alphabet import Label
from intermute.globs.automaton import CHOICES_MAX, Automaton, Choices, Masks, bits
from intermute.globs.work import WAY, WAY_STATES, Work


class _ByDistance:
    """Ways from each of some bits to others, told by how far they go: those of patterns alike go
    equally far."""

    __slots__ = ("_down", "_up", "sources")

    def __init__(self) -> None:
        self.sources = 0
        # By the distance, the bits from which a way goes so far: to higher bits, to lower ones.
        self._up: dict[int, int] = {}
        self._down: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._up) + len(self._down)

    def add(self, ways: Iterable[tuple[int, int]], first: int) -> None:
        """Add the ways from sets of bits to sets of bits, all of which begin at bit `first`."""
        up: dict[int, int] = {}
        down: dict[int, int] = {}
        for sources, targets in ways:
            self.sources |= sources << first
            for target in bits(targets):
                for source in bits(sources):
                    far = up if target > source else down
                    distance = abs(target - source)
                    far[distance] = far.get(distance, 0) | 1 << source
        for far, own in ((self._up, up), (self._down, down)):
            for distance, starts in own.items():
                far[distance] = far.get(distance, 0) | starts << first

    def go(self, states: int, work: Work) -> int:
        """The states and all that the ways lead to from them. Ways that follow others lead as far
        as those behind them.

        Raises:
            TooMuchWork: There was not enough left of the work.
        """
        found = states & self.sources
        if found:
            work.spend(len(self) * (WAY + states.bit_length() * WAY_STATES // 1_024))
            for distance, sources in self._up.items():
                states |= (found & sources) << distance
            for distance, sources in self._down.items():
                states |= (found & sources) >> distance
        return states


def _common_start(texts: Sequence[str]) -> str:
    # What the first and the last in order begin with, those between them begin with, too.
    first, last = min(texts), max(texts)
    same = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(char for char, _ in same)


class Union(Automaton):
    """Automata side by side. It can be carried along by a walk, and not be walked itself.

    Args:
        automata: At least one. Their order is that of the places in what is found.
        work: What jumps are counted against, when there are any to be made.
    """

    __slots__ = (
        "_beyond_all",
        "_closed",
        "_ends",
        "_firsts",
        "_members",
        "_reached",
        "_remembered",
        "_work",
    )

    def __init__(self, automata: Sequence[Automaton], work: Work) -> None:
        self._work = work
        self._ends: dict[int, tuple[str, str]] = {}
        self._members = automata
        self.graph = automata[0].graph
        self._firsts: list[int] = []
        self._labels = []
        self.start = self.accept = self.everything = 0
        self._globs = self._stay_anywhere = self._stay_inside = 0
        self._closed = _ByDistance()
        self._reached = _ByDistance()
        self._beyond_all: _ByDistance | None = None
        for each in automata:
            first = len(self._labels)
            self._firsts.append(first)
            self.start |= each.start << first
            self.accept |= each.accept << first
            self.everything |= each.everything << first
            self._globs |= each._globs << first
            self._stay_anywhere |= each._stay_anywhere << first
            self._stay_inside |= each._stay_inside << first
            self._closed.add(((sources, closed) for sources, closed, _ in each._jumps), first)
            self._reached.add(((sources, reached) for sources, _, reached in each._jumps), first)
            self._labels += each._labels
        self._jumps = []
        self._jump_sources = self._closed.sources
        self._bit_of = {}
        self._beyond = None
        self._codes = None
        self._code_masks = []
        self._remembered: dict[Label, Masks] = {}
        self._index_labels()

    def masks(self, label: Label) -> Masks:
        known = self._remembered.get(label)
        if known is None:
            known = self._remembered[label] = super().masks(label)
        return known

    def step(self, states: int, masks: Masks) -> int:
        states = (states & masks[0]) << 1 | states & masks[1]
        found = states & self._globs
        if found:
            states |= found << 1 | found << 2
        return self._closed.go(states, self._work)

    def spread(self, states: int) -> int:
        inside = self._inside
        states |= ((states & inside) + inside) ^ inside
        return self._reached.go(states, self._work)

    def pass_segments(self, states: int) -> int:
        return self._ways_beyond().go(states, self._work)

    def _ways_beyond(self) -> _ByDistance:
        if self._beyond_all is None:
            self._beyond_all = _ByDistance()
            for first, each in zip(self._firsts, self._members, strict=True):
                ways = ((1 << bit, reached) for bit, reached in each.beyond().items())
                self._beyond_all.add(ways, first)
        return self._beyond_all

    @property
    def jumps_len(self) -> int:
        # They are counted when they are taken.
        return 0

    @property
    def beyond_len(self) -> int:
        return 0

    def next_names(self, states: int) -> list[str] | None:
        return None if states & (self._globs | self._stay_inside) else super().next_names(states)

    def next_choices(self, states: int) -> Choices:
        free = states & self._stay_anywhere
        by_ends: dict[tuple[str, str], int] = {}
        for at in self._readers(states & ~free):
            ends = self._ends.get(at)
            if ends is None:
                ends = self._ends[at] = self._ends_at(at)
            by_ends[ends] = by_ends.get(ends, 0) | 1 << at
        if len(by_ends) > CHOICES_MAX:
            # What all of them have in common; each by itself would take longer to look at.
            head = _common_start([head for head, _ in by_ends])
            tail = _common_start([tail[::-1] for _, tail in by_ends])[::-1]
            by_ends = {(head, tail): reduce(or_, by_ends.values())}
        bound = [(starts, *ends) for ends, starts in by_ends.items()]
        return (self.read(free, "a/") if free else 0), bound

    def first_below(self, states: int) -> int | None:
        if not self.certain:
            states = self.pass_segments(states) & self.accept
        return self._place_of_lowest(states)

    def first_here(self, states: int) -> int | None:
        return self._place_of_lowest(states & self.accept)

    def first_of_all(self, states: int) -> int | None:
        place = self._place_of_lowest(states & self.everything)
        return place if place == self._place_of_lowest(states) else None

    def _place_of_lowest(self, states: int) -> int | None:
        if not states:
            return None
        return bisect_right(self._firsts, (states & -states).bit_length() - 1) - 1
