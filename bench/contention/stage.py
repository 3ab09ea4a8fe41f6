"""Where a workload runs in a generator process: its links, its clock, its tallies."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain
from time import perf_counter
from typing import Any

from bench.contention.jobs import Job
from bench.contention.links import NOT_CONNECTED, Ask, HttpLink, Link, Reply
from bench.contention.loop import Arrivals, Loop, Script, due_times
from bench.contention.recording import Recording, is_unknown
from bench.contention.results import Series
from bench.contention.sockets import TRIO_WEBSOCKET, SocketLink, TrioLink
from bench.contention.trio_loop import TrioLoop

REFUSED = frozenset({409, 429, 503})
_OPEN_LOOP_LINKS = 64


class Stage:
    """What the clients of one job share.

    Attributes:
        counts, values, violations: What the workload has found; see `Report`.
        start_s, end_s: Between these clients begin new rounds, on `time.perf_counter`.
    """

    def __init__(
        self, job: Job, agree: Callable[[], float], recording: Recording | None = None
    ) -> None:
        self.job = job
        self.address = job.place.address
        self.chance = random.Random(f"{job.seed}/{job.workload}/{job.variant.label}/{job.turn}")
        self.counts: Counter[str] = Counter()
        self.values: dict[str, list[Any]] = {}
        self.violations: list[str] = []
        self.unexpected: Counter[str] = Counter()
        self.series: dict[str, Series] = {}
        self.start_s = self.end_s = 0.0
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
        self.start_s = self._agree()
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
        rate: float,
        make: Callable[[float], Script],
        *,
        links_max: int = _OPEN_LOOP_LINKS,
        patience_s: float | None = None,
        then: tuple[float, float] | None = None,
    ) -> list[float]:
        """Run clients at intended times, so many a second over all processes.

        Args:
            make: A client, given the time that its first call counts from.
            links_max: Connections of all processes together.
            patience_s: A client that finds no free connection for so long gives up; None: never.
            then: The rate after the time of the slice, and for how many seconds.

        Returns:
            The intended times of those that gave up.
        """
        job = self.job
        links = [self._link() for _ in range(max(1, links_max // job.parts))]
        name = f"{job.part}-{job.turn}"
        arrivals = Arrivals[Any](name, iter(()), make, [*links], patience_s=patience_s)

        def begin() -> None:
            self.begin()
            arrivals.due_s = due_times(
                self.start_s, rate, job.seconds, part=job.part, parts=job.parts
            )
            if then is not None:
                after = due_times(self.end_s, *then, part=job.part, parts=job.parts)
                arrivals.due_s = chain(arrivals.due_s, after)
            self.loop.arrive(arrivals)

        self.loop.run(links, begin)
        for series in self.series.values():
            series.intended_rate = rate / job.parts
        return arrivals.given_up

    def tally(self, name: str) -> Series:
        """The series of an operation in this variant."""
        label = self.job.variant.label
        return self.series.setdefault(name, Series(f"{label}: {name}" if label else name))

    def since_began(self, at_s: float) -> float:
        """Seconds since the workload began."""
        return at_s - self.job.began_s

    def done(self, name: str, started_s: float, ended_s: float) -> None:
        """Something that took more than one call came to its wanted end."""
        self.tally(name).record_ok((ended_s - started_s) * 1e6, self.since_began(ended_s))

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
        if self._recording is not None:
            self._recording.heard(client, ask, reply)
        self.count(ask, reply)

    def count(self, ask: Ask, reply: Reply) -> None:
        """Count a call by what came of it."""
        if reply.status != ask.wanted and reply.status not in REFUSED:
            self.unexpected[f"{ask.method} {ask.path.split('?')[0]} {_told(reply)}"] += 1
        if ask.operation:
            self._count(self.tally(ask.operation), ask, reply)

    def _count(self, series: Series, ask: Ask, reply: Reply) -> None:
        since_s = reply.asked_s if ask.due_s is None else ask.due_s
        latency_us = (reply.answered_s - since_s) * 1e6
        at_s = self.since_began(reply.answered_s)
        if reply.status == ask.wanted:
            series.record_ok(latency_us, at_s)
        elif reply.status == NOT_CONNECTED:
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


def _told(reply: Reply) -> str:
    if reply.status <= 0:
        return "had no answer" if reply.status == 0 else "found nobody"
    return f"answered {reply.status} {reply.body[:120].decode(errors='replace')}"
