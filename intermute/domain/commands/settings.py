"""Commands that change a project's settings."""

from typing import ClassVar

from intermute.domain import views
from intermute.domain.commands.base import Command


class ConfigureProject(Command):
    """Change settings of the project; None keeps one.

    `live_transport` is `on`, `off`, or `default` for the server's rule.
    """

    kind: ClassVar[str] = "configure_project"
    answer: ClassVar[type] = views.ProjectView
    case_sensitive: bool | None = None
    live_transport: str | None = None
