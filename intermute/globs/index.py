"""An index of patterns, which finds those that overlap a given one without asking all of them."""

import sys
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Generic, TypeVar

from intermute.globs.automaton import CHOICES_MAX, Automaton, Choices
from intermute.globs.decide import overlap
from intermute.globs.pattern import Pattern
from intermute.globs.product import Product
from intermute.globs.segments import Segment, WildSegment, filings_of
from intermute.globs.trie import Node, WildEdges
from intermute.globs.union import Union
from intermute.globs.work import (
    COMPILE_CHAR,
    EDGE,
    EDGE_STATES,
    KEY,
    LOOK_STATE,
    NODE,
    NODE_STATES,
    PATH,
    UNITE_STATE,
    UNITE_WAY,
    WALK,
    Work,
)

Key = TypeVar("Key", bound=Hashable)

# From so many patterns with wildcards, they walk the tree together.
TOGETHER_MIN = 4


class PatternIndex(Generic[Key]):
    """Active patterns by key.

    The cost of a search follows what it finds and what shares a beginning with the pattern, not
    the number of patterns. The order of results depends only on the order of the calls made.

    Args:
        case_sensitive: The case rule of all patterns, filed and asked for.
    """

    __slots__ = ("_case_sensitive", "_manifold", "_patterns", "_root")

    def __init__(self, *, case_sensitive: bool = True) -> None:
        self._case_sensitive = case_sensitive
        self._patterns: dict[Key, Pattern] = {}
        self._root: Node[Key] = Node()
        # Keys whose patterns stand in several places, and so could be found several times.
        self._manifold: set[Key] = set()

    def __len__(self) -> int:
        return len(self._patterns)

    def __contains__(self, key: object) -> bool:
        return key in self._patterns

    def add(self, key: Key, pattern: Pattern) -> None:
        """File a pattern.

        Raises:
            ValueError: The key is taken, or the pattern's case rule is not that of the index.
        """
        self._check_case_rule(pattern)
        if key in self._patterns:
            raise ValueError(f"the key {key!r} is in use; remove it first")
        filings = filings_of(pattern)
        for filing in filings:
            node = self._root
            for segment in filing.segments:
                node = node.grow(segment)
            node.put(key, filing, pattern)
        if len(filings) > 1:
            self._manifold.add(key)
        self._patterns[key] = pattern

    def remove(self, key: Key) -> None:
        """Forget a pattern.

        Raises:
            KeyError: There is no such key.
        """
        pattern = self._patterns.pop(key)
        self._manifold.discard(key)
        for filing in filings_of(pattern):
            node = self._root
            way: list[tuple[Node[Key], Segment]] = []
            for segment in filing.segments:
                way.append((node, segment))
                after = node.follow(segment)
                if after is None:
                    # An equal expansion of the same pattern has been taken out already.
                    break
                node = after
            else:
                node.take(key, filing)
                while way and node.is_empty():
                    node, segment = way.pop()
                    node.cut(segment)

    def overlapping(self, pattern: Pattern, work: Work | None = None) -> Iterator[Key]:
        """The keys of all patterns that overlap the given one, each once.

        They are found as the iterator is asked for them, so the first is cheap however many there
        are. The index must not change while the iterator is in use.

        Args:
            work: What the search may cost, see `intermute.globs.work`; without it there is no
                bound.

        Raises:
            ValueError: At once, if the pattern's case rule is not that of the index.
            TooMuchWork: From the iterator.
        """
        self._check_case_rule(pattern)
        found = self._search(pattern, _bounded(work))
        return self._once(found) if self._manifold else found

    def meeting(
        self, patterns: Sequence[Pattern], work: Work | None = None
    ) -> Iterator[tuple[int, Key]]:
        """The keys of all patterns that overlap any of those given, each at least once.

        The tree is walked once for all that have wildcards, so they are found in no order; a key is
        found with the place of the first given pattern that it overlaps, and may be found with the
        places of others too.

        Raises:
            ValueError, TooMuchWork: As in `overlapping`.
        """
        for pattern in patterns:
            self._check_case_rule(pattern)
        return self._meeting(patterns, _bounded(work))

    def _meeting(self, patterns: Sequence[Pattern], work: Work) -> Iterator[tuple[int, Key]]:
        wild = [place for place, pattern in enumerate(patterns) if pattern.path is None]
        together = len(wild) >= TOGETHER_MIN
        for place, pattern in enumerate(patterns):
            if pattern.path is not None or not together:
                for key in self._search(pattern, work):
                    yield place, key
        if together and self._patterns:
            for place in wild:
                _charge_made(patterns[place], work)
            automata = [patterns[place].automaton for place in wild]
            for each in automata:
                work.spend(each.states_len * UNITE_STATE + each.ways_len * UNITE_WAY)
            union = Union(automata, work)
            for at, key in self._through(union, work):
                yield wild[at], key

    def _search(self, pattern: Pattern, work: Work) -> Iterator[Key]:
        if pattern.path is not None:
            return self._along(pattern, pattern.path.split("/"), work)
        return self._through_one(pattern, work)

    def _through_one(self, pattern: Pattern, work: Work) -> Iterator[Key]:
        _charge_made(pattern, work)
        for _, key in self._through(pattern.automaton, work):
            yield key

    def _check_case_rule(self, pattern: Pattern) -> None:
        if pattern.case_sensitive is not self._case_sensitive:
            raise ValueError("the pattern's case rule is not that of the index")

    def _once(self, found: Iterator[Key]) -> Iterator[Key]:
        seen = set()
        for key in found:
            if key in self._manifold:
                if key in seen:
                    continue
                seen.add(key)
            yield key

    def _along(self, pattern: Pattern, names: list[str], work: Work) -> Iterator[Key]:
        """Follow one path: all nodes it can be at, name by name, and then everything below."""
        work.spend(PATH + len(names) * EDGE)
        plain = 0
        node = self._root
        # Where no wildcard is filed there is one node to be at, and it is found by name alone.
        while plain < len(names) and not node.wild and not node.opaque:
            if node.covering:
                yield from _counted(node.covering, work)
            if not node.names or names[plain] not in node.names:
                return
            node = node.names[names[plain]]
            plain += 1
        yield from self._along_all(pattern, node, names[plain:], work)

    def _along_all(
        self, pattern: Pattern, start: Node[Key], names: list[str], work: Work
    ) -> Iterator[Key]:
        passed: set[int] = set()
        at = _with_globs([start])
        for name in names:
            for node in at:
                if id(node) not in passed:
                    passed.add(id(node))
                    work.spend(NODE)
                    if node.covering:
                        yield from _counted(node.covering, work)
                    if node.opaque:
                        yield from _asked(node.opaque, pattern, work)
            at = _with_globs(_after_name(at, name, work))
        below = list(reversed(at))
        done: set[int] = set()
        while below:
            node = below.pop()
            if id(node) in done:
                continue
            done.add(id(node))
            work.spend(NODE)
            if node.ending:
                yield from _counted(node.ending, work)
            if id(node) not in passed:
                for keys in (node.covering, node.opaque):
                    if keys:
                        yield from _counted(keys, work)
            if node.names or node.wild:
                below.extend(node.children())

    def _through(self, automaton: Automaton, work: Work) -> Iterator[tuple[int, Key]]:
        """Walk the tree with an automaton, as long as it has states left.

        What is found comes with the place of the pattern that it overlaps, the first of a union.
        """
        work.spend(WALK)
        walk = _Walk(automaton, work)
        node_work = NODE + automaton.states_len * NODE_STATES // 1_024
        # One iterator for each level of the tree, so that nothing is looked at before it is asked.
        pending: list[Iterator[tuple[Node[Key], int]]] = [iter([(self._root, automaton.start)])]
        while pending:
            step = next(pending[-1], None)
            if step is None:
                pending.pop()
                continue
            work.spend(node_work)
            node, states = step
            place = automaton.first_of_all(states)
            if place is not None:
                for key in _counted(node.keys_here(), work):
                    yield place, key
                pending.append(zip(node.children(), repeat(states)))
                continue
            if node.covering:
                place = walk.first_below(states)
                if place is not None:
                    for key in _counted(node.covering, work):
                        yield place, key
            if node.ending:
                place = automaton.first_here(states)
                if place is not None:
                    for key in _counted(node.ending, work):
                        yield place, key
            if node.opaque:
                yield from walk.asked(node.opaque)
            pending.append(walk.onward(node, states))


class _Walk:
    """Steps of an automaton along the edges of the tree, remembered for one search."""

    __slots__ = (
        "_after",
        "_automaton",
        "_choices",
        "_edge",
        "_names",
        "_passed",
        "_passes",
        "_same",
        "_step",
        "_work",
    )

    def __init__(self, automaton: Automaton, work: Work) -> None:
        self._automaton = automaton
        self._work = work
        self._step = automaton.step_work
        self._edge = EDGE + automaton.states_len * EDGE_STATES // 1_024
        self._after: dict[tuple[int, str], int] = {}
        self._choices: dict[int, Choices] = {}
        self._names: dict[int, list[str] | None] = {}
        self._passed: dict[int, int] = {}
        self._passes = False
        # Equal sets of states are kept once: those of a union are long.
        self._same: dict[int, int] = {}

    def first_below(self, states: int) -> int | None:
        if not self._automaton.certain:
            self._pass_segments(states)
        return self._automaton.first_below(states)

    def asked(self, opaque: dict[Key, Pattern]) -> Iterator[tuple[int, Key]]:
        """Those of the patterns that are only known as a whole which overlap."""
        automaton = self._automaton
        for key, pattern in opaque.items():
            _charge_made(pattern, self._work)
            self._work.spend(WALK)
            self._charge_passing()
            product = Product(pattern.automaton.graph, automaton)
            place = automaton.first_here(product.run(automaton.start, work=self._work))
            if place is not None:
                yield place, key

    def onward(self, node: Node[Key], states: int) -> Iterator[tuple[Node[Key], int]]:
        if node.names:
            yield from self._onward_by_name(node.names, states)
        if node.wild:
            if node.wild.glob is not None:
                yield node.wild.glob, self._pass_segments(states)
            if node.wild.edges:
                yield from self._onward_by_wild(node.wild, states)

    def _onward_by_name(
        self, children: dict[str, Node[Key]], states: int
    ) -> Iterator[tuple[Node[Key], int]]:
        names = self._names_from(states)
        if names is not None:
            self._work.spend(len(names) * EDGE)
            for name in names:
                if name in children:
                    yield children[name], self._after_name(name, states)
            return
        free, bound = self._choices_from(states)
        cost = self._edge + len(bound) * EDGE // 2
        for name, child in children.items():
            self._work.spend(cost)
            met = 0
            for choice, head, tail in bound:
                if name.startswith(head) and name.endswith(tail):
                    met |= choice
            after = self._after_name(name, met) | free if met else free
            if after:
                yield child, after

    def _onward_by_wild(self, wild: WildEdges[Key], states: int) -> Iterator[tuple[Node[Key], int]]:
        names = self._names_from(states)
        if names is not None:
            met_by: dict[int, tuple[Node[Key], int]] = {}
            for name in names:
                for child in wild.matching(name, self._work):
                    _, after = met_by.get(id(child), (child, 0))
                    met_by[id(child)] = child, after | self._after_name(name, states)
            yield from met_by.values()
            return
        free, bound = self._choices_from(states)
        cost = self._edge + len(bound) * EDGE // 2
        for segment, child in wild.edges.values():
            self._work.spend(cost)
            met = 0
            for choice, head, tail in bound:
                if segment.can_meet(head, tail):
                    met |= choice
            # A pattern with a segment that no name fits is refused when it is parsed.
            after = self._after_wild(segment, met) | free if met else free
            if after:
                yield child, after

    def _names_from(self, states: int) -> list[str] | None:
        """The only names that can be read next, None if they are not so few."""
        if states not in self._names:
            self._charge_looking(states)
            self._names[states] = self._automaton.next_names(states)
        return self._names[states]

    def _choices_from(self, states: int) -> Choices:
        choices = self._choices.get(states)
        if choices is None:
            self._charge_looking(states)
            choices = self._automaton.next_choices(states)
            if len(choices[1]) > CHOICES_MAX:
                choices = 0, [(states, "", "")]
            self._choices[states] = choices
        return choices

    def _charge_looking(self, states: int) -> None:
        self._work.spend(EDGE + states.bit_count() * LOOK_STATE)

    def _after_name(self, name: str, states: int) -> int:
        after = self._after.get((states, name))
        if after is None:
            self._work.spend((len(name) + 1) * self._step)
            after = self._automaton.read(states, name + "/")
            after = self._after[states, name] = self._same.setdefault(after, after)
        return after

    def _after_wild(self, segment: WildSegment, states: int) -> int:
        # The texts of wild segments are kept apart from names by a character no name has.
        known = states, "/" + segment.text
        after = self._after.get(known)
        if after is None:
            self._work.spend(WALK + len(segment.text) * COMPILE_CHAR)
            product = Product(segment.automaton.graph, self._automaton)
            after = product.run(states, work=self._work)
            after = self._after[known] = self._same.setdefault(after, after)
        return after

    def _pass_segments(self, states: int) -> int:
        after = self._passed.get(states)
        if after is None:
            self._charge_passing()
            self._work.spend(self._automaton.pass_work)
            after = self._automaton.pass_segments(states)
            after = self._passed[states] = self._same.setdefault(after, after)
        return after

    def _charge_passing(self) -> None:
        """Before segments are passed for the first time, where they lead is found out."""
        if not self._passes:
            self._passes = True
            self._work.spend(self._automaton.states_len * self._step)


def _bounded(work: Work | None) -> Work:
    return Work(sys.maxsize) if work is None else work


def _counted(keys: Iterable[Key], work: Work) -> Iterator[Key]:
    for key in keys:
        work.spend(KEY)
        yield key


def _charge_made(pattern: Pattern, work: Work) -> None:
    """What it costs to compile a pattern, whether it has been done or not."""
    work.spend_once(pattern.normalised, len(pattern.normalised) * COMPILE_CHAR)


def _asked(opaque: dict[Key, Pattern], pattern: Pattern, work: Work) -> Iterator[Key]:
    """Of what is known as a whole, what a path meets."""
    for key, each in opaque.items():
        _charge_made(each, work)
        work.spend(EDGE + len(pattern.normalised) * each.automaton.step_work // 3)
        if overlap(pattern, each):
            yield key


def _with_globs(nodes: list[Node[Key]]) -> list[Node[Key]]:
    """The nodes and those behind their `**`, which may be nothing at all; each once."""
    found: dict[int, Node[Key]] = {}
    for node in nodes:
        found[id(node)] = node
        if node.wild is not None and node.wild.glob is not None:
            found[id(node.wild.glob)] = node.wild.glob
    return list(found.values())


def _after_name(nodes: list[Node[Key]], name: str, work: Work) -> list[Node[Key]]:
    after = []
    for node in nodes:
        if node.stays:
            after.append(node)
        if node.names is not None and name in node.names:
            after.append(node.names[name])
        if node.wild is not None:
            after.extend(node.wild.matching(name, work))
    return after
