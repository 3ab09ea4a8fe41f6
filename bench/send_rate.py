"""`send`: messages sent over HTTP, durable, against the no-op endpoint of the same server."""

from pathlib import Path

import attrs
import msgspec

from bench.compared import compare, counted, generate, profiles, rates, take_turns, warnings
from bench.load import HEALTH, SEND, Plan, Target
from bench.report import Result, Scale, figure_of
from bench.server import running_server

RATIO_TARGET = 0.65


@attrs.frozen
class Sizes:
    """The numbers of a run."""

    connections: int
    rounds: int
    slice_s: float
    warm_up_s: float


SIZES = {
    Scale.FULL: Sizes(connections=32, rounds=12, slice_s=2.0, warm_up_s=2.0),
    Scale.QUICK: Sizes(connections=32, rounds=5, slice_s=1.0, warm_up_s=1.0),
    Scale.TINY: Sizes(connections=4, rounds=2, slice_s=0.1, warm_up_s=0.02),
}


def measure(scale: Scale, scratch: Path, *, profile: bool = False) -> Result:
    """Run it. With `profile` two more servers run under cProfile, one kind of load each."""
    sizes = SIZES[scale]
    slices = take_turns(
        [(0, HEALTH), (0, SEND)],
        rounds=sizes.rounds,
        slice_s=sizes.slice_s,
        warm_up_s=sizes.warm_up_s,
    )
    with running_server(scratch / "send") as server:
        outcomes = generate(Plan(sizes.connections, [Target(server.port, server.pid)], slices))
    noop = counted(outcomes, 0, HEALTH)
    texts: list[str] = []
    if profile:
        texts = profiles(
            (HEALTH, SEND), scratch, connections=sizes.connections, seconds=sizes.slice_s * 3
        )
    return Result(
        figures=(
            figure_of("no-op: rate", rates(noop), "requests/s"),
            *compare("a message", noop, counted(outcomes, 0, SEND), target=RATIO_TARGET),
        ),
        settings=attrs.asdict(sizes),
        details={"slices": msgspec.to_builtins(outcomes)},
        warnings=tuple(warnings(outcomes)),
        texts=tuple(texts),
    )
