"""Plans on the wire: what is read, what is refused, what is shown."""

import pytest

from intermute.domain import limits
from intermute.domain.commands import PlannedStep, PreflightPlan
from intermute.domain.modes import Mode
from intermute.domain.views import ConflictView, HeldConflictView, PlanView, StepConflictView
from intermute.wire import preflight
from intermute.wire.bodies import BadRequest
from intermute.wire.problems import conflict

STEP = {"id": "s", "agent": "a1", "path": "src"}


def read(*steps, **members):
    return preflight.preflight(preflight.read_plan({"steps": list(steps), **members}))


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"path": "src"}, ("src",)),
        ({"path_pattern": "src"}, ("src",)),
        ({"patterns": ["a", "b", "a"]}, ("a", "b")),
        ({"path": "c", "patterns": ["a", "c"]}, ("c", "a")),
        ({"path": None, "patterns": ["a"]}, ("a",)),
    ],
)
def test_a_steps_patterns_go_by_several_names(members, expected):
    command = read({"id": "s", "agent": "a1", **members})
    assert command == PreflightPlan((PlannedStep("s", "a1", expected),))


def test_all_members_of_a_step_are_read():
    command = read(
        {"ID": " one ", "agent_id": "a1", "path": "x", "mode": "IX", "other": 1},
        {"id": "two", "agent": "a2", "path": "y", "mode": "shared", "after": ["one "]},
        project="p",
    )
    assert command.steps == (
        PlannedStep("one", "a1", ("x",), Mode.INTENT_EXCLUSIVE),
        PlannedStep("two", "a2", ("y",), Mode.SHARED, ("one",)),
    )
    assert command.changes is False
    assert command.acting is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"id": ""}, "id required"),
        ({"id": None}, "id required"),
        ({"id": 1}, "$.id"),
        ({"id": "a\nb"}, "$.id"),
        ({"id": "x" * (limits.STEP_ID_LEN_MAX + 1)}, "$.id"),
        ({"agent": " "}, "agent required"),
        ({"agent": ["a"]}, "$.agent"),
        ({"path": ""}, "path required"),
        ({"path": 3}, "$.path"),
        ({"patterns": "src"}, "$.patterns"),
        ({"patterns": ["a"] * (limits.PATTERNS_PER_REQUEST_MAX + 1)}, "$.patterns"),
        ({"patterns": [str(n) for n in range(limits.PATTERNS_PER_REQUEST_MAX)]}, "at most 256"),
        ({"mode": "mine"}, "invalid mode"),
        ({"after": "s"}, "$.after"),
        ({"after": [1]}, "$.after"),
    ],
)
def test_a_bad_step_is_named(changed, words):
    with pytest.raises(BadRequest) as caught:
        read(STEP, {**STEP, **changed})
    assert str(caught.value).startswith("steps[1]: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "members", [{}, {"steps": None}, {"steps": []}, {"steps": {}}, {"steps": ["s"]}]
)
def test_a_plan_has_steps(members):
    with pytest.raises(BadRequest):
        preflight.preflight(preflight.read_plan(members))


def test_a_plan_has_a_bounded_number_of_steps_and_patterns():
    steps = [{**STEP, "id": str(n)} for n in range(limits.STEPS_MAX + 1)]
    assert len(read(*steps[1:]).steps) == limits.STEPS_MAX
    with pytest.raises(BadRequest, match="at most 1000 steps"):
        read(*steps)
    patterns = [str(n) for n in range(limits.PATTERNS_PER_REQUEST_MAX)]
    many = limits.PLAN_PATTERNS_MAX // len(patterns)
    full = [{"id": str(n), "agent": "a", "patterns": patterns} for n in range(many)]
    assert len(read(*full).steps) == many
    with pytest.raises(BadRequest, match="at most 4096 patterns"):
        read(*full, STEP)


def test_the_answer_is_shown():
    met = ConflictView(
        reservation_id="rsv_1",
        agent_id="a9",
        held_by="Nine",
        holder="live",
        pattern="src/**",
        requested="src/a.py",
        witness="src/a.py",
        mode=Mode.EXCLUSIVE,
        reason="",
        since_us=1_700_000_000_000_000,
        expires_at_us=1_700_000_060_000_000,
        fencing_token=4,
    )
    view = PlanView(
        waves=(("a", "b"), ("c",)),
        critical_path=("a", "c"),
        blocked=("a",),
        conflicts=(HeldConflictView("a", met),),
        conflicts_total=1,
        conflicts_more=False,
        step_conflicts=(StepConflictView(("b", "c"), ("x", "x/*"), "x/a"),),
        step_conflicts_total=2,
    )
    assert preflight.plan(view) == {
        "free": False,
        "waves": (("a", "b"), ("c",)),
        "critical_path": ("a", "c"),
        "blocked": ("a",),
        "conflicts": [{"step": "a", **conflict(met)}],
        "conflicts_total": 1,
        "conflicts_more": False,
        "step_conflicts": [{"steps": ("b", "c"), "patterns": ("x", "x/*"), "witness": "x/a"}],
        "step_conflicts_total": 2,
        "step_conflicts_more": True,
    }
