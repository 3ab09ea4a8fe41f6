"""The projects of this server: their actors, their files, their readers.

`web` speaks to projects through this and through nothing else: `ask` for whatever is decided,
`read` for whatever is only looked at.
"""

import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import attrs
import trio

from actors import ActorStopped, Directory, DirectoryStatistics, Overloaded, Reply
from intermute.domain import limits
from intermute.domain.commands import NOBODY, Caller, Command, ExpireLeases, HangUp
from intermute.domain.decide import advance, decide
from intermute.domain.events import Event
from intermute.domain.identity import refuse_identity
from intermute.domain.projects import INVALID_NAME, normalise_project
from intermute.domain.refusals import Code, Refusal
from intermute.domain.state import State
from intermute.domain.work import RequestAllowance
from intermute.project.actor import RESTARTS, ProjectActor, ProjectRules
from intermute.project.breaker import Breaker, BreakerState
from intermute.project.clock import Clock, SystemClock
from intermute.project.committing import CommitMode, Committer
from intermute.project.delivery import Deliveries, Tmux
from intermute.project.feeds import Feeds, Published, Subscriber
from intermute.project.messages import (
    Ask,
    Asked,
    CommandFailed,
    Idempotency,
    Message,
    ProjectUnusable,
    Sending,
    StorageUnavailable,
    Together,
    Told,
)
from intermute.project.readers import Readers, unreadable
from intermute.project.searching import Searches
from intermute.project.unusable import UnusableFiles, unusable
from intermute.project.waiting import OpenCalls
from intermute.storage import faults
from intermute.storage.connections import settle
from intermute.storage.files import DataDirectory, project_tag
from intermute.storage.reader import AgentFilter, Reader
from intermute.storage.writer import Writer

__all__ = ["AgentFilter", "Asked", "ProjectHealth", "Projects", "ProjectsSettings", "Reader"]

_log = logging.getLogger(__name__)
NO_EVENTS: list[Event] = []
T = TypeVar("T")


@attrs.frozen
class ProjectsSettings:
    """How the projects of a server are kept.

    Attributes:
        path: The data directory.
        commit: Where commits run, see `intermute.project.committing`.
    """

    path: Path
    rules: ProjectRules = attrs.field(factory=ProjectRules)
    commit: CommitMode = CommitMode.AUTO
    tmux: Tmux = attrs.field(factory=Tmux)
    live_max: int = limits.ACTORS_LIVE_MAX
    idle_ms: int = limits.ACTOR_IDLE_MS
    mailbox_len_max: int = limits.MAILBOX_LEN_MAX
    batch_len_max: int = limits.BATCH_LEN_MAX
    sweep_interval_ms: int = limits.SWEEP_INTERVAL_MS


@attrs.frozen
class ProjectHealth:
    """How one project in use is: its breaker, and whether its file can be used."""

    tag: str
    breaker: BreakerState
    faults_in_row: int
    last_fault: str
    usable: bool

    @property
    def ready(self) -> bool:
        return self.usable and self.breaker is not BreakerState.OPEN


class Projects:
    """All projects of one data directory. `serve` must run while it is used.

    Raises:
        intermute.storage.faults.InUse, WrongFile: From the constructor.
    """

    def __init__(self, settings: ProjectsSettings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock: Clock = clock or SystemClock()
        self._data = DataDirectory(settings.path)
        self._names: dict[str, str] = {}
        self._breakers: OrderedDict[str, Breaker] = OrderedDict()
        self._readers = Readers(self._data.find)
        self._unusable = UnusableFiles(self._can_read)
        self._feeds = Feeds()
        self.searches = Searches(self._data.find)
        live = settings.rules.live_transport
        self.deliveries = Deliveries(self.ask, settings.tmux, live_default=live)
        self.open_calls = OpenCalls()
        self._actors: Directory[str, Message, Any] = Directory(
            self._open_actor,
            live_max=settings.live_max,
            idle_s=settings.idle_ms / 1000,
            mailbox_len_max=settings.mailbox_len_max,
            batch_len_max=settings.batch_len_max,
            close_s=limits.ACTOR_CLOSE_MS / 1000,
            policy=RESTARTS,
        )

    async def serve(
        self,
        *,
        drain_ms: int = limits.SHUTDOWN_DRAIN_MS,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run the actors until `stop`; then drain, close every file and let go of the directory."""
        try:
            await self._actors.serve(drain_s=drain_ms / 1000, task_status=task_status)
        finally:
            self._readers.close()
            for path in self._data.paths():
                settle(path)
            self._data.close()

    def stop(self) -> None:
        """Refuse new commands and let `serve` end once what was asked is answered.

        Readers go first: a file whose last reader outlives its writer keeps its `-wal`.
        """
        self._readers.close()
        self._actors.stop()

    async def ask(
        self,
        project: str,
        command: Command,
        caller: Caller,
        idempotency: Idempotency | None = None,
    ) -> Told:
        """Have the project decide a command. It answers once the decision is durable.

        Raises:
            actors.Overloaded, actors.ActorStopped, StorageUnavailable, CommandFailed.

        Cancellation: the command may be decided all the same; its outcome is then unknown to
        whoever asked, who can ask again with the same idempotency key.
        """
        name = normalise_project(project)
        if name is None:
            return _refused(Code.INVALID_PROJECT, INVALID_NAME)
        tag = project_tag(name)
        known = self._data.find(tag) is not None
        if not known and not command.changes:
            return self._ask_nobody(State(tag=tag, project=name), command, caller)
        if not known:
            refusal = self._refuse_new(command.changes)
            if refusal is not None:
                return refusal
        told = await self._send(tag, name, self._ask(command, caller, idempotency)).wait()
        assert isinstance(told, Told)
        return told

    def send(self, project: str, asked: Sequence[Asked]) -> Sending:
        """Send commands to the project, to be decided together, and do not wait.

        They are in the project's mailbox when this returns, behind whatever was sent before.

        Raises:
            actors.Overloaded, actors.ActorStopped: Nothing was sent.
        """
        name = normalise_project(project)
        if name is None:
            return Sending([_refused(Code.INVALID_PROJECT, INVALID_NAME) for _ in asked])
        tag = project_tag(name)
        if self._data.find(tag) is None:
            refusal = self._refuse_new(any(each.command.changes for each in asked))
            if refusal is not None:
                return Sending([refusal for _ in asked])
            if not any(each.command.changes for each in asked):
                allowance = RequestAllowance()
                nobody = State(tag=tag, project=name, allowance=allowance)
                told = []
                for each in asked:
                    allowance.begin()
                    told.append(self._ask_nobody(nobody, each.command, each.caller))
                return Sending(told)
        asks = tuple(self._ask(each.command, each.caller, each.idempotency) for each in asked)
        return Sending(self._send(tag, name, Together(asks)))

    def hang_up(self, project: str, command: HangUp) -> None:
        """End an open call: at once, or as soon as the project's mailbox has room."""
        tag = self.tag_of(project)
        self.open_calls.put_off(tag, command)
        self._tell_hang_ups(tag)

    def _tell_hang_ups(self, tag: str) -> None:
        with suppress(ActorStopped):
            while put_off := self.open_calls.first_put_off(tag):
                asks = tuple(self._ask(command, NOBODY, None) for command in put_off)
                try:
                    self._actors.ask_nowait(tag, Together(asks))
                except Overloaded:
                    return
                self.open_calls.forget_put_off(tag, len(put_off))

    def _send(self, tag: str, name: str, message: Message) -> Reply[Any]:
        reply = self._actors.send(tag, message)
        # Only of who got in: the actor opens its file by the name, but not before this returns.
        self._names[tag] = name
        return reply

    def _ask(self, command: Command, caller: Caller, idempotency: Idempotency | None) -> Ask:
        return Ask(command, self._clock.stamp(), caller, idempotency)

    def _refuse_new(self, changes: bool) -> Told | None:
        """Why a project that nothing is kept of cannot be begun, None when it can."""
        if not changes or len(self._data) < limits.PROJECTS_MAX:
            return None
        detail = f"this server keeps at most {limits.PROJECTS_MAX} projects"
        return _refused(Code.LIMIT_REACHED, detail)

    def subscribe(self, project: str, *, agent_id: str | None, after: int | None) -> Subscriber:
        """Listen to what the project commits, see `intermute.project.feeds`.

        Raises:
            StorageUnavailable: Its file cannot be read.
        """
        name = normalise_project(project)
        assert name is not None, "the edge has normalised it"
        return self._feeds.subscribe(
            project_tag(name),
            agent_id=agent_id,
            read=partial(self._read_log, name),
            head=self.read(name, lambda reader: reader.last_cursor(), empty=0),
            after=after,
        )

    def _read_log(self, name: str, after: int) -> list[Event]:
        return self.read(
            name,
            lambda reader: reader.events(
                after=after,
                limit=limits.FEED_PAGE_MAX,
                data_len_max=limits.FEED_QUEUE_DATA_LEN_MAX,
            ),
            empty=NO_EVENTS,
        )

    def end_feeds(self) -> None:
        """End all feeds, because the server is about to stop."""
        self._feeds.stop()

    def subscribers(self) -> int:
        """How many listen to feeds now."""
        return self._feeds.subscribers()

    async def wake(self, project: str) -> None:
        """Have the project's leases settled before somebody looks at them.

        After a restart, leases that are found are given time or ended by their actor, which starts
        on first use. A project that cannot be woken is looked at as it is.
        """
        name = normalise_project(project)
        tag = "" if name is None else project_tag(name)
        if name is None or self._data.find(tag) is None or tag in self._actors.live():
            return
        with suppress(Overloaded, ActorStopped, StorageUnavailable, CommandFailed):
            await self.ask(name, ExpireLeases(), NOBODY)

    def _ask_nobody(self, state: State, command: Command, caller: Caller) -> Told:
        """Decide a question about a project of which nothing is kept, and keep nothing of it."""
        stamp = self._clock.stamp()
        advance(state, stamp)
        return Told(epoch=0, seq=0, decision=decide(state, command, stamp, caller))

    @staticmethod
    def tag_of(project: str) -> str:
        """The tag that every id of the project carries."""
        return project_tag(project)

    def name_of(self, tag: str) -> str | None:
        """The name of the project with this tag, None when there is none.

        Raises:
            StorageUnavailable: Its file cannot be read.
        """
        if tag not in self._names:
            reader = self._readers.get(tag)
            if reader is None:
                return None
            self._names[tag] = reader.project
        return self._names[tag]

    def exists(self, project: str) -> bool:
        """Whether anything was ever kept for the project."""
        name = normalise_project(project)
        return name is not None and self._data.find(project_tag(name)) is not None

    def read(self, project: str, query: Callable[[Reader], T], *, empty: T) -> T:
        """The result of a query on committed data, `empty` when the project has no data.

        Raises:
            StorageUnavailable: The file cannot be read.
        """
        name = normalise_project(project)
        tag = "" if name is None else project_tag(name)
        reader = self._readers.get(tag)
        if reader is None:
            return empty
        try:
            return query(reader)
        except faults.FAULTS as error:
            self._readers.drop(tag)
            raise unreadable(error) from error

    def refuse_reader(self, project: str, caller: Caller, acting: str | None) -> Refusal | None:
        """Why the caller may not look at what is for the eyes of agent `acting`; None if it may.

        Raises:
            StorageUnavailable: The file cannot be read.
        """
        return self.read(
            project,
            lambda reader: refuse_identity(
                caller,
                acting,
                reader.credential,
                tokens_required=self._settings.rules.tokens_required,
            ),
            empty=refuse_identity(caller, acting, lambda _: None, tokens_required=False),
        )

    def all_projects(self) -> Iterator[str]:
        """The names of all projects whose files can be read, each opened when it is come to."""
        for tag in self._data.tags():
            try:
                name = self.name_of(tag)
            except StorageUnavailable:
                _log.warning("project file of tag %s cannot be read", tag)
                continue
            if name is not None:
                yield name

    def health(self) -> list[ProjectHealth]:
        """The health of every project that is live, failing, or not to be opened."""
        now_us = self._clock.stamp().mono_us
        reasons = self._unusable.reasons(now_us)
        troubled = [tag for tag, breaker in self._breakers.items() if breaker.faults_in_row]
        found = []
        for tag in dict.fromkeys((*self._actors.live(), *troubled, *reasons)):
            breaker = self._breakers.get(tag) or Breaker()
            found.append(
                ProjectHealth(
                    tag=tag,
                    breaker=breaker.state(now_us),
                    faults_in_row=breaker.faults_in_row,
                    last_fault=reasons.get(tag, breaker.last_fault),
                    usable=tag not in reasons and self._can_read(tag),
                )
            )
        return found

    def statistics(self) -> DirectoryStatistics[str]:
        return self._actors.statistics()

    def _can_read(self, tag: str) -> bool:
        try:
            reader = self._readers.get(tag)
            if reader is not None:
                reader.settings()
                return project_tag(reader.project) == tag
        except (StorageUnavailable, *faults.FAULTS):
            return False
        return True

    @asynccontextmanager
    async def _open_actor(self, tag: str) -> AsyncIterator[ProjectActor]:
        """The project's actor on its file, with its sweeper beside it."""
        with self._noting(tag):
            writer = self._open_writer(tag)
        try:
            with self._noting(tag):
                actor = await self._start_actor(tag, writer)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sweep, tag, actor)
                yield actor
                nursery.cancel_scope.cancel()
        finally:
            self._readers.drop(tag)
            writer.close()

    @contextmanager
    def _noting(self, tag: str) -> Iterator[None]:
        """Remember that the file cannot be used, if that is so."""
        try:
            yield
        except ProjectUnusable as error:
            if self._data.find(tag) is None:
                # It was never begun, so it is as if nobody had asked for it.
                self._names.pop(tag, None)
            else:
                self._unusable.add(tag, error, self._clock.stamp().mono_us)
                self._readers.drop(tag)
            raise

    def _open_writer(self, tag: str) -> Writer:
        project = self._names[tag]
        at_us = self._clock.stamp().at_us
        try:
            path = self._data.create(project)
            return Writer.open(path, project=project, tag=tag, at_us=at_us)
        except (faults.StorageError, *faults.FAULTS, OSError) as error:
            raise unusable(error) from error

    async def _start_actor(self, tag: str, writer: Writer) -> ProjectActor:
        try:
            actor = ProjectActor(
                writer,
                tag=tag,
                rules=self._settings.rules,
                clock=self._clock,
                breaker=self._breaker(tag),
                committer=Committer(self._settings.commit),
                publish=partial(self._publish, tag),
                on_line=partial(self.open_calls.are_on_line, tag),
            )
            await actor.start()
            self.open_calls.look_again(tag)
        except (faults.StorageError, StorageUnavailable, *faults.FAULTS) as error:
            raise unusable(error) from error
        self._unusable.forget(tag)
        return actor

    def _publish(self, tag: str, batch: Sequence[Published]) -> None:
        self.open_calls.publish(tag, batch)
        self._feeds.publish(tag, batch)

    async def _sweep(self, tag: str, actor: ProjectActor) -> None:
        """Ask the actor, through its own mailbox, to do what time has made due."""
        while True:
            await trio.sleep(self._settings.sweep_interval_ms / 1000)
            self._tell_hang_ups(tag)
            due = actor.sweep()
            if due is None:
                continue
            try:
                await self._actors.ask_nowait(tag, due).wait()
            except (Overloaded, ActorStopped, StorageUnavailable, CommandFailed) as error:
                # Leases that are due lapse with the next command all the same.
                _log.warning("sweep of project %s put off: %s", tag, error)

    def _breaker(self, tag: str) -> Breaker:
        """A breaker outlives its actor, or restarts would hide that a disk is broken."""
        breaker = self._breakers.setdefault(tag, Breaker())
        self._breakers.move_to_end(tag)
        if len(self._breakers) > limits.PROJECTS_MAX:
            self._breakers.popitem(last=False)
        return breaker


def _refused(code: Code, detail: str) -> Told:
    """A refusal from before any project: it has no place in any order."""
    return Told(epoch=0, seq=0, decision=Refusal(code, detail))
