"""Agents: registration and return, presence, metadata, policies, contacts, retirement."""

import uuid

import attrs

from intermute.domain import leases, limits, names, windows
from intermute.domain.commands import (
    AddContact,
    Caller,
    Heartbeat,
    MergeMetadata,
    RegisterAgent,
    RemoveContact,
    RetireAgent,
    SetPolicy,
)
from intermute.domain.decision import Accepted, Decision, Decisions
from intermute.domain.events import (
    AgentMetadataMerged,
    AgentPolicyChanged,
    AgentRegistered,
    AgentResumed,
    AgentRetired,
    ContactAdded,
    ContactRemoved,
    Mark,
    ReservationCancelled,
    Seen,
    TokenSet,
)
from intermute.domain.identity import refuse_unproven
from intermute.domain.refusals import Code, Refusal, quoted
from intermute.domain.stamp import Stamp, make_id
from intermute.domain.state import (
    FOCUS_UNKNOWN,
    LIVE_POLICY_DEFAULT,
    POLICY_DEFAULT,
    Agent,
    State,
)
from intermute.domain.times import iso, seconds_up
from intermute.domain.views import (
    AgentView,
    ContactsView,
    HeartbeatView,
    PolicyView,
    RegisteredView,
    RetiredView,
)


def canonical_session(session_id: str) -> str | None:
    """The one spelling of a session UUID, None when it is none.

    Accepted are 36 characters with hyphens, 32 hexadecimal digits, `urn:uuid:` before 36, and 36
    within any pair of brackets. All spellings of a UUID are the same session.
    """
    text = session_id.removeprefix("urn:uuid:") if len(session_id) == 45 else session_id
    if len(text) == 38:
        text = text[1:-1]
    hyphenated = len(text) == 36 and all(text[i] == "-" for i in (8, 13, 18, 23))
    digits = text.replace("-", "") if hyphenated else text
    if len(digits) != 32 or not all(c in "0123456789abcdefABCDEF" for c in digits):
        return None
    return str(uuid.UUID(hex=digits))


def view(state: State, agent: Agent) -> AgentView:
    """The agent as others may see it."""
    return AgentView(
        agent_id=agent.agent_id,
        session_id=agent.session_id,
        name=agent.name,
        project=state.project,
        capabilities=agent.capabilities,
        metadata=dict(agent.metadata),
        status=agent.status,
        policy=agent.policy,
        live_contact_policy=agent.live_contact_policy,
        created_at_us=agent.created_at_us,
        last_seen_us=agent.last_seen_us,
        focus_state=agent.focus_state,
        focus_at_us=agent.focus_at_us,
    )


def not_found(agent_id: str) -> Refusal:
    return Refusal(Code.AGENT_NOT_FOUND, f"no agent {quoted(agent_id)} is registered here")


def retired_since(agent_id: str) -> Refusal:
    """For a registration that is asked for again when its agent has ended."""
    return Refusal(
        Code.AGENT_NOT_FOUND,
        f"agent {agent_id}, which this registration made or led back, has retired: register anew, "
        "with another Idempotency-Key",
    )


def register(state: State, command: RegisterAgent, stamp: Stamp, caller: Caller) -> Decision:
    """A new agent, or the one whose session it is."""
    refusal = _refuse_metadata(command.metadata or {})
    if refusal is not None:
        return refusal
    if command.session_id:
        # It is shown as it was sent, so its brackets must be characters that can be shown.
        printable = command.session_id.isprintable()
        session = canonical_session(command.session_id) if printable else None
        if session is None:
            return Refusal(
                Code.INVALID_SESSION_ID,
                f"invalid session_id: must be a valid UUID: {quoted(command.session_id)}",
            )
        known = state.sessions.get(session)
        if known is not None:
            return _resume(state, state.agents[known], command, caller)
    if len(state.agents) >= limits.AGENTS_MAX:
        return Refusal(
            Code.LIMIT_REACHED,
            f"the project has {limits.AGENTS_MAX} agents; retire some that are gone "
            "(DELETE /api/agents/{id})",
        )
    agent_id = make_id("agt", state.tag, stamp.unique())
    event = AgentRegistered(
        agent_id=agent_id,
        session_id=command.session_id or stamp.session_uuid(),
        name=command.name or names.generate(stamp.entropy),
        capabilities=command.capabilities or (),
        metadata=command.metadata or {},
        status=command.status or "",
        policy=POLICY_DEFAULT,
        live_contact_policy=LIVE_POLICY_DEFAULT,
    )
    return Accepted(
        answer=RegisteredView(agent_id, event.session_id, event.name, resumed=False),
        events=(event,),
        marks=_arrival(state, agent_id, command),
        actor=agent_id,
    )


def _arrival(state: State, agent_id: str, command: RegisterAgent) -> tuple[Mark, ...]:
    return (
        TokenSet(agent_id, command.token_hash),
        Seen(agent_id, state.at_us, state.mono_us, FOCUS_UNKNOWN),
    )


def _resume(state: State, agent: Agent, command: RegisterAgent, caller: Caller) -> Decision:
    """Lead a session back to its agent: at once with the agent's token, else once it is silent.

    What belongs to the agent and not to the process behind it stays: policies, contacts, and
    whatever the registration does not give anew.
    """
    proven = caller.token_hash is not None and caller.agent_id == agent.agent_id
    if not proven:
        refusal = _session_in_use(state, agent)
        if refusal is not None:
            return refusal
    event = AgentResumed(
        agent_id=agent.agent_id,
        name=command.name or agent.name,
        capabilities=agent.capabilities if command.capabilities is None else command.capabilities,
        metadata=agent.metadata if command.metadata is None else command.metadata,
        status=agent.status if command.status is None else command.status,
    )
    return Accepted(
        answer=RegisteredView(agent.agent_id, agent.session_id, event.name, resumed=True),
        events=(event,),
        marks=_arrival(state, agent.agent_id, command),
        actor=agent.agent_id,
    )


def _session_in_use(state: State, agent: Agent) -> Refusal | None:
    free_at_us = agent.last_seen_mono_us + limits.SESSION_STALE_MS * 1000
    why = "session_id is in use by an active agent"
    for reservation_id in state.holdings.by_agent.get(agent.agent_id, ()):
        deadline_us = state.holdings.by_id[reservation_id].deadline_us
        if deadline_us > free_at_us:
            free_at_us = deadline_us
            why = "session_id belongs to an agent that holds reservations"
    wait_us = free_at_us - state.mono_us
    if wait_us <= 0:
        return None
    return Refusal(
        Code.ACTIVE_SESSION_CONFLICT,
        f"{why}: agent {agent.agent_id} ({agent.name}). Register again with its X-Agent-ID and "
        f"X-Agent-Token to come back to it at once, or after {iso(state.at_us + wait_us)}",
        {
            "agent_id": agent.agent_id,
            "retry_after_seconds": seconds_up(wait_us),
            "free_at": iso(state.at_us + wait_us),
        },
    )


def heartbeat(state: State, command: Heartbeat, stamp: Stamp, caller: Caller) -> Decision:
    """Being alive is not history, but what it renews is."""
    if command.agent_id not in state.agents:
        return not_found(command.agent_id)
    seen = Seen(command.agent_id, state.at_us, state.mono_us, command.focus_state)
    return Accepted(
        HeartbeatView(command.agent_id, state.at_us),
        events=leases.renewals(state, command.agent_id),
        marks=(seen,),
    )


def merge_metadata(state: State, command: MergeMetadata, stamp: Stamp, caller: Caller) -> Decision:
    agent = state.agents.get(command.agent_id)
    if agent is None:
        return not_found(command.agent_id)
    merged = merged_metadata(agent.metadata, command.metadata)
    refusal = _refuse_metadata(merged)
    if refusal is not None:
        return refusal
    after = attrs.evolve(agent, metadata=merged, last_seen_us=state.at_us)
    return Accepted(
        answer=view(state, after),
        events=(AgentMetadataMerged(command.agent_id, command.metadata),),
        marks=(Seen(command.agent_id, state.at_us, state.mono_us),),
    )


def _refuse_metadata(metadata: dict[str, str]) -> Refusal | None:
    size = sum(len(key) + len(value) for key, value in metadata.items())
    if len(metadata) <= limits.METADATA_ENTRIES_MAX and size <= limits.METADATA_LEN_MAX:
        return None
    return Refusal(
        Code.LIMIT_REACHED,
        f"an agent's metadata holds at most {limits.METADATA_ENTRIES_MAX} keys and "
        f"{limits.METADATA_LEN_MAX} characters; send null for keys that are to go",
    )


def merged_metadata(old: dict[str, str], change: dict[str, str | None]) -> dict[str, str]:
    """`old` with each key of `change` overwritten, or removed where the new value is None."""
    merged = {key: value for key, value in old.items() if key not in change}
    merged.update({key: value for key, value in change.items() if value is not None})
    return merged


def set_policy(state: State, command: SetPolicy, stamp: Stamp, caller: Caller) -> Decision:
    agent = state.agents.get(command.agent_id)
    if agent is None:
        return not_found(command.agent_id)
    live = command.live_contact_policy
    if live is not None and live != agent.live_contact_policy:
        refusal = _refuse_opening(state, caller, agent, "to change live_contact_policy")
        if refusal is not None:
            return refusal
    event = AgentPolicyChanged(
        agent_id=command.agent_id,
        policy=command.policy or agent.policy,
        live_contact_policy=live or agent.live_contact_policy,
    )
    answer = PolicyView(event.agent_id, event.policy, event.live_contact_policy)
    unchanged = (event.policy, event.live_contact_policy) == (
        agent.policy,
        agent.live_contact_policy,
    )
    return Accepted(answer, events=() if unchanged else (event,))


def _refuse_opening(state: State, caller: Caller, agent: Agent, what: str) -> Refusal | None:
    """Who may type into a window is said by whoever may register it: with the agent's token."""
    if agent.agent_id not in state.windows.by_agent:
        return None
    return refuse_unproven(caller, agent.agent_id, what)


def add_contact(state: State, command: AddContact, stamp: Stamp, caller: Caller) -> Decision:
    agent = state.agents.get(command.agent_id)
    if agent is None:
        return not_found(command.agent_id)
    known = command.contact_id in agent.contacts
    if not known:
        refusal = _refuse_opening(state, caller, agent, "to add a contact")
        if refusal is not None:
            return refusal
    if not known and len(agent.contacts) >= limits.CONTACTS_MAX:
        return Refusal(Code.LIMIT_REACHED, f"an agent has at most {limits.CONTACTS_MAX} contacts")
    contacts = tuple(agent.contacts) if known else (*agent.contacts, command.contact_id)
    event = ContactAdded(command.agent_id, command.contact_id)
    return Accepted(ContactsView(command.agent_id, contacts), events=() if known else (event,))


def remove_contact(state: State, command: RemoveContact, stamp: Stamp, caller: Caller) -> Decision:
    agent = state.agents.get(command.agent_id)
    if agent is None:
        return not_found(command.agent_id)
    if command.contact_id not in agent.contacts:
        return Refusal(
            Code.CONTACT_NOT_FOUND,
            f"{quoted(command.contact_id)} is not on the contact list of {command.agent_id}",
        )
    contacts = tuple(contact for contact in agent.contacts if contact != command.contact_id)
    event = ContactRemoved(command.agent_id, command.contact_id)
    return Accepted(ContactsView(command.agent_id, contacts), events=(event,))


def retire(state: State, command: RetireAgent, stamp: Stamp, caller: Caller) -> Decision:
    if command.agent_id not in state.agents:
        return not_found(command.agent_id)
    held = tuple(state.holdings.of(command.agent_id))
    cancelled = tuple(
        ReservationCancelled(ticket.key, command.agent_id, "retired")
        for ticket in state.line.of(command.agent_id)
    )
    return Accepted(
        answer=RetiredView(command.agent_id, state.at_us, tuple(each.key for each in held)),
        events=(
            *(leases.released(reservation, "retired") for reservation in held),
            *cancelled,
            *windows.retired(state, command.agent_id),
            AgentRetired(command.agent_id),
        ),
    )


DECISIONS: Decisions = {
    RegisterAgent: register,
    Heartbeat: heartbeat,
    MergeMetadata: merge_metadata,
    SetPolicy: set_policy,
    AddContact: add_contact,
    RemoveContact: remove_contact,
    RetireAgent: retire,
}
