"""What the kinds of entities are: their fields, words, references, lists and events, in one table.

Everything else follows from it: bodies, decisions, event types, columns and routes.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from msgspec import field

from intermute.domain import limits
from intermute.domain.values import Value


class Shape(Enum):
    """What a field holds, as a JSON value; each has an empty value, which stands for none."""

    LINE = "line"
    TEXT = "text"
    # A list of texts, or one text, as the client had it.
    TEXTS = "texts"
    NUMBER = "number"
    STEPS = "steps"


class Field(Value):
    """One field of a kind.

    Attributes:
        len_max: Of a line or a text, in characters.
        shown_empty: Whether it is shown even when it is empty.
        words: The words that it may hold; none for any text. The first is its default, and such
            a field is never empty.
        refers_to: Names of the kinds that its text may be an id of.
        agent_session: It may also be the session UUID of a registered agent.
    """

    name: str
    shape: Shape = Shape.TEXT
    len_max: int = limits.ENTITY_TEXT_LEN_MAX
    shown_empty: bool = False
    words: tuple[str, ...] = ()
    refers_to: tuple[str, ...] = ()
    agent_session: bool = False

    @property
    def empty(self) -> Any:
        if self.shape is Shape.NUMBER:
            return 0.0
        return [] if self.shape is Shape.STEPS else ""


class Kind(Value):
    """One kind of entity.

    Attributes:
        name: Begins the ids that are made for it and the types of its events.
        collection: Its place under `/api`.
        versioned: Whether a replacement must name the version that it replaces.
        created: The name of the time at which it began.
        parent: The reference that lists can be filtered by, and its name in queries.
        ranked_by: The field that lists are ordered by first: numbers from the greatest down,
            words by alphabet.
        newest_by_start: Lists go on by when it began instead of when it last changed.
        event_words: The last word of an event's type, by what happened to the entity.
        completed: The status that has an event word of its own, `completed`.
    """

    name: str
    collection: str
    fields: tuple[Field, ...]
    versioned: bool = True
    created: str = "created_at"
    parent: tuple[str, str] | None = None
    ranked_by: str | None = None
    newest_by_start: bool = False
    event_words: Mapping[str, str] = field(default_factory=dict)
    completed: str = ""

    def field(self, name: str) -> Field | None:
        return next((field for field in self.fields if field.name == name), None)

    @property
    def filters(self) -> dict[str, str]:
        """Which fields lists can be filtered by, by their names in queries."""
        own = {name: name for name in ("status", "agent", "category") if self.field(name)}
        return own if self.parent is None else {self.parent[1]: self.parent[0], **own}

    def event_type(self, happened: str) -> str:
        """The type of the event for `created`, `updated`, `removed` and so on."""
        return f"{self.name}.{self.event_words.get(happened, happened)}"

    def rank(self, fields: Mapping[str, Any]) -> float:
        """Where lists have it: lower first, and the newest first among equals."""
        field = None if self.ranked_by is None else self.field(self.ranked_by)
        if field is None:
            return 0.0
        held = fields[field.name]
        return float(sorted(field.words).index(held)) if field.words else 0.0 - held


class Entity(Value):
    """An entity as of one of its versions.

    Attributes:
        fields: Every field of its kind, by name; JSON values.
        version: 1 when it is made, one more with every change.
    """

    kind: str
    entity_id: str
    project: str
    fields: dict[str, Any]
    version: int
    created_at_us: int
    updated_at_us: int


def _line(name: str, *, shown_empty: bool = False) -> Field:
    return Field(name, Shape.LINE, limits.ENTITY_WORD_LEN_MAX, shown_empty=shown_empty)


def _title(name: str = "title") -> Field:
    return Field(name, len_max=limits.ENTITY_TITLE_LEN_MAX, shown_empty=True)


def _status(*words: str) -> Field:
    return Field("status", Shape.LINE, limits.ENTITY_WORD_LEN_MAX, shown_empty=True, words=words)


def _agent(*, shown_empty: bool = False) -> Field:
    return Field("agent", Shape.LINE, limits.AGENT_ID_LEN_MAX, shown_empty=shown_empty)


def _reference(kind: str, *, shown_empty: bool = False, agent_session: bool = False) -> Field:
    return Field(
        f"{kind}_id",
        Shape.LINE,
        limits.ENTITY_ID_LEN_MAX,
        shown_empty=shown_empty,
        refers_to=(kind,),
        agent_session=agent_session,
    )


_ALL: Final = (
    Kind(
        "spec",
        "specs",
        (
            _title(),
            Field("vision"),
            Field("users"),
            Field("problem"),
            _status("draft", "research", "validated", "archived"),
        ),
        event_words={"removed": "archived"},
    ),
    Kind(
        "epic",
        "epics",
        (
            _reference("spec"),
            _title(),
            Field("description"),
            _status("open", "in_progress", "done"),
        ),
        parent=("spec_id", "spec"),
        event_words={"removed": "deleted"},
    ),
    Kind(
        "story",
        "stories",
        (
            _reference("epic", shown_empty=True),
            _title(),
            Field("acceptance_criteria", Shape.TEXTS),
            _status("todo", "in_progress", "review", "done"),
        ),
        parent=("epic_id", "epic"),
        event_words={"removed": "deleted"},
    ),
    Kind(
        "task",
        "tasks",
        (
            _reference("story"),
            _title(),
            _agent(),
            _reference("session", agent_session=True),
            _status("pending", "running", "blocked", "done"),
        ),
        parent=("story_id", "story"),
        event_words={"removed": "deleted"},
        completed="done",
    ),
    Kind(
        "insight",
        "insights",
        (
            _reference("spec"),
            _line("source", shown_empty=True),
            _line("category", shown_empty=True),
            _title(),
            Field("body"),
            Field("url", len_max=limits.ENTITY_URL_LEN_MAX),
            Field("score", Shape.NUMBER, shown_empty=True),
        ),
        versioned=False,
        parent=("spec_id", "spec"),
        ranked_by="score",
        newest_by_start=True,
        event_words={"removed": "deleted"},
    ),
    Kind(
        "session",
        "sessions",
        (
            _title("name"),
            _agent(shown_empty=True),
            _reference("task"),
            _status("running", "idle", "error"),
        ),
        versioned=False,
        created="started_at",
        parent=("task_id", "task"),
        newest_by_start=True,
        event_words={"created": "started", "removed": "stopped"},
    ),
    Kind(
        "cuj",
        "cujs",
        (
            _reference("spec", shown_empty=True),
            _title(),
            Field("persona"),
            Field(
                "priority",
                Shape.LINE,
                limits.ENTITY_WORD_LEN_MAX,
                shown_empty=True,
                words=("medium", "high", "low"),
            ),
            Field("entry_point"),
            Field("exit_point"),
            Field("steps", Shape.STEPS),
            Field("success_criteria", Shape.TEXTS),
            Field("error_recovery", Shape.TEXTS),
            _status("draft", "validated", "archived"),
        ),
        parent=("spec_id", "spec"),
        ranked_by="priority",
        event_words={"removed": "archived", "completed": "validated"},
        completed="validated",
    ),
)
KINDS: Final[dict[str, Kind]] = {kind.name: kind for kind in _ALL}
TASK: Final = KINDS["task"]
INSIGHT: Final = KINDS["insight"]
CUJ: Final = KINDS["cuj"]
TASK_TAKEN: Final = "running"
