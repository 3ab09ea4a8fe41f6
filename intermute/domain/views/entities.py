"""What is shown of entities beside themselves."""

from intermute.domain.values import value


@value
class RemovedView:
    """An entity is there no more."""

    entity_id: str


@value
class LinkView:
    """A user journey serves a feature. A feature's id is a name that the project gave it."""

    cuj_id: str
    feature_id: str
    project: str
    linked_at_us: int
