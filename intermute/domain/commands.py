"""Commands: what somebody asks a project to do. Imperative names, plain values, units last.

`acting` is the agent in whose name a command acts (None: nobody's); it is what a caller's
credentials are held against. A command says nothing about time or ids: those are the stamp's.
"""

from typing import ClassVar

import attrs

from intermute.domain import views
from intermute.domain.values import value


@value
class Caller:
    """Whom a command comes from, as far as the edge could tell.

    Attributes:
        agent_id: The agent the caller says it is (`X-Agent-ID`), or None.
        token_hash: SHA-256 of the agent token it presented, or None.
        operator: It may act on any agent of the project (a local caller, or a key with the right).
    """

    agent_id: str | None = None
    token_hash: bytes | None = None
    operator: bool = False


@value
class Command:
    """Base of all commands."""

    kind: ClassVar[str] = ""
    # Only commands that change something may be remembered under an idempotency key, create
    # a project's file, or be refused while the breaker is open.
    changes: ClassVar[bool] = True
    # The shape of the answer, so that one that was kept can be read again.
    answer: ClassVar[type] = object

    @property
    def acting(self) -> str | None:
        return None


@value
class AgentCommand(Command):
    """A command in the name of one agent."""

    agent_id: str

    @property
    def acting(self) -> str | None:
        return self.agent_id


@value
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


@value
class Heartbeat(AgentCommand):
    """Say that an agent is alive, and optionally what its attention is on."""

    kind: ClassVar[str] = "heartbeat"
    answer: ClassVar[type] = views.HeartbeatView
    focus_state: str | None = None


@value
class MergeMetadata(AgentCommand):
    """Overwrite the given metadata keys; a value of None removes the key."""

    kind: ClassVar[str] = "merge_metadata"
    answer: ClassVar[type] = views.AgentView
    metadata: dict[str, str | None] = attrs.field(factory=dict)


@value
class SetPolicy(AgentCommand):
    """Set who may write to an agent; None keeps the policy as it is."""

    kind: ClassVar[str] = "set_policy"
    answer: ClassVar[type] = views.PolicyView
    policy: str | None = None
    live_contact_policy: str | None = None


@value
class AddContact(AgentCommand):
    """Put `contact_id` on an agent's contact list; it is no error when it stands there."""

    kind: ClassVar[str] = "add_contact"
    answer: ClassVar[type] = views.ContactsView
    contact_id: str = ""


@value
class RemoveContact(AgentCommand):
    """Take `contact_id` off an agent's contact list."""

    kind: ClassVar[str] = "remove_contact"
    answer: ClassVar[type] = views.ContactsView
    contact_id: str = ""


@value
class RetireAgent(AgentCommand):
    """End an agent: its reservations are released, its session and token end."""

    kind: ClassVar[str] = "retire_agent"
    answer: ClassVar[type] = views.RetiredView


@value
class ReservePaths(AgentCommand):
    """Take a set of patterns, all or none. `ttl_ms` is within the limits already."""

    kind: ClassVar[str] = "reserve_paths"
    answer: ClassVar[type] = views.ReservationView
    patterns: tuple[str, ...] = ()
    exclusive: bool = True
    reason: str = ""
    ttl_ms: int = 0


@value
class RenewReservation(Command):
    """Count a lease anew from now. `ttl_ms` None means the length it was granted for."""

    kind: ClassVar[str] = "renew_reservation"
    answer: ClassVar[type] = views.ReservationView
    reservation_id: str
    agent_id: str | None = None
    ttl_ms: int | None = None

    @property
    def acting(self) -> str | None:
        return self.agent_id


@value
class ReleaseReservation(Command):
    """Give a reservation back."""

    kind: ClassVar[str] = "release_reservation"
    answer: ClassVar[type] = views.ReservationView
    reservation_id: str
    agent_id: str | None = None

    @property
    def acting(self) -> str | None:
        return self.agent_id


@value
class CheckPaths(Command):
    """Ask what a reservation of these patterns would meet; `agent_id`'s own are left out."""

    kind: ClassVar[str] = "check_paths"
    answer: ClassVar[type] = views.CheckedView
    changes: ClassVar[bool] = False
    patterns: tuple[str, ...]
    exclusive: bool = True
    agent_id: str | None = None


@value
class ConfigureProject(Command):
    """Change a setting of the project; None keeps it."""

    kind: ClassVar[str] = "configure_project"
    answer: ClassVar[type] = views.ProjectView
    case_sensitive: bool | None = None


@value
class ExpireLeases(Command):
    """Let every lease lapse whose deadline has passed. The sweeper's; nobody else may send it."""

    kind: ClassVar[str] = "expire_leases"
    answer: ClassVar[type] = views.ExpiredView


@value
class ResumeLeases(Command):
    """Settle the leases found in the file when an actor takes it over.

    What lapsed longer than the grace ago ends; whatever is left gets at least the grace from
    now, because its holder could not renew while nobody was there to ask.
    """

    kind: ClassVar[str] = "resume_leases"
    answer: ClassVar[type] = views.ExpiredView
