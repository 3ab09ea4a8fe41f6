"""Whole towns, each decided by a seed, held to what no town may break.

Some seeds are the same in every run and some are new. To live one again:

    SIMULATION_SEED=12345 pytest tests/simulation/test_whole_app.py

SIMULATION_TOWNS says how many new ones there are.
"""

import logging
import os
import secrets
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ..effort import effort
from .town import live

FIXED = (1, 6, 10, *range(100, 100 + effort(0, 100)))
FRESH = int(os.environ.get("SIMULATION_TOWNS") or effort(3, 600))
PARTS = min(8, FRESH)
# What happens in the fixed ones, as far as a simulation is worth nothing without it.
REACHED = (
    "crash",
    "restart",
    "unknown",
    "replayed",
    "confirmed",
    "nap",
    "socket closed 1001",
    "503 project_unavailable",
    "503 storage_unavailable",
    "agent.retired",
    "deadlock",
    "message.ack",
    "message.created",
    "reservation.expired",
    "reservation.granted",
    "reservation.narrowed",
    "reservation.released",
    "reservation.renewed",
    "reservation.skipped",
    "reservation_conflict",
)
ROOT = Path(__file__).parents[2]
SHOW = """
import logging
from tests.simulation.town import live
logging.disable(50)
print(live({}))
"""


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def fresh():
    """Where the new seeds of this run begin."""
    return secrets.randbits(40)


def live_or_tell(seed):
    try:
        return live(seed)
    except BaseException as error:
        error.add_note(f"this is the town of seed {seed}: SIMULATION_SEED={seed}")
        raise


def chosen():
    return os.environ.get("SIMULATION_SEED")


def test_no_known_town_breaks_a_promise():
    seeds = FIXED if chosen() is None else [int(chosen())]
    counts, traces = Counter(), set()
    for seed in seeds:
        outcome = live_or_tell(seed)
        counts.update(outcome.counts)
        traces.add(outcome.trace)
    assert len(traces) == len(seeds)
    missing = [what for what in REACHED if not counts[what]]
    assert chosen() is not None or not missing, f"never happens: {missing}"


@pytest.mark.parametrize("part", range(PARTS))
def test_no_new_town_breaks_a_promise(part, fresh):
    if chosen() is not None:
        pytest.skip("a seed was chosen")
    for n in range(part, FRESH, PARTS):
        live_or_tell(fresh + n)


def test_a_town_lives_again_just_as_it_did():
    """In another process, in which texts have other hashes, everything is seen again."""
    told = []
    for hashes in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hashes, "PYTHONPATH": str(ROOT)}
        run = subprocess.run(
            [sys.executable, "-c", SHOW.format(4)],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        told.append(run.stdout)
    assert told[0] == told[1]
    assert "trace=" in told[0]
