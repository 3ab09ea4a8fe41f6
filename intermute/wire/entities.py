"""Entities on the wire. Their bodies are made from the table of kinds."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from intermute.domain import limits
from intermute.domain.commands import (
    AssignTask,
    CreateEntity,
    LinkCuj,
    LinkInsight,
    ReplaceEntity,
    UnlinkCuj,
    UpdateEntity,
)
from intermute.domain.entities.kinds import INSIGHT, KINDS, Entity, Field, Kind, Shape
from intermute.domain.events import EntityKept, EventData
from intermute.domain.events.entities import CujLinkEvent
from intermute.domain.times import EPOCH, LATEST_US, iso
from intermute.domain.values import Value
from intermute.domain.views import LinkView
from intermute.wire.agents import AgentId, Project
from intermute.wire.bodies import BadRequest, convert, line

EntityId = Annotated[str, Meta(max_length=limits.ENTITY_ID_LEN_MAX)]
Time = Annotated[datetime, Meta(tz=True)]
Item = Annotated[str, Meta(max_length=limits.ENTITY_ITEM_LEN_MAX)]
Items = Annotated[list[Item], Meta(max_length=limits.ENTITY_ITEMS_MAX)]
Steps = Annotated[list[dict[str, Any]], Meta(max_length=limits.CUJ_STEPS_MAX)]
Alternatives = Annotated[list[Item], Meta(max_length=limits.CUJ_ALTERNATIVES_MAX)]

_ZERO = datetime(1, 1, 1, tzinfo=UTC)
_SECOND_US = 1_000_000


class EntityBody(Value):
    """What a body says of an entity; None, or missing in `fields`, is what it leaves out."""

    project: str
    entity_id: str
    version: int | None
    created_at: datetime | None
    updated_at: datetime | None
    fields: dict[str, Any]


class _Step(Value):
    order: int = 0
    action: Item = ""
    expected: Item = ""
    alternatives: Alternatives = msgspec.field(default_factory=list)


class _AssignBody(Value):
    agent: AgentId = ""
    agent_id: AgentId = ""
    reassign: bool = False
    version: int | None = None


class _InsightLinkBody(Value):
    spec_id: EntityId = ""


class _CujLinkBody(Value):
    feature_id: EntityId = ""


def _type(field: Field) -> Any:
    if field.shape is Shape.NUMBER:
        return float
    if field.shape is Shape.STEPS:
        return Steps
    text = Annotated[str, Meta(max_length=field.len_max)]
    return text | Items if field.shape is Shape.TEXTS else text


def _shape_of(kind: Kind) -> type[Any]:
    """The members that a body of the kind may have, none of which it must have."""
    types: dict[str, Any] = {
        "project": Project,
        "id": EntityId,
        "version": int,
        kind.created: Time,
        "updated_at": Time,
        **{field.name: _type(field) for field in kind.fields},
    }
    members = [(name, of | None, None) for name, of in types.items()]
    return msgspec.defstruct(f"{kind.name.title()}Body", members)


_SHAPES = {kind.name: _shape_of(kind) for kind in KINDS.values()}


def read_entity(kind: Kind, members: dict[str, Any]) -> EntityBody:
    """The body of a creation, a replacement or a change. A field that is null is made empty.

    Raises:
        BadRequest: A member is of the wrong type, or too long.
    """
    body = convert(_without_nulls(kind, members), _SHAPES[kind.name])
    given = ((field, getattr(body, field.name)) for field in kind.fields)
    return EntityBody(
        project=body.project or "",
        entity_id=line(body.id or "", "id"),
        version=body.version,
        created_at=getattr(body, kind.created),
        updated_at=body.updated_at,
        fields={field.name: _held(field, held) for field, held in given if held is not None},
    )


def _without_nulls(kind: Kind, members: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, member in members.items():
        if member is not None:
            found[name] = member
            continue
        field = kind.field(name) or kind.field(name.lower())
        if field is not None:
            found[name] = field.empty
    return found


def _held(field: Field, held: Any) -> Any:
    if field.shape is Shape.LINE:
        return line(held, field.name)
    if field.shape is Shape.STEPS:
        return [_step(step, ordinal) for ordinal, step in enumerate(held)]
    return held


def _step(members: dict[str, Any], ordinal: int) -> dict[str, Any]:
    """One step of a user journey, as it is kept and shown."""
    given = {name: member for name, member in members.items() if member is not None}
    try:
        step = convert(given, _Step)
    except BadRequest as bad:
        raise BadRequest(f"{bad} of `$.steps[{ordinal}]`") from None
    found = {"order": step.order, "action": step.action, "expected": step.expected}
    return {**found, "alternatives": step.alternatives} if step.alternatives else found


def _at_us(at: datetime | None, name: str) -> int | None:
    """A client's time; None for none, which the zero time says as well, with whatever offset."""
    if at is None or at.replace(tzinfo=UTC) == _ZERO:
        return None
    passed = at - EPOCH
    at_us = (passed.days * 86_400 + passed.seconds) * _SECOND_US + passed.microseconds
    if not 0 <= at_us <= LATEST_US:
        raise BadRequest(f"a time lies between the years 1970 and 9999 - at `$.{name}`")
    return at_us


def create(kind: Kind, body: EntityBody, *, agent_id: str | None) -> CreateEntity:
    return CreateEntity(
        kind.name,
        body.entity_id,
        agent_id,
        fields=body.fields,
        created_at_us=_at_us(body.created_at, kind.created),
        updated_at_us=_at_us(body.updated_at, "updated_at"),
    )


def replace(kind: Kind, entity_id: str, body: EntityBody, *, agent_id: str | None) -> ReplaceEntity:
    """The id is the path's, and when it began is not for the body to say."""
    return ReplaceEntity(kind.name, entity_id, agent_id, fields=body.fields, version=body.version)


def update(kind: Kind, entity_id: str, body: EntityBody, *, agent_id: str | None) -> UpdateEntity:
    return UpdateEntity(kind.name, entity_id, agent_id, fields=body.fields, version=body.version)


def assign(entity_id: str, members: dict[str, Any], *, agent_id: str | None) -> AssignTask:
    """`agent` is who gets the task; `agent_id` is who asks."""
    body = convert(members, _AssignBody)
    assignee = line(body.agent or body.agent_id, "agent")
    if not assignee:
        raise BadRequest("agent required: who takes the task")
    return AssignTask(
        "task",
        entity_id,
        agent_id,
        assignee=assignee,
        reassign=body.reassign,
        version=body.version,
    )


def link_insight(entity_id: str, members: dict[str, Any], *, agent_id: str | None) -> LinkInsight:
    spec_id = line(convert(members, _InsightLinkBody).spec_id, "spec_id")
    if not spec_id:
        raise BadRequest("spec_id required: the spec that the insight is about")
    return LinkInsight("insight", entity_id, agent_id, spec_id=spec_id)


def link_cuj(entity_id: str, members: dict[str, Any], *, agent_id: str | None) -> LinkCuj:
    return LinkCuj("cuj", entity_id, agent_id, feature_id=_feature_id(members))


def unlink_cuj(entity_id: str, members: dict[str, Any], *, agent_id: str | None) -> UnlinkCuj:
    return UnlinkCuj("cuj", entity_id, agent_id, feature_id=_feature_id(members))


def _feature_id(members: dict[str, Any]) -> str:
    feature_id = line(convert(members, _CujLinkBody).feature_id, "feature_id")
    if not feature_id:
        raise BadRequest("feature_id required: the feature that the user journey serves")
    return feature_id


def filters(kind: Kind, query: Callable[[str], str | None]) -> dict[str, str]:
    """What a list is filtered by, by the names of fields; an empty text is no filter."""
    found = {}
    for name, field in kind.filters.items():
        wanted = line(query(name) or query(field) or "", name)
        if wanted:
            found[field] = wanted
    return found


def entity(found: Entity) -> dict[str, Any]:
    """An entity. Of its empty fields only those are shown that clients count on."""
    kind = KINDS[found.kind]
    members: dict[str, Any] = {"id": found.entity_id, "project": found.project}
    for field in kind.fields:
        held = found.fields.get(field.name, field.empty)
        if held or field.shown_empty:
            members[field.name] = held
    members["version"] = found.version
    members[kind.created] = iso(found.created_at_us)
    members["updated_at"] = iso(found.updated_at_us)
    return members


def cuj_link(view: LinkView) -> dict[str, Any]:
    return {
        "cuj_id": view.cuj_id,
        "feature_id": view.feature_id,
        "project": view.project,
        "linked_at": iso(view.linked_at_us),
    }


def frame_data(data: EventData) -> Any:
    """The member `data` of an entity event's frame: all of the entity, the link, or null."""
    if isinstance(data, EntityKept):
        if data.type == INSIGHT.event_type("linked"):
            return {"spec_id": data.entity.fields["spec_id"]}
        return entity(data.entity)
    return {"feature_id": data.feature_id} if isinstance(data, CujLinkEvent) else None
