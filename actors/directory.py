"""The directory: one live actor for each key in use, started on demand, at most so many at once.

Starting an actor, refusing it and choosing who must go for it are decided in one sync step. What
takes time, an older actor closing, is waited for by the new actor's own task before it opens its
behaviour, while its mailbox already takes messages. So `ask` has exactly one await, the reply, and
there is no moment at which two actors of one key, or more than `live_max`, are open.
"""

from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Generic, TypeVar

import attrs
import trio

from actors.errors import ActorStopped, Overloaded
from actors.mailbox import MailboxStatistics
from actors.policy import FailureMemory, RestartPolicy
from actors.reply import Reply
from actors.supervision import Actor, ActorSettings, Behaviour

__all__ = ["Directory", "DirectoryStatistics"]

K = TypeVar("K", bound=Hashable)
M = TypeVar("M")
R = TypeVar("R")


@attrs.frozen
class DirectoryStatistics(Generic[K]):
    """What a directory has seen since it was made."""

    live: int
    """Actors that take messages now."""

    live_max: int
    """The bound on actors open at once."""

    closing: int
    """Actors that take no more messages and have not ended yet."""

    started: int
    """Actors started; restarts after a failure are not starts."""

    stopped_idle: int
    """Actors that stopped because nobody asked them anything."""

    evicted: int
    """Actors that stopped to make room for another."""

    restarted: int
    """Restarts after a failure."""

    failed: int
    """Actors that ended in failure: they could not open, failed too often, or failed to close."""

    failures_remembered: int
    """Keys that failed last time; at most `live_max` are remembered."""

    refused_full: int
    """Asks refused because `live_max` actors are live and none of them can be stopped."""

    mailboxes: Mapping[K, MailboxStatistics]
    """The mailbox of each actor that takes messages now."""


class Directory(Generic[K, M, R]):
    """Finds the actor of a key, starting it on first use and stopping it when it is idle.

    Args:
        open_behaviour: Makes the context manager that opens and closes the behaviour of a key. It
            may hold a nursery; if that fails, the actor has failed. Its exit is where to save and
            close: it runs shielded from cancellation, with the deadline `close_s`.
        live_max: How many behaviours may be open at once, at least 1. The same number bounds the
            memory of failed keys.
        idle_s: Seconds without work after which an actor stops, if it may.
        mailbox_len_max: How many messages may wait for one actor, at least 1.
        batch_len_max: How many of them it is given at once at most, at least 1.
        policy: What to do about failures.
        close_s: Seconds that a behaviour has for closing.

    Raises:
        ValueError: A bound is out of its range.
    """

    def __init__(
        self,
        open_behaviour: Callable[[K], AbstractAsyncContextManager[Behaviour[M, R]]],
        *,
        live_max: int,
        idle_s: float,
        mailbox_len_max: int,
        batch_len_max: int,
        policy: RestartPolicy = RestartPolicy(),  # noqa: B008  (frozen)
        close_s: float = 10.0,
    ) -> None:
        if min(live_max, mailbox_len_max, batch_len_max) < 1:
            raise ValueError("live_max, mailbox_len_max and batch_len_max are at least 1")
        if idle_s <= 0 or close_s <= 0:
            raise ValueError("idle_s and close_s are more than 0")
        self._open_behaviour = open_behaviour
        self._live_max = live_max
        self._idle_s = idle_s
        self._settings = ActorSettings(
            batch_len_max=batch_len_max,
            mailbox_len_max=mailbox_len_max,
            close_s=close_s,
            policy=policy,
        )
        # The newest actor of each key, and all that have not ended. The value says whether another
        # actor waits to take over the place of this one.
        self._newest: dict[K, Actor[M, R]] = {}
        self._running: dict[Actor[M, R], bool] = {}
        self._failures: FailureMemory[K] = FailureMemory(live_max)
        self._nursery: trio.Nursery | None = None
        self._stopping = trio.Event()
        self._started = 0
        self._stopped_idle = 0
        self._evicted = 0
        self._restarted = 0
        self._failed = 0
        self._refused_full = 0

    async def serve(
        self,
        *,
        drain_s: float,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run all actors until `stop` was called and they have ended; may be called once.

        After `stop`, what waits in the mailboxes is still handled for up to `drain_s` seconds;
        then the actors are cancelled. Either way each behaviour is closed, and everyone is
        answered before this returns, at most `drain_s + close_s` after `stop`.

        Raises:
            RuntimeError: It was called before.

        Cancellation: new asks are refused, all actors are cancelled at once, without draining,
        and closed.
        """
        if self._nursery is not None:
            raise RuntimeError("a directory serves once")
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                task_status.started()
                while not self._stopping.is_set():
                    with trio.move_on_at(self._stop_idle()):
                        await self._stopping.wait()
            finally:
                self.stop()
            nursery.cancel_scope.deadline = trio.current_time() + drain_s

    def stop(self) -> None:
        """Begin to drain: from this moment on all asks are refused. `serve` ends when it is done.

        May be called more than once, and before `serve`.
        """
        self._stopping.set()
        for actor in self._running:
            actor.mailbox.close("the directory is stopping")

    async def ask(self, key: K, message: M) -> R:
        """Send a message to the actor of a key, starting it if need be, and return its answer.

        Messages of one task to one key are handled in the order in which they were asked.

        Raises:
            Overloaded: The mailbox is full, or `live_max` actors are live and none may stop. The
                message was not queued.
            ActorStopped: The directory is not serving, or the actor could not start, failed or
                ended. Whether the message was handled is unknown if the actor had taken it.
            BaseException: Whatever the behaviour failed the reply with.

        Cancellation: the message may be handled all the same; its answer is then dropped.
        """
        return await self.send(key, message).wait()

    def send(self, key: K, message: M) -> Reply[R]:
        """Send a message to the actor of a key, starting it if need be, and return the reply.

        Messages to one key are handled in the order in which they were sent; those that are sent
        with no checkpoint in between lie in the mailbox together.

        Raises:
            Overloaded, ActorStopped: As `ask` does, before anything is queued.
        """
        actor = self._newest.get(key)
        if actor is None or actor.mailbox.is_closed:
            actor = self._start(key)
        return actor.mailbox.put_nowait(message)

    def ask_nowait(self, key: K, message: M) -> Reply[R]:
        """Send a message to the actor of a key only if one is live, and return the reply.

        Raises:
            Overloaded: The mailbox is full.
            ActorStopped: No actor of that key is live, and none was started.
        """
        actor = self._newest.get(key)
        if actor is None:
            raise ActorStopped("the actor is not live")
        return actor.mailbox.put_nowait(message)

    def live(self) -> list[K]:
        """Return the keys whose actors take messages now, longest started first."""
        return [key for key, actor in self._newest.items() if not actor.mailbox.is_closed]

    def statistics(self) -> DirectoryStatistics[K]:
        """Return the counters as they are now."""
        mailboxes = {key: self._newest[key].mailbox.statistics() for key in self.live()}
        return DirectoryStatistics(
            live=len(mailboxes),
            live_max=self._live_max,
            closing=sum(actor.mailbox.is_closed for actor in self._running),
            started=self._started,
            stopped_idle=self._stopped_idle,
            evicted=self._evicted,
            restarted=self._restarted + sum(actor.restarts for actor in self._running),
            failed=self._failed,
            failures_remembered=len(self._failures),
            refused_full=self._refused_full,
            mailboxes=mailboxes,
        )

    def _start(self, key: K) -> Actor[M, R]:
        """Start an actor for a key that has none which takes messages, or raise."""
        if self._stopping.is_set():
            raise ActorStopped("the directory is stopping")
        if self._nursery is None:
            raise ActorStopped("the directory is not serving")
        failures_before = self._failures.check(key, trio.current_time())
        wait_for = self._make_room(self._newest.get(key))
        actor = Actor(
            key,
            partial(self._open_behaviour, key),
            self._settings,
            wait_for=wait_for,
            failures_before=failures_before,
        )
        self._newest.pop(key, None)
        self._newest[key] = actor
        self._running[actor] = False
        self._started += 1
        self._nursery.start_soon(self._run, key, actor)
        return actor

    def _make_room(self, older: Actor[M, R] | None) -> list[trio.Event]:
        """Claim a place for a new actor and return what it must wait for before it opens.

        Args:
            older: The actor of the same key that is still closing, if there is one.

        Raises:
            Overloaded: There is no place.
        """
        wait_for = [] if older is None else [older.ended]
        if older is not None and not self._running[older]:
            self._running[older] = True
            return wait_for
        taken = sum(not is_claimed for is_claimed in self._running.values())
        if taken < self._live_max:
            return wait_for
        leaving = self._unclaimed_closing() or self._evict()
        if leaving is None:
            self._refused_full += 1
            raise Overloaded(f"{self._live_max} actors are live and none of them can be stopped")
        self._running[leaving] = True
        return [*wait_for, leaving.ended]

    def _unclaimed_closing(self) -> Actor[M, R] | None:
        for actor, is_claimed in self._running.items():
            if actor.mailbox.is_closed and not is_claimed:
                return actor
        return None

    def _evict(self) -> Actor[M, R] | None:
        """Close the mailbox of the actor that has been idle for longest, of those that may stop."""
        for actor in sorted(self._running, key=lambda actor: actor.active_at_s):
            if actor.stop_if_idle("the actor was stopped to make room for another"):
                self._evicted += 1
                return actor
        return None

    def _stop_idle(self) -> float:
        """Stop the actors that have been idle for `idle_s`; return when to look again.

        An actor started later cannot be due before that. One that is busy or says no is asked
        again after another `idle_s`.

        Why one look-out for all: a deadline of its own around each wait for a message costs an
        actor that is asked by one task at a time as much again as the ask itself.
        """
        now_s = trio.current_time()
        next_s = now_s + self._idle_s
        for actor in self._running:
            due_s = max(actor.active_at_s, actor.asked_at_s) + self._idle_s
            if due_s <= now_s:
                self._stopped_idle += actor.stop_if_idle("the actor was idle")
                actor.asked_at_s = now_s
            else:
                next_s = min(next_s, due_s)
        return next_s

    async def _run(self, key: K, actor: Actor[M, R]) -> None:
        try:
            await actor.run()
        finally:
            del self._running[actor]
            if self._newest.get(key) is actor:
                del self._newest[key]
            self._restarted += actor.restarts
            if actor.failure is None:
                self._failures.forget(key)
            else:
                self._failed += 1
                self._failures.record(key, actor.failure, trio.current_time())
