"""Events of a project's settings."""

from typing import ClassVar

from intermute.domain.events.base import EventData


class ProjectConfigured(EventData):
    """The settings as they are from now on. `live_transport` None: the server's rule holds."""

    type: ClassVar[str] = "project.configured"
    case_sensitive: bool
    live_transport: bool | None = None

    @property
    def entity_id(self) -> str:
        return ""
