"""The outcome of deciding a command: a refusal, or events with an answer."""

from collections.abc import Callable
from typing import Any

from intermute.domain.commands import Caller, Command
from intermute.domain.events import EventData, Mark
from intermute.domain.refusals import Refusal
from intermute.domain.stamp import Stamp
from intermute.domain.state import State
from intermute.domain.values import Value


class Accepted(Value):
    """Yes.

    Attributes:
        answer: What the caller is told, a value of `intermute.domain.views`.
        events: What happened, in order. Empty when nothing changed.
        marks: What is to be kept without being history.
        actor: The agent that caused it, or None.
    """

    answer: Any
    events: tuple[EventData, ...] = ()
    marks: tuple[Mark, ...] = ()
    actor: str | None = None


Decision = Accepted | Refusal
Decider = Callable[[State, Any, Stamp, Caller], Decision]
# Each noun's module has such a table; `intermute.domain.decide` joins them.
Decisions = dict[type[Command], Decider]
