"""The load generator, a process of its own: `python -m bench.load` reads a plan, prints slices.

One thread, one epoll set, requests prepared beforehand. It reports the share of a core it took
itself, so that a reader can see that it was the server that was measured.
"""

import random
import select
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from time import perf_counter
from typing import Protocol

import attrs
import msgspec

from bench.connection import Connection, request
from bench.machine import schedule
from bench.texts import texts

PROJECT = "bench"
HEALTH = "health"
RESERVE = "reserve"
SEND = "send"

_HEALTH = request("GET", "/health")
_STALL_S = 30.0
_SLICE_SECONDS_MAX = 120.0
_TEXTS = 64
_TEXT_LEN = 200
_PAGES = 256


@attrs.frozen
class Target:
    """A server under load."""

    port: int
    pid: int


@attrs.frozen
class Slice:
    """A stretch of one kind of load on one of the targets."""

    target: int
    kind: str
    seconds: float
    counts: bool = True


@attrs.frozen
class Inbox:
    """An inbox to read, and the kind of load that reading it is.

    Attributes:
        cursor_first, cursor_last: Between these a page begins; a whole page follows both.
    """

    kind: str
    project: str
    agent_id: str
    limit: int
    cursor_first: int
    cursor_last: int


@attrs.frozen
class Plan:
    """All that a generator is told. Slices run one after the other, in order."""

    connections: int
    targets: list[Target]
    slices: list[Slice]
    inboxes: list[Inbox] = attrs.field(factory=list)


@attrs.frozen
class Outcome:
    """What one slice did.

    Attributes:
        server_cpu_s: Processor time of the server; None where the system does not say.
        server_wait_s: How long the server was ready to run and had no processor.
        unexpected: Answers that should not have been, as status to count.
        latency_ms: p50, p99 and p99.9.
    """

    target: int
    kind: str
    counts: bool
    requests: int
    seconds: float
    generator_cpu_s: float
    server_cpu_s: float | None
    server_wait_s: float | None
    unexpected: dict[str, int]
    latency_ms: tuple[float, float, float]

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def cpu_us(self) -> float | None:
        """Processor microseconds that the server spent on a request."""
        if self.server_cpu_s is None:
            return None
        return self.server_cpu_s * 1e6 / max(1, self.requests)


class Asker(Protocol):
    """One kind of load on one connection."""

    def next(self) -> bytes:
        """The request to send now."""

    def settle(self, connection: Connection) -> bool:
        """Look at the answer: whether it is what was asked for."""


class _Health:
    def next(self) -> bytes:
        return _HEALTH

    def settle(self, connection: Connection) -> bool:
        return connection.status == 200


class _Reserve:
    """Reserve a path of its own, release it, and again."""

    def __init__(self, ordinal: int) -> None:
        agent = f"worker-{ordinal:03}"
        path = f"pkg{ordinal}/src/mod3/worker{ordinal}.py"
        body = {"agent_id": agent, "path_pattern": path, "project": PROJECT, "exclusive": True}
        who = f"X-Agent-ID: {agent}\r\n"
        self._reserve = request(
            "POST", "/api/reservations", headers=who, body=msgspec.json.encode(body)
        )
        self._release_head = f" HTTP/1.1\r\nHost: 127.0.0.1\r\n{who}\r\n".encode()
        self._held: bytes | None = None

    def next(self) -> bytes:
        if self._held is None:
            return self._reserve
        return b"DELETE /api/reservations/" + self._held + self._release_head

    def settle(self, connection: Connection) -> bool:
        if self._held is None and connection.status == 201:
            start = connection.body.index(b'"id":"') + 6
            self._held = connection.body[start : connection.body.index(b'"', start)]
            return True
        released = self._held is not None and connection.status == 200
        self._held = None
        return released


class _Send:
    """Send a message to one recipient."""

    def __init__(self, ordinal: int) -> None:
        members = {"project": PROJECT, "from": f"sender-{ordinal:03}", "to": [f"reader-{ordinal}"]}
        self._requests = cycle(
            [
                request(
                    "POST", "/api/messages", body=msgspec.json.encode({**members, "body": text})
                )
                for text in texts(_TEXTS, _TEXT_LEN, seed=ordinal)
            ]
        )

    def next(self) -> bytes:
        return next(self._requests)

    def settle(self, connection: Connection) -> bool:
        return connection.status == 200 and b'"message_id"' in connection.body


class _Page:
    """Read one page of an inbox, anywhere in it."""

    def __init__(self, inbox: Inbox, ordinal: int) -> None:
        chance = random.Random(ordinal)
        self._limit = inbox.limit
        self._requests = cycle(
            [
                request(
                    "GET",
                    f"/api/inbox/{inbox.agent_id}?project={inbox.project}&limit={inbox.limit}"
                    f"&since_cursor={chance.randint(inbox.cursor_first, inbox.cursor_last)}",
                )
                for _ in range(_PAGES)
            ]
        )

    def next(self) -> bytes:
        return next(self._requests)

    def settle(self, connection: Connection) -> bool:
        found = connection.body.count(b'"created_at"')
        return connection.status == 200 and found == self._limit


class Worker:
    """One connection, which asks again once answered."""

    __slots__ = ("_askers", "connection", "unexpected")

    def __init__(self, port: int, ordinal: int, inboxes: Sequence[Inbox] = ()) -> None:
        self._askers: dict[str, Asker] = {
            HEALTH: _Health(),
            RESERVE: _Reserve(ordinal),
            SEND: _Send(ordinal),
            **{inbox.kind: _Page(inbox, ordinal) for inbox in inboxes},
        }
        self.connection = Connection(port)
        self.unexpected: Counter[str] = Counter()

    def ask(self, kind: str) -> None:
        """Send the next request of a kind."""
        self.connection.send(self._askers[kind].next())

    def settle(self, kind: str) -> None:
        """Look at the answer: nothing counts that was not what was asked for."""
        if not self._askers[kind].settle(self.connection):
            self.unexpected[f"{kind} {self.connection.status}"] += 1


def run_slice(workers: Sequence[Worker], part: Slice, pid: int) -> Outcome:
    """Keep every worker busy until the time is over and the last answer is in."""
    kind, latencies = part.kind, list[float]()
    poll = select.epoll()
    by_fd = {worker.connection.fileno(): worker for worker in workers}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    cpu_s, before = time.process_time(), schedule(pid)
    started_s = perf_counter()
    end_s = started_s + min(part.seconds, _SLICE_SECONDS_MAX)
    try:
        for worker in workers:
            worker.ask(kind)
        under_way = len(workers)
        while under_way:
            ready = poll.poll(_STALL_S)
            if not ready:
                raise TimeoutError(f"no answer for {_STALL_S} s")
            for fd, _ in ready:
                worker = by_fd[fd]
                if not worker.connection.receive():
                    continue
                now_s = perf_counter()
                latencies.append(now_s - worker.connection.sent_s)
                worker.settle(kind)
                if now_s < end_s:
                    worker.ask(kind)
                else:
                    under_way -= 1
        seconds = perf_counter() - started_s
        after = schedule(pid)
    finally:
        poll.close()
    unexpected: Counter[str] = Counter()
    for worker in workers:
        unexpected.update(worker.unexpected)
        worker.unexpected.clear()
    latencies.sort()
    return Outcome(
        target=part.target,
        kind=kind,
        counts=part.counts,
        requests=len(latencies),
        seconds=seconds,
        generator_cpu_s=time.process_time() - cpu_s,
        server_cpu_s=None if before is None or after is None else after[0] - before[0],
        server_wait_s=None if before is None or after is None else after[1] - before[1],
        unexpected=dict(unexpected),
        latency_ms=(
            percentile(latencies, 0.5) * 1e3,
            percentile(latencies, 0.99) * 1e3,
            percentile(latencies, 0.999) * 1e3,
        ),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of the sorted values lie."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> None:
    """Read a plan from standard input, run it, write the outcomes to standard output."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    workers = [
        [Worker(target.port, ordinal, plan.inboxes) for ordinal in range(plan.connections)]
        for target in plan.targets
    ]
    outcomes = [
        run_slice(workers[part.target], part, plan.targets[part.target].pid) for part in plan.slices
    ]
    for worker in (worker for group in workers for worker in group):
        worker.connection.close()
    sys.stdout.buffer.write(msgspec.json.encode(outcomes))


if __name__ == "__main__":
    main()
