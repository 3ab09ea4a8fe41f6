"""The fast checker against one that tries every order, on histories made in one and spoiled."""

import random
import secrets

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.linearizability.checker import check
from bench.linearizability.counterexample import said
from bench.linearizability.history import by_time
from bench.linearizability.patterns import Listed
from bench.linearizability.search import Verdict

from ..effort import LONG, effort
from ..properties.paths import COVERS
from .brute import has_order
from .recorded import Maker, history, spoiled

LANGUAGE = Listed(COVERS)
PATTERNS = ["a", "a/x", "b/?", "{a,b}/y"]


def made(chance, count):
    """A history that has an order, of a few clients on a few patterns."""
    patterns = PATTERNS[: chance.choice((1, 2, 4))]
    return Maker(chance, clients=3, patterns=patterns, lost=chance.choice((0, 0.3))).history(count)


def without_places(recorded):
    return history(*(attrs.evolve(call, epoch=None, seq=None) for call in recorded.calls))


def shown(recorded):
    """The calls as text, for an error."""
    return "\n".join(
        f"{call.client} {call.invoke_ns} .. {call.return_ns}: {said(call)}"
        for call in recorded.calls
    )


def searched(recorded, **options):
    return check(recorded, language=LANGUAGE, **options).searched.verdict


@settings(max_examples=effort(150, 4_000), deadline=None, derandomize=not LONG)
@given(chance=st.randoms(use_true_random=False), count=st.integers(2, 9))
def test_what_was_made_in_an_order_has_one(chance, count):
    recorded = made(chance, count)
    found = check(recorded, language=LANGUAGE)
    assert found.searched.verdict is Verdict.LINEARIZABLE, shown(recorded)
    if found.witnessed is not None:
        assert found.witnessed.verdict is Verdict.LINEARIZABLE, shown(recorded)
    assert searched(without_places(recorded), whole=True) is Verdict.LINEARIZABLE


@settings(max_examples=effort(300, 12_000), deadline=None, derandomize=not LONG)
@given(
    chance=st.randoms(use_true_random=False),
    count=st.integers(2, 9),
    times=st.integers(1, 2),
    is_placed=st.booleans(),
)
def test_the_fast_checker_says_what_trying_every_order_says(chance, count, times, is_placed):
    recorded = made(chance, count)
    for _ in range(times):
        if any(call.outcome is not None for call in recorded.calls):
            recorded = history(*spoiled(recorded.calls, chance))
    if not is_placed:
        recorded = without_places(recorded)
    expected = has_order(recorded.calls)
    found = check(recorded, language=LANGUAGE, whole=True)
    assert (found.searched.verdict is Verdict.LINEARIZABLE) is expected, shown(recorded)
    if expected:
        # A part alone may allow what the whole does not, and never the other way round.
        assert searched(recorded) is Verdict.LINEARIZABLE
    elif found.witnessed is not None and not found.witnessed.unplaced:
        assert found.witnessed.verdict is not Verdict.LINEARIZABLE
    example = found.searched.counterexample
    if example is not None:
        assert not has_order(recalled(example))


def recalled(example):
    """The calls of a counterexample, those without an answer that were answered too late for it."""
    return by_time(
        op.call
        if op.answered
        else attrs.evolve(op.call, return_ns=None, outcome=None, epoch=None, seq=None)
        for op in example.part.ops
    )


def test_spoiled_histories_are_of_both_kinds():
    """The property above would say nothing if all of them had an order, or none."""
    chance = random.Random(20_261_121)
    kinds = [has_order(spoiled(made(chance, 7).calls, chance)) for _ in range(100)]
    assert 20 <= sum(kinds) <= 80


@pytest.mark.parametrize("which", ["known", "fresh"])
@pytest.mark.parametrize("clients", [4, 16])
def test_long_histories_with_an_order_are_found_to_have_one(which, clients):
    seed = 7 if which == "known" else secrets.randbits(32)
    chance = random.Random(seed)
    patterns = [*PATTERNS, "[bz]", "*/x"]
    maker = Maker(chance, clients=clients, patterns=patterns, lost=0.02, ttl_ms=(60, 500, 60_000))
    recorded = maker.history(effort(600, 10_000))
    try:
        found = check(recorded, language=LANGUAGE)
        assert found.searched.verdict is Verdict.LINEARIZABLE
        assert found.witnessed.verdict is Verdict.LINEARIZABLE
        assert searched(without_places(recorded)) is Verdict.LINEARIZABLE
    except AssertionError as error:
        error.add_note(f"the seed is {seed}")
        raise


@pytest.mark.parametrize("seed", range(3))
def test_one_wrong_answer_in_a_long_history_is_found_and_cut_out(seed):
    chance = random.Random(seed)
    maker = Maker(chance, clients=4, patterns=PATTERNS, lost=0, ttl_ms=(60_000,))
    calls = list(maker.history(400).calls)
    place = next(place for place in range(300, 400) if calls[place].outcome["kind"] == "conflict")
    calls[place] = attrs.evolve(
        calls[place], outcome={"kind": "conflict", "conflicts": ["nobody's"]}
    )
    found = check(without_places(history(*calls)), language=LANGUAGE)
    assert found.verdict is Verdict.VIOLATION
    example = found.searched.counterexample
    assert len(example.calls) == 1
    assert example.stuck.blocked.call.outcome["conflicts"] == ["nobody's"]
