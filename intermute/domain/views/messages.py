"""What is shown of messages."""

from msgspec import Struct

from intermute.domain.values import value


class DeliveryView(Struct, gc=False):
    """A message in one recipient's inbox. `kind` is `to`, `cc` or `bcc`.

    A struct, like the message: a page is made of dozens, and they take a third less time to make.
    """

    agent_id: str
    kind: str
    read_at_us: int | None = None
    ack_at_us: int | None = None


class MessageView(Struct, gc=False):
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


@value
class EnvelopeView:
    """A message without its content. `recipients` are those that everybody may know of."""

    message_id: str
    cursor: int
    sender: str
    recipients: tuple[str, ...]


@value
class SentView:
    """The answer to a send.

    Attributes:
        denied: Recipients that were asked for and do not have it.
        delivery: How it went to each recipient that it was to reach in a window.
    """

    message_id: str
    cursor: int
    denied: tuple[str, ...] = ()
    delivery: dict[str, str] | None = None


@value
class BroadcastView:
    """The answer to a broadcast. Without any recipient the id is empty and the cursor 0."""

    message_id: str
    cursor: int
    delivered: int
    denied: tuple[str, ...] = ()


@value
class MarkedView:
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


@value
class MarkedManyView:
    agent_id: str
    marks: tuple[MarkedView, ...]


@value
class MailboxView:
    """How many messages an agent was sent, and how many of them it has not read."""

    total: int
    unread: int


@value
class ThreadView:
    """A thread as one agent that takes part in it has it; all is about its own messages."""

    thread_id: str
    last_cursor: int
    message_count: int
    last_from: str
    last_body: str
    last_at_us: int


@value
class SearchTerm:
    """A word or a phrase that is searched for. `is_prefix`: its last word may go on."""

    text: str
    is_prefix: bool = False


@value
class FoundView:
    """A message that a search found, and the place in it."""

    message: MessageView
    snippet: str


@value
class FoundPage:
    """What a search found, newest first. `more`: there is more."""

    found: tuple[FoundView, ...] = ()
    more: bool = False


@value
class MessagePage:
    """Messages in order. `more`: further ones follow."""

    messages: tuple[MessageView, ...] = ()
    more: bool = False
