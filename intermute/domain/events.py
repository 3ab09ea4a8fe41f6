"""Events: what has happened, in the past tense. The log of them is a project's history.

Each class is the `data` of one event type. They are plain values that msgspec writes as JSON
objects; field names are the names on the wire and in the file. Times are microseconds, UTC.
"""

from typing import ClassVar

from intermute.domain.values import value

EVENT_SCHEMA_VERSION = 1


@value
class EventData:
    """Base of the data of all event types."""

    type: ClassVar[str] = ""

    @property
    def entity_id(self) -> str:
        raise NotImplementedError


@value
class AgentEvent(EventData):
    """Something happened to an agent."""

    agent_id: str

    @property
    def entity_id(self) -> str:
        return self.agent_id


@value
class AgentRegistered(AgentEvent):
    type: ClassVar[str] = "agent.registered"
    session_id: str
    name: str
    capabilities: tuple[str, ...]
    metadata: dict[str, str]
    status: str
    policy: str
    live_contact_policy: str


@value
class AgentResumed(AgentEvent):
    """A known session came back to its agent. The fields hold what is true from now on."""

    type: ClassVar[str] = "agent.resumed"
    name: str
    capabilities: tuple[str, ...]
    metadata: dict[str, str]
    status: str


@value
class AgentMetadataMerged(AgentEvent):
    type: ClassVar[str] = "agent.metadata_merged"
    metadata: dict[str, str | None]


@value
class AgentPolicyChanged(AgentEvent):
    type: ClassVar[str] = "agent.policy_changed"
    policy: str
    live_contact_policy: str


@value
class AgentRetired(AgentEvent):
    type: ClassVar[str] = "agent.retired"


@value
class ContactAdded(AgentEvent):
    type: ClassVar[str] = "contact.added"
    contact_id: str


@value
class ContactRemoved(AgentEvent):
    type: ClassVar[str] = "contact.removed"
    contact_id: str


@value
class ReservationEvent(EventData):
    """Something happened to a reservation."""

    reservation_id: str
    agent_id: str

    @property
    def entity_id(self) -> str:
        return self.reservation_id


@value
class ReservationCreated(ReservationEvent):
    type: ClassVar[str] = "reservation.created"
    patterns: tuple[str, ...]
    exclusive: bool
    reason: str
    ttl_ms: int
    expires_at_us: int


@value
class ReservationRenewed(ReservationEvent):
    """`cause` is `holder`, or `restart` when a new actor gave the holder time to renew."""

    type: ClassVar[str] = "reservation.renewed"
    ttl_ms: int
    expires_at_us: int
    cause: str


@value
class ReservationReleased(ReservationEvent):
    """`cause` is `holder`, or `retired` when the holder's retirement released it."""

    type: ClassVar[str] = "reservation.released"
    cause: str


@value
class ReservationExpired(ReservationEvent):
    """The lease lapsed. `patterns` tells those who wait what has become free."""

    type: ClassVar[str] = "reservation.expired"
    patterns: tuple[str, ...]


@value
class ProjectConfigured(EventData):
    type: ClassVar[str] = "project.configured"
    case_sensitive: bool

    @property
    def entity_id(self) -> str:
        return ""


@value
class Event:
    """One line of the log.

    Attributes:
        cursor: Position in the project's history, from 1, without gaps.
        at_us: When, by the wall clock, never going backwards along the cursor.
        actor: The agent that caused it, or None.
        data: What happened.
    """

    cursor: int
    at_us: int
    actor: str | None
    data: EventData

    @property
    def type(self) -> str:
        return self.data.type


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
        ReservationReleased,
        ReservationExpired,
        ProjectConfigured,
    )
}


# Facts that are kept but are not history: they are no events, are never published, and are
# left out when a rebuilt file is compared with the live one.


@value
class Mark:
    """Base of the facts that are kept as plain rows."""


@value
class Seen(Mark):
    """An agent showed itself. `focus_state` None keeps the focus known before."""

    agent_id: str
    at_us: int
    mono_us: int
    focus_state: str | None = None


@value
class TokenSet(Mark):
    """The agent's token is now the one with this SHA-256; any earlier one has ended."""

    agent_id: str
    token_hash: bytes


@value
class TokenBound(Mark):
    """The agent has shown that it keeps its token, so from now on it must present it."""

    agent_id: str
