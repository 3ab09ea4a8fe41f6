"""Commands of the messages."""

from typing import ClassVar

from intermute.domain import views
from intermute.domain.commands.base import AgentCommand, Command


class SendMessage(Command):
    """Send a message, or replace the content of one that the sender sent before.

    Attributes:
        sender: In whose name.
        to, cc, bcc: The recipients, none of them blank; an agent may stand more than once.
        topic: Trimmed and in lower case.
        message_id: The sender's own id, None for a new one.
        transport: How it is to travel, as the sender wrote it; empty for the inbox.
        target_window_uuid: The window that it is meant for, or empty.
    """

    kind: ClassVar[str] = "send_message"
    answer: ClassVar[type] = views.SentView
    sender: str
    to: tuple[str, ...]
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    thread_id: str = ""
    subject: str = ""
    topic: str = ""
    body: str = ""
    importance: str = ""
    ack_required: bool = False
    message_id: str | None = None
    transport: str = ""
    target_window_uuid: str = ""

    @property
    def acting(self) -> str | None:
        return self.sender


class Broadcast(Command):
    """Send a message to every agent that lives, or with `include_stale` to every agent."""

    kind: ClassVar[str] = "broadcast"
    answer: ClassVar[type] = views.BroadcastView
    sender: str
    topic: str
    body: str
    subject: str = ""
    include_stale: bool = False

    @property
    def acting(self) -> str | None:
        return self.sender


class MarkMessage(Command):
    """Note that a recipient has read a message, or acknowledges it.

    `agent_id` None means the only recipient, where there is only one.
    """

    kind: ClassVar[str] = "mark_message"
    answer: ClassVar[type] = views.MarkedView
    message_id: str
    agent_id: str | None
    mark: str

    @property
    def acting(self) -> str | None:
        return self.agent_id


class MarkMessages(AgentCommand):
    """The same mark on many messages, each for itself."""

    kind: ClassVar[str] = "mark_messages"
    answer: ClassVar[type] = views.MarkedManyView
    message_ids: tuple[str, ...] = ()
    mark: str = ""
