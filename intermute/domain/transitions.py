"""How events change the state: live, at start and in a rebuild alike.

`apply` is the only writer of `State`. It cannot refuse: what may not happen is not decided.
"""

from collections.abc import Callable
from typing import Any

import attrs

from intermute.domain import agents, calls, leases, waiting
from intermute.domain.events import (
    ENTITY_EVENTS,
    AgentMetadataMerged,
    AgentPolicyChanged,
    AgentRegistered,
    AgentResumed,
    AgentRetired,
    CallOpened,
    CallsClosed,
    ContactAdded,
    ContactRemoved,
    EntityCreated,
    EntityEvent,
    EntityRemoved,
    Event,
    EventData,
    Mark,
    MessageAcked,
    MessageCreated,
    MessageRead,
    MessageUpdated,
    PaneTokenSet,
    PeerWindowPoke,
    PeerWindowPokeSettled,
    PokeSurfaced,
    ProjectConfigured,
    ReservationCancelled,
    ReservationCreated,
    ReservationExpired,
    ReservationExpiring,
    ReservationGranted,
    ReservationNarrowed,
    ReservationQueued,
    ReservationReleased,
    ReservationRenewed,
    ReservationSkipped,
    Seen,
    TicketEvent,
    TokenBound,
    TokenSet,
    WindowExpired,
    WindowRegistered,
)
from intermute.domain.holdings import Claim, Reservation, parse_patterns
from intermute.domain.panes import Window
from intermute.domain.pokes import PENDING
from intermute.domain.state import Agent, State
from intermute.globs import Pattern


def apply(state: State, event: Event) -> None:
    """Make `event` part of the state. Its cursor must be the next one."""
    assert event.cursor == state.cursor + 1, "the log has no gaps"
    state.cursor = event.cursor
    change = _EVENTS[type(event.data)]
    if change is not None:
        change(state, event, event.data)


def mark(state: State, note: Mark) -> None:
    """Take note of a fact that is no history. One about an agent that is gone is dropped."""
    _MARKS[type(note)](state, note)


def _registered(state: State, event: Event, data: AgentRegistered) -> None:
    state.agents[data.agent_id] = Agent(
        agent_id=data.agent_id,
        session_id=data.session_id,
        name=data.name,
        capabilities=data.capabilities,
        metadata=dict(data.metadata),
        status=data.status,
        policy=data.policy,
        live_contact_policy=data.live_contact_policy,
        created_at_us=event.at_us,
        last_seen_us=event.at_us,
        last_seen_mono_us=state.mono_us,
    )
    session = agents.canonical_session(data.session_id)
    assert session is not None, "a registered session is a UUID"
    state.sessions[session] = data.agent_id


def _resumed(state: State, event: Event, data: AgentResumed) -> None:
    agent = state.agents[data.agent_id]
    agent.name = data.name
    agent.capabilities = data.capabilities
    agent.metadata = dict(data.metadata)
    agent.status = data.status


def _metadata_merged(state: State, event: Event, data: AgentMetadataMerged) -> None:
    agent = state.agents[data.agent_id]
    agent.metadata = agents.merged_metadata(agent.metadata, data.metadata)


def _policy_changed(state: State, event: Event, data: AgentPolicyChanged) -> None:
    agent = state.agents[data.agent_id]
    agent.policy = data.policy
    agent.live_contact_policy = data.live_contact_policy


def _retired(state: State, event: Event, data: AgentRetired) -> None:
    agent = state.agents.pop(data.agent_id)
    session = agents.canonical_session(agent.session_id)
    assert session is not None, "a registered session is a UUID"
    del state.sessions[session]
    for reservation_id in tuple(state.lapsed.by_agent.get(data.agent_id, ())):
        state.touched[reservation_id] = None
        state.lapsed.remove(reservation_id)
    state.touched_agents[data.agent_id] = None


def _contact_added(state: State, event: Event, data: ContactAdded) -> None:
    state.agents[data.agent_id].contacts[data.contact_id] = None


def _contact_removed(state: State, event: Event, data: ContactRemoved) -> None:
    del state.agents[data.agent_id].contacts[data.contact_id]


def _created(state: State, event: Event, data: ReservationCreated) -> None:
    granted = Reservation(
        key=data.reservation_id,
        agent_id=data.agent_id,
        patterns=data.patterns,
        mode=data.mode,
        reason=data.reason,
        ttl_ms=data.ttl_ms,
        renew_on_heartbeat=data.renew_on_heartbeat,
        created_at_us=event.at_us,
        expires_at_us=data.expires_at_us,
        deadline_us=state.mono_us + data.expires_at_us - event.at_us,
        cursor=event.cursor,
        parsed=_parse(state, data.patterns),
        ticket_id=data.ticket_id,
        calls=calls.granted_for(state, data.ticket_id),
    )
    state.touched[data.reservation_id] = None
    state.holdings.add(granted)
    leases.forget_taken(state, granted)


def _renewed(state: State, event: Event, data: ReservationRenewed) -> None:
    state.touched[data.reservation_id] = None
    reservation = state.holdings.by_id.get(data.reservation_id)
    if reservation is None:
        reservation = state.lapsed.remove(data.reservation_id)
        reservation.expired_at_us = None
        state.holdings.add(reservation)
        leases.forget_taken(state, reservation)
    if data.cause != "restart":
        reservation.ticket_id = None
    reservation.ttl_ms = data.ttl_ms
    reservation.expires_at_us = data.expires_at_us
    deadline_us = state.mono_us + data.expires_at_us - event.at_us
    state.holdings.extend(reservation, deadline_us=deadline_us)


def _narrowed(state: State, event: Event, data: ReservationNarrowed) -> None:
    reservation = state.holdings.by_id[data.reservation_id]
    _free(state, attrs.evolve(reservation))
    state.holdings.narrow(reservation, data.patterns, _parse(state, data.patterns))
    leases.forget_same(state, reservation)


def _released(state: State, event: Event, data: ReservationReleased) -> None:
    state.touched[data.reservation_id] = None
    _free(state, state.holdings.remove(data.reservation_id))


def _expired(state: State, event: Event, data: ReservationExpired) -> None:
    state.touched[data.reservation_id] = None
    lapsed = state.holdings.remove(data.reservation_id)
    _free(state, lapsed)
    # What was never taken up is not to be taken back either: its waiter has been skipped.
    if lapsed.ticket_id is None:
        lapsed.expired_at_us = event.at_us
        leases.lapse(state, lapsed)


def _queued(state: State, event: Event, data: ReservationQueued) -> None:
    state.touched[data.ticket_id] = None
    known = state.line.by_id.get(data.ticket_id)
    if known is not None:
        waiting.ask_again(state, known, data)
        return
    parsed = _parse(state, data.patterns)
    state.line.add(waiting.make_ticket(state, data, parsed, cursor=event.cursor))


def _granted(state: State, event: Event, data: ReservationGranted) -> None:
    # What it waited for is held now, so nothing has become free.
    state.touched[data.ticket_id] = None
    state.line.remove(data.ticket_id)


def _left_line(state: State, event: Event, data: TicketEvent) -> None:
    # One that was granted and not taken up has left it before.
    if data.ticket_id in state.line.by_id:
        state.touched[data.ticket_id] = None
        _free(state, state.line.remove(data.ticket_id))


def _free(state: State, claim: Claim) -> None:
    """Something no longer stands in anybody's way; those who wait may want to know."""
    if len(state.line):
        state.freed.append(claim)


def _parse(state: State, patterns: tuple[str, ...]) -> tuple[Pattern, ...]:
    return parse_patterns(patterns, case_sensitive=state.case_sensitive)


def _configured(state: State, event: Event, data: ProjectConfigured) -> None:
    state.live_transport = data.live_transport
    if data.case_sensitive != state.case_sensitive:
        state.set_case_rule(case_sensitive=data.case_sensitive)


def _window_registered(state: State, event: Event, data: WindowRegistered) -> None:
    known = state.windows.by_id(data.window_id, data.window_uuid)
    state.windows.put(
        Window(
            window_id=data.window_id,
            window_uuid=data.window_uuid,
            agent_id=data.agent_id,
            display_name=data.display_name,
            tmux_target=data.tmux_target,
            created_at_us=event.at_us if known is None else known.created_at_us,
            last_active_at_us=event.at_us,
            cursor=event.cursor,
        )
    )


def _window_expired(state: State, event: Event, data: WindowExpired) -> None:
    state.windows.remove(data.window_uuid)


def _poked(state: State, event: Event, data: PeerWindowPoke) -> None:
    if data.result == PENDING:
        state.pokes[data.message_id, data.agent_id] = (data.transport, data.sender)
        state.poke_rates.count((data.sender, data.agent_id), state.mono_us)


def _poke_settled(state: State, event: Event, data: PeerWindowPokeSettled) -> None:
    del state.pokes[data.message_id, data.agent_id]


def _sent(state: State, event: Event, data: MessageCreated) -> None:
    if data.broadcast:
        state.broadcasts.count(data.sender, state.mono_us)


def _entity_created(state: State, event: Event, data: EntityCreated) -> None:
    state.entities_len += 1


def _entity_removed(state: State, event: Event, data: EntityRemoved) -> None:
    state.entities_len -= 1


def _entity_change(kind: type[EntityEvent]) -> Callable[[State, Event, Any], None] | None:
    """Of entities nothing is kept in memory but how many there are."""
    if issubclass(kind, EntityCreated):
        return _entity_created
    return _entity_removed if issubclass(kind, EntityRemoved) else None


def _seen(state: State, note: Seen) -> None:
    agent = state.agents.get(note.agent_id)
    if agent is None:
        return
    state.touched_agents[note.agent_id] = None
    agent.last_seen_us = note.at_us
    agent.last_seen_mono_us = note.mono_us
    if note.focus_state is not None:
        agent.focus_state = note.focus_state
        agent.focus_at_us = note.at_us
        agent.focus_mono_us = note.mono_us


def _token_set(state: State, note: TokenSet) -> None:
    agent = state.agents.get(note.agent_id)
    if agent is not None:
        agent.token_hash = note.token_hash
        agent.token_bound = False


def _token_bound(state: State, note: TokenBound) -> None:
    agent = state.agents.get(note.agent_id)
    if agent is not None:
        agent.token_bound = True


def _pane_token_set(state: State, note: PaneTokenSet) -> None:
    window = state.windows.by_id(note.window_id, note.window_uuid)
    if window is not None:
        window.pane_hash = note.token_hash


# None: nothing of it is kept in memory.
_EVENTS: dict[type[EventData], Callable[[State, Event, Any], None] | None] = {
    AgentRegistered: _registered,
    AgentResumed: _resumed,
    AgentMetadataMerged: _metadata_merged,
    AgentPolicyChanged: _policy_changed,
    AgentRetired: _retired,
    ContactAdded: _contact_added,
    ContactRemoved: _contact_removed,
    ReservationCreated: _created,
    ReservationRenewed: _renewed,
    ReservationNarrowed: _narrowed,
    ReservationReleased: _released,
    ReservationExpired: _expired,
    ReservationExpiring: None,
    ReservationQueued: _queued,
    ReservationGranted: _granted,
    ReservationSkipped: _left_line,
    ReservationCancelled: _left_line,
    ProjectConfigured: _configured,
    WindowRegistered: _window_registered,
    WindowExpired: _window_expired,
    PeerWindowPoke: _poked,
    PeerWindowPokeSettled: _poke_settled,
    PokeSurfaced: None,
    MessageCreated: _sent,
    MessageUpdated: None,
    MessageRead: None,
    MessageAcked: None,
    **{kind: _entity_change(kind) for kind in ENTITY_EVENTS},
}

_MARKS: dict[type[Mark], Callable[[State, Any], None]] = {
    Seen: _seen,
    TokenSet: _token_set,
    TokenBound: _token_bound,
    PaneTokenSet: _pane_token_set,
    CallOpened: calls.open_call,
    CallsClosed: calls.close_calls,
}
