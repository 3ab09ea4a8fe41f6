"""The breaker: only storage faults count, and every state has a way out (B1, B2, B8)."""

import pytest
import trio

from intermute.domain import limits
from intermute.domain.commands import AddContact, Heartbeat, RetireAgent, SetPolicy
from intermute.domain.decide import _DECISIONS
from intermute.project.breaker import Breaker, BreakerState
from intermute.project.messages import CommandFailed, StorageUnavailable, Told, WriteOutcome
from intermute.storage.reader import Reader

from ..faults.disk import faulty_disk
from .harness import (
    MONO,
    TTL_S,
    Desk,
    S,
    assert_consistent,
    check,
    opened,
    outcome,
    refused,
    release,
    renew,
    reserve,
)

OPEN_S = limits.BREAKER_OPEN_MS / 1000
FAULTS = limits.BREAKER_FAULTS_MAX


# -- By itself


def opened_breaker(at_us=MONO):
    breaker = Breaker()
    for _ in range(FAULTS):
        breaker.failed("full", at_us)
    return breaker


def test_a_new_breaker_is_closed():
    assert Breaker().state(MONO) is BreakerState.CLOSED
    assert Breaker().retry_after_s(MONO) == 0


def test_it_opens_at_the_fifth_fault_in_a_row():
    breaker = Breaker()
    for _ in range(FAULTS - 1):
        breaker.failed("full", MONO)
    assert breaker.state(MONO) is BreakerState.CLOSED
    breaker.failed("io_error", MONO)
    assert breaker.state(MONO) is BreakerState.OPEN
    assert breaker.retry_after_s(MONO + S) == OPEN_S - 1
    assert breaker.last_fault == "io_error"


def test_a_success_between_faults_starts_the_count_anew():
    breaker = Breaker()
    for _ in range(20):
        breaker.failed("full", MONO)
        breaker.succeeded()
    assert breaker.state(MONO) is BreakerState.CLOSED


def test_after_a_while_it_is_half_open():
    breaker = opened_breaker()
    end_us = MONO + int(OPEN_S * S)
    assert breaker.state(end_us - 1) is BreakerState.OPEN
    assert breaker.state(end_us) is BreakerState.HALF_OPEN
    assert breaker.retry_after_s(end_us) == 0


def test_a_probe_that_fails_opens_it_again_and_one_that_succeeds_closes_it():
    breaker = opened_breaker()
    for round_number in range(1, 4):
        now_us = MONO + int(round_number * OPEN_S * S)
        assert breaker.state(now_us) is BreakerState.HALF_OPEN
        breaker.failed("full", now_us)
        assert breaker.state(now_us) is BreakerState.OPEN
    later_us = MONO + int(10 * OPEN_S * S)
    breaker.succeeded()
    assert breaker.state(later_us) is BreakerState.CLOSED
    breaker.failed("full", later_us)
    assert breaker.state(later_us) is BreakerState.CLOSED, "one fault is one fault again"


def test_a_fault_while_open_does_not_keep_it_open():
    breaker = opened_breaker()
    breaker.failed("full", MONO + S)
    assert breaker.state(MONO + int(OPEN_S * S)) is BreakerState.HALF_OPEN


# -- In an actor, on a disk that fails


@pytest.fixture
def disk():
    with faulty_disk() as disk:
        yield disk


@pytest.fixture
def desk(disk, tmp_path):
    desk = Desk(tmp_path / "x.sqlite3")
    yield desk
    disk.disarm()
    desk.close()


def fail_often(desk, disk, times=FAULTS):
    told = []
    for i in range(times):
        disk.arm(1, for_good=True)
        told += desk.tell(reserve("unlucky", f"u{i}"))
        disk.disarm()
    return told


def test_five_faults_open_it_and_writes_are_refused_at_once(desk, disk):
    told = fail_often(desk, disk)
    assert [one.outcome for one in told] == [WriteOutcome.UNKNOWN] * FAULTS
    assert desk.breaker.state(desk.clock.mono_us) is BreakerState.OPEN
    assert told[-1].retry_after_s == OPEN_S
    disk.arm(10**9)
    desk.clock.later(10)
    (refusal,) = desk.tell(reserve("alice", "src"))
    assert isinstance(refusal, StorageUnavailable)
    assert (refusal.outcome, refusal.kind) == (WriteOutcome.NOT_DONE, "io_error")
    assert refusal.retry_after_s == OPEN_S - 10
    assert disk.steps == 0, "the disk is left alone"


def test_while_it_is_open_checks_and_reads_go_on(desk, disk):
    alice = desk.register("alice")
    held = desk.one(reserve(alice, "src")).reservation_id
    fail_often(desk, disk)
    disk.arm(1, for_good=True)
    told = desk.tell(check("src"), reserve("bob", "lib"), check("lib"))
    assert [c.reservation_id for c in outcome(told[0]).conflicts] == [held]
    assert isinstance(told[1], StorageUnavailable)
    assert outcome(told[2]).conflicts == ()
    reader = Reader.open(desk.path)
    assert reader.agent(alice).name == "alice"
    reader.close()


def test_while_it_is_open_a_lease_that_is_due_stands(desk, disk):
    """Its expiry cannot be made durable; nobody is told something else than the file says."""
    desk.one(reserve("alice", "src"))
    fail_often(desk, disk)
    desk.clock.mono_us += TTL_S * S - int(OPEN_S * S) // 2
    desk.breaker.opened_at_us = desk.clock.mono_us
    desk.clock.mono_us += int(OPEN_S * S) // 2
    desk.breaker.opened_at_us = desk.clock.mono_us
    (told,) = desk.tell(check("src"))
    assert len(outcome(told).conflicts) == 1
    desk.clock.later(OPEN_S)
    (told,) = desk.tell(check("src"))
    assert outcome(told).conflicts == (), "the check is the probe, and closes it"
    assert desk.breaker.state(desk.clock.mono_us) is BreakerState.CLOSED


def test_a_probe_that_succeeds_closes_it(desk, disk, tmp_path):
    fail_often(desk, disk)
    desk.clock.later(OPEN_S)
    assert desk.one(reserve("alice", "src")).agent_id == "alice"
    assert desk.breaker.state(desk.clock.mono_us) is BreakerState.CLOSED
    assert_consistent(desk.path, tmp_path / "scratch.sqlite3", desk.state)


def test_a_probe_that_fails_leaves_a_way_out(desk, disk):
    fail_often(desk, disk)
    for _ in range(3):
        desk.clock.later(OPEN_S)
        (told,) = fail_often(desk, disk, times=1)
        assert told.outcome is WriteOutcome.UNKNOWN, "it was let through"
        assert desk.breaker.state(desk.clock.mono_us) is BreakerState.OPEN
    desk.clock.later(OPEN_S)
    assert desk.one(reserve("alice", "src")).agent_id == "alice"


def test_a_probe_that_meets_a_bug_leaves_a_way_out(desk, disk, monkeypatch):
    """B2: what the probe itself does must not decide whether there is ever another one."""
    alice = desk.register("alice")
    fail_often(desk, disk)
    desk.clock.later(OPEN_S)

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setitem(_DECISIONS, AddContact, broken)
    assert isinstance(desk.tell(AddContact(alice, "x"))[0], CommandFailed)
    monkeypatch.undo()
    assert desk.one(reserve("alice", "src")).agent_id == "alice"


def test_faults_in_statements_count_like_faults_in_commits(desk):
    """A file that may not grow: SQLite's own `SQLITE_FULL`, from the middle of a batch."""
    connection = desk.writer._connection
    pages = connection.pragma("page_count")
    connection.pragma("max_page_count", pages)
    for _ in range(FAULTS):
        asks = (
            reserve(f"a{i}", "x" * 900 + str(i)) for i in range(limits.TRANSACTION_INLINE_LEN_MAX)
        )
        told = desk.tell(*asks)
        assert {one.kind for one in told} == {"full"}
    assert desk.breaker.state(desk.clock.mono_us) is BreakerState.OPEN
    connection.pragma("max_page_count", 2**30)
    desk.clock.later(OPEN_S)
    assert desk.one(reserve("alice", "src")).agent_id == "alice"
    assert len(desk.state.holdings) == 1


# -- What never counts


def test_hundreds_of_refusals_never_open_it(tmp_path):
    """B1: the whole service once went off for half a minute over five unknown ids."""
    desk = Desk(tmp_path / "x.sqlite3")
    desk.one(reserve("alice", "src"))
    for i in range(100):
        told = desk.tell(
            reserve("bob", "src"),
            Heartbeat(f"ghost{i}"),
            renew("none", "bob"),
            release("none", "bob"),
            RetireAgent("ghost"),
            reserve("bob", "["),
        )
        assert len({refused(one) for one in told}) == 4
    assert desk.breaker.faults_in_row == 0
    assert desk.one(reserve("bob", "lib")).agent_id == "bob"
    desk.close()


def test_bugs_never_open_it(tmp_path, monkeypatch):
    desk = Desk(tmp_path / "x.sqlite3")
    alice = desk.register("alice")

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setitem(_DECISIONS, SetPolicy, broken)
    for _ in range(50):
        assert isinstance(desk.tell(SetPolicy(alice, "auto"))[0], CommandFailed)
    assert desk.breaker.faults_in_row == 0
    desk.close()


# -- A lock held by somebody else


async def test_a_held_lock_is_waited_for_a_bounded_time(tmp_path, autojump_clock):
    """B8: a few tries with growing pauses, then the asker hears of it; nothing has been done."""
    desk = Desk(tmp_path / "x.sqlite3")
    with opened(desk.path) as other:
        other.execute("BEGIN IMMEDIATE")
        start_s = trio.current_time()
        (told,) = await desk.tell_waiting(reserve("alice", "src"))
        waited_s = trio.current_time() - start_s
        other.execute("COMMIT")
    assert isinstance(told, StorageUnavailable)
    assert (told.kind, told.outcome) == ("busy", WriteOutcome.NOT_DONE)
    assert told.retry_after_s >= 1
    pauses = [
        min(limits.STORAGE_RETRY_FIRST_MS * 2**n, limits.STORAGE_RETRY_LAST_MS)
        for n in range(limits.STORAGE_RETRIES_MAX)
    ]
    assert waited_s == pytest.approx(sum(pauses) / 1000)
    assert desk.breaker.faults_in_row == 1
    assert desk.one(reserve("alice", "src")).agent_id == "alice"
    assert desk.breaker.faults_in_row == 0
    desk.close()


async def test_a_lock_that_is_let_go_of_is_never_noticed(tmp_path, autojump_clock):
    desk = Desk(tmp_path / "x.sqlite3")
    with opened(desk.path) as other:
        other.execute("BEGIN IMMEDIATE")

        async def let_go():
            await trio.sleep(0.1)
            other.execute("COMMIT")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(let_go)
            (told,) = await desk.tell_waiting(reserve("alice", "src"))
    assert isinstance(told, Told)
    assert desk.breaker.faults_in_row == 0
    desk.close()


async def test_locks_count_as_faults(tmp_path, autojump_clock):
    desk = Desk(tmp_path / "x.sqlite3")
    with opened(desk.path) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(FAULTS):
            await desk.tell_waiting(reserve("alice", "src"))
        assert desk.breaker.state(desk.clock.mono_us) is BreakerState.OPEN
        (told,) = desk.tell(reserve("alice", "src"))
        assert told.retry_after_s == OPEN_S, "and nobody waits for the lock any more"
        other.execute("COMMIT")
    desk.close()
