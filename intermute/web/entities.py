"""Operations on the entities, the same for each kind, and the few that only some kinds have."""

from collections.abc import Callable
from functools import partial
from typing import Any

from intermute.domain.commands import Command, DeleteEntity
from intermute.domain.entities import decisions as domain
from intermute.domain.entities.kinds import CUJ, INSIGHT, KINDS, TASK, Entity, Kind
from intermute.domain.limits import ENTITIES_MAX, PAGE_MAX
from intermute.domain.refusals import Code, Refusal, quoted
from intermute.domain.views import RemovedView
from intermute.web.calls import Call
from intermute.web.errors import Refused
from intermute.web.operations import Asking, Operations
from intermute.web.outcome import Outcome
from intermute.wire import entities as wire
from intermute.wire.bodies import decimal

NO_PAGE: tuple[list[Entity], bool] = ([], False)
operations = Operations()


def _create(kind: Kind, call: Call) -> Asking:
    body = wire.read_entity(kind, call.members())
    named = body.project or call.query("project")
    project = call.project_for(named, body.entity_id, _foreign_id)
    command = wire.create(kind, body, agent_id=call.agent_id)
    return Asking(project, command, wire.entity, status=201)


async def _list(kind: Kind, call: Call) -> Outcome:
    wanted = wire.filters(kind, call.query)
    for name, word in wanted.items():
        refusal = domain.refuse_word(kind, name, word)
        if refusal is not None:
            raise Refused(refusal)
    limit = decimal(call.query("limit"), default=PAGE_MAX, most=PAGE_MAX)
    offset = decimal(call.query("offset"), default=0, most=ENTITIES_MAX)
    page, more = call.read(
        call.project(call.query("project")),
        lambda reader: reader.entities(kind, wanted, limit=limit, offset=offset),
        empty=NO_PAGE,
    )
    headers = {"Intermute-More": "true" if more else "false"}
    return Outcome(200, [wire.entity(found) for found in page], headers)


async def _get(kind: Kind, call: Call) -> Outcome:
    entity_id = call.path("entity_id")
    found = call.read(
        _project_of(kind, call), lambda reader: reader.entity(kind.name, entity_id), empty=None
    )
    if found is None:
        raise Refused(domain.not_found(kind.name, entity_id))
    return Outcome(200, wire.entity(found))


def _replace(kind: Kind, call: Call) -> Asking:
    body = wire.read_entity(kind, call.members())
    command = wire.replace(kind, call.path("entity_id"), body, agent_id=call.agent_id)
    return Asking(_project_of(kind, call, body.project), command, wire.entity)


def _update(kind: Kind, call: Call) -> Asking:
    body = wire.read_entity(kind, call.all_members())
    command = wire.update(kind, call.path("entity_id"), body, agent_id=call.agent_id)
    return Asking(_project_of(kind, call, body.project), command, wire.entity)


def _delete(kind: Kind, call: Call) -> Asking:
    command = DeleteEntity(kind.name, call.path("entity_id"), call.agent_id)
    return Asking(_project_of(kind, call), command, _nothing, status=204)


def _nothing(_: RemovedView) -> None:
    return None


async def _cuj_links(call: Call) -> Outcome:
    entity_id = call.path("entity_id")
    found = call.read(
        _project_of(CUJ, call), lambda reader: reader.cuj_links(entity_id), empty=None
    )
    if found is None:
        raise Refused(domain.not_found(CUJ.name, entity_id))
    return Outcome(200, [wire.cuj_link(view) for view in found])


def _about(
    kind: Kind,
    command: Callable[..., Command],
    render: Callable[[Any], Any],
    call: Call,
) -> Asking:
    """What is asked of one entity beside reading and changing it."""
    asked = command(call.path("entity_id"), call.members(), agent_id=call.agent_id)
    return Asking(_project_of(kind, call), asked, render)


def _project_of(kind: Kind, call: Call, named: str = "") -> str:
    """The project of the entity in the path, named in the body or in the query, or by its id."""
    missing = partial(domain.not_found, kind.name)
    return call.project_for(named or call.query("project"), call.path("entity_id"), missing)


def _foreign_id(entity_id: str) -> Refusal:
    return Refusal(
        Code.INVALID_REQUEST,
        f"id {quoted(entity_id)} was made for another project: leave it out to get a new one",
    )


_WITH_MORE = (TASK, INSIGHT, CUJ)


def _register(kind: Kind) -> None:
    name, all_rule = kind.collection, f"/api/{kind.collection}"
    # Where nothing stands below an entity, the rest of the path is its id.
    one_rule = f"{all_rule}/<{'entity_id' if kind in _WITH_MORE else 'path:entity_id'}>"
    operations.command(f"{name}.create", "POST", all_rule)(partial(_create, kind))
    operations.query(f"{name}.list", all_rule)(partial(_list, kind))
    operations.query(f"{name}.get", one_rule)(partial(_get, kind))
    operations.command(f"{name}.replace", "PUT", one_rule)(partial(_replace, kind))
    operations.command(f"{name}.update", "PATCH", one_rule)(partial(_update, kind))
    operations.command(f"{name}.delete", "DELETE", one_rule)(partial(_delete, kind))


def _register_more(name: str, rule: str, *about: Any) -> None:
    operations.command(name, "POST", rule)(partial(_about, *about))


for _kind in KINDS.values():
    _register(_kind)
_register_more("tasks.assign", "/api/tasks/<entity_id>/assign", TASK, wire.assign, wire.entity)
_register_more(
    "insights.link", "/api/insights/<entity_id>/link", INSIGHT, wire.link_insight, wire.entity
)
_register_more("cujs.link", "/api/cujs/<entity_id>/link", CUJ, wire.link_cuj, wire.cuj_link)
_register_more("cujs.unlink", "/api/cujs/<entity_id>/unlink", CUJ, wire.unlink_cuj, wire.cuj_link)
operations.query("cujs.links", "/api/cujs/<entity_id>/links")(_cuj_links)
