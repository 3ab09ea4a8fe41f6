"""Lock modes: the textbook's table, wherever two patterns overlap."""

from itertools import product

import pytest

from intermute.domain.commands import CheckPaths, ReservePaths
from intermute.domain.decision import Accepted
from intermute.domain.modes import ABBREVIATIONS, CONFLICTING, Mode, parse_mode
from intermute.domain.refusals import Code, Refusal

from ..properties.oracle import GET_ON
from .table import ALICE, BOB, ask, held, state_of

PAIRS = list(product(Mode, repeat=2))


def test_the_table_is_the_textbooks():
    assert {pair: pair[1] not in CONFLICTING[pair[0]] for pair in PAIRS} == GET_ON
    assert all(GET_ON[one, other] == GET_ON[other, one] for one, other in PAIRS)


@pytest.mark.parametrize(("holds", "wants"), PAIRS)
@pytest.mark.parametrize("path", ["src", "src/a/b.py", "**/*.py"])
def test_what_gets_on_with_what(holds, wants, path):
    state = state_of([held("r", ALICE, "src/**", mode=holds)])
    decision = ask(state, ReservePaths(BOB, (path,), wants, ttl_ms=60_000))
    assert isinstance(decision, Accepted) is GET_ON[holds, wants]
    if isinstance(decision, Refusal):
        assert decision.code is Code.RESERVATION_CONFLICT
    checked = ask(state, CheckPaths((path,), wants, BOB)).answer
    assert [conflict.mode for conflict in checked.conflicts] == [holds] * (
        not GET_ON[holds, wants]
    ), "the check says what reserve would"


@pytest.mark.parametrize(("holds", "wants"), PAIRS)
def test_what_does_not_overlap_always_gets_on(holds, wants):
    state = state_of([held("r", ALICE, "src/**", mode=holds)])
    assert isinstance(ask(state, ReservePaths(BOB, ("lib",), wants, ttl_ms=60_000)), Accepted)


@pytest.mark.parametrize(("holds", "wants"), PAIRS)
def test_ones_own_always_get_on(holds, wants):
    state = state_of([held("r", ALICE, "src/**", mode=holds)])
    assert isinstance(ask(state, ReservePaths(ALICE, ("src",), wants, ttl_ms=60_000)), Accepted)


@pytest.mark.parametrize("mode", Mode)
def test_a_mode_goes_by_its_name_and_its_letters(mode):
    (letters,) = [short for short, long in ABBREVIATIONS.items() if long is mode]
    assert parse_mode(mode.value) is parse_mode(letters) is parse_mode(letters.lower()) is mode


@pytest.mark.parametrize("text", ["", "exclusiv", "XX", "EXCLUSIVE", " X"])
def test_what_is_no_mode(text):
    assert parse_mode(text) is None
