"""A plan is looked at: what it would meet, in which order it can be done, what is wrong with it."""

from collections.abc import Callable
from typing import Any

import pytest

from intermute.domain import events, limits
from intermute.domain.commands import PlannedStep, PreflightPlan
from intermute.domain.modes import CONFLICTING, Mode
from intermute.domain.overlaps import head_of, last_name_of
from intermute.domain.refusals import Code, Refusal
from intermute.domain.schedule import critical_path, find_cycle, waves
from intermute.domain.state import State
from intermute.domain.views import PlanView

from .table import ALICE, BOB, CAROL, S, ask, check, held, mode_of, registered, state_of


def step(step_id: str, agent_id: str, *patterns: str, **members: Any) -> PlannedStep:
    return PlannedStep(step_id, agent_id, patterns, **members)


def waits(ticket_id: str, agent_id: str, *patterns: str) -> Callable[[State], events.EventData]:
    def queued(state: State) -> events.EventData:
        return events.ReservationQueued(
            ticket_id=ticket_id,
            agent_id=agent_id,
            patterns=patterns,
            mode=mode_of(True),
            reason="",
            ttl_ms=60_000,
            renew_on_heartbeat=False,
            held_open=False,
            wait_until_us=state.at_us + 600 * S,
        )

    return queued


def look(*steps: PlannedStep, given: Any = ()) -> PlanView:
    """Looking at a plan changes nothing, so it has no events."""
    _, answer = check(given, PreflightPlan(steps), ())
    assert isinstance(answer, PlanView)
    return answer


def refusal(*steps: PlannedStep, given: Any = ()) -> Refusal:
    decision = ask(state_of(given), PreflightPlan(steps))
    assert isinstance(decision, Refusal)
    return decision


# -- Order --------------------------------------------------------------------------------------


def test_steps_that_share_nothing_go_together():
    found = look(step("a", ALICE, "a"), step("b", BOB, "b"), step("c", CAROL, "c"))
    assert found.waves == (("a", "b", "c"),)
    assert found.critical_path == ("a",)
    assert found.step_conflicts == ()
    assert found.step_conflicts_total == 0


def test_dependencies_come_in_earlier_waves():
    found = look(
        step("last", ALICE, "z", after=("mid", "first")),
        step("mid", BOB, "m", after=("first",)),
        step("first", CAROL, "f"),
        step("free", CAROL, "x"),
    )
    assert found.waves == (("first", "free"), ("mid",), ("last",))
    assert found.critical_path == ("first", "mid", "last")


def test_steps_in_each_others_way_go_one_after_the_other():
    found = look(
        step("a", ALICE, "src/**"), step("b", BOB, "docs", "src/*/token.py"), step("c", BOB, "x")
    )
    assert found.waves == (("a", "c"), ("b",))
    (pair,) = found.step_conflicts
    assert pair.steps == ("a", "b")
    assert pair.patterns == ("src/**", "src/*/token.py")
    assert pair.witness.startswith("src/")
    assert pair.witness.endswith("/token.py")
    assert found.step_conflicts_total == 1


@pytest.mark.parametrize("theirs", [("src/x", "src/y"), ("src/y", "src/x")])
def test_of_several_patterns_that_overlap_the_first_are_told(theirs: tuple[str, str]):
    steps = step("a", ALICE, "free", "src", "src/z"), step("b", BOB, *theirs, "src")
    assert look(*steps).step_conflicts[0].patterns == ("src", theirs[0])


def test_one_agents_steps_may_go_together():
    found = look(step("a", ALICE, "src"), step("b", ALICE, "src/**"))
    assert found.waves == (("a", "b"),)
    assert found.step_conflicts_total == 0
    ordered = look(step("a", ALICE, "src"), step("b", ALICE, "src/**", after=("a",)))
    assert ordered.waves == (("a",), ("b",))


def test_the_step_on_which_the_longest_chain_rests_goes_first():
    """In the order of the plan there would be four waves."""
    found = look(
        step("short", ALICE, "src"),
        step("long", BOB, "src/a.py"),
        step("then", CAROL, "t", after=("long",)),
        step("end", CAROL, "e", after=("then",)),
    )
    assert found.waves == (("long",), ("short", "then"), ("end",))
    assert found.critical_path == ("long", "then", "end")


def test_of_equal_chains_the_first_of_the_plan_is_told():
    found = look(
        step("b1", ALICE, "1"),
        step("a1", ALICE, "2"),
        step("a2", ALICE, "3", after=("a1",)),
        step("b2", ALICE, "4", after=("b1",)),
        step("b3", ALICE, "5", after=("b1",)),
    )
    assert found.critical_path == ("b1", "b2")


def test_a_step_may_name_what_it_comes_after_twice():
    found = look(step("a", ALICE, "a"), step("b", ALICE, "b", after=("a", "a")))
    assert found.waves == (("a",), ("b",))


@pytest.mark.parametrize("one", Mode)
@pytest.mark.parametrize("other", Mode)
def test_modes_meet_as_they_do_when_they_are_held(one: Mode, other: Mode):
    found = look(step("a", ALICE, "src", mode=one), step("b", BOB, "src/x", mode=other))
    assert found.step_conflicts_total == (other in CONFLICTING[one])
    assert len(found.waves) == 1 + (other in CONFLICTING[one])


def test_a_thousand_steps_on_one_path_are_a_thousand_waves():
    count = limits.STEPS_MAX
    found = look(*(step(f"s{n}", f"agent{n}", "src/a.py") for n in range(count)))
    assert found.waves == tuple((f"s{n}",) for n in range(count))
    assert found.step_conflicts_total == count * (count - 1) // 2
    assert len(found.step_conflicts) == limits.CONFLICTS_LISTED_MAX
    assert found.step_conflicts[0].steps == ("s0", "s1")


# -- What is held -------------------------------------------------------------------------------


def test_what_others_hold_and_wait_for_is_told():
    given = [
        registered(BOB),
        held("rsv_1", BOB, "src/**", reason="rename"),
        held("rsv_2", CAROL, "docs"),
        waits("tkt_1", CAROL, "src/a.py", "lib"),
    ]
    found = look(
        step("a", ALICE, "src/a.py"), step("b", BOB, "lib"), step("c", ALICE, "x"), given=given
    )
    assert [(each.step_id, each.conflict.reservation_id) for each in found.conflicts] == [
        ("a", "rsv_1"),
        ("a", "tkt_1"),
        ("b", "tkt_1"),
    ]
    first = found.conflicts[0].conflict
    assert (first.held_by, first.holder, first.standing) == ("Bob", "live", "active")
    assert (first.witness, first.reason) == ("src/a.py", "rename")
    assert found.blocked == ("a",)
    assert found.conflicts_total == 3
    assert not found.conflicts_more
    assert found.waves == (("a", "b", "c"),)


def test_what_agents_of_the_plan_hold_is_in_the_way_of_the_others_only():
    given = [held("rsv_1", ALICE, "src")]
    found = look(step("a", ALICE, "src/a.py"), step("b", BOB, "src/b.py"), given=given)
    assert found.blocked == ("b",)
    assert [each.step_id for each in found.conflicts] == ["b"]


def test_what_is_held_shared_is_in_nobodys_way_who_shares():
    given = [held("rsv_1", ALICE, "src", exclusive=False)]
    found = look(
        step("a", BOB, "src", mode=Mode.SHARED), step("b", BOB, "src/x", mode=Mode.EXCLUSIVE),
        given=given,
    )  # fmt: skip
    assert found.blocked == ("b",)


def test_each_step_is_listed_before_any_is_listed_twice():
    crowd = limits.PLAN_CONFLICTS_PER_STEP_MAX + 1
    given = [held(f"rsv_{n}", f"agent{n}", f"src/{n}") for n in range(crowd)]
    steps = [step(f"s{n}", ALICE, "src") for n in range(60)]
    found = look(*steps, given=given)
    assert found.blocked == tuple(f"s{n}" for n in range(60))
    assert found.conflicts_total == 60 * limits.PLAN_CONFLICTS_PER_STEP_MAX
    assert found.conflicts_more
    assert len(found.conflicts) == limits.CONFLICTS_LISTED_MAX
    listed = [each.step_id for each in found.conflicts]
    assert set(listed) == set(found.blocked)
    assert listed == sorted(listed, key=lambda step_id: int(step_id[1:]))


# -- Refusals -----------------------------------------------------------------------------------


def test_a_step_that_is_there_twice_is_named():
    refused = refusal(step("a", ALICE, "a"), step("a", BOB, "b"))
    assert refused.code is Code.INVALID_PLAN
    assert refused.data == {"reason": "duplicate_step", "steps": ["a"]}


def test_a_step_that_is_not_there_is_named():
    refused = refusal(step("a", ALICE, "a", after=("b",)))
    assert refused.code is Code.INVALID_PLAN
    assert refused.data == {"reason": "unknown_step", "steps": ["a", "b"]}


def test_a_cycle_is_named():
    refused = refusal(
        step("start", ALICE, "s"),
        step("behind", ALICE, "x", after=("a",)),
        step("a", ALICE, "a", after=("start", "b")),
        step("b", ALICE, "b", after=("c",)),
        step("c", ALICE, "c", after=("a",)),
    )
    assert refused.code is Code.INVALID_PLAN
    assert refused.data == {"reason": "cycle", "steps": ["a", "b", "c"]}
    assert "a -> b -> c -> a" in refused.detail


def test_a_step_after_itself_is_a_cycle():
    refused = refusal(step("a", ALICE, "a", after=("a",)))
    assert refused.data == {"reason": "cycle", "steps": ["a"]}


def test_a_bad_pattern_is_named_with_its_step():
    refused = refusal(step("a", ALICE, "a"), step("b", ALICE, "x", "src/{a"))
    assert refused.code is Code.INVALID_PATTERN
    assert refused.data["step"] == "b"
    assert refused.data["pattern_index"] == 1
    assert refused.detail.startswith("step 'b': ")


def test_a_plan_has_bounded_wildcards():
    text = "*" + "a" * 999
    many = limits.PLAN_WILD_LEN_MAX // 1_000 + 1
    steps = [step(f"s{n}", ALICE, f"{text}{n % 10}{n // 10}") for n in range(many)]
    refused = refusal(*steps)
    assert refused.code is Code.LIMIT_REACHED
    assert refused.data["limit"] == limits.PLAN_WILD_LEN_MAX
    same = [step(f"s{n}", ALICE, text) for n in range(many)]
    assert len(look(*same).waves) == 1


@pytest.mark.parametrize(
    "shape",
    ["*{}*", "**/name{}.py", "src/**/name{}/*.py", "{{a/,b}}{{c/,d}}{{e/,f}}{{g/,h}}{{i/,j}}{}*"],
)
def test_patterns_that_were_made_to_be_slow_are_refused_before_they_are(shape: str):
    steps = [step(f"s{n}", ALICE, shape.format(n)) for n in range(700)]
    assert refusal(*steps).code is Code.LIMIT_REACHED


def test_what_is_held_counts_toward_what_is_slow():
    given = [held(f"rsv_{n}", f"agent{n}", f"src/*_x{n}.py") for n in range(400)]
    steps = [step(f"s{n}", ALICE, f"src/*_{n}.py") for n in range(400)]
    assert look(*steps).waves != ()
    assert refusal(*steps, given=given).code is Code.LIMIT_REACHED
    elsewhere = [step(f"s{n}", ALICE, f"lib/*_{n}.py") for n in range(400)]
    assert look(*elsewhere, given=given).blocked == ()


@pytest.mark.parametrize(
    "shape",
    ["pkg{}/**", "src/mod{}/*.py", "src/**/test_{}_*.py", "src{}/*.{{ts,js}}", "src/*_{}.py"],
)
def test_a_thousand_steps_that_people_mean_are_looked_at(shape: str):
    steps = [step(f"s{n}", f"agent{n % 50}", shape.format(n)) for n in range(limits.STEPS_MAX)]
    assert look(*steps).waves == (tuple(each.step_id for each in steps),)


# -- Parts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "head", "last"),
    [
        ("src/a*b?c.py", "src/a", ("a", "c.py")),
        ("src/**", "src/", ("", "")),
        ("src/**/x", "src/", ("", "")),
        ("*.py", "", ("", ".py")),
        ("src/*/", "src/", ("", "")),
        ("src/", "src/", ("", "")),
        ("src/.{/b,x}", "src/", ("", "")),
        ("src/[ab]*.py", "src/", ("", "")),
        (r"src/\*a*b", "src/", ("", "")),
        ("a/x*", "a/x", ("x", "")),
    ],
)
def test_what_a_pattern_begins_and_ends_with(text: str, head: str, last: tuple[str, str]):
    assert head_of(text) == head
    assert last_name_of(text) == last


def test_a_long_chain_is_no_cycle():
    after = [{n - 1} if n else set[int]() for n in range(1_000)]
    assert find_cycle(after) == []
    assert critical_path(after) == list(range(1_000))
    assert waves(after, [0] * 1_000) == [[n] for n in range(1_000)]


def test_a_cycle_goes_from_each_to_what_it_waits_for():
    assert find_cycle([{1}, {2}, {3}, {1}]) == [1, 2, 3]
    assert find_cycle([set(), {0}]) == []
