"""`fanout`: broadcasts to very many subscribers, and what one that never reads costs the others.

The never-reading subscriber is measured under the steady load of `push`, on the whole feed: it is
what fills the buffers of its socket, after which the server has to keep or to give up.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import attrs
import msgspec

from bench.connection import Connection, request
from bench.crowd import Crowd, exchange, own_feed, whole_feed
from bench.load import percentile
from bench.machine import schedule
from bench.push_load import PROJECT, Pushed, PushLoad, number_of, subject
from bench.push_time import warnings
from bench.report import Bound, Figure, Result, Scale, figure_of
from bench.server import Server, running_server
from bench.texts import texts
from bench.websocket import Closed, WebSocket

ALL_S_MAX = 0.5
MEMORY_KB_MAX = 100.0
_OWN, _WHOLE = "own feeds", "whole feed"
_WITHOUT, _WITH = "all read", "one never reads"
_WARM_UP = 20
_PER_SENDER = 5
_TEXT_LEN = 200
# What p99 may be with a subscriber that never reads, as a share of what it is without: stretches of
# one kind differ by as much.
_STALLED_P99_SHARE_MAX = 1.25


@attrs.frozen
class Sizes:
    """The numbers of a run. `rate` to `stretch_s` are of the load beside the one that stalls."""

    subscribers: int
    broadcasts: int
    readers: int
    rate: float
    stretches: int
    stretch_s: float
    settle_s: float = 0.5


SIZES = {
    Scale.FULL: Sizes(1_000, 10, readers=50, rate=200.0, stretches=4, stretch_s=6.0),
    Scale.QUICK: Sizes(200, 10, readers=50, rate=200.0, stretches=2, stretch_s=4.0),
    Scale.TINY: Sizes(10, 2, readers=4, rate=100.0, stretches=1, stretch_s=0.3, settle_s=0.05),
}


def measure(scale: Scale, scratch: Path, *, profile: bool = False) -> Result:
    """Run it."""
    sizes = SIZES[scale]
    figures: list[Figure] = []
    details: dict[str, object] = {}
    said: list[str] = []
    for name, own in ((_OWN, True), (_WHOLE, False)):
        with running_server(scratch / f"fanout-{own}") as server:
            found = _broadcasts(server, sizes, own=own)
        figures += found.figures(name)
        details[name] = attrs.asdict(found)
        said += [f"unexpected on {name}: {text}" for text in found.unexpected]
    stalls = _stalls(scratch / "stall", sizes)
    figures += _stall_figures(stalls)
    details["stretches"] = [each.summary() for each in stalls]
    said += warnings(stalls)
    return Result(tuple(figures), attrs.asdict(sizes), details, tuple(said))


# -- Broadcasts ----------------------------------------------------------------------------------


@attrs.frozen
class _Found:
    """What broadcasts to one kind of feed did; times from just before the request.

    Attributes:
        all_s: Until the last of the subscribers had it, for each broadcast.
        each_ms: The same for every subscriber, p50 and p99 over all broadcasts.
        idle_kb, used_kb: Memory of the server for a connection, before and after the broadcasts.
    """

    all_s: list[float]
    each_ms: tuple[float, float]
    answer_ms: list[float]
    connect_ms: float
    idle_kb: float
    used_kb: float
    cpu_us: list[float]
    unexpected: list[str]

    def figures(self, name: str) -> list[Figure]:
        found = [
            figure_of(
                f"{name}: until all have it",
                self.all_s,
                "s",
                target=ALL_S_MAX,
                bound=Bound.AT_MOST,
            ),
            Figure(f"{name}: p50 of a subscriber", self.each_ms[0], "ms"),
            Figure(f"{name}: p99 of a subscriber", self.each_ms[1], "ms"),
            figure_of(f"{name}: the answer", self.answer_ms, "ms"),
            Figure(f"{name}: to connect", self.connect_ms, "ms"),
        ]
        if self.cpu_us:
            found.append(figure_of(f"{name}: server CPU", self.cpu_us, "us/frame"))
        for when, memory_kb in (("connected", self.idle_kb), ("used", self.used_kb)):
            found.append(
                Figure(
                    f"{name}: memory, {when}",
                    max(memory_kb, 0.0),
                    "KB/connection",
                    target=MEMORY_KB_MAX,
                    bound=Bound.AT_MOST,
                )
            )
        return found


class _Herald:
    """Subscribers of one kind, and broadcasts to all of them."""

    def __init__(self, server: Server, agent_ids: Sequence[str], *, own: bool) -> None:
        self._server = server
        self._crowd = Crowd()
        self._arrived_s: dict[int, list[float]] = {}
        self._closed: list[str] = []
        self._answered: list[float] = []
        self.size = len(agent_ids)
        self.statuses: list[int] = []
        for agent_id in agent_ids:
            target = own_feed(PROJECT, agent_id) if own else whole_feed(PROJECT)
            self._crowd.listen(WebSocket(server.port, target), self._hear, closed=self._ended)
        self._connection = Connection(server.port)
        self._crowd.ask(self._connection, self._answered.append)

    def broadcast(self, number: int, text: str) -> tuple[list[float], float, float | None]:
        """Seconds to each arrival, to the answer, and the server's processor time."""
        members = {
            "project": PROJECT,
            "from": f"herald-{number // _PER_SENDER}",
            "topic": "bench",
            "subject": subject(number),
            "body": text,
        }
        arrived = self._arrived_s.setdefault(number, [])
        self._answered.clear()
        before = schedule(self._server.pid)
        data = request("POST", "/api/broadcast", body=msgspec.json.encode(members))
        sent_s = time.perf_counter()
        self._connection.send(data)
        self._crowd.until(lambda: bool(self._answered) and len(arrived) >= self.size)
        after = schedule(self._server.pid)
        self.statuses.append(self._connection.status)
        cpu_s = None if before is None or after is None else after[0] - before[0]
        answered_s = self._answered[0] if self._answered else float("nan")
        return [at_s - sent_s for at_s in arrived], answered_s - sent_s, cpu_s

    def rest(self, seconds: float) -> None:
        """Go on reading for a while."""
        self._crowd.until(lambda: False, timeout_s=seconds)

    def unexpected(self) -> list[str]:
        """Whatever should not have been."""
        found = [f"a broadcast answered {status}" for status in self.statuses if status != 200]
        found += [
            f"broadcast {number} came {len(arrived)} times to {self.size}"
            for number, arrived in self._arrived_s.items()
            if len(arrived) != self.size
        ]
        return found + self._closed

    def close(self) -> None:
        self._crowd.close()

    def _hear(self, frames: list[bytes], now_s: float) -> None:
        for frame in frames:
            number = number_of(frame)
            if number is not None:
                self._arrived_s.setdefault(number, []).append(now_s)

    def _ended(self, error: Closed) -> None:
        self._closed.append(str(error))


def _broadcasts(server: Server, sizes: Sizes, *, own: bool) -> _Found:
    agent_ids = _register(server, sizes.subscribers)
    bodies = list(texts(sizes.broadcasts + 1, _TEXT_LEN, seed=3))
    # The first use of anything costs memory that is no connection's.
    first = _Herald(server, agent_ids[:_WARM_UP], own=own)
    first.broadcast(0, bodies[0])
    first.close()
    time.sleep(sizes.settle_s)
    before = server.rss_bytes()
    started_s = time.perf_counter()
    herald = _Herald(server, agent_ids, own=own)
    try:
        connect_ms = (time.perf_counter() - started_s) * 1e3 / herald.size
        herald.rest(sizes.settle_s)
        idle = server.rss_bytes()
        each_s: list[float] = []
        all_s: list[float] = []
        answer_ms: list[float] = []
        cpu_us: list[float] = []
        for number in range(_PER_SENDER, _PER_SENDER + sizes.broadcasts):
            arrived_s, answered_s, cpu_s = herald.broadcast(
                number, bodies[number - _PER_SENDER + 1]
            )
            each_s += arrived_s
            all_s.append(max(arrived_s, default=float("inf")))
            answer_ms.append(answered_s * 1e3)
            cpu_us += [] if cpu_s is None else [cpu_s * 1e6 / herald.size]
            herald.rest(sizes.settle_s / 5)
        used = server.rss_bytes()
        unexpected = herald.unexpected()
    finally:
        herald.close()
    each_s.sort()
    return _Found(
        all_s=all_s,
        each_ms=(percentile(each_s, 0.5) * 1e3, percentile(each_s, 0.99) * 1e3),
        answer_ms=answer_ms,
        connect_ms=connect_ms,
        idle_kb=(idle - before) / 1e3 / herald.size,
        used_kb=(used - before) / 1e3 / herald.size,
        cpu_us=cpu_us,
        unexpected=unexpected,
    )


def _register(server: Server, count: int) -> list[str]:
    """So many agents; their ids."""
    connection = Connection(server.port)
    try:
        agent_ids: list[str] = []
        for number in range(count):
            body = msgspec.json.encode({"name": f"listener-{number:04}", "project": PROJECT})
            answer = exchange(connection, request("POST", "/api/agents", body=body), status=200)
            agent_ids.append(msgspec.json.decode(answer)["agent_id"])
        return agent_ids
    finally:
        connection.close()


# -- One that never reads ------------------------------------------------------------------------


def _stalls(data: Path, sizes: Sizes) -> list[Pushed]:
    """Stretches without and with it, in turns, the second half backwards."""
    agent_ids = [f"listener-{number:03}" for number in range(sizes.readers)]
    order = [stalled for turn in range(sizes.stretches) for stalled in ((0, 1), (1, 0))[turn % 2]]
    found: list[Pushed] = []
    first = 0
    with running_server(data) as server:
        for stalled in [0, *order]:
            name = _WITH if stalled else _WITHOUT
            load = PushLoad(server, name, agent_ids, own=False, stalled=stalled)
            try:
                found.append(load.run(rate=sizes.rate, seconds=sizes.stretch_s, first=first))
                first += found[-1].sent
            finally:
                load.close()
    return found[1:]


def _stall_figures(found: Sequence[Pushed]) -> list[Figure]:
    figures: list[Figure] = []
    p99_ms: dict[str, float] = {}
    for name in (_WITHOUT, _WITH):
        stretches = [each for each in found if each.variant == name]
        latencies = sorted(ms for each in stretches for ms in each.latencies_ms)
        if not latencies:
            return figures
        p99_ms[name] = percentile(latencies, 0.99)
        spread = [percentile(each.latencies_ms, 0.99) for each in stretches if each.latencies_ms]
        figures += [
            Figure(f"{name}: p99 of the others", p99_ms[name], "ms", (min(spread), max(spread))),
            Figure(f"{name}: p50 of the others", percentile(latencies, 0.5), "ms"),
            figure_of(f"{name}: server memory, most", [e.rss_mb[1] for e in stretches], "MB"),
        ]
        cpu_us = [e.server_cpu_s * 1e6 / e.sent for e in stretches if e.server_cpu_s is not None]
        if cpu_us:
            figures.append(figure_of(f"{name}: server CPU", cpu_us, "us/message"))
    share = p99_ms[_WITH] / p99_ms[_WITHOUT]
    figures.append(
        Figure(
            "p99 of the others, with it against without",
            share,
            "",
            target=_STALLED_P99_SHARE_MAX,
            bound=Bound.AT_MOST,
        )
    )
    ended_s = [seconds for each in found for seconds in each.stalled_closed_s]
    if ended_s:
        figures.append(figure_of("the one that never reads is let live", ended_s, "s"))
    return figures
