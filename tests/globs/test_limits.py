"""Hostile patterns are refused or decided, and the work for it is bounded. Work is counted in steps
of an automaton, each a handful of operations on integers; time is for the bench."""

import itertools

import pytest

from intermute.globs import limits, matches, overlap, parse, witness
from intermute.globs.automaton import Automaton, Masks

HOSTILE = [
    "*a" * 128,
    "*b" * 128,
    "*" + "a" * 1000,
    "a" * 1020 + "*",
    "?" * 128,
    "**/a/" * 63 + "*b",
    "**/*a/" * 42 + "b?",
    "*/" * 120 + "a",
    "{a,b}" * 16 + "*",
    "{a/,b}" * 16 + "*",
    ("{a,ab,abc}" + "a" * 50) * 16,
    ("{*a,b*/,**/}" + "a" * 40) * 16,
    "{*,b}" * 16,
    "{a," * 8 + "b" + "}" * 8 + "*",
    "[!a]" * 100 + "*" + "[!b]" * 20,
    "".join(f"[{chr(97 + n % 20)}-{chr(98 + n % 20)}]*" for n in range(60)),
]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list with one number, the steps made so far."""
    counted = [0]
    step, spread = Automaton.step, Automaton.spread

    def counting_step(self: Automaton, states: int, masks: Masks) -> int:
        counted[0] += 1
        return step(self, states, masks)

    def counting_spread(self: Automaton, states: int) -> int:
        counted[0] += 1
        return spread(self, states)

    monkeypatch.setattr(Automaton, "step", counting_step)
    monkeypatch.setattr(Automaton, "spread", counting_spread)
    return counted


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_accepted_compiles_to_a_bounded_automaton(text: str) -> None:
    automaton = parse(text).automaton
    assert len(automaton.graph.kinds) <= limits.STATES_MAX
    # The cost of a step is six and one for each jump.
    assert automaton.step_cost <= 6 + limits.JUMPS_MAX


def test_every_hostile_pair_is_decided_in_bounded_steps(steps: list[int]) -> None:
    # Four readings for each state walked, and eight steps for each segment that `**` can repeat.
    most = 4 * limits.STATES_MAX + 8 * (limits.WILD_SEGMENTS_MAX + limits.JUMPS_MAX)
    for one, two in itertools.combinations_with_replacement(HOSTILE, 2):
        a, b = parse(one), parse(two)
        steps[0] = 0
        overlap(a, b)
        assert steps[0] <= most, f"{one} and {two}"


def test_hostile_witnesses_are_right_and_bounded(steps: list[int]) -> None:
    patterns = [parse(text) for text in HOSTILE]
    for a, b in itertools.combinations(patterns, 2):
        steps[0] = 0
        found = witness(a, b)
        assert steps[0] <= 24 * limits.STATES_MAX
        assert (found is not None) is overlap(a, b)
        if found is not None:
            assert matches(a, found)
            assert matches(b, found)
