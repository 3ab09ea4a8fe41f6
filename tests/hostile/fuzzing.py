"""Runs one target of the fuzzer, as a process of its own.

    python -m tests.hostile.fuzzing TARGET CORPUS FOUND SECONDS SEED [PLANTED]

With atheris the search is guided by coverage (libFuzzer, K. Serebryany 2016). Where its wheel does
not fit the Python in use, hypothesis changes the seeds for as long. An input that shows a fault is
kept in the folder FOUND and printed, and the exit code is not 0. PLANTED names a fault that is put
into the product first, to see that it is found.
"""

import importlib
import os
import random
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

INPUT_LEN_MAX = 4_096
# What a target runs through, where that is little: to instrument all there is takes seconds.
INSTRUMENTED = {"globs": "intermute.globs"}
# One input for longer than this is a hang. Every honest one takes milliseconds.
HANG_S = 10


def engine() -> str:
    """Which of the two this Python can run."""
    try:
        import atheris  # noqa: F401
    except ImportError:
        return "hypothesis"
    return "atheris"


@attrs.frozen
class Search:
    """What is searched, from where, where findings go, for how long."""

    target: str
    corpus: Path
    found: Path
    seconds: int
    seed: int
    planted: str | None = None

    def begin(self) -> Callable[[bytes], None]:
        """The function to call. Imports the product, so that a caller can instrument it."""
        from . import planted, targets

        targets.count_steps()
        if self.planted is not None:
            planted.PLANTED[self.planted].plant(setattr)
        return targets.TARGETS[self.target]


def run_atheris(search: Search) -> int:
    """Search until the time is over; the process ends with it."""
    import atheris

    with atheris.instrument_imports(include=["intermute"]):
        importlib.import_module(INSTRUMENTED.get(search.target, f"{__package__}.targets"))
    target = search.begin()
    options = [
        *(f"-max_total_time={search.seconds}", f"-seed={search.seed}", f"-timeout={HANG_S}"),
        *(f"-max_len={INPUT_LEN_MAX}", f"-artifact_prefix={search.found}/", "-rss_limit_mb=1024"),
        *("-print_final_stats=1", "-verbosity=1", str(search.corpus)),
    ]
    atheris.Setup([search.target, *options], target)
    atheris.Fuzz()
    return 0


def run_hypothesis(search: Search) -> int:
    """Search until the time is over; the exit code."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import seed as seeded
    from hypothesis import strategies as st

    target = search.begin()
    seeds = sorted(path.read_bytes() for path in search.corpus.iterdir())
    pieces = st.binary(max_size=8) | st.text(max_size=8).map(str.encode)
    changes = st.tuples(st.integers(0, INPUT_LEN_MAX), st.integers(0, 4), pieces)
    quiet = settings(
        max_examples=500, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    last = [b""]
    tried = 0

    @quiet
    @given(st.sampled_from(seeds), st.lists(changes, max_size=6))
    def look(data: bytes, edits: list[tuple[int, int, bytes]]) -> None:
        nonlocal tried
        tried += 1
        for at, cut, piece in edits:
            start = at % (len(data) + 1)
            data = data[:start] + piece + data[start + cut :]
        last[0] = data
        target(data)

    draw = random.Random(search.seed)
    end_s = time.monotonic() + search.seconds
    while time.monotonic() < end_s:
        try:
            seeded(draw.getrandbits(64))(look)()
        except Exception:
            traceback.print_exc()
            (search.found / "crash-hypothesis").write_bytes(last[0])
            return 1
    sys.stderr.write(f"stat::number_of_executed_units: {tried}\n")
    return 0


RUNNERS: dict[str, Callable[[Search], int]] = {
    "atheris": run_atheris,
    "hypothesis": run_hypothesis,
}


def main(arguments: Sequence[str]) -> int:
    target, corpus, found, seconds, seed, *more = arguments
    planted = more[0] if more else None
    search = Search(target, Path(corpus), Path(found), int(seconds), int(seed), planted)
    chosen = os.environ.get("INTERMUTE_FUZZER") or engine()
    sys.stderr.write(f"engine: {chosen}\n")
    return RUNNERS[chosen](search)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
