"""Looking before one leaps, on the wire: plans, and sets of paths too long for a query string."""

from typing import Annotated, Any

from msgspec import Meta, field

from intermute.domain import limits
from intermute.domain.commands import CheckPaths, PlannedStep, PreflightPlan
from intermute.domain.modes import Mode
from intermute.domain.values import Value
from intermute.domain.views import PlanView
from intermute.wire.agents import AgentId, Project
from intermute.wire.bodies import BadRequest, convert, line
from intermute.wire.problems import conflict
from intermute.wire.reservations import ModeText, Patterns, PatternText, check, read_mode

StepId = Annotated[str, Meta(max_length=limits.STEP_ID_LEN_MAX)]


class CheckBody(Value):
    project: Project = ""
    agent: AgentId = ""
    agent_id: AgentId = ""
    path: PatternText = ""
    path_pattern: PatternText = ""
    patterns: Patterns = field(default_factory=list)
    mode: ModeText = ""
    fencing_token: int | None = None


class PlanBody(Value):
    project: Project = ""
    steps: list[dict[str, Any]] = field(default_factory=list)


class _Step(Value):
    id: StepId = ""
    agent: AgentId = ""
    agent_id: AgentId = ""
    path: PatternText = ""
    path_pattern: PatternText = ""
    patterns: Patterns = field(default_factory=list)
    mode: ModeText = ""
    after: Annotated[list[StepId], Meta(max_length=limits.STEPS_MAX)] = field(default_factory=list)


def read_check(members: dict[str, Any]) -> CheckBody:
    return convert(members, CheckBody)


def check_paths(body: CheckBody) -> CheckPaths:
    """Exclusive unless the body says otherwise.

    Raises:
        BadRequest: There is no pattern, or too many.
    """
    mode = read_mode(body.mode) if body.mode else Mode.EXCLUSIVE
    agent_id = line(body.agent or body.agent_id, "agent")
    return check(
        [body.path, body.path_pattern, *body.patterns],
        mode=mode,
        agent_id=agent_id,
        fencing_token=body.fencing_token,
    )


def read_plan(members: dict[str, Any]) -> PlanBody:
    return convert(members, PlanBody)


def preflight(body: PlanBody) -> PreflightPlan:
    """Raises BadRequest when there is no step, or too much of anything."""
    if not body.steps:
        raise BadRequest("steps required: one or more, each with an id, an agent and patterns")
    if len(body.steps) > limits.STEPS_MAX:
        raise BadRequest(f"a plan has at most {limits.STEPS_MAX} steps")
    steps = []
    for ordinal, members in enumerate(body.steps):
        try:
            steps.append(_step(members))
        except BadRequest as bad:
            raise BadRequest(f"steps[{ordinal}]: {bad}") from None
    if sum(len(step.patterns) for step in steps) > limits.PLAN_PATTERNS_MAX:
        raise BadRequest(f"a plan has at most {limits.PLAN_PATTERNS_MAX} patterns in all its steps")
    return PreflightPlan(tuple(steps))


def _step(members: dict[str, Any]) -> PlannedStep:
    given = {name: member for name, member in members.items() if member is not None}
    body = convert(given, _Step)
    step_id = line(body.id, "id")
    if not step_id:
        raise BadRequest("id required")
    agent_id = line(body.agent or body.agent_id, "agent")
    if not agent_id:
        raise BadRequest("agent required")
    named = [text for text in (body.path, body.path_pattern) if text]
    patterns = tuple(dict.fromkeys((*named, *body.patterns)))
    if not patterns:
        raise BadRequest("path required: one in path, or several in patterns")
    if len(patterns) > limits.PATTERNS_PER_REQUEST_MAX:
        raise BadRequest(f"at most {limits.PATTERNS_PER_REQUEST_MAX} patterns in one step")
    return PlannedStep(
        step_id=step_id,
        agent_id=agent_id,
        patterns=patterns,
        mode=read_mode(body.mode) if body.mode else Mode.EXCLUSIVE,
        after=tuple(line(each, "after") for each in body.after),
    )


def plan(view: PlanView) -> dict[str, Any]:
    """The answer. `free` tells that nothing of others is in the way of any step."""
    return {
        "free": not view.conflicts_total,
        "waves": view.waves,
        "critical_path": view.critical_path,
        "blocked": view.blocked,
        "conflicts": [{"step": each.step_id, **conflict(each.conflict)} for each in view.conflicts],
        "conflicts_total": view.conflicts_total,
        "conflicts_more": view.conflicts_more,
        "step_conflicts": [
            {"steps": each.steps, "patterns": each.patterns, "witness": each.witness}
            for each in view.step_conflicts
        ],
        "step_conflicts_total": view.step_conflicts_total,
        "step_conflicts_more": len(view.step_conflicts) < view.step_conflicts_total,
    }
