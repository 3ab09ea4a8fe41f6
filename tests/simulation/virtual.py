"""A process whose time, chance and order of tasks come from a seed, so that it can be had again.

Time is trio's `MockClock`, which leaps to the next deadline when nobody has anything to do. The
order in which tasks run is trio's own shuffle, seeded. Whatever else differs from run to run (the
wall clock, the system's randomness, worker threads, the garbage collector) is replaced or put to
rest for as long as the process lives. What is left is a bug: the iteration order of a set, for one.
"""

import gc
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar
from unittest.mock import patch

import hypercorn.config
import trio
import trio._core._run as trio_run
import trio.testing

T = TypeVar("T")
WALL_S = 1_700_000_000
THREAD_S_MAX = 0.05


class Machine:
    """What a process finds around it.

    Attributes:
        seed: Of everything that happens here.
        clock: trio's. `clock.jump` lets time pass while nobody runs, as a call that blocks does.
        wall_off_s: How far the wall clock is from where it would be if nobody had set it.
        wall_jumps: How often somebody has set it.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.clock = trio.testing.MockClock(autojump_threshold=0)
        self.wall_off_s = 0.0
        self.wall_jumps = 0
        self._entropy = self.dice("entropy")
        self._threads = self.dice("threads")

    def dice(self, what_for: str) -> random.Random:
        """A source of chance of its own, so that one more throw here changes nothing there."""
        return random.Random(f"{self.seed} {what_for}")

    def wall_s(self) -> float:
        return WALL_S + self.wall_off_s + self.clock.current_time()

    def set_wall(self, by_s: float) -> None:
        """Somebody sets the wall clock. No other clock moves."""
        self.wall_off_s += by_s
        self.wall_jumps += 1

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run a trio program from its start to its end on this machine."""
        with self._in_effect():
            return trio.run(main, clock=self.clock)

    @contextmanager
    def _in_effect(self) -> Iterator[None]:
        before = trio_run._r.getstate()
        collects = gc.isenabled()
        with ExitStack() as stack:
            for owner, name, instead in self._replaced():
                stack.enter_context(patch.object(owner, name, instead))
            trio_run._r.seed(self.seed)
            gc.disable()
            try:
                yield
            finally:
                trio_run._r.setstate(before)
                if collects:
                    gc.enable()

    def _replaced(self) -> Iterator[tuple[Any, str, Any]]:
        import os

        yield trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True
        yield time, "time", self.wall_s
        yield time, "time_ns", lambda: int(self.wall_s() * 1e9)
        yield time, "perf_counter_ns", lambda: int(self.clock.current_time() * 1e9)
        yield hypercorn.config, "time", self.wall_s
        yield os, "urandom", self._entropy.randbytes
        # Where `secrets` has it from.
        yield random, "_urandom", self._entropy.randbytes
        yield trio.to_thread, "run_sync", self._in_thread

    async def _in_thread(self, work: Callable[..., T], *args: Any, **_: Any) -> T:
        """What a worker thread does, in one go, at some moment while the others go on."""
        with trio.CancelScope(shield=True):
            await trio.sleep(self._threads.uniform(0, THREAD_S_MAX))
            try:
                return work(*args)
            finally:
                await trio.sleep(self._threads.uniform(0, THREAD_S_MAX))
