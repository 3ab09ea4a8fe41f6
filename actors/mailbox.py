"""The bounded queue in front of an actor.

Any task puts, one task receives, a whole batch at a time. Putting never waits: a full mailbox
refuses at once, so that overload is seen by the one who causes it.

Why not `trio.open_memory_channel`: the receiver wants everything that is already there, which
takes one `receive_nowait` and one exception for each batch, and "closed" arrives as a second
exception in the middle of a half-filled batch. A deque and one parked task need neither.
"""

from collections import deque
from typing import Generic, NamedTuple, TypeVar

import attrs
import trio

from actors.errors import ActorStopped, Overloaded
from actors.reply import Reply

__all__ = ["Envelope", "Mailbox", "MailboxStatistics"]

M = TypeVar("M")
R = TypeVar("R")


class Envelope(NamedTuple, Generic[M, R]):
    """A message and the place for its answer."""

    message: M
    reply: Reply[R]


@attrs.frozen
class MailboxStatistics:
    """What a mailbox has seen since it was made."""

    len_current: int
    """Messages that wait now."""

    len_max: int
    """The bound."""

    len_high_water: int
    """The most messages that ever waited at once."""

    accepted: int
    """Messages put."""

    refused_full: int
    """Messages refused with `Overloaded`."""


class Mailbox(Generic[M, R]):
    """A queue of envelopes, bounded, closable, with one receiver; first in, first out.

    Args:
        len_max: How many messages may wait, at least 1. Those in the receiver's hands do not count.
    """

    __slots__ = (
        "_accepted",
        "_closed",
        "_len_high_water",
        "_len_max",
        "_queue",
        "_receiver",
        "_refused_full",
    )

    def __init__(self, len_max: int) -> None:
        if len_max < 1:
            raise ValueError(f"a mailbox holds at least 1 message, not {len_max}")
        self._len_max = len_max
        self._len_high_water = 0
        self._accepted = 0
        self._refused_full = 0
        self._queue: deque[Envelope[M, R]] = deque()
        self._receiver: trio.lowlevel.Task | None = None
        self._closed: tuple[str, float | None] | None = None

    @property
    def len_current(self) -> int:
        """How many messages wait now."""
        return len(self._queue)

    @property
    def is_closed(self) -> bool:
        """True once `close` or `abandon` was called; messages may still wait."""
        return self._closed is not None

    def put_nowait(self, message: M) -> Reply[R]:
        """Queue a message behind all earlier ones and return the reply to wait for.

        Raises:
            Overloaded: The mailbox is full; nothing was queued.
            ActorStopped: The mailbox is closed; nothing was queued.
        """
        if self._closed is not None:
            raise ActorStopped(*self._closed)
        waiting = len(self._queue) + 1
        if waiting > self._len_max:
            self._refused_full += 1
            raise Overloaded(f"the mailbox is full with {self._len_max} messages")
        if waiting > self._len_high_water:
            self._len_high_water = waiting
        self._accepted += 1
        reply: Reply[R] = Reply()
        self._queue.append(Envelope(message, reply))
        self._wake_receiver()
        return reply

    async def receive_batch(self, batch_len_max: int) -> list[Envelope[M, R]]:
        """Wait for a message, then take it and all others already there, oldest first.

        The receiver owns what it took: it must answer each envelope.

        Args:
            batch_len_max: The most to take, at least 1.

        Raises:
            EndOfChannel: The mailbox is closed and empty.
            BusyResourceError: Another task is receiving.

        Cancellation: nothing is taken unless this returns.
        """
        if batch_len_max < 1:
            raise ValueError(f"a batch holds at least 1 message, not {batch_len_max}")
        if self._queue or self._closed is not None:
            await trio.lowlevel.checkpoint()
        while not self._queue:
            if self._closed is not None:
                raise trio.EndOfChannel
            if self._receiver is not None:
                raise trio.BusyResourceError("another task is receiving from this mailbox")
            self._receiver = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._forget_receiver)
        if len(self._queue) <= batch_len_max:
            batch = list(self._queue)
            self._queue.clear()
            return batch
        return [self._queue.popleft() for _ in range(batch_len_max)]

    def close(self, reason: str, retry_after_s: float | None = None) -> None:
        """Refuse all further messages with `ActorStopped`; what waits may still be received.

        Closing again changes nothing: the first reason stays.
        """
        if self._closed is None:
            self._closed = (reason, retry_after_s)
            self._wake_receiver()

    def abandon(
        self, reason: str, retry_after_s: float | None = None, cause: BaseException | None = None
    ) -> None:
        """Close, and fail everything that waits with `ActorStopped`, oldest first.

        Args:
            reason: Told to all who wait, and from now on to all who put.
            retry_after_s: Told with it.
            cause: The error behind it, chained to what those who wait will see.
        """
        self.close(reason, retry_after_s)
        while self._queue:
            error = ActorStopped(reason, retry_after_s)
            error.__cause__ = cause
            self._queue.popleft().reply.fail(error)

    def statistics(self) -> MailboxStatistics:
        """Return the counters as they are now."""
        return MailboxStatistics(
            len_current=len(self._queue),
            len_max=self._len_max,
            len_high_water=self._len_high_water,
            accepted=self._accepted,
            refused_full=self._refused_full,
        )

    def _wake_receiver(self) -> None:
        if self._receiver is not None:
            receiver, self._receiver = self._receiver, None
            trio.lowlevel.reschedule(receiver)

    def _forget_receiver(self, _: object) -> trio.lowlevel.Abort:
        self._receiver = None
        return trio.lowlevel.Abort.SUCCEEDED
