"""The generator of commands on one WebSocket, a process of its own like `bench.load`.

So many requests are always under way; whatever was answered is asked again in one write. One
thread, one socket for the commands, one for the echoes.
"""

import select
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import cycle
from time import perf_counter
from typing import Any, Protocol

import msgspec

from bench.connection import Broken
from bench.load import PROJECT, Outcome, Plan, Slice, percentile
from bench.machine import schedule
from bench.texts import texts
from bench.websocket import WebSocket, text_frame

ECHO_OF_RESERVE, ECHO_OF_SEND = "echo of reserve", "echo of send"
RESERVE, SEND = "reserve", "send"
ECHO_TARGET = "/bench/echo"
COMMANDS_TARGET = f"/ws/events?project={PROJECT}"

_STALL_S = 30.0
_TEXT_LEN = 200
_TEXTS = 16
_QUIET = text_frame(b'{"type":"unsubscribe"}')


class _Reply(msgspec.Struct):
    """What tells replies apart; a frame of the feed has no `id`."""

    id: int | None = None
    error: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Reply).decode


class Lane(Protocol):
    """One of the requests that are under way at once."""

    def next(self) -> bytes:
        """The frame to send now."""

    def settle(self, reply: bytes) -> None:
        """Look at the reply to it, which is no error."""


class _Reserve:
    """Reserve a path of its own, release it, and again."""

    def __init__(self, number: int) -> None:
        self._agent = f"lane-{number:03}"
        self._number = number
        path = f"pkg{number}/src/mod3/lane{number}.py"
        members = {"agent_id": self._agent, "path_pattern": path, "project": PROJECT}
        self.reserve = _request(number, "reservations.create", {**members, "exclusive": True})
        self._release: bytes | None = None

    def next(self) -> bytes:
        return self._release or self.reserve

    def settle(self, reply: bytes) -> None:
        if self._release is not None:
            self._release = None
            return
        start = reply.index(b'"id":"') + 6
        members = {
            "reservation_id": reply[start : reply.index(b'"', start)].decode(),
            "agent_id": self._agent,
        }
        self._release = _request(self._number, "reservations.release", members)


class _Repeat:
    """The same few frames over and over."""

    def __init__(self, frames: list[bytes]) -> None:
        self._frames = cycle(frames)

    def next(self) -> bytes:
        return next(self._frames)

    def settle(self, reply: bytes) -> None:
        pass


def _request(number: int, method: str, params: dict[str, Any]) -> bytes:
    members = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return text_frame(msgspec.json.encode(members))


def _sends(number: int) -> list[bytes]:
    members = {"project": PROJECT, "from": f"lane-{number:03}", "to": [f"reader-{number}"]}
    return [
        _request(number, "messages.send", {**members, "body": text})
        for text in texts(_TEXTS, _TEXT_LEN, seed=number)
    ]


_LANES: dict[str, tuple[str, Callable[[int], Lane]]] = {
    ECHO_OF_RESERVE: (ECHO_TARGET, lambda number: _Repeat([_Reserve(number).reserve])),
    ECHO_OF_SEND: (ECHO_TARGET, lambda number: _Repeat(_sends(number))),
    RESERVE: (COMMANDS_TARGET, _Reserve),
    SEND: (COMMANDS_TARGET, lambda number: _Repeat(_sends(number))),
}


class _Pipeline:
    """One WebSocket with its lanes."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket
        self.latencies: list[float] = []
        self.unexpected: Counter[str] = Counter()
        self._poll = select.poll()
        self._poll.register(socket.fileno(), select.POLLIN)

    def run(self, kind: str, lanes: list[Lane], end_s: float) -> None:
        """Keep every lane busy until the time is over and the last reply is in."""
        sent_s = [perf_counter()] * len(lanes)
        self._send([lane.next() for lane in lanes])
        under_way = len(lanes)
        while under_way:
            if not self._poll.poll(_STALL_S * 1000):
                raise TimeoutError(f"no reply for {_STALL_S} s")
            again: list[bytes] = []
            found = self.socket.receive()
            now_s = perf_counter()
            for text in found:
                reply = _decode(text)
                number = reply.id
                if number is None:
                    continue
                self.latencies.append(now_s - sent_s[number])
                if bytes(reply.error):
                    self.unexpected[f"{kind}: {text[:200].decode()}"] += 1
                else:
                    lanes[number].settle(text)
                if now_s < end_s:
                    again.append(lanes[number].next())
                    sent_s[number] = now_s
                else:
                    under_way -= 1
            self._send(again)

    def _send(self, frames: list[bytes]) -> None:
        data = b"".join(frames)
        if data and self.socket.send(data) != len(data):
            raise Broken("the socket did not take all requests; ask for fewer at a time")


def run_slice(pipeline: _Pipeline, lanes: list[Lane], part: Slice, pid: int) -> Outcome:
    """One stretch of one kind."""
    pipeline.latencies, pipeline.unexpected = [], Counter()
    cpu_s, before = time.process_time(), schedule(pid)
    started_s = perf_counter()
    pipeline.run(part.kind, lanes, started_s + part.seconds)
    seconds, after = perf_counter() - started_s, schedule(pid)
    latencies = sorted(pipeline.latencies)
    return Outcome(
        target=part.target,
        kind=part.kind,
        counts=part.counts,
        requests=len(latencies),
        seconds=seconds,
        generator_cpu_s=time.process_time() - cpu_s,
        server_cpu_s=None if before is None or after is None else after[0] - before[0],
        server_wait_s=None if before is None or after is None else after[1] - before[1],
        unexpected=dict(pipeline.unexpected),
        latency_ms=(
            percentile(latencies, 0.5) * 1e3,
            percentile(latencies, 0.99) * 1e3,
            percentile(latencies, 0.999) * 1e3,
        ),
    )


def main() -> None:
    """Read a plan from standard input, run it, write the outcomes to standard output.

    The plan's `connections` say how many requests are under way at once.
    """
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    (target,) = plan.targets
    kinds = dict.fromkeys(part.kind for part in plan.slices)
    pipelines = {
        name: _Pipeline(WebSocket(target.port, name))
        for name in dict.fromkeys(_LANES[kind][0] for kind in kinds)
    }
    if COMMANDS_TARGET in pipelines:
        # Commands are measured, and not the feed of what they did.
        pipelines[COMMANDS_TARGET].socket.send(_QUIET)
    lanes = {
        kind: [_LANES[kind][1](number) for number in range(plan.connections)] for kind in kinds
    }
    outcomes = [
        run_slice(pipelines[_LANES[part.kind][0]], lanes[part.kind], part, target.pid)
        for part in plan.slices
    ]
    for pipeline in pipelines.values():
        pipeline.socket.close()
    sys.stdout.buffer.write(msgspec.json.encode(outcomes))


if __name__ == "__main__":
    main()
