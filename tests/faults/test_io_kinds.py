"""Every way in which a step of the disk can fail, at random steps of mixed work, once and for good.

Half of the seeds are the same in every run and half are new. To live one again:

    DISK_FAULTS_SEED=12345 pytest tests/faults/test_io_kinds.py
"""

import contextlib
import os
import random
import secrets
from pathlib import Path

import apsw
import pytest

from intermute.domain import commands, limits
from intermute.domain.decision import Accepted
from intermute.project.messages import StorageUnavailable, Told
from intermute.storage.faults import FAULTS, StorageError
from intermute.storage.reader import Reader

from ..effort import effort
from ..project.harness import Desk, HandClock, quick_folder
from .disk import CHANGES, LOOKS, How, faulty_disk
from .lives import Run, close, judge
from .mixed import Mix

VARIABLE = "DISK_FAULTS_SEED"
LIVES = effort(2, 60)
BATCHES = 30
EVERYTHING = (*CHANGES, *LOOKS, "delete")
# How a step fails: which steps, what SQLite is told, and what was done all the same.
KINDS = {
    "error": (CHANGES, apsw.IOError, How.BEFORE),
    "error although done": (CHANGES, apsw.IOError, How.AFTER),
    "full": (("write", "truncate"), apsw.FullError, How.BEFORE),
    "full in the middle": (("write",), apsw.FullError, How.PART),
    "torn write": (("write",), apsw.IOError, How.PART),
    "torn write, unsaid": (("write",), apsw.IOError, How.UNSAID),
    "failing sync": (("sync",), apsw.IOError, How.BEFORE),
    "failing read": (("read", "size"), apsw.IOError, How.BEFORE),
    "cannot open": (("open",), apsw.CantOpenError, How.BEFORE),
    "busy": (("lock",), apsw.BusyError, How.BEFORE),
    "locked": (("lock",), apsw.LockedError, How.BEFORE),
    "anything": (EVERYTHING, apsw.IOError, How.BEFORE),
}


class Rough(Run):
    """Mixed work on a disk that fails now and then, with restarts when an actor ends."""

    def __init__(self, path, dice, kind):
        super().__init__(path, None)
        self.dice = dice
        self.only, self.error, self.how = KINDS[kind]
        self.clock = HandClock()
        self.hits = 0

    def go(self):
        with faulty_disk() as disk:
            desk = self.start(disk)
            mix = Mix(desk, self.dice, "rough")
            for number in range(BATCHES):
                # The first few make something that can be lost.
                if number >= 5 and self.dice.random() < 0.5:
                    self.arm(disk)
                mix.turn_to(desk)
                self.died = False
                batch = mix.batch()
                self.script = lambda _, batch=batch: [batch]
                self.live(desk)
                self.look(desk)
                self.clock.later(self.dice.choice((0, 1, limits.BREAKER_OPEN_MS / 1000)))
                if self.died or self.dice.random() < 0.1:
                    close(desk)
                    desk = self.start(disk)
                self.ease(disk)
            self.arm(disk)
            close(desk)
            self.ease(disk)

    def arm(self, disk):
        for_good = self.dice.random() < 0.3
        at = self.dice.choice((1, 2, 3, 5, 8, 20, 50))
        disk.arm(at, for_good=for_good, error=self.error, only=self.only, how=self.how)

    def ease(self, disk):
        self.hits += disk.failed
        disk.disarm()
        disk.failed = 0

    def start(self, disk):
        """The next actor, at the latest when the disk is well."""
        for _ in range(2):
            try:
                return Desk(self.path, self.clock)
            except (*FAULTS, StorageError, StorageUnavailable):
                self.ease(disk)
        return Desk(self.path, self.clock)

    def look(self, desk):
        """A reader sees whole and committed things, or is told of a fault."""
        try:
            reader = Reader.open(self.path)
        except FAULTS:
            return
        assert reader is not None
        try:
            assert reader.last_cursor() <= desk.state.cursor or self.failed
        except FAULTS:
            pass
        finally:
            # A fault of the unlocking is told here, where SQLite itself would pass over it.
            with contextlib.suppress(*FAULTS):
                reader.close()


def rough_life(kind, seed):
    try:
        with quick_folder() as name:
            folder = Path(name)
            run = Rough(folder / "x.sqlite3", random.Random(seed), kind)
            run.go()
            judge(run, folder / "scratch.sqlite3", look=lambda _: None)
            return run.hits
    except BaseException as error:
        error.add_note(f"this is the life of seed {seed}: {VARIABLE}={seed}")
        raise


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_of_fault_takes_back_what_was_acknowledged(kind):
    chosen = os.environ.get(VARIABLE)
    fresh = secrets.randbits(40)
    seeds = [*range(LIVES), *range(fresh, fresh + LIVES)]
    hits = [rough_life(kind, seed) for seed in ([int(chosen)] if chosen else seeds)]
    assert 2 * sum(hits) >= len(hits), "the faults are met"


def test_the_mix_has_every_kind_of_command(folder):
    """Accepted at least once: what is refused writes nothing that could be lost."""
    accepted = set()
    dice = random.Random(1)
    for number in range(8):
        desk = Desk(folder / f"{number}.sqlite3")
        mix = Mix(desk, dice, "mix")
        for _ in range(150):
            batch = mix.batch()
            for ask, told in zip(batch, desk.tell(*batch), strict=True):
                assert isinstance(told, Told), told
                if isinstance(told.decision, Accepted):
                    accepted.add(type(ask.command))
            desk.clock.later(dice.choice((0, 0, 0, 0, 1, 61)))
        desk.close()
    every = {found for found in vars(commands).values() if isinstance(found, type)}
    kinds = {found for found in every if issubclass(found, commands.Command) and found.kind}
    assert kinds <= accepted, {found.__name__ for found in kinds - accepted}
