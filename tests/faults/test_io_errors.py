"""The n-th write, sync or truncation fails, once and for good, for every n until none is left.

Whatever was acknowledged is durable, nothing is half applied, and asking again is safe.
"""

import shutil

import pytest

from intermute.domain import commands, limits
from intermute.domain.commands import RegisterAgent
from intermute.project.breaker import BreakerState
from intermute.project.messages import StorageUnavailable, WriteOutcome
from intermute.storage.faults import FAULTS

from ..effort import effort
from ..project.harness import (
    Desk,
    assert_consistent,
    check,
    release,
    renew,
    reserve,
)
from .disk import faulty_disk
from .lives import ERRORS, STEPS_MAX, Run, close, fail_at_every_step, judge, keyed, later_desk


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A file with some history, closed."""
    desk = Desk(tmp_path_factory.mktemp("base") / "x.sqlite3")
    for name in ("alice", "bob"):
        desk.register(name, metadata={"k": "v"})
    alice = next(iter(desk.state.agents))
    for i in range(5):
        desk.one(reserve(alice, f"alice/{i}"))
    desk.one(reserve("ghost", "ghost", ttl_s=60))
    desk.close()
    return desk.path


def batches(desk):
    """Every kind of command, alone and together; the batches are made from the state as it is."""
    alice, bob = list(desk.state.agents)[:2]
    first = next(iter(desk.state.holdings.by_agent[alice]))
    yield [keyed(desk, "k1", "one")]
    yield [desk.ask(commands.MergeMetadata(alice, {"k": None, "n": "x" * 5_000}), key="m")]
    yield [desk.ask(renew(first, alice)), desk.ask(commands.SetPolicy(bob, "auto"))]
    yield [
        desk.ask(commands.AddContact(bob, "carol")),
        keyed(desk, "k2", "two"),
        desk.ask(check("**")),
    ]
    yield [desk.ask(commands.RemoveContact(bob, "carol")), desk.ask(release(first, alice))]
    desk.clock.later(400)
    yield [desk.ask(commands.Heartbeat(bob, "thinking")), keyed(desk, "k3", "ghost/x")]
    yield [desk.ask(RegisterAgent(b"n" * 32, name="new"), key="r"), keyed(desk, "k1", "one")]
    yield [desk.ask(commands.RetireAgent(alice), key="retire"), keyed(desk, "k4", "alice/1")]
    yield [keyed(desk, f"many{i}", f"many/{i}") for i in range(6)]
    yield [keyed(desk, "k5", "five")]


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("error", ERRORS)
def test_what_was_acknowledged_outlives_any_failing_step(base, folder, error, for_good):
    passed = fail_at_every_step(base, folder, batches, error=error, for_good=for_good)
    assert passed > 50, "the script is long enough to be worth it, and ends"


def test_a_disk_that_fails_for_good_opens_the_breaker(base, folder):
    path = folder / "x.sqlite3"
    for kind in ("write", "sync"):
        shutil.copy(base, path)
        run = Run(path, batches)
        with faulty_disk() as disk:
            desk = later_desk(path, 30)
            disk.arm(1, for_good=True, only=(kind,))
            run.live(desk)
            assert not run.died
            assert desk.breaker.state(desk.clock.mono_us) is BreakerState.OPEN
            assert desk.breaker.faults_in_row >= limits.BREAKER_FAULTS_MAX
            disk.disarm()
            desk.close()
        # Time passes once in the script, so one more batch is let through as a probe.
        assert WriteOutcome.NOT_DONE in run.outcomes
        assert run.outcomes[0] is WriteOutcome.UNKNOWN
        judge(run, folder / "scratch.sqlite3")


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("fresh", [True, False], ids=["new file", "old file"])
def test_an_opening_that_fails_can_be_tried_again(base, folder, fresh, for_good):
    """Migrations, the taking over and the first pass over the leases, each at every step."""
    path, scratch = folder / "x.sqlite3", folder / "scratch.sqlite3"
    # What is broken for good is broken for what follows, whatever the step was.
    for n in range(1, STEPS_MAX, effort(3, 1) if for_good else 1):
        for leftover in folder.glob("x.sqlite3*"):
            leftover.unlink()
        if not fresh:
            shutil.copy(base, path)
        with faulty_disk() as disk:
            disk.arm(n, for_good=for_good)
            try:
                desk = later_desk(path, 30)
            except (*FAULTS, StorageUnavailable):
                desk = None
            failed = disk.failed
            disk.disarm()
            if desk is not None:
                desk.close()
        desk = later_desk(path, 45)
        assert len(desk.state.holdings) == (0 if fresh else 6)
        desk.one(reserve("carol", "carol"))
        assert_consistent(path, scratch, desk.state)
        desk.close()
        if not failed:
            assert n > 3
            return
    raise AssertionError("it never passed")


@pytest.mark.parametrize("only", ["write", "sync", "truncate"])
def test_a_checkpoint_that_fails_at_the_end_loses_nothing(base, folder, only):
    path = folder / "x.sqlite3"
    shutil.copy(base, path)
    run = Run(path, batches)
    with faulty_disk() as disk:
        desk = later_desk(path, 30)
        run.live(desk)
        assert run.failed == []
        disk.arm(1, for_good=True, only=(only,))
        close(desk)
        disk.disarm()
    judge(run, folder / "scratch.sqlite3")
