"""`http`: durable reserve and release over HTTP against the no-op endpoint of the same server.

Two servers run side by side, one over an empty directory, one over a project in which very many
reservations are active; slices of both kinds alternate over both, so that drift hits all alike.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import attrs
import msgspec

from bench.compared import counted, cpu_us, generate, profiles, take_turns, warnings
from bench.history import write_project
from bench.load import HEALTH, PROJECT, RESERVE, Outcome, Plan, Target
from bench.report import Figure, Result, Scale, figure_of
from bench.server import running_server

RATIO_TARGET = 0.70
CROWDED_TARGET = 0.90
_OPTIONS = ("--patterns-per-agent", "100000")
_NAMES = ("empty", "crowded")


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
    Scale.TINY: Sizes(connections=4, active=50, rounds=2, slice_s=0.1, warm_up_s=0.02),
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
        kinds = [(target, kind) for target in range(len(_NAMES)) for kind in (HEALTH, RESERVE)]
        slices = take_turns(
            kinds, rounds=sizes.rounds, slice_s=sizes.slice_s, warm_up_s=sizes.warm_up_s
        )
        outcomes = generate(Plan(sizes.connections, targets, slices))
    return Result(
        figures=tuple(_figures(outcomes)),
        settings=attrs.asdict(sizes),
        details={"slices": msgspec.to_builtins(outcomes)},
        warnings=tuple(warnings(outcomes)),
        texts=_profiles(sizes, scratch) if profile else (),
    )


def _figures(outcomes: Sequence[Outcome]) -> list[Figure]:
    figures: list[Figure] = []
    ratios: list[list[float]] = []
    cpu_ratios: list[float] = []
    for target, name in enumerate(_NAMES):
        health = counted(outcomes, target, HEALTH)
        reserve = counted(outcomes, target, RESERVE)
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
        noop_us, ours_us = cpu_us(health), cpu_us(reserve)
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


def _profiles(sizes: Sizes, scratch: Path) -> tuple[str, ...]:
    return tuple(
        profiles(
            (HEALTH, RESERVE), scratch, connections=sizes.connections, seconds=sizes.slice_s * 3
        )
    )
