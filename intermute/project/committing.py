"""Where the commit runs: in the actor's own task, or in a thread.

On a healthy disk a commit is far cheaper than a thread that has to win the interpreter lock back
from a busy event loop, so it runs inline. On a slow disk an inline commit would hold up every
other project, so it moves to a thread. `auto` decides by what the last commits took.
"""

import time
from collections import deque
from enum import StrEnum
from statistics import median
from typing import Final

import trio

from intermute.domain import limits
from intermute.storage.writer import Writer


class CommitMode(StrEnum):
    INLINE = "inline"
    THREAD = "thread"
    AUTO = "auto"


_WINDOW: Final = 16
_PROBE_EVERY: Final = 256


class Committer:
    """Commits a writer's batches.

    `thread_commits` and `inline_commits` count them, for statistics and tests.
    """

    def __init__(
        self, mode: CommitMode, *, inline_max_us: int = limits.COMMIT_INLINE_FSYNC_MAX_US
    ) -> None:
        self.mode = mode
        self.inline_max_us = inline_max_us
        self.inline_commits = 0
        self.thread_commits = 0
        self._inline_us: deque[int] = deque(maxlen=_WINDOW)
        self._since_probe = 0

    async def commit(self, writer: Writer) -> None:
        """Make the batch durable.

        Raises:
            The errors in `intermute.storage.faults.FAULTS`; the outcome is then unknown.

        Cancellation: none once it has begun; the outcome is always learnt.
        """
        if self._in_thread():
            self.thread_commits += 1
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(writer.commit)
            return
        self.inline_commits += 1
        started_ns = time.perf_counter_ns()
        writer.commit()
        self._inline_us.append((time.perf_counter_ns() - started_ns) // 1000)

    @property
    def transaction_len_max(self) -> int:
        """How many commands are to become durable together.

        The loop decides and answers them in one go, so few of them where it is the loop that
        commits. A commit in a thread takes long and holds up nobody else: then all that wait.
        """
        return limits.BATCH_LEN_MAX if self._is_slow() else limits.TRANSACTION_INLINE_LEN_MAX

    def median_us(self) -> int:
        """Median of the last inline commits, microseconds; 0 before the first."""
        return int(median(self._inline_us)) if self._inline_us else 0

    def _in_thread(self) -> bool:
        if self.mode is CommitMode.AUTO and self._is_slow():
            # One commit in so many runs inline all the same, to learn whether the disk recovered.
            self._since_probe = (self._since_probe + 1) % _PROBE_EVERY
            return self._since_probe != 0
        return self._is_slow()

    def _is_slow(self) -> bool:
        if self.mode is not CommitMode.AUTO:
            return self.mode is CommitMode.THREAD
        return len(self._inline_us) == _WINDOW and self.median_us() > self.inline_max_us
