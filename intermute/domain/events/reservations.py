"""Events of the reservations."""

from typing import ClassVar

from intermute.domain.events.base import EventData
from intermute.domain.values import value


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
