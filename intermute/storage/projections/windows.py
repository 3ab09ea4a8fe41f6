"""The tables of the windows."""

from collections.abc import Callable
from typing import Any

from intermute.domain import events
from intermute.domain.events import Event, Mark
from intermute.storage.projections.base import Execute, Projections


def _registered(execute: Execute, event: Event, data: events.WindowRegistered) -> None:
    execute(
        "INSERT INTO windows VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, NULL) "
        "ON CONFLICT (window_id) DO UPDATE SET cursor = excluded.cursor, "
        "display_name = excluded.display_name, tmux_target = excluded.tmux_target, "
        "last_active_at_us = excluded.last_active_at_us",
        (
            data.window_id,
            event.cursor,
            data.window_uuid,
            data.agent_id,
            data.display_name,
            data.tmux_target,
            event.at_us,
        ),
    )


def _expired(execute: Execute, event: Event, data: events.WindowExpired) -> None:
    execute(
        "UPDATE windows SET expired_at_us = ?, cursor = ? WHERE window_id = ?",
        (event.at_us, event.cursor, data.window_id),
    )
    execute("DELETE FROM pane_tokens WHERE window_id = ?", (data.window_id,))


def _pane_token_set(execute: Execute, note: events.PaneTokenSet) -> None:
    """A window that is gone needs none."""
    execute(
        "INSERT INTO pane_tokens SELECT window_id, ?2 FROM windows "
        "WHERE window_id = ?1 AND expired_at_us IS NULL "
        "ON CONFLICT DO UPDATE SET token_hash = excluded.token_hash",
        (note.window_id, note.token_hash),
    )


PROJECTIONS: Projections = {
    events.WindowRegistered: _registered,
    events.WindowExpired: _expired,
}

MARKS: dict[type[Mark], Callable[[Execute, Any], None]] = {
    events.PaneTokenSet: _pane_token_set,
}
