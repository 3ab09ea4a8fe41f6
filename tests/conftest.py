"""What every test needs done once, and what tests of several layers need."""

import gc

import pytest

from intermute.globs.automaton import Automaton
from intermute.globs.union import Union


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Thousands of tests stay to the end: the collector need not look at them time and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps were made, of one pattern's automaton or of many at once."""
    made = [0]
    for kind in (Automaton, Union):

        def counting(self, states, masks, step=kind.step):
            made[0] += 1
            return step(self, states, masks)

        monkeypatch.setattr(kind, "step", counting)
    return made
