"""Where a workload runs in a generator process: its links, its clock, its tallies."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from time import perf_counter
from typing import Any

import attrs

from bench.contention.histogram import Histogram
from bench.contention.jobs import Due, Job
from bench.contention.links import (
    GARBLED,
    NO_ANSWER,
    NOT_CONNECTED,
    Ask,
    HttpLink,
    Link,
    Reply,
    lacking,
)
from bench.contention.loop import Arrivals, Loop, Script, due_times
from bench.contention.recording import Recording, is_unknown
from bench.contention.results import Series
from bench.contention.sockets import TRIO_WEBSOCKET, SocketLink, TrioLink
from bench.contention.trio_loop import TrioLoop

REFUSED = frozenset({409, 429, 503})
# Connections of an open loop, of all processes together: so many are there when it begins, and more
# are opened when all are in use. One that waits for a connection waits for us, and not for the
# target.
OPEN_LINKS_MAX = 1_024
_OPEN_LINKS_FIRST = 64
# A target that has answered nothing for so long is given up, and so is a preparation that lasts.
UNANSWERED_MAX_S = 60.0
PREPARATION_MAX_S = 3_600.0


@attrs.frozen
class Afterwards:
    """What an open loop goes on with when the time of the slice is over.

    Attributes:
        operation: Of its calls, which have a series of their own.
        rate: Calls a second of all processes.
        seconds: For how long.
    """

    operation: str
    rate: float
    seconds: float


class Stage:
    """What the clients of one job share.

    Attributes:
        counts, values, violations: What the workload has found; see `Report`.
        answered: How many calls had the wanted answer.
        chance: The dice of this process: no two of them throw alike.
        start_s, end_s: Between these clients begin new rounds, on `time.perf_counter`.
        waited: How long calls of an open loop waited because all connections were in use.
        due: When the calls of each series of an open loop were due.
        gave_up: Why the target was given up; empty when it was not.
    """

    def __init__(
        self, job: Job, agree: Callable[[], float], recording: Recording | None = None
    ) -> None:
        self.job = job
        self.address = job.place.address
        seed = f"{job.seed}/{job.workload}/{job.variant.label}/{job.turn}/{job.part}"
        self.chance = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.values: dict[str, list[Any]] = {}
        self.violations: list[str] = []
        self.unexpected: Counter[str] = Counter()
        self.answered = 0
        self.series: dict[str, Series] = {}
        self.start_s = self.end_s = 0.0
        self.waited = Histogram()
        self.due: dict[str, Due] = {}
        self.gave_up = ""
        self._is_open = False
        self._replies = 0
        self._answered_s = 0.0
        self._agree = agree
        self._recording = recording
        self._links: list[Any] = []
        # Links and the loop that they are for go together; both loops have the same methods.
        loop: Callable[..., Any] = Loop
        if job.driver == "websocket" and job.websocket == TRIO_WEBSOCKET:
            loop = TrioLoop
        self.loop = loop(self._heard, random.Random(self.chance.random()), asked=self._asked)

    @property
    def own(self) -> range:
        """The numbers of the clients that this process plays, of all of the variant."""
        return range(self.job.part, self.job.variant.clients, self.job.parts)

    @property
    def prepared(self) -> dict[str, Any]:
        """What the preparation left."""
        return self.job.prepared or {}

    def can(self, capability: str) -> bool:
        """Whether the target can do something."""
        return capability in self.job.place.capabilities

    def path(self, text: str) -> str:
        """A path that no other run has used: what one left behind in a project is in no one's way.

        Every path that a workload reserves is one of these.
        """
        return f"{self.job.run_id}/{text}"

    def _link(self, project: str | None = None) -> Link | TrioLink:
        """A connection that is to be opened, which is closed with the stage.

        Args:
            project: That a WebSocket is of; None for the one of the job.
        """
        link: Link | TrioLink = HttpLink(self.address)
        if self.job.driver == "websocket":
            over = TrioLink if self.job.websocket == TRIO_WEBSOCKET else SocketLink
            link = over(self.address, project or self.job.project)
        self._links.append(link)
        return link

    def begin(self) -> None:
        """All is ready: wait until the other processes are as well, and let time run."""
        self.start_s = self._answered_s = self._agree()
        self.end_s = self.start_s + self.job.seconds

    def is_over(self) -> bool:
        """Whether no client should begin another round."""
        return perf_counter() >= self.end_s

    def play(self, scripts: dict[str, Script], projects: Sequence[str | None] = ()) -> None:
        """Run clients, each on a link of its own, from the agreed beginning until all have ended.

        Args:
            projects: Of their links, if not that of the job.
        """
        links = [self._link(project) for project in projects or (None,) * len(scripts)]
        for (name, script), link in zip(scripts.items(), links, strict=True):
            self.loop.start(name, script, link)
        self.loop.run(links, self.begin)

    def play_open(
        self,
        operation: str,
        rate: float,
        make: Callable[[float], Script],
        *,
        links_first: int = _OPEN_LINKS_FIRST,
        patience_s: float | None = None,
        then: Afterwards | None = None,
    ) -> list[float]:
        """Run clients at intended times, so many a second over all processes.

        They share as many connections, of all processes together, as the variant has clients.

        Args:
            operation: The call whose rate is intended, which each of them makes once.
            make: A client, given the time that its first call counts from.
            links_first: So many connections are opened before the time runs.
            patience_s: A client that finds no free connection for so long gives up; None: never.

        Returns:
            The intended times of those that gave up.
        """
        job = self.job
        own = max(1, job.variant.clients // job.parts)
        links = [self._link() for _ in range(min(own, max(1, links_first // job.parts)))]
        free, more = [*links], self._opened(links, own - len(links))
        arrivals = Arrivals[Any](
            f"{job.part}-{job.turn}", iter(()), make, free, more, patience_s=patience_s
        )

        def begin() -> None:
            self.begin()
            arrivals.due_s = self._due(operation, self.start_s, rate, job.seconds)
            if then is not None:
                after = self._due(then.operation, self.end_s, then.rate, then.seconds)
                arrivals.due_s = chain(arrivals.due_s, after)
            self.loop.arrive(arrivals)

        self._is_open = True
        self.loop.run(links, begin)
        self.waited.merge(arrivals.waited)
        return arrivals.given_up

    def _opened(self, links: list[Any], most: int) -> Iterator[Any]:
        """So many more links, each added to those that there are when it is asked for."""
        for _ in range(most):
            links.append(self._link())
            yield links[-1]

    def _due(self, operation: str, start_s: float, rate: float, seconds: float) -> Iterator[float]:
        """The intended times of a call, which its series is told of."""
        job = self.job
        series = self.tally(operation)
        series.intended_rate = rate / job.parts
        self.due[series.name] = Due(start_s, start_s + seconds)
        return due_times(start_s, rate, seconds, part=job.part, parts=job.parts)

    def tally(self, name: str) -> Series:
        """The series of an operation in this variant."""
        label = self.job.variant.label
        return self.series.setdefault(name, Series(f"{label}: {name}" if label else name))

    def since_began(self, at_s: float) -> float:
        """Seconds since the workload began."""
        return at_s - self.job.began_s

    def done(self, name: str, started_s: float, ended_s: float) -> None:
        """Something that took more than one call came to its wanted end."""
        series = self.tally(name)
        series.record_ok((ended_s - started_s) * 1e6, self.since_began(ended_s))
        self._note_due(series, ended_s, ok=True)

    def add(self, name: str, value: Any) -> None:
        """Keep something for the judge."""
        self.values.setdefault(name, []).append(value)

    def close(self) -> None:
        """Hang up everything."""
        for link in self._links:
            link.close()
        self.loop.close()

    def _asked(self, client: str, ask: Ask) -> None:
        if self._recording is not None:
            self._recording.asked(client, ask)

    def _heard(self, client: str, ask: Ask, reply: Reply) -> None:
        _look_through(ask, reply)
        if self._recording is not None:
            self._recording.heard(client, ask, reply)
        self._watch(reply)
        self.count(ask, reply)

    def _watch(self, reply: Reply) -> None:
        """Give a target up that answers nothing any more, or not fast enough to be prepared."""
        now_s = reply.answered_s
        if reply.status not in (NO_ANSWER, NOT_CONNECTED):
            self._answered_s = now_s
            self._replies += 1
        elif now_s - self._answered_s > UNANSWERED_MAX_S:
            self._give_up(f"it has answered nothing for {UNANSWERED_MAX_S:g} s")
        if self.job.prepared is None and now_s - self.start_s > PREPARATION_MAX_S:
            self._give_up(
                f"it could not be prepared within {PREPARATION_MAX_S:g} s, in which it "
                f"answered {self._replies:,} calls"
            )

    def _give_up(self, why: str) -> None:
        self.gave_up = why
        self.loop.stop()

    def count(self, ask: Ask, reply: Reply) -> None:
        """Count a call by what came of it; what lacks something is marked as garbled."""
        _look_through(ask, reply)
        self.answered += reply.status == ask.wanted
        if reply.status != ask.wanted and reply.status not in REFUSED:
            self.unexpected[f"{ask.method} {ask.path.split('?')[0]} {_told(ask, reply)}"] += 1
        if ask.operation:
            series = self.tally(ask.operation)
            self._count(series, ask, reply)
            self._note_due(series, reply.answered_s, ok=reply.status == ask.wanted)

    def _note_due(self, series: Series, answered_s: float, *, ok: bool) -> None:
        """Of an open loop: whether an answer was in time, and when the last one came.

        A call that follows another belongs to the time of the slice, as the first one does.
        """
        if not self._is_open:
            return
        due = self.due.setdefault(series.name, Due(self.start_s, self.end_s))
        if ok and answered_s <= due.until_s:
            due.in_time += 1
        elif ok:
            due.after.record((answered_s - due.until_s) * 1e6)
        due.last_s = max(due.last_s, answered_s)

    def _count(self, series: Series, ask: Ask, reply: Reply) -> None:
        since_s = reply.asked_s if ask.due_s is None else ask.due_s
        latency_us = (reply.answered_s - since_s) * 1e6
        at_s = self.since_began(reply.answered_s)
        if reply.status == ask.wanted:
            series.record_ok(latency_us, at_s)
        elif reply.status in (NOT_CONNECTED, GARBLED):
            series.record_failed(at_s)
        elif is_unknown(reply):
            series.record_unknown(at_s)
        elif reply.status in REFUSED:
            series.record_refused(reply.status, latency_us, at_s)
            if reply.status == 503:
                self.counts["503"] += 1
                self.counts["503 without Retry-After"] += reply.header("retry-after") is None
        else:
            series.record_failed(at_s)


def _look_through(ask: Ask, reply: Reply) -> None:
    """Take what looks like the wanted answer and lacks what one has for what it is."""
    if reply.status == ask.wanted and lacking(ask, reply):
        reply.status = GARBLED


def _told(ask: Ask, reply: Reply) -> str:
    if reply.status == GARBLED:
        return f"answered {ask.wanted} without a proper `{'` and `'.join(lacking(ask, reply))}`"
    if reply.status <= 0:
        return "had no answer" if reply.status == 0 else "found nobody"
    return f"answered {reply.status} {reply.body[:120].decode(errors='replace')}"
