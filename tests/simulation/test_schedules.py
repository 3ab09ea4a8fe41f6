"""Thousands of lives of a project, each decided by a seed, held to what no life may break.

Half of the seeds are the same in every run and half are new. To live one again:

    SIMULATION_SEED=12345 pytest tests/simulation
"""

import logging
import os
import secrets

import pytest

from ..effort import effort
from .world import Base

SCHEDULES = effort(200, 5_000)
PARTS = 10
# One in so many is also held against tables that are built anew from the log.
THOROUGH_EVERY = 50


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def fresh():
    """Where the new seeds of this run begin."""
    return secrets.randbits(40)


def live(base, seed):
    try:
        base.run(seed, thorough=seed % THOROUGH_EVERY == 0)
    except BaseException as error:
        error.add_note(f"this is the schedule of seed {seed}: SIMULATION_SEED={seed}")
        raise


@pytest.mark.parametrize("part", range(PARTS))
def test_no_schedule_breaks_what_always_holds(part, fresh):
    chosen = os.environ.get("SIMULATION_SEED")
    if chosen is not None:
        live(Base(), int(chosen))
        return
    base = Base()
    first = part * SCHEDULES if part < PARTS // 2 else fresh + part * SCHEDULES
    for seed in range(first, first + SCHEDULES):
        live(base, seed)


def test_a_schedule_happens_again_just_as_it_did():
    """The same seed makes the same log, byte for byte."""
    logs = []
    for _ in range(2):
        base = Base()
        heard = []
        for seed in (3, 14, 159):
            base.run(seed, keep=heard)
        logs.append(heard)
    assert logs[0] == logs[1]
    assert len(logs[0]) > 10
