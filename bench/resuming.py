"""`resume`: sockets dropped at random under load; everybody ends with exactly the project's events.

What subscribers received is compared with the log in the file, event by event, once the server has
ended: in order, once, without a gap. The server itself is stopped and started again half-way.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import attrs
import msgspec

from bench.connection import Connection, request
from bench.crowd import Crowd, exchange, own_feed, whole_feed
from bench.report import Bound, Figure, Result, Scale
from bench.server import Server, running_server
from bench.texts import texts
from bench.websocket import Closed, WebSocket
from intermute.storage.connections import open_reader
from intermute.storage.files import file_name
from intermute.storage.writer import decode_event

PROJECT = "resume"
_TEXTS = 64
_TEXT_LEN = 200
_CATCH_UP_S = 60.0
_AWAY_S_MAX = 0.3
_PAUSE_S_MAX = 2.0
_SMALL_BUFFER = 8_192
_SHOWN_MAX = 20


@attrs.frozen
class Sizes:
    """The numbers of a run. `seed` decides who is dropped when, and how.

    Attributes:
        own, whole: Subscribers on agents' own feeds and on the whole one.
        seconds: Of load, in either of two lives of the server.
        dropped_every_s: How long a subscriber stays on average.
    """

    own: int
    whole: int
    senders: int
    seconds: float
    dropped_every_s: float
    seed: int = 1


SIZES = {
    Scale.FULL: Sizes(own=20, whole=20, senders=8, seconds=10.0, dropped_every_s=1.0),
    Scale.QUICK: Sizes(own=10, whole=10, senders=8, seconds=3.0, dropped_every_s=0.5),
    Scale.TINY: Sizes(own=2, whole=2, senders=2, seconds=0.4, dropped_every_s=0.1),
}

Seen = tuple[int, str, str]


class _Frame(msgspec.Struct):
    """What is looked at of a frame."""

    type: str
    cursor: int
    entity_id: str = ""
    project: str = ""


_decode = msgspec.json.Decoder(_Frame).decode


class Subscriber:
    """One that is dropped again and again, and resumes each time after the last frame it read."""

    def __init__(
        self, name: str, agent_id: str | None, chance: random.Random, project: str = PROJECT
    ) -> None:
        self.name = name
        self._project = project
        self.agent_id = agent_id
        self.seen: list[Seen] = []
        self.cursor = 0
        self.ended: Counter[str] = Counter()
        self.drops = 0
        self._chance = chance
        self._socket: WebSocket | None = None
        self._until_s = 0.0
        self._paused_until_s: float | None = None

    def connect(self, crowd: Crowd, server: Server, *, mean_s: float) -> None:
        """Listen, from where it had come to."""
        feed = whole_feed(self._project, after=self.cursor)
        if self.agent_id is not None:
            feed = own_feed(self._project, self.agent_id, after=self.cursor)
        small = self._chance.random() < 0.3
        self._socket = WebSocket(
            server.port,
            feed,
            host=server.host,
            receive_buffer_len=_SMALL_BUFFER if small else None,
        )
        self._until_s = time.perf_counter() + self._chance.expovariate(1 / mean_s)
        self._paused_until_s = None
        crowd.listen(self._socket, self._hear, closed=self._ended)

    def trouble(self, crowd: Crowd, server: Server, now_s: float, *, mean_s: float) -> None:
        """Drop it, let it pause, or let it come back, when it is time for that."""
        if self._socket is None:
            if now_s >= self._until_s:
                self.connect(crowd, server, mean_s=mean_s)
        elif self._paused_until_s is not None:
            if now_s >= self._paused_until_s:
                self._paused_until_s = None
                crowd.pause(self._socket, False)
        elif now_s >= self._until_s:
            if self._chance.random() < 0.2:
                self._paused_until_s = now_s + self._chance.uniform(0, _PAUSE_S_MAX)
                self._until_s = self._paused_until_s
                crowd.pause(self._socket, True)
            else:
                self.drop(crowd)
                self.drops += 1

    def drop(self, crowd: Crowd) -> None:
        """Hang up, half of the times with a reset; it comes back in a moment."""
        if self._socket is None:
            return
        crowd.drop(self._socket, abruptly=self._chance.random() < 0.5)
        self._leave()

    def settle(self, crowd: Crowd, server: Server) -> None:
        """No more trouble: be there and read."""
        if self._socket is None:
            self.connect(crowd, server, mean_s=1.0)
        elif self._paused_until_s is not None:
            self._paused_until_s = None
            crowd.pause(self._socket, False)

    def _leave(self) -> None:
        self._socket = None
        self._until_s = time.perf_counter() + self._chance.uniform(0, _AWAY_S_MAX)

    def _hear(self, texts: list[bytes], now_s: float) -> None:
        for text in texts:
            frame = _decode(text)
            if frame.type == "feed.lagged":
                continue
            self.seen.append((frame.cursor, frame.type, frame.entity_id))
            self.cursor = frame.cursor

    def _ended(self, error: Closed) -> None:
        self.ended[str(error.code)] += 1
        self._leave()


class _Sender:
    """One connection that always has something to do: messages of all kinds, and reservations."""

    def __init__(self, server: Server, number: int, agents: Sequence[str], seed: int) -> None:
        self.connection = Connection(server.port)
        self.unexpected: Counter[str] = Counter()
        self.going = True
        self.idle = False
        self._requests = _requests(number, agents, random.Random(seed))

    def begin(self) -> None:
        self.connection.send(next(self._requests))

    def answered(self, now_s: float) -> None:
        if self.connection.status not in (200, 201):
            self.unexpected[f"{self.connection.status} {self.connection.body[:120]!r}"] += 1
        if self.going:
            self.begin()
        else:
            self.idle = True


def _requests(number: int, agents: Sequence[str], chance: random.Random) -> Iterator[bytes]:
    """Mostly messages, some with copies, some to nobody who listens; now and then a reservation."""
    bodies = list(texts(_TEXTS, _TEXT_LEN, seed=number))
    name = f"sender-{number}"
    ordinal = 0
    while True:
        ordinal += 1
        if chance.random() < 0.1:
            path = f"area{number}/{chance.getrandbits(48):x}.py"
            # A holder of its own now and then, because what one may hold is bounded.
            holder = f"{name}-{ordinal // 100}"
            members = {"agent_id": holder, "path_pattern": path, "project": PROJECT}
            if ordinal % 2:
                yield request("POST", "/api/reservations", body=msgspec.json.encode(members))
            else:
                query = f"pattern={path}&project={PROJECT}"
                yield request("GET", f"/api/reservations/check?{query}")
            continue
        picked = chance.sample(agents, 2)
        sent: dict[str, object] = {"project": PROJECT, "from": name, "to": [picked[0]]}
        sent["body"] = chance.choice(bodies)
        for kind, share in (("cc", 0.2), ("bcc", 0.1)):
            if chance.random() < share:
                sent[kind] = [picked[1]]
                break
        yield request("POST", "/api/messages", body=msgspec.json.encode(sent))


def measure(scale: Scale, scratch: Path, *, profile: bool = False) -> Result:
    """Run it and check it."""
    sizes = SIZES[scale]
    data = scratch / "resume"
    chance = random.Random(sizes.seed)
    subscribers = [
        Subscriber(f"own {number}", f"agent-{number:03}", random.Random(chance.random()))
        for number in range(sizes.own)
    ] + [
        Subscriber(f"whole {number}", None, random.Random(chance.random()))
        for number in range(sizes.whole)
    ]
    unexpected: Counter[str] = Counter()
    caught_up_s = []
    for life in range(2):
        with running_server(data) as server:
            caught_up_s.append(_run(server, sizes, subscribers, unexpected, last=life == 1))
    events = read_log(data / file_name(PROJECT))
    violations = check(subscribers, events)
    ended = sum((each.ended for each in subscribers), Counter[str]())
    figures = (
        Figure("violations", len(violations), "", target=0, bound=Bound.AT_MOST),
        Figure("events", len(events), ""),
        Figure("frames", sum(len(each.seen) for each in subscribers), ""),
        Figure("drops", sum(each.drops for each in subscribers), ""),
        Figure("to catch up at the end", caught_up_s[-1], "s"),
    )
    said = [*violations[:_SHOWN_MAX]]
    if unexpected:
        said.append(f"unexpected answers: {dict(unexpected)}")
    return Result(
        figures,
        attrs.asdict(sizes),
        details={"violations": violations[:1000], "ended_by_the_server": dict(ended)},
        warnings=tuple(said),
    )


def _run(
    server: Server,
    sizes: Sizes,
    subscribers: Sequence[Subscriber],
    unexpected: Counter[str],
    *,
    last: bool,
) -> float:
    """One life of the server; how long everybody needed to catch up, when it is the last one."""
    crowd = Crowd()
    # The agents of subscribers and as many others, so that there is something that concerns nobody.
    agents = [f"agent-{number:03}" for number in range(2 * max(2, sizes.own))]
    senders = [
        _Sender(server, number, agents, seed=sizes.seed * 1000 + number + 100 * last)
        for number in range(sizes.senders)
    ]
    caught_up_s = 0.0
    try:
        for sender in senders:
            crowd.ask(sender.connection, sender.answered)
            sender.begin()
        end_s = time.perf_counter() + sizes.seconds
        while (now_s := time.perf_counter()) < end_s:
            for subscriber in subscribers:
                subscriber.trouble(crowd, server, now_s, mean_s=sizes.dropped_every_s)
            crowd.turn(0.005)
        for sender in senders:
            sender.going = False
        if not crowd.until(lambda: all(sender.idle for sender in senders)):
            unexpected["no answer"] += 1
        if last:
            caught_up_s = _catch_up(crowd, server, subscribers)
    finally:
        for subscriber in subscribers:
            subscriber.drop(crowd)
        crowd.close()
    for sender in senders:
        unexpected.update(sender.unexpected)
    return caught_up_s


def _catch_up(crowd: Crowd, server: Server, subscribers: Sequence[Subscriber]) -> float:
    """Let everybody read to the end; answers how long that took."""
    started_s = time.perf_counter()
    before_last = _make_last(server)

    def all_there() -> bool:
        for subscriber in subscribers:
            subscriber.settle(crowd, server)
        return all(subscriber.cursor > before_last for subscriber in subscribers)

    crowd.until(all_there, timeout_s=_CATCH_UP_S)
    return time.perf_counter() - started_s


def _make_last(server: Server) -> int:
    """Make a last event, which all feeds show; the cursor of the one before it."""
    message = {"project": PROJECT, "from": "last", "to": ["nobody"], "body": "the end"}
    reservation = {"project": PROJECT, "agent_id": "last", "path_pattern": "the/end"}
    connection = Connection(server.port)
    try:
        data = request("POST", "/api/messages", body=msgspec.json.encode(message))
        answer = exchange(connection, data, status=200)
        data = request("POST", "/api/reservations", body=msgspec.json.encode(reservation))
        exchange(connection, data, status=201)
        return int(msgspec.json.decode(answer)["cursor"])
    finally:
        connection.close()


# -- The judge -----------------------------------------------------------------------------------


@attrs.frozen
class Logged:
    """An event of the log, and whose own feeds show it; None for all of them."""

    cursor: int
    type: str
    entity_id: str
    audience: frozenset[str] | None

    def concerns(self, agent_id: str | None) -> bool:
        return agent_id is None or self.audience is None or agent_id in self.audience


def read_log(path: Path) -> list[Logged]:
    """The events of a project's file."""
    connection = open_reader(path)
    try:
        rows = connection.execute(
            "SELECT cursor, type, actor, data, at_us FROM events ORDER BY cursor"
        )
        found = []
        for row in rows:
            event = decode_event(row)
            audience = event.data.audience
            found.append(
                Logged(
                    event.cursor,
                    event.type,
                    event.data.entity_id,
                    None if audience is None else frozenset(audience),
                )
            )
        return found
    finally:
        connection.close()


def check(subscribers: Sequence[Subscriber], events: Sequence[Logged]) -> list[str]:
    """What is wrong with what the subscribers saw."""
    found = [
        f"the log has a gap between cursors {one.cursor} and {other.cursor}"
        for one, other in pairwise(events)
        if other.cursor != one.cursor + 1
    ]
    for subscriber in subscribers:
        expected = [
            (event.cursor, event.type, event.entity_id)
            for event in events
            if event.concerns(subscriber.agent_id)
        ]
        found += _differences(subscriber.name, subscriber.seen, expected)
    return found


def _differences(name: str, seen: Sequence[Seen], expected: Sequence[Seen]) -> list[str]:
    if list(seen) == list(expected):
        return []
    found = [
        f"{name}: cursor {other[0]} came after {one[0]}"
        for one, other in pairwise(seen)
        if other[0] <= one[0]
    ]
    found += [f"{name}: never saw {event}" for event in sorted(set(expected) - set(seen))]
    found += [
        f"{name}: should not have seen {event}" for event in sorted(set(seen) - set(expected))
    ]
    return found
