"""The state of one project in memory: what decisions look at. Owned by the project's actor.

It holds what decisions need often (agents, active reservations, settings). What has ended
stays in the file. It is changed by `intermute.domain.transitions.apply` and by nothing else.
"""

import attrs

from intermute.domain import limits
from intermute.domain.archive import Archive
from intermute.domain.holdings import Claim, Holdings, Reservation, Ticket
from intermute.domain.panes import Windows
from intermute.domain.rates import RateWindows
from intermute.domain.work import Allowance

POLICIES = ("open", "auto", "contacts_only", "block_all")
POLICY_DEFAULT = "open"
LIVE_POLICY_DEFAULT = "contacts_only"
FOCUS_STATES = ("at-prompt", "tool-use", "thinking", "unknown")
FOCUS_UNKNOWN = "unknown"


@attrs.define
class Agent:
    """A registered agent. `last_seen_mono_us` is what liveness is judged by.

    `focus_at_us` is when it last said its focus, and `focus_mono_us` the same by the clock of this
    process, None for not since it runs.
    """

    agent_id: str
    session_id: str
    name: str
    capabilities: tuple[str, ...]
    metadata: dict[str, str]
    status: str
    policy: str
    live_contact_policy: str
    created_at_us: int
    last_seen_us: int
    last_seen_mono_us: int
    focus_state: str = FOCUS_UNKNOWN
    focus_at_us: int | None = None
    focus_mono_us: int | None = None
    token_hash: bytes = b""
    token_bound: bool = False
    contacts: dict[str, None] = attrs.field(factory=dict)


def _broadcast_windows() -> RateWindows:
    return RateWindows(
        most=limits.BROADCASTS_PER_WINDOW_MAX, window_us=limits.RATE_WINDOW_MS * 1000
    )


def _poke_windows() -> RateWindows:
    return RateWindows(most=limits.POKES_PER_PAIR_MAX, window_us=limits.RATE_WINDOW_MS * 1000)


@attrs.define
class State:
    """All that the decisions of one project look at.

    Attributes:
        tag: The project's tag, part of every id made here.
        cursor: Cursor of the last event.
        at_us: Wall clock of the last stamp; never goes backwards.
        mono_us: Monotonic clock of the last stamp; never goes backwards.
        sessions: Canonical session UUID to agent id.
        line: Those who wait, see `waiting`; their age is their place.
        freed: What has left the holdings or the line since somebody last looked who may go on.
        unlooked: Tickets, by key, that have to be looked at yet, see `waiting.admissions`.
        lapsed: Expired leases that their holder may still renew, see `leases.lapse`.
        broadcasts: How often each agent may broadcast.
        live_default, live_transport: Whether messages may be typed into windows: the server's
            rule, and the project's own where it has one.
        pokes: Of the pokes whose outcome is not known yet, transport and sender, by message id
            and recipient.
        poke_rates: How often each agent may have something typed into each other's windows.
        allowance: What the commands of the request that is decided may spend.
        archive: The rows that are not in memory; a project without a file has none.
        entities_len: How many entities the project has, of all kinds together.
        touched, touched_agents: Ids of what changed since the last commit, see `continuity`.
    """

    tag: str
    project: str
    patterns_per_agent_max: int = limits.PATTERNS_PER_AGENT_DEFAULT
    tokens_required: bool = False
    cursor: int = 0
    at_us: int = 0
    mono_us: int = 0
    case_sensitive: bool = True
    live_default: bool = False
    live_transport: bool | None = None
    allowance: Allowance = attrs.field(factory=Allowance)
    archive: Archive | None = None
    entities_len: int = 0
    agents: dict[str, Agent] = attrs.field(factory=dict)
    sessions: dict[str, str] = attrs.field(factory=dict)
    holdings: Holdings[Reservation] = attrs.field(factory=lambda: Holdings(warns=True))
    lapsed: Holdings[Reservation] = attrs.field(factory=Holdings)
    line: Holdings[Ticket] = attrs.field(factory=Holdings)
    freed: list[Claim] = attrs.field(factory=list)
    unlooked: dict[str, None] = attrs.field(factory=dict)
    broadcasts: RateWindows = attrs.field(factory=_broadcast_windows)
    windows: Windows = attrs.field(factory=Windows)
    pokes: dict[tuple[str, str], tuple[str, str]] = attrs.field(factory=dict)
    poke_rates: RateWindows = attrs.field(factory=_poke_windows)
    touched: dict[str, None] = attrs.field(factory=dict)
    touched_agents: dict[str, None] = attrs.field(factory=dict)

    def set_case_rule(self, *, case_sensitive: bool) -> None:
        """Begin to compare paths by this rule. Nothing may be held or waited for, because it would
        not be found.

        Lapsed leases were judged by the other rule and are forgotten.
        """
        assert not len(self.holdings)
        assert not len(self.line)
        self.case_sensitive = case_sensitive
        self.touched.update(dict.fromkeys(self.lapsed.by_id))
        self.holdings = Holdings(case_sensitive=case_sensitive, warns=True)
        self.lapsed = Holdings(case_sensitive=case_sensitive)
        self.line = Holdings(case_sensitive=case_sensitive)

    def name_of(self, agent_id: str) -> str:
        """What people call the agent: its name, or its id when it is not registered."""
        agent = self.agents.get(agent_id)
        return agent_id if agent is None else agent.name

    def is_live(self, agent: Agent) -> bool:
        """Whether the agent showed itself within the heartbeat grace."""
        return self.mono_us - agent.last_seen_mono_us < limits.HEARTBEAT_GRACE_MS * 1000

    def focus_of(self, agent: Agent) -> str:
        """What the agent's attention is on; unknown when it has not said so lately."""
        said_us = agent.focus_mono_us
        if said_us is None or self.mono_us - said_us >= limits.FOCUS_FRESH_MS * 1000:
            return FOCUS_UNKNOWN
        return agent.focus_state

    @property
    def is_live_on(self) -> bool:
        """Whether messages may be typed into windows."""
        return self.live_default if self.live_transport is None else self.live_transport

    @property
    def rows(self) -> Archive:
        """The archive, for commands that change something: those have a file."""
        assert self.archive is not None, "a project that is written to has rows"
        return self.archive
