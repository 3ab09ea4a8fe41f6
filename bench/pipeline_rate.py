"""`pipeline`: durable commands pipelined on one WebSocket against a bare echo on the same server.

The echo goes through Quart-Trio, with the same frames and as many of them under way.
"""

from pathlib import Path

import attrs
import msgspec

from bench.compared import compare, counted, generate, profiles, rates, take_turns, warnings
from bench.load import Plan, Target
from bench.pipelined import ECHO_OF_RESERVE, ECHO_OF_SEND, RESERVE, SEND
from bench.report import Result, Scale, figure_of
from bench.server import running_server

RATIO_TARGET = 0.5
_GENERATOR = "bench.pipelined"
_PAIRS = ((ECHO_OF_RESERVE, RESERVE), (ECHO_OF_SEND, SEND))


@attrs.frozen
class Sizes:
    """The numbers of a run. `depth`: how many requests are under way at once."""

    depth: int
    rounds: int
    slice_s: float
    warm_up_s: float


SIZES = {
    Scale.FULL: Sizes(depth=64, rounds=8, slice_s=2.0, warm_up_s=1.0),
    Scale.QUICK: Sizes(depth=64, rounds=4, slice_s=1.0, warm_up_s=0.5),
    Scale.TINY: Sizes(depth=4, rounds=2, slice_s=0.1, warm_up_s=0.02),
}


def measure(scale: Scale, scratch: Path, *, profile: bool = False) -> Result:
    """Run it. With `profile` more servers run under cProfile, one kind of command each."""
    sizes = SIZES[scale]
    slices = take_turns(
        [(0, kind) for pair in _PAIRS for kind in pair],
        rounds=sizes.rounds,
        slice_s=sizes.slice_s,
        warm_up_s=sizes.warm_up_s,
    )
    with running_server(scratch / "pipeline", module="bench.echoing") as server:
        plan = Plan(sizes.depth, [Target(server.port, server.pid)], slices)
        outcomes = generate(plan, module=_GENERATOR)
    figures = []
    for echo, command in _PAIRS:
        base = counted(outcomes, 0, echo)
        figures.append(figure_of(f"{echo}: rate", rates(base), "frames/s"))
        figures += compare(command, base, counted(outcomes, 0, command), target=RATIO_TARGET)
    texts: list[str] = []
    if profile:
        texts = profiles(
            (RESERVE, SEND),
            scratch,
            connections=sizes.depth,
            seconds=sizes.slice_s * 3,
            module=_GENERATOR,
        )
    return Result(
        figures=tuple(figures),
        settings=attrs.asdict(sizes),
        details={"slices": msgspec.to_builtins(outcomes)},
        warnings=tuple(warnings(outcomes)),
        texts=tuple(texts),
    )
