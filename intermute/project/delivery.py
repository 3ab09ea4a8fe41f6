"""Live delivery: what was planned and is durable is typed into windows, and what came of it kept.

It runs in tasks of its own, so that a client that goes away ends nothing. A poke that is typed is
in the log as pending before that; should the process end in between, the next one says that it was
interrupted, and nothing is ever typed twice.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import attrs
import trio

from actors import ActorStopped, Overloaded, contain
from intermute.domain import limits
from intermute.domain.commands import NOBODY, Caller, Command, PokeOutcome, SettlePokes
from intermute.project.messages import CommandFailed, StorageUnavailable, Told
from intermute.project.tmux import Tmux

__all__ = ["Deliveries", "Injection", "Tmux"]

_log = logging.getLogger(__name__)


@attrs.frozen
class Injection:
    """One text for one recipient's window.

    Attributes:
        pane_hash: SHA-256 of the token that the pane must show; without one nothing is typed.
    """

    agent_id: str
    tmux_target: str
    pane_hash: bytes | None
    text: str


@attrs.define
class _Job:
    """The injections of one message."""

    project: str
    message_id: str
    injections: Sequence[Injection]
    done: trio.Event = attrs.field(factory=trio.Event)
    outcomes: dict[str, PokeOutcome] = attrs.field(factory=dict)

    def note(self, injection: Injection, reason: str) -> None:
        self.outcomes[injection.agent_id] = PokeOutcome(injection.agent_id, not reason, reason)


class Deliveries:
    """Types messages into windows. `serve` must run, or nothing is typed and the reason says so.

    Args:
        ask: Has a project decide a command, as `Projects.ask` does.
        tmux: Whose panes are typed into.
        live_default: Whether messages are typed into windows in projects that do not say.
    """

    def __init__(
        self,
        ask: Callable[[str, Command, Caller], Awaitable[Told]],
        tmux: Tmux,
        *,
        live_default: bool = False,
    ) -> None:
        self.live_default = live_default
        self._ask = ask
        self._tmux = tmux
        self._nursery: trio.Nursery | None = None
        self._at_once = trio.CapacityLimiter(limits.DELIVERIES_AT_ONCE_MAX)
        self._waiting = 0
        self._running: dict[tuple[str, str], _Job] = {}

    @property
    def waiting(self) -> int:
        """How many texts wait or are being typed."""
        return self._waiting

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled. What is being typed then is given up, and stays pending."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def drain(self) -> None:
        """Take nothing more and wait for what is under way, but not for ever."""
        nursery, self._nursery = self._nursery, None
        with trio.move_on_after(limits.SHUTDOWN_DRAIN_MS / 1000):
            for job in tuple(self._running.values()):
                await job.done.wait()
        if nursery is not None:
            nursery.cancel_scope.cancel()

    async def deliver(
        self, project: str, message_id: str, injections: Sequence[Injection]
    ) -> dict[str, PokeOutcome]:
        """Type the texts and have what came of them recorded; answers it by recipient.

        Each text must be pending in the log. It takes no longer than `limits.DELIVERY_WAIT_MS`
        and the calls of tmux that are under way then.

        Cancellation: they are delivered and recorded all the same.
        """
        job = _Job(project, message_id, injections)
        if self._nursery is None:
            return await self._give_up(job, "not_delivering")
        if self._waiting + len(injections) > limits.DELIVERY_QUEUE_LEN_MAX:
            return await self._give_up(job, "queue_full")
        self._waiting += len(injections)
        self._running[project, message_id] = job
        self._nursery.start_soon(contain, "a delivery", partial(self._run, job))
        await job.done.wait()
        return job.outcomes

    async def settled(self, project: str, message_id: str) -> None:
        """Wait until nothing of the message is being typed any more."""
        job = self._running.get((project, message_id))
        if job is not None:
            await job.done.wait()

    async def _give_up(self, job: _Job, reason: str) -> dict[str, PokeOutcome]:
        for injection in job.injections:
            job.note(injection, reason)
        await self._record(job)
        return job.outcomes

    async def _run(self, job: _Job) -> None:
        try:
            too_late_s = trio.current_time() + limits.DELIVERY_WAIT_MS / 1000
            async with trio.open_nursery() as nursery:
                for injection in job.injections:
                    nursery.start_soon(self._inject, job, injection, too_late_s)
            recorded = await self._record(job)
        finally:
            self._waiting -= len(job.injections)
            if self._running.get((job.project, job.message_id)) is job:
                del self._running[job.project, job.message_id]
            job.done.set()
        if not recorded:
            await self._record_later(job)

    async def _inject(self, job: _Job, injection: Injection, too_late_s: float) -> None:
        """Wait for a place, but not for too long; from then on only tmux's own deadlines count."""
        borrower = object()
        begun = False
        with trio.move_on_at(too_late_s):
            await self._at_once.acquire_on_behalf_of(borrower)
            begun = True
        if not begun:
            job.note(injection, "too_late")
            return
        type_it = partial(
            self._tmux.inject,
            injection.tmux_target,
            pane_hash=injection.pane_hash,
            text=injection.text,
        )
        try:
            reason = await contain("typing into a window", type_it)
        finally:
            self._at_once.release_on_behalf_of(borrower)
        # After a bug, too, it may have been typed.
        job.note(injection, "tmux_failed" if isinstance(reason, Exception) else reason)

    async def _record(self, job: _Job) -> bool:
        """Have the project note what came of it; whether it did."""
        command = SettlePokes(job.message_id, tuple(job.outcomes.values()))
        try:
            await self._ask(job.project, command, NOBODY)
        except (Overloaded, ActorStopped, StorageUnavailable, CommandFailed) as error:
            _log.warning("what came of message %s is not recorded: %s", job.message_id, error)
            return False
        return True

    async def _record_later(self, job: _Job) -> None:
        """A storage that failed may recover. If it does not, the pokes are interrupted ones."""
        for wait_s in range(1, limits.DELIVERY_SETTLE_TRIES_MAX):
            await trio.sleep(wait_s)
            if await self._record(job):
                return
