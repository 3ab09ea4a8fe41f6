"""Operations on the messages: send, read, mark, broadcast, and what an inbox holds."""

from collections.abc import Iterable

from intermute.domain import agents as domain_agents
from intermute.domain import messages as domain
from intermute.domain.limits import (
    INBOX_PAGE_DEFAULT,
    PAGE_MAX,
    STALE_ACK_TTL_DEFAULT_MS,
    STALE_ACKS_PAGE_DEFAULT,
    TTL_ABSURD_MS,
)
from intermute.domain.stamp import tag_of
from intermute.domain.views import DeliveryView, MailboxView, MessagePage, MessageView
from intermute.web.calls import Call
from intermute.web.errors import Refused
from intermute.web.live import follow_up
from intermute.web.operations import Asking, Operations
from intermute.web.outcome import Outcome
from intermute.wire import messages as wire
from intermute.wire.agents import read_agent_id
from intermute.wire.bodies import BadRequest, cursor, decimal, flag

NO_MESSAGES = MessagePage()
NO_MAIL = MailboxView(0, 0)
TTL_ABSURD_S = TTL_ABSURD_MS // 1000
operations = Operations()


@operations.command("messages.send", "POST", "/api/messages")
def send(call: Call) -> Asking:
    body = wire.read_send(call.members())
    command = wire.send(body)
    project = call.project_of_agent(body.project, command.sender)
    tag = None if command.message_id is None else tag_of(command.message_id)
    if tag is not None and tag != call.projects.tag_of(project):
        raise BadRequest("id is of the form that this server gives to messages of other projects")
    _refuse_foreign(call, project, (*command.to, *command.cc, *command.bcc))
    return Asking(project, command, wire.sent, follow=follow_up(call, project, command))


@operations.command("messages.broadcast", "POST", "/api/broadcast")
def broadcast(call: Call) -> Asking:
    body = wire.read_broadcast(call.members())
    command = wire.broadcast(body)
    project = call.project_of_agent(body.project, command.sender)
    return Asking(project, command, wire.broadcasted)


@operations.query("messages.get", "/api/messages/<message_id>")
async def get_message(call: Call) -> Outcome:
    message_id = call.path("message_id")
    project = _project_of(call, message_id)
    view = call.look(project, lambda reader: reader.message(message_id), empty=None)
    if view is None:
        raise Refused(domain.not_found(message_id))
    return Outcome(200, wire.message(view, call.agent_id))


@operations.query("messages.recipients", "/api/messages/<message_id>/recipients")
async def get_recipients(call: Call) -> Outcome:
    message_id = call.path("message_id")
    project = _project_of(call, message_id)
    found: tuple[MessageView, list[DeliveryView]] | None = call.look(
        project, lambda reader: reader.recipients(message_id), empty=None
    )
    if found is None:
        raise Refused(domain.not_found(message_id))
    return Outcome(200, wire.recipients(*found, call.agent_id))


@operations.command("messages.read", "POST", "/api/messages/<message_id>/read")
def mark_read(call: Call) -> Asking:
    return _mark(call, domain.READ)


@operations.command("messages.ack", "POST", "/api/messages/<message_id>/ack")
def mark_acked(call: Call) -> Asking:
    return _mark(call, domain.ACK)


@operations.command("messages.read_many", "POST", "/api/messages/read")
def mark_many_read(call: Call) -> Asking:
    return _mark_many(call, domain.READ)


@operations.command("messages.ack_many", "POST", "/api/messages/ack")
def mark_many_acked(call: Call) -> Asking:
    return _mark_many(call, domain.ACK)


@operations.query("inbox.list", "/api/inbox/<inbox:agent_id>")
async def inbox(call: Call) -> Outcome:
    agent_id, project = _owner(call)
    after = cursor(call.query("since_cursor"), default=0)
    limit = decimal(call.query("limit"), default=INBOX_PAGE_DEFAULT, most=PAGE_MAX)
    unread_only = flag(call.query("unread_only"), default=False)
    page = call.read_as(
        project,
        agent_id,
        lambda reader: reader.inbox(agent_id, after=after, limit=limit, unread_only=unread_only),
        empty=NO_MESSAGES,
    )
    return Outcome(200, wire.messages(page, agent_id, after=after))


@operations.query("inbox.counts", "/api/inbox/<inbox:agent_id>/counts")
async def counts(call: Call) -> Outcome:
    agent_id, project = _owner(call)
    view = call.read_as(project, agent_id, lambda reader: reader.mailbox(agent_id), empty=NO_MAIL)
    return Outcome(200, wire.counts(view))


@operations.query("inbox.stale_acks", "/api/inbox/<inbox:agent_id>/stale-acks")
async def stale_acks(call: Call) -> Outcome:
    agent_id, project = _owner(call)
    default_s = STALE_ACK_TTL_DEFAULT_MS // 1000
    ttl_s = decimal(call.query("ttl_seconds"), default=default_s, most=TTL_ABSURD_S, least=0)
    limit = decimal(call.query("limit"), default=STALE_ACKS_PAGE_DEFAULT, most=PAGE_MAX)
    now_us = call.now_us()
    page = call.read_as(
        project,
        agent_id,
        lambda reader: reader.acks_due(
            agent_id, sent_until_us=now_us - ttl_s * 1_000_000, limit=limit
        ),
        empty=NO_MESSAGES,
    )
    body = wire.stale_acks(page, agent_id, project=project, ttl_s=ttl_s, now_us=now_us)
    return Outcome(200, body)


def _refuse_foreign(call: Call, project: str, recipients: Iterable[str]) -> None:
    """An agent of another project has no inbox in this one, so the message would reach nobody."""
    for agent_id in recipients:
        tag = tag_of(agent_id)
        if tag is not None and tag != call.projects.tag_of(project):
            raise Refused(domain_agents.not_found(agent_id))


def _project_of(call: Call, message_id: str) -> str:
    return call.project_for(call.query("project"), message_id, domain.not_found)


def _owner(call: Call) -> tuple[str, str]:
    """Whose inbox it is, and in which project."""
    agent_id = read_agent_id(call.path("agent_id"))
    return agent_id, call.project_for(call.query("project"), agent_id, domain_agents.not_found)


def _mark(call: Call, mark: str) -> Asking:
    message_id = call.path("message_id")
    named = wire.read_mark(call.members(optional=True)) or (call.query("agent") or "").strip()
    project = _project_of(call, message_id)
    command = wire.mark(message_id, mark, agent_id=named or call.agent_id)
    return Asking(project, command, wire.marked)


def _mark_many(call: Call, mark: str) -> Asking:
    body = wire.read_marks(call.members())
    command = wire.marks(body, mark, agent_id=call.agent_id)
    project = call.project_of_agent(body.project or call.query("project") or "", command.agent_id)
    return Asking(project, command, wire.marked_many)
