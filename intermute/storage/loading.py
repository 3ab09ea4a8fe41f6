"""From the tables to the state in memory, so that opening never reads the history."""

from collections.abc import Callable
from typing import Any

import msgspec

from intermute.domain import limits
from intermute.domain.agents import canonical_session
from intermute.domain.holdings import Reservation, Ticket, parse_patterns
from intermute.domain.leases import least_after_start_us
from intermute.domain.modes import Mode
from intermute.domain.panes import Window
from intermute.domain.state import Agent, State

Execute = Callable[..., Any]

_AGENTS = """
SELECT a.agent_id, session_id, name, capabilities, metadata, status, policy, live_contact_policy,
       created_at_us, coalesce(last_seen_us, created_at_us), coalesce(focus_state, 'unknown'),
       coalesce(token_hash, x''), coalesce(bound, 0), focus_at_us
FROM agents AS a LEFT JOIN presence USING (agent_id) LEFT JOIN credentials USING (agent_id)
WHERE retired_at_us IS NULL ORDER BY a.rowid
"""
_ACTIVE = """
SELECT cursor, reservation_id, agent_id, coalesce(kept, patterns), mode, reason, ttl_ms,
       created_at_us, expires_at_us, renew_on_heartbeat, ticket_id
FROM reservations WHERE ended IS NULL ORDER BY cursor
"""
_BROADCASTS = """
SELECT sender, created_at_us FROM messages WHERE broadcast = 1 ORDER BY cursor DESC
"""
_WINDOWS = """
SELECT window_id, window_uuid, agent_id, display_name, tmux_target, created_at_us,
       last_active_at_us, cursor, coalesce(token_hash, x'')
FROM windows LEFT JOIN pane_tokens USING (window_id) WHERE expired_at_us IS NULL ORDER BY cursor
"""
_POKED = """
SELECT sender, agent_id, created_at_us FROM pokes
WHERE result = 'pending' OR settled_at_us IS NOT NULL ORDER BY cursor DESC
"""
_WAITING = """
SELECT cursor, ticket_id, agent_id, patterns, mode, reason, ttl_ms, created_at_us,
       wait_until_us, renew_on_heartbeat, held_open
FROM tickets WHERE ended IS NULL ORDER BY cursor
"""
_decode_strings = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_map = msgspec.json.Decoder(dict[str, str]).decode


def load_state(execute: Execute, state: State) -> None:
    """Fill `state`, which is new but for its clocks.

    The monotonic clock of whoever wrote the file is gone, so deadlines and silence are taken
    over by the wall clock; no lease is longer than it was granted for, whatever that clock says,
    nor shorter than the grace, because its holder could not renew while nobody was there. For the
    same reason whoever was live when an agent was last seen has the whole grace anew.
    """
    state.cursor, last_us = execute(
        "SELECT coalesce(max(cursor), 0), max(at_us) FROM "
        "(SELECT cursor, at_us FROM events ORDER BY cursor DESC LIMIT 1)"
    ).get
    state.at_us = max(state.at_us, last_us or 0)
    setting = execute("SELECT value FROM meta WHERE name = 'case_sensitive'").get
    state.set_case_rule(case_sensitive=setting is None or bool(setting))
    live = execute("SELECT value FROM meta WHERE name = 'live_transport'").get
    state.live_transport = None if live is None else bool(live)
    _load_agents(execute, state)
    for row in execute("SELECT agent_id, contact_id FROM contacts ORDER BY cursor"):
        agent = state.agents.get(row[0])
        if agent is not None:
            agent.contacts[row[1]] = None
    state.entities_len = execute("SELECT count(*) FROM entities").get
    _load_reservations(execute, state)
    _load_broadcasts(execute, state)
    _load_windows(execute, state)
    _load_line(execute, state)


def _load_agents(execute: Execute, state: State) -> None:
    rows = list(execute(_AGENTS))
    # Events say less of when somebody could be seen: one may have been written by a start.
    any_seen_us = max((row[9] for row in rows), default=0)
    for row in rows:
        live = any_seen_us - row[9] < limits.HEARTBEAT_GRACE_MS * 1000
        silent_us = 0 if live else max(0, state.at_us - row[9])
        agent = Agent(
            agent_id=row[0],
            session_id=row[1],
            name=row[2],
            capabilities=_decode_strings(row[3]),
            metadata=_decode_map(row[4]),
            status=row[5],
            policy=row[6],
            live_contact_policy=row[7],
            created_at_us=row[8],
            last_seen_us=row[9],
            last_seen_mono_us=state.mono_us - silent_us,
            focus_state=row[10],
            token_hash=row[11],
            token_bound=bool(row[12]),
            focus_at_us=row[13],
        )
        state.agents[agent.agent_id] = agent
        session = canonical_session(agent.session_id)
        assert session is not None, "a registered session is a UUID"
        state.sessions[session] = agent.agent_id


def _load_broadcasts(execute: Execute, state: State) -> None:
    """What still counts toward the limit on broadcasts."""
    since_us = state.at_us - limits.RATE_WINDOW_MS * 1000
    recent = []
    for sender, sent_us in execute(_BROADCASTS):
        if sent_us <= since_us:
            break
        recent.append((sender, sent_us))
    for sender, sent_us in reversed(recent):
        state.broadcasts.count(sender, state.mono_us - (state.at_us - sent_us))


def _load_windows(execute: Execute, state: State) -> None:
    """Windows, pokes whose outcome is not known, and what still counts toward the limit on them."""
    for row in execute(_WINDOWS):
        state.windows.put(Window(*row))
    for message_id, agent_id, transport, sender in execute(
        "SELECT message_id, agent_id, transport, sender FROM pokes WHERE result = 'pending' "
        "ORDER BY cursor"
    ):
        state.pokes[message_id, agent_id] = (transport, sender)
    since_us = state.at_us - limits.RATE_WINDOW_MS * 1000
    recent = []
    for sender, agent_id, poked_us in execute(_POKED):
        if poked_us <= since_us:
            break
        recent.append((sender, agent_id, poked_us))
    for sender, agent_id, poked_us in reversed(recent):
        ago_us = state.at_us - poked_us
        state.poke_rates.count((sender, agent_id), state.mono_us - ago_us)


def _load_reservations(execute: Execute, state: State) -> None:
    for row in execute(_ACTIVE):
        patterns = _decode_strings(row[3])
        left_us = max(min(row[8] - state.at_us, row[6] * 1000), least_after_start_us(row[10]))
        state.holdings.add(
            Reservation(
                key=row[1],
                agent_id=row[2],
                patterns=patterns,
                mode=Mode(row[4]),
                reason=row[5],
                ttl_ms=row[6],
                created_at_us=row[7],
                expires_at_us=row[8],
                deadline_us=state.mono_us + left_us,
                cursor=row[0],
                parsed=parse_patterns(patterns, case_sensitive=state.case_sensitive),
                renew_on_heartbeat=bool(row[9]),
                ticket_id=row[10],
            )
        )


def _load_line(execute: Execute, state: State) -> None:
    """Places in the line outlive whoever kept them; nobody waits longer than was said."""
    for row in execute(_WAITING):
        patterns = _decode_strings(row[3])
        left_us = max(0, min(row[8] - state.at_us, limits.QUEUE_MAX_MS * 1000))
        state.line.add(
            Ticket(
                key=row[1],
                agent_id=row[2],
                patterns=patterns,
                mode=Mode(row[4]),
                reason=row[5],
                ttl_ms=row[6],
                created_at_us=row[7],
                wait_until_us=row[8],
                deadline_us=state.mono_us + left_us,
                cursor=row[0],
                parsed=parse_patterns(patterns, case_sensitive=state.case_sensitive),
                renew_on_heartbeat=bool(row[9]),
                held_open=bool(row[10]),
            )
        )
