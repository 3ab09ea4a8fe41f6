"""The table of the reservations."""

from intermute.domain import events
from intermute.domain.events import Event
from intermute.storage.projections.base import Execute, Projections, as_json


def _created(execute: Execute, event: Event, data: events.ReservationCreated) -> None:
    execute(
        "INSERT INTO reservations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
        (
            event.cursor,
            data.reservation_id,
            data.agent_id,
            as_json(data.patterns),
            int(data.exclusive),
            data.reason,
            data.ttl_ms,
            event.at_us,
            data.expires_at_us,
        ),
    )


def _renewed(execute: Execute, event: Event, data: events.ReservationRenewed) -> None:
    execute(
        "UPDATE reservations SET ttl_ms = ?, expires_at_us = ?, ended = NULL, ended_at_us = NULL "
        "WHERE reservation_id = ?",
        (data.ttl_ms, data.expires_at_us, data.reservation_id),
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


PROJECTIONS: Projections = {
    events.ReservationCreated: _created,
    events.ReservationRenewed: _renewed,
    events.ReservationReleased: _released,
    events.ReservationExpired: _expired,
}
