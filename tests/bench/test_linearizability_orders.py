"""The fast checker against one that tries every order, on histories made in one and spoiled."""

import math
import os
import random
import secrets
from contextlib import contextmanager

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.linearizability.checker import check
from bench.linearizability.counterexample import said
from bench.linearizability.patterns import Listed
from bench.linearizability.search import Verdict

from ..effort import LONG, effort
from ..properties.paths import COVERS
from .brute import has_order
from .recorded import (
    Maker,
    S,
    conflict,
    granted,
    history,
    listed,
    release,
    renew,
    reserve,
    spoiled,
)
from .recorded import (
    check as look,
)

VARIABLE = "INTERMUTE_HISTORY_SEED"
LANGUAGE = Listed(COVERS)
PATTERNS = ["a", "a/x", "b/?", "{a,b}/y"]


def made(chance, count):
    """A history that has an order, of a few clients on a few patterns."""
    patterns = PATTERNS[: chance.choice((1, 2, 4))]
    ttl_ms, lost = chance.choice(((2, 5, 60_000), (2, 5))), chance.choice((0, 0.3, 0.6))
    maker = Maker(chance, clients=3, patterns=patterns, lost=lost, ttl_ms=ttl_ms)
    maker.names_conflicts = chance.random() < 0.7
    return maker.history(count)


def maybe_wrong(chance, count):
    """A history with answers changed, or none; with their places, or without."""
    recorded = made(chance, count)
    for _ in range(chance.choice((0, 1, 1, 2))):
        if any(call.outcome is not None for call in recorded.calls):
            recorded = history(*spoiled(recorded.calls, chance))
    return recorded if chance.random() < 0.5 else without_places(recorded)


def without_places(recorded):
    return history(*(attrs.evolve(call, epoch=None, seq=None) for call in recorded.calls))


def shown(recorded):
    """The calls as text, for an error."""
    return "\n".join(
        f"{call.client} {call.invoke_ns} .. {call.return_ns}: {said(call)}"
        for call in recorded.calls
    )


def checked(recorded, **options):
    """Bounded by what is tried and not by time, so that the verdict is the same on any machine."""
    return check(recorded, language=LANGUAGE, time_limit_s=math.inf, **options)


def searched(recorded, **options):
    return checked(recorded, **options).searched.verdict


def assert_has_an_order(recorded):
    found = checked(recorded)
    assert found.searched.verdict is Verdict.LINEARIZABLE, shown(recorded)
    if found.witnessed is not None:
        assert found.witnessed.verdict is Verdict.LINEARIZABLE, shown(recorded)
    assert searched(without_places(recorded), whole=True) is Verdict.LINEARIZABLE, shown(recorded)


def assert_told_as_by_every_order(recorded):
    expected = has_order(recorded.calls)
    found = checked(recorded, whole=True)
    verdict = Verdict.LINEARIZABLE if expected else Verdict.VIOLATION
    assert found.searched.verdict is verdict, shown(recorded)
    if expected:
        # A part alone may allow what the whole does not, and never the other way round.
        assert searched(recorded) is Verdict.LINEARIZABLE, shown(recorded)
    elif found.witnessed is not None and not found.witnessed.unplaced:
        assert found.witnessed.verdict is not Verdict.LINEARIZABLE, shown(recorded)
    example = found.searched.counterexample
    if example is not None:
        again = history(*example.alone)
        assert not has_order(again.calls), shown(again)
        assert searched(again, whole=True) is Verdict.VIOLATION, shown(again)


def by_seed(which, count):
    """Seeds that are always the same, or ones that nobody has tried, or the one asked for."""
    if which == "known":
        return range(count)
    chosen = os.environ.get(VARIABLE)
    return [secrets.randbits(48) for _ in range(count)] if chosen is None else [int(chosen)]


@contextmanager
def told(seed):
    """Say of a failure how to have it again."""
    try:
        yield
    except (AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        error.add_note(f"{VARIABLE}={seed} makes it happen again, in the test of fresh seeds")
        raise


@pytest.mark.parametrize("which", ["known", "fresh"])
def test_what_was_made_in_an_order_has_one(which):
    for seed in by_seed(which, effort(120, 4_000)):
        chance = random.Random(seed)
        with told(seed):
            assert_has_an_order(made(chance, chance.randint(2, 9)))


@pytest.mark.parametrize("which", ["known", "fresh"])
def test_the_fast_checker_says_what_trying_every_order_says(which):
    for seed in by_seed(which, effort(250, 10_000)):
        chance = random.Random(seed)
        with told(seed):
            assert_told_as_by_every_order(maybe_wrong(chance, chance.randint(2, 8)))


@settings(max_examples=effort(60, 4_000), deadline=None, derandomize=not LONG)
@given(chance=st.randoms(use_true_random=False), count=st.integers(2, 9))
def test_it_does_so_where_chance_is_no_chance(chance, count):
    """Hypothesis draws the same again, the least and the most, and makes what fails small."""
    assert_told_as_by_every_order(maybe_wrong(chance, count))


A, K = "a", {"key": "k"}
NOBODY = {"kind": "conflict"}
FOUND = {
    # The model of every order knew one reservation that nobody was told of, and here are two.
    "two grants that nobody was told of": (
        True,
        reserve("c0", 0, 7, A, NOBODY, ttl_ms=20),
        reserve("c1", 0, None, A, None, mode=S, ttl_ms=5),
        reserve("c0", 9, None, A, None, ttl_ms=20),
        reserve("c0", 12, None, A, None, ttl_ms=20),
        reserve("c1", 16, None, A, None, ttl_ms=20),
        reserve("c1", 21, 35, A, NOBODY, ttl_ms=20),
        reserve("c0", 24, None, A, None, ttl_ms=20),
    ),
    "two grants that nobody was told of, asked for again under their keys": (
        True,
        reserve("c0", 0, None, A, None, ttl_ms=5, key="k0"),
        reserve("c1", 2, 3, A, NOBODY, ttl_ms=5),
        reserve("c0", 9, None, A, None, ttl_ms=5, key="k0"),
        reserve("c1", 10, None, A, None, ttl_ms=5, key="k1"),
        reserve("c2", 11, 12, A, NOBODY, ttl_ms=5),
        reserve("c1", 13, None, A, None, ttl_ms=5, key="k1"),
        look("c0", 14, 15, A, NOBODY),
    ),
    "one grant under a key explains no two conflicts with others": (
        False,
        reserve("c0", 0, None, A, None, ttl_ms=5, **K),
        reserve("c1", 2, 3, A, NOBODY, ttl_ms=5),
        look("c1", 20, 21, A, {"kind": "free"}),
        reserve("c0", 22, None, A, None, ttl_ms=5, **K),
        look("c1", 24, 25, A, NOBODY),
    ),
    # Neither model knew that what is held already may be asked for again without an answer.
    "a renewal under a key that nobody was told of": (
        True,
        reserve("c0", 0, 1, A, granted("r1", 1), ttl_ms=5),
        reserve("c0", 2, None, A, None, ttl_ms=5, **K),
        reserve("c1", 20, 21, A, granted("r2", 2)),
        reserve("c0", 22, 23, A, granted("r1", 1), ttl_ms=5, **K),
    ),
    "and the same without it": (
        False,
        reserve("c0", 0, 1, A, granted("r1", 1), ttl_ms=5),
        reserve("c1", 20, 21, A, granted("r2", 2)),
        reserve("c0", 22, 23, A, granted("r1", 1), ttl_ms=5, **K),
    ),
    "a length that nobody was told of": (
        True,
        reserve("c0", 0, 1, A, granted("r1", 1), ttl_ms=100),
        reserve("c0", 80, None, A, None, ttl_ms=30),
        renew("c0", 90, 91, "r1", ttl_ms=None),
        reserve("c1", 125, 126, A, granted("r2", 2)),
    ),
    # What was left of these had an order by itself: a call that was answered later could have had
    # another effect than that answer tells.
    "cut down to a call that was answered later": (
        False,
        reserve("c1", 0, 4, A, granted("r1", 1)),
        reserve("c0", 3, 11, A, conflict("r1")),
        listed("c2", 8, 15, "r1", "r3"),
        reserve("c1", 9, 18, A, granted("r1", 1), mode=S, **K),
    ),
    "cut down to two that could have been anything": (
        False,
        reserve("c0", 0, None, A, None, ttl_ms=5),
        look("c1", 0, 4, "a/x", conflict("r4"), mode=S),
        reserve("c1", 6, 23, "a a/x", conflict("r3"), ttl_ms=5),
        reserve("c0", 11, 27, A, granted("r4", 4), ttl_ms=5),
    ),
    "cut down to one that may be of another": (
        False,
        listed("c0", 0, 5),
        look("c1", 5, 12, A, conflict("r7")),
        reserve("c0", 9, None, A, None, ttl_ms=2),
        renew("c1", 13, None, "r3", ttl_ms=5),
        renew("c1", 20, 29, "r3", "not_owner", ttl_ms=5),
        reserve("c0", 24, 39, A, granted("r7", 6), ttl_ms=2),
        release("c1", 30, None, "r3"),
    ),
    "cut down without the answer that says what was granted": (
        False,
        look("c0", 0, 9, "a/x {a,b}/y", conflict("r1")),
        reserve("c2", 0, 13, "b/?", conflict("r6"), mode=S, ttl_ms=2),
        reserve("c1", 9, None, "{a,b}/y", None, ttl_ms=5),
        reserve("c0", 10, None, "a {a,b}/y", None, ttl_ms=5),
        renew("c2", 14, 29, "r1", ttl_ms=2),
        reserve("c1", 19, 32, "{a,b}/y", granted("r6", 6), ttl_ms=5),
    ),
    "a reservation left out that a conflict may have been about": (
        False,
        reserve("c0", 0, 1, A, granted("r1", 1)),
        reserve("c1", 2, 3, A, NOBODY),
        reserve("c1", 4, 5, A, granted("r2", 2)),
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_told_wrongly_once_is_told_rightly(name):
    expected, *calls = FOUND[name]
    recorded = history(*calls)
    assert has_order(recorded.calls) is expected
    assert_told_as_by_every_order(recorded)
    assert searched(recorded) is (Verdict.LINEARIZABLE if expected else Verdict.VIOLATION)


def test_what_is_left_out_is_not_what_an_order_lacks():
    """Without the reservation that it was about, a conflict would be a violation of its own."""
    _, *calls = FOUND["a reservation left out that a conflict may have been about"]
    example = checked(history(*calls)).searched.counterexample
    assert [call.outcome["kind"] for call in example.calls] == ["granted", "granted"]


def test_answers_are_narrowed_to_what_is_left():
    calls = [
        reserve("c2", 0, 1, "b/?", granted("r2", 3)),
        reserve("c0", 0, 1, A, granted("r0", 1), mode=S),
        reserve("c1", 0, 1, A, granted("r1", 2), mode=S),
        listed("c0", 4, 5, "r0", "r2"),
    ]
    example = checked(history(*calls), whole=True).searched.counterexample
    assert [call.client for call in example.calls] == ["c1", "c0"]
    assert example.alone[-1].outcome["reservations"] == []
    assert example.told(example.part.ops[-1]) == (
        "list -> listed reservations: r0, r2 (2 of them left out here)"
    )


def test_spoiled_histories_are_of_both_kinds():
    """The property above would say nothing if all of them had an order, or none."""
    chance = random.Random(20_261_121)
    kinds = [has_order(spoiled(made(chance, 7).calls, chance)) for _ in range(100)]
    assert 20 <= sum(kinds) <= 80


@pytest.mark.parametrize("which", ["known", "fresh", "known, conflicts name nobody"])
@pytest.mark.parametrize("clients", [4, 16])
def test_long_histories_with_an_order_are_found_to_have_one(which, clients):
    (seed,) = by_seed("fresh", 1) if which == "fresh" else (7,)
    chance = random.Random(seed)
    patterns = [*PATTERNS, "[bz]", "*/x"]
    maker = Maker(chance, clients=clients, patterns=patterns, lost=0.02, ttl_ms=(60, 500, 60_000))
    if which == "known, conflicts name nobody":
        maker.names_conflicts = maker.has_tokens = False
    recorded = maker.history(effort(600, 10_000))
    with told(seed):
        found = checked(recorded)
        assert found.searched.verdict is Verdict.LINEARIZABLE, found.searched.why
        assert found.witnessed.verdict is Verdict.LINEARIZABLE, found.witnessed.why
        found = checked(without_places(recorded))
        assert found.searched.verdict is Verdict.LINEARIZABLE, found.searched.why


@pytest.mark.parametrize("seed", range(3))
def test_one_wrong_answer_in_a_long_history_is_found_and_cut_out(seed):
    chance = random.Random(seed)
    maker = Maker(chance, clients=4, patterns=PATTERNS, lost=0, ttl_ms=(60_000,))
    calls = list(maker.history(400).calls)
    place = next(place for place in range(300, 400) if calls[place].outcome["kind"] == "conflict")
    calls[place] = attrs.evolve(
        calls[place], outcome={"kind": "conflict", "conflicts": ["nobody's"]}
    )
    found = checked(without_places(history(*calls)))
    assert found.verdict is Verdict.VIOLATION
    example = found.searched.counterexample
    assert len(example.calls) == 1
    assert example.stuck.blocked.call.outcome["conflicts"] == ["nobody's"]
