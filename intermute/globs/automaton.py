"""A pattern's automaton as bits of integers, so that a set of states moves in a few operations.

Bit-parallel simulation in the manner of Shift-And for extended patterns (G. Navarro and
M. Raffinot, "Flexible Pattern Matching in Strings", 2002, chapter 4): states that follow each
other in the pattern are neighbouring bits, so reading a character is a mask and a shift, and a
run of states that can all be passed is filled by the carry of one addition. What is no neighbour
is a jump: a set of source bits and everything they reach without reading.

Sets of states are always closed: what can be reached without reading is in them.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate
from operator import xor
from typing import Final

from intermute.globs import limits, work
from intermute.globs.alphabet import ANY, ANY_BUT_DOT, AnyChar, CharSet, Label, common_char, is_mark
from intermute.globs.graph import ACCEPT, Graph, Kind
from intermute.globs.layout import Layout
from intermute.globs.syntax import BadPattern

# What a step needs to know of a label: the states that can read it, those that may stay.
Masks = tuple[int, int]

# What may be read next, as `Automaton.next_choices` tells it.
Choices = tuple[int, list[tuple[int, str, str]]]

# From more states than this, a segment is read from all of them at once and not one by one.
CHOICES_MAX: Final = 8

# The reading of one segment so far, by the one thing a product has to remember of it: a segment
# may not end while it is empty, one dot, or two dots.
START: Final = 0
DOT: Final = 1
DOTS: Final = 2
NAME: Final = 3


class Automaton:
    """States of one pattern as bits. Built once for a pattern, then only read.

    Attributes:
        graph: The states by number, which a product walks through in order.
        start: The set of states before the first character.
        accept: The set with the accepting state only; it is entered by a final `/`.
        everything: States that accept whatever is read on.
        certain: Whether every state can still accept. Only a class which allows the dot and
            nothing else makes this false, as it can ask for a segment that no path has.
    """

    __slots__ = (
        "_any",
        "_beyond",
        "_bit_of",
        "_chars",
        "_classes",
        "_code_masks",
        "_codes",
        "_globs",
        "_inside",
        "_inside_but_dot",
        "_jump_sources",
        "_jumps",
        "_labels",
        "_stay_anywhere",
        "_stay_inside",
        "accept",
        "certain",
        "everything",
        "graph",
        "start",
    )

    def __init__(self, graph: Graph) -> None:
        layout = Layout(graph)
        self.graph = graph
        self.start = layout.closure[graph.start]
        self.accept = 1 << layout.bit_of[ACCEPT]
        self.everything = 0
        for state, bit in layout.bit_of.items():
            if graph.kinds[state] is Kind.GLOB and graph.targets[state] == (ACCEPT,):
                self.everything |= 3 << bit
        self._labels = layout.labels
        self._bit_of = layout.bit_of
        self._globs = layout.globs
        self._stay_anywhere = layout.stay_anywhere
        self._stay_inside = layout.stay_inside | layout.stay_anywhere
        self._jumps = layout.jumps()
        if len(self._jumps) > limits.JUMPS_MAX:
            raise BadPattern("", "its braces combine in too many ways; send several patterns")
        self._jump_sources = 0
        for sources, _, _ in self._jumps:
            self._jump_sources |= sources
        self._beyond: dict[int, int] | None = None
        self._codes: list[int] | None = None
        self._code_masks: list[int] = []
        self._index_labels()

    def _index_labels(self) -> None:
        chars: dict[str, int] = {}
        classes: dict[CharSet, int] = {}
        self._any = 0
        for at, label in enumerate(self._labels):
            if isinstance(label, str):
                chars[label] = chars.get(label, 0) | 1 << at
            elif isinstance(label, CharSet):
                classes[label] = classes.get(label, 0) | 1 << at
            elif label is not None:
                self._any |= 1 << at
        self._classes = list(classes.items())
        only_dots = chars.get(".", 0)
        self._inside = self._any
        self.certain = True
        for label, mask in self._classes:
            self._inside |= mask
            if "." in label and label.without_dot().example() is None:
                self.certain = False
                only_dots |= mask
        self._chars: dict[str, Masks] = {}
        for char, mask in chars.items():
            if char == "/":
                self._chars[char] = mask, self._stay_anywhere
            else:
                self._inside |= mask
                self._chars[char] = mask | self._eat_unnamed(char), self._stay_inside
        self._inside_but_dot = self._inside & ~only_dots

    @property
    def step_cost(self) -> int:
        """What a step costs, in units of about a tenth of a microsecond."""
        return 6 + len(self._jumps)

    @property
    def step_work(self) -> int:
        """What a step costs at most, with all that may have to be found out for it; see `work`."""
        long = len(self._labels)
        return (
            work.STEP
            + len(self._classes) * work.STEP_CLASS
            + long * work.STEP_STATES // 1_024
            + self.jumps_len * (work.WAY + long * work.WAY_STATES // 1_024)
        )

    @property
    def pass_work(self) -> int:
        """The same for passing any number of segments."""
        return self.step_work + self.beyond_len * (
            work.WAY + len(self._labels) * work.WAY_STATES // 1_024
        )

    @property
    def jumps_len(self) -> int:
        """How many jumps are looked at in a step."""
        return len(self._jumps)

    @property
    def beyond_len(self) -> int:
        """How many entries are looked at to pass any number of segments."""
        return len(self.beyond())

    @property
    def ways_len(self) -> int:
        """From how many states how many others are reached by jumps."""
        return sum(
            sources.bit_count() * (closed.bit_count() + reached.bit_count())
            for sources, closed, reached in self._jumps
        )

    @property
    def states_len(self) -> int:
        """How many bits its sets of states have."""
        return len(self._labels)

    def _eat_unnamed(self, char: str) -> int:
        eat = self._any
        for label, mask in self._classes:
            if char in label:
                eat |= mask
        return eat

    def masks(self, label: Label) -> Masks:
        """The states that can read some character of the label, and those that may stay."""
        if isinstance(label, str):
            known = self._chars.get(label)
            if known is not None:
                return known
            if label == "/":
                return 0, self._stay_anywhere
            return self._eat_unnamed(label), self._stay_inside
        if isinstance(label, AnyChar):
            return (self._inside if label.dot else self._inside_but_dot), self._stay_inside
        eat = self._any | self._eat_named(label)
        for each, mask in self._classes:
            if common_char(each, label) is not None:
                eat |= mask
        return eat, self._stay_inside

    def _eat_named(self, label: CharSet) -> int:
        # A bit has one label only, so the masks of characters are disjoint and those of a range
        # are what two running sums by exclusive or differ in.
        if self._codes is None:
            plain = [each for each in self._chars if each != "/" and not is_mark(each)]
            self._codes = sorted(map(ord, plain))
            own = (self._own_mask(code) for code in self._codes)
            self._code_masks = list(accumulate(own, xor, initial=0))
        eat = 0
        for low, high in label.ranges:
            first = bisect_left(self._codes, low)
            last = bisect_right(self._codes, high)
            eat |= self._code_masks[first] ^ self._code_masks[last]
        return eat

    def _own_mask(self, code: int) -> int:
        char = chr(code)
        return self._chars[char][0] & ~self._eat_unnamed(char)

    def step(self, states: int, masks: Masks) -> int:
        """The states after reading one character of the label that the masks are for."""
        states = (states & masks[0]) << 1 | states & masks[1]
        found = states & self._globs
        if found:
            states |= found << 1 | found << 2
        if states & self._jump_sources:
            for sources, closed, _ in self._jumps:
                if states & sources:
                    states |= closed
        return states

    def spread(self, states: int) -> int:
        """The states after reading any number of characters other than `/`, none included."""
        inside = self._inside
        states |= ((states & inside) + inside) ^ inside
        if states & self._jump_sources:
            for sources, _, reached in self._jumps:
                if states & sources:
                    states |= reached
        return states

    def read(self, states: int, text: str) -> int:
        """The states after reading a text, character by character."""
        for char in text:
            if not states:
                break
            states = self.step(states, self.masks(char))
        return states

    def pass_segment(self, states: int) -> int:
        """The states after reading any one segment that a path can have, and its `/`."""
        dot, any_char, but_dot = (self.masks(label) for label in (".", ANY, ANY_BUT_DOT))
        one = self.step(states, dot)
        name = self.step(states | one, but_dot)
        if one:
            name |= self.step(self.step(one, dot), any_char)
        return self.step(self.spread(name), self.masks("/"))

    def pass_segments(self, states: int) -> int:
        """The states after reading any number of segments, none included.

        Args:
            states: States at the boundary between two segments.
        """
        return states | _union(states, self.beyond())

    def beyond(self) -> dict[int, int]:
        """Per bit, the bits that any number of segments lead to from it."""
        if self._beyond is None:
            self._beyond = self._build_beyond()
        return self._beyond

    def can_accept(self, states: int) -> bool:
        """Whether reading on from some boundary state can end in acceptance."""
        if self.certain:
            return states != 0
        return self.pass_segments(states) & self.accept != 0

    def first_below(self, states: int) -> int | None:
        """The place, here 0, of the pattern that can accept by reading on; None if none can.

        With the two that follow, an automaton answers like a union of one.
        """
        return 0 if self.can_accept(states) else None

    def first_here(self, states: int) -> int | None:
        """The place of the pattern that accepts without reading on; None if none does."""
        return 0 if states & self.accept else None

    def first_of_all(self, states: int) -> int | None:
        """The place of the pattern that accepts whatever is read on; None if none does, or if
        another one before it may accept something too."""
        return 0 if states & self.everything else None

    def next_names(self, states: int) -> list[str] | None:
        """The only names that can be read as the next segment; None if they are not so few.

        Args:
            states: Closed set of boundary states.
        """
        names = []
        while states:
            low = states & -states
            states ^= low
            at = low.bit_length() - 1
            if low & (self._globs | self._stay_inside):
                return None
            if self._labels[at] is None:
                continue
            name = ""
            while (label := self._labels[at]) != "/":
                if not isinstance(label, str) or self._stay_inside >> at & 1:
                    return None
                name += label
                at += 1
            if self._stay_inside >> at & 1:
                return None
            # A dot that may vanish is in the graph as text too, and no segment of a path is one.
            if name != ".":
                names.append(name)
        return list(dict.fromkeys(names))

    def next_choices(self, states: int) -> Choices:
        """What can be read as the next segment, state by state.

        Args:
            states: Closed set of boundary states.

        Returns:
            The states after any name whatever, and those states that may read further names, each
            as a set of its own with what such a name begins and ends with.
        """
        free = states & self._stay_anywhere
        bound = [(1 << at, *self._ends_at(at)) for at in self._readers(states & ~free)]
        return (self.read(free, "a/") if free else 0), bound

    def _readers(self, states: int) -> Iterator[int]:
        """The bits of those states that can read a character."""
        for at in bits(states):
            if self._labels[at] is not None or self._stay_inside >> at & 1:
                yield at

    def _ends_at(self, at: int) -> tuple[str, str]:
        """What every name that can be read from the state at a bit begins and ends with."""
        head: str | None = None
        run = ""
        while (label := self._labels[at]) != "/":
            if self._stay_inside >> at & 1 or not isinstance(label, str):
                head = run if head is None else head
                run = ""
            if label is None:
                break
            run += label if isinstance(label, str) else ""
            at += 1
        else:
            if self._stay_inside >> at & 1:
                head = run if head is None else head
                run = ""
        return (run if head is None else head), run

    def _build_beyond(self) -> dict[int, int]:
        beyond: dict[int, int] = {}
        for state in sorted(self._boundary_states()):
            bit = self._bit_of.get(state)
            if bit is None:
                continue
            own = self.step(1 << bit, (0, -1))
            beyond[bit] = own | _union(self.pass_segment(own), beyond)
            if self.graph.kinds[state] is Kind.GLOB:
                beyond[bit + 1] = beyond[bit]
        return beyond

    def _boundary_states(self) -> set[int]:
        graph = self.graph
        boundary = {graph.start}
        for state in range(graph.start, -1, -1):
            kind = graph.kinds[state]
            if graph.labels[state] == "/" or (
                state in boundary and kind in (Kind.GLOB, Kind.SPLIT)
            ):
                boundary.update(graph.targets[state])
        return boundary

    def before(self, bit: int, states: int, label: Label, masks: Masks) -> tuple[int, str] | None:
        """One of the given states from which a character of the label leads to a bit.

        Returns:
            The number of the earlier bit and a character which does it, or None.
        """
        landed = 1 << bit
        for sources, closed, _ in self._jumps:
            if closed >> bit & 1:
                landed |= sources
        landed |= (landed >> 1 | landed >> 2) & self._globs
        eat, stay = masks
        moved = landed >> 1 & eat & states
        if moved:
            earlier = moved.bit_length() - 1
            char = common_char(label, self._labels[earlier] or ANY)
        elif landed & stay & states:
            earlier = (landed & stay & states).bit_length() - 1
            char = label if isinstance(label, str) else common_char(label, ANY)
        else:
            return None
        assert char is not None
        return earlier, char


def bits(states: int) -> Iterator[int]:
    """The numbers of the bits of a set of states, lowest first."""
    while states:
        low = states & -states
        yield low.bit_length() - 1
        states ^= low


def _union(states: int, table: dict[int, int]) -> int:
    """The union of the table's sets over the states; sets in the table hold their members' sets."""
    union = 0
    while states:
        low = states & -states
        union |= table.get(low.bit_length() - 1, low)
        states &= ~(union | low)
    return union
