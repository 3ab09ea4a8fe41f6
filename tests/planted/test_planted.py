"""The suite is tested too: ten known bugs are planted one at a time, and each must be caught."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .bugs import PLANTS
from .catches import CATCHES

ROOT = Path(__file__).parents[2]
RUN_S = 300


@pytest.fixture(scope="module")
def runs():
    """By bug: pytest's exit code and what it said. None is the run without any bug."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.planted.run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_S,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {each["bug"]: (each["code"], each["said"]) for each in found}


def test_without_a_bug_these_tests_pass(runs):
    code, said = runs[None]
    assert code == 0, said


def test_every_bug_has_a_test_that_catches_it(runs):
    assert set(PLANTS) == set(CATCHES) == set(runs) - {None}
    assert len(PLANTS) == 10


@pytest.mark.parametrize("bug", CATCHES)
def test_a_planted_bug_is_caught(runs, bug):
    code, said = runs[bug]
    assert code == pytest.ExitCode.TESTS_FAILED, f"{bug} was not caught: {said}"
    test, reason = CATCHES[bug]
    assert f"FAILED tests/{test}" in said, said
    assert reason in said, said
