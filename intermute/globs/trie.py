"""The tree that the index files patterns in: one edge for each segment.

All patterns together form one automaton in this tree, with their common beginnings shared: an edge
is a name, a segment with wildcards, or `**`. Patterns end at nodes. A `**` edge leads to a node at
which any number of segments may be read without leaving it.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

from intermute.globs.pattern import Pattern
from intermute.globs.segments import GLOB, AnySegments, Filing, Segment, WildSegment
from intermute.globs.work import EDGE, Work

Key = TypeVar("Key")

# Fewer edges than this are tried one by one.
_FEW_EDGES = 8


class Node(Generic[Key]):
    """A place in the tree. Its collections are made when first needed, as most nodes are leaves.

    Attributes:
        names: Edges by name.
        wild: The other edges.
        covering: Keys of patterns that end here and match what lies below as well.
        ending: Keys of patterns that end here and match nothing below.
        opaque: Patterns of which the way to this node is only the beginning, by key.
        stays: Whether any number of segments may be read here; so it is behind a `**` edge.
    """

    __slots__ = ("covering", "ending", "names", "opaque", "stays", "wild")

    def __init__(self, *, stays: bool = False) -> None:
        self.stays = stays
        self.names: dict[str, Node[Key]] | None = None
        self.wild: WildEdges[Key] | None = None
        self.covering: dict[Key, None] | None = None
        self.ending: dict[Key, None] | None = None
        self.opaque: dict[Key, Pattern] | None = None

    def is_empty(self) -> bool:
        return not (self.names or self.wild or self.covering or self.ending or self.opaque)

    def follow(self, segment: Segment) -> "Node[Key] | None":
        if isinstance(segment, str):
            return None if self.names is None else self.names.get(segment)
        return None if self.wild is None else self.wild.get(segment)

    def grow(self, segment: Segment) -> "Node[Key]":
        """The node behind an edge, which is made if there is none."""
        if isinstance(segment, str):
            if self.names is None:
                self.names = {}
            node = self.names.get(segment)
            if node is None:
                node = self.names[segment] = Node()
            return node
        if self.wild is None:
            self.wild = WildEdges()
        return self.wild.grow(segment)

    def cut(self, segment: Segment) -> None:
        if isinstance(segment, str):
            assert self.names is not None
            del self.names[segment]
            if not self.names:
                self.names = None
        else:
            assert self.wild is not None
            self.wild.cut(segment)
            if not self.wild:
                self.wild = None

    def put(self, key: Key, filing: Filing, pattern: Pattern) -> None:
        if filing.opaque:
            self.opaque = self.opaque or {}
            self.opaque[key] = pattern
        elif filing.covers:
            self.covering = self.covering or {}
            self.covering[key] = None
        else:
            self.ending = self.ending or {}
            self.ending[key] = None

    def take(self, key: Key, filing: Filing) -> None:
        if filing.opaque:
            assert self.opaque is not None
            self.opaque.pop(key, None)
        else:
            keys = self.covering if filing.covers else self.ending
            if keys is not None:
                keys.pop(key, None)
        self.opaque = self.opaque or None
        self.covering = self.covering or None
        self.ending = self.ending or None

    def keys_here(self) -> Iterator[Key]:
        for keys in (self.covering, self.ending, self.opaque):
            if keys:
                yield from keys

    def children(self) -> "Iterator[Node[Key]]":
        if self.names:
            yield from self.names.values()
        if self.wild:
            if self.wild.glob is not None:
                yield self.wild.glob
            for _, node in self.wild.edges.values():
                yield node


class WildEdges(Generic[Key]):
    """The edges of a node that are no plain names.

    Attributes:
        glob: The node behind `**`.
        edges: The other edges by canonical text, each with its segment.
    """

    __slots__ = ("_by_head", "_by_run", "_by_tail", "_loose", "edges", "glob")

    def __init__(self) -> None:
        self.glob: Node[Key] | None = None
        self.edges: dict[str, tuple[WildSegment, Node[Key]]] = {}
        # Each edge is in one of these, under the longest text that is in every name it matches: at
        # the end, at the beginning, in the middle (by its length, too), or nowhere.
        self._by_tail: dict[str, dict[str, None]] = {}
        self._by_head: dict[str, dict[str, None]] = {}
        self._by_run: dict[int, dict[str, dict[str, None]]] = {}
        self._loose: dict[str, None] = {}

    def __bool__(self) -> bool:
        return self.glob is not None or bool(self.edges)

    def get(self, segment: WildSegment | AnySegments) -> Node[Key] | None:
        if segment is GLOB:
            return self.glob
        assert isinstance(segment, WildSegment)
        edge = self.edges.get(segment.text)
        return None if edge is None else edge[1]

    def grow(self, segment: WildSegment | AnySegments) -> Node[Key]:
        node = self.get(segment)
        if node is not None:
            return node
        node = Node(stays=segment is GLOB)
        if isinstance(segment, WildSegment):
            self.edges[segment.text] = segment, node
            self._shelf(segment)[segment.text] = None
        else:
            self.glob = node
        return node

    def cut(self, segment: WildSegment | AnySegments) -> None:
        if not isinstance(segment, WildSegment):
            self.glob = None
            return
        del self.edges[segment.text]
        shelves, under = self._shelves(segment)
        if shelves is None:
            del self._loose[segment.text]
            return
        del shelves[under][segment.text]
        if not shelves[under]:
            del shelves[under]
            if not shelves and shelves is self._by_run.get(len(under)):
                del self._by_run[len(under)]

    def _shelf(self, segment: WildSegment) -> dict[str, None]:
        shelves, under = self._shelves(segment)
        return self._loose if shelves is None else shelves.setdefault(under, {})

    def _shelves(self, segment: WildSegment) -> tuple[dict[str, dict[str, None]] | None, str]:
        head, tail, run = segment.head, segment.tail, segment.run
        if len(run) > max(len(head), len(tail)):
            return self._by_run.setdefault(len(run), {}), run
        if tail and len(tail) >= len(head):
            return self._by_tail, tail
        return (self._by_head, head) if head else (None, "")

    def matching(self, name: str, work: Work) -> Iterator[Node[Key]]:
        """The nodes behind edges that match a name, other than `**`.

        Raises:
            TooMuchWork: There is no more left than would be needed.
        """
        edges = self.edges
        if len(edges) <= _FEW_EDGES:
            for segment, node in edges.values():
                if segment.matches(name, work):
                    yield node
            return
        work.spend(len(name) * (1 + len(self._by_run)) * EDGE)
        for text in self._candidates(name):
            segment, node = edges[text]
            if segment.matches(name, work):
                yield node

    def _candidates(self, name: str) -> Iterator[str]:
        for at in range(len(name)):
            yield from self._by_tail.get(name[at:], ())
            yield from self._by_head.get(name[: at + 1], ())
        for length, by_run in self._by_run.items():
            # A text may stand in a name more than once.
            for run in dict.fromkeys(name[at : at + length] for at in range(len(name))):
                yield from by_run.get(run, ())
        yield from self._loose
