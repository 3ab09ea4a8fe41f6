"""What every test needs done once, so that it is not done a thousand times."""

import gc

import pytest


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
