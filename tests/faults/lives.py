"""Lives of a project on a bad disk: what was asked, what was acknowledged, what is there after."""

import contextlib
import shutil

import apsw
from msgspec.structs import replace

from intermute.domain.commands import ReservePaths
from intermute.domain.decision import Accepted
from intermute.domain.events import (
    AgentRetired,
    EntityKept,
    MessageCreated,
    ReservationCreated,
    ReservationReleased,
)
from intermute.domain.modes import Mode
from intermute.project.messages import StorageUnavailable, Told
from intermute.storage.faults import FAULTS

from ..effort import effort
from ..project.harness import (
    TTL_S,
    WALL,
    Desk,
    HandClock,
    S,
    assert_consistent,
    log_of,
)
from .disk import faulty_disk

STEPS_MAX = 500
# Of every how many steps one fails. The second kind goes the same ways through the product.
ERRORS = {"io": (apsw.IOError, effort(4, 1)), "full": (apsw.FullError, effort(13, 4))}


def keyed(desk, name, *patterns, agent_id="keyed"):
    """A reservation that can be asked for again; its reason tells which one it is."""
    command = ReservePaths(agent_id, patterns, Mode.EXCLUSIVE, name, TTL_S * 1000)
    return desk.ask(command, key=name)


def later_desk(path, after_s):
    """The next process on the file; its stamps are not those of an earlier one."""
    return Desk(path, HandClock(at_us=WALL + after_s * S))


class Run:
    """One life on a bad disk: what was asked, what was acknowledged, what became unknown.

    Args:
        script: From a desk to the batches that it is asked, made from the state as it is.
    """

    def __init__(self, path, script):
        self.path = path
        self.script = script
        self.acknowledged = []
        self.failed = []
        self.outcomes = []
        self.died = False

    def live(self, desk):
        for batch in self.script(desk):
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


def judge(run, scratch, *, look=whole):
    """After a restart on a good disk. `look` is given the file, before and after asking again."""
    desk = later_desk(run.path, 500)
    log = [event.data for event in log_of(run.path)]
    missing = [data for data in run.acknowledged if data not in log]
    assert missing == [], "acknowledged, and lost"
    look(run.path)
    assert_consistent(run.path, scratch, desk.state)
    again = [ask for ask in run.failed if ask.idempotency is not None]
    if again:
        # As a client does: the same request, with the stamp of another arrival.
        told = desk.tell(*(replace(ask, stamp=desk.clock.stamp()) for ask in again))
        assert all(isinstance(one, Told) for one in told)
    look(run.path)
    done = [name for event in log_of(run.path) if (name := _named(event.data))]
    assert len(done) == len(set(done)), "asked again, and done twice"
    assert_consistent(run.path, scratch, desk.state)
    desk.close()


def _named(data):
    """What tells one thing that was made from all others of its kind, if anything does."""
    if isinstance(data, ReservationCreated):
        return data.reason
    if isinstance(data, MessageCreated):
        return data.subject
    if isinstance(data, EntityKept) and data.entity.version == 1:
        return data.entity.fields.get("title")
    return None


def fail_at_every_step(base, folder, script, *, error, for_good, every=1, look=lambda path: None):
    """Live once for each step (or `every` so many) of the script that can fail.

    `look` is given the file after each life.

    Returns the number of its steps.
    """
    path, scratch = folder / "x.sqlite3", folder / "scratch.sqlite3"
    error_type, stride = ERRORS[error]
    for n in range(1, STEPS_MAX, stride * every):
        shutil.copy(base, path)
        run = Run(path, script)
        with faulty_disk() as disk:
            desk = later_desk(path, 30)
            disk.arm(n, for_good=for_good, error=error_type)
            run.live(desk)
            failed = disk.failed
            close(desk)
            disk.disarm()
        judge(run, scratch)
        look(path)
        if not failed:
            assert run.failed == []
            return n
        assert run.failed or not for_good
    raise AssertionError("the script never ends")
