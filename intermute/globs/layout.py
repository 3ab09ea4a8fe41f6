"""Where each state of a graph stands among the bits of an automaton."""

from typing import TYPE_CHECKING

from intermute.globs.graph import Graph, Kind

if TYPE_CHECKING:
    from intermute.globs.alphabet import Label

Jump = tuple[int, int, int]


class Layout:
    """Gives states bits, such that reading goes from a bit to the next one wherever possible.

    A chain of states is laid until it meets a state already laid; there it ends in a *landing*
    bit, which jumps to that state. A STAR and the EAT state after it share one bit. A GLOB takes
    two: the first stands between segments and lets the second, which reads anything, and the
    third, which is what follows, be reached without reading.

    Attributes:
        bit_of: State to the number of its bit; a state that shares a bit may be missing.
        labels: Per bit, what it reads to move on to the next, or None.
        globs: The first bits of the GLOB states.
        stay_anywhere: Bits that stay where they are whatever is read.
        stay_inside: Bits that stay where they are unless a `/` is read.
        closure: State to the set reached without reading, its own bit included.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.bit_of: dict[int, int] = {}
        self.labels: list[Label | None] = []
        self.globs = 0
        self.stay_anywhere = 0
        self.stay_inside = 0
        self._jumps: list[tuple[int, tuple[int, ...]]] = []
        self._lay(graph.start)
        done = 0
        while done < len(self._jumps):
            for target in self._jumps[done][1]:
                self._lay(target)
            done += 1
        self.closure = self._close()

    def jumps(self) -> list[Jump]:
        """Source bits, what they reach without reading, and what they reach without a `/`."""
        sources: dict[tuple[int, ...], int] = {}
        for bit, targets in self._jumps:
            sources[targets] = sources.get(targets, 0) | 1 << bit
        inside = self._reach_inside() if sources else {}
        merged: dict[tuple[int, int], int] = {}
        for targets, mask in sources.items():
            closed, reached = 0, 0
            for target in targets:
                closed |= self.closure[target]
                reached |= inside[target]
            merged[closed, reached] = merged.get((closed, reached), 0) | mask
        return [(mask, closed, reached) for (closed, reached), mask in merged.items()]

    def _lay(self, state: int) -> None:
        if state in self.bit_of:
            return
        graph = self.graph
        while state not in self.bit_of:
            bit = len(self.labels)
            self.bit_of[state] = bit
            kind = graph.kinds[state]
            targets = graph.targets[state]
            if kind is Kind.EAT:
                self.labels.append(graph.labels[state])
            elif kind is Kind.STAR:
                self.stay_inside |= 1 << bit
                merged = self._after_star(state)
                if merged is None:
                    self.labels.append(None)
                    self._jumps.append((bit, targets))
                    return
                self.labels.append(graph.labels[merged])
                targets = graph.targets[merged]
            elif kind is Kind.GLOB:
                self.globs |= 1 << bit
                self.stay_anywhere |= 2 << bit
                self.labels += [None, "/"]
            else:
                self.labels.append(None)
                if kind is Kind.SPLIT:
                    self._jumps.append((bit, targets))
                return
            (state,) = targets
        self._jumps.append((len(self.labels), (state,)))
        self.labels.append(None)

    def _after_star(self, state: int) -> int | None:
        (target,) = self.graph.targets[state]
        return target if self.graph.kinds[target] is Kind.EAT else None

    def _close(self) -> dict[int, int]:
        closure: dict[int, int] = {}
        for state in sorted(self.bit_of):
            closed = 1 << self.bit_of[state]
            kind = self.graph.kinds[state]
            if kind is Kind.GLOB:
                closed |= closed << 1
            if kind is not Kind.EAT and (kind is not Kind.STAR or self._after_star(state) is None):
                for target in self.graph.targets[state]:
                    closed |= closure[target]
            closure[state] = closed
        return closure

    def _reach_inside(self) -> dict[int, int]:
        inside: dict[int, int] = {}
        for state in sorted(self.bit_of):
            reached = self.closure[state]
            passed = state
            if self.graph.kinds[state] is Kind.STAR:
                merged = self._after_star(state)
                passed = state if merged is None else merged
            if self.graph.labels[passed] != "/":
                for target in self.graph.targets[passed]:
                    reached |= inside[target]
            inside[state] = reached
        return inside
