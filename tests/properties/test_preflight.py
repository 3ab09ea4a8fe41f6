"""Preflight against what can be counted out by hand: all pairs, all chains, all orders."""

from functools import cache
from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from intermute.domain import events
from intermute.domain.commands import Caller, PlannedStep, PreflightPlan
from intermute.domain.decide import advance, decide
from intermute.domain.decision import Accepted
from intermute.domain.events import Event
from intermute.domain.modes import CONFLICTING, Mode
from intermute.domain.overlaps import Work, overlapping_pairs
from intermute.domain.preflight import preflight
from intermute.domain.stamp import Stamp
from intermute.domain.state import State
from intermute.domain.transitions import apply
from intermute.domain.views import PlanView
from intermute.globs import BadPattern, Pattern, matches, overlap, parse

from ..effort import effort
from .paths import PATTERNS, meet

PLANS = effort(80, 1_000)
STAMP = Stamp(1_700_000_000_000_000, 5_000_000_000, 7)
AGENTS = ("ann", "ben", "cy")
PIECES = [
    *("a", "b", "a/b", "c.py", "a/c.py", "**", "*", "*.py", "a*", "?", "[ab]", "**/c.py", "a/**"),
    *("**/*.py", "{a,b}", "{a,b/c}", "{,a/}b", "{**/,a}b", "a{,*}", "*a*", "a/", "{a,b}/{,.}"),
    *("a.", ".a*", "a.{/b,x}", "**a", "a*c.py", "b*c", "?.py", "ab*", "a*b", "\\*a*", "é*", "*é"),
]


@st.composite
def plans(draw: st.DrawFn) -> tuple[PlannedStep, ...]:
    """Steps that come after others, in an order that hides it."""
    count = draw(st.integers(1, 12))
    order = draw(st.permutations(range(count)))
    steps = []
    for place in range(count):
        earlier = [f"s{other}" for other in range(count) if order[other] < order[place]]
        after = draw(st.lists(st.sampled_from(earlier), max_size=3)) if earlier else []
        steps.append(
            PlannedStep(
                f"s{place}",
                draw(st.sampled_from(AGENTS)),
                tuple(draw(st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3))),
                draw(st.sampled_from(Mode)),
                tuple(after),
            )
        )
    return tuple(steps)


claims = st.lists(
    st.tuples(st.sampled_from(AGENTS), st.sampled_from(PATTERNS), st.sampled_from(Mode)), max_size=4
)


def look(state: State, steps: tuple[PlannedStep, ...]) -> PlanView:
    decision = decide(state, PreflightPlan(steps), STAMP, Caller())
    assert isinstance(decision, Accepted)
    assert decision.events == ()
    assert isinstance(decision.answer, PlanView)
    return decision.answer


def fresh() -> State:
    state = State("a" * 12, "house")
    advance(state, STAMP)
    return state


def in_each_others_way(one: PlannedStep, other: PlannedStep) -> bool:
    return (
        one.agent_id != other.agent_id
        and other.mode in CONFLICTING[one.mode]
        and meet(one.patterns, other.patterns)
    )


@settings(max_examples=PLANS, deadline=None)
@given(plans())
def test_the_pairs_are_those_of_all_pairs(steps: tuple[PlannedStep, ...]):
    found = look(fresh(), steps)
    expected = [
        (one.step_id, other.step_id)
        for one, other in combinations(steps, 2)
        if in_each_others_way(one, other)
    ]
    assert [pair.steps for pair in found.step_conflicts] == expected
    assert found.step_conflicts_total == len(expected)
    for pair in found.step_conflicts:
        assert all(matches(parse(pattern), pair.witness) for pattern in pair.patterns)
        owners = [next(step for step in steps if step.step_id == each) for each in pair.steps]
        assert all(p in step.patterns for p, step in zip(pair.patterns, owners, strict=True))


@settings(max_examples=PLANS, deadline=None)
@given(plans())
def test_the_waves_can_be_done_one_after_the_other(steps: tuple[PlannedStep, ...]):
    found = look(fresh(), steps)
    by_id = {step.step_id: step for step in steps}
    assert sorted(each for wave in found.waves for each in wave) == sorted(by_id)
    done: set[str] = set()
    for wave in found.waves:
        assert wave
        for step_id in wave:
            assert done.issuperset(by_id[step_id].after)
        for one, other in combinations(wave, 2):
            assert not in_each_others_way(by_id[one], by_id[other])
        done.update(wave)
    assert look(fresh(), steps) == found


@settings(max_examples=PLANS, deadline=None)
@given(plans())
def test_no_wave_could_have_taken_one_more_step(steps: tuple[PlannedStep, ...]):
    found = look(fresh(), steps)
    by_id = {step.step_id: step for step in steps}
    done: set[str] = set()
    for ordinal, wave in enumerate(found.waves):
        later = [by_id[each] for following in found.waves[ordinal + 1 :] for each in following]
        for step in later:
            if done.issuperset(step.after):
                assert any(in_each_others_way(step, by_id[each]) for each in wave)
        done.update(wave)


@settings(max_examples=PLANS, deadline=None)
@given(plans())
def test_the_critical_path_is_a_longest_chain(steps: tuple[PlannedStep, ...]):
    by_id = {step.step_id: step for step in steps}

    @cache
    def longest(step_id: str) -> int:
        return 1 + max((longest(each) for each in by_id[step_id].after), default=0)

    path = look(fresh(), steps).critical_path
    assert len(path) == max(longest(step_id) for step_id in by_id)
    for before, step_id in pairwise(path):
        assert before in by_id[step_id].after


@settings(max_examples=PLANS, deadline=None)
@given(plans(), claims)
def test_what_is_held_is_met_as_a_search_one_by_one_meets_it(
    steps: tuple[PlannedStep, ...], held: list[tuple[str, str, Mode]]
):
    state = fresh()
    kept = list(dict.fromkeys(held))
    for number, (agent_id, pattern, mode) in enumerate(kept):
        data = events.ReservationCreated(
            reservation_id=f"r{number}",
            agent_id=agent_id,
            patterns=(pattern,),
            mode=mode,
            reason="",
            ttl_ms=60_000,
            expires_at_us=STAMP.at_us + 60_000_000,
        )
        apply(state, Event(state.cursor + 1, STAMP.at_us, agent_id, data))
    found = look(state, steps)
    expected = [
        (step.step_id, f"r{number}")
        for step in steps
        for number, (agent_id, pattern, mode) in enumerate(kept)
        if agent_id != step.agent_id
        and mode in CONFLICTING[step.mode]
        and meet((pattern,), step.patterns)
    ]
    assert [(each.step_id, each.conflict.reservation_id) for each in found.conflicts] == expected
    assert found.blocked == tuple(dict.fromkeys(step_id for step_id, _ in expected))


@settings(max_examples=PLANS, deadline=None)
@given(st.integers(1, 8), st.data())
def test_a_plan_with_a_cycle_is_refused_with_a_cycle(count: int, data: st.DataObject):
    ids = [f"s{place}" for place in range(count)]
    steps = tuple(
        PlannedStep(
            step_id,
            "ann",
            ("a",),
            after=tuple(data.draw(st.lists(st.sampled_from(ids), max_size=2))),
        )
        for step_id in ids
    )
    needs = {step.step_id: set(step.after) for step in steps}
    reached = {step_id: set(after) for step_id, after in needs.items()}
    for _ in ids:
        for step_id in ids:
            for each in set(reached[step_id]):
                reached[step_id] |= reached[each]
    has_cycle = any(step_id in reached[step_id] for step_id in ids)
    decision = preflight(fresh(), PreflightPlan(steps), STAMP, Caller())
    assert isinstance(decision, Accepted) is not has_cycle
    if not isinstance(decision, Accepted):
        cycle = decision.data["steps"]
        assert len(set(cycle)) == len(cycle)
        for step_id, needed in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            assert needed in needs[step_id]


def parsed(text: str) -> list[Pattern]:
    try:
        return [parse(text)]
    except BadPattern:
        return []


texts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map("/".join)


@settings(max_examples=PLANS, deadline=None)
@given(st.lists(texts, max_size=25))
def test_patterns_overlap_as_all_pairs_say(written: list[str]):
    patterns = list({each.normalised: each for text in written for each in parsed(text)}.values())
    found = list(overlapping_pairs(patterns, Work(10**12)))
    assert len(set(map(frozenset, found))) == len(found)
    assert {frozenset(pair) for pair in found} == {
        frozenset((one, other))
        for one, other in combinations(range(len(patterns)), 2)
        if overlap(patterns[one], patterns[other])
    }
