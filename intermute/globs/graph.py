"""From a pattern's tree to a nondeterministic automaton over the characters of paths.

The construction is Thompson's (K. Thompson, "Regular expression search algorithm", CACM 11(6),
1968), built backwards so that equal tails are shared and a state which leads nowhere is never
made. A path is read with a `/` after each of its segments, the last one included, which makes a
whole segment the unit that `**` repeats.

Braces mean their textual expansions, and what a character means depends on the segment around it:
two stars are a `**` only when nothing else stands between the slashes, a lone dot vanishes, an
empty segment vanishes. So each place of the pattern is compiled once for every *context* in which
some expansion can reach it. The contexts and what each item does in them are the table below:

    S   at the start of a segment          l   inside a segment without wildcards so far
    D   after a dot alone in its segment   w   inside a segment with a wildcard
    DD  after two dots alone               1,2 after one or two stars alone in their segment

S, D, 1 and 2 carry what came before: N nothing, Z only `**`, L a segment without wildcards,
W anything else. The letter decides what the end of the pattern means there.

The language of a pattern keeps to sequences of segments, but not yet to segments which paths can
have (`?` alone allows a dot); that is `product`'s business.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Final, Protocol

from intermute.globs import limits
from intermute.globs.alphabet import ANY, AnyChar, CharSet, Label
from intermute.globs.syntax import BadPattern, Group, Item, Items, Star


class Kind(Enum):
    """What a state does. EAT reads one character of `label` and goes to its target; STAR reads any
    character but `/` and stays, or goes on; GLOB reads whole segments and stays, or goes on;
    SPLIT goes on to all of its targets; ACCEPT is the end."""

    ACCEPT = "accept"
    EAT = "eat"
    STAR = "star"
    GLOB = "glob"
    SPLIT = "split"


class _Action(Enum):
    SKIP = "skip"
    EAT = "eat"
    STAR = "star"
    GLOB = "glob"


ACCEPT: Final = 0

_Moves = tuple[tuple[_Action, str], ...]


def _moves_table() -> dict[tuple[str, str], _Moves]:
    skip, eat, star, glob = _Action.SKIP, _Action.EAT, _Action.STAR, _Action.GLOB
    table: dict[tuple[str, str], _Moves] = {}
    for inside, after in (("l", "SL"), ("w", "SW")):
        table[inside, "/"] = ((eat, after),)
        table[inside, "."] = table[inside, "c"] = ((eat, inside),)
        table[inside, "?"] = ((eat, "w"),)
        table[inside, "*"] = ((star, "w"),)
    for before in "NZLW":
        table["S" + before, "/"] = ((skip, "S" + before),)
        table["S" + before, "."] = ((skip, "D" + before), (eat, "l"))
        table["S" + before, "c"] = ((eat, "l"),)
        table["S" + before, "?"] = ((eat, "w"),)
        table["S" + before, "*"] = ((skip, "1" + before), (star, "w"))
        table["S" + before, "**"] = ((skip, "2" + before),)
        table["D" + before, "/"] = ((skip, "S" + before),)
        table["D" + before, "."] = ((skip, "DD"),)
        table["1" + before, "*"] = ((skip, "2" + before),)
        table["2" + before, "/"] = ((glob, "SZ" if before in "NZ" else "SW"),)
    return table


_MOVES: Final = _moves_table()

# The ends, by what they add: nothing; `/` to finish the segment; below it everything too.
_END_ACCEPTS = frozenset({"DW"})
_END_FINISHES = frozenset({"w"})
_END_COVERS = frozenset({"DL", "2L", "2W"})
_END_FINISHES_AND_COVERS = frozenset({"l"})
_END_STRICTLY_BELOW = frozenset({"SL", "SW", "SZ", "DZ", "2N", "2Z"})

_EMPTY = "it names no path; write `**` for everything"
_EMPTY_BY_BRACES = "one of its alternatives names no path; write `**` for everything"
PARENT: Final = "`..` leads out of the tree"
_PARENT_BY_BRACES = "one of its alternatives has a `..`, which leads out of the tree"
_TOO_MANY = "its braces combine in too many ways; send several patterns"


class Graph:
    """States by number, each leading only to lower ones; 0 accepts and `start` is the highest.

    `targets` holds one state for EAT, STAR and GLOB, two or more for SPLIT, none for ACCEPT.
    """

    __slots__ = ("_made", "kinds", "labels", "start", "targets")

    def __init__(self) -> None:
        self.kinds = [Kind.ACCEPT]
        self.labels: list[Label] = [""]
        self.targets: list[tuple[int, ...]] = [()]
        self.start = ACCEPT
        self._made: dict[tuple[Kind, Label, tuple[int, ...]], int] = {}

    def eat(self, label: Label, target: int) -> int:
        return self._make(Kind.EAT, label, (target,))

    def eat_run(self, run: str, target: int) -> int:
        for char in reversed(run):
            target = self._make(Kind.EAT, char, (target,))
        return target

    def star(self, target: int) -> int:
        same = self.kinds[target] is Kind.STAR
        return target if same else self._make(Kind.STAR, "", (target,))

    def glob(self, target: int) -> int:
        same = self.kinds[target] is Kind.GLOB
        return target if same else self._make(Kind.GLOB, "", (target,))

    def split(self, targets: Sequence[int]) -> int:
        distinct = tuple(dict.fromkeys(targets))
        return distinct[0] if len(distinct) == 1 else self._make(Kind.SPLIT, "", distinct)

    def _make(self, kind: Kind, label: Label, targets: tuple[int, ...]) -> int:
        key = (kind, label, targets)
        state = self._made.get(key)
        if state is None:
            state = self._made[key] = len(self.kinds)
            self.kinds.append(kind)
            self.labels.append(label)
            self.targets.append(targets)
        return state


def compile_pattern(items: Items) -> Graph:
    """Compile a whole pattern.

    Raises:
        BadPattern: An expansion is empty or has a `..`, or the automaton would be too large. Its
            `pattern` is left for the caller to fill in.
    """
    return _Compiler(items, ends=_whole_end).graph


def compile_segment(items: Items) -> Graph:
    """Compile one segment (as `segments` splits them off) with its closing `/` and no more."""
    return _Compiler(items, ends=_segment_end).graph


def contexts_after(items: Items) -> set[str]:
    """The contexts in which some expansion of the items ends, when they begin a pattern."""
    weave = _Weave(items)
    return set(_reachable(weave)[weave.end])


class _Glob:
    """A `**` with slashes around it, or the ends of the pattern, so that it cannot be else."""


_GLOB: Final = _Glob()

# What an edge of the weave holds.
_Strand = Item | _Glob | None


class _Weave:
    """The pattern as a directed acyclic graph of places with one item, or none, on each edge.

    A literal run inside a segment is one edge, since nothing can happen in the middle of it, unless
    it is all dots.
    """

    __slots__ = ("edges", "end")

    def __init__(self, items: Items) -> None:
        self.edges: list[list[tuple[_Strand, int]]] = [[]]
        # The slashes added stand for the ends, which count as slashes for a `**` next to them.
        self.end = self._lay(tuple(_with_globs(("/", *items, "/")))[1:-1], 0)

    def _lay(self, items: Iterable[Item | _Glob], place: int) -> int:
        for item in _runs(items):
            if isinstance(item, Group):
                each_start = [(each, self._edge(place, None)) for each in item.alternatives]
                ends = [self._lay(_with_globs(each), start) for each, start in each_start]
                self.edges.append([])
                place = len(self.edges) - 1
                for end in ends:
                    self.edges[end].append((None, place))
            else:
                place = self._edge(place, item)
        return place

    def _edge(self, place: int, item: _Strand) -> int:
        self.edges.append([])
        self.edges[place].append((item, len(self.edges) - 1))
        return len(self.edges) - 1


def _with_globs(items: Items) -> Iterator[Item | _Glob]:
    at = 0
    while at < len(items):
        yield items[at]
        at += 1
        around = items[at - 1 : at + 3]
        if (
            len(around) == 4
            and around[0] == around[3] == "/"
            and isinstance(around[1], Star)
            and isinstance(around[2], Star)
        ):
            yield _GLOB
            at += 2


def _runs(items: Iterable[Item | _Glob]) -> Iterator[Item | _Glob]:
    run = ""
    for item in items:
        if isinstance(item, str) and item != "/":
            run += item
            continue
        yield from _run_items(run)
        run = ""
        yield item
    yield from _run_items(run)


def _run_items(run: str) -> Iterable[str]:
    return run if run.count(".") == len(run) else (run,)


def _sort(item: Item | _Glob) -> str:
    if isinstance(item, str):
        return item if item in ("/", ".") else "c"
    if isinstance(item, _Glob):
        return "**"
    return "*" if isinstance(item, Star) else "?"


def _reachable(weave: _Weave) -> list[dict[str, None]]:
    """The contexts each place can be reached in, as keys of dicts, which keep their order."""
    contexts: list[dict[str, None]] = [{} for _ in weave.edges]
    contexts[0]["SN"] = None
    states = 0
    for place, edges in enumerate(weave.edges):
        states += len(contexts[place])
        if states > 2 * limits.STATES_MAX:
            raise BadPattern("", _TOO_MANY)
        for item, target in edges:
            if item is None:
                contexts[target].update(contexts[place])
                continue
            sort = _sort(item)
            if sort == "/" and "DD" in contexts[place]:
                raise BadPattern("", _PARENT_BY_BRACES if _branches(weave) else PARENT)
            for context in contexts[place]:
                for _, after in _MOVES.get((context, sort), ()):
                    contexts[target][after] = None
    return contexts


def _branches(weave: _Weave) -> bool:
    return any(len(edges) > 1 for edges in weave.edges)


def _whole_end(graph: Graph, context: str, *, branches: bool) -> int | None:
    if context == "DD":
        raise BadPattern("", _PARENT_BY_BRACES if branches else PARENT)
    if context in ("SN", "DN"):
        raise BadPattern("", _EMPTY_BY_BRACES if branches else _EMPTY)
    if context in _END_ACCEPTS:
        return ACCEPT
    if context in _END_FINISHES:
        return graph.eat("/", ACCEPT)
    if context in _END_COVERS:
        return graph.glob(ACCEPT)
    if context in _END_FINISHES_AND_COVERS:
        return graph.eat("/", graph.glob(ACCEPT))
    if context in _END_STRICTLY_BELOW:
        return graph.eat(ANY, graph.star(graph.eat("/", graph.glob(ACCEPT))))
    return None


def _segment_end(graph: Graph, context: str, *, branches: bool) -> int | None:
    return graph.eat("/", ACCEPT) if context in ("l", "w") else None


class _Ends(Protocol):
    def __call__(self, graph: Graph, context: str, *, branches: bool) -> int | None: ...


class _Compiler:
    def __init__(self, items: Items, *, ends: "_Ends") -> None:
        self.graph = Graph()
        weave = _Weave(items)
        contexts = _reachable(weave)
        branches = _branches(weave)
        # Per place, the state for each context from which the end can be reached.
        states: list[dict[str, int]] = [{} for _ in weave.edges]
        for context in contexts[weave.end]:
            state = ends(self.graph, context, branches=branches)
            if state is not None:
                states[weave.end][context] = state
        for place in range(weave.end - 1, -1, -1):
            for context in contexts[place]:
                found = self._onward(weave.edges[place], context, states)
                if found:
                    states[place][context] = self.graph.split(found)
        if len(self.graph.kinds) > limits.STATES_MAX:
            raise BadPattern("", _TOO_MANY)
        self.graph.start = states[0]["SN"]

    def _onward(
        self,
        edges: list[tuple[_Strand, int]],
        context: str,
        states: list[dict[str, int]],
    ) -> list[int]:
        found = []
        graph = self.graph
        for item, place in edges:
            if item is None:
                if context in states[place]:
                    found.append(states[place][context])
                continue
            for action, after in _MOVES.get((context, _sort(item)), ()):
                target = states[place].get(after)
                if target is None:
                    continue
                if action is _Action.EAT:
                    if isinstance(item, str):
                        found.append(graph.eat_run(item, target))
                    else:
                        assert isinstance(item, AnyChar | CharSet)
                        found.append(graph.eat(item, target))
                elif action is _Action.STAR:
                    found.append(graph.star(target))
                elif action is _Action.GLOB:
                    found.append(graph.glob(target))
                else:
                    found.append(target)
        return found
