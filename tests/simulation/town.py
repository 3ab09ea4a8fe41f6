"""A town: the whole server in one process, those who use it, and everything that goes wrong.

What kind of town it is (how many live there, how good its network and its disk are, what befalls
its server) and all that happens in it follows from a seed.
"""

import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack, aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attrs
import trio

from intermute import app
from intermute.project.committing import CommitMode
from intermute.project.directory import ProjectsSettings
from intermute.storage.files import file_name
from intermute.storage.reader import Reader

from ..project.harness import assert_consistent, log_of, quick_folder
from .agents import Agent, Inhabitant, Operator
from .clients import ANSWER_S, Ended, socket_frames, stream_frames
from .judge import Judge
from .network import Conditions, Network
from .virtual import Machine
from .weather import DiskConditions, SimulatedDisk, leave_behind, simulated_disk

WATCH_S = 5.0
# By then every lease, ticket and grace that anybody may still have is over.
ALL_OVER_S = 1_500.0
JUMPS_S = (-7_200.0, -90.0, 90.0, 700.0, 7_200.0)


@attrs.frozen
class Plan:
    """What kind of town it is. `mean_s` are mean times between what befalls the server."""

    life_s: float
    agents: int
    projects: int
    network: Conditions
    disk: DiskConditions
    commit: CommitMode
    mailbox_len_max: int
    batch_len_max: int
    live_max: int
    idle_ms: int
    crash_mean_s: float
    restart_mean_s: float
    jump_mean_s: float


def plan_of(machine: Machine) -> Plan:
    """The plan of a seed."""
    dice = machine.dice("plan")
    projects = dice.choice((1, 1, 2, 3))
    rough = Conditions(latency_s=0.05, cut_p=0.03, stall_p=0.003, accept_fault_p=0.02)
    # What is sent by many at one time is there at one time, whatever comes first.
    at_once = Conditions(latency_s=0.0)
    bad_disk = DiskConditions(fault_p=0.003, burst_p=0.0003, slow_p=0.02, slow_s=0.5)
    slow_disk = DiskConditions(slow_p=0.6, slow_s=0.1)
    never = 1e9
    return Plan(
        life_s=dice.choice((60.0, 120.0, 240.0)),
        agents=dice.choice((6, 12)),
        projects=projects,
        network=dice.choice((Conditions(), at_once, rough, rough)),
        disk=dice.choice((DiskConditions(), bad_disk, bad_disk, slow_disk)),
        commit=dice.choice(tuple(CommitMode)),
        mailbox_len_max=dice.choice((2, 4, 1_024)),
        batch_len_max=dice.choice((2, 256)),
        live_max=dice.choice((max(1, projects - 1), projects, projects, 256, 256)),
        idle_ms=dice.choice((2_000, 20_000, 600_000)),
        crash_mean_s=dice.choice((never, 60.0, 150.0)),
        restart_mean_s=dice.choice((never, 60.0, 200.0)),
        jump_mean_s=dice.choice((never, never, 60.0)),
    )


@attrs.frozen
class Outcome:
    """What a town came to. `trace` is a hash of all that anybody has seen."""

    trace: str
    counts: dict[str, int]
    events: int
    simulated_s: float


class Town:
    """One life of a town, from the first start of its server to its last stop."""

    def __init__(self, machine: Machine, folder: Path, plan: Plan, disk: SimulatedDisk) -> None:
        self.machine = machine
        self.plan = plan
        self._home = folder
        self._disk = disk
        self._dice = machine.dice("town")
        self.projects = tuple(f"canary{machine.seed:x}n{n}" for n in range(plan.projects))
        self.judge = Judge(self.projects, machine.clock.current_time)
        self.network = Network(machine.dice("network"), plan.network)
        self.members: dict[str, list[str]] = {project: [] for project in self.projects}
        # How each agent shows who it is, and those that do so by their name alone.
        self.proofs: dict[str, tuple[tuple[str, str], ...]] = {}
        self.open: dict[str, list[str]] = {project: [] for project in self.projects}
        self.operators = {
            project: Operator(self, f"operator{place}", project)
            for place, project in enumerate(self.projects)
        }
        self._followers: list[Follower] = []
        self._folders = 0
        self._life = trio.CancelScope()
        self._stop = trio.Event()
        self._crashed = False
        self._over = False
        self._ended = trio.Event()

    @property
    def data(self) -> Path:
        return self._home / f"data{self._folders}"

    def disk_failed_since(self, at_s: float) -> bool:
        """Whether a step of the disk has failed since then."""
        return self._disk.failed_at_s >= at_s

    async def live(self) -> None:
        """All of it. Raises whatever the judge or the oracle has found."""
        tasks = trio.lowlevel.current_statistics().tasks_living
        await trio.sleep(1_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve)
            async with trio.open_nursery() as inhabitants:
                self._settle(inhabitants, nursery)
                nursery.start_soon(self._watch)
                await trio.sleep(self.plan.life_s)
                inhabitants.cancel_scope.cancel()
            await self._come_to_rest()
            nursery.cancel_scope.cancel()
        await self._last_looks()
        left = trio.lowlevel.current_statistics().tasks_living
        self.judge.hold_to(left == tasks, f"{left - tasks} tasks are left behind")

    def _settle(self, inhabitants: trio.Nursery, nursery: trio.Nursery) -> None:
        for place in range(self.plan.agents):
            project = self.projects[place % len(self.projects)]
            agent = Agent(self, f"agent{place}", project)
            inhabitants.start_soon(agent.live)
        for place, project in enumerate(self.projects):
            inhabitants.start_soon(self.operators[project].live)
            for kind in ("socket", "stream"):
                follower = Follower(self, f"{kind}{place}", project, kind)
                self._followers.append(follower)
                nursery.start_soon(follower.live)
        for mean_s, befall in (
            (self.plan.crash_mean_s, self._crash_somehow),
            (self.plan.restart_mean_s, self._stop_orderly),
            (self.plan.jump_mean_s, self._jump),
        ):
            inhabitants.start_soon(self._now_and_then, mean_s, befall)

    async def _now_and_then(self, mean_s: float, befall: Callable[[], object]) -> None:
        while True:
            await trio.sleep(self._dice.expovariate(1 / mean_s))
            befall()

    # The server

    async def _serve(self) -> None:
        """One process after the other, until the town is over."""
        plan = self.plan
        while not self._over:
            self._life, self._stop, self._crashed = trio.CancelScope(), trio.Event(), False
            settings = app.Settings(
                data=self.data,
                keys_file=self._home / "keys.yaml",
                commit=plan.commit,
                patterns_per_agent_max=12,
                actor_idle_ms=plan.idle_ms,
                actors_live_max=plan.live_max,
            )
            self._disk.dead, self._disk.crash_in = False, None
            faults = self._disk.failed
            try:
                with self._life:
                    await app.serve(settings, shutdown=self._stop.wait)
            except* Exception:
                if not self._crashed:
                    raise
            self._disk.dead = False
            self._look_after_the_end(faulty=self._disk.failed != faults)
            if not self._over:
                await trio.sleep(self._dice.uniform(0, 5))
        self._ended.set()

    def _look_after_the_end(self, *, faulty: bool) -> None:
        """A process that has ended leaves nothing open; a proper stop leaves whole files."""
        judge = self.judge
        judge.hold_to(not self.network.accepted, "connections are left open")
        names = [os.readlink(link) for link in _descriptors()]
        left = [name for name in names if name.startswith(str(self._home))]
        judge.hold_to(not left, f"files are left open: {left}")
        if self._crashed:
            shutil.rmtree(self._home / f"data{self._folders - 1}")
        elif not faulty:
            wals = [path.name for path in self.data.iterdir() if path.name.endswith("-wal")]
            judge.hold_to(not wals, f"left after a proper stop: {wals}")

    def _crash(self) -> None:
        """The process is gone at this very moment, and so are its connections."""
        if self._crashed or not self.data.exists():
            return
        self.judge.count("crash")
        self._crashed = True
        leave_behind(self.data, self._home / f"data{self._folders + 1}")
        self._folders += 1
        self._disk.dead = True
        self.network.cut_all()
        self._life.cancel()

    def _crash_somehow(self) -> None:
        """Now, or in the middle of what is written next."""
        if self._dice.random() < 0.5:
            self._disk.on_crash = self._crash_while_writing
            self._disk.crash_in = self._dice.randrange(1, 12)
        else:
            self._crash()

    def _crash_while_writing(self) -> None:
        self.judge.count("crash while writing")
        self._crash()

    def _stop_orderly(self) -> None:
        self.judge.count("restart")
        self._stop.set()

    def _jump(self) -> None:
        self.judge.count("jump")
        self.judge.jumps += 1
        self.machine.set_wall(self._dice.choice(JUMPS_S))

    # Looking

    def welcome(self, project: str, agent_id: str, proof: tuple[tuple[str, str], ...]) -> None:
        """Somebody has come to live here."""
        self.members[project].append(agent_id)
        self.proofs[agent_id] = proof
        if len(proof) == 1:
            self.open[project].append(agent_id)

    async def _watch(self) -> None:
        while True:
            await trio.sleep(WATCH_S)
            # Whoever reads a file that a server has just closed leaves a `-wal` beside it.
            if not self._stop.is_set():
                self._look()

    def _look(self) -> None:
        """Read what has become durable since."""
        for project in self.projects:
            path = self.data / file_name(project)
            if not path.exists() or not path.stat().st_size:
                continue
            self._disk.calm = True
            try:
                book = self.judge.books[project]
                reader = Reader.open(path)
                if reader is not None:
                    try:
                        found = reader.events(after=book.oracle.cursor, limit=10_000)
                        self.judge.look_at_ends(project, found)
                        book.read(found, timely=not self.machine.wall_jumps)
                    finally:
                        reader.close()
            finally:
                self._disk.calm = False

    async def _come_to_rest(self) -> None:
        """Nothing goes wrong any more and nobody does anything; all that waits comes to its end."""
        self.network.conditions = Conditions()
        self._disk.conditions = DiskConditions()
        self._disk.crash_in = None
        self._stop_orderly()
        await trio.sleep(30)
        wakers = [Inhabitant(self, f"waker of {project}", project) for project in self.projects]
        until_s = trio.current_time() + ALL_OVER_S
        while trio.current_time() < until_s and self._is_something_left():
            for waker in wakers:
                # Leases of a project that nobody has asked since a restart are not counted.
                await waker.ask("GET", f"/api/reservations?project={waker.project}")
            await trio.sleep(30)
        await trio.sleep(2 * ANSWER_S)
        self._look()
        for project, book in self.judge.books.items():
            left = {**book.oracle.held, **book.oracle.line}
            self.judge.hold_to(not left, f"{project}: this never ends: {left}")
        await self._look_at_inboxes()
        for follower in self._followers:
            follower.look()
        self._over = True
        self._stop.set()
        with trio.move_on_after(ANSWER_S):
            await self._ended.wait()
        self.judge.hold_to(self._ended.is_set(), "the server does not end")

    def _is_something_left(self) -> bool:
        oracles = [book.oracle for book in self.judge.books.values()]
        return any(oracle.held or oracle.line for oracle in oracles)

    async def _look_at_inboxes(self) -> None:
        for project in self.projects:
            reader = Inhabitant(self, f"auditor of {project}", project)
            for agent_id in dict.fromkeys(self.members[project]):
                found: list[dict[str, Any]] = []
                more = True
                while more:
                    cursor = found[-1]["cursor"] if found else 0
                    target = f"/api/inbox/{agent_id}?project={project}&since_cursor={cursor}"
                    page = await reader.ask("GET", target, headers=self.proofs[agent_id])
                    if page is None or page.status != 200:
                        break
                    found += page.body["messages"]
                    more = page.body["more"]
                else:
                    self.judge.look_at_an_inbox(project, agent_id, found)

    async def _last_looks(self) -> None:
        self._disk.calm = True
        for project in self.projects:
            path = self.data / file_name(project)
            if not path.exists():
                continue
            log = log_of(path)
            self.judge.look_at_the_log(project, log)
            assert_consistent(path, self._home / "scratch.sqlite3")
            for event in log:
                self.judge.note(project, "holds", event.cursor, event.at_us, event.data)

    def outcome(self) -> Outcome:
        logs = [book.log for book in self.judge.books.values()]
        counts = self.judge.counts
        for log in logs:
            counts.update(event.type for event in log)
        return Outcome(
            self.judge.trace(),
            dict(counts),
            sum(map(len, logs)),
            self.machine.clock.current_time() - 1_000,
        )


class Follower(Inhabitant):
    """Somebody who follows the feed of a project, over a WebSocket or as an event stream."""

    def __init__(self, town: Town, name: str, project: str, kind: str) -> None:
        super().__init__(town, name, project)
        self._kind = kind
        self._agent_id: str | None = None
        self._told: list[dict[str, Any]] = []

    async def live(self) -> None:
        await self.pause(10.0)
        if self.dice.random() < 0.5 and self.town.open[self.project]:
            self._agent_id = self.dice.choice(self.town.open[self.project])
        while True:
            with suppress(Ended):
                await self._follow()
            self.judge.count("followed again")
            await self.pause(3.0)

    async def _follow(self) -> None:
        # Who comes back has perhaps lost what it was told last.
        lost = self.dice.randrange(4) if self.dice.random() < 0.2 else 0
        del self._told[len(self._told) - lost :]
        cursor = self._told[-1]["cursor"] if self._told else 0
        if self._kind == "socket":
            path = "/ws/events" if self._agent_id is None else f"/ws/agents/{self._agent_id}"
            target, frames = f"{path}?project={self.project}&since_cursor={cursor}", socket_frames
        else:
            agent = "" if self._agent_id is None else f"&agent={self._agent_id}"
            target = f"/api/events?project={self.project}&since_cursor={cursor}{agent}"
            frames = stream_frames
        ask = partial(frames, self.town.network, self.judge, self.name, self.project, target)
        async with aclosing(ask()) as feed:
            async for frame in feed:
                if frame["type"] == "feed.lagged":
                    self.judge.count("lagged")
                    return
                last = self._told[-1]["cursor"] if self._told else 0
                self.judge.hold_to(frame["cursor"] > last, f"{self.name}: again {frame}")
                whole = self._agent_id is not None or frame["cursor"] == last + 1
                self.judge.hold_to(whole, f"{self.name}: {last}, and then {frame}")
                self._told.append(frame)
                thrown = self.dice.random()
                if thrown < 0.01:
                    return
                if thrown < 0.02:
                    await trio.sleep(self.dice.uniform(0, 40))

    def look(self) -> None:
        """Whether it has been told everything."""
        self.judge.look_at_a_feed(self.project, self._agent_id, self._told, 0)


def _descriptors() -> list[str]:
    folder = "/proc/self/fd"
    found = (os.path.join(folder, name) for name in os.listdir(folder))
    return [path for path in found if os.path.islink(path)]


def live(seed: int, *, plan: Plan | None = None, lines: list[str] | None = None) -> Outcome:
    """Live the life of the town of a seed; answers what it came to.

    Args:
        plan: The kind of town, if it shall be another one than that of the seed.
        lines: Is given the trace as text.

    Raises:
        AssertionError: A promise was broken, perhaps in a group.
    """
    machine = Machine(seed)
    plan = plan or plan_of(machine)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(quick_folder()))
        disk = stack.enter_context(
            simulated_disk(
                machine.dice("disk"),
                plan.disk,
                now_s=machine.clock.current_time,
                block=machine.clock.jump,
            )
        )
        town = Town(machine, folder, plan, disk)
        town.judge.lines = lines
        sizes = partial(
            ProjectsSettings,
            mailbox_len_max=plan.mailbox_len_max,
            batch_len_max=plan.batch_len_max,
        )
        stack.enter_context(town.network.in_effect())
        stack.enter_context(patch.object(app, "ProjectsSettings", sizes))
        stack.enter_context(patch.object(app, "_open_listeners", lambda _: [town.network.listen()]))
        machine.run(town.live)
        return town.outcome()
