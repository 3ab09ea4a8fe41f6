"""Resuming: subscribers are dropped again and again, and must end with exactly what was sent."""

import random
import time
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from bench.contention import asks
from bench.contention.feeds import Asker, Feed, Feeds, with_feeds
from bench.contention.jobs import Variant
from bench.contention.links import BROKEN, HttpLink, Reply
from bench.contention.stage import Stage
from bench.contention.workloads.base import Findings, Judged, Load, Part, Workload
from bench.crowd import whole_feed
from bench.report import Bound, Figure
from bench.texts import texts
from bench.websocket import Closed

_SUBSCRIBERS = 8
_SENDERS = 4
_DROPPED_EVERY_S = 0.3
_PAUSED = 0.2
_PAUSE_S_MAX = 2.0
_AWAY_S_MAX = 0.3
_SMALL_BUFFER = 8_192
_SMALL = 0.3
_TURN_S = 0.005
_CATCH_UP_S = 30.0
_TEXT_LEN = 200
_TEXTS = 64


class _Frame(msgspec.Struct):
    """What is looked at of a frame."""

    type: str
    cursor: int
    entity_id: str = ""


_decode = msgspec.json.Decoder(_Frame).decode


class Resume(Workload):
    """Connections are cut at random while messages are sent; every subscriber comes back.

    Whatever was acknowledged has to be seen once, in the order of cursors, by every one of them.
    """

    name = "resume"
    title = "resume feeds after dropped connections"
    needs = frozenset({"send", "websocket", "resume"})
    over_sockets = False

    def variants(self, load: Load) -> list[Variant]:
        return [Variant("", load.clients or _SUBSCRIBERS, alone=True)]

    def run(self, stage: Stage) -> None:
        job = stage.job
        with_feeds(
            job.place.address,
            job.websocket,
            stage.loop.lag,
            lambda feeds: _Dropping(stage, feeds).run(),
        )

    def judge(self, parts: Sequence[Part]) -> Judged:
        (part,) = parts
        caught_up_s = part.values.get("caught up", [0.0])
        wrong, frames = part.counts["wrong"], part.counts["frames"]
        found = Findings()
        found.add(Figure("drops", part.counts["drops"], ""), of=frames)
        found.add(Figure("frames", frames, ""), of=frames)
        found.add(
            Figure("lost, doubled or out of order", wrong, "", target=0, bound=Bound.AT_MOST),
            of=frames + wrong,
        )
        found.add(Figure("to catch up at the end", max(caught_up_s), "s"), of=frames)
        return found.judged()


class _Dropping:
    """The subscribers of one slice and those who send."""

    def __init__(self, stage: Stage, feeds: Feeds) -> None:
        self._stage = stage
        self._feeds = feeds
        self._acknowledged: dict[int, str] = {}
        self._senders = [_Sender(stage, feeds, at, self._acknowledged) for at in range(_SENDERS)]
        self._subscribers = [
            _Subscriber(f"subscriber {at}", stage, feeds, random.Random(stage.chance.random()))
            for at in stage.own
        ]

    async def run(self) -> None:
        """Send and drop until the time is over, then let everybody read to the end."""
        stage, feeds = self._stage, self._feeds
        stage.begin()
        # The feed may have a past, of the turn before: all begin after the first message.
        first = await self._first()
        for subscriber in self._subscribers:
            subscriber.cursor = first
        while not stage.is_over():
            for sender in self._senders:
                sender.begin()
            for subscriber in self._subscribers:
                await subscriber.trouble()
            await feeds.turn(_TURN_S)
        if not await feeds.until(lambda: all(sender.is_idle for sender in self._senders)):
            for sender in self._senders:
                sender.give_up()
        await self._catch_up()
        self._judge(first)
        for subscriber in self._subscribers:
            subscriber.drop()

    async def _first(self) -> int:
        stage, feeds = self._stage, self._feeds
        while not self._acknowledged and not stage.is_over():
            self._senders[0].begin()
            await feeds.turn(_TURN_S)
        for sender in self._senders:
            sender.goes_on = True
        return max(self._acknowledged, default=0)

    async def _catch_up(self) -> None:
        started_s = time.perf_counter()
        newest = max(self._acknowledged, default=0)
        while time.perf_counter() < started_s + _CATCH_UP_S:
            for subscriber in self._subscribers:
                await subscriber.settle()
            if all(each.cursor >= newest for each in self._subscribers):
                break
            await self._feeds.turn(_TURN_S)
        self._stage.add("caught up", time.perf_counter() - started_s)

    def _judge(self, first: int) -> None:
        wanted = {at: name for at, name in self._acknowledged.items() if at > first}
        stage = self._stage
        for subscriber in self._subscribers:
            told = wanted
            if not subscriber.is_there:
                # It could not come back for the rest, which says nothing of the feed.
                told = {at: name for at, name in wanted.items() if at <= subscriber.cursor}
            found = wrong_with(subscriber.seen, told)
            stage.counts["wrong"] += len(found)
            stage.counts["drops"] += subscriber.drops
            stage.counts["frames"] += len(subscriber.seen)
            stage.violations += [f"{subscriber.name}: {text}" for text in found]


def wrong_with(seen: Sequence[tuple[int, str]], wanted: dict[int, str]) -> list[str]:
    """What one subscriber saw amiss.

    Args:
        seen: Cursor and message id of every frame, in the order in which they came.
        wanted: The id of every message that was acknowledged, by cursor.
    """
    found = [
        f"cursor {other} came after {one}"
        for (one, _), (other, _) in pairwise(seen)
        if other <= one
    ]
    names = dict(seen)
    found += [
        f"cursor {at} was told as {names[at]!r}, and is {name!r}"
        if at in names
        else f"{name!r}, cursor {at}, never came"
        for at, name in sorted(wanted.items())
        if names.get(at) != name
    ]
    return found


class _Subscriber:
    """One that is dropped again and again, and resumes each time after the last frame it read.

    Attributes:
        seen: Cursor and message id of every frame, in the order in which they came.
        cursor: Of the last of them.
        drops: How often it hung up.
    """

    def __init__(self, name: str, stage: Stage, feeds: Feeds, chance: random.Random) -> None:
        self.name = name
        self.seen: list[tuple[int, str]] = []
        self.cursor = 0
        self.drops = 0
        self._stage = stage
        self._feeds = feeds
        self._chance = chance
        self._feed: Feed | None = None
        self._until_s = 0.0
        self._is_paused = False

    @property
    def is_there(self) -> bool:
        """Whether it listens."""
        return self._feed is not None

    async def trouble(self) -> None:
        """Drop it, let it pause, or let it come back, when it is time for that."""
        now_s = time.perf_counter()
        if now_s < self._until_s:
            return
        if self._feed is None:
            await self._connect(_DROPPED_EVERY_S)
        elif self._is_paused:
            self._pause(False, self._chance.expovariate(1 / _DROPPED_EVERY_S))
        elif self._chance.random() < _PAUSED:
            self._pause(True, self._chance.uniform(0, _PAUSE_S_MAX))
        else:
            self.drop()
            self.drops += 1

    async def settle(self) -> None:
        """No more trouble: be there and read."""
        if self._feed is None:
            if time.perf_counter() >= self._until_s:
                await self._connect(_DROPPED_EVERY_S)
        elif self._is_paused:
            self._pause(False, 0.0)

    def drop(self) -> None:
        """Hang up, half of the times with a reset; it comes back in a moment."""
        if self._feed is not None:
            self._feed.hang_up(abruptly=self._chance.random() < 0.5)
            self._leave()

    async def _connect(self, mean_s: float) -> None:
        """Listen, from where it had come to, some with little room for what they have not read."""
        small = self._chance.random() < _SMALL
        self._until_s = time.perf_counter() + self._chance.expovariate(1 / mean_s)
        self._is_paused = False
        try:
            self._feed = await self._feeds.listen(
                whole_feed(self._stage.job.project, after=self.cursor),
                self._hear,
                self._ended,
                receive_buffer_len=_SMALL_BUFFER if small else None,
            )
        except BROKEN as error:
            self._stage.unexpected[f"a subscriber found nobody: {error}"] += 1
            self._leave()

    def _pause(self, paused: bool, for_s: float) -> None:
        assert self._feed is not None
        self._feed.pause(paused)
        self._is_paused = paused
        self._until_s = time.perf_counter() + for_s

    def _leave(self) -> None:
        self._feed = None
        self._until_s = time.perf_counter() + self._chance.uniform(0, _AWAY_S_MAX)

    def _hear(self, texts: list[bytes], now_s: float) -> None:
        for text in texts:
            try:
                frame = _decode(text)
            except msgspec.DecodeError as error:
                # Whatever it was to tell of is missed in the end.
                self._stage.unexpected[f"a frame that says nothing: {error}"] += 1
                continue
            if frame.type != "feed.lagged":
                self.seen.append((frame.cursor, frame.entity_id))
                self.cursor = frame.cursor

    def _ended(self, error: Closed) -> None:
        self._leave()


class _Sender:
    """One connection that sends message after message."""

    def __init__(
        self, stage: Stage, feeds: Feeds, ordinal: int, acknowledged: dict[int, str]
    ) -> None:
        self.is_idle = True
        self.goes_on = False
        self._asker = Asker(feeds, HttpLink(stage.address))
        self._stage = stage
        self._ordinal = ordinal
        self._acknowledged = acknowledged
        self._bodies = list(texts(_TEXTS, _TEXT_LEN, seed=ordinal))
        self._number = 0

    def begin(self) -> None:
        """Send the next one, unless one is under way."""
        if not self.is_idle:
            return
        self._number += 1
        self.is_idle = False
        job = self._stage.job
        self._id = f"res-{job.run_id}-{job.turn}-{self._ordinal}-{self._number}"
        self._ask = asks.send(
            job.project,
            f"sender-{self._ordinal}",
            ["reader"],
            self._bodies[self._number % _TEXTS],
            message_id=self._id,
        )
        self._asker.ask(self._ask, self._answered)

    def give_up(self) -> None:
        """Hang up: no answer is expected any more."""
        self._asker.give_up()

    def _answered(self, reply: Reply) -> None:
        self._stage.count(self._ask, reply)
        self.is_idle = True
        if reply.status == self._ask.wanted:
            self._acknowledged[reply.members()["cursor"]] = self._id
            if self.goes_on and not self._stage.is_over():
                self.begin()
