"""What was asked of a server that may die, what was answered, and whether its files say the same.

The ledger is kept in the test's process, so it outlives every server. Each request says which
events its success makes; after a crash the log must hold those of every request that was answered
with a success, none of a refused one, and those of an unanswered one whole or not at all.
"""

from collections import Counter
from datetime import datetime
from itertools import pairwise

import attrs
import trio

from intermute.domain import events

from ..project.harness import opened


def told_by(event):
    """What the event makes known, as keys that requests foretell."""
    data = event.data
    match data:
        case events.ReservationCreated():
            found = [("taken", data.reason)]
            return [*found, ("taken by", data.ticket_id)] if data.ticket_id else found
        case events.ReservationRenewed(cause="holder"):
            return [("renewed", data.reservation_id, data.ttl_ms)]
        case events.ReservationRenewed(cause="waiter"):
            return [("confirmed", data.reservation_id)]
        case events.ReservationReleased():
            return [("released", data.reservation_id), ("cause", data.cause, data.reason)]
        case events.ReservationQueued():
            return [("queued", data.reason)]
        case events.AgentRegistered():
            return [(data.type, data.name)]
        case events.WindowRegistered():
            return [(data.type, data.window_uuid)]
        case events.MessageUpdated():
            return [(data.type, data.message_id, data.body)]
        case events.MessageRead() | events.MessageAcked():
            return [(data.type, data.message_id, data.agent_id)]
    return [(data.type, data.entity_id)]


@attrs.define(eq=False)
class Attempt:
    """One request, with all that is needed to ask it again.

    Attributes:
        key: Its idempotency key, which no other request has.
        effects: What the log tells when it has succeeded; all of it is one commit.
        status: Of the answer, 0 as long as there is none.
        place: Epoch and seq of the answer, None where it has none.
        lost: In how many lives it was asked without an answer.
        life: In which life it was answered.
    """

    project: str
    method: str
    path: str
    members: dict | None
    key: str
    effects: tuple
    headers: tuple = ()
    status: int = 0
    body: dict = attrs.field(factory=dict)
    place: tuple[int, int] | None = None
    replayed: bool = False
    lost: int = 0
    life: int = 0

    @property
    def done(self):
        return 200 <= self.status < 300

    @property
    def waited(self):
        return "wait_seconds" in (self.members or {})

    @property
    def refused(self):
        return self.status >= 400


@attrs.define
class Ledger:
    """All attempts of all clients, in the order in which they were begun.

    Attributes:
        places: Epoch and seq of every decision, and the life in which it was told, by project.
        seen: When each agent was last seen, as the last heartbeat answered.
    """

    attempts: list[Attempt] = attrs.field(factory=list)
    places: dict[str, list[tuple[tuple[int, int], int]]] = attrs.field(factory=dict)
    seen: dict[str, str] = attrs.field(factory=dict)
    closing: bool = False
    _made: int = 0
    _left: int = 0
    _enough: trio.Event = attrs.field(factory=trio.Event)

    def name(self, word):
        """A word that is used for nothing else, and one word to the search."""
        self._made += 1
        return f"{word}{self._made}x"

    def begin(self, attempt):
        self.attempts.append(attempt)
        return attempt

    def answered(self, attempt, status, body, place, *, life, replayed=False):
        attempt.status, attempt.body, attempt.place = status, body, place
        attempt.life, attempt.replayed = life, replayed
        if place is not None:
            self._place(attempt.project, place, life)
        for result in body.get("results", ()):
            self._place(attempt.project, (result["epoch"], result["seq"]), life)
        self._left -= 1
        if self._left <= 0:
            self._enough.set()

    def _place(self, project, place, life):
        self.places.setdefault(project, []).append((place, life))

    async def so_many_more(self, count):
        """Wait until so many more answers have come."""
        self._left, self._enough = count, trio.Event()
        await self._enough.wait()

    def of(self, project):
        return [attempt for attempt in self.attempts if attempt.project == project]

    # -- Judging

    def judge(self, project, log):
        """The log of a project, read while no server runs, against what was answered."""
        told = Counter(key for event in log for key in told_by(event))
        for attempt in self.of(project):
            counts = [told[effect] for effect in attempt.effects]
            if attempt.waited and attempt.lost:
                # A call on the line that ends without an answer gives back what it was granted.
                assert all(counts) or not attempt.done, ("lost", attempt, counts)
            elif attempt.done:
                assert counts == [1] * len(counts), ("lost, or done twice", attempt, counts)
            elif attempt.refused:
                assert not any(counts), ("refused, and done", attempt)
            else:
                once = [1] * len(counts)
                assert counts in (once, [0] * len(counts)), ("done by half", attempt, counts)
        self._judge_tokens(project, log)

    def _judge_tokens(self, project, log):
        """Every grant's token is its place in the log, so it grows; answers say the same."""
        tokens = {
            event.data.reservation_id: event.cursor
            for event in log
            if isinstance(event.data, events.ReservationCreated)
        }
        granted = []
        for attempt in self.of(project):
            if attempt.done and "fencing_token" in attempt.body:
                found = attempt.body
                assert found["fencing_token"] == tokens[found["id"]], ("another token", attempt)
                # What was waited for may be answered by its confirmation, decided later.
                unsure = attempt.replayed or attempt.lost or attempt.waited
                if attempt.status == 201 and not unsure:
                    granted.append((attempt.place, found["fencing_token"]))
        in_order = [token for _, token in sorted(granted)]
        assert in_order == sorted(set(in_order)), "a token did not grow"

    def judge_places(self):
        """Every decision has a place of its own, and every life the epochs after those before."""
        for project, places in self.places.items():
            each = [place for place, _ in places]
            assert len(each) == len(set(each)), (project, "two decisions in one place")
            epochs = {}
            for (epoch, _), life in places:
                epochs.setdefault(life, set()).add(epoch)
            lives = sorted(epochs)
            for life, later in pairwise(lives):
                assert max(epochs[life]) < min(epochs[later]), (project, life, "the epoch stayed")

    def judge_presence(self, path):
        """Who was told to be alive is known to have been."""
        with opened(path) as connection:
            known = dict(connection.execute("SELECT agent_id, last_seen_us FROM presence"))
        for agent_id, at in self.seen.items():
            if agent_id.split("_")[1] == path.name[:12]:
                at_us = round(datetime.fromisoformat(at).timestamp() * 1_000_000)
                assert known[agent_id] >= at_us, (agent_id, "was seen later than that")


def judge_feed(seen, log):
    """A feed has told the log from its beginning: in order, no gap, nothing twice, nothing else."""
    told = [(event.cursor, event.type, event.data.entity_id) for event in log]
    assert seen == told[: len(seen)], "the feed tells another story than the log"
