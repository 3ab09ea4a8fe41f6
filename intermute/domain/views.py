"""What is shown of a project's state: the values that decisions and reads answer with.

They are plain values in the domain's own units (microseconds, milliseconds); `intermute.wire`
turns them into JSON. A decision's answer can be stored and given again, so each is made of
JSON types only.
"""

from intermute.domain.values import value


@value
class AgentView:
    """One agent, as others may see it."""

    agent_id: str
    session_id: str
    name: str
    project: str
    capabilities: tuple[str, ...]
    metadata: dict[str, str]
    status: str
    policy: str
    live_contact_policy: str
    created_at_us: int
    last_seen_us: int
    focus_state: str
    retired_at_us: int | None = None


@value
class RegisteredView:
    """The answer to a registration; the token is the edge's to add, since only it knows it."""

    agent_id: str
    session_id: str
    name: str
    resumed: bool


@value
class HeartbeatView:
    agent_id: str
    last_seen_us: int


@value
class PolicyView:
    agent_id: str
    policy: str
    live_contact_policy: str


@value
class ContactsView:
    agent_id: str
    contacts: tuple[str, ...]


@value
class RetiredView:
    agent_id: str
    retired_at_us: int
    released: tuple[str, ...]


@value
class ReservationView:
    """A reservation as of the moment of the answer.

    `ended` is None while it is granted, else `released` or `expired`, at `ended_at_us`.
    """

    reservation_id: str
    agent_id: str
    project: str
    patterns: tuple[str, ...]
    exclusive: bool
    reason: str
    ttl_ms: int
    created_at_us: int
    expires_at_us: int
    cursor: int
    ended: str | None = None
    ended_at_us: int | None = None


@value
class ConflictView:
    """Somebody else's reservation in the way of a request.

    Attributes:
        holder: `live` (seen within the heartbeat grace), `quiet`, or `unregistered`.
        pattern: The held pattern that overlaps.
        requested: The requested pattern that overlaps.
        witness: A path that both match.
    """

    reservation_id: str
    agent_id: str
    held_by: str
    holder: str
    pattern: str
    requested: str
    witness: str
    exclusive: bool
    reason: str
    since_us: int
    expires_at_us: int


@value
class CheckedView:
    """`more` tells that there are further conflicts than the ones listed."""

    conflicts: tuple[ConflictView, ...]
    more: bool


@value
class ExpiredView:
    reservation_ids: tuple[str, ...]


@value
class ProjectView:
    project: str
    case_sensitive: bool
