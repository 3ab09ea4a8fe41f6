"""What a restart, a reload and a jumping clock do to leases and to the order of decisions."""

import pytest

from intermute.domain.commands import (
    ConfigureProject,
    ExpireLeases,
    Heartbeat,
    QueuePaths,
    RegisterAgent,
    RetireAgent,
)
from intermute.domain.events import (
    ReservationExpired,
    ReservationGranted,
    ReservationRenewed,
)
from intermute.project.messages import StorageUnavailable, Told

from ..faults.disk import faulty_disk
from .harness import (
    GRACE_S,
    TTL_S,
    Desk,
    S,
    assert_consistent,
    check,
    facts,
    has_event,
    outcome,
    refused,
    release,
    renew,
    reserve,
)

DAY_S = 86_400


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path / "x.sqlite3")
    yield desk
    desk.close()


def down_for(desk, s, *, wall_s=0):
    """The server is stopped, and started again after a while."""
    desk.close()
    desk.clock.later(s, wall_s=wall_s)
    desk.clock.restart()
    desk.open()


def lease(desk, agent_id="alice", pattern="src", ttl_s=TTL_S):
    return desk.one(reserve(agent_id, pattern, ttl_s=ttl_s)).reservation_id


def left_s(desk, reservation_id):
    """Seconds until the lease lapses, on the clock that counts."""
    deadline_us = desk.state.holdings.by_id[reservation_id].deadline_us
    return (deadline_us - desk.clock.mono_us) / S


# -- Order


def test_the_epoch_rises_with_each_opening(desk):
    epochs = [desk.tell(check("x"))[0].epoch]
    for _ in range(3):
        desk.reopen()
        epochs.append(desk.tell(check("x"))[0].epoch)
    assert epochs == [1, 2, 3, 4]


def test_the_seq_rises_with_every_decision(desk):
    told = desk.tell(reserve("a", "x"), reserve("b", "x"), check("x"), Heartbeat("ghost"))
    told += desk.tell(check("x"))
    told += desk.tell(reserve("b", "y"), check("y"))
    seqs = [one.seq for one in told]
    assert seqs == list(range(seqs[0], seqs[0] + 7)), "refusals and checks are decisions too"
    assert {one.epoch for one in told} == {1}


def test_the_seq_rises_over_a_failed_commit(tmp_path):
    """An answer after the fault must not stand where one before it stood."""
    with faulty_disk() as disk:
        desk = Desk(tmp_path / "x.sqlite3")
        before = desk.tell(reserve("a", "x"))[0].seq
        disk.arm(1, only=("sync",))
        desk.tell(reserve("a", "y"))
        disk.disarm()
        after = desk.tell(reserve("a", "z"))[0].seq
        desk.close()
    assert after > before


def test_a_state_is_the_same_after_a_restart(desk, tmp_path):
    alice = desk.register("alice", metadata={"k": "v"}, capabilities=("py",))
    desk.register("bob")
    lease(desk, alice)
    lease(desk, "ghost", "lib")
    desk.one(Heartbeat(alice, "thinking"))
    before = facts(desk.state)
    tokens = {key: agent.token_hash for key, agent in desk.state.agents.items()}
    desk.reopen()
    assert facts(desk.state) == before
    assert {key: agent.token_hash for key, agent in desk.state.agents.items()} == tokens
    assert desk.state.agents[alice].focus_state == "thinking"
    assert_consistent(desk.path, tmp_path / "scratch.sqlite3", desk.state)


# -- The grace after a restart


@pytest.mark.parametrize(
    ("down_s", "left"),
    [
        (0, TTL_S),
        (TTL_S - GRACE_S, GRACE_S),
        (TTL_S - GRACE_S + 1, GRACE_S),
        (TTL_S - 1, GRACE_S),
        (TTL_S, GRACE_S),
        (TTL_S + 1, GRACE_S),
        (TTL_S + GRACE_S, GRACE_S),
        (TTL_S + GRACE_S + 1, None),
        (DAY_S, None),
    ],
)
def test_after_a_restart_a_holder_has_time_to_renew(desk, tmp_path, down_s, left):
    """design.md, section 5: at least the heartbeat grace is left, for whoever could not renew
    while nobody was there to ask."""
    held = lease(desk)
    down_for(desk, down_s)
    if left is None:
        assert held not in desk.state.holdings.by_id
        assert has_event(desk.path, ReservationExpired, held)
    else:
        assert left_s(desk, held) == left
        assert not has_event(desk.path, ReservationExpired, held)
        assert has_event(desk.path, ReservationRenewed, held) is (down_s > TTL_S - GRACE_S)
        assert refused(desk.one(reserve("bob", "src"))) == "reservation_conflict"
        desk.clock.later(left)
        assert desk.one(reserve("bob", "src")).agent_id == "bob", "and not for ever"
    assert_consistent(desk.path, tmp_path / "scratch.sqlite3", desk.state)


def test_the_grace_does_not_grow_with_restarts(desk):
    """A server that restarts every minute keeps nothing for ever that its holder does not renew...
    but each restart gives the grace anew, up to the wall clock's judgement."""
    held = lease(desk)
    down_for(desk, TTL_S - 60)
    assert left_s(desk, held) == GRACE_S
    down_for(desk, GRACE_S + GRACE_S + 1)
    assert held not in desk.state.holdings.by_id


def test_a_restart_extends_but_a_renewal_has_the_old_length(desk):
    held = lease(desk)
    down_for(desk, TTL_S - 10)
    assert desk.one(renew(held, "alice")).ttl_ms == TTL_S * 1000
    assert left_s(desk, held) == TTL_S


def test_two_leases_found_at_a_restart_do_not_conflict(desk):
    first, second = lease(desk, "alice", "src"), lease(desk, "bob", "lib")
    down_for(desk, TTL_S - 1)
    assert set(desk.state.holdings.by_id) == {first, second}
    assert refused(desk.one(reserve("carol", "**"))) == "reservation_conflict"


def test_what_lapsed_before_a_restart_is_not_remembered_after_it(desk):
    """docs/decisions/0008: which only ever refuses a renewal."""
    held = lease(desk)
    desk.clock.later(TTL_S)
    desk.tell(Heartbeat("ghost"))
    desk.reopen()
    assert refused(desk.one(renew(held, "alice"))) == "reservation_not_found"


@pytest.mark.parametrize("wall_s", [-DAY_S, -TTL_S, 0])
def test_a_wall_clock_that_went_back_while_down_lengthens_nothing(desk, wall_s):
    held = lease(desk)
    down_for(desk, 60, wall_s=wall_s)
    assert left_s(desk, held) <= TTL_S
    desk.clock.later(TTL_S)
    assert desk.one(reserve("bob", "src")).agent_id == "bob"


def test_stamps_do_not_go_back_over_a_restart(desk, tmp_path):
    lease(desk)
    down_for(desk, 60, wall_s=-DAY_S)
    lease(desk, "bob", "lib")
    stamps = [event.at_us for event in desk.events()]
    assert stamps == sorted(stamps)
    assert_consistent(desk.path, tmp_path / "scratch.sqlite3", desk.state)


# -- Silence while nobody was there


@pytest.mark.parametrize("down_s", [GRACE_S, TTL_S, 900])
def test_who_was_there_before_a_restart_is_there_after_it(desk, down_s):
    """docs/reservations.md: a restart keeps a place in the line, however long it took."""
    alice, bob = desk.register("alice"), desk.register("bob")
    session_id = desk.state.agents[bob].session_id
    desk.one(reserve(alice, "src", ttl_s=60))
    ticket = desk.one(QueuePaths(bob, ("src",), ttl_ms=TTL_S * 1000, wait_ms=3_600_000)).ticket
    desk.clock.later(30)
    desk.one(Heartbeat(alice))
    down_for(desk, down_s)
    takeover = RegisterAgent(b"x" * 32, session_id=session_id)
    assert refused(desk.one(takeover)) == "active_session_conflict"
    desk.clock.later(GRACE_S - 1)
    desk.one(Heartbeat(bob))
    desk.clock.later(1)
    desk.tell(ExpireLeases())
    assert has_event(desk.path, ReservationGranted, ticket.ticket_id)


def test_who_was_silent_before_a_restart_is_silent_after_it(desk):
    """And who does not come back is so once the grace is over."""
    alice, bob = desk.register("alice"), desk.register("bob")
    sessions = {each: desk.state.agents[each].session_id for each in (alice, bob)}
    desk.clock.later(GRACE_S)
    desk.one(Heartbeat(alice))
    down_for(desk, 60)

    def comes_back(agent_id):
        return desk.one(RegisterAgent(b"x" * 32, session_id=sessions[agent_id]))

    assert comes_back(bob).agent_id == bob
    assert refused(comes_back(alice)) == "active_session_conflict"
    desk.clock.later(GRACE_S)
    assert comes_back(alice).agent_id == alice


# -- The wall clock jumps while the process lives


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S, 3_650 * DAY_S])
def test_a_wall_clock_that_jumps_moves_no_deadline(desk, jump_s):
    held = lease(desk)
    desk.clock.later(1, wall_s=jump_s)
    desk.tell(Heartbeat("ghost"))
    assert left_s(desk, held) == TTL_S - 1
    desk.clock.later(TTL_S - 2)
    assert refused(desk.one(reserve("bob", "src"))) == "reservation_conflict"
    desk.clock.later(1)
    assert desk.one(reserve("bob", "src")).agent_id == "bob"


@pytest.fixture
def failing(tmp_path):
    """A desk and a way to have its next commit fail."""
    with faulty_disk() as disk:
        desk = Desk(tmp_path / "x.sqlite3")

        def fail(*asked):
            disk.arm(1, only=("sync",))
            told = desk.tell(*asked)
            disk.disarm()
            assert all(isinstance(one, StorageUnavailable) for one in told)

        desk.fail = fail
        yield desk
        desk.close()


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S])
def test_deadlines_stay_monotonic_over_a_failed_commit(failing, jump_s):
    held = lease(failing)
    failing.clock.later(10, wall_s=jump_s)
    failing.fail(reserve("bob", "lib"))
    assert left_s(failing, held) == TTL_S - 10


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S])
def test_a_renewal_that_failed_leaves_the_deadline_as_it_was(failing, jump_s):
    held = lease(failing)
    failing.clock.later(10, wall_s=jump_s)
    failing.fail(renew(held, "alice"))
    assert left_s(failing, held) == TTL_S - 10


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S])
def test_a_release_that_failed_leaves_the_deadline_as_it_was(failing, jump_s):
    held = lease(failing)
    failing.clock.later(10, wall_s=jump_s)
    failing.fail(release(held, "alice"))
    assert left_s(failing, held) == TTL_S - 10


def test_an_expiry_that_failed_happens_with_the_next_command(failing):
    held = lease(failing)
    failing.clock.later(TTL_S, wall_s=-DAY_S)
    failing.fail(Heartbeat("ghost"), reserve("bob", "lib"))
    assert failing.one(reserve("carol", "src")).agent_id == "carol"
    assert has_event(failing.path, ReservationExpired, held)


def test_a_failed_commit_and_a_jump_make_nobody_silent(failing):
    """Or a session could be taken over from an agent that is at work."""
    alice = failing.register("alice")
    session_id = failing.state.agents[alice].session_id
    failing.clock.later(10, wall_s=DAY_S)
    failing.fail(reserve("bob", "lib"))
    answer = failing.one(RegisterAgent(b"x" * 32, session_id=session_id))
    assert refused(answer) == "active_session_conflict"


def test_a_failed_commit_does_not_forget_lapsed_leases(failing):
    held = lease(failing)
    failing.clock.later(TTL_S)
    failing.tell(Heartbeat("ghost"))
    failing.fail(reserve("bob", "lib"))
    assert failing.one(renew(held, "alice")).reservation_id == held


@pytest.mark.parametrize("jump_s", [DAY_S, 0, -DAY_S])
def test_leases_found_at_the_start_are_counted_on_too(failing, jump_s):
    """One that no event has touched since the restart is as well known as any other."""
    held = lease(failing)
    failing.reopen()
    failing.clock.later(TTL_S - 10, wall_s=jump_s)
    failing.fail(reserve("bob", "lib"))
    assert left_s(failing, held) == 10


def test_agents_found_at_the_start_stay_live_over_a_failed_commit(failing):
    alice = failing.register("alice")
    session_id = failing.state.agents[alice].session_id
    failing.reopen()
    failing.clock.later(10, wall_s=DAY_S)
    failing.fail(reserve("bob", "lib"))
    answer = failing.one(RegisterAgent(b"x" * 32, session_id=session_id))
    assert refused(answer) == "active_session_conflict"


def test_a_failed_commit_after_a_change_of_case_is_survived(failing):
    lease(failing, ttl_s=60)
    failing.clock.later(60)
    failing.tell(Heartbeat("ghost"))
    failing.one(ConfigureProject(case_sensitive=False))
    failing.fail(reserve("bob", "lib"))
    assert failing.one(reserve("bob", "LIB")).agent_id == "bob"
    assert refused(failing.one(reserve("carol", "lib"))) == "reservation_conflict"


def test_a_failed_retirement_leaves_everything(failing, tmp_path):
    alice = failing.register("alice")
    held = lease(failing, alice)
    failing.fail(RetireAgent(alice))
    assert alice in failing.state.agents
    assert held in failing.state.holdings.by_id
    assert isinstance(failing.tell(RetireAgent(alice))[0], Told)
    assert_consistent(failing.path, tmp_path / "scratch.sqlite3", failing.state)


def test_what_a_batch_decided_first_stands_when_time_passes_in_it(desk):
    """Commands of one batch bear their own stamps: a lease may lapse between two of them."""
    held = lease(desk)
    early = desk.ask(reserve("bob", "src"))
    desk.clock.later(TTL_S)
    late = desk.ask(reserve("bob", "src"))
    told = desk.tell(early, late)
    assert refused(told[0]) == "reservation_conflict"
    assert outcome(told[1]).agent_id == "bob"
    assert has_event(desk.path, ReservationExpired, held)
