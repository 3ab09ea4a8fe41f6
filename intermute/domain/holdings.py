"""Claims to paths: what is held, what waits, what has lapsed, and how each is found."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Generic, TypeVar

import attrs

from intermute.domain import limits
from intermute.domain.modes import CONFLICTING, Mode
from intermute.globs import Pattern, PatternIndex, Work, parse

Terms = tuple[str, Mode, tuple[str, ...]]

# A command's patterns are read when it is decided and again when its event is applied.
parse_pattern = lru_cache(maxsize=4_096)(parse)


def parse_patterns(patterns: Iterable[str], *, case_sensitive: bool) -> tuple[Pattern, ...]:
    """Patterns that were read before, and so are known to be good."""
    return tuple([parse_pattern(text, case_sensitive=case_sensitive) for text in patterns])


@attrs.define
class Claim:
    """A set of patterns that an agent holds or waits for.

    Attributes:
        key: The id of the reservation or ticket.
        ttl_ms: The length of the lease, granted or wanted.
        deadline_us: When the lease, or the wait, is over, on the monotonic clock.
        cursor: The cursor of the event that made it: its age among all, and of a reservation its
            fencing token.
        parsed: The patterns, parsed, in the order of `patterns`.
        terms: What it is for, see `terms_of`.
        wild_len: See `wild_len`.
        calls: The open calls that it is kept for, see `calls`. A reservation with none is kept for
            good, and so is a ticket that is not held open.
    """

    key: str
    agent_id: str
    patterns: tuple[str, ...]
    mode: Mode
    reason: str
    ttl_ms: int
    renew_on_heartbeat: bool
    created_at_us: int
    deadline_us: int
    cursor: int
    parsed: tuple[Pattern, ...]
    terms: Terms = attrs.field(init=False)
    wild_len: int = attrs.field(init=False)
    calls: frozenset[int] = attrs.field(default=frozenset(), kw_only=True)

    def __attrs_post_init__(self) -> None:
        self.terms = terms_of(self.agent_id, self.parsed, self.mode)
        self.wild_len = wild_len(self.parsed)

    def narrow(self, patterns: tuple[str, ...], parsed: tuple[Pattern, ...]) -> None:
        """Leave it these patterns only. It must not be filed in the meantime."""
        self.patterns = patterns
        self.parsed = parsed
        self.__attrs_post_init__()


@attrs.define(kw_only=True)
class Reservation(Claim):
    """A granted set of patterns.

    Attributes:
        expires_at_us: When the lease lapses, by the wall clock, as it is shown.
        ticket_id: The ticket it was granted to, as long as its waiter has not taken it up.
        expired_at_us: When it was found to have lapsed, None while it is granted.
    """

    expires_at_us: int
    ticket_id: str | None = None
    expired_at_us: int | None = None


@attrs.define(kw_only=True)
class Ticket(Claim):
    """A set of patterns that somebody waits for.

    Attributes:
        held_open: Somebody is on the line: the ticket ends when the call does.
        wait_until_us: When the wait is over, by the wall clock, as it is shown.
    """

    held_open: bool
    wait_until_us: int


def wild_len(parsed: Iterable[Pattern]) -> int:
    """Characters of those patterns that are no plain paths."""
    return sum([len(pattern.text) for pattern in parsed if pattern.path is None])


def terms_of(agent_id: str, parsed: Iterable[Pattern], mode: Mode) -> Terms:
    """Whose a claim is and what for, whatever the order and the spelling of its patterns."""
    texts = [pattern.normalised for pattern in parsed]
    texts.sort()
    return agent_id, mode, tuple(texts)


T = TypeVar("T", bound=Claim)


class Holdings(Generic[T]):
    """Claims of one standing, found by id, by agent, by path and by deadline."""

    def __init__(self, *, case_sensitive: bool = True, warns: bool = False) -> None:
        self.by_id: dict[str, T] = {}
        self.by_agent: dict[str, dict[str, None]] = {}
        self.patterns_by_agent: dict[str, int] = {}
        self.wild_len_by_agent: dict[str, int] = {}
        self.by_terms: dict[Terms, str] = {}
        # One for each mode in use, because a request need not look at modes that it never meets.
        self._indexes: dict[Mode, PatternIndex[tuple[str, int]]] = {}
        self._case_sensitive = case_sensitive
        self.patterns_len = 0
        self._warns = warns
        self._deadlines: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self.by_id)

    def add(self, claim: T) -> None:
        assert claim.key not in self.by_id
        self.by_id[claim.key] = claim
        self.by_agent.setdefault(claim.agent_id, {})[claim.key] = None
        self._file(claim)
        self._push_deadline(claim)

    def remove(self, key: str) -> T:
        claim = self.by_id.pop(key)
        held = self.by_agent[claim.agent_id]
        del held[key]
        if not held:
            del self.by_agent[claim.agent_id]
        self._unfile(claim)
        return claim

    def extend(self, claim: T, *, deadline_us: int) -> None:
        claim.deadline_us = deadline_us
        self._push_deadline(claim)

    def narrow(self, claim: T, patterns: tuple[str, ...], parsed: tuple[Pattern, ...]) -> None:
        """Leave the claim these patterns only."""
        self._unfile(claim)
        claim.narrow(patterns, parsed)
        self._file(claim)

    def _file(self, claim: T) -> None:
        """Have the claim found by its patterns, and count them."""
        assert claim.terms not in self.by_terms, "nothing is held twice"
        self.by_terms[claim.terms] = claim.key
        count = self.patterns_by_agent.get(claim.agent_id, 0)
        self.patterns_by_agent[claim.agent_id] = count + len(claim.parsed)
        self.patterns_len += len(claim.parsed)
        if claim.wild_len:
            self._count_wild(claim.agent_id, claim.wild_len)
        index = self._indexes.get(claim.mode)
        if index is None:
            index = PatternIndex(case_sensitive=self._case_sensitive)
            self._indexes[claim.mode] = index
        for ordinal, pattern in enumerate(claim.parsed):
            index.add((claim.key, ordinal), pattern)

    def _unfile(self, claim: T) -> None:
        del self.by_terms[claim.terms]
        self.patterns_len -= len(claim.parsed)
        left = self.patterns_by_agent[claim.agent_id] - len(claim.parsed)
        if left:
            self.patterns_by_agent[claim.agent_id] = left
        else:
            del self.patterns_by_agent[claim.agent_id]
        if claim.wild_len:
            self._count_wild(claim.agent_id, -claim.wild_len)
        index = self._indexes[claim.mode]
        for ordinal in range(len(claim.parsed)):
            index.remove((claim.key, ordinal))

    def meeting(
        self, patterns: Sequence[Pattern], mode: Mode, work: Work | None = None
    ) -> Iterator[tuple[T, Pattern, int]]:
        """Each pattern here that a claim to these would conflict with, whosever it is, with the
        place of one that it meets; see `PatternIndex.meeting`.

        Raises:
            TooMuchWork: From the iterator, when there was not enough left of the work.
        """
        for other in CONFLICTING[mode]:
            index = self._indexes.get(other)
            if index is None or not len(index):
                continue
            for place, (key, ordinal) in index.meeting(patterns, work):
                claim = self.by_id[key]
                yield claim, claim.parsed[ordinal], place

    def of(self, agent_id: str) -> list[T]:
        """What the agent has, oldest first. What came back stands behind in the dictionaries."""
        claims = [self.by_id[key] for key in self.by_agent.get(agent_id, ())]
        claims.sort(key=lambda claim: claim.cursor)
        return claims

    def next_deadline_us(self) -> int | None:
        """A lower bound of the earliest deadline, None when nothing is held."""
        return self._deadlines[0][0] if self._deadlines else None

    def due(self, mono_us: int) -> list[T]:
        """Every claim whose deadline, or the time to warn of it, has come, earliest first.

        They stay until removed. One that is only to be warned of is told by its deadline.
        """
        found: dict[str, T] = {}
        while self._deadlines and self._deadlines[0][0] <= mono_us:
            due_us, key = heapq.heappop(self._deadlines)
            claim = self.by_id.get(key)
            # Entries of ended or renewed leases stay in the heap until they come up.
            if claim is not None and self._is_due_at(claim, due_us):
                found[key] = claim
                if claim.deadline_us > mono_us:
                    heapq.heappush(self._deadlines, (claim.deadline_us, key))
        return list(found.values())

    def _count_wild(self, agent_id: str, more: int) -> None:
        left = self.wild_len_by_agent.get(agent_id, 0) + more
        if left:
            self.wild_len_by_agent[agent_id] = left
        else:
            del self.wild_len_by_agent[agent_id]

    def forget_warnings(self, warned_us: int) -> None:
        """Do not warn again of what was due by then."""
        self._deadlines = []
        for claim in self.by_id.values():
            due_us = self._first_due_us(claim)
            due_us = due_us if due_us > warned_us else claim.deadline_us
            self._deadlines.append((due_us, claim.key))
        heapq.heapify(self._deadlines)

    def _push_deadline(self, claim: T) -> None:
        heapq.heappush(self._deadlines, (self._first_due_us(claim), claim.key))
        if len(self._deadlines) > 4 * len(self.by_id) + 64:
            self._drop_stale()

    def _drop_stale(self) -> None:
        """Drop the entries of leases that have ended or are renewed."""
        live = {
            (due_us, key)
            for due_us, key in self._deadlines
            if (claim := self.by_id.get(key)) is not None and self._is_due_at(claim, due_us)
        }
        self._deadlines = list(live)
        heapq.heapify(self._deadlines)

    def _is_due_at(self, claim: Claim, due_us: int) -> bool:
        return due_us in (claim.deadline_us, self._first_due_us(claim))

    def _first_due_us(self, claim: Claim) -> int:
        """When the claim comes up first: to be warned of, or at its deadline."""
        if not self._warns:
            return claim.deadline_us
        return claim.deadline_us - min(limits.WARNING_MS, claim.ttl_ms // 4) * 1000
