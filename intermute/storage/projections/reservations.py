"""The table of the reservations."""

from intermute.domain import events
from intermute.domain.events import Event
from intermute.storage.projections.base import Execute, Projections, as_json


def _created(execute: Execute, event: Event, data: events.ReservationCreated) -> None:
    execute(
        "INSERT INTO reservations (cursor, reservation_id, agent_id, patterns, mode, reason, "
        "ttl_ms, created_at_us, expires_at_us, renew_on_heartbeat, ticket_id) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            event.cursor,
            data.reservation_id,
            data.agent_id,
            as_json(data.patterns),
            data.mode.value,
            data.reason,
            data.ttl_ms,
            event.at_us,
            data.expires_at_us,
            int(data.renew_on_heartbeat),
            data.ticket_id,
        ),
    )


def _renewed(execute: Execute, event: Event, data: events.ReservationRenewed) -> None:
    execute(
        "UPDATE reservations SET ttl_ms = ?, expires_at_us = ?, ended = NULL, ended_at_us = NULL, "
        "ticket_id = iif(?, ticket_id, NULL) WHERE reservation_id = ?",
        (data.ttl_ms, data.expires_at_us, data.cause == "restart", data.reservation_id),
    )


def _narrowed(execute: Execute, event: Event, data: events.ReservationNarrowed) -> None:
    execute(
        "UPDATE reservations SET kept = ? WHERE reservation_id = ?",
        (as_json(data.patterns), data.reservation_id),
    )


def _released(execute: Execute, event: Event, data: events.ReservationReleased) -> None:
    _end(execute, event, data.reservation_id, "released")


def _expired(execute: Execute, event: Event, data: events.ReservationExpired) -> None:
    _end(execute, event, data.reservation_id, "expired")


def _end(execute: Execute, event: Event, reservation_id: str, ended: str) -> None:
    execute(
        "UPDATE reservations SET ended = ?, ended_at_us = ? WHERE reservation_id = ?",
        (ended, event.at_us, reservation_id),
    )


def _nothing(execute: Execute, event: Event, data: events.ReservationExpiring) -> None:
    """A warning changes nothing."""


PROJECTIONS: Projections = {
    events.ReservationExpiring: _nothing,
    events.ReservationCreated: _created,
    events.ReservationRenewed: _renewed,
    events.ReservationNarrowed: _narrowed,
    events.ReservationReleased: _released,
    events.ReservationExpired: _expired,
}
