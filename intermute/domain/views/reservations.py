"""What is shown of reservations."""

from intermute.domain.values import value


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
