"""Messages sent at a steady rate, whatever becomes of them, and when subscribers have them.

Sender and subscribers are one process and one thread, so that both ends of a latency are read from
one clock. Every message carries its number as its subject.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence

import attrs
import msgspec

from bench.connection import Connection, request
from bench.crowd import Crowd, own_feed, whole_feed
from bench.load import percentile
from bench.machine import rss_bytes, schedule
from bench.server import Server
from bench.texts import texts
from bench.websocket import Closed, WebSocket

PROJECT = "push"
_MARK = b'"subject":"n'
_DIGITS = 7
_TEXTS = 64
_TEXT_LEN = 200
_SENDERS = 32
_LATE_S = 10.0
_RSS_EVERY_S = 0.25


def subject(number: int) -> str:
    """The subject of the message with this number."""
    return f"n{number:0{_DIGITS}}"


def number_of(frame: bytes) -> int | None:
    """The number of the message that a frame carries, None for other frames."""
    at = frame.find(_MARK)
    if at < 0:
        return None
    start = at + len(_MARK)
    return int(frame[start : start + _DIGITS])


@attrs.frozen
class Pushed:
    """What one stretch of load did.

    Attributes:
        latencies_ms: From just before a request was sent to each arrival of its frame, sorted.
        answers_ms: From there to the answer to the request, sorted.
        late_ms: How long after its time each request was sent, sorted: the generator's own fault.
        missing: Frames that did not come within 10 s.
        closed: WebSockets that the server ended, as code to count.
        stalled_closed_s: How long each WebSocket that is never read was let live.
    """

    variant: str
    seconds: float
    sent: int
    latencies_ms: list[float]
    answers_ms: list[float]
    late_ms: list[float]
    missing: int
    failed: int
    closed: dict[str, int]
    stalled_closed_s: list[float]
    rss_mb: tuple[float, float]
    generator_cpu_s: float
    server_cpu_s: float | None
    server_wait_s: float | None

    def summary(self) -> dict[str, object]:
        """The outcome for JSON, without its single latencies."""
        members = attrs.asdict(
            self,
            filter=lambda field, _: field.name not in ("latencies_ms", "answers_ms", "late_ms"),
        )
        for name, found in (("push", self.latencies_ms), ("answer", self.answers_ms)):
            members[f"{name}_ms"] = {
                label: percentile(found, share) for label, share in _SHARES.items() if found
            }
        return members


_SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


class PushLoad:
    """Subscribers of one kind on a server, and the connections that send to them.

    Args:
        agent_ids: Whom messages go to, in turns.
        own: Each agent listens on its own feed; else there are as many on the whole feed.
        stalled: So many more on the whole feed that never read, from its beginning and from now
            on in turns. One that the server ends is replaced.
    """

    def __init__(
        self,
        server: Server,
        variant: str,
        agent_ids: Sequence[str],
        *,
        own: bool,
        stalled: int = 0,
    ) -> None:
        self.variant = variant
        self._server = server
        self._crowd = Crowd()
        self._closed: dict[str, int] = {}
        self._heard_by = 1 if own else len(agent_ids)
        self._sent_s: dict[int, float] = {}
        self._latencies: list[float] = []
        self._answers: list[float] = []
        self._failed = 0
        self._stalled: list[tuple[WebSocket, float]] = []
        self._stalled_closed_s: list[float] = []
        self._stalls = 0
        for agent_id in agent_ids:
            target = own_feed(PROJECT, agent_id) if own else whole_feed(PROJECT)
            socket = WebSocket(server.port, target)
            self._crowd.listen(socket, self._hear, closed=self._note_closed)
        for _ in range(stalled):
            self._stall()
        self._bodies = [
            {
                "project": PROJECT,
                "from": f"sender-{at % 10}",
                "to": [agent_ids[at % len(agent_ids)]],
            }
            | {"body": text}
            for at, text in enumerate(texts(_TEXTS * len(agent_ids), _TEXT_LEN, seed=2))
        ]
        # First in, first out: a server hangs up on connections that are never used.
        self._free: deque[Connection] = deque()
        for _ in range(_SENDERS):
            connection = Connection(server.port)
            self._free.append(connection)
            self._crowd.ask(connection, self._answered(connection))

    def run(self, *, rate: float, seconds: float, first: int) -> Pushed:
        """Send at a rate for so long; the first message has the number `first`."""
        self._sent_s, self._latencies, self._answers, self._failed = {}, [], [], 0
        late: list[float] = []
        cpu_s, before = time.process_time(), schedule(self._server.pid)
        rss = [rss_bytes(self._server.pid)]
        count = int(rate * seconds)
        started_s = look_s = time.perf_counter()
        number = 0
        while number < count:
            now_s = time.perf_counter()
            due_s = started_s + number / rate
            if now_s >= due_s and self._free:
                late.append(now_s - due_s)
                self._send(first + number)
                number += 1
                continue
            if now_s >= look_s:
                look_s = now_s + _RSS_EVERY_S
                rss.append(rss_bytes(self._server.pid))
                self._replace_stalled(now_s)
            self._crowd.turn(due_s - now_s if self._free else _RSS_EVERY_S)
        took_s = time.perf_counter() - started_s
        expected = count * self._heard_by
        self._crowd.until(lambda: self._is_quiet(expected), timeout_s=_LATE_S)
        after = schedule(self._server.pid)
        rss.append(rss_bytes(self._server.pid))
        return Pushed(
            variant=self.variant,
            seconds=took_s,
            sent=count,
            latencies_ms=_sorted_ms(self._latencies),
            answers_ms=_sorted_ms(self._answers),
            late_ms=_sorted_ms(late),
            missing=expected - len(self._latencies),
            failed=self._failed,
            closed=dict(self._closed),
            stalled_closed_s=list(self._stalled_closed_s),
            rss_mb=(rss[0] / 1e6, max(rss) / 1e6),
            generator_cpu_s=time.process_time() - cpu_s,
            server_cpu_s=None if before is None or after is None else after[0] - before[0],
            server_wait_s=None if before is None or after is None else after[1] - before[1],
        )

    def close(self) -> None:
        """Hang up everything."""
        self._crowd.close()
        for socket, _ in self._stalled:
            socket.close()

    def _is_quiet(self, expected: int) -> bool:
        return len(self._latencies) >= expected and len(self._free) == _SENDERS

    def _send(self, number: int) -> None:
        members = {**self._bodies[number % len(self._bodies)], "subject": subject(number)}
        data = request("POST", "/api/messages", body=msgspec.json.encode(members))
        connection = self._free.popleft()
        self._sent_s[number] = time.perf_counter()
        connection.send(data)

    def _answered(self, connection: Connection) -> Callable[[float], None]:
        def note(now_s: float) -> None:
            self._answers.append(now_s - connection.sent_s)
            self._failed += connection.status != 200
            self._free.append(connection)

        return note

    def _hear(self, frames: list[bytes], now_s: float) -> None:
        for frame in frames:
            number = number_of(frame)
            sent_s = None if number is None else self._sent_s.get(number)
            if sent_s is not None:
                self._latencies.append(now_s - sent_s)

    def _note_closed(self, error: Closed) -> None:
        self._closed[str(error.code)] = self._closed.get(str(error.code), 0) + 1

    def _stall(self) -> None:
        self._stalls += 1
        target = whole_feed(PROJECT, after=0 if self._stalls % 2 else None)
        socket = WebSocket(self._server.port, target, receive_buffer_len=4_096)
        self._stalled.append((socket, time.perf_counter()))

    def _replace_stalled(self, now_s: float) -> None:
        for socket, since_s in list(self._stalled):
            if socket.has_ended():
                self._stalled.remove((socket, since_s))
                self._stalled_closed_s.append(now_s - since_s)
                socket.close()
                self._stall()


def _sorted_ms(seconds: Sequence[float]) -> list[float]:
    return sorted(each * 1e3 for each in seconds)
