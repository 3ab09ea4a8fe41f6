"""Operations on the windows and on the pokes that could not be typed into them."""

import secrets
from functools import partial

from intermute.domain import agents as domain_agents
from intermute.domain.commands import ExpireWindow, SurfacePoke
from intermute.domain.limits import CURSOR_MAX, INBOX_PAGE_DEFAULT, PAGE_MAX
from intermute.domain.views import PokePage, WindowView
from intermute.project.tmux import PANE_OPTION
from intermute.web.calls import Call, hash_token
from intermute.web.operations import Asking, Operations
from intermute.web.outcome import Outcome
from intermute.wire import pokes as wire_pokes
from intermute.wire import windows as wire
from intermute.wire.agents import read_agent_id
from intermute.wire.bodies import BadRequest, cursor, decimal

NO_WINDOWS: list[WindowView] = []
NO_POKES = PokePage()
operations = Operations()


@operations.command("windows.register", "POST", "/api/windows")
def register(call: Call) -> Asking:
    body = wire.read_window(call.members())
    pane_token = f"pane_{secrets.token_urlsafe(32)}"
    command = wire.register(
        body,
        token_hash=hash_token(body.registration_token.strip()),
        pane_hash=hash_token(pane_token),
    )
    render = partial(wire.registered, pane_token=pane_token, pane_option=PANE_OPTION)
    return Asking(_project(call, body.project), command, render)


@operations.query("windows.list", "/api/windows")
async def list_windows(call: Call) -> Outcome:
    project = _project(call, call.query("project"))
    limit = decimal(call.query("limit"), default=PAGE_MAX, most=PAGE_MAX)
    before = cursor(call.query("cursor"), default=CURSOR_MAX)
    found = call.read(
        project,
        lambda reader: reader.windows(before=before, limit=limit + 1),
        empty=NO_WINDOWS,
    )
    page = found[:limit]
    return Outcome(
        200,
        {
            "windows": [wire.window(view) for view in page],
            "cursor": page[-1].cursor if page else before % CURSOR_MAX,
            "more": len(found) > limit,
        },
    )


@operations.command("windows.expire", "DELETE", "/api/windows/<path:window_uuid>")
def expire(call: Call) -> Asking:
    project = _project(call, call.query("project"))
    return Asking(project, ExpireWindow(call.path("window_uuid")), wire.expired)


@operations.query("pokes.list", "/api/inbox/pokes")
async def list_pokes(call: Call) -> Outcome:
    agent_id, project = _recipient(call)
    after = cursor(call.query("since_cursor"), default=0)
    limit = decimal(call.query("limit"), default=INBOX_PAGE_DEFAULT, most=PAGE_MAX)
    page = call.read_as(
        project,
        agent_id,
        lambda reader: reader.unsurfaced_pokes(agent_id, after=after, limit=limit),
        empty=NO_POKES,
    )
    return Outcome(200, wire_pokes.pokes(page, after=after))


@operations.command("pokes.ack", "POST", "/api/inbox/pokes/<path:message_id>/ack")
def surface(call: Call) -> Asking:
    agent_id, project = _recipient(call)
    return Asking(project, SurfacePoke(agent_id, call.path("message_id")), wire_pokes.surfaced)


def _project(call: Call, named: str | None) -> str:
    """The named project, or the key's. Here a local caller has to name one."""
    if call.caller.project is None and not (named or "").strip():
        raise BadRequest("project required: windows and pokes belong to one")
    return call.project(named)


def _recipient(call: Call) -> tuple[str, str]:
    """Whose pokes they are, and in which project."""
    agent_id = read_agent_id(call.query("agent") or "")
    project = _project(call, call.query("project"))
    return agent_id, call.project_for(project, agent_id, domain_agents.not_found)
