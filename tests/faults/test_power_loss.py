"""Power cuts at random moments of mixed work: what was acknowledged is there, and nothing by half.

Half of the seeds are the same in every run and half are new. To live one again:

    POWER_LOSS_SEED=12345 pytest tests/faults/test_power_loss.py
"""

import os
import random
import secrets
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest.mock import patch

import pytest

from intermute.storage.writer import Writer

from ..effort import effort
from ..project.harness import quick_folder
from .outages import Judge, Life
from .powerloss import Loss, Platter

VARIABLE = "POWER_LOSS_SEED"
# A series is some lives one after the other, each on what the power cut before has left.
SERIES = effort(2, 60)
LIVES = 3
BATCHES = 25
CUTS = 25
EACH = effort(3, 8)


def series(folder, seed, *, plant=nullcontext, **loss):
    """Some lives on one disk, the outcome of each held to what it promised; the judge of them."""
    dice = random.Random(seed)
    judge, files = Judge(folder), {}
    try:
        for number in range(LIVES):
            place = folder / f"life{number}"
            place.mkdir()
            with plant():
                life = Life(place, files, dice, calm=plant is not nullcontext)
                account = life.live(BATCHES)
            files = judge.judge(account, dice, cuts=CUTS, each=EACH, **loss)
    except BaseException as error:
        error.add_note(f"this is the series of seed {seed}: {VARIABLE}={seed}")
        raise
    return judge


@pytest.mark.parametrize("fresh", [False, True], ids=["fixed", "fresh"])
def test_what_was_acknowledged_outlives_a_power_cut(fresh):
    chosen = os.environ.get(VARIABLE)
    first = secrets.randbits(40) if fresh else 0
    seeds = [int(chosen)] if chosen else range(first, first + SERIES)
    for seed in seeds:
        with quick_folder() as name:
            found = series(Path(name), seed)
        assert found.different > LIVES * CUTS, "most of the outcomes differ"


def test_nothing_but_what_was_synced_is_needed_at_any_step(folder):
    """Not at random: after each single step of a life all that was not synced is gone; and none."""
    dice = random.Random(1)
    judge, files = Judge(folder), {}
    for number in range(2):
        place = folder / f"life{number}"
        place.mkdir()
        account = Life(place, files, dice).live(effort(5, 100))
        platter = Platter(files)
        for at, step in enumerate(account.recorder.steps, 1):
            platter.step(step)
            for kind in ("all", "none"):
                files = platter.image(Loss(kind), dice)
                judge.look(account, at, files, dice)
    assert judge.different > 50


# -- The same test must find a server that does not keep its word ---------------------------------


def synced(level):
    """A writer that is content with less than FULL."""

    @contextmanager
    def plant():
        original = Writer.open.__func__

        def opened(cls, *args, **options):
            writer = original(cls, *args, **options)
            writer._connection.pragma("synchronous", level)
            return writer

        with patch.object(Writer, "open", classmethod(opened)):
            yield

    return plant


@contextmanager
def answers_first():
    """A writer that makes a transaction when the next one begins."""
    commit, begin, close = Writer.commit, Writer.begin, Writer.close

    def put_off(writer):
        pass

    def late_begin(writer):
        if writer.in_transaction:
            commit(writer)
        begin(writer)

    def late_close(writer):
        if writer.in_transaction:
            commit(writer)
        close(writer)

    with (
        patch.object(Writer, "commit", put_off),
        patch.object(Writer, "begin", late_begin),
        patch.object(Writer, "close", late_close),
    ):
        yield


@contextmanager
def commits_by_halves():
    """A writer that makes a transaction of each event."""
    append = Writer.append

    def alone(writer, event):
        length = append(writer, event)
        writer._execute("COMMIT")
        writer._execute("BEGIN IMMEDIATE")
        return length

    with patch.object(Writer, "append", alone):
        yield


PLANTS = {
    "synchronous=NORMAL": (synced("NORMAL"), "is lost|went back"),
    "synchronous=OFF": (synced("OFF"), "is lost|went back|opened|no whole number|malformed"),
    "answers before the commit": (answers_first, "and is lost"),
    "commits by halves": (commits_by_halves, "no whole number"),
}


@pytest.mark.parametrize("name", PLANTS)
def test_a_server_that_breaks_its_word_is_found(folder, name):
    plant, says = PLANTS[name]
    with pytest.raises(AssertionError, match=says):
        series(folder, 1, plant=plant)
