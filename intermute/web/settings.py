"""Operations on a project's settings."""

from collections.abc import Callable
from functools import partial

from intermute.domain.projects import normalise_project
from intermute.domain.views import ProjectView
from intermute.web.calls import Call
from intermute.web.operations import Asking, Operations
from intermute.web.outcome import Outcome
from intermute.wire import settings as wire

operations = Operations()


@operations.query("project.get", "/api/project")
async def get_settings(call: Call) -> Outcome:
    project = call.project(call.query("project"))
    view = call.read(
        project,
        lambda reader: reader.settings(),
        empty=ProjectView(normalise_project(project) or project, case_sensitive=True),
    )
    return Outcome(200, _render(call)(view))


@operations.command("project.configure", "PATCH", "/api/project")
def configure(call: Call) -> Asking:
    body = wire.read_settings(call.all_members())
    project = call.project(body.project or call.query("project"))
    return Asking(project, wire.configure(body), _render(call))


def _render(call: Call) -> Callable[[ProjectView], dict[str, object]]:
    return partial(wire.project, live_default=call.projects.deliveries.live_default)
