"""Events of the entities. Their classes are made from the table of kinds, one for each type."""

from typing import Any, ClassVar

from intermute.domain.entities.kinds import KINDS, Entity, Kind
from intermute.domain.events.base import EventData


class EntityEvent(EventData):
    """Something happened to an entity of the kind named `entity_kind`."""

    entity_kind: ClassVar[str] = ""


class EntityKept(EntityEvent):
    """From now on it is `entity`."""

    entity: Entity

    @property
    def entity_id(self) -> str:
        return self.entity.entity_id


class EntityCreated(EntityKept):
    """It was not there before."""


class EntityRemoved(EntityEvent):
    """It is there no more."""

    removed_id: str

    @property
    def entity_id(self) -> str:
        return self.removed_id


class CujLinkEvent(EntityEvent):
    """Something happened to the link of a user journey to a feature."""

    entity_kind: ClassVar[str] = "cuj"
    cuj_id: str
    feature_id: str

    @property
    def entity_id(self) -> str:
        return self.cuj_id


class CujLinked(CujLinkEvent):
    type: ClassVar[str] = "cuj.linked"


class CujUnlinked(CujLinkEvent):
    type: ClassVar[str] = "cuj.unlinked"


def _happenings(kind: Kind) -> dict[str, type[EntityEvent]]:
    """What can happen to an entity of the kind, and of which class the event of it is."""
    found: dict[str, type[EntityEvent]] = {
        "created": EntityCreated,
        "updated": EntityKept,
        "removed": EntityRemoved,
    }
    if kind.completed:
        found["completed"] = EntityKept
    if kind.name == "task":
        found["assigned"] = EntityKept
    if kind.name == "insight":
        found["linked"] = EntityKept
    return found


def _make(kind: Kind, happened: str, base: type[EntityEvent]) -> type[EntityEvent]:
    event_type = kind.event_type(happened)
    name = "".join(part.title() for part in event_type.split("."))
    members: dict[str, Any] = {
        "type": event_type,
        "entity_kind": kind.name,
        "__module__": __name__,
        "__doc__": base.__doc__,
    }
    made: type[EntityEvent] = type(name, (base,), members)
    return made


_MADE = {
    (kind.name, happened): _make(kind, happened, base)
    for kind in KINDS.values()
    for happened, base in _happenings(kind).items()
}
ENTITY_EVENTS: tuple[type[EntityEvent], ...] = (*_MADE.values(), CujLinked, CujUnlinked)


def kept_event(happened: str, entity: Entity) -> EntityKept:
    """The event by which an entity becomes `entity`, by what happened: `created` and so on."""
    made = _MADE[entity.kind, happened]
    assert issubclass(made, EntityKept)
    return made(entity)


def removed_event(kind: str, entity_id: str) -> EntityRemoved:
    """The event by which an entity goes."""
    made = _MADE[kind, "removed"]
    assert issubclass(made, EntityRemoved)
    return made(entity_id)
