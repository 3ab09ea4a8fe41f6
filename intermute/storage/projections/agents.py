"""The tables of the agents."""

from collections.abc import Callable
from typing import Any

import msgspec

from intermute.domain import events
from intermute.domain.agents import merged_metadata
from intermute.domain.events import Event, Mark
from intermute.storage.projections.base import Execute, Projections, as_json


def _registered(execute: Execute, event: Event, data: events.AgentRegistered) -> None:
    execute(
        "INSERT INTO agents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
        (
            data.agent_id,
            data.session_id,
            data.name,
            as_json(data.capabilities),
            as_json(data.metadata),
            data.status,
            data.policy,
            data.live_contact_policy,
            event.at_us,
        ),
    )


def _resumed(execute: Execute, event: Event, data: events.AgentResumed) -> None:
    execute(
        "UPDATE agents SET name = ?, capabilities = ?, metadata = ?, status = ? WHERE agent_id = ?",
        (
            data.name,
            as_json(data.capabilities),
            as_json(data.metadata),
            data.status,
            data.agent_id,
        ),
    )


def _metadata_merged(execute: Execute, event: Event, data: events.AgentMetadataMerged) -> None:
    text = execute("SELECT metadata FROM agents WHERE agent_id = ?", (data.agent_id,)).get
    execute(
        "UPDATE agents SET metadata = ? WHERE agent_id = ?",
        (as_json(merged_metadata(msgspec.json.decode(text), data.metadata)), data.agent_id),
    )


def _policy_changed(execute: Execute, event: Event, data: events.AgentPolicyChanged) -> None:
    execute(
        "UPDATE agents SET policy = ?, live_contact_policy = ? WHERE agent_id = ?",
        (data.policy, data.live_contact_policy, data.agent_id),
    )


def _retired(execute: Execute, event: Event, data: events.AgentRetired) -> None:
    execute("UPDATE agents SET retired_at_us = ? WHERE agent_id = ?", (event.at_us, data.agent_id))


def _contact_added(execute: Execute, event: Event, data: events.ContactAdded) -> None:
    execute(
        "INSERT INTO contacts VALUES (?, ?, ?, ?)",
        (data.agent_id, data.contact_id, event.at_us, event.cursor),
    )


def _contact_removed(execute: Execute, event: Event, data: events.ContactRemoved) -> None:
    execute(
        "DELETE FROM contacts WHERE agent_id = ? AND contact_id = ?",
        (data.agent_id, data.contact_id),
    )


def _seen(execute: Execute, note: events.Seen) -> None:
    execute(
        "INSERT INTO presence VALUES (?1, ?2, coalesce(?3, 'unknown'), ?2) "
        "ON CONFLICT DO UPDATE SET last_seen_us = ?2, "
        "focus_at_us = iif(?3 IS NULL, focus_at_us, ?2), focus_state = coalesce(?3, focus_state)",
        (note.agent_id, note.at_us, note.focus_state),
    )


def _token_set(execute: Execute, note: events.TokenSet) -> None:
    """A retired agent keeps the credential it ended with, by which its name stays its own."""
    execute(
        "INSERT INTO credentials SELECT agent_id, ?2, 0 FROM agents "
        "WHERE agent_id = ?1 AND retired_at_us IS NULL "
        "ON CONFLICT DO UPDATE SET token_hash = excluded.token_hash, bound = 0",
        (note.agent_id, note.token_hash),
    )


def _token_bound(execute: Execute, note: events.TokenBound) -> None:
    execute("UPDATE credentials SET bound = 1 WHERE agent_id = ?", (note.agent_id,))


PROJECTIONS: Projections = {
    events.AgentRegistered: _registered,
    events.AgentResumed: _resumed,
    events.AgentMetadataMerged: _metadata_merged,
    events.AgentPolicyChanged: _policy_changed,
    events.AgentRetired: _retired,
    events.ContactAdded: _contact_added,
    events.ContactRemoved: _contact_removed,
}

MARKS: dict[type[Mark], Callable[[Execute, Any], None]] = {
    events.Seen: _seen,
    events.TokenSet: _token_set,
    events.TokenBound: _token_bound,
}
