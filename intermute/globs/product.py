"""Whether two automata accept a common path, and which.

The product construction of the textbooks (J. Hopcroft, R. Motwani, J. Ullman, "Introduction to
Automata Theory", section 4.2) with one factor walked state by state and the other held as a set:
each state of the *walker* gets the set of states that the *other* can be in at the same time. A
third, tiny factor keeps to the paths that exist: it remembers whether the segment being read is
still empty, one dot or two dots (`automaton.START` to `NAME`), where it may not end.

A walker has no cycles but its STAR and GLOB states, so one pass in order over its states is
enough; each of those two is closed at once by `spread` and `pass_segments`. The cost is one step
of the other automaton for each state of the walker.
"""

from intermute.globs.alphabet import ANY, ANY_BUT_DOT, Label, common_char, without_dot
from intermute.globs.automaton import DOT, DOTS, NAME, START, Automaton, Masks
from intermute.globs.graph import ACCEPT, Graph, Kind
from intermute.globs.work import Work

# For each reading of a segment: the states that the other automaton can be in.
_Sets = list[int]

# A way to read on: from which reading of the segment, to which, by which characters.
_Way = tuple[int, int, Label]


def _ways(label: Label) -> tuple[_Way, ...]:
    """The ways to read a character of the label; the ones to prefer for a readable path first."""
    if label == "/":
        return ((NAME, START, label),)
    if label == ".":
        return ((NAME, NAME, label), (DOTS, NAME, label), (DOT, DOTS, label), (START, DOT, label))
    if isinstance(label, str):
        return tuple((reading, NAME, label) for reading in (NAME, START, DOT, DOTS))
    ways: list[_Way] = [(NAME, NAME, label), (DOTS, NAME, label)]
    rest = without_dot(label)
    if common_char(rest, ANY) is not None:
        ways += [(START, NAME, rest), (DOT, NAME, rest)]
    if common_char(label, ".") is not None:
        ways += [(START, DOT, "."), (DOT, DOTS, ".")]
    return tuple(ways)


_WAYS_OF_STAR = _ways(ANY)
_WAYS_OF_GLOB = (*_WAYS_OF_STAR, *_ways("/"))


class Product:
    """One walk of a graph over another pattern's automaton.

    Args:
        walker: The graph to walk.
        other: The automaton whose states are carried along.
    """

    __slots__ = ("_after", "_before", "_masks", "_other", "_walker", "_ways")

    def __init__(self, walker: Graph, other: Automaton) -> None:
        self._walker = walker
        self._other = other
        # Sets on entering each state, and on leaving those that stay.
        self._before: list[_Sets | None] = [None] * len(walker.kinds)
        self._after: dict[int, _Sets] = {}
        self._masks: dict[Label, Masks] = {}
        self._ways: dict[Label, tuple[_Way, ...]] = {}

    def run(self, states: int, *, decide_only: bool = False, work: Work | None = None) -> int:
        """Walk from the walker's start with the other automaton in the given states.

        Args:
            states: Closed set of boundary states.
            decide_only: Allow to stop as soon as a common path is certain; the result is then only
                good for asking whether it holds the accepting state.
            work: What each step is counted against.

        Returns:
            The states the other automaton can be in when the walker accepts.

        Raises:
            TooMuchWork: There was not enough left of the work.
        """
        walker = self._walker
        step_work = 0 if work is None else self._other.step_work
        self._before[walker.start] = [states, 0, 0, 0]
        for state in range(walker.start, ACCEPT, -1):
            sets = self._before[state]
            if sets is None:
                continue
            kind = walker.kinds[state]
            targets = walker.targets[state]
            if work is not None:
                work.spend(step_work if kind is not Kind.GLOB else self._other.pass_work)
            if kind is Kind.EAT:
                self._eat(walker.labels[state], sets, targets[0])
            elif kind is Kind.SPLIT:
                for target in targets:
                    self._enter(target, sets)
            elif kind is Kind.STAR:
                after = self._after[state] = self._spread(sets)
                self._enter(targets[0], after)
            else:
                if decide_only and targets[0] == ACCEPT and self._other.can_accept(sets[START]):
                    return self._other.accept
                after = self._after[state] = [self._other.pass_segments(sets[START]), 0, 0, 0]
                self._enter(targets[0], after)
        accepted = self._before[ACCEPT]
        return accepted[START] if accepted else 0

    def path(self) -> str:
        """A path to acceptance of both, after a `run` that found one."""
        state, reading = ACCEPT, START
        bit = self._other.accept.bit_length() - 1
        chars: list[str] = []
        sources = self._sources()
        while state != self._walker.start:
            state, reading, bit = self._back(sources[state], (state, reading, bit), chars)
        return "".join(reversed(chars)).rstrip("/")

    def _enter(self, target: int, sets: _Sets) -> None:
        known = self._before[target]
        if known is None:
            self._before[target] = sets[:]
        else:
            for reading, states in enumerate(sets):
                known[reading] |= states

    def _eat(self, label: Label, sets: _Sets, target: int) -> None:
        if isinstance(label, str) and label != "/" and label != ".":
            # Any other character makes a name of the segment, whatever it was before.
            states = self._step(sets[START] | sets[DOT] | sets[DOTS] | sets[NAME], label)
            if states:
                self._enter(target, [0, 0, 0, states])
            return
        ways = self._ways.get(label)
        if ways is None:
            ways = self._ways[label] = _ways(label)
        known = self._before[target]
        for start, end, read in ways:
            if sets[start]:
                states = self._step(sets[start], read)
                if states:
                    if known is None:
                        known = self._before[target] = [0, 0, 0, 0]
                    known[end] |= states

    def _step(self, states: int, label: Label) -> int:
        return self._other.step(states, self._masks_of(label))

    def _masks_of(self, label: Label) -> Masks:
        masks = self._masks.get(label)
        if masks is None:
            masks = self._masks[label] = self._other.masks(label)
        return masks

    def _spread(self, sets: _Sets) -> _Sets:
        start, dot, dots, name = sets
        if start:
            dot |= self._step(start, ".")
        if dot:
            dots |= self._step(dot, ".")
        if start or dot:
            name |= self._step(start | dot, ANY_BUT_DOT)
        if dots:
            name |= self._step(dots, ANY)
        return [start, dot, dots, self._other.spread(name)]

    def _sources(self) -> list[list[int]]:
        sources: list[list[int]] = [[] for _ in self._walker.kinds]
        for state, targets in enumerate(self._walker.targets):
            for target in targets:
                sources[target].append(state)
        return sources

    def _back(
        self, sources: list[int], at: tuple[int, int, int], chars: list[str]
    ) -> tuple[int, int, int]:
        """One step of the walker back, to a source with the reading and the bit to be in there."""
        _, reading, bit = at
        for source in sources:
            before = self._before[source]
            if before is None:
                continue
            kind = self._walker.kinds[source]
            if kind is Kind.EAT:
                found = self._before_char(
                    _ways(self._walker.labels[source]), before, (reading, bit)
                )
                if found is not None:
                    earlier_reading, earlier_bit, char = found
                    chars.append(char)
                    return source, earlier_reading, earlier_bit
            elif kind is Kind.SPLIT:
                if before[reading] >> bit & 1:
                    return source, reading, bit
            elif self._after[source][reading] >> bit & 1:
                return source, *self._unwind(source, (reading, bit), chars)
        raise AssertionError("every set that a walk leaves behind came from somewhere")

    def _before_char(
        self, ways: tuple[_Way, ...], sets: _Sets, at: tuple[int, int]
    ) -> tuple[int, int, str] | None:
        reading, bit = at
        for start, end, label in ways:
            if end == reading and sets[start]:
                found = self._other.before(bit, sets[start], label, self._masks_of(label))
                if found is not None:
                    return start, *found
        return None

    def _unwind(self, state: int, at: tuple[int, int], chars: list[str]) -> tuple[int, int]:
        """Back from leaving a STAR or GLOB to entering it, by the fewest characters.

        A STAR that begins a segment prefers one character to none: `a.py` reads better than `.py`.
        """
        star = self._walker.kinds[state] is Kind.STAR
        ways = _WAYS_OF_STAR if star else _WAYS_OF_GLOB
        entered = self._before[state]
        assert entered is not None
        layers = [entered]
        if star and entered[START]:
            longer = self._layer(entered, ways)
            if longer[at[0]] >> at[1] & 1:
                layers.append(longer)
        while not layers[-1][at[0]] >> at[1] & 1:
            layers.append(self._layer(layers[-1], ways))
        for layer in reversed(layers[:-1]):
            found = self._before_char(ways, layer, at)
            assert found is not None
            at = found[0], found[1]
            chars.append(found[2])
        return at

    def _layer(self, sets: _Sets, ways: tuple[_Way, ...]) -> _Sets:
        layer = [0, 0, 0, 0]
        for start, end, label in ways:
            if sets[start]:
                layer[end] |= self._step(sets[start], label)
        return layer
