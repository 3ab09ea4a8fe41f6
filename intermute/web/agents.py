"""Routes of the agents."""

from collections.abc import Callable
from contextlib import suppress

import trio
from quart import Blueprint, Response

from intermute.domain import agents as domain
from intermute.domain.commands import RemoveContact, RetireAgent
from intermute.domain.limits import AGENTS_MAX, PAGE_MAX
from intermute.domain.views import AgentView
from intermute.project.directory import AgentFilter
from intermute.project.messages import StorageUnavailable
from intermute.web.edge import Edge, hash_token, json_response, make_token
from intermute.web.errors import Refused
from intermute.wire import agents as wire
from intermute.wire.bodies import decimal

NO_AGENTS: list[AgentView] = []


def agents_blueprint(edge: Edge) -> Blueprint:
    """Registration, lists, presence, heartbeat, metadata, policies, contacts, retirement."""
    routes = Blueprint("agents", __name__, url_prefix="/api/agents")
    routes.before_request(edge.identify)

    @routes.post("")
    async def register() -> Response:
        body = wire.read_register(edge.members())
        project = edge.project(body.project)
        token = make_token(edge.projects.tag_of(project))
        told = await edge.ask(project, wire.register(body, hash_token(token)))
        return edge.answer(told, lambda view: wire.registered(view, token=token, project=project))

    @routes.get("")
    async def list_agents() -> Response:
        capabilities = [item.strip() for item in _query(edge, "capability").split(",")]
        wanted = AgentFilter(capabilities=tuple(filter(None, capabilities)))
        return json_response(await _page(edge, wanted, wire.agent))

    @routes.get("/presence")
    async def presence() -> Response:
        wanted = AgentFilter(
            repo=_query(edge, "repo").strip(),
            active_bead_id=_query(edge, "active_bead_id").strip(),
        )
        return json_response(await _page(edge, wanted, wire.presence))

    @routes.get("/<agent_id>")
    async def get_agent(agent_id: str) -> Response:
        view = _find(edge, agent_id)
        return json_response(wire.agent_whole(view, now_us=edge.now_us()))

    @routes.delete("/<agent_id>")
    async def retire(agent_id: str) -> Response:
        project = edge.project_of(agent_id, domain.not_found)
        return edge.answer(await edge.ask(project, RetireAgent(agent_id)), wire.retired)

    @routes.post("/<agent_id>/heartbeat", strict_slashes=False)
    async def heartbeat(agent_id: str) -> Response:
        command = wire.heartbeat(agent_id, edge.members(optional=True))
        project = edge.project_of(agent_id, domain.not_found)
        return edge.answer(await edge.ask(project, command), wire.heartbeat_answer)

    @routes.patch("/<agent_id>/metadata")
    async def merge_metadata(agent_id: str) -> Response:
        command = wire.merge_metadata(agent_id, edge.members())
        project = edge.project_of(agent_id, domain.not_found)
        return edge.answer(await edge.ask(project, command), wire.agent)

    _policy_routes(routes, edge)
    _contact_routes(routes, edge)
    return routes


def _policy_routes(routes: Blueprint, edge: Edge) -> None:
    @routes.get("/<agent_id>/policy")
    async def get_policy(agent_id: str) -> Response:
        project = edge.project_of(agent_id, domain.not_found)
        view = edge.read(project, lambda reader: reader.policy(agent_id), empty=None)
        if view is None:
            raise Refused(domain.not_found(agent_id))
        return json_response(wire.policy(view))

    @routes.route("/<agent_id>/policy", methods=["POST", "PUT"])
    async def set_policy(agent_id: str) -> Response:
        command = wire.set_policy(agent_id, edge.members())
        project = edge.project_of(agent_id, domain.not_found)
        return edge.answer(await edge.ask(project, command), wire.policy)


def _contact_routes(routes: Blueprint, edge: Edge) -> None:
    @routes.get("/<agent_id>/contacts")
    async def list_contacts(agent_id: str) -> Response:
        project = edge.project_of(agent_id, domain.not_found)
        view = edge.read(project, lambda reader: reader.contacts(agent_id), empty=None)
        if view is None:
            raise Refused(domain.not_found(agent_id))
        return json_response(wire.contacts(view))

    @routes.post("/<agent_id>/contacts")
    async def add_contact(agent_id: str) -> Response:
        command = wire.add_contact(agent_id, edge.members())
        project = edge.project_of(agent_id, domain.not_found)
        return edge.answer(await edge.ask(project, command), wire.contacts)

    @routes.delete("/<agent_id>/contacts/<path:contact_id>")
    async def remove_contact(agent_id: str, contact_id: str) -> Response:
        project = edge.project_of(agent_id, domain.not_found)
        command = RemoveContact(agent_id, contact_id)
        return edge.answer(await edge.ask(project, command), wire.contacts)


def _query(edge: Edge, name: str) -> str:
    return edge.request.args.get(name, "")


def _find(edge: Edge, agent_id: str) -> AgentView:
    """One agent that the caller may see; a retired one can still be looked at."""
    project = edge.project_of(agent_id, domain.not_found)
    view = edge.read(project, lambda reader: reader.agent(agent_id), empty=None)
    if view is None:
        raise Refused(domain.not_found(agent_id))
    return view


async def _page(
    edge: Edge, wanted: AgentFilter, render: Callable[[AgentView], dict[str, object]]
) -> dict[str, object]:
    """Agents of the project asked for, or of all projects for a local caller who names none."""
    limit = decimal(_query(edge, "limit"), default=PAGE_MAX, most=PAGE_MAX)
    offset = decimal(_query(edge, "offset"), default=0, most=AGENTS_MAX)
    named = _query(edge, "project")
    everywhere = edge.caller.project is None and not named.strip()
    found: list[AgentView] = []

    def look(project: str) -> list[AgentView]:
        return edge.read(
            project,
            lambda reader: reader.agents(wanted, limit=offset + limit + 1),
            empty=NO_AGENTS,
        )

    if not everywhere:
        found = look(edge.project(named))
    else:
        edge.verify_agent()
        for project in edge.projects.all_projects():
            # One file that cannot be read must not hide the agents of all others.
            with suppress(StorageUnavailable):
                found += look(project)
            # Thousands of files are looked into: others must have their turn in between.
            await trio.lowlevel.checkpoint()
    found.sort(key=lambda view: view.last_seen_us, reverse=True)
    page = found[offset : offset + limit]
    return {"agents": [render(view) for view in page], "more": len(found) > offset + limit}
