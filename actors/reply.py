"""The one-shot answer to a message.

One task answers it, once, without blocking. One task takes the answer, once.

Why not a `trio.Event` beside a value: a reply has exactly one waiter, so it can hold that task
itself, and a set and an event less for each message is a fifth of what an ask costs.
"""

from typing import Generic, TypeVar

import trio

__all__ = ["Reply"]

R = TypeVar("R")


class Reply(Generic[R]):
    """A place for one answer: a value or an error.

    Whoever holds the envelope must call `resolve` or `fail` exactly once. Whoever sent the
    message may call `wait`, or drop the reply; the answer then goes nowhere.
    """

    __slots__ = ("_done", "_error", "_taken", "_value", "_waiter")

    _value: R

    def __init__(self) -> None:
        self._done = False
        self._taken = False
        self._error: BaseException | None = None
        self._waiter: trio.lowlevel.Task | None = None

    @property
    def done(self) -> bool:
        """True once the reply has been answered, whether or not anybody took the answer."""
        return self._done

    def resolve(self, value: R) -> None:
        """Answer with a value and wake the waiter; never blocks.

        Raises:
            RuntimeError: The reply was answered before, which is a bug in the answering code.
        """
        if self._done:
            raise RuntimeError("a reply is answered once")
        self._value = value
        self._finish()

    def fail(self, error: BaseException) -> None:
        """Answer with an error, which `wait` will raise; never blocks.

        Args:
            error: An object of this reply's own. One error shared by several replies would be
                raised in several tasks, each overwriting the other's traceback. To keep the
                traceback of the error behind it, chain that one as its `__cause__`.

        Raises:
            RuntimeError: The reply was answered before, which is a bug in the answering code.
        """
        if self._done:
            raise RuntimeError("a reply is answered once")
        self._error = error
        self._finish()

    async def wait(self) -> R:
        """Wait for the answer and hand it over: return the value or raise the error.

        The error is raised with a fresh traceback, and the reply lets go of it, so that a caller
        whose frame holds the reply does not end up in a reference cycle with it.

        Raises:
            BusyResourceError: Another task is waiting for this reply.
            RuntimeError: The answer was handed over before.

        Cancellation: the reply stays as it is and may be waited for again. An answer that was
        already on its way to this task is not lost to a cancellation.
        """
        if self._done:
            await trio.lowlevel.checkpoint()
        else:
            if self._waiter is not None:
                raise trio.BusyResourceError("another task is waiting for this reply")
            self._waiter = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._forget_waiter)
        if self._taken:
            raise RuntimeError("the answer of a reply is handed over once")
        self._taken = True
        if self._error is None:
            return self._value
        error, self._error = self._error, None
        try:
            raise error.with_traceback(None)
        finally:
            del error, self

    def _finish(self) -> None:
        self._done = True
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            trio.lowlevel.reschedule(waiter)

    def _forget_waiter(self, _: object) -> trio.lowlevel.Abort:
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED
