"""What the tests of faults share."""

import logging
from pathlib import Path

import pytest

from ..project.harness import quick_folder


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def folder():
    with quick_folder() as name:
        yield Path(name)
