"""The check by witness: where every answer says where it stands in the order, nothing is searched.

Sorted by (`epoch`, `seq`), the calls must make sense to the model one after the other, and no call
may stand behind one that began only after it was over. The sort aside, both take linear time.

Calls without an answer have no place. Where the replay cannot go on without one, it is put in as
late as its place allows, by a search that is bound to the order of the others.
"""

import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

import attrs

from bench.linearizability.history import Call
from bench.linearizability.model import EMPTY, Model
from bench.linearizability.op import LOOKS, Action, Op
from bench.linearizability.operations import Part
from bench.linearizability.search import Found, Search, Stuck, Verdict

_LOOK_AT_CLOCK_EVERY: Final = 4096


@attrs.frozen
class Disorder:
    """Two calls of which the witness puts the first before the second, and why that cannot be."""

    first: Call
    second: Call
    why: str


@attrs.frozen
class Witnessed:
    """What came of the check by witness.

    Attributes:
        placed: How many calls say where they stand.
        unplaced: How many answers that the model knows do not say it.
        disorder: The pair that contradicts real time or the tokens, if there is one.
        stuck: Where the replay cannot go on, if it cannot.
        part: The part that is stuck.
    """

    verdict: Verdict
    placed: int = 0
    unplaced: int = 0
    disorder: Disorder | None = None
    stuck: Stuck | None = None
    part: Part | None = None
    why: str = ""


def place_of(call: Call) -> tuple[int, int] | None:
    """Where a call stands in its project's order. Zeros are no place: nothing was decided."""
    if call.epoch is None or call.seq is None or not call.seq:
        return None
    return call.epoch, call.seq


def check_witness(
    calls: Sequence[Call], parts: Iterable[Part], *, until_s: float = float("inf")
) -> Witnessed:
    """Check a history by what its answers say about their order.

    Args:
        calls: All calls; those that the model does not know have a place in the order, too.
        parts: The same calls, prepared.
        until_s: When to give up, on `time.monotonic`.
    """
    placed = sum(place_of(call) is not None for call in calls)
    unplaced = 0
    disorder = out_of_order(calls)
    if disorder is not None:
        return Witnessed(Verdict.VIOLATION, placed, unplaced, disorder=disorder)
    granted: list[tuple[str, tuple[int, int], Op]] = []
    for part in parts:
        without = [op for op in part.ops if op.answered and place_of(op.call) is None]
        unplaced += len(without)
        if any(op.action not in LOOKS for op in without):
            why = "answers that changed something do not say where they stand"
            return Witnessed(Verdict.UNKNOWN, placed, unplaced, why=why)
        found = _replay(part, granted, until_s)
        if found.verdict is not Verdict.LINEARIZABLE:
            return Witnessed(
                found.verdict, placed, unplaced, stuck=found.stuck, part=part, why=found.why
            )
    disorder = _tokens_out_of_order(granted)
    verdict = Verdict.LINEARIZABLE if disorder is None else Verdict.VIOLATION
    return Witnessed(verdict, placed, unplaced, disorder=disorder)


def out_of_order(calls: Iterable[Call]) -> Disorder | None:
    """The first pair whose places are the same, or contradict real time."""
    by_project: dict[str, list[tuple[tuple[int, int], Call]]] = {}
    for call in calls:
        place = place_of(call)
        if place is not None:
            by_project.setdefault(call.project, []).append((place, call))
    for placed in by_project.values():
        placed.sort(key=lambda each: each[0])
        for (place, first), (other, second) in pairwise(placed):
            if place == other:
                return Disorder(first, second, f"both say that they are number {place[1]}")
        latest = placed[0][1]
        for _, call in placed:
            if call.return_ns is not None and call.return_ns < latest.invoke_ns:
                return Disorder(latest, call, "the first began after the second was over")
            if call.invoke_ns > latest.invoke_ns:
                latest = call
    return None


class InOrder:
    """The order of the witness: before an answer comes nothing but calls without one."""

    def __init__(self, ops: Sequence[Op]) -> None:
        self.answers: Sequence[Op] = sorted(
            (op for op in ops if op.answered and place_of(op.call) is not None),
            key=lambda op: place_of(op.call) or (0, 0),
        )
        # A call may come before an answer only if it began before that one and all that follow.
        earliest: list[int] = []
        for op in reversed(self.answers):
            earliest.append(min(op.return_ns, earliest[-1] if earliest else op.return_ns))
        self._until_ns = earliest[::-1]
        self._never = sorted((op for op in ops if not op.answered), key=lambda op: op.invoke_ns)

    def pending(self, rank: int) -> Sequence[Op]:
        return (self.answers[rank],)

    def unanswered(self, rank: int) -> Sequence[Op]:
        until_ns = self._until_ns[rank]
        return [op for op in self._never if op.invoke_ns <= until_ns]


def _replay(part: Part, granted: list[tuple[str, tuple[int, int], Op]], until_s: float) -> Found:
    """Run the model over a part. Adds every grant of something new to `granted`."""
    schedule, state = InOrder(part.ops), EMPTY
    model = Model(part.terms, part.ops)
    step = model.step
    first: dict[str, Op] = {}
    for number, op in enumerate(schedule.answers):
        after = step(state, op)
        if isinstance(after, str) or len(after) > 1:
            found = Search(model, schedule, until_s=until_s).run()
            if found.verdict is not Verdict.LINEARIZABLE:
                return found
            break
        (state,) = after
        if number % _LOOK_AT_CLOCK_EVERY == 0 and time.monotonic() > until_s:
            return Found(Verdict.UNKNOWN, why="time is over")
    # A lease that a call without an answer may have been granted was granted at no known place.
    somewhere = {name for op in part.ops for name in op.candidates}
    for op in schedule.answers:
        if op.action is Action.GRANT and op.lease not in somewhere and op.token is not None:
            first.setdefault(op.lease, op)
    granted += ((part.project, place_of(op.call) or (0, 0), op) for op in first.values())
    return Found(Verdict.LINEARIZABLE, order=tuple(schedule.answers))


def _tokens_out_of_order(granted: list[tuple[str, tuple[int, int], Op]]) -> Disorder | None:
    """Two grants of a project whose tokens do not grow as their places do."""
    granted.sort(key=lambda each: each[:2])
    for (project, _, first), (other, _, second) in pairwise(granted):
        if project == other and (first.token or 0) >= (second.token or 0):
            return Disorder(
                first.call, second.call, f"token {first.token} is followed by {second.token}"
            )
    return None
