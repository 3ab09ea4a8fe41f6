"""Reservations against a dictionary: jumping clocks, restarts and failing commits in between."""

import logging
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from intermute.domain.events import ReservationCreated, ReservationReleased
from intermute.domain.modes import Mode
from intermute.domain.refusals import Refusal
from intermute.globs import overlap, parse
from intermute.project.messages import StorageUnavailable

from ..effort import effort
from ..faults.disk import faulty_disk
from ..project.harness import (
    GRACE_S,
    Desk,
    S,
    assert_consistent,
    check,
    has_event,
    log_of,
    quick_folder,
    release,
    renew,
    reserve,
)
from .paths import PATTERNS, meet

AGENTS = ("alice", "bob", "carol")
GRACE_US = GRACE_S * S
DAY_S = 86_400

agents = st.sampled_from(AGENTS)
some_patterns = st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2, unique=True)
lengths = st.sampled_from((1, 30, 299, 300, 301, 900))
passages = st.sampled_from((0, 1, 29, 30, 150, 299, 300, 301, 600, 1_000))
jumps = st.sampled_from((0, 0, 0, -DAY_S, -100, 100, DAY_S))


def test_the_world_is_rich_enough_to_show_every_overlap():
    for one in PATTERNS:
        for other in PATTERNS:
            assert meet([one], [other]) is overlap(parse(one), parse(other)), (one, other)


@attrs.define
class Lease:
    """What the model knows of a reservation; times are microseconds."""

    agent_id: str
    patterns: tuple[str, ...]
    exclusive: bool
    ttl_us: int
    deadline_us: int
    expires_at_us: int

    @property
    def mode(self) -> Mode:
        return Mode.EXCLUSIVE if self.exclusive else Mode.SHARED

    def is_for(self, agent_id: str, patterns: list[str], exclusive: bool) -> bool:
        claim = (self.agent_id, sorted(self.patterns), self.exclusive)
        return claim == (agent_id, sorted(patterns), exclusive)

    def stops(self, other: "Lease") -> bool:
        differ = self.agent_id != other.agent_id and (self.exclusive or other.exclusive)
        return differ and meet(self.patterns, other.patterns)


class ReservationMachine(RuleBasedStateMachine):
    known = Bundle("known")

    def __init__(self):
        super().__init__()
        logging.disable(logging.CRITICAL)
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(quick_folder()))
        self.disk = self.stack.enter_context(faulty_disk())
        self.desk = Desk(folder / "x.sqlite3")
        self.scratch = folder / "scratch.sqlite3"
        self.held: dict[str, Lease] = {}
        self.lapsed: dict[str, Lease] = {}
        self.granted: list[str] = []
        self.released: list[str] = []

    # What the model does

    def settle(self):
        """What is due lapses with the next command, and is remembered."""
        now_us = self.desk.clock.mono_us
        for reservation_id, lease in list(self.held.items()):
            if lease.deadline_us <= now_us:
                self.lapsed[reservation_id] = self.held.pop(reservation_id)

    def grant(self, reservation_id, lease):
        self.held[reservation_id] = lease
        for other_id, other in list(self.lapsed.items()):
            if other.stops(lease):
                del self.lapsed[other_id]

    def hold_on(self, lease, ttl_us, expires_at_us):
        deadline_us = self.desk.clock.mono_us + ttl_us
        if deadline_us > lease.deadline_us:
            lease.ttl_us, lease.deadline_us, lease.expires_at_us = (
                ttl_us,
                deadline_us,
                expires_at_us,
            )

    def lease(self, agent_id, patterns, exclusive, ttl_us, at_us):
        deadline_us = self.desk.clock.mono_us + ttl_us
        return Lease(agent_id, tuple(patterns), exclusive, ttl_us, deadline_us, at_us + ttl_us)

    def in_the_way(self, wanted):
        return {key for key, lease in self.held.items() if lease.stops(wanted)}

    # What happens

    @rule(target=known, agent_id=agents, patterns=some_patterns, exclusive=st.booleans(), s=lengths)
    def reserve(self, agent_id, patterns, exclusive, s):
        self.settle()
        answer = self.desk.one(reserve(agent_id, *patterns, exclusive=exclusive, ttl_s=s))
        same = [
            key for key, lease in self.held.items() if lease.is_for(agent_id, patterns, exclusive)
        ]
        if same:
            assert answer.reservation_id in same, "asking again is a renewal"
            self.hold_on(self.held[answer.reservation_id], s * S, answer.expires_at_us)
            return multiple()
        wanted = self.lease(agent_id, patterns, exclusive, s * S, 0)
        expected = self.in_the_way(wanted)
        if expected:
            assert isinstance(answer, Refusal)
            assert {c.reservation_id for c in answer.data["conflicts"]} == expected
            return multiple()
        wanted.expires_at_us = answer.expires_at_us
        self.grant(answer.reservation_id, wanted)
        self.granted.append(answer.reservation_id)
        return answer.reservation_id

    @rule(patterns=some_patterns, exclusive=st.booleans(), agent_id=st.none() | agents)
    def check(self, patterns, exclusive, agent_id):
        self.settle()
        answer = self.desk.one(check(*patterns, agent_id=agent_id, exclusive=exclusive))
        wanted = self.lease(agent_id, patterns, exclusive, 0, 0)
        assert {c.reservation_id for c in answer.conflicts} == self.in_the_way(wanted)

    @rule(reservation_id=known, stranger=st.booleans())
    def renew(self, reservation_id, stranger):
        self.settle()
        lease = self.held.get(reservation_id) or self.lapsed.get(reservation_id)
        agent_id = "nobody" if stranger or lease is None else lease.agent_id
        answer = self.desk.one(renew(reservation_id, agent_id))
        now_us = self.desk.clock.mono_us
        allowed = lease is not None and not stranger and now_us < lease.deadline_us + GRACE_US
        assert isinstance(answer, Refusal) is not allowed
        if allowed:
            lease = self.lapsed.pop(reservation_id, None) or lease
            lease.deadline_us = now_us + lease.ttl_us
            lease.expires_at_us = answer.expires_at_us
            self.grant(reservation_id, lease)

    @rule(reservation_id=consumes(known))
    def release(self, reservation_id):
        self.settle()
        lease = self.held.get(reservation_id)
        agent_id = lease.agent_id if lease is not None else "nobody"
        answer = self.desk.one(release(reservation_id, agent_id))
        assert isinstance(answer, Refusal) is (lease is None)
        if lease is not None:
            del self.held[reservation_id]
            self.released.append(reservation_id)

    @rule(s=passages, wall_s=jumps)
    def time_passes(self, s, wall_s):
        self.desk.clock.later(s, wall_s=wall_s)

    @rule(reservation_id=known, renews=st.booleans())
    def a_commit_fails(self, reservation_id, renews):
        """Nobody is told yes, and nothing has happened; not even to the deadlines."""
        lease = self.held.get(reservation_id)
        if lease is None or lease.deadline_us <= self.desk.clock.mono_us:
            return
        command = renew if renews else release
        self.disk.arm(1, only=("sync",))
        told = self.desk.tell(command(reservation_id, lease.agent_id), check("**"))
        self.disk.disarm()
        assert all(isinstance(one, StorageUnavailable) for one in told)
        self.desk.breaker.succeeded()

    @rule(s=passages, wall_s=jumps)
    def restart(self, s, wall_s):
        last_us = max((event.at_us for event in log_of(self.desk.path)), default=0)
        self.desk.close()
        self.desk.clock.later(s, wall_s=wall_s)
        self.desk.clock.restart()
        at_us, mono_us = max(self.desk.clock.at_us, last_us), self.desk.clock.mono_us
        self.desk.open()
        self.lapsed.clear()
        for reservation_id, lease in list(self.held.items()):
            left_us = lease.expires_at_us - at_us
            if left_us < -GRACE_US:
                del self.held[reservation_id]
            elif left_us < GRACE_US:
                lease.expires_at_us = at_us + GRACE_US
                lease.deadline_us = mono_us + GRACE_US
            else:
                lease.deadline_us = mono_us + min(left_us, max(lease.ttl_us, GRACE_US))

    # What always holds

    @invariant()
    def nobody_holds_what_somebody_else_holds(self):
        now_us = self.desk.clock.mono_us
        held = [
            Lease(r.agent_id, r.patterns, r.mode is Mode.EXCLUSIVE, 0, r.deadline_us, 0)
            for r in self.desk.state.holdings.by_id.values()
            if r.deadline_us > now_us
        ]
        for one, other in combinations(held, 2):
            assert not one.stops(other), (one, other)

    @invariant()
    def the_actor_holds_what_the_model_holds(self):
        """Leases that are due are gone for whoever asks next, though not yet from the state."""
        now_us = self.desk.clock.mono_us

        def standing(leases):
            return {
                key: (lease.agent_id, lease.patterns, lease.mode, lease.deadline_us)
                for key, lease in leases.items()
                if lease.deadline_us > now_us
            }

        assert standing(self.desk.state.holdings.by_id) == standing(self.held)

    def teardown(self):
        try:
            assert_consistent(self.desk.path, self.scratch, self.desk.state)
            for reservation_id in self.granted:
                assert has_event(self.desk.path, ReservationCreated, reservation_id)
            for reservation_id in self.released:
                assert has_event(self.desk.path, ReservationReleased, reservation_id)
            self.desk.close()
        finally:
            self.stack.close()
            logging.disable(logging.NOTSET)


ReservationMachine.TestCase.settings = settings(
    deadline=None,
    max_examples=effort(40, 1_500),
    stateful_step_count=40,
    derandomize=True,
    database=None,
)
TestReservations = ReservationMachine.TestCase
