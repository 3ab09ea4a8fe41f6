"""The contended mix: paths as unequally wanted as files are, directories among them."""

from collections.abc import Sequence
from itertools import accumulate
from time import perf_counter

from bench.contention import asks
from bench.contention.jobs import Variant
from bench.contention.loop import Script, Wait
from bench.contention.stage import Stage
from bench.contention.workloads.base import Findings, Judged, Load, Part, Workload
from bench.contention.workloads.holds import Hold, two_at_once
from bench.report import Bound, Figure

_CLIENTS = 24
_DIRECTORIES = 10
_FILES = 20
_HOLD_S = 0.003
_SHARED = 0.25
_WHOLE_DIRECTORY = 0.05
_CHECKED = 0.3
_RENEWED = 0.2
_PAUSE_S = 0.002
# When all are granted.
_CALLS_A_ROUND = 2 + _CHECKED + _RENEWED


class Contended(Workload):
    """Check, reserve, hold, perhaps renew, release; after a refusal a short pause.

    Which file is wanted follows Zipf's law: the n-th has weight 1 / n ** skew. One call in twenty
    is for a whole directory, one in four is shared.
    """

    name = "contended"
    title = "contended mix with skewed paths"
    is_recorded = True
    has_rate = True
    has_skew = True

    def variants(self, load: Load) -> list[Variant]:
        return [Variant("", load.clients_or(_CLIENTS), {"skew": load.skew})]

    def run(self, stage: Stage) -> None:
        weights = zipf(_DIRECTORIES * _FILES, stage.job.variant.numbers["skew"])
        job = stage.job
        if job.rate is None:
            stage.play({f"agent-{at:03}": _working(stage, at, weights) for at in stage.own})
            return
        # An agent of its own for each round: nobody is in the way of oneself.
        begun = iter(range(job.part, 1 << 40, job.parts))
        stage.play_open(
            "reserve",
            job.rate / _CALLS_A_ROUND,
            lambda due_s: _round(stage, f"agent-t{job.turn}n{next(begun)}", weights, due_s),
        )

    def judge(self, parts: Sequence[Part]) -> Judged:
        (part,) = parts
        reserve = part.of("reserve")
        conflicts = reserve.refused.get(409, 0)
        decided = reserve.ok + conflicts
        holds = part.values.get("hold", [])
        violations = two_at_once(Hold(*each) for each in holds)
        found = Findings()
        found.add(Figure("conflicts", conflicts / max(1, decided), ""), of=decided)
        found.add(
            Figure("two at once", len(violations), "", target=0, bound=Bound.AT_MOST),
            of=len(holds),
        )
        return found.judged(violations=violations)


def zipf(count: int, skew: float) -> list[float]:
    """Cumulative weights of so many things, the n-th of which is wanted as 1 / n ** skew."""
    return list(accumulate(1 / (rank + 1) ** skew for rank in range(count)))


def _working(stage: Stage, ordinal: int, weights: list[float]) -> Script:
    while not stage.is_over():
        yield from _round(stage, f"agent-{ordinal:03}", weights, None)


def _round(stage: Stage, agent: str, weights: list[float], due_s: float | None) -> Script:
    project, chance = stage.job.project, stage.chance
    (number,) = chance.choices(range(len(weights)), cum_weights=weights)
    # Neighbours in the ranking are in different directories.
    path = stage.path(f"dir{number % _DIRECTORIES}/file{number}.py")
    if chance.random() < _WHOLE_DIRECTORY:
        path = stage.path(f"dir{number % _DIRECTORIES}/*")
    exclusive = chance.random() >= _SHARED
    wanted = asks.reserve(project, agent, path, exclusive=exclusive)
    first = asks.check(project, path) if chance.random() < _CHECKED else wanted
    first.due_s = due_s
    granted = yield first
    if first is not wanted:
        granted = yield wanted
    assert granted is not None
    if granted.status != 201:
        yield Wait(perf_counter() + _PAUSE_S * chance.random())
        return
    reservation_id = granted.members()["id"]
    yield Wait(perf_counter() + _HOLD_S * chance.random())
    if stage.can("renew") and chance.random() < _RENEWED:
        yield asks.renew(agent, reservation_id)
    held = (round(granted.answered_s * 1e9), round(perf_counter() * 1e9))
    stage.add("hold", (agent, path, exclusive, *held))
    yield asks.release(agent, reservation_id)
