"""What is shown of a project's settings."""

from intermute.domain.values import value


@value
class ProjectView:
    project: str
    case_sensitive: bool
