"""Locks that others hold, at every lock that SQLite takes, and system calls that do less."""

import errno
import random
import shutil
import sys
from functools import partial

import pytest
import trio

from intermute.domain import limits
from intermute.domain.decision import Accepted
from intermute.project.breaker import BreakerState
from intermute.project.messages import StorageUnavailable, Told, WriteOutcome
from intermute.storage.faults import FAULTS
from intermute.storage.reader import Reader

from ..effort import effort
from ..project.harness import Desk, assert_consistent, log_of, opened, reserve
from .lives import close, later_desk
from .mixed import Mix
from .system_calls import failing_system

STEPS_MAX = 400

linux = pytest.mark.skipif(sys.platform != "linux", reason="it looks at /proc/self/fd")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("base") / "x.sqlite3")
    mix = Mix(desk, random.Random(3), "base")
    for _ in range(30):
        desk.tell(*mix.batch())
    desk.close()
    return desk.path


async def work(desk, seed=4):
    """Batches, a reader beside them, a checkpoint: what was acknowledged, and what met a fault."""
    acknowledged, faults = [], []
    mix = Mix(desk, random.Random(seed), f"work{seed}")
    for _ in range(6):
        for told in await desk.tell_waiting(*mix.batch()):
            if isinstance(told, Told) and isinstance(told.decision, Accepted):
                acknowledged += told.decision.events
            elif isinstance(told, StorageUnavailable):
                faults.append(told)
        reader = None
        try:
            reader = Reader.open(desk.path)
            reader.last_cursor()
        except FAULTS as error:
            faults.append(error)
        finally:
            if reader is not None:
                reader.close()
    return acknowledged, faults


async def live_on(base, path, system, arm):
    """A life with a fault armed; answers what was acknowledged, and whether one was met."""
    for leftover in path.parent.glob(f"{path.name}*"):
        leftover.unlink()
    shutil.copy(base, path)
    arm()
    acknowledged = []
    try:
        desk = later_desk(path, 30)
    except (*FAULTS, StorageUnavailable, AssertionError):
        # The last is of a desk, which does not wait while it is opened.
        desk = None
    try:
        if desk is not None:
            acknowledged, _ = await work(desk)
    except FAULTS:
        pass
    finally:
        if desk is not None:
            close(desk)
    met = system.failed > 0
    system.disarm()
    return acknowledged, met


def hold_to_it(path, scratch, acknowledged):
    desk = later_desk(path, 500)
    log = [event.data for event in log_of(path)]
    assert [data for data in acknowledged if data not in log] == []
    assert_consistent(path, scratch, desk.state)
    desk.close()


@linux
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EIO], ids=["busy", "error"])
async def test_any_lock_of_the_shared_memory_may_be_refused(
    base, folder, autojump_clock, number, for_good
):
    """Taken by reads, by writers, for checkpoints, recovery and when it is made."""
    path = folder / "x.sqlite3"
    with failing_system() as system:
        for at in range(1, STEPS_MAX, effort(24, 3) if for_good else effort(8, 1)):
            arm = partial(system.arm, "lock", at, number=number, for_good=for_good)
            acknowledged, met = await live_on(base, path, system, arm)
            hold_to_it(path, folder / "scratch.sqlite3", acknowledged)
            if not met:
                break
        else:
            raise AssertionError("the work never ends")
    assert at > 20, "there are locks that can be refused"


@linux
@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("read", 0),
        ("write", 0),
        ("read", errno.EINTR),
        ("write", errno.EINTR),
    ],
    ids=["short reads", "short writes", "interrupted reads", "interrupted writes"],
)
async def test_what_a_system_call_leaves_is_done_by_the_next(base, folder, kind, number):
    """A transfer that is short or interrupted is no fault, wherever it happens."""
    path = folder / "x.sqlite3"
    dice = random.Random(kind)
    with failing_system() as system:
        shutil.copy(base, path)
        desk = later_desk(path, 30)
        acknowledged, met = [], 0
        for seed in range(10):
            system.arm(kind, dice.randrange(1, 30), number=number)
            done, faults = await work(desk, seed)
            acknowledged += done
            assert faults == []
            met += system.failed
        desk.close()
        system.disarm()
    assert met > 5
    hold_to_it(path, folder / "scratch.sqlite3", acknowledged)


# -- A real second connection ---------------------------------------------------------------------


async def test_a_second_writer_is_waited_for_and_then_counted(base, folder, autojump_clock):
    """Reads go on all the time, nothing is done twice, and it heals when the other lets go."""
    path = folder / "x.sqlite3"
    shutil.copy(base, path)
    desk = later_desk(path, 30)
    before = len(desk.events())
    with opened(path) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in range(limits.BREAKER_FAULTS_MAX):
            (told,) = await desk.tell_waiting(reserve("ann", f"new{number}"))
            assert (told.kind, told.outcome) == ("busy", WriteOutcome.NOT_DONE)
            assert len(desk.events()) == before, "a reader is not in anybody's way"
        assert desk.breaker.state(desk.clock.mono_us) is BreakerState.OPEN
        other.execute("ROLLBACK")
    desk.clock.later(limits.BREAKER_OPEN_MS / 1000)
    (told,) = await desk.tell_waiting(reserve("ann", "new0"))
    assert isinstance(told, Told)
    assert desk.breaker.state(desk.clock.mono_us) is BreakerState.CLOSED
    assert_consistent(path, folder / "scratch.sqlite3", desk.state)
    desk.close()


async def test_a_checkpoint_by_somebody_else_is_in_nobodys_way(base, folder):
    path = folder / "x.sqlite3"
    shutil.copy(base, path)
    desk = later_desk(path, 30)
    acknowledged = []
    with opened(path) as other:
        for mode in ("PASSIVE", "FULL", "RESTART", "TRUNCATE"):
            done, faults = await work(desk)
            assert faults == []
            acknowledged += done
            other.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        # An old snapshot that is still read keeps the `-wal`, and the closing goes on without it.
        other.execute("BEGIN; SELECT count(*) FROM events").fetchall()
        done, faults = await work(desk)
        assert faults == []
        desk.close()
        other.execute("COMMIT")
    hold_to_it(path, folder / "scratch.sqlite3", acknowledged + done)


@linux
async def test_a_lock_that_is_never_given_is_a_fault_and_not_a_wait(base, folder, autojump_clock):
    path = folder / "x.sqlite3"
    shutil.copy(base, path)
    with failing_system() as system:
        desk = later_desk(path, 30)
        system.arm("lock", 1, for_good=True)
        with trio.fail_after(60):
            (told,) = await desk.tell_waiting(reserve("ann", "new"))
        assert isinstance(told, StorageUnavailable)
        system.disarm()
        assert isinstance(desk.tell(reserve("ann", "new"))[0], Told)
        desk.close()
