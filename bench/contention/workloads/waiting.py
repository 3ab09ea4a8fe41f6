"""Waiting: who is handed a path next, and rings of agents that wait for each other."""

from collections.abc import Sequence
from itertools import takewhile
from time import perf_counter

import attrs

from bench.contention import asks
from bench.contention.jobs import Variant
from bench.contention.links import Ask
from bench.contention.loop import Meet, Script, Wait
from bench.contention.stage import Stage
from bench.contention.workloads.base import Findings, Judged, Load, Part, Workload
from bench.contention.workloads.holds import Hold, two_at_once
from bench.report import Bound, Figure

_WAITERS = 16
_HOLD_S = 0.005
_POLL_S = 0.02
_WAIT_SECONDS = 20
_RING_SIZES = range(2, 9)
_PATH = "src/handed-on.py"
# Who has asked so long ago is in line.
_IN_LINE_S = 0.01


class HandOff(Workload):
    """Many stand in line for one path, hold it for 5 ms and get in line again.

    Where the target cannot let a call wait, a client that was refused asks again after 10 to 20 ms:
    what such clients have to do anyway, and what waiting is compared with.
    """

    name = "handoff"
    title = "hand-off of one path among many waiters"

    def variants(self, load: Load) -> list[Variant]:
        return [Variant("", load.clients or _WAITERS, alone=True)]

    def run(self, stage: Stage) -> None:
        freed_s: list[float] = []
        scripts = {f"waiter-{at:03}": _standing(stage, at, freed_s) for at in stage.own}
        stage.play(scripts)

    def judge(self, parts: Sequence[Part]) -> Judged:
        (part,) = parts
        holds = part.values.get("hold", [])
        waits = part.values.get("wait", [])
        violations = two_at_once(Hold(*each) for each in holds)
        passed = overtaken(waits)
        handed = part.of("hand-off").latency
        waited = part.of("wait").latency
        share = waited.quantile(0.99) / max(1.0, waited.mean_us)
        found = Findings()
        for name, quantile in (("p50", 0.5), ("p99", 0.99)):
            since_ms = handed.quantile(quantile) / 1e3
            found.add(Figure(f"from release to grant, {name}", since_ms, "ms"), of=handed.count)
        for figure in (
            Figure("fairness (Jain)", jain([each[0] for each in waits]), ""),
            Figure("most times that one was overtaken", max(passed, default=0), ""),
            Figure("p99 of a wait, as a multiple of its mean", share, ""),
        ):
            found.add(figure, of=len(waits))
        found.add(
            Figure("two at once", len(violations), "", target=0, bound=Bound.AT_MOST),
            of=len(holds),
        )
        return found.judged(violations=violations)


def overtaken(waits: Sequence[tuple[str, float, float]]) -> list[int]:
    """For each wait (agent, asked, granted) how many that asked later were granted earlier.

    A wait is passed by another only if that one asked when this one had asked for long enough to be
    in line: clocks of clients cannot tell which of two calls in flight came first.
    """
    ordered = sorted(waits, key=lambda wait: wait[1])
    passed: list[int] = []
    for at, (_, begun_s, granted_s) in enumerate(ordered):
        later = takewhile(lambda wait: wait[1] < granted_s, ordered[at + 1 :])  # noqa: B023
        passed.append(
            sum(
                1
                for _, asked_s, got_s in later
                if asked_s > begun_s + _IN_LINE_S and got_s < granted_s
            )
        )
    return passed


def jain(agents: Sequence[str]) -> float:
    """Jain's index of how often each agent was served: 1 when all were served alike."""
    counts = [agents.count(agent) for agent in set(agents)]
    if not counts:
        return 0.0
    return sum(counts) ** 2 / (len(counts) * sum(count**2 for count in counts))


def _standing(stage: Stage, ordinal: int, freed_s: list[float]) -> Script:
    agent, project = f"waiter-{ordinal:03}", stage.job.project
    waits = stage.can("waiting")
    path = stage.path(_PATH)
    ask = asks.reserve(project, agent, path)
    if waits:
        ask = asks.reserve(project, agent, path, wait_seconds=_WAIT_SECONDS)
    while not stage.is_over():
        begun_s = perf_counter()
        granted = yield ask
        assert granted is not None
        while granted.status != 201:
            if stage.is_over() or granted.status <= 0:
                return
            if not waits or granted.status != 409:
                yield Wait(perf_counter() + _POLL_S * stage.chance.uniform(0.5, 1))
            granted = yield ask
            assert granted is not None
        if freed_s and freed_s[0] > begun_s:
            stage.done("hand-off", freed_s[0], granted.answered_s)
        freed_s.clear()
        stage.done("wait", begun_s, granted.answered_s)
        stage.add("wait", (agent, begun_s, granted.answered_s))
        yield Wait(perf_counter() + _HOLD_S)
        freed_s[:] = [perf_counter()]
        times = (round(granted.answered_s * 1e9), round(freed_s[0] * 1e9))
        stage.add("hold", (agent, path, True, *times))
        yield asks.release(agent, granted.members()["id"])


class Rings(Workload):
    """Agents that each hold one path and wait for the next one's: one of them must be told so.

    All ask at once. The one that is refused gives up what it has, and so all others are served.
    """

    name = "deadlock"
    title = "rings of 2 to 8 agents that wait for each other"
    needs = frozenset({"waiting"})
    passes_over = frozenset({"clients", "seconds"})

    def variants(self, load: Load) -> list[Variant]:
        rings = load.pick(full=40, quick=6, tiny=1)
        sizes = load.pick(full=8, quick=8, tiny=3)
        return [
            Variant(f"rings of {size}", size, {"rings": max(1, rings // load.turns)}, alone=True)
            for size in _RING_SIZES
            if size <= sizes
        ]

    def run(self, stage: Stage) -> None:
        size = len(stage.own)
        ring = _Ring()
        stage.play({f"ring-{at}": _closing(stage, at, size, ring) for at in range(size)})

    def judge(self, parts: Sequence[Part]) -> Judged:
        refusals = [part.of("refusal").latency for part in parts]
        rings = sum(each.count for each in refusals)
        longest_us = max(each.most_us for each in refusals)
        found = Findings()
        found.add(Figure("rings", rings, ""), of=rings)
        found.add(Figure("a refusal took at most", longest_us / 1e3, "ms"), of=rings)
        return found.judged()


@attrs.define
class _Ring:
    """What the agents of a ring were told: who was refused, and whether all had an answer."""

    refused: list[str] = attrs.field(factory=list)
    is_answered: bool = True


def _closing(stage: Stage, ordinal: int, size: int, ring: _Ring) -> Script:
    agent, project = f"ring-{ordinal}", stage.job.project
    for number in range(int(stage.job.variant.numbers["rings"])):

        def path(at: int, number: int = number) -> str:
            return stage.path(f"ring{size}/t{stage.job.turn}n{number}/{at % size}")

        mine = yield _unnamed(asks.reserve(project, agent, path(ordinal)))
        assert mine is not None
        yield Meet("held", size)
        begun_s = perf_counter()
        # The answer may be the refusal or the grant, and both are right.
        wanted = asks.reserve(
            project, agent, path(ordinal + 1), operation="", wait_seconds=_WAIT_SECONDS
        )
        other = yield wanted
        assert other is not None
        if mine.status != 201 or other.status not in (201, 409):
            ring.is_answered = False
        if other.status == 409 and other.members().get("error") == "deadlock":
            ring.refused.append(agent)
            stage.done("refusal", begun_s, other.answered_s)
        yield asks.release(agent, mine.members().get("id", ""), operation="")
        if other.status == 201:
            yield asks.release(agent, other.members()["id"], operation="")
        yield Meet("over", size)
        if ordinal == 0:
            # Who was not answered may have been the one that was refused, or may not have waited.
            if ring.is_answered:
                stage.violations += wrong_with_ring(size, ring.refused)
            ring.refused, ring.is_answered = [], True
        yield Meet("judged", size)


def wrong_with_ring(size: int, refused: Sequence[str]) -> list[str]:
    """What is wrong with a ring that closed, of which these agents were told so."""
    if not refused:
        return [f"a ring of {size} was not found within {_WAIT_SECONDS} s"]
    if len(refused) > 1:
        return [f"a ring of {size}, which closes once, was refused to {', '.join(refused)}"]
    return []


def _unnamed(ask: Ask) -> Ask:
    ask.operation = ""
    return ask
