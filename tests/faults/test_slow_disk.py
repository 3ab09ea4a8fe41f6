"""A disk that takes 50 ms for a sync: how many of them the other projects have to wait for.

Nothing here takes that long: each sync costs time on a clock that only the tests have.
"""

import threading
from types import SimpleNamespace

import pytest

from intermute.project import committing
from intermute.project.committing import CommitMode, Committer
from intermute.storage.migrations import packaged

from ..project.harness import Desk, reserve
from .disk import Disk, faulty_disk

SYNC_NS = 50_000_000
FAST_NS = 1_000_000
SEEN = 16
PROBE_EVERY = 32


class Costs:
    """What syncs cost: all of it, and what of it the event loop's thread has waited for."""

    def __init__(self):
        self.now_ns = 0
        self.waited_ns = 0
        self.each_ns = SYNC_NS
        self._loop = threading.get_ident()

    def sync(self):
        self.now_ns += self.each_ns
        if threading.get_ident() == self._loop:
            self.waited_ns += self.each_ns


@pytest.fixture
def costs(monkeypatch):
    found = Costs()
    clock = SimpleNamespace(perf_counter_ns=lambda: found.now_ns)
    monkeypatch.setattr(committing, "time", clock)
    monkeypatch.setattr(committing, "_PROBE_EVERY", PROBE_EVERY)
    step = Disk.step

    def counted(disk, kind, name, act):
        if kind == "sync":
            found.sync()
        return step(disk, kind, name, act)

    monkeypatch.setattr(Disk, "step", counted)
    with faulty_disk():
        yield found


async def commits(desk, costs, count, first=0):
    """Make so many commits; how long the loop waited for the disk in them, nanoseconds."""
    before = costs.waited_ns
    for number in range(first, first + count):
        await desk.tell_waiting(reserve(f"ann{number % 50}", f"p{number}"))
    return costs.waited_ns - before


async def test_auto_goes_to_a_thread_once_it_has_seen_enough_and_comes_back(folder, costs):
    committer = Committer(CommitMode.AUTO)
    desk = Desk(folder / "x.sqlite3", committer=committer)
    already = committer.inline_commits
    first = await commits(desk, costs, SEEN - already)
    assert first <= (SEEN + 1) * SYNC_NS, "and one for the head of the `-wal`"
    later = await commits(desk, costs, 2 * PROBE_EVERY, SEEN)
    assert later == 2 * SYNC_NS, "one in so many is waited for"
    assert committer.thread_commits == 2 * PROBE_EVERY - 2
    costs.each_ns = FAST_NS
    # So many probes until most of what is remembered is of the better disk.
    for number in range(SEEN // 2 + 1):
        await commits(desk, costs, PROBE_EVERY, (number + 4) * PROBE_EVERY)
    in_thread = committer.thread_commits
    await commits(desk, costs, 10, 50_000)
    assert committer.thread_commits == in_thread, "the disk has recovered"
    desk.close()


@pytest.mark.parametrize("mode", [CommitMode.THREAD, CommitMode.INLINE])
async def test_the_others_do_as_they_are_told(folder, costs, mode):
    desk = Desk(folder / "x.sqlite3", committer=Committer(CommitMode.INLINE))
    desk.actor._committer = Committer(mode)
    waited = await commits(desk, costs, 20)
    assert waited == (0 if mode is CommitMode.THREAD else 20 * SYNC_NS)
    desk.close()


def test_what_an_opening_costs_is_known(folder, costs):
    """It runs in the event loop, so every other project waits for these syncs.

    A new file takes one for each migration and some more; one that is there takes few, its
    closing included.
    """
    desk = Desk(folder / "x.sqlite3")
    new = costs.waited_ns // SYNC_NS
    desk.close()
    before = costs.waited_ns
    Desk(folder / "x.sqlite3").close()
    known = (costs.waited_ns - before) // SYNC_NS
    assert new <= len(packaged()) + 8
    assert known <= 6
