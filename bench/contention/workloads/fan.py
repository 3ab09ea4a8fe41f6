"""Fan-out: a message to very many subscribers, one of which may never read."""

import time
from collections.abc import Sequence
from functools import partial

from bench.contention import asks
from bench.contention.feeds import Asker, Feed, Feeds, answer, with_feeds
from bench.contention.jobs import Variant
from bench.contention.links import BROKEN, Ask, HttpLink
from bench.contention.loop import REFUSED_PAUSE_S
from bench.contention.stage import Stage
from bench.contention.workloads.base import Findings, Judged, Load, Part, Workload
from bench.crowd import own_feed
from bench.report import Bound, Figure
from bench.texts import texts
from bench.websocket import Closed

_ALL_READ, _ONE_STALLS = "all read", "one never reads"
_TEXT_LEN = 200
_MARK = b'"fan-'
_MARK_LEN = 18
# What a subscriber that never reads is sent beforehand, so that its buffers are full: more than a
# system keeps for one connection. On a feed that tells only of ids it takes more than that.
_BALLAST = 96
_BALLAST_LEN = 65_536


class FanOut(Workload):
    """One message after the other to all subscribers: when does each of them have it?

    A frame that an open subscriber does not have after 10 s is lost, which is a violation.
    """

    name = "fanout"
    title = "fan-out to many subscribers, one of which never reads"
    needs = frozenset({"send", "websocket"})
    over_sockets = False

    def variants(self, load: Load) -> list[Variant]:
        subscribers = load.clients or load.pick(full=500, quick=100, tiny=5)
        lost_after_s = load.pick(full=10.0, quick=10.0, tiny=2.0)
        ballast = load.pick(full=_BALLAST, quick=_BALLAST, tiny=1)
        return [
            Variant(
                label,
                subscribers,
                {"stalled": stalled, "ballast": stalled * ballast, "lost_after_s": lost_after_s},
                alone=True,
            )
            for stalled, label in enumerate((_ALL_READ, _ONE_STALLS))
        ]

    def run(self, stage: Stage) -> None:
        job = stage.job
        with_feeds(
            job.place.address, job.websocket, stage.loop.lag, lambda feeds: _Fan(stage, feeds).run()
        )

    def judge(self, parts: Sequence[Part]) -> Judged:
        found = Findings()
        warnings = []
        for part in parts:
            label, frames = part.variant.label, part.of("frame").latency
            lost = part.counts["lost"]
            for name, quantile in (("p50", 0.5), ("p99", 0.99)):
                took_ms = frames.quantile(quantile) / 1e3
                found.add(Figure(f"{label}: {name} of a frame", took_ms, "ms"), of=frames.count)
            found.add(
                Figure(f"{label}: lost frames", lost, "", target=0, bound=Bound.AT_MOST),
                of=frames.count + lost,
            )
            if part.counts["closed"]:
                warnings.append(f"{label}: {part.counts['closed']} reading subscribers were closed")
        without, beside = (part.of("frame").latency for part in parts)
        ratio = beside.quantile(0.99) / max(1, without.quantile(0.99))
        found.add(
            Figure("p99 with one that never reads, against without", ratio, ""),
            of=min(without.count, beside.count),
        )
        stalled = parts[-1]
        ended = stalled.values.get("stalled ended", [])
        if ended:
            found.add(
                Figure("the one that never reads is let live", max(ended), "s"), of=len(ended)
            )
        elif stalled.counts["stalled elsewhere"]:
            warnings.append(
                f"{stalled.variant.label}: whether it was hung up on cannot be told, for that is "
                "seen only of a server on this machine"
            )
        return found.judged(warnings=warnings)


class _Fan:
    """Subscribers and the one who sends to them."""

    def __init__(self, stage: Stage, feeds: Feeds) -> None:
        self._stage = stage
        self._feeds = feeds
        self._agents = [f"listener-{at:04}" for at in stage.own]
        self._open: set[str] = set()
        self._sent_s = 0.0
        self._missing: set[str] = set()
        self._number = 0
        self._expected = b""
        self._sender = Asker(feeds, HttpLink(stage.address))
        self._stalled: Feed | None = None
        self._is_of_here = False

    async def run(self) -> None:
        """Open all feeds, and send until the time is over."""
        stage = self._stage
        await self._subscribe()
        stalled_s = time.perf_counter()
        if self._stalled is not None:
            for text in texts(int(stage.job.variant.numbers["ballast"]), _BALLAST_LEN, seed=1):
                await self._ask(asks.send(stage.job.project, "herald", ["stalled"], text))
        bodies = list(texts(64, _TEXT_LEN, seed=stage.job.turn))
        to = [*self._agents, *(["stalled"] if self._stalled is not None else [])]
        stage.begin()
        while not stage.is_over():
            await self._broadcast(to, bodies[self._number % len(bodies)])
            self._look_at_stalled(stalled_s)

    async def _subscribe(self) -> None:
        project = self._stage.job.project
        try:
            for agent in self._agents:
                await self._feeds.listen(
                    own_feed(project, agent),
                    partial(self._hear, agent),
                    partial(self._ended, agent),
                )
                self._open.add(agent)
            if self._stage.job.variant.numbers["stalled"]:
                self._stalled = await self._feeds.stall(
                    own_feed(project, "stalled"), receive_buffer_len=4_096
                )
                self._is_of_here = self._stalled.is_of_here()
                self._stage.counts["stalled elsewhere"] += not self._is_of_here
        except BROKEN as error:
            self._stage.unexpected[f"a subscriber found nobody: {error}"] += 1

    def _look_at_stalled(self, since_s: float) -> None:
        """Note when the server has hung up on the one that never reads."""
        if self._stalled is None or not self._is_of_here:
            return
        if not self._stage.values.get("stalled ended") and self._stalled.has_ended():
            self._stage.add("stalled ended", time.perf_counter() - since_s)

    async def _ask(self, ask: Ask) -> bool:
        """Whether the answer is the wanted one; after no answer, or none to ask, a short pause."""
        reply = await answer(self._feeds, self._sender, ask)
        self._stage.count(ask, reply)
        if reply.status <= 0:
            await self._feeds.turn(REFUSED_PAUSE_S)
        return reply.status == ask.wanted

    async def _broadcast(self, to: list[str], body: str) -> None:
        self._number += 1
        self._missing = set(self._open)
        # A server may take a message with an id of before for the same message.
        stalled = self._stalled is not None
        job = self._stage.job
        message_id = f"fan-{job.run_id}{job.turn:03}-{stalled:d}{self._number:07}"
        self._sent_s = time.perf_counter()
        ask = asks.send(job.project, "herald", to, body, message_id=message_id)
        self._expected = message_id[-_MARK_LEN:].encode()
        if not await self._ask(ask):
            return
        lost_after_s = self._stage.job.variant.numbers["lost_after_s"]
        if not await self._feeds.until(lambda: not self._missing, timeout_s=lost_after_s):
            self._stage.counts["lost"] += len(self._missing)
            self._stage.violations.append(
                f"{message_id} never came to {len(self._missing)} subscribers"
            )

    def _hear(self, agent: str, frames: list[bytes], now_s: float) -> None:
        for frame in frames:
            at = frame.find(_MARK)
            if at < 0 or frame[at + len(_MARK) : at + len(_MARK) + _MARK_LEN] != self._expected:
                continue
            if agent in self._missing:
                self._missing.remove(agent)
                self._stage.done("frame", self._sent_s, now_s)

    def _ended(self, agent: str, error: Closed) -> None:
        self._open.discard(agent)
        self._missing.discard(agent)
        self._stage.counts["closed"] += 1
        self._stage.unexpected[f"a subscriber was {error}"] += 1
