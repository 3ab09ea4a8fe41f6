"""How often something may be done: fixed windows, counted on the monotonic clock.

The first time opens a window; within it so many times are allowed, and then none until it is over.
A project keeps its windows in memory, with one entry for each key of the last window's length.
"""

import attrs


@attrs.define
class _Window:
    opened_us: int
    count: int


class RateWindows:
    """The windows of one kind of deed, one for each key.

    Args:
        most: How many times in a window, at least 1.
        window_us: How long a window is.
    """

    def __init__(self, *, most: int, window_us: int) -> None:
        assert most >= 1
        self._most = most
        self._window_us = window_us
        # In the order in which they were opened, so that those that are over come first.
        self._windows: dict[object, _Window] = {}

    def __len__(self) -> int:
        return len(self._windows)

    def wait_us(self, key: object, mono_us: int) -> int:
        """How long until it may be done again; 0: now."""
        window = self._windows.get(key)
        if window is None or window.count < self._most:
            return 0
        return max(0, window.opened_us + self._window_us - mono_us)

    def count(self, key: object, mono_us: int) -> None:
        """It was done. Forgets the windows that are over."""
        over_us = mono_us - self._window_us
        while self._windows:
            oldest = next(iter(self._windows))
            if self._windows[oldest].opened_us > over_us:
                break
            del self._windows[oldest]
        window = self._windows.get(key)
        if window is None:
            self._windows[key] = _Window(mono_us, 1)
        else:
            window.count += 1
