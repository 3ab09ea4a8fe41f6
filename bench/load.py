"""The load generator, a process of its own: `python -m bench.load` reads a plan, prints slices.

One thread, one epoll set, requests prepared beforehand. It reports the share of a core it took
itself, so that a reader can see that it was the server that was measured.
"""

import select
import sys
import time
from collections import Counter
from collections.abc import Sequence
from time import perf_counter

import attrs
import msgspec

from bench.connection import Connection, request
from bench.machine import schedule

PROJECT = "bench"
HEALTH = "health"
RESERVE = "reserve"

_HEALTH = request("GET", "/health")
_STALL_S = 30.0
_SLICE_SECONDS_MAX = 120.0


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
class Plan:
    """All that a generator is told. Slices run one after the other, in order."""

    connections: int
    targets: list[Target]
    slices: list[Slice]


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


class Worker:
    """One connection with its own agent and its own path, which asks again once answered."""

    __slots__ = ("_held", "_release_head", "_reserve", "connection", "unexpected")

    def __init__(self, port: int, ordinal: int) -> None:
        agent = f"worker-{ordinal:03}"
        path = f"pkg{ordinal}/src/mod3/worker{ordinal}.py"
        body = {"agent_id": agent, "path_pattern": path, "project": PROJECT, "exclusive": True}
        who = f"X-Agent-ID: {agent}\r\n"
        self._reserve = request(
            "POST", "/api/reservations", headers=who, body=msgspec.json.encode(body)
        )
        self._release_head = f" HTTP/1.1\r\nHost: 127.0.0.1\r\n{who}\r\n".encode()
        self._held: bytes | None = None
        self.connection = Connection(port)
        self.unexpected: Counter[str] = Counter()

    def ask(self, kind: str) -> None:
        """Send the next request of a kind: a release when something is held."""
        if kind == HEALTH:
            self.connection.send(_HEALTH)
        elif self._held is None:
            self.connection.send(self._reserve)
        else:
            target = b"DELETE /api/reservations/" + self._held
            self.connection.send(target + self._release_head)

    def settle(self, kind: str) -> None:
        """Look at the answer: nothing counts that was not what was asked for."""
        connection = self.connection
        if kind == RESERVE and self._held is None and connection.status == 201:
            start = connection.body.index(b'"id":"') + 6
            self._held = connection.body[start : connection.body.index(b'"', start)]
        elif connection.status == 200 and (kind == HEALTH or self._held is not None):
            if kind == RESERVE:
                self._held = None
        else:
            self.unexpected[f"{kind} {connection.status}"] += 1
            self._held = None


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
        [Worker(target.port, ordinal) for ordinal in range(plan.connections)]
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
