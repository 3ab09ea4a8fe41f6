"""Events of the agents."""

from typing import ClassVar

from intermute.domain.events.base import EventData


class AgentEvent(EventData):
    """Something happened to an agent."""

    agent_id: str

    @property
    def entity_id(self) -> str:
        return self.agent_id


class PersonalEvent(AgentEvent):
    """Something that concerns nobody but the agent."""

    @property
    def audience(self) -> tuple[str, ...] | None:
        return (self.agent_id,)


class AgentRegistered(AgentEvent):
    type: ClassVar[str] = "agent.registered"
    session_id: str
    name: str
    capabilities: tuple[str, ...]
    metadata: dict[str, str]
    status: str
    policy: str
    live_contact_policy: str


class AgentResumed(AgentEvent):
    """A known session came back to its agent. The fields hold what is true from now on."""

    type: ClassVar[str] = "agent.resumed"
    name: str
    capabilities: tuple[str, ...]
    metadata: dict[str, str]
    status: str


class AgentMetadataMerged(AgentEvent):
    type: ClassVar[str] = "agent.metadata_merged"
    metadata: dict[str, str | None]


class AgentPolicyChanged(PersonalEvent):
    type: ClassVar[str] = "agent.policy_changed"
    policy: str
    live_contact_policy: str


class AgentRetired(AgentEvent):
    type: ClassVar[str] = "agent.retired"


class ContactAdded(PersonalEvent):
    type: ClassVar[str] = "contact.added"
    contact_id: str


class ContactRemoved(PersonalEvent):
    type: ClassVar[str] = "contact.removed"
    contact_id: str
