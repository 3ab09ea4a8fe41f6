"""What is shown of reservations."""

from intermute.domain.modes import Mode
from intermute.domain.values import Value


class ReservationView(Value):
    """A reservation as of the moment of the answer.

    `ended` is None while it is granted, else `released` or `expired`, at `ended_at_us`.
    """

    reservation_id: str
    agent_id: str
    project: str
    patterns: tuple[str, ...]
    mode: Mode
    reason: str
    ttl_ms: int
    created_at_us: int
    expires_at_us: int
    cursor: int
    ended: str | None = None
    ended_at_us: int | None = None
    renew_on_heartbeat: bool = False
    ticket_id: str | None = None


class ConflictView(Value):
    """Somebody else's reservation, or place in the line, in the way of a request.

    Attributes:
        standing: `active`, or `waiting`; then `reservation_id` is the id of a ticket, and
            `expires_at_us` is when it stops waiting.
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
    mode: Mode
    reason: str
    since_us: int
    expires_at_us: int
    fencing_token: int
    standing: str = "active"


class CheckedView(Value):
    """What is in the way, active before waiting, oldest first.

    Attributes:
        total: How many there are, listed or not, up to the bound on counting.
        more: There are more than are listed.
        waiting: How many of the total are tickets.
    """

    conflicts: tuple[ConflictView, ...]
    total: int
    more: bool
    waiting: int = 0


class TicketView(Value):
    """A place in the line.

    Attributes:
        position: How many others it waits for, in the line, plus one.
        blocked_by: What it waits for, held and waiting, as far as it is listed.
        blocked_total: How much that is, see `CheckedView.total`.
        ended: None while it waits, else `granted`, `confirmed`, `skipped` or `cancelled`.
        reservation_id: What it was granted.
    """

    ticket_id: str
    agent_id: str
    project: str
    patterns: tuple[str, ...]
    mode: Mode
    reason: str
    ttl_ms: int
    renew_on_heartbeat: bool
    held_open: bool
    created_at_us: int
    wait_until_us: int
    cursor: int
    position: int = 0
    blocked_by: tuple[ConflictView, ...] = ()
    blocked_total: int = 0
    ended: str | None = None
    ended_at_us: int | None = None
    reservation_id: str | None = None


class QueuedView(Value):
    """Either was granted at once, or waits now."""

    reservation: ReservationView | None = None
    ticket: TicketView | None = None


class SupersededView(Value):
    """The grant that took the paths of an older one.

    Attributes:
        held_by: The name of the agent, or its id when it is not registered.
        pattern: A pattern of it, as granted, that overlaps the older one's.
        witness: A path that both match.
        since_us: When it was granted. It may have ended since.
    """

    reservation_id: str
    agent_id: str
    held_by: str
    fencing_token: int
    pattern: str
    witness: str
    since_us: int


class FenceView(Value):
    """How a fencing token stands.

    Attributes:
        status: `current`, while the reservation is held; `lapsed` or `released`, when it has ended
            and nobody else was granted its paths since; `superseded`, when somebody was; or
            `outdated`, when so much was granted since that it was not looked through.
        newest: Whether the token is known to be the newest for its paths.
        ended_at_us: When the reservation ended, None while it is held.
        superseded_by: The first grant that took its paths, None when there is none.
    """

    fencing_token: int
    reservation_id: str
    agent_id: str
    project: str
    status: str
    newest: bool
    ended_at_us: int | None = None
    superseded_by: SupersededView | None = None


class ExpiredView(Value):
    reservation_ids: tuple[str, ...]
