"""What is shown of messages."""

from intermute.domain.values import Value


class DeliveryView(Value):
    """A message in one recipient's inbox. `kind` is `to`, `cc` or `bcc`."""

    agent_id: str
    kind: str
    read_at_us: int | None = None
    ack_at_us: int | None = None


class MessageView(Value):
    """A whole message, blind recipients included: who sees them is decided where it is shown.

    Attributes:
        cursor: Of the event that created it; an edit does not move it.
        mark: What the agent whose inbox it was read from has to do with it, else None.
    """

    message_id: str
    cursor: int
    project: str
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
    broadcast: bool
    created_at_us: int
    edited_at_us: int | None = None
    mark: DeliveryView | None = None


class MessageHead(Value):
    """A message without its content. `recipients` are those that everybody may know of."""

    message_id: str
    cursor: int
    sender: str
    recipients: tuple[str, ...]


class SentView(Value):
    """The answer to a send.

    Attributes:
        denied: Recipients that were asked for and do not have it.
        delivery: How it went to each recipient that it was to reach in a window.
    """

    message_id: str
    cursor: int
    denied: tuple[str, ...] = ()
    delivery: dict[str, str] | None = None


class BroadcastView(Value):
    """The answer to a broadcast. Without any recipient the id is empty and the cursor 0."""

    message_id: str
    cursor: int
    delivered: int
    denied: tuple[str, ...] = ()


class MarkedView(Value):
    """A mark on a message.

    Attributes:
        agent_id: Whose mark, None when nobody was named and there are several recipients.
        mark: `read` or `ack`.
        at_us: When it was made first; None when there is none.
        changed: Whether it was made just now.
        error: A refusal's code where this message could not be marked among many.
    """

    message_id: str
    agent_id: str | None
    mark: str
    at_us: int | None
    changed: bool
    error: str | None = None


class MarkedManyView(Value):
    agent_id: str
    marks: tuple[MarkedView, ...]


class MailboxView(Value):
    """How many messages an agent was sent, and how many of them it has not read."""

    total: int
    unread: int


class ThreadView(Value):
    """A thread as one agent that takes part in it has it; all is about its own messages."""

    thread_id: str
    last_cursor: int
    message_count: int
    last_from: str
    last_body: str
    last_at_us: int


class SearchTerm(Value):
    """A word or a phrase that is searched for. `is_prefix`: its last word may go on."""

    text: str
    is_prefix: bool = False


class FoundView(Value):
    """A message that a search found, and the place in it."""

    message: MessageView
    snippet: str


class FoundPage(Value):
    """What a search found, newest first. `more`: there is more."""

    found: tuple[FoundView, ...] = ()
    more: bool = False


class MessagePage(Value):
    """Messages in order. `more`: further ones follow."""

    messages: tuple[MessageView, ...] = ()
    more: bool = False
