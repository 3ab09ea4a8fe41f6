"""The tables of the entities."""

from intermute.domain.entities.kinds import KINDS
from intermute.domain.events import Event
from intermute.domain.events.entities import (
    ENTITY_EVENTS,
    CujLinked,
    CujUnlinked,
    EntityKept,
    EntityRemoved,
)
from intermute.storage.projections.base import Execute, Projections, as_json


def _kept(execute: Execute, event: Event, data: EntityKept) -> None:
    entity = data.entity
    kind, fields = KINDS[entity.kind], entity.fields
    parent = "" if kind.parent is None else fields.get(kind.parent[0], "")
    execute(
        "INSERT INTO entities VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (kind, entity_id) DO UPDATE SET status = excluded.status, "
        "parent_id = excluded.parent_id, agent = excluded.agent, category = excluded.category, "
        "rank = excluded.rank, sorted_at_us = excluded.sorted_at_us, data = excluded.data",
        (
            event.cursor,
            entity.kind,
            entity.entity_id,
            fields.get("status", ""),
            parent,
            fields.get("agent", ""),
            fields.get("category", ""),
            kind.rank(fields),
            entity.created_at_us if kind.newest_by_start else entity.updated_at_us,
            as_json(entity),
        ),
    )


def _removed(execute: Execute, event: Event, data: EntityRemoved) -> None:
    execute(
        "DELETE FROM entities WHERE kind = ? AND entity_id = ?",
        (data.entity_kind, data.removed_id),
    )
    if data.entity_kind == "cuj":
        execute("DELETE FROM cuj_links WHERE cuj_id = ?", (data.removed_id,))


def _linked(execute: Execute, event: Event, data: CujLinked) -> None:
    execute(
        "INSERT INTO cuj_links VALUES (?, ?, ?) "
        "ON CONFLICT DO UPDATE SET linked_at_us = excluded.linked_at_us",
        (data.cuj_id, data.feature_id, event.at_us),
    )


def _unlinked(execute: Execute, event: Event, data: CujUnlinked) -> None:
    execute(
        "DELETE FROM cuj_links WHERE cuj_id = ? AND feature_id = ?", (data.cuj_id, data.feature_id)
    )


PROJECTIONS: Projections = {
    **{cls: _kept for cls in ENTITY_EVENTS if issubclass(cls, EntityKept)},
    **{cls: _removed for cls in ENTITY_EVENTS if issubclass(cls, EntityRemoved)},
    CujLinked: _linked,
    CujUnlinked: _unlinked,
}
