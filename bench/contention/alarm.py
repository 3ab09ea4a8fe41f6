"""A clock that goes off on time, for whoever waits with Trio.

Trio waits in whole milliseconds and rounds up, so that what is to happen at a time happens about
half a millisecond after it. A timer of the kernel that is a descriptor is right to some ten
microseconds. Python has it from 3.13 on.
"""

import ctypes
import os
from time import CLOCK_MONOTONIC, perf_counter

import trio

# Of <sys/timerfd.h>.
_TFD_NONBLOCK, _TFD_CLOEXEC, _TFD_TIMER_ABSTIME = os.O_NONBLOCK, os.O_CLOEXEC, 1


class _Spec(ctypes.Structure):
    """`struct itimerspec`: how often it goes off again (never), and when first."""

    _fields_ = (
        ("again_s", ctypes.c_long),
        ("again_ns", ctypes.c_long),
        ("at_s", ctypes.c_long),
        ("at_ns", ctypes.c_long),
    )


class Alarm:
    """A timer for one waiter; only Linux has it, as it alone has the epoll set of the other loop.

    Raises:
        OSError: There is no descriptor left.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        flags = _TFD_NONBLOCK | _TFD_CLOEXEC
        self._fd: int = self._checked(self._libc.timerfd_create(CLOCK_MONOTONIC, flags))

    async def until(self, at_s: float) -> None:
        """Wait until a time on `time.perf_counter`, if only for a turn of the scheduler.

        Cancelled, it stops waiting, and can be used again.
        """
        if at_s <= perf_counter():
            await trio.lowlevel.checkpoint()
            return
        seconds = int(at_s)
        spec = _Spec(0, 0, seconds, int((at_s - seconds) * 1e9))
        # A new time takes back that the one before has come.
        self._checked(
            self._libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None)
        )
        await trio.lowlevel.wait_readable(self._fd)

    def close(self) -> None:
        """Give the descriptor back; nobody may be waiting."""
        os.close(self._fd)

    def _checked(self, found: int) -> int:
        if found < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return found
