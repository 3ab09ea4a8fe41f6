"""Big sets: fifty patterns at once, against more and more that are held already."""

from collections.abc import Iterator, Sequence
from statistics import median
from time import perf_counter
from typing import Any

import attrs

from bench.contention import asks
from bench.contention.jobs import Variant
from bench.contention.loop import Script
from bench.contention.results import Axis, Curve, Point
from bench.contention.stage import Stage
from bench.contention.workloads.base import Findings, Judged, LeftOut, Load, Part, Workload
from bench.report import Figure

_HELD = (100, 1_000, 10_000, 100_000)
_SET = 50
_FILLERS = 8
# Whoever was refused so often in a row has come to a limit.
_REFUSED_MAX = 20
# They are not released one by one: whoever has a hundred thousand lets them lapse.
_HELD_MINUTES = 120
# What every server lets one request, and one agent, have.
_PER_REQUEST = {True: 250, False: 1}
_PER_AGENT = {True: 250, False: 10}


class BigSet(Workload):
    """Reserve 50 patterns and release them. Where the target takes no sets, one after the other."""

    name = "bigset"
    title = "reserve 50 patterns against many that are held"
    passes_over = frozenset({"clients"})

    def variants(self, load: Load) -> list[Variant]:
        most = load.pick(full=100_000, quick=10_000, tiny=100)
        sizes = [held for held in _HELD if held <= most]
        return [
            Variant(f"{held:,} held", 1, {"held": held, "before": before}, alone=True)
            for before, held in zip((0, *sizes), sizes, strict=False)
        ]

    def prepare(self, stage: Stage) -> None:
        """Hold as many as the variant says; those of the variant before are held already.

        Raises:
            LeftOut: The target lets nobody hold anything.
        """
        numbers = stage.job.variant.numbers
        wanted = iter(range(int(numbers["before"]), int(numbers["held"]), self._step(stage)))
        stage.play(
            {
                f"filler-{at}": self._fill(stage, wanted, int(numbers["held"]))
                for at in range(_FILLERS)
            }
        )
        if not stage.values.get("held") and not numbers["before"]:
            raise LeftOut("it granted nothing of what was to be held")

    def settled(
        self, variant: Variant, values: dict[str, list[Any]], before: Sequence[Part]
    ) -> Variant:
        """The variant with as many as are held, which a target may have a limit for."""
        already = before[-1].variant.numbers["held"] if before else 0
        held, wanted = already + sum(values.get("held", ())), variant.numbers["held"]
        if held == wanted:
            return variant
        label = f"{held:,.0f} held of {wanted:,.0f}"
        numbers = {**variant.numbers, "held": held, "wanted": wanted}
        return attrs.evolve(variant, label=label, numbers=numbers)

    def _step(self, stage: Stage) -> int:
        return _PER_REQUEST[stage.can("sets")]

    def _fill(self, stage: Stage, wanted: Iterator[int], end: int) -> Script:
        sets = stage.can("sets")
        refused = 0
        for first in wanted:
            paths = [
                stage.path(_path(at)) for at in range(first, min(end, first + self._step(stage)))
            ]
            agent = f"holder-{stage.job.run_id}-{first // _PER_AGENT[sets]}"
            granted = yield asks.reserve(
                stage.job.project,
                agent,
                paths if sets else paths[0],
                operation="",
                ttl_minutes=_HELD_MINUTES,
            )
            assert granted is not None
            if granted.status == 201:
                refused = 0
                stage.add("held", len(paths))
                continue
            refused += 1
            if refused == _REFUSED_MAX:
                return

    def run(self, stage: Stage) -> None:
        script = _in_one_call if stage.can("sets") else _one_by_one
        stage.play({"taker": script(stage)})

    def judge(self, parts: Sequence[Part]) -> Judged:
        found = Findings()
        points, warnings = [], []
        for part in parts:
            numbers = part.variant.numbers
            if "wanted" in numbers:
                warnings.append(
                    f"only {numbers['held']:,.0f} of {numbers['wanted']:,.0f} could be held"
                )
            series = part.of("reserve 50")
            turns = [
                at.median_us / 1e3
                for at in part.slices
                if at.series == series.name and at.median_us
            ]
            name = f"{part.variant.label}: p50"
            if not turns:
                warnings.append(f"{part.variant.label}: no set was granted")
                found.unmeasured.append(name)
                continue
            spread = (min(turns), max(turns))
            found.add(Figure(name, median(turns), "ms", spread), of=len(turns))
            points.append(Point(numbers["held"], median(turns), min(turns), max(turns)))
        curve = Curve(
            "reserve 50 patterns", Axis("patterns held", log=True), Axis("p50", "ms"), tuple(points)
        )
        return found.judged(curves=[curve] if points else [], warnings=warnings)


def _path(ordinal: int) -> str:
    return f"h{ordinal % 500}/m{ordinal // 500}/f{ordinal}.py"


def _in_one_call(stage: Stage) -> Script:
    paths = [stage.path(f"h{at}/m0/mine{at}.py") for at in range(_SET)]
    while not stage.is_over():
        mine = yield asks.reserve(stage.job.project, "taker", paths, operation="reserve 50")
        assert mine is not None
        if mine.status == 201:
            yield asks.release("taker", mine.members()["id"], operation="release 50")


def _one_by_one(stage: Stage) -> Script:
    per_agent = _PER_AGENT[False]
    while not stage.is_over():
        begun_s = perf_counter()
        held: list[tuple[str, str]] = []
        for at in range(_SET):
            agent = f"taker-{at // per_agent}"
            mine = yield asks.reserve(
                stage.job.project,
                agent,
                stage.path(f"h{at}/m0/mine{at}.py"),
                operation="reserve one",
            )
            assert mine is not None
            if mine.status == 201:
                held.append((agent, mine.members()["id"]))
        if len(held) == _SET:
            stage.done("reserve 50", begun_s, perf_counter())
        for agent, reservation_id in held:
            yield asks.release(agent, reservation_id, operation="")
