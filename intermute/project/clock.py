"""Where time and randomness come from: the edge of the pure core, and its only edge."""

import os
import time
from typing import Protocol

import trio

from intermute.domain.stamp import Stamp


class Clock(Protocol):
    """Makes stamps. A simulation brings its own."""

    def stamp(self) -> Stamp: ...


class SystemClock:
    """The wall clock, trio's monotonic clock and the system's randomness.

    Trio's clock is used rather than the system's own, so that a test's virtual clock moves the
    leases too.
    """

    def stamp(self) -> Stamp:
        return Stamp(
            at_us=time.time_ns() // 1000,
            mono_us=int(trio.current_time() * 1_000_000),
            entropy=int.from_bytes(os.urandom(16)),
        )
