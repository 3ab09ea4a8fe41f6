"""The garbage collector of a process that serves connections."""

import gc
import time

__all__ = ["Collector", "settle"]

_ENDED_MIN = 1_000
# A collection that took a second is followed by none for so many.
_REST_TIMES = 10


def settle() -> None:
    """Set the collector up for a process that keeps what it has loaded.

    What exists now is never looked at again. A request leaves little for the collector (the
    router's recursion makes a cycle), so a lot of it comes together once in hundreds of requests,
    and is small enough not to hold up the others: two or three milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 50)


class Collector:
    """Collects what connections leave behind: a few hundred objects each, in cycles.

    By then they are old, and old objects are looked at so seldom that a crowd which has gone would
    be remembered for long. So they are looked at once as many have ended as are left.
    """

    def __init__(self) -> None:
        self._ended = 0
        self._not_before_s = 0.0

    def connection_ended(self, live: int) -> None:
        """One has ended, and so many are left."""
        self._ended += 1
        began_s = time.perf_counter()
        if self._ended < max(_ENDED_MIN, live) or began_s < self._not_before_s:
            return
        self._ended = 0
        gc.collect()
        took_s = time.perf_counter() - began_s
        self._not_before_s = began_s + _REST_TIMES * took_s
