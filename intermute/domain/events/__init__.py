"""Events: what has happened, in the past tense. The log of them is a project's history.

Each class is the `data` of one event type. They are plain values that msgspec writes as JSON
objects; field names are the names on the wire and in the file. Times are microseconds, UTC.
"""

from intermute.domain.events.agents import (
    AgentEvent,
    AgentMetadataMerged,
    AgentPolicyChanged,
    AgentRegistered,
    AgentResumed,
    AgentRetired,
    ContactAdded,
    ContactRemoved,
    PersonalEvent,
)
from intermute.domain.events.base import (
    Event,
    EventData,
)
from intermute.domain.events.entities import (
    ENTITY_EVENTS,
    EntityCreated,
    EntityEvent,
    EntityKept,
    EntityRemoved,
)
from intermute.domain.events.marks import (
    CallOpened,
    CallsClosed,
    Mark,
    PaneTokenSet,
    Seen,
    TokenBound,
    TokenSet,
)
from intermute.domain.events.messages import (
    MessageAcked,
    MessageContent,
    MessageCreated,
    MessageEvent,
    MessageMarked,
    MessageRead,
    MessageUpdated,
)
from intermute.domain.events.pokes import (
    PeerWindowPoke,
    PeerWindowPokeSettled,
    PokeEvent,
    PokeSurfaced,
)
from intermute.domain.events.reservations import (
    ReservationCreated,
    ReservationEvent,
    ReservationExpired,
    ReservationExpiring,
    ReservationNarrowed,
    ReservationReleased,
    ReservationRenewed,
)
from intermute.domain.events.settings import (
    ProjectConfigured,
)
from intermute.domain.events.waiting import (
    ReservationCancelled,
    ReservationGranted,
    ReservationQueued,
    ReservationSkipped,
    TicketEvent,
)
from intermute.domain.events.windows import (
    WindowEvent,
    WindowExpired,
    WindowRegistered,
)

__all__ = [
    "ENTITY_EVENTS",
    "EVENT_SCHEMA_VERSION",
    "EVENT_TYPES",
    "AgentEvent",
    "AgentMetadataMerged",
    "AgentPolicyChanged",
    "AgentRegistered",
    "AgentResumed",
    "AgentRetired",
    "CallOpened",
    "CallsClosed",
    "ContactAdded",
    "ContactRemoved",
    "EntityCreated",
    "EntityEvent",
    "EntityKept",
    "EntityRemoved",
    "Event",
    "EventData",
    "Mark",
    "MessageAcked",
    "MessageContent",
    "MessageCreated",
    "MessageEvent",
    "MessageMarked",
    "MessageRead",
    "MessageUpdated",
    "PaneTokenSet",
    "PeerWindowPoke",
    "PeerWindowPokeSettled",
    "PersonalEvent",
    "PokeEvent",
    "PokeSurfaced",
    "ProjectConfigured",
    "ReservationCancelled",
    "ReservationCreated",
    "ReservationEvent",
    "ReservationExpired",
    "ReservationExpiring",
    "ReservationGranted",
    "ReservationNarrowed",
    "ReservationQueued",
    "ReservationReleased",
    "ReservationRenewed",
    "ReservationSkipped",
    "Seen",
    "TicketEvent",
    "TokenBound",
    "TokenSet",
    "WindowEvent",
    "WindowExpired",
    "WindowRegistered",
]

EVENT_SCHEMA_VERSION = 1

EVENT_TYPES: dict[str, type[EventData]] = {
    cls.type: cls
    for cls in (
        AgentRegistered,
        AgentResumed,
        AgentMetadataMerged,
        AgentPolicyChanged,
        AgentRetired,
        ContactAdded,
        ContactRemoved,
        ReservationCreated,
        ReservationRenewed,
        ReservationNarrowed,
        ReservationReleased,
        ReservationExpiring,
        ReservationExpired,
        ReservationQueued,
        ReservationGranted,
        ReservationSkipped,
        ReservationCancelled,
        ProjectConfigured,
        WindowRegistered,
        WindowExpired,
        PeerWindowPoke,
        PeerWindowPokeSettled,
        PokeSurfaced,
        MessageCreated,
        MessageUpdated,
        MessageRead,
        MessageAcked,
    )
}
EVENT_TYPES |= {cls.type: cls for cls in ENTITY_EVENTS}
