"""Agents on the wire."""

from typing import Annotated, Any

from msgspec import Meta, field

from intermute.domain import limits
from intermute.domain.commands import (
    AddContact,
    Heartbeat,
    MergeMetadata,
    RegisterAgent,
    SetPolicy,
)
from intermute.domain.state import FOCUS_STATES, POLICIES
from intermute.domain.times import iso, iso_seconds
from intermute.domain.values import Value
from intermute.domain.views import (
    AgentView,
    ContactsView,
    HeartbeatView,
    PolicyView,
    RegisteredView,
    RetiredView,
)
from intermute.wire.bodies import BadRequest, convert, line
from intermute.wire.strict_json import BadJson, decode

Name = Annotated[str, Meta(max_length=limits.AGENT_NAME_LEN_MAX)]
AgentId = Annotated[str, Meta(max_length=limits.AGENT_ID_LEN_MAX)]
Status = Annotated[str, Meta(max_length=limits.AGENT_STATUS_LEN_MAX)]
SessionId = Annotated[str, Meta(max_length=limits.SESSION_ID_LEN_MAX)]
Project = Annotated[str, Meta(max_length=limits.PROJECT_TEXT_LEN_MAX)]
Capability = Annotated[str, Meta(max_length=limits.CAPABILITY_LEN_MAX)]
Capabilities = Annotated[list[Capability], Meta(max_length=limits.CAPABILITIES_MAX)]
MetadataKey = Annotated[str, Meta(max_length=limits.METADATA_KEY_LEN_MAX)]
MetadataValue = Annotated[str, Meta(max_length=limits.METADATA_VALUE_LEN_MAX)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=limits.METADATA_ENTRIES_MAX)]
MetadataChange = Annotated[
    dict[MetadataKey, MetadataValue | None], Meta(max_length=limits.METADATA_ENTRIES_MAX)
]


class RegisterBody(Value):
    project: Project = ""
    name: Name = ""
    session_id: SessionId = ""
    capabilities: Capabilities | None = None
    metadata: Metadata | None = None
    status: Status | None = None


class _HeartbeatBody(Value):
    focus_state: Status = ""


class _MetadataBody(Value):
    metadata: MetadataChange = field(default_factory=dict)


class _PolicyBody(Value):
    policy: Status = ""
    live_contact_policy: Status = ""


class _ContactBody(Value):
    contact_id: AgentId = ""
    contact: AgentId = ""


def read_agent_id(text: str) -> str:
    """An agent's id in a path or a query, trimmed.

    Raises:
        BadRequest: There is none, it is too long, or it holds a control character.
    """
    agent_id = line(text, "agent")
    if not agent_id or len(agent_id) > limits.AGENT_ID_LEN_MAX:
        raise BadRequest(f"agent required: 1 to {limits.AGENT_ID_LEN_MAX} characters")
    return agent_id


def read_register(members: dict[str, Any]) -> RegisterBody:
    """The members of a registration."""
    return convert(members, RegisterBody)


def register(body: RegisterBody, token_hash: bytes) -> RegisterAgent:
    return RegisterAgent(
        token_hash=token_hash,
        name=line(body.name, "name") or None,
        session_id=body.session_id.strip() or None,
        capabilities=None if body.capabilities is None else tuple(body.capabilities),
        metadata=body.metadata,
        status=body.status,
    )


def heartbeat(agent_id: str, members: dict[str, Any]) -> Heartbeat:
    focus = convert(members, _HeartbeatBody).focus_state
    if focus and focus not in FOCUS_STATES:
        raise BadRequest(f"invalid focus_state: must be one of {', '.join(FOCUS_STATES)}")
    return Heartbeat(agent_id, focus or None)


def merge_metadata(agent_id: str, members: dict[str, Any]) -> MergeMetadata:
    metadata = convert(members, _MetadataBody).metadata
    if not metadata:
        raise BadRequest("metadata map required: an object with at least one key")
    return MergeMetadata(agent_id, metadata)


def set_policy(agent_id: str, members: dict[str, Any]) -> SetPolicy:
    body = convert(members, _PolicyBody)
    if not body.policy and not body.live_contact_policy:
        raise BadRequest("policy or live_contact_policy required")
    for name, wanted in (
        ("policy", body.policy),
        ("live_contact_policy", body.live_contact_policy),
    ):
        if wanted and wanted not in POLICIES:
            raise BadRequest(f"invalid {name}: must be {', '.join(POLICIES[:-1])}, or block_all")
    return SetPolicy(agent_id, body.policy or None, body.live_contact_policy or None)


def add_contact(agent_id: str, members: dict[str, Any]) -> AddContact:
    body = convert(members, _ContactBody)
    contact_id = line(body.contact_id or body.contact, "contact_id")
    if not contact_id:
        raise BadRequest("contact_id required")
    return AddContact(agent_id, contact_id)


def registered(view: RegisteredView, *, token: str, project: str) -> dict[str, Any]:
    """The answer to a registration. The cursor is where an inbox is read from: the beginning."""
    return {
        "agent_id": view.agent_id,
        "session_id": view.session_id,
        "name": view.name,
        "token": token,
        "cursor": 0,
        "project": project,
        "resumed": view.resumed,
    }


def agent(view: AgentView) -> dict[str, Any]:
    """An agent as it stands in lists."""
    return {
        "agent_id": view.agent_id,
        "session_id": view.session_id,
        "name": view.name,
        "project": view.project,
        "capabilities": view.capabilities,
        "metadata": view.metadata,
        "status": view.status,
        "last_seen": iso_seconds(view.last_seen_us),
        "created_at": iso_seconds(view.created_at_us),
    }


def agent_whole(view: AgentView, *, now_us: int) -> dict[str, Any]:
    """An agent by itself, with what lists leave out."""
    members = agent(view)
    silent_us = now_us - view.last_seen_us
    members["live"] = view.retired_at_us is None and silent_us < limits.HEARTBEAT_GRACE_MS * 1000
    members["focus_state"] = view.focus_state
    if view.focus_at_us is not None:
        members["focus_at"] = iso(view.focus_at_us)
    members["policy"] = view.policy
    members["live_contact_policy"] = view.live_contact_policy
    if view.retired_at_us is not None:
        members["retired_at"] = iso(view.retired_at_us)
    return members


def presence(view: AgentView) -> dict[str, Any]:
    """What an agent says of its work, read out of its metadata."""
    stated = {key: value.strip() for key, value in view.metadata.items()}
    return {
        "agent_id": view.agent_id,
        "kind": stated.get("agent_kind", ""),
        "status": stated.get("status") or view.status,
        "last_seen": iso_seconds(view.last_seen_us),
        "repo": stated.get("repo", ""),
        "files": _files(stated.get("files_touched", "")),
        "objective": stated.get("objective", ""),
        "confidence": stated.get("active_bead_confidence") or "unknown",
        "active_bead_id": stated.get("active_bead_id", ""),
        "thread_id": stated.get("thread_id", ""),
    }


def _files(text: str) -> list[str]:
    """A JSON array of strings inside a string; whatever else stands there is no files."""
    try:
        value = decode(text.encode())
    except (BadJson, UnicodeEncodeError):
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return []
    return [item.strip() for item in value if item.strip()]


def heartbeat_answer(view: HeartbeatView) -> dict[str, Any]:
    return {"agent_id": view.agent_id, "last_seen": iso(view.last_seen_us)}


def policy(view: PolicyView) -> dict[str, Any]:
    return {
        "agent_id": view.agent_id,
        "policy": view.policy,
        "live_contact_policy": view.live_contact_policy,
    }


def contacts(view: ContactsView) -> dict[str, Any]:
    return {"agent_id": view.agent_id, "contacts": view.contacts}


def retired(view: RetiredView) -> dict[str, Any]:
    return {
        "agent_id": view.agent_id,
        "retired_at": iso(view.retired_at_us),
        "released": view.released,
    }
