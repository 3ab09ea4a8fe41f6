"""Who watches a simulated town and says what is wrong.

It knows what the clients have asked, were answered and were told, and reads the log as it becomes
durable. It knows nothing of how the server comes to its decisions: which patterns meet and which
modes get on stands in `tests/properties`, written out.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from intermute.domain import events
from intermute.domain.events import Event
from intermute.domain.modes import Mode

from ..properties.oracle import Claim, Oracle
from .virtual import WALL_S

LATE_LOOKS_MAX = 3


class Broken(AssertionError):
    """A promise was broken."""


@attrs.define
class Deed:
    """Something that an agent wants done once, however often it has to ask.

    Attributes:
        kind: `reserve`, `queue`, `wait` or `message`.
        mark: A text of its own that whatever is done carries.
        to: Who a message is for.
        once: It has an idempotency key, or the sender's own id.
        ids: What it was answered to have made.
    """

    kind: str
    project: str
    agent_id: str
    mark: str
    to: tuple[str, ...] = ()
    once: bool = True
    ids: set[str] = attrs.field(factory=set)


@attrs.define
class Belief:
    """That an agent holds something, until it lets go or its lease may be over.

    Attributes:
        until_s: When its lease may be over at the earliest.
        place: Where the grant stands in the order of its project.
    """

    claim: Claim
    project: str
    until_s: float
    place: tuple[int, int]
    gone: bool = False


class Book:
    """What is known of a project's log."""

    def __init__(self) -> None:
        self.log: list[Event] = []
        self.oracle = Oracle()
        self._wait_until_us: dict[str, int] = {}
        self._late: Counter[str] = Counter()

    def read(self, found: Iterable[Event], *, timely: bool) -> None:
        """Hear what has happened since. `timely`: nobody has set the wall clock."""
        moved = False
        for event in found:
            self.log.append(event)
            self.oracle.hear(event)
            if isinstance(event.data, events.ReservationQueued):
                self._wait_until_us[event.data.ticket_id] = event.data.wait_until_us
            moved = True
        self.oracle.assert_settled()
        if moved and timely:
            self._assert_nobody_waits_too_long()

    def _assert_nobody_waits_too_long(self) -> None:
        """Whose time is over leaves the line, and no more than a start of an actor comes first."""
        now_us = self.log[-1].at_us
        late = {key for key in self.oracle.line if self._wait_until_us[key] < now_us}
        self._late = Counter({key: self._late[key] + 1 for key in late})
        for ticket_id, looks in self._late.items():
            if looks > LATE_LOOKS_MAX:
                raise Broken(f"{ticket_id} waits on though its time is over")


class Judge:
    """Watches one town.

    Attributes:
        deeds: All that was wanted, by its mark.
        counts: How often what happened.
    """

    def __init__(self, projects: Iterable[str], now_s: Callable[[], float]) -> None:
        self.projects = tuple(projects)
        self.deeds: dict[str, Deed] = {}
        self.counts: Counter[str] = Counter()
        self.books = {project: Book() for project in self.projects}
        self.acknowledged: list[tuple[str, str, str]] = []
        # How often the wall clock was set.
        self.jumps = 0
        self._now_s = now_s
        self._hash = hashlib.blake2b()
        self.lines: list[str] | None = None
        self._newest: dict[str, tuple[int, int]] = {}
        self._places: set[tuple[str, int, int]] = set()
        self._beliefs: dict[tuple[str, str], Belief] = {}
        self._ended: set[str] = set()
        # When what was given back in its holder's name was given back.
        self._given_back_s: dict[str, float] = {}
        self._foreign = {
            project: tuple(other.encode() for other in self.projects if other != project)
            for project in self.projects
        }

    # What happens

    def note(self, who: str, what: str, *more: Any) -> None:
        """Keep a trace of it, by which two runs can be told apart."""
        line = f"{self._now_s():.9f} {who} {what} {more}"
        self._hash.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    def count(self, what: str) -> None:
        self.counts[what] += 1

    def trace(self) -> str:
        return self._hash.hexdigest()

    def hold_to(self, so: bool, what: str) -> None:
        if not so:
            raise Broken(f"at {self._now_s():.3f} s: {what}")

    # Answers

    def saw(self, who: str, project: str, content: bytes) -> None:
        """Nothing of another project is ever seen."""
        for canary in self._foreign[project]:
            self.hold_to(canary not in content, f"{who} of {project} sees {content!r}")

    def newest(self, project: str) -> tuple[int, int]:
        """The place of the newest decision of which anybody has heard."""
        return self._newest.get(project, (0, 0))

    def order(self, project: str, newest: tuple[int, int], place: tuple[int, int] | None) -> None:
        """A decision comes after all those that had been answered before it was asked for."""
        if place is None:
            return
        self.hold_to(place > newest, f"{project}: {place} was asked for after {newest}")
        self.hold_to((project, *place) not in self._places, f"{project}: two are at {place}")
        self._places.add((project, *place))
        self._newest[project] = max(self.newest(project), place)

    def done(self, deed: Deed, made: str) -> None:
        """It was answered to be done."""
        deed.ids.add(made)
        same = not deed.once or deed.kind == "wait" or len(deed.ids) == 1
        self.hold_to(same, f"asked once, and done as {deed.ids}: {deed}")

    def acknowledge(self, project: str, kind: str, entity_id: str) -> None:
        """It was answered that an event of this kind has happened to something."""
        self.acknowledged.append((project, kind, entity_id))

    # Who believes to hold what

    def believe(
        self, project: str, body: dict[str, Any], *, until_s: float, place: tuple[int, int]
    ) -> None:
        """An agent was told that it holds something."""
        claim = Claim(
            body["id"],
            body["agent_id"],
            tuple(body["patterns"]),
            Mode(body["mode"]),
            body["fencing_token"],
        )
        if until_s <= self._now_s() or claim.key in self._ended:
            return
        new = Belief(claim, project, until_s, place)
        self._assert_kept(new)
        for old in self._beliefs.values():
            if old.project == project and old.claim.stops(claim):
                self._judge_pair(old, new)
        self._beliefs[project, claim.key] = new

    def _judge_pair(self, old: Belief, new: Belief) -> None:
        """Two agents, of which one believes that it holds what the other was granted now."""
        holds = not old.gone and old.until_s > self._now_s()
        # A new actor judges leases by the wall clock, and somebody may have set that.
        unsure = self.jumps > 0 and old.place[0] != new.place[0]
        self.hold_to(not holds or unsure, f"two hold what only one may: {old} and {new}")
        grows = old.claim.cursor < new.claim.cursor
        self.hold_to(grows, f"a later grant has a lesser token: {old} and {new}")

    def look_at_ends(self, project: str, found: Iterable[Event]) -> None:
        """What an agent was told that it holds is given back only when it lets go."""
        for event in found:
            data = event.data
            if isinstance(data, events.ReservationReleased) and data.cause == "holder":
                self._given_back_s[data.reservation_id] = event.at_us / 1e6 - WALL_S
                belief = self._beliefs.get((project, data.reservation_id))
                if belief is not None:
                    self._assert_kept(belief)

    def _assert_kept(self, belief: Belief) -> None:
        lost_s = self._given_back_s.get(belief.claim.key)
        kept = lost_s is None or belief.gone or lost_s >= belief.until_s or self.jumps > 0
        self.hold_to(kept, f"given back at {lost_s} s without its holder's knowledge: {belief}")

    def let_go(self, reservation_id: str) -> None:
        """From now on nobody may count on it."""
        self._ended.add(reservation_id)
        for belief in self._beliefs.values():
            if belief.claim.key == reservation_id:
                belief.gone = True

    def unsettle(self, reservation_id: str) -> None:
        """Some of it is being given away, so what is left is only known from the next answer."""
        for belief in self._beliefs.values():
            if belief.claim.key == reservation_id:
                belief.gone = True

    def narrow(self, reservation_id: str, patterns: tuple[str, ...]) -> None:
        """It is for these only; of how long it lasts this says nothing."""
        for belief in self._beliefs.values():
            if belief.claim.key == reservation_id:
                belief.claim = attrs.evolve(belief.claim, patterns=patterns)

    def let_all_go(self, agent_id: str) -> None:
        for belief in list(self._beliefs.values()):
            if belief.claim.agent_id == agent_id:
                self.let_go(belief.claim.key)

    def in_the_way(self, project: str, wanted: Claim) -> list[str]:
        """What others are known to hold that conflicts with a claim."""
        return [
            belief.claim.key
            for belief in self._beliefs.values()
            if belief.project == project and not belief.gone and belief.until_s > self._now_s()
            if belief.claim.stops(wanted)
        ]

    def superseder(self, project: str, token: int) -> int | None:
        """The token of a conflicting later grant that somebody was told of, if there is one."""
        known = [b.claim for b in self._beliefs.values() if b.project == project]
        own = next((claim for claim in known if claim.cursor == token), None)
        if own is None:
            return None
        later = [claim.cursor for claim in known if claim.cursor > token and claim.stops(own)]
        return min(later, default=None)

    # In the end

    def look_at_the_log(self, project: str, log: list[Event]) -> None:
        """All that was acknowledged is there, nothing was done twice, and nothing has changed."""
        heard = self.books[project].log
        self.hold_to(log == heard, f"{project}: the log is another one than it was")
        made = Counter(mark for event in log if (mark := _mark(event)))
        happened = Counter((event.type, _what(event)) for event in log)
        for deed in self.deeds.values():
            if deed.project == project and deed.once and deed.kind != "wait":
                self.hold_to(made[deed.mark] <= 1, f"asked once, and done twice: {deed}")
        expected = Counter(tuple(what) for where, *what in self.acknowledged if where == project)
        for what, times in expected.items():
            # Each renewal is an event of its own; of the rest there is one, however often asked.
            least = times if what[0] == "reservation.renewed" else 1
            self.hold_to(happened[what] >= least, f"{project}: acknowledged and lost: {what}")

    def look_at_a_feed(
        self, project: str, agent_id: str | None, told: list[Any], start: int
    ) -> None:
        """Everything that it should have had, in order, each once, and nothing else."""
        expected = [
            (event.cursor, event.type, event.data.entity_id)
            for event in self.books[project].log
            if event.cursor > start and (agent_id is None or _concerns(event, agent_id))
        ]
        had = [(frame["cursor"], frame["type"], frame["entity_id"]) for frame in told]
        if had != expected:
            known, due = set(had), set(expected)
            raise Broken(
                f"the feed of {agent_id or project} after {start}: without {sorted(due - known)}, "
                f"beyond {sorted(known - due)}, {len(had)} instead of {len(expected)}"
            )

    def look_at_an_inbox(self, project: str, agent_id: str, found: list[dict[str, Any]]) -> None:
        """What was sent to it once, what may have been sent at most once, and nothing else."""
        cursors = [message["cursor"] for message in found]
        self.hold_to(cursors == sorted(set(cursors)), f"{agent_id}: an inbox out of order")
        had = Counter(message["subject"] for message in found)
        for mark in had:
            deed = self.deeds[mark]
            meant = deed.project == project and agent_id in deed.to
            self.hold_to(meant, f"{agent_id} has what was not for it: {deed}")
            self.hold_to(had[mark] == 1 or not deed.once, f"{agent_id} has it twice: {deed}")
        for deed in self.deeds.values():
            if deed.project == project and agent_id in deed.to and deed.ids:
                self.hold_to(had[deed.mark] > 0, f"{agent_id} never had {deed}")


def _mark(event: Event) -> str:
    data = event.data
    if isinstance(data, events.ReservationCreated):
        return data.reason
    return data.subject if isinstance(data, events.MessageCreated) else ""


def _what(event: Event) -> str:
    """What an event has happened to; of a mark, together with who made it."""
    data = event.data
    marked = isinstance(data, events.MessageMarked)
    return f"{data.entity_id} {data.agent_id}" if marked else data.entity_id


def _concerns(event: Event, agent_id: str) -> bool:
    data = event.data
    if isinstance(data, events.MessageCreated):
        return agent_id in (*data.to, *data.cc, *data.bcc)
    return True
