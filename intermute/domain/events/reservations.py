"""Events of the reservations."""

from typing import ClassVar

from intermute.domain.events.base import EventData
from intermute.domain.modes import Mode


class ReservationEvent(EventData):
    """Something happened to a reservation."""

    reservation_id: str
    agent_id: str

    @property
    def entity_id(self) -> str:
        return self.reservation_id


class ReservationCreated(ReservationEvent):
    type: ClassVar[str] = "reservation.created"
    patterns: tuple[str, ...]
    mode: Mode
    reason: str
    ttl_ms: int
    expires_at_us: int
    renew_on_heartbeat: bool = False
    # The ticket it was granted to. The lease is as short as the waiter's time to take it up.
    ticket_id: str | None = None


class GrantEvent(ReservationEvent, kw_only=True):
    """Something happened to a reservation after its grant, whose token it names.

    The token of a grant is the cursor of its own event.
    """

    fencing_token: int


class ReservationRenewed(GrantEvent):
    """The lease is longer than before.

    `cause` is `holder`; `heartbeat`, when the holder had asked for that; `waiter`, when whoever
    waited for it has taken it up; or `restart`, when a new actor gave the holder time to renew.
    """

    type: ClassVar[str] = "reservation.renewed"
    ttl_ms: int
    expires_at_us: int
    cause: str


class ReservationNarrowed(GrantEvent):
    """Its holder keeps only these patterns. The fencing token stays."""

    type: ClassVar[str] = "reservation.narrowed"
    patterns: tuple[str, ...]


class ReservationReleased(GrantEvent):
    """It was given back.

    `cause` is `holder`; `retired`, when the holder's retirement released it; `forced`, when an
    operator did, namely `by`, for that `reason`; or `handover`, when the holder passed it to
    `successor`.
    """

    type: ClassVar[str] = "reservation.released"
    cause: str
    reason: str = ""
    successor: str | None = None
    by: str = ""


class ReservationExpiring(GrantEvent):
    """The lease is about to lapse."""

    type: ClassVar[str] = "reservation.expiring"
    patterns: tuple[str, ...]
    expires_at_us: int


class ReservationExpired(GrantEvent):
    """The lease lapsed. `patterns` tells those who wait what has become free."""

    type: ClassVar[str] = "reservation.expired"
    patterns: tuple[str, ...]
