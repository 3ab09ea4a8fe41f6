"""Resuming: subscribers are dropped again and again, and must end with exactly what was sent."""

import random
import time
from collections.abc import Sequence
from itertools import pairwise

from bench.connection import Connection
from bench.contention import asks
from bench.contention.jobs import Variant
from bench.contention.links import Reply, request_of
from bench.contention.stage import Stage
from bench.contention.workloads.base import Judged, Load, Part, Workload
from bench.crowd import Crowd
from bench.report import Bound, Figure
from bench.resuming import Subscriber
from bench.server import Server
from bench.texts import texts

_SUBSCRIBERS = 8
_SENDERS = 4
_DROPPED_EVERY_S = 0.3
_CATCH_UP_S = 30.0
_TEXT_LEN = 200
_TEXTS = 64
_SHOWN_MAX = 10


class Resume(Workload):
    """Connections are cut at random while messages are sent; every subscriber comes back.

    Whatever was acknowledged has to be seen once, in the order of cursors, by every one of them.
    """

    name = "resume"
    title = "resume feeds after dropped connections"
    needs = frozenset({"websocket", "resume"})
    over_sockets = False

    def variants(self, load: Load) -> list[Variant]:
        return [Variant("", load.clients or _SUBSCRIBERS, alone=True)]

    def run(self, stage: Stage) -> None:
        _Dropping(stage).run()

    def judge(self, parts: Sequence[Part]) -> Judged:
        (part,) = parts
        caught_up_s = part.values["caught up"]
        return Judged(
            (
                Figure("drops", part.counts["drops"], ""),
                Figure("frames", part.counts["frames"], ""),
                Figure(
                    "lost, doubled or out of order",
                    part.counts["wrong"],
                    "",
                    target=0,
                    bound=Bound.AT_MOST,
                ),
                Figure("to catch up at the end", max(caught_up_s), "s"),
            )
        )


class _Dropping:
    """The subscribers of one slice and those who send."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._crowd = Crowd()
        address = stage.address
        # What a subscriber needs of a server is where it is.
        self._server = Server(0, address.port, 0.0, address.host)
        self._acknowledged: dict[int, str] = {}
        self._senders = [_Sender(stage, at, self._acknowledged) for at in range(_SENDERS)]
        project = stage.job.project
        self._subscribers = [
            Subscriber(f"subscriber {at}", None, random.Random(stage.chance.random()), project)
            for at in stage.own
        ]

    def run(self) -> None:
        stage, crowd = self._stage, self._crowd
        try:
            for sender in self._senders:
                crowd.ask(sender.connection, sender.answered)
            stage.begin()
            # The feed may have a past, of the turn before: all begin after the first message.
            first = self._first()
            for subscriber in self._subscribers:
                subscriber.cursor = first
            for sender in self._senders:
                sender.begin()
            while not stage.is_over():
                now_s = time.perf_counter()
                for subscriber in self._subscribers:
                    subscriber.trouble(crowd, self._server, now_s, mean_s=_DROPPED_EVERY_S)
                crowd.turn(0.005)
            crowd.until(lambda: all(sender.is_idle for sender in self._senders))
            self._catch_up()
        finally:
            for subscriber in self._subscribers:
                subscriber.drop(crowd)
            crowd.close()
        self._judge(first)

    def _first(self) -> int:
        self._senders[0].begin()
        self._crowd.until(lambda: bool(self._acknowledged))
        for sender in self._senders:
            sender.goes_on = True
        return max(self._acknowledged, default=0)

    def _catch_up(self) -> None:
        started_s = time.perf_counter()
        newest = max(self._acknowledged, default=0)

        def all_there() -> bool:
            for subscriber in self._subscribers:
                subscriber.settle(self._crowd, self._server)
            return all(each.cursor >= newest for each in self._subscribers)

        self._crowd.until(all_there, timeout_s=_CATCH_UP_S)
        self._stage.add("caught up", time.perf_counter() - started_s)

    def _judge(self, first: int) -> None:
        wanted = {at: name for at, name in self._acknowledged.items() if at > first}
        stage = self._stage
        for subscriber in self._subscribers:
            found = wrong_with([(at, name) for at, _, name in subscriber.seen], wanted)
            stage.counts["wrong"] += len(found)
            stage.counts["drops"] += subscriber.drops
            stage.counts["frames"] += len(subscriber.seen)
            stage.violations += [f"{subscriber.name}: {text}" for text in found[:_SHOWN_MAX]]


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


class _Sender:
    """One connection that sends message after message."""

    def __init__(self, stage: Stage, ordinal: int, acknowledged: dict[int, str]) -> None:
        self.connection = Connection(stage.address.port, stage.address.host)
        self.is_idle = True
        self.goes_on = False
        self._stage = stage
        self._ordinal = ordinal
        self._acknowledged = acknowledged
        self._bodies = list(texts(_TEXTS, _TEXT_LEN, seed=ordinal))
        self._number = 0

    def begin(self) -> None:
        """Send the next one."""
        self._number += 1
        self.is_idle = False
        stage = self._stage
        self._id = f"res-{stage.job.turn}-{self._ordinal}-{self._number}"
        body = self._bodies[self._number % _TEXTS]
        self._ask = asks.send(
            stage.job.project, f"sender-{self._ordinal}", ["reader"], body, message_id=self._id
        )
        self.connection.send(request_of(self._ask, stage.address))

    def answered(self, now_s: float) -> None:
        connection = self.connection
        reply = Reply(connection.status, connection.body, connection.head)
        reply.asked_s, reply.answered_s = connection.sent_s, now_s
        self._stage.count(self._ask, reply)
        if connection.status == 200:
            self._acknowledged[int(reply.members()["cursor"])] = self._id
        self.is_idle = True
        if self.goes_on and not self._stage.is_over():
            self.begin()
