"""Commands of the agents."""

from typing import ClassVar

from msgspec import field

from intermute.domain import views
from intermute.domain.commands.base import AgentCommand, Command


class RegisterAgent(Command):
    """Make an agent, or lead one back to its former self when its session is known.

    `None` means not given; what a known agent has and the command does not give is kept.
    """

    kind: ClassVar[str] = "register_agent"
    answer: ClassVar[type] = views.RegisteredView
    token_hash: bytes
    name: str | None = None
    session_id: str | None = None
    capabilities: tuple[str, ...] | None = None
    metadata: dict[str, str] | None = None
    status: str | None = None


class Heartbeat(AgentCommand):
    """Say that an agent is alive, and optionally what its attention is on."""

    kind: ClassVar[str] = "heartbeat"
    answer: ClassVar[type] = views.HeartbeatView
    focus_state: str | None = None


class MergeMetadata(AgentCommand):
    """Overwrite the given metadata keys; a value of None removes the key."""

    kind: ClassVar[str] = "merge_metadata"
    answer: ClassVar[type] = views.AgentView
    metadata: dict[str, str | None] = field(default_factory=dict)


class SetPolicy(AgentCommand):
    """Set who may write to an agent; None keeps the policy as it is."""

    kind: ClassVar[str] = "set_policy"
    answer: ClassVar[type] = views.PolicyView
    policy: str | None = None
    live_contact_policy: str | None = None


class AddContact(AgentCommand):
    """Put `contact_id` on an agent's contact list; it is no error when it stands there."""

    kind: ClassVar[str] = "add_contact"
    answer: ClassVar[type] = views.ContactsView
    contact_id: str = ""


class RemoveContact(AgentCommand):
    """Take `contact_id` off an agent's contact list."""

    kind: ClassVar[str] = "remove_contact"
    answer: ClassVar[type] = views.ContactsView
    contact_id: str = ""


class RetireAgent(AgentCommand):
    """End an agent: its reservations are released, its session and token end."""

    kind: ClassVar[str] = "retire_agent"
    answer: ClassVar[type] = views.RetiredView
