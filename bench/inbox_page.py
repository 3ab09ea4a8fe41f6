"""`inbox`: pages of a very full inbox and of a nearly empty one, against the no-op endpoint."""

import time
from pathlib import Path

import attrs
import msgspec

from bench.compared import (
    compare,
    counted,
    cpu_ratio,
    generate,
    profiles,
    rates,
    take_turns,
    warnings,
)
from bench.history import write_messages
from bench.load import HEALTH, Inbox, Outcome, Plan, Target
from bench.report import Figure, Result, Scale, figure_of
from bench.server import running_server

RATIO_TARGET = 0.65
# Two measurements of one thing differ by some percent.
FULL_TARGET = 0.95
_READER = "reader"
_NAMES = ("few", "many")
_NEWEST = "newest"


@attrs.frozen
class Sizes:
    """The numbers of a run. All messages of a project are in the one inbox that is read."""

    connections: int
    few: int
    many: int
    page: int
    rounds: int
    slice_s: float
    warm_up_s: float


SIZES = {
    Scale.FULL: Sizes(32, few=1_000, many=1_000_000, page=20, rounds=8, slice_s=2.0, warm_up_s=2.0),
    Scale.QUICK: Sizes(32, few=1_000, many=100_000, page=20, rounds=5, slice_s=1.0, warm_up_s=1.0),
    Scale.TINY: Sizes(4, few=100, many=300, page=20, rounds=2, slice_s=0.1, warm_up_s=0.02),
}


def measure(scale: Scale, scratch: Path, *, profile: bool = False) -> Result:
    """Run it: one server, one project with few messages and one with many.

    With `profile` another server runs under cProfile, with the few.
    """
    sizes = SIZES[scale]
    few = _NAMES[0]
    data = scratch / "inbox"
    counts = dict(zip(_NAMES, (sizes.few, sizes.many), strict=True))
    built_s = time.perf_counter()
    for name, count in counts.items():
        write_messages(data, name, reader=_READER, count=count)
    built_s = time.perf_counter() - built_s
    inboxes = [
        Inbox(name, name, _READER, sizes.page, cursor_first=0, cursor_last=count - sizes.page)
        for name, count in counts.items()
    ]
    last = inboxes[-1]
    newest = max(0, sizes.many - sizes.few)
    inboxes.append(attrs.evolve(last, kind=_NEWEST, cursor_first=newest))
    slices = take_turns(
        [(0, HEALTH), *((0, inbox.kind) for inbox in inboxes)],
        rounds=sizes.rounds,
        slice_s=sizes.slice_s,
        warm_up_s=sizes.warm_up_s,
    )
    with running_server(data) as server:
        targets = [Target(server.port, server.pid)]
        outcomes = generate(Plan(sizes.connections, targets, slices, inboxes))
    texts: list[str] = []
    if profile:
        texts = profiles(
            [few],
            scratch,
            connections=sizes.connections,
            seconds=sizes.slice_s * 3,
            inboxes=inboxes[:1],
            prepare=lambda path: write_messages(path, few, reader=_READER, count=sizes.few),
        )
    size_mb = sum(path.stat().st_size for path in data.iterdir()) / 1e6
    return Result(
        figures=(*_figures(outcomes, counts), Figure("size of the files", size_mb, "MB")),
        settings=attrs.asdict(sizes),
        details={"built_s": built_s, "slices": msgspec.to_builtins(outcomes)},
        warnings=tuple(warnings(outcomes)),
        texts=tuple(texts),
    )


def _figures(outcomes: list[Outcome], counts: dict[str, int]) -> list[Figure]:
    """Pages begin anywhere in an inbox, or among the newest messages of the full one."""
    noop = counted(outcomes, 0, HEALTH)
    few, many, newest = (counted(outcomes, 0, kind) for kind in (*_NAMES, _NEWEST))
    figures = [figure_of("no-op: rate", rates(noop), "requests/s")]
    for name, found in zip(_NAMES, (few, many), strict=True):
        figures += compare(f"out of {counts[name]:,}", noop, found, target=RATIO_TARGET)
    figures.append(_against("many against few", few, many, target=FULL_TARGET))
    figures.append(_against("the newest of many against few", few, newest, target=None))
    return figures


def _against(
    name: str, base: list[Outcome], ours: list[Outcome], *, target: float | None
) -> Figure:
    """Our speed as a share of the base's, by processor time where the system tells it."""
    by_cpu = cpu_ratio(base, ours)
    if by_cpu is None:
        pairs = [one.rate / other.rate for one, other in zip(ours, base, strict=True)]
        return figure_of(f"{name}: ratio", pairs, "", target=target)
    return Figure(f"{name}: ratio by CPU", by_cpu, "", target=target)
