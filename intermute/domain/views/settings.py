"""What is shown of a project's settings."""

from intermute.domain.values import Value


class ProjectView(Value):
    """A project's settings. `live_transport` None: the server's rule holds."""

    project: str
    case_sensitive: bool
    live_transport: bool | None = None
