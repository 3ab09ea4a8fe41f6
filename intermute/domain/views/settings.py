"""What is shown of a project's settings."""

from intermute.domain.values import value


@value
class ProjectView:
    """A project's settings. `live_transport` None: the server's rule holds."""

    project: str
    case_sensitive: bool
    live_transport: bool | None = None
