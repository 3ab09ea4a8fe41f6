"""One actor: open its behaviour, feed it batches, restart it when it fails, answer everyone.

The rule that everything here serves: whoever takes a request answers it. Whatever a behaviour
leaves unanswered, by returning, raising or being cancelled, is failed with `ActorStopped`, and so
is whatever still waits when the actor ends. All of it happens in `finally`, without an await.

No other module of this package has `except Exception`. `Cancelled` always passes through.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Generic, Protocol, TypeVar

import attrs
import trio

from actors.errors import ActorStopped
from actors.mailbox import Envelope, Mailbox
from actors.policy import Failure, RestartPolicy, RestartWindow

__all__ = ["Actor", "ActorSettings", "Behaviour", "contain"]

M = TypeVar("M")
R = TypeVar("R")

_log = logging.getLogger("actors")


class Behaviour(Protocol[M, R]):
    """What an actor does. One task calls it, so its state needs no lock."""

    async def handle(self, batch: Sequence[Envelope[M, R]]) -> None:
        """Answer each envelope of the batch, in whatever order suits.

        What is left unanswered on return, or when this raises, is failed with `ActorStopped`. If
        it raises, the behaviour is closed, and a new one is opened after a pause: that is how an
        error whose effect on the state is unknown is undone.

        Args:
            batch: At least one envelope, oldest first, at most `batch_len_max`.

        Cancellation: happens when the directory stops and its drain deadline has passed. Must be
        let through.
        """
        ...

    def may_stop(self) -> bool:
        """Return False to veto a stop for idleness or eviction; asked while nothing waits."""
        ...


@attrs.frozen
class ActorSettings:
    """What all actors of one directory share; see `Directory`."""

    batch_len_max: int
    mailbox_len_max: int
    close_s: float
    policy: RestartPolicy


class Actor(Generic[M, R]):
    """One mailbox and the task that serves it, from its start to its end.

    Args:
        name: For the log.
        open_behaviour: Called for the first start and for every restart.
        settings: The limits.
        wait_for: Events that must have happened before the behaviour is opened. The mailbox takes
            messages meanwhile.
        failures_before: How many earlier actors of this key failed in a row.
    """

    def __init__(
        self,
        name: object,
        open_behaviour: Callable[[], AbstractAsyncContextManager[Behaviour[M, R]]],
        settings: ActorSettings,
        *,
        wait_for: Sequence[trio.Event] = (),
        failures_before: int = 0,
    ) -> None:
        self.mailbox: Mailbox[M, R] = Mailbox(settings.mailbox_len_max)
        self.ended = trio.Event()
        # When the last batch was done, and when a stop was last asked for; the start is both.
        self.active_at_s = self.asked_at_s = trio.current_time()
        self.restarts = 0
        self.failure: Failure | None = None
        self._name = name
        self._open_behaviour = open_behaviour
        self._settings = settings
        self._wait_for = wait_for
        self._failures_before = failures_before
        self._window = RestartWindow(settings.policy)
        self._is_open = False
        # Set only while the actor waits for a message, so that a stop cannot hit a batch.
        self._idle_behaviour: Behaviour[M, R] | None = None

    async def run(self) -> None:
        """Serve the mailbox until it is closed and empty, or the actor has failed for good.

        Sets `ended` last, after the behaviour was closed and everyone was answered, and before
        that `failure` if that is how it went. Raises no `Exception`.

        Cancellation: the batch at work is cancelled, the behaviour gets `close_s` to close, and
        all who are unanswered are failed.
        """
        try:
            for event in self._wait_for:
                await event.wait()
            while not self._is_finished():
                delay_s: float | None = None
                try:
                    await self._run_once()
                except* Exception as group:
                    delay_s = self._settle(_sole(group))
                if delay_s is None:
                    break
                await trio.sleep(delay_s)
                self.restarts += 1
        finally:
            self.mailbox.abandon("the actor was stopped before it took the request")
            self.ended.set()

    def stop_if_idle(self, reason: str) -> bool:
        """Close the mailbox if nothing waits, nothing is at work and the behaviour agrees.

        Sync from the question to the close, so that no request can slip in between.

        A behaviour whose `may_stop` raises is taken to have said no, and the error is logged: it
        would otherwise hit whoever needs the room, who has nothing to do with it.
        """
        behaviour = self._idle_behaviour
        if behaviour is None or self.mailbox.is_closed or self.mailbox.len_current:
            return False
        try:
            if not behaviour.may_stop():
                return False
        except Exception:
            _log.exception("actor %r: may_stop raised; taken as a veto", self._name)
            return False
        self.mailbox.close(reason)
        return True

    async def _run_once(self) -> None:
        """Open the behaviour, serve, close it; raises whatever went wrong in any of the three.

        The scope is entered before the behaviour's context and becomes the shield only when
        closing begins: entered later, it would be left in the wrong order with respect to a
        nursery that the context may hold.
        """
        self._is_open = False
        with trio.CancelScope() as closing:
            async with self._open_behaviour() as behaviour:
                self._is_open = True
                try:
                    await self._serve(behaviour)
                finally:
                    self._idle_behaviour = None
                    closing.deadline = trio.current_time() + self._settings.close_s
                    closing.shield = True
        if closing.cancelled_caught:
            raise TimeoutError(f"closing took longer than {self._settings.close_s} s")
        if not self._is_finished():
            raise RuntimeError("the behaviour's context ended while there was work left")

    async def _serve(self, behaviour: Behaviour[M, R]) -> None:
        while True:
            self._idle_behaviour = behaviour
            try:
                batch = await self.mailbox.receive_batch(self._settings.batch_len_max)
            except trio.EndOfChannel:
                return
            self._idle_behaviour = None
            await self._handle(behaviour, batch)
            self.active_at_s = trio.current_time()

    async def _handle(self, behaviour: Behaviour[M, R], batch: Sequence[Envelope[M, R]]) -> None:
        """Have one batch handled and answer whatever the behaviour leaves unanswered."""
        reason = "the actor was cancelled; the outcome is unknown"
        retry_after_s: float | None = None
        cause: Exception | None = None
        try:
            await behaviour.handle(batch)
            reason = "the behaviour did not answer"
        except Exception as error:
            reason, cause = _text(error), error
            policy = self._settings.policy
            delay_s = self._window.next_delay_s(trio.current_time())
            retry_after_s = policy.backoff_max_s if delay_s is None else delay_s
            raise
        finally:
            for envelope in batch:
                if not envelope.reply.done:
                    stopped = ActorStopped(reason, retry_after_s)
                    stopped.__cause__ = cause
                    envelope.reply.fail(stopped)
            # The traceback of the cause holds this frame.
            cause = None

    def _settle(self, error: Exception) -> float | None:
        """Return how long to pause before a restart, or None to end; if it ends, tell everyone."""
        now_s = trio.current_time()
        policy = self._settings.policy
        reason = _text(error)
        if not self._is_open:
            # Waiting through pauses for what cannot be opened would only hide the reason.
            failures = 1 if self.restarts else self._failures_before + 1
            self.failure = Failure(reason, failures, policy.backoff_s(failures))
        elif self._is_finished():
            self.failure = Failure(reason, 1, policy.backoff_s(1))
        else:
            delay_s = self._window.record(now_s)
            if delay_s is not None:
                _log.warning("actor %r failed, restarts", self._name, exc_info=error)
                return delay_s
            reason = (
                f"failed more than {policy.restarts_max} times in {policy.window_s} s: {reason}"
            )
            self.failure = Failure(reason, 1, policy.backoff_max_s)
        _log.error("actor %r failed and ends", self._name, exc_info=error)
        self.mailbox.abandon(self.failure.reason, self.failure.delay_s, error)
        return None

    def _is_finished(self) -> bool:
        return self.mailbox.is_closed and self.mailbox.len_current == 0


async def contain(name: object, work: Callable[[], Awaitable[R]]) -> R | Exception:
    """Do something that must harm nobody else in its nursery; return what came of it.

    An error is logged with its traceback and returned; of a group of one, however deep, the one.

    Args:
        name: For the log.
        work: What is done, and must not itself return an error.

    Cancellation: passes through, and what has been raised beside it is logged and dropped.
    """
    try:
        return await work()
    except* Exception as group:
        error = _sole(group)
        _log.error("%s failed", name, exc_info=error)
    return error


def _sole(group: ExceptionGroup[Exception]) -> Exception:
    """Return the one error of a group of one, however deep; of several, the group."""
    error: Exception = group
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _text(error: BaseException) -> str:
    """Say what happened in a line, for a group as well as for one error."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_text(inner) for inner in error.exceptions)
    return str(error) or type(error).__name__
