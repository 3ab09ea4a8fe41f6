"""`http`: durable reserve and release over HTTP against the no-op endpoint of the same server.

Two servers run side by side, one over an empty directory, one over a project in which very many
reservations are active; slices of both kinds alternate over both, so that drift hits all alike.
"""

import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import attrs
import msgspec

from bench import profiled
from bench.history import write_project
from bench.load import HEALTH, PROJECT, RESERVE, Outcome, Plan, Slice, Target
from bench.machine import ROOT
from bench.report import Figure, Result, Scale, figure_of
from bench.server import running_server

RATIO_TARGET = 0.70
CROWDED_TARGET = 0.90
_GENERATOR_SHARE_MAX = 0.90
_WAIT_SHARE_MAX = 0.05
_OPTIONS = ("--patterns-per-agent", "100000")
_NAMES = ("empty", "crowded")
_PROFILE_ROWS = 40


@attrs.frozen
class Sizes:
    """The numbers of a run."""

    connections: int
    active: int
    rounds: int
    slice_s: float
    warm_up_s: float


SIZES = {
    Scale.FULL: Sizes(connections=32, active=100_000, rounds=12, slice_s=2.0, warm_up_s=2.0),
    Scale.QUICK: Sizes(connections=32, active=10_000, rounds=5, slice_s=1.0, warm_up_s=1.0),
    Scale.TINY: Sizes(connections=4, active=50, rounds=2, slice_s=0.2, warm_up_s=0.1),
}


def measure(scale: Scale, scratch: Path, *, profile: bool = False) -> Result:
    """Run it. With `profile` two more servers run under cProfile, one kind of load each."""
    sizes = SIZES[scale]
    directories = [scratch / name for name in _NAMES]
    directories[0].mkdir()
    write_project(directories[1], PROJECT, active=sizes.active)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(running_server(path, options=_OPTIONS)) for path in directories
        ]
        targets = [Target(server.port, server.pid) for server in servers]
        outcomes = generate(Plan(sizes.connections, targets, _slices(sizes)))
    return Result(
        figures=tuple(_figures(outcomes)),
        settings=attrs.asdict(sizes),
        details={"slices": msgspec.to_builtins(outcomes)},
        warnings=tuple(_warnings(outcomes)),
        texts=tuple(_profiles(sizes, scratch)) if profile else (),
    )


def generate(plan: Plan) -> list[Outcome]:
    """Run a plan in a generator process."""
    limit_s = 120 + 3 * sum(part.seconds for part in plan.slices)
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        cwd=ROOT,
        input=msgspec.json.encode(plan),
        stdout=subprocess.PIPE,
        timeout=limit_s,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=list[Outcome])


def _slices(sizes: Sizes) -> list[Slice]:
    """A warm-up of everything, then rounds of health and reserve over both servers."""
    kinds = [(target, kind) for target in range(len(_NAMES)) for kind in (HEALTH, RESERVE)]
    warm_up = [Slice(target, kind, sizes.warm_up_s, counts=False) for target, kind in kinds]
    rounds: list[Slice] = []
    for number in range(sizes.rounds):
        # Every other round runs backwards, so that nobody always comes first.
        ordered = kinds if number % 2 == 0 else kinds[::-1]
        rounds.extend(Slice(target, kind, sizes.slice_s) for target, kind in ordered)
    return warm_up + rounds


def _figures(outcomes: Sequence[Outcome]) -> list[Figure]:
    figures: list[Figure] = []
    ratios: list[list[float]] = []
    cpu_ratios: list[float] = []
    for target, name in enumerate(_NAMES):
        health = _counted(outcomes, target, HEALTH)
        reserve = _counted(outcomes, target, RESERVE)
        pairs = [ours.rate / noop.rate for ours, noop in zip(reserve, health, strict=True)]
        ratios.append(pairs)
        figures += [
            figure_of(f"{name}: no-op", [found.rate for found in health], "requests/s"),
            figure_of(f"{name}: reserve and release", [o.rate for o in reserve], "requests/s"),
            figure_of(
                f"{name}: ratio", pairs, "", target=RATIO_TARGET if name == "empty" else None
            ),
            figure_of(f"{name}: p50 of reserve", [o.latency_ms[0] for o in reserve], "ms"),
            figure_of(f"{name}: p99 of reserve", [o.latency_ms[1] for o in reserve], "ms"),
        ]
        noop_us, ours_us = _cpu_us(health), _cpu_us(reserve)
        if noop_us and ours_us:
            figures += [
                figure_of(f"{name}: server CPU, no-op", noop_us, "us/request"),
                figure_of(f"{name}: server CPU, reserve", ours_us, "us/request"),
                Figure(f"{name}: ratio by CPU", median(noop_us) / median(ours_us), ""),
            ]
            cpu_ratios.append(median(noop_us) / median(ours_us))
    empty, crowded = (median(pairs) for pairs in ratios)
    figures.append(
        Figure("crowded ratio / empty ratio", crowded / empty, "", target=CROWDED_TARGET)
    )
    if len(cpu_ratios) == len(_NAMES):
        figures.append(Figure("the same by CPU", cpu_ratios[1] / cpu_ratios[0], ""))
    return figures


def _counted(outcomes: Sequence[Outcome], target: int, kind: str) -> list[Outcome]:
    return [o for o in outcomes if o.counts and o.target == target and o.kind == kind]


def _cpu_us(outcomes: Sequence[Outcome]) -> list[float]:
    return [found.cpu_us for found in outcomes if found.cpu_us is not None]


def _warnings(outcomes: Sequence[Outcome]) -> list[str]:
    warnings = []
    share = max(found.generator_cpu_s / found.seconds for found in outcomes)
    if share > _GENERATOR_SHARE_MAX:
        warnings.append(f"the generator took {share:.0%} of a core: it may be the bottleneck")
    waits = [(o.server_wait_s or 0.0) / o.seconds for o in outcomes if o.counts]
    if median(waits) > _WAIT_SHARE_MAX:
        warnings.append(
            f"the servers waited for a processor {median(waits):.0%} of the time (median): "
            "others are using this machine; trust the ratios by CPU"
        )
    unexpected: dict[str, int] = {}
    for found in outcomes:
        for what, count in found.unexpected.items():
            unexpected[what] = unexpected.get(what, 0) + count
    if unexpected:
        warnings.append(f"unexpected answers: {unexpected}")
    return warnings


def _profiles(sizes: Sizes, scratch: Path) -> list[str]:
    """The costliest functions of the server for either kind of load, on an empty directory."""
    texts = []
    for kind in (HEALTH, RESERVE):
        found = scratch / f"{kind}.profile"
        with running_server(scratch / f"profiled-{kind}", profile=found) as server:
            parts = [Slice(0, kind, sizes.slice_s * 3)]
            plan = Plan(sizes.connections, [Target(server.port, server.pid)], parts)
            (outcome,) = generate(plan)
        shown = profiled.table(found, rows=_PROFILE_ROWS, requests=outcome.requests)
        texts.append(f"  profile of {kind}, {outcome.requests} requests\n{shown}")
    return texts
