"""The table of those who wait."""

from collections.abc import Callable
from typing import Any

from intermute.domain import events
from intermute.domain.events import Event, Mark
from intermute.storage.projections.base import Execute, Projections, as_json


def _queued(execute: Execute, event: Event, data: events.ReservationQueued) -> None:
    execute(
        "INSERT INTO tickets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL) "
        "ON CONFLICT (ticket_id) DO UPDATE SET reason = excluded.reason, "
        "ttl_ms = excluded.ttl_ms, renew_on_heartbeat = excluded.renew_on_heartbeat, "
        "held_open = excluded.held_open, wait_until_us = excluded.wait_until_us",
        (
            event.cursor,
            data.ticket_id,
            data.agent_id,
            as_json(data.patterns),
            data.mode.value,
            data.reason,
            data.ttl_ms,
            int(data.renew_on_heartbeat),
            int(data.held_open),
            event.at_us,
            data.wait_until_us,
        ),
    )


def _granted(execute: Execute, event: Event, data: events.ReservationGranted) -> None:
    execute(
        "UPDATE tickets SET ended = 'granted', ended_at_us = ?, reservation_id = ? "
        "WHERE ticket_id = ?",
        (event.at_us, data.reservation_id, data.ticket_id),
    )


def _skipped(execute: Execute, event: Event, data: events.ReservationSkipped) -> None:
    _end(execute, event, data.ticket_id, "skipped")


def _cancelled(execute: Execute, event: Event, data: events.ReservationCancelled) -> None:
    _end(execute, event, data.ticket_id, "cancelled")


def _end(execute: Execute, event: Event, ticket_id: str, ended: str) -> None:
    execute(
        "UPDATE tickets SET ended = ?, ended_at_us = ? WHERE ticket_id = ?",
        (ended, event.at_us, ticket_id),
    )


PROJECTIONS: Projections = {
    events.ReservationQueued: _queued,
    events.ReservationGranted: _granted,
    events.ReservationSkipped: _skipped,
    events.ReservationCancelled: _cancelled,
}


def _no_row(execute: Execute, note: Mark) -> None:
    """Calls do not outlive the process."""


MARKS: dict[type[Mark], Callable[[Execute, Any], None]] = {
    events.CallOpened: _no_row,
    events.CallsClosed: _no_row,
}
