"""`push`: from a message's request to its frame at the subscribers, at a steady rate."""

from collections.abc import Sequence
from pathlib import Path

import attrs

from bench import profiled
from bench.load import percentile
from bench.push_load import Pushed, PushLoad
from bench.report import Bound, Figure, Result, Scale
from bench.server import running_server

P50_MS_MAX = 5.0
P99_MS_MAX = 25.0
_OWN, _WHOLE = "own feeds", "whole feed"
_GENERATOR_SHARE_MAX = 0.8
_LATE_MS_MAX = 5.0
_WAIT_SHARE_MAX = 0.05
_PROFILE_ROWS = 45


@attrs.frozen
class Sizes:
    """The numbers of a run. Each kind of subscriber has `stretches` of so many seconds."""

    subscribers: int
    rate: float
    stretches: int
    stretch_s: float
    warm_up_s: float


SIZES = {
    Scale.FULL: Sizes(subscribers=50, rate=200.0, stretches=2, stretch_s=10.0, warm_up_s=2.0),
    Scale.QUICK: Sizes(subscribers=50, rate=200.0, stretches=2, stretch_s=3.0, warm_up_s=1.0),
    Scale.TINY: Sizes(subscribers=4, rate=100.0, stretches=1, stretch_s=0.3, warm_up_s=0.1),
}


def measure(scale: Scale, scratch: Path, *, profile: bool = False) -> Result:
    """Run it. With `profile` two more servers run under cProfile, one for each variant."""
    sizes = SIZES[scale]
    # Every other pair runs backwards, so that neither always comes first.
    order = [
        own
        for number in range(sizes.stretches)
        for own in ((True, False), (False, True))[number % 2]
    ]
    found = run(scratch / "push", sizes, order)
    figures: list[Figure] = []
    for name in (_OWN, _WHOLE):
        figures += latency_figures(name, [each for each in found if each.variant == name])
    return Result(
        figures=tuple(figures),
        settings=attrs.asdict(sizes),
        details={"stretches": [each.summary() for each in found]},
        warnings=tuple(warnings(found)),
        texts=tuple(_profile(scratch, sizes, own=own) for own in (True, False) if profile),
    )


def run(
    data: Path, sizes: Sizes, order: Sequence[bool], *, profile: Path | None = None
) -> list[Pushed]:
    """Stretches one after the other on one server, on own feeds or on the whole one."""
    agent_ids = [f"listener-{number:03}" for number in range(sizes.subscribers)]
    found: list[Pushed] = []
    first = 0
    with running_server(data, profile=profile) as server:
        for own in order:
            load = PushLoad(server, _OWN if own else _WHOLE, agent_ids, own=own)
            try:
                warmed = load.run(rate=sizes.rate, seconds=sizes.warm_up_s, first=first)
                first += warmed.sent
                found.append(load.run(rate=sizes.rate, seconds=sizes.stretch_s, first=first))
                first += found[-1].sent
            finally:
                load.close()
    return found


def latency_figures(name: str, found: Sequence[Pushed]) -> list[Figure]:
    """The latencies of several stretches together; processor time of the server for a message."""
    latencies = sorted(ms for each in found for ms in each.latencies_ms)
    answers = sorted(ms for each in found for ms in each.answers_ms)
    if not latencies or not answers:
        return []
    figures = [
        Figure(
            f"{name}: {label}",
            percentile(latencies, share),
            "ms",
            spread=_spread(found, share),
            target=target,
            bound=Bound.AT_MOST,
        )
        for label, share, target in (("p50", 0.5, P50_MS_MAX), ("p99", 0.99, P99_MS_MAX))
    ]
    figures.append(Figure(f"{name}: slowest", latencies[-1], "ms"))
    figures.append(Figure(f"{name}: p50 of the answer", percentile(answers, 0.5), "ms"))
    cpu_s = [each.server_cpu_s for each in found if each.server_cpu_s is not None]
    if cpu_s:
        per_message_us = sum(cpu_s) * 1e6 / sum(each.sent for each in found)
        figures.append(Figure(f"{name}: server CPU", per_message_us, "us/message"))
    return figures


def _spread(found: Sequence[Pushed], share: float) -> tuple[float, float]:
    values = [percentile(each.latencies_ms, share) for each in found if each.latencies_ms]
    return min(values), max(values)


def warnings(found: Sequence[Pushed]) -> list[str]:
    """What went wrong, and why figures are to be read with care."""
    said: list[str] = []
    for each in found:
        bad = {"missing frames": each.missing, "failed requests": each.failed, **each.closed}
        if any(bad.values()):
            said.append(f"unexpected on {each.variant}: { ({k: v for k, v in bad.items() if v}) }")
        late_ms = percentile(each.late_ms, 0.99)
        if late_ms > _LATE_MS_MAX:
            said.append(f"{each.variant}: requests went out up to {late_ms:.1f} ms late (p99)")
        share = each.generator_cpu_s / each.seconds
        if share > _GENERATOR_SHARE_MAX:
            said.append(f"{each.variant}: the generator took {share:.0%} of a core")
        waited = (each.server_wait_s or 0.0) / each.seconds
        if waited > _WAIT_SHARE_MAX:
            said.append(
                f"{each.variant}: the server waited for a processor {waited:.0%} of the time"
            )
    return said


def _profile(scratch: Path, sizes: Sizes, *, own: bool) -> str:
    name = _OWN if own else _WHOLE
    path = scratch / f"{'own' if own else 'whole'}.profile"
    (found,) = run(scratch / f"profiled-{own}", sizes, [own], profile=path)
    sent = found.sent + int(sizes.rate * sizes.warm_up_s)
    rows = profiled.table(path, rows=_PROFILE_ROWS, requests=sent)
    return f"  profile of {name}, {sent} messages\n{rows}"
