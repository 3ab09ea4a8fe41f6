"""Events of those who wait for a reservation."""

from typing import ClassVar

from intermute.domain.events.base import EventData
from intermute.domain.modes import Mode


class TicketEvent(EventData):
    """Something happened to somebody's place in the line."""

    ticket_id: str
    agent_id: str

    @property
    def entity_id(self) -> str:
        return self.ticket_id


class ReservationQueued(TicketEvent):
    """Somebody waits, or asks again for what it waits for: then its place stays, the rest is new.

    `held_open`: it waits for as long as the call lasts that asked for it.
    """

    type: ClassVar[str] = "reservation.queued"
    patterns: tuple[str, ...]
    mode: Mode
    reason: str
    ttl_ms: int
    renew_on_heartbeat: bool
    held_open: bool
    wait_until_us: int


class ReservationGranted(TicketEvent):
    """A ticket came to its turn. The waiter has until `confirm_by_us` to take it up."""

    type: ClassVar[str] = "reservation.granted"
    reservation_id: str
    patterns: tuple[str, ...]
    mode: Mode
    fencing_token: int
    confirm_by_us: int


class ReservationSkipped(TicketEvent):
    """The waiter lost its place.

    `cause` is `gone`, when nobody was there at its turn; `unconfirmed`, when it did not take up
    what it was granted; `timeout`, when its time to wait was over; `restart`, when the call
    that held the ticket ended with the server; or `too_much_work`, when it would have taken too
    long to find out whether its turn had come.
    """

    type: ClassVar[str] = "reservation.skipped"
    patterns: tuple[str, ...]
    cause: str


class ReservationCancelled(TicketEvent):
    """The wait was given up. `cause` is `waiter`, or `retired`."""

    type: ClassVar[str] = "reservation.cancelled"
    cause: str
