"""Events of the messages."""

from typing import ClassVar

from intermute.domain.events.base import EventData


class MessageEvent(EventData):
    """Something happened to a message."""

    message_id: str

    @property
    def entity_id(self) -> str:
        return self.message_id


class MessageContent(MessageEvent):
    """All of a message. No agent stands in more than one of `to`, `cc` and `bcc`."""

    thread_id: str
    sender: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    subject: str
    topic: str
    body: str
    importance: str
    ack_required: bool

    @property
    def audience(self) -> tuple[str, ...] | None:
        return (*self.to, *self.cc, *self.bcc)


class MessageCreated(MessageContent):
    """A message was sent. `broadcast`: to everybody who was there."""

    type: ClassVar[str] = "message.created"
    broadcast: bool = False


class MessageUpdated(MessageContent):
    """Its sender sent it again with other content; to whom it went stays as it was."""

    type: ClassVar[str] = "message.updated"
    created_cursor: int = 0
    created_at_us: int = 0


class MessageMarked(MessageEvent):
    """A recipient made a mark on a message, the first of its kind.

    `blind`: it stands in `bcc`, so nobody but itself and the sender may learn who it was.
    """

    agent_id: str
    sender: str = ""
    blind: bool = False

    @property
    def audience(self) -> tuple[str, ...] | None:
        return (self.agent_id, self.sender) if self.blind else None


class MessageRead(MessageMarked):
    type: ClassVar[str] = "message.read"


class MessageAcked(MessageMarked):
    type: ClassVar[str] = "message.ack"
