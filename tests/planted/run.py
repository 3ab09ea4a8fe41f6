"""Runs, for each planted bug, the test that catches it; a program of its own.

Pytest and the product are loaded once. Each run is then a child by `fork` that plants one bug, or
none for the control, so that no bug outlives its run. One line of JSON is written for each: the
name of the bug, pytest's exit code and what it said.
"""

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

import pytest

# Loaded before the forks.
import pytest_trio.plugin  # noqa: F401

import intermute.app  # noqa: F401

from .bugs import PLANTS, plant
from .catches import CATCHES

TESTS = Path(__file__).parents[1]
# What is loaded before the forks cannot be rewritten any more, and pytest warns of that.
LOADED = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "--tb=short", *LOADED)


def judged(bug, tests):
    """Pytest's exit code for these tests under the bug, and what it said."""
    with tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if not child:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            code = 99
            try:
                if bug is not None:
                    plant(bug)
                code = int(pytest.main([*OPTIONS, *(str(TESTS / test) for test in tests)]))
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read()


def main():
    every = [test for test, _ in CATCHES.values()]
    for bug, tests in [(None, every), *((bug, [CATCHES[bug][0]]) for bug in PLANTS)]:
        code, said = judged(bug, tests)
        sys.stdout.write(json.dumps({"bug": bug, "code": code, "said": said}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
