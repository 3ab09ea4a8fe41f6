"""The line against the oracle of the log: any commands, clocks, failing commits and restarts."""

import logging
from contextlib import ExitStack
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from intermute.domain import commands, limits
from intermute.domain.events import ReservationGranted, ReservationSkipped
from intermute.domain.modes import Mode
from intermute.domain.refusals import Code, Refusal
from intermute.domain.views import QueuedView
from intermute.project.messages import StorageUnavailable

from ..effort import effort
from ..faults.disk import faulty_disk
from ..project.harness import Desk, assert_consistent, log_of, quick_folder
from .oracle import Claim, Oracle
from .paths import PATTERNS

AGENTS = 4
DAY_S = 86_400
CONFIRM_S = limits.CONFIRM_MS // 1000
GRACE_S = limits.HEARTBEAT_GRACE_MS // 1000

places = st.integers(0, AGENTS - 1)
numbers = st.integers(0, 30)
some_patterns = st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2, unique=True).map(tuple)
modes = st.sampled_from((Mode.EXCLUSIVE, Mode.EXCLUSIVE, *Mode))
lengths = st.sampled_from((10_000, 60_000, 900_000))
waits = st.sampled_from((20_000, 200_000, 2_000_000))
passages = st.sampled_from((0, 1, CONFIRM_S - 1, CONFIRM_S, 61, GRACE_S - 1, GRACE_S, 1_000))
jumps = st.sampled_from((0, 0, 0, -DAY_S, -100, 100, DAY_S))
MISSING = "none"
again = st.sampled_from(("call", "call", "queue", "reserve", "granted"))


class WaitingMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        logging.disable(logging.CRITICAL)
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(quick_folder()))
        self.disk = self.stack.enter_context(faulty_disk())
        self.desk = Desk(folder / "x.sqlite3")
        self.scratch = folder / "scratch.sqlite3"
        self.oracle = Oracle()
        self.tickets = []
        self.seen_us = {}
        # Open calls, and who waits by which; what was ever asked for without one; tickets' grants.
        self.calls_len = 0
        self.calls = {}
        self.for_good = set()
        self.grants = {}

    @initialize()
    def agents_register(self):
        self.agents = [self.desk.register(f"agent{place}") for place in range(AGENTS)]
        self.desk.actor._on_line = self.is_on_line
        self.hear()

    def is_on_line(self, ticket_id):
        return ticket_id in {ticket_id for ticket_id, _ in self.calls.values()}

    # What was asked, and what came of it

    def one(self, command):
        agent_id = getattr(command, "agent_id", None)
        before_us = self.seen_us.get(agent_id, self.desk.clock.mono_us)
        answer = self.desk.one(command)
        heard = self.hear()
        if agent_id is not None and not isinstance(answer, Refusal):
            self.seen_us[agent_id] = self.desk.clock.mono_us
        self.judge_signs_of_life(heard, {agent_id: before_us})
        return answer

    def hear(self):
        heard = [event.data for event in log_of(self.desk.path)[self.oracle.cursor :]]
        for event in log_of(self.desk.path)[self.oracle.cursor :]:
            self.oracle.hear(event)
            if isinstance(event.data, ReservationGranted):
                self.grants[event.data.ticket_id] = event.data.reservation_id
                if event.data.ticket_id in self.for_good:
                    self.for_good.add(event.data.reservation_id)
        return heard

    def judge_signs_of_life(self, heard, before):
        """Nobody is skipped as gone who has shown itself within the grace."""
        for data in heard:
            if isinstance(data, ReservationSkipped) and data.cause == "gone":
                last_us = before.get(data.agent_id, self.seen_us.get(data.agent_id, 0))
                assert self.desk.clock.mono_us - last_us >= (GRACE_S - 10) * 1_000_000

    def holding(self, number):
        known = list(self.oracle.held.values()) or self.oracle.grants
        if not known:
            return Claim(MISSING, self.agents[0], ("a",), Mode.SHARED, 1)
        return known[number % len(known)]

    def ticket(self, number):
        known = [c for c in self.oracle.held.values() if c.ticket_id is not None]
        if known and number % 3:
            claim = known[number % len(known)]
            return claim.ticket_id, claim.agent_id
        return self.tickets[number % len(self.tickets)] if self.tickets else (MISSING, "nobody")

    def judge_refusal(self, refusal, wanted):
        """Whoever is refused is told just those who are in the way."""
        if refusal.code is Code.RESERVATION_CONFLICT:
            found = {other.key for other in self.oracle.in_the_way(wanted, limits.CURSOR_MAX)}
            assert {one.reservation_id for one in refusal.data["conflicts"]} == found
            assert found

    # Commands

    @rule(place=places, patterns=some_patterns, mode=modes, ttl_ms=lengths)
    def reserve(self, place, patterns, mode, ttl_ms):
        agent_id = self.agents[place]
        answer = self.one(commands.ReservePaths(agent_id, patterns, mode, ttl_ms=ttl_ms))
        if isinstance(answer, Refusal):
            self.judge_refusal(answer, Claim("", agent_id, patterns, mode, 0))
        else:
            self.for_good.add(answer.reservation_id)

    @rule(
        place=places,
        patterns=some_patterns,
        mode=modes,
        ttl_ms=lengths,
        wait_ms=waits,
        held_open=st.booleans(),
    )
    def queue(self, place, patterns, mode, ttl_ms, wait_ms, held_open):
        agent_id = self.agents[place]
        self.calls_len += 1
        answer = self.one(
            commands.QueuePaths(
                agent_id,
                patterns,
                mode,
                ttl_ms=ttl_ms,
                wait_ms=wait_ms,
                held_open=held_open,
                call=self.calls_len if held_open else None,
            )
        )
        if isinstance(answer, Refusal):
            assert answer.code in (Code.DEADLOCK, Code.LIMIT_REACHED, Code.AGENT_NOT_FOUND)
            return
        assert isinstance(answer, QueuedView)
        if answer.ticket is None:
            self.for_good.add(answer.reservation.reservation_id)
        elif held_open:
            self.calls[self.calls_len] = answer.ticket.ticket_id, agent_id
        else:
            self.for_good.add(answer.ticket.ticket_id)
        if answer.ticket is not None:
            self.tickets.append((answer.ticket.ticket_id, agent_id))
            ticket = self.oracle.line[answer.ticket.ticket_id]
            found = {one.key for one in self.oracle.in_the_way(ticket, ticket.cursor)}
            assert {one.reservation_id for one in answer.ticket.blocked_by} == found
            ahead = found & self.oracle.line.keys()
            assert answer.ticket.position == len(ahead) + 1

    @rule(number=numbers, for_call=st.booleans())
    def confirm(self, number, for_call):
        ticket_id, agent_id = self.ticket(number)
        granted = {claim.ticket_id for claim in self.oracle.held.values()}
        answer = self.one(commands.ConfirmGrant(ticket_id, agent_id, for_call))
        if not isinstance(answer, Refusal) and not for_call:
            self.for_good.add(answer.reservation_id)
        if ticket_id in granted and not isinstance(answer, Refusal):
            assert self.oracle.ends[ticket_id] == "confirmed"

    @rule(number=numbers)
    def cancel(self, number):
        self.one(commands.CancelTicket(*self.ticket(number)))

    @rule(place=places, pattern=st.sampled_from(PATTERNS), how=again)
    def a_call_waits(self, place, pattern, how):
        """Behind somebody who holds the same, who then may let go; and it is asked for again."""
        self.reserve(place, (pattern,), Mode.EXCLUSIVE, 900_000)
        held = [claim for claim in self.oracle.held.values() if claim.patterns == (pattern,)]
        self.queue((place + 1) % AGENTS, (pattern,), Mode.EXCLUSIVE, 60_000, 200_000, True)
        for claim in held if how == "granted" else ():
            self.one(commands.ReleaseReservation(claim.key, claim.agent_id))
        if self.calls:
            self.ask_again(len(self.calls) - 1, how)

    @precondition(lambda self: self.calls)
    @rule(number=numbers, how=again)
    def ask_again(self, number, how):
        ticket_id, agent_id = list(self.calls.values())[number % len(self.calls)]
        claims = {**self.oracle.held, **self.oracle.line}
        claim = claims.get(self.grants.get(ticket_id, ticket_id))
        if claim is None:
            return
        place = self.agents.index(agent_id)
        if how in ("granted", "reserve"):
            self.reserve(place, claim.patterns, claim.mode, 10_000)
        else:
            self.queue(place, claim.patterns, claim.mode, 60_000, 200_000, how == "call")

    @precondition(lambda self: self.calls)
    @rule(number=numbers)
    def hang_up(self, number):
        """What nobody else has asked for is given up, and nothing else is."""
        call = list(self.calls)[number % len(self.calls)]
        ticket_id, _ = self.calls.pop(call)
        claim_id = self.grants.get(ticket_id, ticket_id)
        held, known = set(self.oracle.held), {*self.oracle.held, *self.oracle.line}
        self.one(commands.HangUp(ticket_id, call))
        stays = claim_id in self.for_good or self.is_on_line(ticket_id)
        left = {*self.oracle.held, *self.oracle.line}
        assert (claim_id in left) is (stays and claim_id in known)
        assert held - {claim_id} <= left

    @rule(number=numbers)
    def release(self, number):
        claim = self.holding(number)
        self.one(commands.ReleaseReservation(claim.key, claim.agent_id))
        assert claim.key not in self.oracle.held

    @rule(number=numbers)
    def renew(self, number):
        grants = self.oracle.grants
        claim = grants[number % len(grants)] if grants else self.holding(number)
        answer = self.one(commands.RenewReservation(claim.key, claim.agent_id))
        assert isinstance(answer, Refusal) is (claim.key not in self.oracle.held)
        if not isinstance(answer, Refusal):
            self.for_good.add(answer.reservation_id)
            assert answer.cursor == claim.cursor, "a renewal keeps its token"

    @rule(number=numbers, patterns=some_patterns, own=st.booleans())
    def narrow(self, number, patterns, own):
        claim = self.holding(number)
        kept = (claim.patterns[number % len(claim.patterns)],) if own else patterns
        answer = self.one(commands.NarrowReservation(claim.key, kept, claim.agent_id))
        if not isinstance(answer, Refusal):
            self.for_good.add(answer.reservation_id)

    @rule(number=numbers)
    def hand_over(self, number):
        pairs = [
            (claim, ticket)
            for ticket in self.oracle.line.values()
            for claim in self.oracle.held.values()
            if claim.stops(ticket)
        ]
        if pairs:
            claim, ticket = pairs[number % len(pairs)]
            answer = self.one(commands.HandOver(claim.key, ticket.agent_id, claim.agent_id))
            assert isinstance(answer, Refusal) or claim.key not in self.oracle.held

    @rule(place=places)
    def heartbeat(self, place):
        self.one(commands.Heartbeat(self.agents[place]))

    @rule(number=numbers)
    def look_at_a_fence(self, number):
        if not self.oracle.grants:
            return
        grant = self.oracle.grants[number % len(self.oracle.grants)]
        found = self.one(commands.CheckFence(grant.cursor))
        held = grant.key in self.oracle.held
        expected = None if held else self.oracle.superseded(grant.cursor)
        by = found.superseded_by
        assert (None if by is None else by.fencing_token) == expected
        assert found.newest is (expected is None)

    # Time and trouble

    @rule(s=passages, wall_s=jumps)
    def time_passes(self, s, wall_s):
        self.desk.clock.later(s, wall_s=wall_s)
        self.one(commands.ExpireLeases())

    @precondition(lambda self: self.oracle.held)
    @rule(number=numbers)
    def a_commit_fails(self, number):
        """Nobody is told of anything, nothing has happened, and nobody who waits is forgotten."""
        claim = self.holding(number)
        self.disk.arm(1, only=("sync",))
        release = commands.ReleaseReservation(claim.key, claim.agent_id)
        told = self.desk.tell(release, commands.CheckPaths(("**",)))
        self.disk.disarm()
        assert all(isinstance(one, StorageUnavailable) for one in told)
        self.desk.breaker.succeeded()
        assert self.hear() == []

    @rule(s=passages, wall_s=jumps)
    def restart(self, s, wall_s):
        self.desk.close()
        self.desk.clock.later(s, wall_s=wall_s)
        self.desk.clock.restart()
        self.desk.open()
        self.desk.actor._on_line = self.is_on_line
        self.calls.clear()
        self.for_good.update(self.desk.state.holdings.by_id)
        self.hear()
        # Silence is judged by the wall clock now, which may have jumped.
        self.seen_us = dict.fromkeys(self.agents, -(10**18))

    # What always holds; that two never hold the same, that nobody is overtaken, and that fences
    # only grow, the oracle has asserted event by event.

    @invariant()
    def whoever_can_go_on_has_gone_on(self):
        self.oracle.assert_settled()
        assert not self.oracle.conflicting_pairs()

    @invariant()
    def the_actor_knows_what_the_log_says(self):
        state = self.desk.state
        assert state.freed == []
        assert list(state.line.by_id) == list(self.oracle.line)
        assert state.holdings.by_id.keys() == self.oracle.held.keys()
        for key, claim in self.oracle.held.items():
            held = state.holdings.by_id[key]
            assert (held.patterns, held.ticket_id) == (claim.patterns, claim.ticket_id)
            assert held.cursor == claim.cursor

    def teardown(self):
        try:
            if hasattr(self, "agents"):
                self.everything_ends()
            self.desk.close()
        finally:
            self.stack.close()
            logging.disable(logging.NOTSET)

    def everything_ends(self):
        assert_consistent(self.desk.path, self.scratch, self.desk.state)
        for _ in range(20):
            self.desk.clock.later(limits.TTL_MAX_MS / 1000)
            self.one(commands.ExpireLeases())
            if not self.oracle.line and not self.oracle.held:
                break
        self.oracle.assert_all_ended()
        assert {ticket_id for ticket_id, _ in self.tickets} <= self.oracle.ends.keys()
        granted = [e.data for e in log_of(self.desk.path) if isinstance(e.data, ReservationGranted)]
        assert len({data.ticket_id for data in granted}) == len(granted), "served once"
        assert_consistent(self.desk.path, self.scratch, self.desk.state)


WaitingMachine.TestCase.settings = settings(
    deadline=None,
    max_examples=effort(30, 1_000),
    stateful_step_count=40,
    derandomize=True,
    database=None,
)
TestWaiting = WaitingMachine.TestCase
