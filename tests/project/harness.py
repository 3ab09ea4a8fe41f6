"""A project's actor on a real file, fed batch by batch, and projects as the server runs them."""

import os
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import attrs
import trio

from actors import Envelope
from intermute.domain import events as domain_events
from intermute.domain.commands import (
    Caller,
    CheckPaths,
    Command,
    RegisterAgent,
    ReleaseReservation,
    RenewReservation,
    ReservePaths,
)
from intermute.domain.decision import Accepted
from intermute.domain.events import Event
from intermute.domain.holdings import Claim
from intermute.domain.modes import Mode
from intermute.domain.refusals import Refusal
from intermute.domain.stamp import Stamp
from intermute.domain.state import Agent, State
from intermute.domain.transitions import apply
from intermute.project.actor import ProjectActor, ProjectRules
from intermute.project.breaker import Breaker
from intermute.project.committing import CommitMode, Committer
from intermute.project.directory import Projects, ProjectsSettings
from intermute.project.messages import Ask, Idempotency, Told
from intermute.storage import faults, projections
from intermute.storage.files import DataDirectory, project_tag
from intermute.storage.reader import Reader
from intermute.storage.writer import Writer

PROJECT = "house"
TAG = project_tag(PROJECT)
S = 1_000_000
WALL = 1_700_000_000 * S
MONO = 5_000 * S
GRACE_S = 300
TTL_S = 600
NOBODY = Caller()


class HandClock:
    """Both clocks, moved by hand; what looks like chance is a count."""

    def __init__(self, *, at_us: int = WALL, mono_us: int = MONO) -> None:
        self.at_us = at_us
        self.mono_us = mono_us
        self.stamps = 0

    def later(self, s: float, *, wall_s: float = 0) -> None:
        """Time passes; the wall clock moves by `wall_s` more."""
        self.mono_us += int(s * S)
        self.at_us += int((s + wall_s) * S)

    def restart(self) -> None:
        """The process is another one, with a monotonic clock of its own."""
        self.mono_us = MONO

    def stamp(self) -> Stamp:
        self.stamps += 1
        return Stamp(self.at_us, self.mono_us, self.stamps * 0x9E37_79B9_7F4A_7C15)


class TrioClock(HandClock):
    """Both clocks follow trio's, so that a test's virtual clock moves them."""

    def stamp(self) -> Stamp:
        passed_us = int(trio.current_time() * S)
        self.stamps += 1
        return Stamp(
            self.at_us + passed_us, self.mono_us + passed_us, self.stamps * 0x9E37_79B9_7F4A_7C15
        )


def run_now(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of something async that does not wait; a test of that, too."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    work.close()
    raise AssertionError("it waited, and nothing here may wait")


@attrs.define
class Slip:
    """The place for an answer, kept for the test to look at."""

    answer: Any = None

    @property
    def done(self) -> bool:
        return self.answer is not None

    def resolve(self, answer: Any) -> None:
        assert not self.done
        self.answer = answer

    fail = resolve


class Desk:
    """One project's actor on its file. `close` and `open` are a clean restart."""

    def __init__(self, path: Path, clock: HandClock | None = None, **options: Any) -> None:
        if not path.exists():
            path.touch(mode=0o600)
        self.path = path
        self.clock = clock or HandClock()
        self.rules: ProjectRules = options.get("rules", ProjectRules())
        self.breaker: Breaker = options.get("breaker", Breaker())
        self.committer: Committer = options.get("committer", Committer(CommitMode.INLINE))
        self.writer: Writer
        self.actor: ProjectActor
        self.log: list[Any] = []
        self.open()

    def open(self) -> None:
        self.writer = Writer.open(self.path, project=PROJECT, tag=TAG, at_us=self.clock.at_us)
        try:
            self.actor = ProjectActor(
                self.writer,
                tag=TAG,
                rules=self.rules,
                clock=self.clock,
                breaker=self.breaker,
                committer=self.committer,
            )
            run_now(self.actor.start())
        except BaseException:
            with suppress(*faults.FAULTS):
                self.writer.close()
            raise

    def close(self) -> None:
        self.writer.close()

    def reopen(self) -> None:
        """A clean restart: the monotonic clock begins anew."""
        self.close()
        self.clock.restart()
        self.open()

    @property
    def state(self) -> State:
        """The actor's working state: the one look at what is private, kept in this place."""
        return self.actor._state

    def tell(self, *asked: Ask | Command) -> list[Any]:
        """Have one batch handled without any waiting; what each asker was told, in order."""
        return run_now(self._tell(asked))

    async def tell_waiting(self, *asked: Ask | Command) -> list[Any]:
        """The same where the actor may have to wait."""
        return await self._tell(asked)

    async def _tell(self, asked: tuple[Ask | Command, ...]) -> list[Any]:
        slips = [Slip() for _ in asked]
        asks = [item if isinstance(item, Ask) else self.ask(item) for item in asked]
        batch: Any = [Envelope(one, slip) for one, slip in zip(asks, slips, strict=True)]
        await self.actor.handle(batch)
        self.log += [slip.answer for slip in slips]
        return [slip.answer for slip in slips]

    def ask(
        self, command: Command, who: Caller = NOBODY, key: str | None = None, body: str = ""
    ) -> Ask:
        return Ask(command, self.clock.stamp(), who, None if key is None else idem(key, body))

    def one(self, command: Command, who: Caller = NOBODY, key: str | None = None) -> Any:
        """What an accepted command answers, or the refusal."""
        (told,) = self.tell(self.ask(command, who, key))
        return outcome(told)

    def register(self, name: str, **members: Any) -> str:
        return self.one(RegisterAgent(name.encode().ljust(32), name=name, **members)).agent_id

    def events(self) -> list[Event]:
        return log_of(self.path)


def outcome(told: Any) -> Any:
    assert isinstance(told, Told), told
    decision = told.decision
    return decision.answer if isinstance(decision, Accepted) else decision


def idem(key: str, body: str = "") -> Idempotency:
    return Idempotency(key.encode().ljust(16), body.encode().ljust(16))


def reserve(agent_id: str, *patterns: str, exclusive: bool = True, ttl_s: float = TTL_S) -> Command:
    return ReservePaths(
        agent_id, patterns, Mode.EXCLUSIVE if exclusive else Mode.SHARED, "", int(ttl_s * 1000)
    )


def renew(reservation_id: str, agent_id: str) -> Command:
    return RenewReservation(reservation_id, agent_id)


def release(reservation_id: str, agent_id: str) -> Command:
    return ReleaseReservation(reservation_id, agent_id)


def check(*patterns: str, agent_id: str | None = None, exclusive: bool = True) -> Command:
    return CheckPaths(patterns, Mode.EXCLUSIVE if exclusive else Mode.SHARED, agent_id)


def refused(answer: Any) -> str:
    """The code of a refusal."""
    answer = outcome(answer) if isinstance(answer, Told) else answer
    assert isinstance(answer, Refusal), answer
    return answer.code.value


# -- What a file holds

# Left out: what is no history (presence, credentials, requests) and what is about the file itself.
_LEFT_OUT = {"presence", "credentials", "pane_tokens", "requests", "migrations", "events", "meta"}


def quick_folder() -> "tempfile.TemporaryDirectory[str]":
    """A folder in memory where there is one: for tests that sync thousands of times and are not
    about the disk."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)


@contextmanager
def opened(path: Path) -> Iterator[apsw.Connection]:
    """A connection of the test's own."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        yield connection
    finally:
        connection.close()


def log_of(path: Path) -> list[Event]:
    reader = Reader.open(path)
    assert reader is not None
    try:
        return reader.events(after=0, limit=10**6)
    finally:
        reader.close()


def raw_log(path: Path) -> list[tuple[Any, ...]]:
    with opened(path) as connection:
        return list(connection.execute("SELECT * FROM events ORDER BY cursor"))


def tables(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every projection: its rows, sorted."""
    with opened(path) as connection:
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            if name not in _LEFT_OUT and not name.startswith(("sqlite_", "message_words"))
        ]
        found = {
            name: sorted(connection.execute(f'SELECT * FROM "{name}"'), key=repr) for name in names
        }
        names_of_settings = "('case_sensitive', 'case_changed', 'live_transport')"
        settings = connection.execute(f"SELECT * FROM meta WHERE name IN {names_of_settings}")
        found["meta"] = list(settings)
    return found


def rebuilt_tables(path: Path, scratch: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The projections that the log of `path` gives in a fresh file."""
    scratch.unlink(missing_ok=True)
    scratch.touch(mode=0o600)
    Writer.open(scratch, project=PROJECT, tag=TAG, at_us=0).close()
    with opened(scratch) as connection:
        connection.execute("BEGIN")
        for event in log_of(path):
            projections.apply(connection, event)
        connection.execute("COMMIT")
    return tables(scratch)


def folded(path: Path) -> State:
    """The state that the log gives, folded from its first event."""
    state = State(tag=TAG, project=PROJECT)
    for event in log_of(path):
        state.at_us = event.at_us
        apply(state, event)
    return state


def facts(state: State) -> dict[str, Any]:
    """What is history of a state: no presence, no tokens, no clocks."""

    def agent(found: Agent) -> dict[str, Any]:
        left_out = ("last_seen_us", "last_seen_mono_us", "token_hash", "token_bound")
        left_out += ("focus_state", "focus_at_us", "focus_mono_us")
        members = attrs.asdict(found)
        members["contacts"] = list(found.contacts)
        return {name: value for name, value in members.items() if name not in left_out}

    def reservation(found: Claim) -> dict[str, Any]:
        members = attrs.asdict(found, recurse=False)
        members["parsed"] = [pattern.text for pattern in found.parsed]
        # Calls are known to the process alone.
        del members["deadline_us"], members["calls"]
        return members

    holdings = state.holdings
    return {
        "cursor": state.cursor,
        "case_sensitive": state.case_sensitive,
        "live_transport": state.live_transport,
        "sessions": dict(state.sessions),
        "windows": {
            key: attrs.evolve(window, pane_hash=b"")
            for key, window in state.windows.by_uuid.items()
        },
        "pokes": dict(state.pokes),
        "entities_len": state.entities_len,
        "agents": {key: agent(value) for key, value in state.agents.items()},
        "holdings": {key: reservation(value) for key, value in holdings.by_id.items()},
        "by_agent": {key: sorted(value) for key, value in holdings.by_agent.items()},
        "line": {key: reservation(value) for key, value in state.line.by_id.items()},
        "waiting_by_agent": {key: sorted(value) for key, value in state.line.by_agent.items()},
        "waiting_len": state.line.patterns_len,
        "patterns_by_agent": dict(holdings.patterns_by_agent),
        "patterns_len": holdings.patterns_len,
    }


def assert_consistent(path: Path, scratch: Path, live: State | None = None) -> None:
    """The file is whole, its tables are what its log says, and so is the live state."""
    with opened(path) as connection:
        assert connection.execute("PRAGMA integrity_check").get == "ok"
        # How the words lie in their index is chance; that they are those of the messages is not.
        check = "INSERT INTO message_words (message_words, rank) VALUES ('integrity-check', 1)"
        connection.execute(check)
    log = log_of(path)
    assert [event.cursor for event in log] == list(range(1, len(log) + 1)), "no gaps"
    stamps = [event.at_us for event in log]
    assert stamps == sorted(stamps), "stamps never go backwards"
    assert rebuilt_tables(path, scratch) == tables(path)
    if live is not None:
        assert facts(live) == facts(folded(path))


def has_event(path: Path, kind: type[domain_events.EventData], entity_id: str) -> bool:
    return any(type(e.data) is kind and e.data.entity_id == entity_id for e in log_of(path))


# -- Projects as the server runs them


@asynccontextmanager
async def running(
    folder: Path, *, clock: HandClock | None = None, drain_ms: int = 5_000, **chosen: Any
):
    """All projects of a folder, drained and closed the clean way at the end."""
    chosen.setdefault("commit", CommitMode.INLINE)
    projects = Projects(ProjectsSettings(path=folder, **chosen), clock=clock or HandClock())
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(projects.serve, drain_ms=drain_ms))
        yield projects
        projects.stop()


async def all_at_once(calls: list[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """Start every call before any is answered; their results or errors, in the order given."""
    results: list[Any] = [None] * len(calls)

    async def run(place: int) -> None:
        try:
            results[place] = await calls[place]()
        except Exception as error:
            results[place] = error

    async with trio.open_nursery() as nursery:
        for place in range(len(calls)):
            nursery.start_soon(run, place)
    return results


def file_of(folder: Path, project: str = PROJECT) -> Path:
    """The file of a project, made (empty) when it is not there."""
    directory = DataDirectory(folder)
    try:
        return directory.create(project)
    finally:
        directory.close()
