"""The simulation is itself tested: planted bugs come to light within a few seeds."""

import logging

import pytest

from ..effort import effort
from .bugs import BUGS, GOOD
from .town import live

SEEDS_MAX = 12
# Where bugs that need a rare moment come to light soon. Any other seed may do so as well.
FIRST = {"resume_off_by_one": 2, "retry_not_remembered": 1, "waiter_lost_on_cancel": 5}


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def is_caught(bug, plan, seed):
    """Whether somebody says that a promise is broken; any other error is one of the test."""
    caught = False
    try:
        with bug():
            live(seed, plan=plan)
    except* AssertionError:
        caught = True
    return caught


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_caught(bug):
    first = FIRST.get(bug.__name__, 0)
    seeds = range(first, first + SEEDS_MAX)
    assert any(is_caught(bug, BUGS[bug], seed) for seed in seeds), "nobody has noticed it"


def test_without_a_bug_nothing_is_caught():
    """The kinds of towns in which bugs are caught are sound without them."""
    plans = list(dict.fromkeys((GOOD, *BUGS.values())))
    for seed, plan in enumerate(plans[: effort(1, len(plans))]):
        live(seed, plan=plan)
