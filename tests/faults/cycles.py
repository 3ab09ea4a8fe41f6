"""The server's lives under the mixed load, and the judgement of its files after each of them."""

import random
import shutil
import signal
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from intermute.storage.files import project_tag

from ..project.harness import assert_consistent, log_of, opened
from ..properties.oracle import all_heard
from .clients import Client, begin_projects, hold, take_turns, wait, write
from .ledger import Ledger, judge_feed
from .live import FOLLOWING, Follower, follow, pipeline
from .served import Served, serving
from .test_io_mail import mailboxes_are_right

PROJECTS = ("killed", "killed/too")
PROGRAMS = (hold, hold, wait, take_turns, write, pipeline)
ASKED_AGAIN = 20


@attrs.define
class Cycles:
    """One server, its clients and its followers.

    Attributes:
        judged: The sizes of the files that were judged, so that none is twice that is as it was.
    """

    served: Served
    ledger: Ledger
    clients: list[Client]
    followers: list[Follower]
    chance: random.Random
    copies: Path
    judged: dict[str, list[int]] = attrs.field(factory=dict)
    done: trio.Event = attrs.field(factory=trio.Event)

    async def dead(self):
        """Wait until it has died by itself."""
        assert await self.served.ended() == -signal.SIGKILL

    def judge(self):
        """Every project's file, as the dead server has left it. It is looked at in a copy, so that
        the next server and not the test has to recover it."""
        for path in sorted(self.served.data.glob("*.sqlite3")):
            beside = [path, path.with_name(path.name + "-wal")]
            now = [each.stat().st_size if each.exists() else 0 for each in beside]
            now += [each.stat().st_mtime_ns for each in beside if each.exists()]
            if self.judged.get(path.name) != now:
                self.judged[path.name] = now
                self._judge(path)
        self.ledger.judge_places()

    def _judge(self, path):
        shutil.rmtree(self.copies, ignore_errors=True)
        self.copies.mkdir()
        for beside in self.served.data.glob(path.name + "*"):
            if not beside.name.endswith("-shm"):
                shutil.copy(beside, self.copies / beside.name)
        copy = self.copies / path.name
        project = project_of(copy)
        if project is None:
            done = {attempt.project for attempt in self.ledger.attempts if attempt.done}
            lost = [each for each in done if path.name.startswith(project_tag(each))]
            assert not lost, ("answered with a success, and the file has no schema", lost)
            return
        assert_consistent(copy, self.copies / "scratch.sqlite3")
        mailboxes_are_right(copy)
        log = log_of(copy)
        self.ledger.judge(project, log)
        self.ledger.judge_presence(copy)
        all_heard(log)
        for follower in self.followers:
            if follower.project == project:
                judge_feed(follower.seen, log)

    async def finish(self):
        """Start once more, let everybody come to an end, stop the clean way, judge it all."""
        self.ledger.closing = True
        await self.served.start()
        await self.done.wait()
        await self._ask_again()
        for follower in self.followers:
            follower.until = await self._head(follower.project)
        async with trio.open_nursery() as nursery:
            for follower in self.followers:
                nursery.start_soon(until_it_has_all, follower)
        self.served.alive = False
        self.served.signal(signal.SIGTERM)
        assert await self.served.ended() == 0
        left = {path.suffix for path in self.served.data.iterdir()}
        assert left == {".sqlite3", ".lock"}, "a clean stop leaves nothing beside the files"
        self.judged.clear()
        self.judge()
        for follower in self.followers:
            assert follower.cursor == follower.until, "the feed brought all"
        for project in PROJECTS:
            (path,) = (p for p in self.served.data.glob("*.sqlite3") if project_of(p) == project)
            oracle = all_heard(log_of(path))
            oracle.assert_settled()
            oracle.assert_all_ended()

    async def _ask_again(self):
        """The same request with the same key: the same answer, and nothing is done."""
        client = self.clients[0]
        known = [attempt for attempt in self.ledger.attempts if repeatable(attempt)]
        for attempt in self.chance.sample(known, min(len(known), ASKED_AGAIN)):
            status, headers, body = await client.once(attempt)
            assert "idempotency-replayed" in headers, attempt
            assert (status, body) == (attempt.status, attempt.body), attempt

    async def _head(self, project):
        page, path = {"cursor": 0, "more": True}, f"/api/events?project={project}&limit=1000"
        while page["more"]:
            page = await self.clients[0].look(f"{path}&since_cursor={page['cursor']}")
        return page["cursor"]


def repeatable(attempt):
    """Whether its answer was shown as it was kept: tokens are not kept, open calls are taken up,
    and a batch has a key for each of its commands."""
    if not attempt.done or attempt.method == "RPC" or "wait_seconds" in (attempt.members or ()):
        return False
    return attempt.path not in ("/api/agents", "/api/windows", "/api/batch")


async def until_it_has_all(follower):
    while follower.wants_more:
        await trio.lowlevel.checkpoint()


def project_of(path):
    """The project that a file says it is; None when its server died before it had said so."""
    with opened(path) as connection:
        if not connection.pragma("user_version"):
            return None
        return connection.execute("SELECT value FROM meta WHERE name = 'project'").get


@asynccontextmanager
async def cycling(folder, chance):
    """A server that is not started yet, and clients that wait for it."""
    ledger = Ledger()
    async with serving(folder) as served:
        programs = [(program, project) for project in PROJECTS for program in PROGRAMS]
        programs.append((begin_projects, "new"))
        clients = [
            Client(served, ledger, project, random.Random(chance.getrandbits(64)))
            for _, project in programs
        ]
        followers = [Follower(project) for project in PROJECTS for _ in FOLLOWING]
        cycles = Cycles(served, ledger, clients, followers, chance, folder / "copies")

        async def work():
            await served.up()
            async with trio.open_nursery() as working:
                for (program, _), client in zip(programs, clients, strict=True):
                    working.start_soon(program, client)
            cycles.done.set()

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(work)
                for at, follower in enumerate(followers):
                    way = FOLLOWING[at % len(FOLLOWING)]
                    nursery.start_soon(follow, served, follower, way)
                yield cycles
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                for client in clients:
                    await client.close()
