"""Operations on the agents."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import trio

from intermute.domain import agents as domain
from intermute.domain.commands import RemoveContact, RetireAgent
from intermute.domain.limits import AGENTS_MAX, PAGE_MAX
from intermute.domain.views import AgentView
from intermute.project.directory import AgentFilter
from intermute.project.messages import StorageUnavailable
from intermute.web.calls import Call, hash_token, make_token
from intermute.web.errors import Refused
from intermute.web.operations import Asking, Operations
from intermute.web.outcome import Outcome
from intermute.wire import agents as wire
from intermute.wire.bodies import decimal

NO_AGENTS: list[AgentView] = []
operations = Operations()


@operations.command("agents.register", "POST", "/api/agents")
def register(call: Call) -> Asking:
    body = wire.read_register(call.members())
    project = call.project(body.project)
    token = make_token(call.projects.tag_of(project))
    return Asking(
        project,
        wire.register(body, hash_token(token)),
        partial(wire.registered, token=token, project=project),
    )


@operations.query("agents.list", "/api/agents")
async def list_agents(call: Call) -> Outcome:
    capabilities = [item.strip() for item in _query(call, "capability").split(",")]
    wanted = AgentFilter(capabilities=tuple(filter(None, capabilities)))
    return Outcome(200, await _page(call, wanted, wire.agent))


@operations.query("agents.presence", "/api/agents/presence")
async def presence(call: Call) -> Outcome:
    wanted = AgentFilter(
        repo=_query(call, "repo").strip(),
        active_bead_id=_query(call, "active_bead_id").strip(),
    )
    return Outcome(200, await _page(call, wanted, wire.presence))


@operations.query("agents.get", "/api/agents/<agent_id>")
async def get_agent(call: Call) -> Outcome:
    """A retired one can still be looked at."""
    agent_id = call.path("agent_id")
    project = call.project_of(agent_id, domain.not_found)
    view = call.read(project, lambda reader: reader.agent(agent_id), empty=None)
    if view is None:
        raise Refused(domain.not_found(agent_id))
    return Outcome(200, wire.agent_whole(view, now_us=call.now_us()))


@operations.command("agents.retire", "DELETE", "/api/agents/<agent_id>")
def retire(call: Call) -> Asking:
    agent_id = call.path("agent_id")
    return Asking(_project_of(call, agent_id), RetireAgent(agent_id), wire.retired)


@operations.command("agents.heartbeat", "POST", "/api/agents/<agent_id>/heartbeat")
def heartbeat(call: Call) -> Asking:
    agent_id = call.path("agent_id")
    command = wire.heartbeat(agent_id, call.members(optional=True))
    return Asking(_project_of(call, agent_id), command, wire.heartbeat_answer)


@operations.command("agents.merge_metadata", "PATCH", "/api/agents/<agent_id>/metadata")
def merge_metadata(call: Call) -> Asking:
    agent_id = call.path("agent_id")
    command = wire.merge_metadata(agent_id, call.members())
    return Asking(_project_of(call, agent_id), command, wire.agent)


@operations.query("agents.get_policy", "/api/agents/<agent_id>/policy")
async def get_policy(call: Call) -> Outcome:
    agent_id = call.path("agent_id")
    project = _project_of(call, agent_id)
    view = call.read(project, lambda reader: reader.policy(agent_id), empty=None)
    if view is None:
        raise Refused(domain.not_found(agent_id))
    return Outcome(200, wire.policy(view))


@operations.command("agents.set_policy", "POST PUT", "/api/agents/<agent_id>/policy")
def set_policy(call: Call) -> Asking:
    agent_id = call.path("agent_id")
    command = wire.set_policy(agent_id, call.members())
    return Asking(_project_of(call, agent_id), command, wire.policy)


@operations.query("contacts.list", "/api/agents/<agent_id>/contacts")
async def list_contacts(call: Call) -> Outcome:
    agent_id = call.path("agent_id")
    project = _project_of(call, agent_id)
    view = call.read(project, lambda reader: reader.contacts(agent_id), empty=None)
    if view is None:
        raise Refused(domain.not_found(agent_id))
    return Outcome(200, wire.contacts(view))


@operations.command("contacts.add", "POST", "/api/agents/<agent_id>/contacts")
def add_contact(call: Call) -> Asking:
    agent_id = call.path("agent_id")
    command = wire.add_contact(agent_id, call.members())
    return Asking(_project_of(call, agent_id), command, wire.contacts)


@operations.command(
    "contacts.remove", "DELETE", "/api/agents/<agent_id>/contacts/<path:contact_id>"
)
def remove_contact(call: Call) -> Asking:
    agent_id = call.path("agent_id")
    command = RemoveContact(agent_id, call.path("contact_id"))
    return Asking(_project_of(call, agent_id), command, wire.contacts)


def _project_of(call: Call, agent_id: str) -> str:
    return call.project_of(agent_id, domain.not_found)


def _query(call: Call, name: str) -> str:
    return call.query(name) or ""


async def _page(
    call: Call, wanted: AgentFilter, render: Callable[[AgentView], dict[str, object]]
) -> dict[str, object]:
    """Agents of the project asked for, or of all projects for a local caller who names none."""
    limit = decimal(_query(call, "limit"), default=PAGE_MAX, most=PAGE_MAX)
    offset = decimal(_query(call, "offset"), default=0, most=AGENTS_MAX)
    named = _query(call, "project")
    everywhere = call.caller.project is None and not named.strip()
    found: list[AgentView] = []

    def look(project: str) -> list[AgentView]:
        return call.read(
            project,
            lambda reader: reader.agents(wanted, limit=offset + limit + 1),
            empty=NO_AGENTS,
        )

    if not everywhere:
        found = look(call.project(named))
    else:
        call.verify_agent()
        for project in call.projects.all_projects():
            # One file that cannot be read must not hide the agents of all others.
            with suppress(StorageUnavailable):
                found += look(project)
            # Thousands of files are looked into: others must have their turn in between.
            await trio.lowlevel.checkpoint()
    found.sort(key=lambda view: view.last_seen_us, reverse=True)
    page = found[offset : offset + limit]
    return {"agents": [render(view) for view in page], "more": len(found) > offset + limit}
