"""What the tests of hostile input share: a server that must not say a word about them."""

import logging

import pytest

from ..e2e.conftest import clock, server

__all__ = ["clock", "no_bugs", "server"]


@pytest.fixture(autouse=True)
def no_bugs(caplog: pytest.LogCaptureFixture):
    """Whatever is sent, nothing is logged as an error: bugs are, refusals are not."""
    yield
    every = [*caplog.get_records("setup"), *caplog.get_records("call")]
    said = [record for record in every if record.levelno >= logging.ERROR]
    assert not said, [record.getMessage() for record in said]
