"""A project's settings on the wire."""

from typing import Any

from intermute.domain.commands import ConfigureProject
from intermute.domain.values import value
from intermute.domain.views import ProjectView
from intermute.wire.agents import Project
from intermute.wire.bodies import BadRequest, convert


@value
class SettingsBody:
    project: Project = ""
    case_sensitive: bool | None = None


def read_settings(members: dict[str, Any]) -> SettingsBody:
    return convert(members, SettingsBody)


def configure(body: SettingsBody) -> ConfigureProject:
    if body.case_sensitive is None:
        raise BadRequest("case_sensitive required: the only setting there is")
    return ConfigureProject(body.case_sensitive)


def project(view: ProjectView) -> dict[str, Any]:
    return {"project": view.project, "case_sensitive": view.case_sensitive}
