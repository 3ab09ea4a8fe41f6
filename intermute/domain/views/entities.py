"""What is shown of entities beside themselves."""

from intermute.domain.values import Value


class RemovedView(Value):
    """An entity is there no more."""

    entity_id: str


class LinkView(Value):
    """A user journey serves a feature. A feature's id is a name that the project gave it."""

    cuj_id: str
    feature_id: str
    project: str
    linked_at_us: int
