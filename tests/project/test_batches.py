"""Batches: one commit for many, nothing said before it, and a bug costs whoever met it."""

import pytest
import trio

from actors.reply import Reply
from intermute.domain import commands, limits
from intermute.domain.commands import AddContact, Heartbeat, RegisterAgent, RetireAgent, SetPolicy
from intermute.domain.decide import _DECISIONS
from intermute.domain.events import (
    AgentRetired,
    ContactAdded,
    ReservationExpired,
)
from intermute.project.committing import CommitMode, Committer
from intermute.project.messages import CommandFailed, StorageUnavailable, Told, WriteOutcome
from intermute.storage import projections
from intermute.storage.writer import Writer

from ..faults.disk import faulty_disk
from .harness import (
    TTL_S,
    Desk,
    S,
    all_at_once,
    assert_consistent,
    check,
    has_event,
    log_of,
    outcome,
    raw_log,
    refused,
    release,
    renew,
    reserve,
    running,
)


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path / "x.sqlite3")
    yield desk
    desk.close()


@pytest.fixture
def scratch(tmp_path):
    return tmp_path / "scratch.sqlite3"


# -- Group commit


def test_a_batch_is_one_commit(desk):
    before = desk.committer.inline_commits
    told = desk.tell(
        *(reserve(f"agent{i}", f"f{i}") for i in range(limits.TRANSACTION_INLINE_LEN_MAX))
    )
    assert all(refused_or_none(one) is None for one in told)
    assert desk.committer.inline_commits == before + 1
    assert len(desk.events()) == limits.TRANSACTION_INLINE_LEN_MAX


def refused_or_none(told):
    answer = outcome(told)
    return getattr(answer, "code", None)


def test_a_batch_is_decided_in_order(desk):
    first, second, third, fourth = desk.tell(
        reserve("alice", "src"), reserve("bob", "src/x"), check("src"), reserve("bob", "lib")
    )
    assert outcome(first).agent_id == "alice"
    assert refused(second) == "reservation_conflict"
    assert len(outcome(third).conflicts) == 1, "a check sees what stands before it in the batch"
    assert outcome(fourth).patterns == ("lib",)


def test_later_commands_of_a_batch_build_on_earlier_ones(desk):
    (told,) = desk.tell(reserve("alice", "src"))
    held = outcome(told).reservation_id
    told = desk.tell(release(held, "alice"), reserve("bob", "src"), reserve("alice", "src"))
    assert [refused_or_none(one) for one in told] == [None, None, "reservation_conflict"]


async def test_asks_that_arrive_together_are_committed_together(tmp_path, monkeypatch):
    commits = []
    commit = Writer.commit

    def counting(writer):
        commits.append(writer)
        commit(writer)

    monkeypatch.setattr(Writer, "commit", counting)
    async with running(tmp_path) as projects:
        await projects.ask("house", RegisterAgent(b"h" * 32), commands.Caller())
        commits.clear()

        def ask(i):
            return lambda: projects.ask("house", reserve(f"a{i}", f"f{i}"), commands.Caller())

        told = await all_at_once([ask(i) for i in range(limits.TRANSACTION_INLINE_LEN_MAX)])
    assert len(commits) == 1
    numbers = sorted(one.seq for one in told)
    assert numbers == list(range(numbers[0], numbers[0] + limits.TRANSACTION_INLINE_LEN_MAX))


@pytest.mark.parametrize("mode", [CommitMode.INLINE, CommitMode.THREAD])
async def test_more_is_committed_together_where_commits_hold_up_nobody(tmp_path, mode):
    desk = Desk(tmp_path / "x.sqlite3", committer=Committer(CommitMode.INLINE))
    desk.committer.mode = mode
    already, turns = desk.committer.inline_commits, 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    asks = [reserve(f"agent{i}", f"f{i}") for i in range(limits.BATCH_LEN_MAX)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        await trio.lowlevel.checkpoint()
        before = turns
        told = await desk.tell_waiting(*asks)
        seen = turns - before
        nursery.cancel_scope.cancel()
    assert all(refused_or_none(one) is None for one in told)
    inline = limits.BATCH_LEN_MAX // limits.TRANSACTION_INLINE_LEN_MAX
    if mode is CommitMode.THREAD:
        assert desk.committer.thread_commits == 1
    else:
        assert desk.committer.inline_commits - already == inline
        # A turn between two transactions, the first and the last of which may be before or after.
        assert seen >= inline - 2
    desk.close()


async def test_a_disk_that_fails_is_not_asked_again_and_again_for_one_batch(tmp_path):
    with faulty_disk() as disk:
        desk = Desk(tmp_path / "x.sqlite3")
        disk.arm(1, for_good=True, only=("sync",))
        asks = [reserve(f"agent{i}", f"f{i}") for i in range(limits.BATCH_LEN_MAX)]
        told = await desk.tell_waiting(*asks)
        outcomes = [one.outcome for one in told]
        disk.disarm()
        desk.close()
    tried = limits.BREAKER_FAULTS_MAX * limits.TRANSACTION_INLINE_LEN_MAX
    assert outcomes == [WriteOutcome.UNKNOWN] * tried + [WriteOutcome.NOT_DONE] * (
        len(asks) - tried
    )


# -- Commit, then speak


@pytest.mark.parametrize("mode", CommitMode)
async def test_nobody_is_answered_before_the_commit(tmp_path, monkeypatch, mode):
    order = []
    commit, resolve = Writer.commit, Reply.resolve
    monkeypatch.setattr(Writer, "commit", lambda writer: (commit(writer), order.append("commit")))
    monkeypatch.setattr(
        Reply, "resolve", lambda reply, told: (order.append("answer"), resolve(reply, told))
    )
    async with running(tmp_path, commit=mode) as projects:
        calls = [
            lambda i=i: projects.ask("house", reserve(f"a{i}", "same"), commands.Caller())
            for i in range(5)
        ]
        told = await all_at_once(calls)
    assert sum(refused_or_none(one) is None for one in told) == 1
    first_answer = order.index("answer")
    assert order[first_answer - 1] == "commit"
    assert order[first_answer:] == ["answer"] * 5


def test_a_failed_commit_is_never_a_success(tmp_path, scratch):
    with faulty_disk() as disk:
        desk = Desk(tmp_path / "x.sqlite3")
        disk.arm(1, only=("sync",))
        told = desk.tell(reserve("alice", "a"), reserve("bob", "b"), check("a"))
        disk.disarm()
        assert all(isinstance(one, StorageUnavailable) for one in told)
        assert {one.outcome for one in told} == {WriteOutcome.UNKNOWN}
        assert all(one.retry_after_s >= 1 for one in told)
        assert len({id(one) for one in told}) == 3, "an error for each, or tracebacks would mix"
        assert len(desk.state.holdings) == 0, "the working state is what the file holds"
        told = desk.tell(reserve("carol", "a"))
        assert outcome(told[0]).agent_id == "carol"
        assert_consistent(desk.path, scratch, desk.state)
        desk.close()


# -- A bug


def break_writing(monkeypatch, event):
    """The projection of an event raises after it has written."""
    write = projections._EVENTS[event]

    def broken(execute, *rest):
        write(execute, *rest)
        raise ZeroDivisionError("a bug, by order of a test")

    monkeypatch.setitem(projections._EVENTS, event, broken)


def break_deciding(monkeypatch, command):
    def broken(*_):
        raise ZeroDivisionError("a bug, by order of a test")

    monkeypatch.setitem(_DECISIONS, command, broken)


BREAKS = {
    "deciding": lambda monkeypatch: break_deciding(monkeypatch, RetireAgent),
    # Its releases have been written, to the file and to memory, when the retirement breaks.
    "writing": lambda monkeypatch: break_writing(monkeypatch, AgentRetired),
}


@pytest.mark.parametrize("where", BREAKS)
def test_a_bug_in_one_command_costs_that_command_alone(tmp_path, monkeypatch, where):
    """docs/decisions/0003-savepoints.md: nobody but the command with the bug can tell."""
    desk, control = Desk(tmp_path / "x.sqlite3"), Desk(tmp_path / "control.sqlite3")
    alice = desk.register("alice")
    control.register("alice")
    asks = [
        desk.ask(reserve("bob", "lib"), key="k"),
        desk.ask(reserve(alice, "src")),
        desk.ask(RetireAgent(alice), key="r"),
        desk.ask(reserve("carol", "src")),
        desk.ask(reserve("carol", "docs")),
        desk.ask(check("docs")),
        desk.ask(reserve("bob", "lib"), key="k"),
    ]
    bad = 2
    BREAKS[where](monkeypatch)
    seq_before = desk.actor.seq
    told = desk.tell(*asks)
    expected = control.tell(*(ask for place, ask in enumerate(asks) if place != bad))
    failed = told.pop(bad)
    assert isinstance(failed, CommandFailed)
    assert isinstance(failed.__cause__, ZeroDivisionError)
    assert [one.decision for one in told] == [one.decision for one in expected]
    assert [one.replayed for one in told] == [False] * 5 + [True]
    numbers = [n for n in range(seq_before + 1, seq_before + 8) if n != seq_before + 1 + bad]
    assert [one.seq for one in told] == numbers
    assert desk.breaker.faults_in_row == 0, "a bug is no fault of the disk"
    assert raw_log(desk.path) == raw_log(control.path)
    assert_consistent(desk.path, tmp_path / "scratch.sqlite3", desk.state)
    monkeypatch.undo()
    assert desk.one(RetireAgent(alice)).released, "the actor goes on, and the key is not burnt"
    desk.close()
    control.close()


def test_bugs_in_several_commands_cost_those(desk, scratch, monkeypatch):
    alice, bob = desk.register("alice"), desk.register("bob")
    break_writing(monkeypatch, ContactAdded)
    break_deciding(monkeypatch, SetPolicy)
    told = desk.tell(
        AddContact(alice, "x"),
        reserve(alice, "a"),
        SetPolicy(bob, "auto"),
        AddContact(bob, "y"),
        reserve(bob, "b"),
    )
    assert [isinstance(one, Told) for one in told] == [False, True, False, False, True]
    assert_consistent(desk.path, scratch, desk.state)
    assert not has_event(desk.path, ContactAdded, alice)


def test_a_bug_while_something_lapses_leaves_the_expiry(desk, scratch, monkeypatch):
    """What was due by the stamp of a command lapses, also when the command itself is bad."""
    alice = desk.register("alice")
    held = desk.one(reserve("bob", "src")).reservation_id
    desk.clock.later(TTL_S)
    break_writing(monkeypatch, ContactAdded)
    told = desk.tell(AddContact(alice, "x"), reserve("carol", "src"))
    assert isinstance(told[0], CommandFailed)
    assert outcome(told[1]).agent_id == "carol"
    assert has_event(desk.path, ReservationExpired, held)
    assert_consistent(desk.path, scratch, desk.state)


def test_a_bug_after_a_wall_clock_jump_costs_nobody_a_lease(desk, monkeypatch):
    """The state is loaded anew behind a bug; leases go on being counted on the monotonic clock."""
    alice = desk.register("alice")
    held = desk.one(reserve("bob", "src")).reservation_id
    desk.clock.later(10, wall_s=86_400)
    break_writing(monkeypatch, ContactAdded)
    told = desk.tell(renew(held, "bob"), AddContact(alice, "x"))
    assert isinstance(told[1], CommandFailed)
    assert refused_or_none(told[0]) is None
    assert not has_event(desk.path, ReservationExpired, held)
    assert desk.state.holdings.by_id[held].deadline_us == desk.clock.mono_us + TTL_S * S


def test_a_bug_does_not_forget_the_lapsed_leases_of_others(desk, monkeypatch):
    alice = desk.register("alice")
    held = desk.one(reserve("bob", "src")).reservation_id
    desk.clock.later(TTL_S)
    desk.tell(Heartbeat(alice))
    break_writing(monkeypatch, ContactAdded)
    told = desk.tell(AddContact(alice, "x"), renew(held, "bob"))
    assert isinstance(told[0], CommandFailed)
    assert refused_or_none(told[1]) is None, "bob cannot tell that alice met a bug"


def test_a_bug_does_not_give_back_what_changed_hands(desk, monkeypatch):
    """The grant stands in the same batch before the bug; two granted leases must never meet."""
    alice = desk.register("alice")
    held = desk.one(reserve("bob", "src")).reservation_id
    desk.clock.later(TTL_S)
    desk.tell(Heartbeat(alice))
    break_writing(monkeypatch, ContactAdded)
    told = desk.tell(reserve("carol", "src"), AddContact(alice, "x"), renew(held, "bob"))
    assert outcome(told[0]).agent_id == "carol"
    assert isinstance(told[1], CommandFailed)
    assert refused(told[2]) == "reservation_not_found"
    assert [r.agent_id for r in desk.state.holdings.by_id.values()] == ["carol"]


@pytest.mark.parametrize("fails_later", [False, True])
def test_a_bug_does_not_undo_what_earlier_commands_are_told(tmp_path, monkeypatch, fails_later):
    """Renewed, lapsed and taken leases of the same batch, also after the next failed commit."""
    with faulty_disk() as disk:
        desk = Desk(tmp_path / "x.sqlite3")
        alice = desk.register("alice")
        back, taken, longer = (
            desk.one(reserve("bob", name, ttl_s=ttl)).reservation_id
            for name, ttl in (("back", 60), ("taken", 60), ("longer", TTL_S))
        )
        desk.clock.later(100)
        desk.tell(Heartbeat(alice))
        break_writing(monkeypatch, ContactAdded)
        told = desk.tell(
            renew(back, "bob"),
            reserve("carol", "taken"),
            renew(longer, "bob"),
            AddContact(alice, "x"),
        )
        assert [isinstance(one, Told) for one in told] == [True, True, True, False]
        if fails_later:
            disk.arm(1, only=("sync",))
            desk.tell(reserve("dave", "other"))
            disk.disarm()
        deadlines = {key: r.deadline_us for key, r in desk.state.holdings.by_id.items()}
        now_us = desk.clock.mono_us
        assert deadlines[back] == now_us + 60 * S
        assert deadlines[longer] == now_us + TTL_S * S
        assert refused(desk.one(renew(taken, "bob"))) == "reservation_not_found"
        desk.clock.later(60)
        desk.tell(Heartbeat(alice))
        assert back in desk.state.lapsed.by_id
        desk.close()


async def test_a_bug_is_answered_through_projects_too(tmp_path, monkeypatch):
    async with running(tmp_path) as projects:
        nobody = commands.Caller()
        told = await projects.ask("house", RegisterAgent(b"h" * 32), nobody)
        agent_id = outcome(told).agent_id
        break_writing(monkeypatch, ContactAdded)
        results = await all_at_once(
            [
                lambda: projects.ask("house", AddContact(agent_id, "x"), nobody),
                lambda: projects.ask("house", reserve(agent_id, "src"), nobody),
                lambda: projects.ask("house", SetPolicy(agent_id, "auto"), nobody),
            ]
        )
        assert isinstance(results[0], CommandFailed)
        assert all(isinstance(one, Told) for one in results[1:])
        assert projects.statistics().restarted == 0


# -- The same again


def test_the_same_commands_and_stamps_give_the_same_bytes(tmp_path):
    """However they fall into batches."""

    def life(path, batch_len):
        desk = Desk(path)
        asks = [desk.ask(RegisterAgent(bytes([i]) * 32, name=f"n{i}")) for i in range(3)]
        for i in range(30):
            desk.clock.later(40, wall_s=-45 if i == 7 else 0)
            asks.append(
                desk.ask(reserve(f"a{i % 4}", f"f{i % 5}/*", exclusive=i % 3 > 0, ttl_s=90))
            )
        while asks:
            desk.tell(*asks[:batch_len])
            del asks[:batch_len]
        desk.close()
        return raw_log(path)

    logs = [life(tmp_path / f"{n}.sqlite3", n) for n in (1, 7, 32)]
    assert len(logs[0]) > 20
    assert logs[0] == logs[1] == logs[2]


async def test_a_commit_in_a_thread_says_the_same(tmp_path):
    desk = Desk(tmp_path / "x.sqlite3", committer=Committer(CommitMode.INLINE))
    desk.committer.mode = CommitMode.THREAD
    told = await desk.tell_waiting(reserve("alice", "a"), reserve("bob", "a"))
    assert outcome(told[0]).agent_id == "alice"
    assert refused(told[1]) == "reservation_conflict"
    assert desk.committer.thread_commits == 1
    assert len(log_of(desk.path)) == 1
    desk.close()


async def test_a_cancelled_asker_learns_nothing_but_the_command_is_decided(tmp_path):
    async with running(tmp_path) as projects:
        await projects.ask("house", reserve("alice", "lib"), commands.Caller())
        with trio.CancelScope() as scope:
            scope.cancel()
            await projects.ask("house", reserve("alice", "src"), commands.Caller())
        assert scope.cancelled_caught
        told = await projects.ask("house", check("src"), commands.Caller())
        assert len(outcome(told).conflicts) == 1


def test_an_empty_batch_of_refusals_writes_nothing(desk):
    desk.tell(reserve("alice", "src"))
    before = raw_log(desk.path)
    told = desk.tell(*(reserve("bob", "src") for _ in range(10)), Heartbeat("ghost"))
    assert {refused(one) for one in told} == {"reservation_conflict", "agent_not_found"}
    assert raw_log(desk.path) == before
