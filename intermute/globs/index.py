"""An index of patterns, which finds those that overlap a given one without asking all of them."""

from collections.abc import Hashable, Iterator
from itertools import repeat
from typing import Generic, TypeVar

from intermute.globs.automaton import Automaton
from intermute.globs.decide import overlap
from intermute.globs.pattern import Pattern
from intermute.globs.product import Product
from intermute.globs.segments import WildSegment, filings_of
from intermute.globs.trie import Node, WildEdges

Key = TypeVar("Key", bound=Hashable)

# What may be read next, as `Automaton.next_choices` tells it.
Choices = tuple[int, list[tuple[int, str, str]]]

# From more states than this, a segment is read from all of them at once and not one by one.
CHOICES_MAX = 8


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
            way = [self._root]
            for segment in filing.segments:
                node = way[-1].follow(segment)
                if node is None:
                    # An equal expansion of the same pattern has been taken out already.
                    break
                way.append(node)
            else:
                way[-1].take(key, filing)
                for segment in reversed(filing.segments):
                    if not way.pop().is_empty():
                        break
                    way[-1].cut(segment)

    def overlapping(self, pattern: Pattern) -> Iterator[Key]:
        """The keys of all patterns that overlap the given one, each once.

        They are found as the iterator is asked for them, so the first is cheap however many there
        are. The index must not change while the iterator is in use.

        Raises:
            ValueError: At once, if the pattern's case rule is not that of the index.
        """
        self._check_case_rule(pattern)
        if pattern.path is not None:
            found = self._along(pattern, pattern.path.split("/"))
        else:
            found = self._through(pattern)
        return self._once(found) if self._manifold else found

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

    def _along(self, pattern: Pattern, names: list[str]) -> Iterator[Key]:
        """Follow one path: all nodes it can be at, name by name, and then everything below."""
        plain = 0
        node = self._root
        # Where no wildcard is filed there is one node to be at, and it is found by name alone.
        while plain < len(names) and not node.wild and not node.opaque:
            if node.covering:
                yield from node.covering
            if not node.names or names[plain] not in node.names:
                return
            node = node.names[names[plain]]
            plain += 1
        yield from self._along_all(pattern, node, names[plain:])

    def _along_all(self, pattern: Pattern, start: Node[Key], names: list[str]) -> Iterator[Key]:
        passed: set[int] = set()
        at = _with_globs([start])
        for name in names:
            for node in at:
                if id(node) not in passed:
                    passed.add(id(node))
                    yield from node.covering or ()
                    yield from _asked(node, pattern)
            at = _with_globs(_after_name(at, name))
        below = list(reversed(at))
        done: set[int] = set()
        while below:
            node = below.pop()
            if id(node) in done:
                continue
            done.add(id(node))
            if id(node) not in passed:
                yield from node.keys_here()
            elif node.ending:
                yield from node.ending
            below.extend(node.children())

    def _through(self, pattern: Pattern) -> Iterator[Key]:
        """Walk the tree with the pattern's automaton, as long as it has states left."""
        walk = _Walk(pattern.automaton)
        automaton = pattern.automaton
        # One iterator for each level of the tree, so that nothing is looked at before it is asked.
        pending: list[Iterator[tuple[Node[Key], int]]] = [iter([(self._root, automaton.start)])]
        while pending:
            step = next(pending[-1], None)
            if step is None:
                pending.pop()
                continue
            node, states = step
            if states & automaton.everything:
                yield from node.keys_here()
                pending.append(zip(node.children(), repeat(states)))
                continue
            if node.covering and automaton.can_accept(states):
                yield from node.covering
            if node.ending and states & automaton.accept:
                yield from node.ending
            yield from _asked(node, pattern)
            pending.append(walk.onward(node, states))


class _Walk:
    """Steps of an automaton along the edges of the tree, remembered for one search."""

    __slots__ = ("_after", "_automaton", "_choices", "_names")

    def __init__(self, automaton: Automaton) -> None:
        self._automaton = automaton
        self._after: dict[tuple[int, str], int] = {}
        self._choices: dict[int, Choices] = {}
        self._names: dict[int, list[str] | None] = {}

    def onward(self, node: Node[Key], states: int) -> Iterator[tuple[Node[Key], int]]:
        if node.names:
            yield from self._onward_by_name(node.names, states)
        if node.wild:
            if node.wild.glob is not None:
                yield node.wild.glob, self._automaton.pass_segments(states)
            if node.wild.edges:
                yield from self._onward_by_wild(node.wild, states)

    def _onward_by_name(
        self, children: dict[str, Node[Key]], states: int
    ) -> Iterator[tuple[Node[Key], int]]:
        if states not in self._names:
            self._names[states] = self._automaton.next_names(states)
        names = self._names[states]
        if names is not None:
            for name in names:
                if name in children:
                    yield children[name], self._after_name(name, states)
            return
        free, bound = self._choices_from(states)
        for name, child in children.items():
            met = 0
            for choice, head, tail in bound:
                if name.startswith(head) and name.endswith(tail):
                    met |= choice
            after = self._after_name(name, met) | free if met else free
            if after:
                yield child, after

    def _onward_by_wild(self, wild: WildEdges[Key], states: int) -> Iterator[tuple[Node[Key], int]]:
        free, bound = self._choices_from(states)
        for segment, child in wild.edges.values():
            met = 0
            for choice, head, tail in bound:
                if segment.can_meet(head, tail):
                    met |= choice
            # A pattern with a segment that no name fits is refused when it is parsed.
            after = self._after_wild(segment, met) | free if met else free
            if after:
                yield child, after

    def _choices_from(self, states: int) -> Choices:
        choices = self._choices.get(states)
        if choices is None:
            choices = self._automaton.next_choices(states)
            if len(choices[1]) > CHOICES_MAX:
                choices = 0, [(states, "", "")]
            self._choices[states] = choices
        return choices

    def _after_name(self, name: str, states: int) -> int:
        after = self._after.get((states, name))
        if after is None:
            after = self._automaton.read(states, name + "/")
            self._after[states, name] = after
        return after

    def _after_wild(self, segment: WildSegment, states: int) -> int:
        # The texts of wild segments are kept apart from names by a character no name has.
        known = states, "/" + segment.text
        after = self._after.get(known)
        if after is None:
            product = Product(segment.automaton.graph, self._automaton)
            after = self._after[known] = product.run(states)
        return after


def _asked(node: Node[Key], pattern: Pattern) -> Iterator[Key]:
    if node.opaque:
        for key, each in node.opaque.items():
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


def _after_name(nodes: list[Node[Key]], name: str) -> list[Node[Key]]:
    after = []
    for node in nodes:
        if node.stays:
            after.append(node)
        if node.names is not None and name in node.names:
            after.append(node.names[name])
        if node.wild is not None:
            after.extend(node.wild.matching(name))
    return after
