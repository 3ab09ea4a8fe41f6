"""Kinds of load side by side: one generator, slices that take turns, ratios within the run."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import msgspec

from bench import profiled
from bench.load import Inbox, Outcome, Plan, Slice, Target
from bench.machine import ROOT
from bench.report import Figure, figure_of
from bench.server import running_server

_GENERATOR_SHARE_MAX = 0.90
_WAIT_SHARE_MAX = 0.05
_PROFILE_ROWS = 40


def generate(plan: Plan, *, module: str = "bench.load") -> list[Outcome]:
    """Run a plan in a generator process."""
    limit_s = 120 + 3 * sum(part.seconds for part in plan.slices)
    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=ROOT,
        input=msgspec.json.encode(plan),
        stdout=subprocess.PIPE,
        timeout=limit_s,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=list[Outcome])


def take_turns(
    kinds: Sequence[tuple[int, str]], *, rounds: int, slice_s: float, warm_up_s: float
) -> list[Slice]:
    """A warm-up of everything, then rounds of every kind, each given as (target, kind).

    Every other round runs backwards, so that nobody always comes first.
    """
    slices = [Slice(target, kind, warm_up_s, counts=False) for target, kind in kinds]
    for number in range(rounds):
        ordered = kinds if number % 2 == 0 else kinds[::-1]
        slices.extend(Slice(target, kind, slice_s) for target, kind in ordered)
    return slices


def counted(outcomes: Sequence[Outcome], target: int, kind: str) -> list[Outcome]:
    """The outcomes of one kind on one target, without the warm-up."""
    return [o for o in outcomes if o.counts and o.target == target and o.kind == kind]


def cpu_us(outcomes: Sequence[Outcome]) -> list[float]:
    """Processor microseconds a request of each slice for which the system tells them."""
    return [found.cpu_us for found in outcomes if found.cpu_us is not None]


def rates(outcomes: Sequence[Outcome]) -> list[float]:
    """Requests a second of each slice."""
    return [found.rate for found in outcomes]


def cpu_ratio(base: Sequence[Outcome], ours: Sequence[Outcome]) -> float | None:
    """What share of our processor time the base needs; None where the system does not say."""
    base_us, ours_us = cpu_us(base), cpu_us(ours)
    return median(base_us) / median(ours_us) if base_us and ours_us else None


def compare(
    name: str, base: Sequence[Outcome], ours: Sequence[Outcome], *, target: float
) -> list[Figure]:
    """Our rate as a share of the base's, slice by slice, and the same by processor time."""
    pairs = [one.rate / other.rate for one, other in zip(ours, base, strict=True)]
    figures = [
        figure_of(f"{name}: rate", rates(ours), "requests/s"),
        figure_of(f"{name}: p50", [found.latency_ms[0] for found in ours], "ms"),
        figure_of(f"{name}: p99", [found.latency_ms[1] for found in ours], "ms"),
        figure_of(f"{name}: ratio", pairs, "", target=target),
    ]
    by_cpu = cpu_ratio(base, ours)
    if by_cpu is not None:
        figures.append(figure_of(f"{name}: server CPU", cpu_us(ours), "us/request"))
        figures.append(Figure(f"{name}: ratio by CPU", by_cpu, "", target=target))
    return figures


def warnings(outcomes: Sequence[Outcome]) -> list[str]:
    """Why the figures of a run are to be read with care."""
    said = []
    share = max(found.generator_cpu_s / found.seconds for found in outcomes)
    if share > _GENERATOR_SHARE_MAX:
        said.append(f"the generator took {share:.0%} of a core: it may be the bottleneck")
    waits = [(o.server_wait_s or 0.0) / o.seconds for o in outcomes if o.counts]
    if median(waits) > _WAIT_SHARE_MAX:
        said.append(
            f"the servers waited for a processor {median(waits):.0%} of the time (median): "
            "others are using this machine; trust the ratios by CPU"
        )
    unexpected: dict[str, int] = {}
    for found in outcomes:
        for what, count in found.unexpected.items():
            unexpected[what] = unexpected.get(what, 0) + count
    if unexpected:
        said.append(f"unexpected answers: {unexpected}")
    return said


def profiles(
    kinds: Sequence[str],
    scratch: Path,
    *,
    connections: int,
    seconds: float,
    module: str = "bench.load",
    inboxes: Sequence[Inbox] = (),
    prepare: Callable[[Path], object] = lambda _: None,
) -> list[str]:
    """The costliest functions of a server for each kind of load.

    Args:
        prepare: Fills the server's data directory, which is empty otherwise.
    """
    shown = []
    for kind in kinds:
        found = scratch / f"{kind}.profile"
        data = scratch / f"profiled-{kind}"
        prepare(data)
        with running_server(data, profile=found) as server:
            targets = [Target(server.port, server.pid)]
            plan = Plan(connections, targets, [Slice(0, kind, seconds)], list(inboxes))
            (outcome,) = generate(plan, module=module)
        rows = profiled.table(found, rows=_PROFILE_ROWS, requests=outcome.requests)
        shown.append(f"  profile of {kind}, {outcome.requests} requests\n{rows}")
    return shown
