"""A project's settings on the wire."""

from typing import Any

from intermute.domain.commands import ConfigureProject
from intermute.domain.values import Value
from intermute.domain.views import ProjectView
from intermute.wire.agents import Project
from intermute.wire.bodies import BadRequest, convert


class SettingsBody(Value):
    project: Project = ""
    case_sensitive: bool | None = None
    live_transport: bool | None = None


class SettingsChange(Value):
    """What a request asks for. `live` is a word of `ConfigureProject`, None where it says none."""

    project: str
    case_sensitive: bool | None
    live: str | None


def read_settings(members: dict[str, Any]) -> SettingsChange:
    """The members with their nulls: `live_transport` null means the server's rule."""
    given = {name: member for name, member in members.items() if member is not None}
    body = convert(given, SettingsBody)
    live = None
    if body.live_transport is not None:
        live = "on" if body.live_transport else "off"
    elif any(name.lower() == "live_transport" for name in members.keys() - given.keys()):
        live = "default"
    return SettingsChange(body.project, body.case_sensitive, live)


def configure(body: SettingsChange) -> ConfigureProject:
    if body.case_sensitive is None and body.live is None:
        raise BadRequest("case_sensitive required, or live_transport: there is no other setting")
    return ConfigureProject(body.case_sensitive, body.live)


def project(view: ProjectView, *, live_default: bool) -> dict[str, Any]:
    """The settings as they are in effect, and whether the project or the server says so."""
    own = view.live_transport is not None
    return {
        "project": view.project,
        "case_sensitive": view.case_sensitive,
        "live_transport": view.live_transport if own else live_default,
        "live_transport_set_by": "project" if own else "server",
    }
