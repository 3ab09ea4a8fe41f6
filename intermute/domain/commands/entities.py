"""Commands of the entities. `entity_kind` is the name of a kind, see `domain.entities.kinds`."""

from typing import Any, ClassVar

from msgspec import field

from intermute.domain import views
from intermute.domain.commands.base import Command
from intermute.domain.entities.kinds import Entity


class EntityCommand(Command):
    """A command about one entity; `agent_id` is the agent in whose name, if anybody's."""

    answer: ClassVar[type] = Entity
    entity_kind: str
    entity_id: str
    agent_id: str | None = None

    @property
    def acting(self) -> str | None:
        return self.agent_id


class CreateEntity(EntityCommand):
    """Make an entity; an empty `entity_id` is made up, and a time that is None is now."""

    kind: ClassVar[str] = "create_entity"
    fields: dict[str, Any] = field(default_factory=dict)
    created_at_us: int | None = None
    updated_at_us: int | None = None


class ReplaceEntity(EntityCommand):
    """Make every field what `fields` says; one that is left out becomes empty."""

    kind: ClassVar[str] = "replace_entity"
    fields: dict[str, Any] = field(default_factory=dict)
    version: int | None = None


class UpdateEntity(EntityCommand):
    """Change the fields that are given."""

    kind: ClassVar[str] = "update_entity"
    fields: dict[str, Any] = field(default_factory=dict)
    version: int | None = None


class DeleteEntity(EntityCommand):
    kind: ClassVar[str] = "delete_entity"
    answer: ClassVar[type] = views.RemovedView


class AssignTask(EntityCommand):
    """Take a task for `assignee`. `reassign`: also from somebody else, or once it is done."""

    kind: ClassVar[str] = "assign_task"
    assignee: str = ""
    reassign: bool = False
    version: int | None = None


class LinkInsight(EntityCommand):
    """Say which spec an insight is about."""

    kind: ClassVar[str] = "link_insight"
    spec_id: str = ""


class LinkCuj(EntityCommand):
    """Say that a user journey serves a feature."""

    kind: ClassVar[str] = "link_cuj"
    answer: ClassVar[type] = views.LinkView
    feature_id: str = ""


class UnlinkCuj(EntityCommand):
    kind: ClassVar[str] = "unlink_cuj"
    answer: ClassVar[type] = views.LinkView
    feature_id: str = ""
