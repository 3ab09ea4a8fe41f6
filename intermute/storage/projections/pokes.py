"""The table of the pokes."""

from intermute.domain import events
from intermute.domain.events import Event
from intermute.storage.projections.base import Execute, Projections


def _planned(execute: Execute, event: Event, data: events.PeerWindowPoke) -> None:
    """One that failed and is tried again takes the place of the former."""
    execute(
        "INSERT OR REPLACE INTO pokes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?)",
        (
            event.cursor,
            data.message_id,
            data.agent_id,
            data.sender,
            data.thread_id,
            data.transport,
            data.window_uuid,
            data.tmux_target,
            data.result,
            data.reason,
            event.at_us,
            data.body,
        ),
    )


def _settled(execute: Execute, event: Event, data: events.PeerWindowPokeSettled) -> None:
    execute(
        "UPDATE pokes SET result = ?, reason = ?, settled_at_us = ? "
        "WHERE message_id = ? AND agent_id = ?",
        (data.result, data.reason, event.at_us, data.message_id, data.agent_id),
    )


def _surfaced(execute: Execute, event: Event, data: events.PokeSurfaced) -> None:
    execute(
        "UPDATE pokes SET surfaced_at_us = ? WHERE message_id = ? AND agent_id = ?",
        (event.at_us, data.message_id, data.agent_id),
    )


PROJECTIONS: Projections = {
    events.PeerWindowPoke: _planned,
    events.PeerWindowPokeSettled: _settled,
    events.PokeSurfaced: _surfaced,
}
