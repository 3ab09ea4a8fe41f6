"""Commands of the entities. `entity_kind` is the name of a kind, see `domain.entities.kinds`."""

from typing import Any, ClassVar

import attrs

from intermute.domain import views
from intermute.domain.commands.base import Command
from intermute.domain.entities.kinds import Entity
from intermute.domain.values import value


@value
class EntityCommand(Command):
    """A command about one entity; `agent_id` is the agent in whose name, if anybody's."""

    answer: ClassVar[type] = Entity
    entity_kind: str
    entity_id: str
    agent_id: str | None = None

    @property
    def acting(self) -> str | None:
        return self.agent_id


@value
class CreateEntity(EntityCommand):
    """Make an entity; an empty `entity_id` is made up, and a time that is None is now."""

    kind: ClassVar[str] = "create_entity"
    fields: dict[str, Any] = attrs.field(factory=dict)
    created_at_us: int | None = None
    updated_at_us: int | None = None


@value
class ReplaceEntity(EntityCommand):
    """Make every field what `fields` says; one that is left out becomes empty."""

    kind: ClassVar[str] = "replace_entity"
    fields: dict[str, Any] = attrs.field(factory=dict)
    version: int | None = None


@value
class UpdateEntity(EntityCommand):
    """Change the fields that are given."""

    kind: ClassVar[str] = "update_entity"
    fields: dict[str, Any] = attrs.field(factory=dict)
    version: int | None = None


@value
class DeleteEntity(EntityCommand):
    kind: ClassVar[str] = "delete_entity"
    answer: ClassVar[type] = views.RemovedView


@value
class AssignTask(EntityCommand):
    """Take a task for `assignee`. `reassign`: also from somebody else, or once it is done."""

    kind: ClassVar[str] = "assign_task"
    assignee: str = ""
    reassign: bool = False
    version: int | None = None


@value
class LinkInsight(EntityCommand):
    """Say which spec an insight is about."""

    kind: ClassVar[str] = "link_insight"
    spec_id: str = ""


@value
class LinkCuj(EntityCommand):
    """Say that a user journey serves a feature."""

    kind: ClassVar[str] = "link_cuj"
    answer: ClassVar[type] = views.LinkView
    feature_id: str = ""


@value
class UnlinkCuj(EntityCommand):
    kind: ClassVar[str] = "unlink_cuj"
    answer: ClassVar[type] = views.LinkView
    feature_id: str = ""
