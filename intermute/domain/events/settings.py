"""Events of a project's settings."""

from typing import ClassVar

from intermute.domain.events.base import EventData
from intermute.domain.values import value


@value
class ProjectConfigured(EventData):
    type: ClassVar[str] = "project.configured"
    case_sensitive: bool

    @property
    def entity_id(self) -> str:
        return ""
