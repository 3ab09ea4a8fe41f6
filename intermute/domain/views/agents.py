"""What is shown of agents."""

from intermute.domain.values import Value


class AgentView(Value):
    """One agent, as others may see it. `focus_at_us` is when it last said its focus."""

    agent_id: str
    session_id: str
    name: str
    project: str
    capabilities: tuple[str, ...]
    metadata: dict[str, str]
    status: str
    policy: str
    live_contact_policy: str
    created_at_us: int
    last_seen_us: int
    focus_state: str
    retired_at_us: int | None = None
    focus_at_us: int | None = None


class RegisteredView(Value):
    """The answer to a registration; the token is the edge's to add, since only it knows it."""

    agent_id: str
    session_id: str
    name: str
    resumed: bool


class HeartbeatView(Value):
    agent_id: str
    last_seen_us: int


class PolicyView(Value):
    agent_id: str
    policy: str
    live_contact_policy: str


class ContactsView(Value):
    agent_id: str
    contacts: tuple[str, ...]


class RetiredView(Value):
    agent_id: str
    retired_at_us: int
    released: tuple[str, ...]
