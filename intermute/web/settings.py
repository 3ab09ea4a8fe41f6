"""Routes of a project's settings."""

from quart import Blueprint, Response

from intermute.domain.projects import normalise_project
from intermute.domain.views import ProjectView
from intermute.web.edge import Edge, json_response
from intermute.wire import settings as wire


def settings_blueprint(edge: Edge) -> Blueprint:
    """Look at and change the settings of a project."""
    routes = Blueprint("settings", __name__, url_prefix="/api/project")
    routes.before_request(edge.identify)

    @routes.get("")
    async def get_settings() -> Response:
        project = edge.project(edge.request.args.get("project"))
        view = edge.read(
            project,
            lambda reader: reader.settings(),
            empty=ProjectView(normalise_project(project) or project, case_sensitive=True),
        )
        return json_response(wire.project(view))

    @routes.patch("")
    async def configure() -> Response:
        body = wire.read_settings(edge.members())
        project = edge.project(body.project or edge.request.args.get("project"))
        return edge.answer(await edge.ask(project, wire.configure(body)), wire.project)

    return routes
