"""The command that looks at a plan."""

from typing import ClassVar

from intermute.domain import views
from intermute.domain.commands.base import Command
from intermute.domain.modes import Mode
from intermute.domain.values import Value


class PlannedStep(Value):
    """One step of a plan.

    Attributes:
        after: The ids of the steps that have to be done before it.
    """

    step_id: str
    agent_id: str
    patterns: tuple[str, ...]
    mode: Mode = Mode.EXCLUSIVE
    after: tuple[str, ...] = ()


class PreflightPlan(Command):
    """Ask what the steps of a plan would meet, each other included, and how to arrange them."""

    kind: ClassVar[str] = "preflight_plan"
    answer: ClassVar[type] = views.PlanView
    changes: ClassVar[bool] = False
    steps: tuple[PlannedStep, ...]
