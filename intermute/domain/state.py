"""The state of one project in memory: what decisions look at. Owned by the project's actor.

It holds what decisions need often (agents, active reservations, settings). What has ended
stays in the file. It is changed by `intermute.domain.transitions.apply` and by nothing else.
"""

import heapq
from collections.abc import Iterable, Iterator
from functools import lru_cache

import attrs

from intermute.domain import limits
from intermute.domain.archive import Archive
from intermute.domain.panes import Windows
from intermute.domain.rates import RateWindows
from intermute.globs import Pattern, PatternIndex, parse

POLICIES = ("open", "auto", "contacts_only", "block_all")
POLICY_DEFAULT = "open"
LIVE_POLICY_DEFAULT = "contacts_only"
FOCUS_STATES = ("at-prompt", "tool-use", "thinking", "unknown")
FOCUS_UNKNOWN = "unknown"


Claim = tuple[str, bool, tuple[str, ...]]

# A command's patterns are read when it is decided and again when its event is applied.
parse_pattern = lru_cache(maxsize=4_096)(parse)


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


@attrs.define
class Reservation:
    """A granted set of patterns.

    Attributes:
        deadline_us: When the lease lapses, on the monotonic clock.
        cursor: The cursor of the event that granted it: its age among all.
        parsed: The patterns, parsed, in the order of `patterns`.
        claim: What it is for, see `claim_of`.
    """

    reservation_id: str
    agent_id: str
    patterns: tuple[str, ...]
    exclusive: bool
    reason: str
    ttl_ms: int
    created_at_us: int
    expires_at_us: int
    deadline_us: int
    cursor: int
    parsed: tuple[Pattern, ...]
    claim: Claim = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.claim = claim_of(self.agent_id, self.parsed, exclusive=self.exclusive)


def wild_len(parsed: Iterable[Pattern]) -> int:
    """Characters of those patterns that are no plain paths."""
    return sum(len(pattern.text) for pattern in parsed if not pattern.is_literal)


def claim_of(agent_id: str, parsed: Iterable[Pattern], *, exclusive: bool) -> Claim:
    """What a reservation is for, whatever the order and the spelling of its patterns."""
    texts = [pattern.normalised for pattern in parsed]
    texts.sort()
    return agent_id, exclusive, tuple(texts)


class Holdings:
    """The active reservations of a project, found by id, by holder, by path and by deadline."""

    def __init__(self, *, case_sensitive: bool = True) -> None:
        self.by_id: dict[str, Reservation] = {}
        self.by_agent: dict[str, dict[str, None]] = {}
        self.patterns_by_agent: dict[str, int] = {}
        self.wild_len_by_agent: dict[str, int] = {}
        self.by_claim: dict[Claim, str] = {}
        # A shared request never meets a shared reservation, so it need not even look at them.
        self._exclusive: PatternIndex[tuple[str, int]] = PatternIndex(case_sensitive=case_sensitive)
        self._shared: PatternIndex[tuple[str, int]] = PatternIndex(case_sensitive=case_sensitive)
        self._deadlines: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self.by_id)

    @property
    def patterns_len(self) -> int:
        return len(self._exclusive) + len(self._shared)

    def add(self, reservation: Reservation) -> None:
        assert reservation.reservation_id not in self.by_id
        assert reservation.claim not in self.by_claim, "nothing is held twice"
        self.by_id[reservation.reservation_id] = reservation
        self.by_claim[reservation.claim] = reservation.reservation_id
        self.by_agent.setdefault(reservation.agent_id, {})[reservation.reservation_id] = None
        count = self.patterns_by_agent.get(reservation.agent_id, 0)
        self.patterns_by_agent[reservation.agent_id] = count + len(reservation.parsed)
        self._count_wild(reservation, 1)
        index = self._exclusive if reservation.exclusive else self._shared
        for ordinal, pattern in enumerate(reservation.parsed):
            index.add((reservation.reservation_id, ordinal), pattern)
        self._push_deadline(reservation)

    def remove(self, reservation_id: str) -> Reservation:
        reservation = self.by_id.pop(reservation_id)
        del self.by_claim[reservation.claim]
        held = self.by_agent[reservation.agent_id]
        del held[reservation_id]
        left = self.patterns_by_agent[reservation.agent_id] - len(reservation.parsed)
        if held:
            self.patterns_by_agent[reservation.agent_id] = left
        else:
            del self.by_agent[reservation.agent_id]
            del self.patterns_by_agent[reservation.agent_id]
        self._count_wild(reservation, -1)
        index = self._exclusive if reservation.exclusive else self._shared
        for ordinal in range(len(reservation.parsed)):
            index.remove((reservation_id, ordinal))
        return reservation

    def extend(self, reservation: Reservation, *, deadline_us: int) -> None:
        reservation.deadline_us = deadline_us
        self._push_deadline(reservation)

    def overlapping(
        self, pattern: Pattern, *, exclusive: bool
    ) -> Iterator[tuple[Reservation, Pattern]]:
        """Each held pattern that a request for `pattern` would conflict with, whoever holds it."""
        indexes = (self._exclusive, self._shared) if exclusive else (self._exclusive,)
        for index in indexes:
            if not len(index):
                continue
            for reservation_id, ordinal in index.overlapping(pattern):
                reservation = self.by_id[reservation_id]
                yield reservation, reservation.parsed[ordinal]

    def next_deadline_us(self) -> int | None:
        """A lower bound of the earliest deadline, None when nothing is held."""
        return self._deadlines[0][0] if self._deadlines else None

    def due(self, mono_us: int) -> list[Reservation]:
        """Every reservation whose deadline has come, earliest first. They stay until removed."""
        found: dict[str, Reservation] = {}
        while self._deadlines and self._deadlines[0][0] <= mono_us:
            deadline_us, reservation_id = heapq.heappop(self._deadlines)
            reservation = self.by_id.get(reservation_id)
            # Entries of ended or renewed leases stay in the heap until they come up.
            if reservation is not None and reservation.deadline_us == deadline_us:
                found[reservation_id] = reservation
        return list(found.values())

    def _count_wild(self, reservation: Reservation, sign: int) -> None:
        length = wild_len(reservation.parsed)
        if length:
            agent_id = reservation.agent_id
            left = self.wild_len_by_agent.get(agent_id, 0) + sign * length
            if left:
                self.wild_len_by_agent[agent_id] = left
            else:
                del self.wild_len_by_agent[agent_id]

    def _push_deadline(self, reservation: Reservation) -> None:
        heapq.heappush(self._deadlines, (reservation.deadline_us, reservation.reservation_id))
        if len(self._deadlines) > 2 * len(self.by_id) + 64:
            self._deadlines = [(r.deadline_us, r.reservation_id) for r in self.by_id.values()]
            heapq.heapify(self._deadlines)


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
        lapsed: Expired leases that their holder may still renew, see `reservations.lapse`.
        broadcasts: How often each agent may broadcast.
        live_default, live_transport: Whether messages may be typed into windows: the server's
            rule, and the project's own where it has one.
        pokes: Of the pokes whose outcome is not known yet, transport and sender, by message id
            and recipient.
        poke_rates: How often each agent may have something typed into each other's windows.
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
    archive: Archive | None = None
    entities_len: int = 0
    agents: dict[str, Agent] = attrs.field(factory=dict)
    sessions: dict[str, str] = attrs.field(factory=dict)
    holdings: Holdings = attrs.field(factory=Holdings)
    lapsed: Holdings = attrs.field(factory=Holdings)
    broadcasts: RateWindows = attrs.field(factory=_broadcast_windows)
    windows: Windows = attrs.field(factory=Windows)
    pokes: dict[tuple[str, str], tuple[str, str]] = attrs.field(factory=dict)
    poke_rates: RateWindows = attrs.field(factory=_poke_windows)
    touched: dict[str, None] = attrs.field(factory=dict)
    touched_agents: dict[str, None] = attrs.field(factory=dict)

    def set_case_rule(self, *, case_sensitive: bool) -> None:
        """Begin to compare paths by this rule. Nothing may be held, because it would not be found.

        Lapsed leases were judged by the other rule and are forgotten.
        """
        assert not len(self.holdings)
        self.case_sensitive = case_sensitive
        self.touched.update(dict.fromkeys(self.lapsed.by_id))
        self.holdings = Holdings(case_sensitive=case_sensitive)
        self.lapsed = Holdings(case_sensitive=case_sensitive)

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
