"""Messages on the wire: sending, marks, and messages as this or that agent may see them."""

from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

from intermute.domain import limits
from intermute.domain.commands import Broadcast, MarkMessage, MarkMessages, SendMessage
from intermute.domain.events import Event, MessageContent, MessageMarked, MessageUpdated
from intermute.domain.messages import BCC, visible_bcc
from intermute.domain.times import iso, iso_seconds
from intermute.domain.views import (
    BroadcastView,
    DeliveryView,
    MailboxView,
    MarkedManyView,
    MarkedView,
    MessagePage,
    MessageView,
    SentView,
    ThreadView,
)
from intermute.wire.agents import AgentId, Project
from intermute.wire.bodies import BadRequest, convert, convert_from, line

T = TypeVar("T")
MessageId = Annotated[str, Meta(max_length=limits.MESSAGE_ID_LEN_MAX)]
ThreadId = Annotated[str, Meta(max_length=limits.THREAD_ID_LEN_MAX)]
Topic = Annotated[str, Meta(max_length=limits.TOPIC_LEN_MAX)]
Subject = Annotated[str, Meta(max_length=limits.SUBJECT_LEN_MAX)]
Text = Annotated[str, Meta(max_length=limits.MESSAGE_BODY_LEN_MAX)]
Importance = Annotated[str, Meta(max_length=limits.IMPORTANCE_LEN_MAX)]
AgentIds = Annotated[list[AgentId], Meta(max_length=limits.RECIPIENTS_MAX)]
MessageIds = Annotated[list[MessageId], Meta(max_length=limits.MARKS_PER_REQUEST_MAX)]
Transport = Annotated[str, Meta(max_length=limits.TRANSPORT_LEN_MAX)]
WindowUuid = Annotated[str, Meta(max_length=limits.WINDOW_UUID_LEN_MAX)]


class SendBody(Struct):
    """`sender` is the member `from`, which is no name in Python."""

    sender: AgentId = ""
    project: Project = ""
    id: MessageId = ""
    thread_id: ThreadId = ""
    to: AgentIds = []
    cc: AgentIds = []
    bcc: AgentIds = []
    subject: Subject = ""
    topic: Topic = ""
    body: Text = ""
    importance: Importance = ""
    ack_required: bool = False
    transport: Transport = ""
    target_window_uuid: WindowUuid = ""


class BroadcastBody(Struct):
    """`sender` is the member `from`."""

    sender: AgentId = ""
    project: Project = ""
    topic: Topic = ""
    subject: Subject = ""
    body: Text = ""
    include_stale: bool = False


class _MarkBody(Struct):
    agent: AgentId = ""
    agent_id: AgentId = ""


class MarksBody(Struct):
    agent: AgentId = ""
    agent_id: AgentId = ""
    project: Project = ""
    message_ids: MessageIds = []


def read_send(members: dict[str, Any]) -> SendBody:
    return convert_from(members, SendBody)


def send(body: SendBody) -> SendMessage:
    """Blank recipients are left out; there must be one left in `to`."""
    to, cc, bcc = _agents(body.to, "to"), _agents(body.cc, "cc"), _agents(body.bcc, "bcc")
    if not to:
        raise BadRequest("to required: an array with at least one agent's id")
    if len(to) + len(cc) + len(bcc) > limits.RECIPIENTS_MAX:
        raise BadRequest(f"at most {limits.RECIPIENTS_MAX} recipients in to, cc and bcc together")
    return SendMessage(
        sender=_sender(body.sender),
        to=to,
        cc=cc,
        bcc=bcc,
        thread_id=line(body.thread_id, "thread_id"),
        subject=body.subject,
        topic=topic_name(body.topic),
        body=body.body,
        importance=line(body.importance, "importance"),
        ack_required=body.ack_required,
        message_id=line(body.id, "id") or None,
        transport=line(body.transport, "transport"),
        target_window_uuid=line(body.target_window_uuid, "target_window_uuid"),
    )


def _agents(named: list[str], name: str) -> tuple[str, ...]:
    if not named:
        return ()
    return tuple(filter(None, [line(agent_id, name) for agent_id in named]))


def read_broadcast(members: dict[str, Any]) -> BroadcastBody:
    return convert_from(members, BroadcastBody)


def broadcast(body: BroadcastBody) -> Broadcast:
    sender, topic = _sender(body.sender), topic_name(body.topic)
    for name, text in (("topic", topic), ("body", body.body.strip())):
        if not text:
            raise BadRequest(f"{name} required")
    return Broadcast(sender, topic, body.body, body.subject, body.include_stale)


def topic_name(text: str) -> str:
    """A topic's one spelling: trimmed, in lower case."""
    return line(text, "topic").lower()


def read_mark(members: dict[str, Any]) -> str:
    """The agent that a mark's body names, or nothing."""
    body = convert(members, _MarkBody)
    return line(body.agent or body.agent_id, "agent")


def mark(message_id: str, mark: str, *, agent_id: str | None) -> MarkMessage:
    return MarkMessage(message_id, agent_id, mark)


def read_marks(members: dict[str, Any]) -> MarksBody:
    return convert(members, MarksBody)


def marks(body: MarksBody, mark: str, *, agent_id: str | None) -> MarkMessages:
    """`agent_id` is the caller's, for a body that names none."""
    agent = line(body.agent or body.agent_id, "agent") or agent_id
    message_ids = tuple(filter(None, (line(each, "message_ids") for each in body.message_ids)))
    if not agent:
        raise BadRequest("agent required: whose marks these are")
    if not message_ids:
        raise BadRequest("message_ids required: an array with at least one id")
    return MarkMessages(agent, message_ids, mark)


def _sender(text: str) -> str:
    sender = line(text, "from")
    if not sender:
        raise BadRequest("from required: the id of the agent that sends")
    return sender


def sent(view: SentView, *, live: bool = False) -> dict[str, Any]:
    """The answer to a send. `delivery` is one word where there is one recipient to tell of.

    That to a `live` one always says who was denied, even if nobody was.
    """
    members: dict[str, Any] = {"message_id": view.message_id, "cursor": view.cursor}
    if view.denied or live:
        members["denied"] = view.denied
    if view.delivery:
        told = tuple(view.delivery.values())
        members["delivery"] = told[0] if len(told) == 1 else view.delivery
    return members


def broadcasted(view: BroadcastView) -> dict[str, Any]:
    members: dict[str, Any] = {
        "message_id": view.message_id,
        "cursor": view.cursor,
        "delivered": view.delivered,
    }
    if view.denied:
        members["denied"] = view.denied
    return members


class Message(Struct, rename={"sender": "from"}, gc=False):
    """A message as somebody may see it, in the order of its members; what is unset is not there.

    A struct and not a mapping, because a page is made of dozens.

    Attributes:
        kind, read_at, ack_at: What the agent whose inbox it was read from has to do with it.
        recipients: In a feed, how many there are where not all are named.
        age_seconds: Of a message that is still to be acknowledged.
        snippet: What a search found in it.
    """

    id: str
    thread_id: str
    project: str
    sender: str
    to: tuple[str, ...]
    body: str
    created_at: str
    cursor: int
    cc: tuple[str, ...] | UnsetType = UNSET
    bcc: tuple[str, ...] | UnsetType = UNSET
    subject: str | UnsetType = UNSET
    topic: str | UnsetType = UNSET
    importance: str | UnsetType = UNSET
    ack_required: bool | UnsetType = UNSET
    broadcast: bool | UnsetType = UNSET
    edited_at: str | UnsetType = UNSET
    kind: str | UnsetType = UNSET
    read_at: str | UnsetType | None = UNSET
    ack_at: str | UnsetType = UNSET
    recipients: int | UnsetType = UNSET
    age_seconds: int | UnsetType = UNSET
    snippet: str | UnsetType = UNSET


def message(view: MessageView, viewer: str | None) -> Message:
    """A message as `viewer` may see it, with that agent's own marks if it was read for it."""
    shown = _content(view, viewer, view.project, view.created_at_us, view.cursor)
    if view.broadcast:
        shown.broadcast = True
    if view.edited_at_us is not None:
        shown.edited_at = iso(view.edited_at_us)
    own = view.mark
    if own is not None:
        shown.kind = own.kind
        if own.read_at_us is not None:
            shown.read_at = iso(own.read_at_us)
        if own.ack_at_us is not None:
            shown.ack_at = iso(own.ack_at_us)
    return shown


def message_of_event(
    event: Event, data: MessageContent, viewer: str | None, project: str
) -> Message:
    """The message that an event of it tells, as `viewer` may see it: like `message`."""
    if isinstance(data, MessageUpdated):
        shown = _content(data, viewer, project, data.created_at_us, data.created_cursor)
        shown.edited_at = iso(event.at_us)
        return shown
    shown = _content(data, viewer, project, event.at_us, event.cursor)
    if getattr(data, "broadcast", False):
        shown.broadcast = True
    return shown


def mark_of_event(data: MessageMarked, viewer: str | None) -> dict[str, Any]:
    """Whose mark an event tells; nothing where the viewer may not know of a blind recipient."""
    if data.blind and viewer not in (data.agent_id, data.sender):
        return {}
    return {"agent": data.agent_id}


def _content(
    message: MessageView | MessageContent,
    viewer: str | None,
    project: str,
    created_at_us: int,
    cursor: int,
) -> Message:
    """What a message and each event of it say in the same words."""
    # By position, because names cost as much as all the rest.
    return Message(
        message.message_id,
        message.thread_id,
        project,
        message.sender,
        message.to,
        message.body,
        iso(created_at_us),
        cursor,
        message.cc or UNSET,
        (message.bcc and visible_bcc(message, viewer)) or UNSET,
        message.subject or UNSET,
        message.topic or UNSET,
        message.importance or UNSET,
        message.ack_required or UNSET,
    )


def messages(page: MessagePage, viewer: str | None, *, after: int) -> dict[str, Any]:
    """A page, and the cursor with which the next one is asked for."""
    return {
        "messages": [message(view, viewer) for view in page.messages],
        "cursor": page.messages[-1].cursor if page.messages else after,
        "more": page.more,
    }


def recipients(
    view: MessageView, deliveries: Iterable[DeliveryView], viewer: str | None
) -> dict[str, Any]:
    """How each recipient that the viewer may know of has the message."""
    known = visible_bcc(view, viewer)
    return {
        "message_id": view.message_id,
        "ack_required": view.ack_required,
        "recipients": [
            {
                "agent": each.agent_id,
                "kind": each.kind,
                "read_at": None if each.read_at_us is None else iso(each.read_at_us),
                "ack_at": None if each.ack_at_us is None else iso(each.ack_at_us),
            }
            for each in deliveries
            if each.kind != BCC or each.agent_id in known
        ],
    }


def counts(view: MailboxView) -> dict[str, Any]:
    return {"total": view.total, "unread": view.unread}


def stale_acks(
    page: MessagePage, agent_id: str, *, project: str, ttl_s: int, now_us: int
) -> dict[str, Any]:
    return {
        "project": project,
        "agent": agent_id,
        "ttl_seconds": ttl_s,
        "count": len(page.messages),
        "messages": [_stale(view, agent_id, now_us) for view in page.messages],
        "more": page.more,
    }


def _stale(view: MessageView, agent_id: str, now_us: int) -> Message:
    shown = message(view, agent_id)
    if shown.read_at is UNSET:
        shown.read_at = None
    shown.age_seconds = max(0, now_us - view.created_at_us) // 1_000_000
    return shown


def marked(view: MarkedView) -> dict[str, Any]:
    """A mark: `read_at` or `ack_at`, whichever it is."""
    members: dict[str, Any] = {
        "message_id": view.message_id,
        "agent": view.agent_id,
        f"{view.mark}_at": None if view.at_us is None else iso(view.at_us),
        "changed": view.changed,
    }
    if view.error is not None:
        members["error"] = view.error
    return members


def marked_many(view: MarkedManyView) -> dict[str, Any]:
    return {"agent": view.agent_id, "results": [marked(each) for each in view.marks]}


def threads(views: list[ThreadView], *, before: int, more: bool) -> dict[str, Any]:
    """An agent's threads, and the cursor with which the next page is asked for."""
    return {
        "threads": [_thread(view) for view in views],
        "cursor": views[-1].last_cursor if views else before,
        "more": more,
    }


def _thread(view: ThreadView) -> dict[str, Any]:
    # Cut between characters: a reader must not be given half of one.
    start = view.last_body.encode()[: limits.PREVIEW_LEN_MAX]
    return {
        "thread_id": view.thread_id,
        "last_cursor": view.last_cursor,
        "message_count": view.message_count,
        "last_from": view.last_from,
        "last_body": start.decode(errors="ignore"),
        "last_at": iso_seconds(view.last_at_us),
    }
