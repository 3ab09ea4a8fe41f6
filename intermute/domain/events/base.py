"""What all events have in common."""

from typing import ClassVar

from intermute.domain.values import Value


class EventData(Value):
    """Base of the data of all event types."""

    type: ClassVar[str] = ""

    @property
    def entity_id(self) -> str:
        raise NotImplementedError

    @property
    def audience(self) -> tuple[str, ...] | None:
        """The agents whose own feeds show the event; None for those of all agents."""
        return None


class Event(Value):
    """One line of the log.

    Attributes:
        cursor: Position in the project's history, from 1, without gaps.
        at_us: When, by the wall clock, never going backwards along the cursor.
        actor: The agent that caused it, or None.
        data: What happened.
    """

    cursor: int
    at_us: int
    actor: str | None
    data: EventData

    @property
    def type(self) -> str:
        return self.data.type
