"""`slowdisk`: one project's disk takes 50 ms for each sync; what the others notice of it.

The same server and the same clients of four other projects, with and without clients that write to
the slow project, in turns. With `--commit auto` its commits move to a thread after the first 16, so
there is a figure for each of three times: when it is opened, until it has moved, and from then on.
"""

import select
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median

import attrs
import msgspec

from bench.connection import Connection, request
from bench.load import percentile
from bench.report import Bound, Figure, Result, Scale, figure_of
from bench.server import running_server
from bench.slow_server import SLOW, SYNC_S

MODES = ("auto", "thread", "inline")
OTHERS = 4
SLOW_CLIENTS = 4
# Commits of the slow project until `auto` has seen enough of them, and some more.
MOVED_AFTER = 24
# What the others' 99th percentile may grow by while one project's disk is slow.
P99_MORE_MS = 10.0
_STALL_S = 30.0


@attrs.frozen
class Sizes:
    """The numbers of a run."""

    rounds: int
    slice_s: float
    modes: tuple[str, ...] = MODES


SIZES = {
    Scale.FULL: Sizes(rounds=8, slice_s=3.0),
    Scale.QUICK: Sizes(rounds=3, slice_s=1.5),
    Scale.TINY: Sizes(rounds=1, slice_s=0.2, modes=("auto",)),
}


@attrs.define
class Client:
    """A connection that sends a message to one project, and again once answered."""

    connection: Connection
    project: str
    times_ms: list[float] = attrs.field(factory=list)
    unexpected: int = 0

    def ask(self) -> None:
        members = {"project": self.project, "from": "ann", "to": ["bob"], "body": "x" * 200}
        self.connection.send(request("POST", "/api/messages", body=msgspec.json.encode(members)))

    def settle(self) -> bool:
        """Whether the whole answer has come; its time is noted."""
        if not self.connection.receive():
            return False
        self.times_ms.append((time.perf_counter() - self.connection.sent_s) * 1e3)
        self.unexpected += self.connection.status != 200
        return True


def drive(clients: Sequence[Client], seconds: float, *, enough: int | None = None) -> None:
    """Keep every client busy for a time, or until the last of them has had `enough` answers."""
    poll = select.epoll()
    by_fd = {client.connection.fileno(): client for client in clients}
    for client in clients:
        client.times_ms.clear()
        poll.register(client.connection.fileno(), select.EPOLLIN)
        client.ask()
    end_s, under_way = time.perf_counter() + seconds, len(clients)
    try:
        while under_way:
            ready = poll.poll(_STALL_S)
            if not ready:
                raise TimeoutError(f"no answer for {_STALL_S} s")
            for fd, _ in ready:
                if not by_fd[fd].settle():
                    continue
                done = enough is not None and len(clients[-1].times_ms) >= enough
                if done or time.perf_counter() >= end_s:
                    under_way -= 1
                else:
                    by_fd[fd].ask()
    finally:
        poll.close()


def measure(scale: Scale, scratch: Path, *, profile: bool = False) -> Result:
    """Run it, each way to commit on a server of its own."""
    sizes = SIZES[scale]
    figures: list[Figure] = []
    unexpected = 0
    for mode in sizes.modes:
        found, wrong = _measure_mode(mode, sizes, scratch)
        figures += found
        unexpected += wrong
    warnings = (f"unexpected answers: {unexpected}",) if unexpected else ()
    settings = {**attrs.asdict(sizes), "sync_ms": SYNC_S * 1e3, "others": OTHERS}
    return Result(tuple(figures), settings, warnings=warnings)


def _measure_mode(mode: str, sizes: Sizes, scratch: Path) -> tuple[list[Figure], int]:
    options = ("--commit", mode)
    with running_server(scratch / mode, options=options, module="bench.slow_server") as server:
        others = [Client(Connection(server.port), f"other{n}") for n in range(OTHERS)]
        slow = [Client(Connection(server.port), SLOW) for _ in range(SLOW_CLIENTS)]
        try:
            return _figures(mode, sizes, others, slow), sum(c.unexpected for c in (*others, *slow))
        finally:
            for client in (*others, *slow):
                with closing(client.connection):
                    pass


def _figures(
    mode: str, sizes: Sizes, others: Sequence[Client], slow: Sequence[Client]
) -> list[Figure]:
    drive(others, sizes.slice_s)
    # One client at first, so that each of its messages is a commit.
    drive([*others, slow[0]], _STALL_S, enough=1)
    opening = max(_times(others))
    drive([*others, slow[0]], _STALL_S, enough=MOVED_AFTER)
    moving = max(_times(others))
    alone: list[Sequence[float]] = []
    beside: list[Sequence[float]] = []
    slow_rates: list[float] = []
    for number in range(sizes.rounds):
        for with_slow in (number % 2 == 0, number % 2 == 1):
            drive([*others, *slow] if with_slow else others, sizes.slice_s)
            (beside if with_slow else alone).append(sorted(_times(others)))
            if with_slow:
                slow_rates.append(sum(len(c.times_ms) for c in slow) / sizes.slice_s)
    return [
        Figure(f"{mode}: others' longest wait while it is opened", opening, "ms"),
        Figure(f"{mode}: others' longest wait in its first commits", moving, "ms"),
        _share(f"{mode}: others' p50 without", alone, 0.5),
        _share(f"{mode}: others' p50 beside it", beside, 0.5),
        _share(f"{mode}: others' p99 without", alone, 0.99),
        _bounded(mode, alone, beside),
        _share(f"{mode}: others' p99.9 beside it", beside, 0.999),
        figure_of(f"{mode}: rate of the slow project", slow_rates, "messages/s"),
    ]


def _bounded(
    mode: str, alone: Sequence[Sequence[float]], beside: Sequence[Sequence[float]]
) -> Figure:
    """The bound holds for the default; the others show why it is the default."""
    values = [percentile(times, 0.99) for times in beside]
    if mode != "auto":
        return figure_of(f"{mode}: others' p99 beside it", values, "ms")
    target = median(percentile(times, 0.99) for times in alone) + P99_MORE_MS
    name = f"{mode}: others' p99 beside it"
    return figure_of(name, values, "ms", target=target, bound=Bound.AT_MOST)


def _share(name: str, slices: Sequence[Sequence[float]], share: float) -> Figure:
    return figure_of(name, [percentile(times, share) for times in slices], "ms")


def _times(clients: Sequence[Client]) -> list[float]:
    return [each for client in clients for each in client.times_ms]
