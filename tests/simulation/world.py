"""One project under everything that can befall it, decided by a seed.

The real actor runs on the real tables, in a database in memory. A schedule is a list of batches:
commands of agents that queue, hold, confirm, narrow, hand over, fall silent and ask again, in any
order of arrival, with clocks that jump, commits that fail or are lost, bugs in the middle of a
batch, and restarts. An `Oracle` hears all that is published.
"""

import random
from collections.abc import Sequence
from typing import Any

import apsw
from msgspec.structs import replace

from actors import Envelope
from intermute.domain import commands, events, limits
from intermute.domain.commands import Caller, Command
from intermute.domain.decision import Accepted
from intermute.domain.modes import Mode
from intermute.domain.state import State
from intermute.project.actor import ProjectActor, ProjectRules
from intermute.project.breaker import Breaker
from intermute.project.committing import CommitMode, Committer
from intermute.project.feeds import Published
from intermute.project.messages import Ask, CommandFailed, StorageUnavailable, Told
from intermute.storage import projections
from intermute.storage.migrations import migrate, packaged
from intermute.storage.writer import Writer, decode_event

from ..project.harness import MONO, PROJECT, TAG, WALL, HandClock, S, Slip, facts, idem, run_now
from ..properties.oracle import all_heard
from ..properties.paths import PATTERNS

AGENTS = 4
GRACE_S = limits.HEARTBEAT_GRACE_MS // 1000
CONFIRM_S = limits.CONFIRM_MS // 1000
PASSAGES_S = (0, 1, 5, CONFIRM_S - 1, CONFIRM_S, 61, GRACE_S - 1, GRACE_S, 700)
JUMPS_S = (0, 0, 0, 0, -80_000, -100, 100, 80_000)
LENGTHS_MS = (10_000, 60_000, 400_000, 900_000)
# Few and near to each other, so that much conflicts, and enough that not everything does.
WANTED = ("a", "a/*", "a/x", "a/x/z", "*/x", "{a,b}/y", "b/?", "**/z", "z/y/*")
MODES = (Mode.EXCLUSIVE,) * 4 + tuple(Mode)


class Bug(Exception):
    """Something nobody foresaw."""


class MemoryWriter(Writer):
    """A writer whose transactions are savepoints of a longer one, and whose disk fails on demand.

    Attributes:
        fail_at: Which append from now on fails, and with what.
        lose_commit: The next commit fails: before it was made, or (`after`) when it was.
    """

    fail_at: tuple[int, type[Exception]] | None = None
    lose_commit: str | None = None
    _begun = False

    def take_over(self) -> int:
        self._execute("UPDATE meta SET value = value + 1 WHERE name = 'epoch'")
        epoch = self._execute("SELECT value FROM meta WHERE name = 'epoch'").get
        assert isinstance(epoch, int)
        return epoch

    def begin(self) -> None:
        self._execute("SAVEPOINT batch")
        self._begun = True

    def commit(self) -> None:
        lost, self.lose_commit = self.lose_commit, None
        if lost == "before":
            raise apsw.IOError("the commit fails by order of a test")
        self._execute("RELEASE batch")
        self._begun = False
        if lost == "after":
            raise apsw.IOError("the answer of the commit is lost by order of a test")

    def rollback(self) -> None:
        if self._begun:
            self._execute("ROLLBACK TO batch")
            self._execute("RELEASE batch")
            self._begun = False

    def append(self, event: events.Event) -> int:
        if self.fail_at is not None:
            left, error = self.fail_at
            self.fail_at = (left - 1, error) if left else None
            if not left:
                raise error("an append fails by order of a test")
        return super().append(event)


class Base:
    """A database in memory with some agents in it, which schedules leave as it was."""

    def __init__(self) -> None:
        self.connection = apsw.Connection(":memory:")
        migrate(self.connection, packaged(), at_us=0)
        self.connection.execute("INSERT INTO meta VALUES ('project', ?)", (PROJECT,))
        self.connection.execute("INSERT INTO meta VALUES ('epoch', 0)")
        self.agents: list[str] = []
        self.log: list[events.Event] = []
        world = World(self, random.Random(0), HandClock())
        for place in range(AGENTS):
            hashed = f"agent{place}".encode().ljust(32)
            told = world.tell([world.ask(commands.RegisterAgent(hashed, name=f"agent{place}"))])
            self.agents.append(told[0].decision.answer.agent_id)
        self.log = world.log()

    def run(
        self, seed: int, *, thorough: bool = False, keep: list[events.Event] | None = None
    ) -> None:
        """Live through the schedule of a seed and undo it; its log is added to `keep`."""
        self.connection.execute("SAVEPOINT schedule")
        try:
            world = World(self, random.Random(seed), HandClock(at_us=WALL + S, mono_us=MONO + S))
            world.live()
            world.end(thorough=thorough)
            if keep is not None:
                keep += world.log(after=len(self.log))
        finally:
            self.connection.execute("ROLLBACK TO schedule")
            self.connection.execute("RELEASE schedule")


class World:
    """One life of the project."""

    def __init__(self, base: Base, dice: random.Random, clock: HandClock) -> None:
        self.base = base
        self.dice = dice
        self.clock = clock
        self.writer = MemoryWriter(base.connection, PROJECT)
        self.oracle = all_heard(base.log)
        self.keyed: list[Ask] = []
        self.answers: dict[bytes, Any] = {}
        self.keys = 0
        self.tickets: list[tuple[str, str]] = []
        # What the feeds were told, and whether an actor has ended in between.
        self.told = self.oracle.cursor
        self.gap_allowed = False
        self.actor = self.start()

    # The project

    def start(self) -> ProjectActor:
        actor = ProjectActor(
            self.writer,
            tag=TAG,
            rules=ProjectRules(patterns_per_agent_max=12),
            clock=self.clock,
            breaker=Breaker(faults_max=10**9),
            committer=Committer(CommitMode.INLINE),
            publish=self.publish,
        )
        run_now(actor.start())
        self.hear()
        return actor

    @property
    def state(self) -> State:
        return self.actor._state

    def publish(self, batch: Sequence[Published]) -> None:
        """Whatever is committed is told in order and once; an actor that ends may leave a gap."""
        first = batch[0].cursor
        assert first == self.told + 1 or (self.gap_allowed and first > self.told)
        assert [each.cursor for each in batch] == list(range(first, first + len(batch)))
        self.told, self.gap_allowed = batch[-1].cursor, False

    def hear(self) -> None:
        """Let the oracle have what has become durable."""
        for event in self.log(after=self.oracle.cursor):
            self.oracle.hear(event)
            if isinstance(event.data, events.ReservationQueued):
                self.tickets.append((event.data.ticket_id, event.data.agent_id))

    def log(self, *, after: int = 0) -> list[events.Event]:
        rows = self.base.connection.execute(
            "SELECT cursor, type, actor, data, at_us FROM events WHERE cursor > ? ORDER BY cursor",
            (after,),
        )
        return [decode_event(row) for row in rows]

    def ask(self, command: Command, who: Caller | None = None, key: str | None = None) -> Ask:
        idempotency = None if key is None else idem(key)
        return Ask(command, self.clock.stamp(), who or Caller(), idempotency)

    def tell(self, asks: Sequence[Ask]) -> list[Any]:
        slips = [Slip() for _ in asks]
        batch: Any = [Envelope(one, slip) for one, slip in zip(asks, slips, strict=True)]
        try:
            run_now(self.actor.handle(batch))
        except Bug:
            # It met what belongs to no command, and ended the actor; the next one takes over.
            self.writer.rollback()
            self.writer.fail_at = None
            self.gap_allowed = True
            self.actor = self.start()
        self.hear()
        return [slip.answer for slip in slips]

    # What happens

    def live(self) -> None:
        for _ in range(self.dice.randrange(3, 10)):
            self.clock.later(self.dice.choice(PASSAGES_S) if self.dice.random() < 0.4 else 0)
            if self.dice.random() < 0.05:
                self.restart()
            asks = [self.next_ask() for _ in range(self.dice.choice((1, 1, 1, 2, 3)))]
            self.dice.shuffle(asks)
            self.befall()
            told = self.tell(asks)
            self.writer.fail_at = self.writer.lose_commit = None
            self.judge(asks, told)
            self.oracle.assert_settled()
            self.assert_short_grants()

    def befall(self) -> None:
        """Now and then something goes wrong in the next batch."""
        if self.dice.random() < 0.12:
            error = self.dice.choice((Bug, apsw.IOError))
            self.writer.fail_at = (self.dice.randrange(3), error)
        elif self.dice.random() < 0.05:
            self.writer.lose_commit = self.dice.choice(("before", "after"))

    def restart(self) -> None:
        """Another process, whose monotonic clock begins anew and whose wall clock may jump."""
        self.clock.later(self.dice.choice(PASSAGES_S), wall_s=self.dice.choice(JUMPS_S))
        self.clock.restart()
        self.gap_allowed = True
        self.actor = self.start()
        self.oracle.assert_settled()

    def next_ask(self) -> Ask:
        if self.keyed and self.dice.random() < 0.1:
            again = self.dice.choice(self.keyed)
            return replace(again, stamp=self.clock.stamp())
        who = Caller(operator=True) if self.dice.random() < 0.5 else None
        key = None
        if self.dice.random() < 0.25:
            self.keys += 1
            key = f"k{self.keys}"
        ask = self.ask(self.command(), who, key)
        if key is not None and ask.command.changes:
            self.keyed.append(ask)
            return ask
        return replace(ask, idempotency=None)

    def command(self) -> Command:
        kind = self.dice.choices(
            (self.queue, self.reserve, self.confirm, self.release, self.lesser), (6, 3, 4, 3, 5)
        )[0]
        return kind()

    def wish(self) -> dict[str, Any]:
        return {
            "agent_id": self.dice.choice(self.base.agents),
            "patterns": tuple(self.dice.sample(WANTED, self.dice.choice((1, 1, 2)))),
            "mode": self.dice.choice(MODES),
            "ttl_ms": self.dice.choice(LENGTHS_MS),
            "renew_on_heartbeat": self.dice.random() < 0.3,
        }

    def queue(self) -> Command:
        return commands.QueuePaths(
            **self.wish(),
            wait_ms=self.dice.choice((20_000, 200_000, 2_000_000)),
            held_open=self.dice.random() < 0.3,
            call=self.dice.randrange(3),
        )

    def reserve(self) -> Command:
        return commands.ReservePaths(**self.wish())

    def confirm(self) -> Command:
        ticket_id, agent_id = self.ticket()
        return commands.ConfirmGrant(ticket_id, agent_id, self.dice.random() < 0.5)

    def release(self) -> Command:
        key, agent_id, token = self.holding()
        return commands.ReleaseReservation(key, agent_id, token)

    def lesser(self) -> Command:
        return self.dice.choice(
            (self.renew, self.renew, self.hand_over, self.hand_over, self.narrow, self.rare)
        )()

    def renew(self) -> Command:
        key, agent_id, token = self.holding(held=self.dice.random() < 0.4)
        return commands.RenewReservation(key, agent_id, None, token)

    def narrow(self) -> Command:
        key, agent_id, token = self.holding()
        own = self.oracle.held[key].patterns if key in self.oracle.held else ()
        some = tuple(self.dice.sample((*own, *own, *PATTERNS), self.dice.choice((1, 1, 2))))
        return commands.NarrowReservation(key, tuple(dict.fromkeys(some)), agent_id, token)

    def hand_over(self) -> Command:
        """Mostly to somebody who waits for just that, and seldom to the first in line."""
        pairs = [
            (claim, ticket)
            for ticket in self.oracle.line.values()
            for claim in self.oracle.held.values()
            if claim.stops(ticket)
        ]
        if not pairs:
            return commands.HandOver("none", self.base.agents[0], self.base.agents[0])
        claim, ticket = self.dice.choice(pairs)
        return commands.HandOver(claim.key, ticket.agent_id, claim.agent_id)

    def rare(self) -> Command:
        key, agent_id, token = self.holding()
        ticket_id, waiter = self.ticket()
        other = self.dice.choice(self.base.agents)
        some = tuple(self.dice.sample(PATTERNS, 2))
        return self.dice.choice(
            (
                commands.CancelTicket(ticket_id, waiter),
                commands.HangUp(ticket_id, self.dice.randrange(3)),
                commands.ForceRelease(key, "by order of a test"),
                commands.Heartbeat(other),
                commands.CheckPaths(some, agent_id=agent_id, fencing_token=token),
                commands.CheckFence(self.holding(held=False)[2] or 1),
                commands.RetireAgent(other),
                commands.ExpireLeases(),
            )
        )

    def holding(self, *, held: bool = True) -> tuple[str, str, int | None]:
        """Something that was granted and is held, or may have ended; with its token or not."""
        known = list(self.oracle.held.values() if held else self.oracle.grants)
        if not known:
            return "none", self.base.agents[0], None
        claim = self.dice.choice(known)
        return claim.key, claim.agent_id, claim.cursor if self.dice.random() < 0.5 else None

    def ticket(self) -> tuple[str, str]:
        waiting = [c.ticket_id for c in self.oracle.held.values() if c.ticket_id is not None]
        if waiting and self.dice.random() < 0.7:
            chosen = self.dice.choice(waiting)
            return next(pair for pair in self.tickets if pair[0] == chosen)
        return self.dice.choice(self.tickets) if self.tickets else ("none", self.base.agents[0])

    # What has to hold

    def judge(self, asks: Sequence[Ask], told: Sequence[Any]) -> None:
        """A request that is asked again has its first answer, and fences are as the log says."""
        for ask, one in zip(asks, told, strict=True):
            if not isinstance(one, Told):
                assert one is None or isinstance(one, StorageUnavailable | CommandFailed)
                continue
            if not isinstance(one.decision, Accepted):
                continue
            if ask.idempotency is not None:
                first = self.answers.setdefault(ask.idempotency.key, one.decision.answer)
                assert one.decision.answer == first, "the same request has one answer"
        if len(asks) == 1 and isinstance(asks[0].command, commands.CheckFence):
            self.judge_fence(told[0])

    def judge_fence(self, told: Any) -> None:
        if not isinstance(told, Told) or not isinstance(told.decision, Accepted):
            return
        fence = told.decision.answer
        held = fence.reservation_id in self.oracle.held
        superseder = None if held else self.oracle.superseded(fence.fencing_token)
        by = fence.superseded_by
        assert (None if by is None else by.fencing_token) == superseder
        assert fence.newest is (superseder is None)
        assert (fence.status == "current") is held

    def assert_short_grants(self) -> None:
        latest_us = self.state.mono_us + limits.CONFIRM_MS * 1000
        for reservation in self.state.holdings.by_id.values():
            assert reservation.ticket_id is None or reservation.deadline_us <= latest_us

    def end(self, *, thorough: bool) -> None:
        """Nobody does anything any more; whatever waits or is held comes to an end."""
        if thorough or self.dice.random() < 0.1:
            self.assert_memory_is_the_file()
        for _ in range(20):
            self.clock.later(limits.TTL_MAX_MS / 1000)
            self.tell([self.ask(commands.ExpireLeases())])
            self.oracle.assert_settled()
            if not self.oracle.line and not self.oracle.held:
                break
        self.oracle.assert_all_ended()
        assert {ticket_id for ticket_id, _ in self.tickets} == self.oracle.ends.keys()
        log = self.log()
        assert len(log) == self.told or self.gap_allowed
        if thorough:
            self.assert_tables_are_the_log(log)

    def assert_memory_is_the_file(self) -> None:
        loaded = State(tag=TAG, project=PROJECT, at_us=self.state.at_us, mono_us=self.state.mono_us)
        self.writer.load(loaded)
        assert facts(loaded) == facts(self.state)

    def assert_tables_are_the_log(self, log: Sequence[events.Event]) -> None:
        names = ("reservations", "tickets", "agents")
        connection = self.base.connection
        before = {name: sorted(connection.execute(f"SELECT * FROM {name}")) for name in names}
        connection.execute("SAVEPOINT rebuild")
        for name in names:
            connection.execute(f"DELETE FROM {name}")
        for event in log:
            projections.apply(connection, event)
        after = {name: sorted(connection.execute(f"SELECT * FROM {name}")) for name in names}
        connection.execute("ROLLBACK TO rebuild")
        connection.execute("RELEASE rebuild")
        assert after == before
