"""What is shown of a plan that was looked at."""

from intermute.domain.values import Value
from intermute.domain.views.reservations import ConflictView


class HeldConflictView(Value):
    """What somebody else holds, or waits for, in the way of a step."""

    step_id: str
    conflict: ConflictView


class StepConflictView(Value):
    """Two steps, in the order of the plan, that cannot be done at the same time.

    Attributes:
        patterns: One pattern of each step.
        witness: A path that both match.
    """

    steps: tuple[str, str]
    patterns: tuple[str, str]
    witness: str


class PlanView(Value):
    """What a plan would meet. The lists of conflicts are bounded, the others are whole.

    Attributes:
        blocked: The steps that conflict with something that others hold now.
        conflicts: Of each step, active before waiting, oldest first.
        conflicts_more: Whether there are others, listed or counted as little.
        step_conflicts_total: How many pairs of steps there are.
        waves: Steps that can be done at the same time, in the order of the plan; each wave when
            the one before it is done.
        critical_path: A longest chain of steps that have to wait for one another.
    """

    waves: tuple[tuple[str, ...], ...]
    critical_path: tuple[str, ...]
    blocked: tuple[str, ...]
    conflicts: tuple[HeldConflictView, ...]
    conflicts_total: int
    conflicts_more: bool
    step_conflicts: tuple[StepConflictView, ...]
    step_conflicts_total: int
