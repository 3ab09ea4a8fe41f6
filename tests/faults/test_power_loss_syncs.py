"""Disks that do less than they should: syncs that fail and forget, and those that only say so."""

import os
import random

import pytest

from intermute.project.messages import StorageUnavailable, Told, WriteOutcome
from intermute.storage.files import DataDirectory

from ..project.harness import reserve
from .lives import close
from .outages import FILE, Account, Judge, Life, observed
from .powerloss import Create, Loss, Platter, recording


def last_image(account):
    """What is left when the power fails now, and all that need not be kept is gone."""
    platter = Platter(account.files)
    for step in account.recorder.steps:
        platter.step(step)
    return platter.image(Loss("all"), random.Random(1))


@pytest.mark.parametrize("killed", [False, True], ids=["goes on", "is killed"])
def test_what_comes_after_a_sync_that_failed_is_durable(folder, killed):
    """What could not be synced is seen by everybody and is on no disk, and no later sync says so.

    A process that is started in between finds a whole transaction there. What it acknowledges
    after that must not rest on it.
    """
    (folder / "life").mkdir()
    life = Life(folder / "life", {}, random.Random(1))
    place = life.new_place({})
    with recording(place) as recorder:
        recorder.steps.append(Create(FILE))
        account = Account({}, recorder)
        with observed(account):
            desk = life.open(account, place / FILE)
            desk.register("ann")
            account.told(desk)
            recorder.fail_sync = lambda _: True
            (failed,) = desk.tell(reserve("ann", "a"))
            assert isinstance(failed, StorageUnavailable)
            assert failed.outcome is WriteOutcome.UNKNOWN
            recorder.fail_sync = lambda _: False
            if killed:
                desk = life.kill(account, desk)
            (told,) = desk.tell(reserve("ann", "b"))
            assert isinstance(told, Told)
            account.told(desk)
            files = last_image(account)
            at = len(recorder.steps)
            close(desk)
        life.end(recorder)
    Judge(folder).look(account, at, files, random.Random(1))


def test_a_new_data_directory_is_on_the_disk_before_anything_is_in_it(folder, monkeypatch):
    """Each folder that was made is a name in another, which the disk keeps once that is synced."""
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_ino), fsync(fd)))
    DataDirectory(folder / "a" / "b" / "data").close()
    made = [folder, folder / "a", folder / "a" / "b"]
    assert {each.stat().st_ino for each in made} <= set(synced)
    synced.clear()
    DataDirectory(folder / "a" / "b" / "data").close()
    assert synced == [], "what was there is there"


def test_a_disk_that_spoils_what_lies_beside_is_not_survived(folder):
    """What SQLite takes for granted, as docs/durability.md says."""
    dice = random.Random(1)
    (folder / "life").mkdir()
    account = Life(folder / "life", {}, dice, calm=True).live(40)
    with pytest.raises(AssertionError, match="is lost"):
        Judge(folder).judge(account, dice, cuts=100, each=5, garbage=1.0, spares=False, sector=4096)
