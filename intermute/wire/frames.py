"""Feed frames: events as the JSON objects that WebSockets and event streams carry.

Every frame has `type`, `project`, `cursor`, `created_at`, `entity_id`, `data` and, where an agent
caused it, `actor`. Beside them stand the members that clients already look for. Most readers of an
event see the same bytes, which are made once; who sees more than the others has a version of its
own. Clients read frames of a bounded length only, so longer ones are shortened where they are
pushed.
"""

import re
from functools import singledispatch
from typing import Any

import msgspec
from msgspec import UNSET

from intermute.domain import events
from intermute.domain.events import Event, EventData
from intermute.domain.limits import (
    CURSOR_MAX,
    EVENT_TYPE_LEN_MAX,
    FEED_FRAME_LEN_MAX,
    FEED_RECIPIENTS_SHOWN_MAX,
    FEED_TYPES_MAX,
)
from intermute.domain.messages import visible_bcc
from intermute.domain.modes import Mode
from intermute.domain.times import iso
from intermute.wire.bodies import BadRequest
from intermute.wire.entities import frame_data
from intermute.wire.messages import mark_of_event, message_of_event
from intermute.wire.strict_json import encode

__all__ = [
    "Frames",
    "check_types",
    "frame_for",
    "lagged_frame",
    "read_cursor",
    "read_types",
    "version_of",
]

# An event's frames: the one for everybody under None, others under the agent that sees more; what
# was shortened beside them, under the same in a tuple.
Frames = dict[Any, bytes]

# What is left for the addressee, whose id has up to 200 characters of up to four bytes.
_SHARED_LEN_MAX = FEED_FRAME_LEN_MAX - 1_024


def version_of(data: EventData, viewer: str | None) -> str | None:
    """The agent whose own version `viewer` sees, None for the one that everybody may see."""
    if viewer is None:
        return None
    if isinstance(data, events.MessageContent):
        return viewer if visible_bcc(data, viewer) else None
    if _is_private(data):
        return viewer if viewer in (data.audience or ()) else None
    return None


def _is_private(data: EventData) -> bool:
    """Whether only its audience may know which agents it is about."""
    if isinstance(data, events.MessageMarked):
        return data.blind
    return isinstance(data, events.PokeEvent)


def frame_for(
    event: Event,
    project: str,
    made: Frames,
    *,
    viewer: str | None,
    addressee: str | None = None,
    short: bool = False,
) -> bytes:
    """The frame of an event, as UTF-8 JSON without line breaks.

    Args:
        made: The frames that this event already has; a new one is added.
        viewer: The agent that looks, None for nobody in particular.
        addressee: The agent whose own feed it is for, which frames of messages name.
        short: At most `FEED_FRAME_LEN_MAX` bytes: the longest members of `data` are left out as
            far as need be, and `truncated` names them.
    """
    version = version_of(event.data, viewer)
    frame = made.get(version)
    if frame is None:
        frame = made[version] = encode(_members(event, project, version))
    if short and len(frame) > _SHARED_LEN_MAX:
        frame = made.get((version,))
        if frame is None:
            frame = made[(version,)] = _shortened(made[version])
    if addressee is not None and isinstance(event.data, events.MessageContent):
        # Cheaper than a frame made anew for each of a thousand recipients.
        return b'%b,"agent":%b}' % (frame[:-1], encode(addressee))
    return frame


def _shortened(frame: bytes) -> bytes:
    """A frame that is too long, with no more left out of its `data` than has to be."""
    members = msgspec.json.decode(frame)
    data = members["data"]
    longest_first = sorted(data, key=lambda name: len(encode(data[name])), reverse=True)
    left_out: list[str] = []
    members["truncated"] = left_out
    while len(frame) > _SHARED_LEN_MAX:
        name = longest_first[len(left_out)]
        left_out.append(name)
        del data[name]
        frame = encode(members)
    return frame


def lagged_frame(cursor: int) -> bytes:
    """The last frame for who was too slow."""
    return encode({"type": "feed.lagged", "cursor": cursor})


def _members(event: Event, project: str, version: str | None) -> dict[str, Any]:
    data = event.data
    members: dict[str, Any] = {
        "type": data.type,
        "project": project,
        "cursor": event.cursor,
        "created_at": iso(event.at_us),
        "entity_id": data.entity_id,
    }
    if event.actor is not None and (version is not None or not _is_private(data)):
        members["actor"] = event.actor
    members.update(_own_members(data, event, project, version))
    return members


@singledispatch
def _own_members(
    data: EventData, event: Event, project: str, version: str | None
) -> dict[str, Any]:
    """`data`, and what stands beside it for clients that know only that."""
    raise AssertionError(f"no frame is known for {data.type}")


@_own_members.register
def _agent(
    data: events.AgentEvent, event: Event, project: str, version: str | None
) -> dict[str, Any]:
    return {"agent_id": data.agent_id, "data": {"agent_id": data.agent_id}}


@_own_members.register(events.AgentRegistered)
@_own_members.register(events.AgentResumed)
def _agent_named(
    data: events.AgentRegistered | events.AgentResumed,
    event: Event,
    project: str,
    version: str | None,
) -> dict[str, Any]:
    shown = {
        "agent_id": data.agent_id,
        "name": data.name,
        "capabilities": data.capabilities,
        "metadata": data.metadata,
        "status": data.status,
    }
    return {"agent_id": data.agent_id, "data": shown}


@_own_members.register
def _agent_metadata(
    data: events.AgentMetadataMerged, event: Event, project: str, version: str | None
) -> dict[str, Any]:
    shown = {"agent_id": data.agent_id, "metadata": data.metadata}
    return {"agent_id": data.agent_id, "data": shown}


@_own_members.register
def _agent_policy(
    data: events.AgentPolicyChanged, event: Event, project: str, version: str | None
) -> dict[str, Any]:
    shown = {
        "agent_id": data.agent_id,
        "policy": data.policy,
        "live_contact_policy": data.live_contact_policy,
    }
    return {"agent_id": data.agent_id, "data": shown}


@_own_members.register(events.ContactAdded)
@_own_members.register(events.ContactRemoved)
def _contact(
    data: events.ContactAdded | events.ContactRemoved,
    event: Event,
    project: str,
    version: str | None,
) -> dict[str, Any]:
    shown = {"agent_id": data.agent_id, "contact_id": data.contact_id}
    return {"agent_id": data.agent_id, "data": shown}


@_own_members.register
def _project(
    data: events.ProjectConfigured, event: Event, project: str, version: str | None
) -> dict[str, Any]:
    """`live_transport` is null where the server's rule holds."""
    shown = {"case_sensitive": data.case_sensitive, "live_transport": data.live_transport}
    return {"data": shown}


def _reservation(
    data: events.ReservationEvent, patterns: tuple[str, ...], fencing_token: int, **more: object
) -> dict[str, Any]:
    shown: dict[str, object] = {
        "id": data.reservation_id,
        "agent_id": data.agent_id,
        "fencing_token": fencing_token,
    }
    members: dict[str, Any] = {"agent_id": data.agent_id, "reservation_id": data.reservation_id}
    if patterns:
        members["path_pattern"] = shown["path_pattern"] = patterns[0]
        shown["patterns"] = patterns
    return {**members, "data": {**shown, **more}}


@_own_members.register
def _reservation_created(
    data: events.ReservationCreated, event: Event, project: str, version: str | None
) -> dict[str, Any]:
    return _reservation(
        data,
        data.patterns,
        event.cursor,
        exclusive=data.mode is Mode.EXCLUSIVE,
        mode=data.mode.value,
        reason=data.reason,
        ttl_seconds=data.ttl_ms // 1000,
        expires_at=iso(data.expires_at_us),
        **({} if data.ticket_id is None else {"ticket_id": data.ticket_id}),
    )


@_own_members.register
def _reservation_renewed(
    data: events.ReservationRenewed, event: Event, project: str, version: str | None
) -> dict[str, Any]:
    return _reservation(
        data,
        (),
        data.fencing_token,
        ttl_seconds=data.ttl_ms // 1000,
        expires_at=iso(data.expires_at_us),
        cause=data.cause,
    )


@_own_members.register
def _reservation_released(
    data: events.ReservationReleased, event: Event, project: str, version: str | None
) -> dict[str, Any]:
    more = {
        name: told
        for name, told in (
            ("reason", data.reason),
            ("by", data.by),
            ("successor", data.successor),
        )
        if told
    }
    return _reservation(
        data, (), data.fencing_token, released_at=iso(event.at_us), cause=data.cause, **more
    )


@_own_members.register
def _reservation_narrowed(
    data: events.ReservationNarrowed, event: Event, project: str, version: str | None
) -> dict[str, Any]:
    return _reservation(data, data.patterns, data.fencing_token)


@_own_members.register
def _reservation_expiring(
    data: events.ReservationExpiring, event: Event, project: str, version: str | None
) -> dict[str, Any]:
    return _reservation(data, data.patterns, data.fencing_token, expires_at=iso(data.expires_at_us))


@_own_members.register
def _reservation_expired(
    data: events.ReservationExpired, event: Event, project: str, version: str | None
) -> dict[str, Any]:
    return _reservation(data, data.patterns, data.fencing_token, expired_at=iso(event.at_us))


def _ticket(data: events.TicketEvent, **more: object) -> dict[str, Any]:
    shown = {"ticket_id": data.ticket_id, "agent_id": data.agent_id}
    return {**shown, "data": {**shown, **more}}


@_own_members.register
def _queued(
    data: events.ReservationQueued, event: Event, project: str, version: str | None
) -> dict[str, Any]:
    return _ticket(
        data,
        patterns=data.patterns,
        mode=data.mode.value,
        reason=data.reason,
        ttl_seconds=data.ttl_ms // 1000,
        wait_until=iso(data.wait_until_us),
    )


@_own_members.register
def _granted(
    data: events.ReservationGranted, event: Event, project: str, version: str | None
) -> dict[str, Any]:
    return _ticket(
        data,
        reservation_id=data.reservation_id,
        patterns=data.patterns,
        mode=data.mode.value,
        fencing_token=data.fencing_token,
        confirm_by=iso(data.confirm_by_us),
    )


@_own_members.register
def _skipped(
    data: events.ReservationSkipped, event: Event, project: str, version: str | None
) -> dict[str, Any]:
    return _ticket(data, patterns=data.patterns, cause=data.cause)


@_own_members.register
def _cancelled(
    data: events.ReservationCancelled, event: Event, project: str, version: str | None
) -> dict[str, Any]:
    return _ticket(data, cause=data.cause)


@_own_members.register
def _message(
    data: events.MessageContent, event: Event, project: str, version: str | None
) -> dict[str, Any]:
    """The message as who has this version may see it, long lists of recipients cut."""
    shown = message_of_event(event, data, version, project)
    cc, bcc = shown.cc or (), shown.bcc or ()
    count = len(shown.to) + len(cc) + len(bcc)
    if count > FEED_RECIPIENTS_SHOWN_MAX:
        shown.to = shown.to[:FEED_RECIPIENTS_SHOWN_MAX]
        shown.cc = cc[:FEED_RECIPIENTS_SHOWN_MAX] or UNSET
        shown.bcc = bcc[:FEED_RECIPIENTS_SHOWN_MAX] or UNSET
        shown.recipients = count
    return {"message_id": data.message_id, "data": shown}


@_own_members.register
def _message_mark(
    data: events.MessageMarked, event: Event, project: str, version: str | None
) -> dict[str, Any]:
    """Who made it, unless nobody may know that it has the message."""
    shown = {"message_id": data.message_id, **mark_of_event(data, version)}
    return {**shown, "data": dict(shown)}


@_own_members.register
def _poke(
    data: events.PokeEvent, event: Event, project: str, version: str | None
) -> dict[str, Any]:
    """Whose window it was meant for is between the two agents."""
    shown: dict[str, Any] = {"message_id": data.message_id}
    if version is not None:
        shown["agent"] = data.agent_id
        for name in ("sender", "thread_id", "transport", "result", "reason"):
            if hasattr(data, name):
                shown["from" if name == "sender" else name] = getattr(data, name)
    return {"message_id": data.message_id, "data": shown}


@_own_members.register
def _window(
    data: events.WindowEvent, event: Event, project: str, version: str | None
) -> dict[str, Any]:
    shown = {"id": data.window_id, "agent_id": data.agent_id, "window_uuid": data.window_uuid}
    return {"agent_id": data.agent_id, "window_uuid": data.window_uuid, "data": shown}


@_own_members.register
def _entity(
    data: events.EntityEvent, event: Event, project: str, version: str | None
) -> dict[str, Any]:
    return {"data": frame_data(data)}


_TYPE = re.compile(r"[a-z][a-z_]*\.(?:[a-z][a-z_]*|\*)")


def read_types(text: str) -> list[str]:
    """Event types and families of a query string, with commas between them.

    Raises:
        BadRequest: One of them cannot be one, or there are too many.
    """
    return check_types([name.strip() for name in text.split(",") if name.strip()])


def check_types(types: object) -> list[str]:
    """Event types and families from a JSON value; none given is an empty list.

    Raises:
        BadRequest: They are not such a list.
    """
    if types is None:
        return []
    if not isinstance(types, list) or len(types) > FEED_TYPES_MAX:
        raise BadRequest(f"event types are an array of at most {FEED_TYPES_MAX} strings")
    for name in types:
        if not isinstance(name, str) or len(name) > EVENT_TYPE_LEN_MAX or not _TYPE.fullmatch(name):
            raise BadRequest('an event type is like "message.created", a family like "message.*"')
    return types


def read_cursor(text: str, name: str) -> int:
    """A cursor to resume after.

    Raises:
        BadRequest: It is no number from 0.
    """
    if not text.isascii() or not text.isdigit() or len(text) > len(str(CURSOR_MAX)):
        raise BadRequest(f"{name} must be a cursor: a whole number from 0")
    return int(text)
