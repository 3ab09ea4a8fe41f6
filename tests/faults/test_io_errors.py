"""The n-th write, sync or truncation fails, once and for good, for every n until none is left.

Whatever was acknowledged is durable, nothing is half applied, and asking again is safe.
"""

import contextlib
import logging
import shutil
from pathlib import Path

import apsw
import attrs
import pytest

from intermute.domain import commands, limits
from intermute.domain.commands import RegisterAgent, ReservePaths
from intermute.domain.decision import Accepted
from intermute.domain.events import AgentRetired, ReservationCreated, ReservationReleased
from intermute.project.breaker import BreakerState
from intermute.project.messages import Outcome, StorageUnavailable, Told
from intermute.storage.faults import FAULTS

from ..project.harness import (
    TTL_S,
    WALL,
    Desk,
    HandClock,
    S,
    assert_consistent,
    check,
    log_of,
    quick_folder,
    release,
    renew,
    reserve,
)
from .disk import faulty_disk

STEPS_MAX = 500
# The second kind goes the same ways through the product, so every fourth step is enough of it.
ERRORS = {"io": (apsw.IOError, 1), "full": (apsw.FullError, 4)}


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def folder():
    with quick_folder() as name:
        yield Path(name)


def keyed(desk, name, *patterns, agent_id="keyed"):
    """A reservation that can be asked for again; its reason tells which one it is."""
    command = ReservePaths(agent_id, patterns, True, name, TTL_S * 1000)
    return desk.ask(command, key=name)


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


def later_desk(path, after_s):
    """The next process on the file; its stamps are not those of an earlier one."""
    return Desk(path, HandClock(at_us=WALL + after_s * S))


class Run:
    """One life on a bad disk: what was asked, what was acknowledged, what became unknown."""

    def __init__(self, path):
        self.path = path
        self.acknowledged = []
        self.failed = []
        self.outcomes = []
        self.died = False

    def live(self, desk):
        for batch in batches(desk):
            try:
                told = desk.tell(*batch)
            except FAULTS:
                # Going back to what the file holds failed, too: this actor has ended.
                self.died = True
                self.failed += batch
                return
            for ask, one in zip(batch, told, strict=True):
                if isinstance(one, Told):
                    if isinstance(one.decision, Accepted):
                        self.acknowledged += one.decision.events
                else:
                    assert isinstance(one, StorageUnavailable)
                    self.outcomes.append(one.outcome)
                    self.failed.append(ask)


def close(desk):
    with contextlib.suppress(*FAULTS):
        desk.close()


def whole(path):
    """A retirement with its releases is one command: all of it is there, or nothing."""
    log = [event.data for event in log_of(path)]
    retired = {data.agent_id for data in log if isinstance(data, AgentRetired)}
    released = {
        data.agent_id
        for data in log
        if isinstance(data, ReservationReleased) and data.cause == "retired"
    }
    assert retired == released


def judge(run, scratch):
    """After a restart on a good disk."""
    desk = later_desk(run.path, 500)
    log = [event.data for event in log_of(run.path)]
    missing = [data for data in run.acknowledged if data not in log]
    assert missing == [], "acknowledged, and lost"
    whole(run.path)
    assert_consistent(run.path, scratch, desk.state)
    again = [ask for ask in run.failed if ask.idempotency is not None]
    if again:
        # As a client does: the same request, with the stamp of another arrival.
        told = desk.tell(*(attrs.evolve(ask, stamp=desk.clock.stamp()) for ask in again))
        assert all(isinstance(one, Told) for one in told)
    whole(run.path)
    reasons = [
        event.data.reason
        for event in log_of(run.path)
        if isinstance(event.data, ReservationCreated) and event.data.reason
    ]
    assert len(reasons) == len(set(reasons)), "asked again, and done twice"
    assert_consistent(run.path, scratch, desk.state)
    desk.close()


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("error", ERRORS)
def test_what_was_acknowledged_outlives_any_failing_step(base, folder, error, for_good):
    path, scratch = folder / "x.sqlite3", folder / "scratch.sqlite3"
    passed = 0
    error_type, stride = ERRORS[error]
    for n in range(1, STEPS_MAX, stride):
        shutil.copy(base, path)
        run = Run(path)
        with faulty_disk() as disk:
            desk = later_desk(path, 30)
            disk.arm(n, for_good=for_good, error=error_type)
            run.live(desk)
            failed = disk.failed
            close(desk)
            disk.disarm()
        judge(run, scratch)
        if not failed:
            assert run.failed == []
            passed = n
            break
        assert run.failed or not for_good
    assert passed > 50, "the script is long enough to be worth it, and ends"


def test_a_disk_that_fails_for_good_opens_the_breaker(base, folder):
    path = folder / "x.sqlite3"
    for kind in ("write", "sync"):
        shutil.copy(base, path)
        run = Run(path)
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
        assert Outcome.NOT_DONE in run.outcomes
        assert run.outcomes[0] is Outcome.UNKNOWN
        judge(run, folder / "scratch.sqlite3")


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("fresh", [True, False], ids=["new file", "old file"])
def test_an_opening_that_fails_can_be_tried_again(base, folder, fresh, for_good):
    """Migrations, the taking over and the first pass over the leases, each at every step."""
    path, scratch = folder / "x.sqlite3", folder / "scratch.sqlite3"
    for n in range(1, STEPS_MAX):
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
    run = Run(path)
    with faulty_disk() as disk:
        desk = later_desk(path, 30)
        run.live(desk)
        assert run.failed == []
        disk.arm(1, for_good=True, only=(only,))
        close(desk)
        disk.disarm()
    judge(run, folder / "scratch.sqlite3")
