"""What commands do to entities: made once, changed on the version that was seen, claimed, linked.

A reference is held against the project when it is set, and stays when what it names goes: children
of a deleted spec keep its id.
"""

from collections.abc import Mapping
from typing import Any

from intermute.domain import limits
from intermute.domain.agents import canonical_session
from intermute.domain.commands import (
    AssignTask,
    Caller,
    CreateEntity,
    DeleteEntity,
    LinkCuj,
    LinkInsight,
    ReplaceEntity,
    UnlinkCuj,
    UpdateEntity,
)
from intermute.domain.decision import Accepted, Decision, Decisions
from intermute.domain.entities.kinds import CUJ, INSIGHT, KINDS, TASK, TASK_TAKEN, Entity, Kind
from intermute.domain.events.entities import CujLinked, CujUnlinked, kept_event, removed_event
from intermute.domain.refusals import Code, Refusal, quoted
from intermute.domain.stamp import Stamp, make_id
from intermute.domain.state import State
from intermute.domain.views import LinkView, RemovedView


def not_found(kind: str, entity_id: str) -> Refusal:
    return Refusal(Code.ENTITY_NOT_FOUND, f"no {kind} {quoted(entity_id)} is here")


def refuse_word(kind: Kind, name: str, word: str) -> Refusal | None:
    """Why the field cannot hold the word; a field without a vocabulary holds any."""
    field = kind.field(name)
    if field is None or not field.words or word in field.words:
        return None
    return Refusal(
        Code.INVALID_STATUS,
        f"the {name} of a {kind.name} is one of {', '.join(field.words)}, not {quoted(word)}",
        {"field": name, "allowed": list(field.words)},
    )


def create(state: State, command: CreateEntity, stamp: Stamp, caller: Caller) -> Decision:
    """Make it, once: an id that is there already is refused, also when the rest is the same."""
    kind = KINDS[command.entity_kind]
    present = state.rows.entity(kind.name, command.entity_id) if command.entity_id else None
    if present is not None:
        return Refusal(
            Code.ENTITY_EXISTS,
            f"{kind.name} {quoted(present.entity_id)} is there already, at version "
            f"{present.version}: change it with PUT or PATCH",
            {"current_version": present.version},
        )
    fields = _whole(kind, command.fields, {})
    refusal = _refuse_fields(state, kind, fields, {}) or _refuse_amount(state)
    if refusal is not None:
        return refusal
    at_us = state.at_us
    entity = Entity(
        kind=kind.name,
        entity_id=command.entity_id or make_id(kind.name, state.tag, stamp.unique()),
        project=state.project,
        fields=fields,
        version=1,
        created_at_us=at_us if command.created_at_us is None else command.created_at_us,
        updated_at_us=at_us if command.updated_at_us is None else command.updated_at_us,
    )
    return Accepted(entity, events=(kept_event("created", entity),))


def replace(state: State, command: ReplaceEntity, stamp: Stamp, caller: Caller) -> Decision:
    """Always a new version. A replacement of most kinds must name the version it replaces."""
    kind = KINDS[command.entity_kind]
    present = state.rows.entity(kind.name, command.entity_id)
    if present is None:
        return not_found(kind.name, command.entity_id)
    version = command.version
    if version is None and kind.versioned:
        version = 0
    refusal = _refuse_version(present, version)
    if refusal is not None:
        return refusal
    return _change(state, kind, present, _whole(kind, command.fields, present.fields))


def update(state: State, command: UpdateEntity, stamp: Stamp, caller: Caller) -> Decision:
    """Change what is given. Nothing happens when that changes nothing."""
    kind = KINDS[command.entity_kind]
    present = state.rows.entity(kind.name, command.entity_id)
    if present is None:
        return not_found(kind.name, command.entity_id)
    refusal = _refuse_version(present, command.version)
    if refusal is not None:
        return refusal
    fields = _whole(kind, {**present.fields, **command.fields}, present.fields)
    if fields == present.fields:
        return Accepted(present)
    held_by = present.fields.get("agent", "")
    if kind is TASK and command.version is None and held_by and fields["agent"] != held_by:
        return _claimed(present, "name the version of the task that you have seen")
    return _change(state, kind, present, fields)


def delete(state: State, command: DeleteEntity, stamp: Stamp, caller: Caller) -> Decision:
    """Remove it, for good; a user journey's links go with it."""
    if not state.rows.has_entity(command.entity_kind, command.entity_id):
        return not_found(command.entity_kind, command.entity_id)
    event = removed_event(command.entity_kind, command.entity_id)
    return Accepted(RemovedView(command.entity_id), events=(event,))


def assign(state: State, command: AssignTask, stamp: Stamp, caller: Caller) -> Decision:
    """A claim: whoever has the task keeps it, unless a reassignment is asked for.

    Taking again what one has already changes nothing.
    """
    present = state.rows.entity(TASK.name, command.entity_id)
    if present is None:
        return not_found(TASK.name, command.entity_id)
    refusal = _refuse_version(present, command.version)
    if refusal is not None:
        return refusal
    held_by, status = present.fields["agent"], present.fields["status"]
    if held_by == command.assignee and status == TASK_TAKEN:
        return Accepted(present)
    taken = held_by not in ("", command.assignee) or status == TASK.completed
    if taken and not command.reassign:
        return _claimed(present, "take another one, or ask for it with reassign")
    fields = {**present.fields, "agent": command.assignee, "status": TASK_TAKEN}
    entity = _next(state, present, fields)
    return Accepted(entity, events=(kept_event("assigned", entity),))


def link_insight(state: State, command: LinkInsight, stamp: Stamp, caller: Caller) -> Decision:
    present = state.rows.entity(INSIGHT.name, command.entity_id)
    if present is None:
        return not_found(INSIGHT.name, command.entity_id)
    if present.fields["spec_id"] == command.spec_id:
        return Accepted(present)
    fields = {**present.fields, "spec_id": command.spec_id}
    refusal = _refuse_references(state, INSIGHT, fields, present.fields)
    if refusal is not None:
        return refusal
    entity = _next(state, present, fields)
    return Accepted(entity, events=(kept_event("linked", entity),))


def link_cuj(state: State, command: LinkCuj, stamp: Stamp, caller: Caller) -> Decision:
    """Linking again makes the link a new one."""
    cuj_id, feature_id, rows = command.entity_id, command.feature_id, state.rows
    if not rows.has_entity(CUJ.name, cuj_id):
        return not_found(CUJ.name, cuj_id)
    if rows.cuj_link(cuj_id, feature_id) is None and rows.cuj_links_len(cuj_id) >= (
        limits.CUJ_LINKS_MAX
    ):
        return Refusal(
            Code.LIMIT_REACHED,
            f"a user journey has at most {limits.CUJ_LINKS_MAX} links: unlink some first",
            {"limit": limits.CUJ_LINKS_MAX},
        )
    answer = LinkView(cuj_id, feature_id, state.project, state.at_us)
    return Accepted(answer, events=(CujLinked(cuj_id, feature_id),))


def unlink_cuj(state: State, command: UnlinkCuj, stamp: Stamp, caller: Caller) -> Decision:
    """Answers with the link as it was."""
    cuj_id, feature_id = command.entity_id, command.feature_id
    if not state.rows.has_entity(CUJ.name, cuj_id):
        return not_found(CUJ.name, cuj_id)
    link = state.rows.cuj_link(cuj_id, feature_id)
    if link is None:
        return Refusal(
            Code.LINK_NOT_FOUND,
            f"cuj {quoted(cuj_id)} has no link to feature {quoted(feature_id)}",
        )
    return Accepted(link, events=(CujUnlinked(cuj_id, feature_id),))


# -- What they share ------------------------------------------------------------------------


def _whole(kind: Kind, given: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of the kind as given, or empty. What may not be empty is kept, or the default."""
    fields = {}
    for field in kind.fields:
        held = given.get(field.name) or field.empty
        if field.words and not held:
            held = kept.get(field.name, field.words[0])
        fields[field.name] = held
    return fields


def _next(state: State, present: Entity, fields: dict[str, Any]) -> Entity:
    return Entity(
        kind=present.kind,
        entity_id=present.entity_id,
        project=present.project,
        fields=fields,
        version=present.version + 1,
        created_at_us=present.created_at_us,
        updated_at_us=state.at_us,
    )


def _change(state: State, kind: Kind, present: Entity, fields: dict[str, Any]) -> Decision:
    refusal = _refuse_fields(state, kind, fields, present.fields)
    if refusal is not None:
        return refusal
    entity = _next(state, present, fields)
    happened = "updated"
    if kind.completed and present.fields["status"] != kind.completed == fields["status"]:
        happened = "completed"
    return Accepted(entity, events=(kept_event(happened, entity),))


def _claimed(present: Entity, advice: str) -> Refusal:
    held_by, status = present.fields["agent"], present.fields["status"]
    who = f"agent {held_by[: limits.AGENT_ID_LEN_MAX]}" if held_by else "nobody"
    return Refusal(
        Code.TASK_CLAIMED,
        f"task {quoted(present.entity_id)} is {status}, held by {who}: {advice}",
        {"held_by": held_by, "task_status": status, "current_version": present.version},
    )


def _refuse_version(present: Entity, version: int | None) -> Refusal | None:
    if version is None or version == present.version:
        return None
    return Refusal(
        Code.VERSION_CONFLICT,
        f"{present.kind} {quoted(present.entity_id)} is at version {present.version}, not "
        f"{version}: read it again, and send your change with its present version",
        {"current_version": present.version},
    )


def _refuse_fields(
    state: State, kind: Kind, fields: Mapping[str, Any], known: Mapping[str, Any]
) -> Refusal | None:
    for field in kind.fields:
        if field.words:
            refusal = refuse_word(kind, field.name, fields[field.name])
            if refusal is not None:
                return refusal
    length = _text_len(fields)
    if length > limits.ENTITY_LEN_MAX:
        return Refusal(
            Code.INVALID_REQUEST,
            f"the texts of a {kind.name} have {length} characters together and may have "
            f"{limits.ENTITY_LEN_MAX}",
        )
    return _refuse_references(state, kind, fields, known)


def _refuse_references(
    state: State, kind: Kind, fields: Mapping[str, Any], known: Mapping[str, Any]
) -> Refusal | None:
    """Only what is set anew is looked for."""
    for field in kind.fields:
        named = fields[field.name]
        if not field.refers_to or not named or named == known.get(field.name):
            continue
        if field.agent_session and canonical_session(named) in state.sessions:
            continue
        if not any(state.rows.has_entity(target, named) for target in field.refers_to):
            return Refusal(
                Code.REFERENCE_NOT_FOUND,
                f"{field.name} names {quoted(named)}, and no such {field.refers_to[0]} is here",
                {"field": field.name, "id": named},
            )
    return None


def _refuse_amount(state: State) -> Refusal | None:
    if state.entities_len < limits.ENTITIES_MAX:
        return None
    return Refusal(
        Code.LIMIT_REACHED,
        f"the project holds {state.entities_len} entities, which is the most: delete some first",
        {"held": state.entities_len, "limit": limits.ENTITIES_MAX},
    )


def _text_len(held: Any) -> int:
    """The characters of all texts inside of a JSON value."""
    if isinstance(held, str):
        return len(held)
    if isinstance(held, Mapping):
        return sum(_text_len(inner) for inner in held.values())
    return sum(_text_len(inner) for inner in held) if isinstance(held, list) else 0


DECISIONS: Decisions = {
    CreateEntity: create,
    ReplaceEntity: replace,
    UpdateEntity: update,
    DeleteEntity: delete,
    AssignTask: assign,
    LinkInsight: link_insight,
    LinkCuj: link_cuj,
    UnlinkCuj: unlink_cuj,
}
