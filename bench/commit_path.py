"""`commit`: where a transaction should run while the event loop is busy, and what batching saves.

This is what decided that the actor commits inline: a thread has to win the interpreter lock back
from a busy loop, once for each statement when the whole transaction runs there.
"""

import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import apsw
import attrs
import trio

from bench.load import percentile
from bench.report import Figure, Result, Scale, figure_of
from intermute.domain.events import Event, ReservationCreated
from intermute.domain.modes import Mode
from intermute.storage.connections import open_writer
from intermute.storage.files import DataDirectory, project_tag
from intermute.storage.writer import Writer

BATCHES = (1, 8, 64)
_PROJECT = "commit"
_INSERT = "INSERT INTO lines (text) VALUES (?)"
_TEXT = "x" * 200


@attrs.frozen
class Sizes:
    """The numbers of a run. `busy_us` is how long a busy task keeps the loop at a time."""

    transactions: int
    statements: int
    busy_tasks: int
    busy_us: int
    rounds: int
    batch_commands: int


SIZES = {
    Scale.FULL: Sizes(150, 16, busy_tasks=8, busy_us=200, rounds=3, batch_commands=1_024),
    Scale.QUICK: Sizes(30, 16, busy_tasks=8, busy_us=200, rounds=2, batch_commands=256),
    Scale.TINY: Sizes(3, 16, busy_tasks=2, busy_us=50, rounds=1, batch_commands=64),
}

_Transact = Callable[[apsw.Connection, int], Awaitable[None]]


def measure(scale: Scale, scratch: Path, *, profile: bool = False) -> Result:
    """Run it; the three ways take turns."""
    sizes = SIZES[scale]
    figures = [
        _fsync(scratch, sizes.transactions),
        *trio.run(_under_load, sizes, scratch),
        *_batches(sizes, scratch),
    ]
    return Result(tuple(figures), attrs.asdict(sizes))


# -- Where it runs ------------------------------------------------------------------------------


def _statements(connection: apsw.Connection, count: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for _ in range(count):
        connection.execute(_INSERT, (_TEXT,))


def _commit(connection: apsw.Connection) -> None:
    connection.execute("COMMIT")


def _whole(connection: apsw.Connection, count: int) -> None:
    _statements(connection, count)
    _commit(connection)


async def _inline(connection: apsw.Connection, count: int) -> None:
    _whole(connection, count)
    await trio.lowlevel.checkpoint()


async def _threaded(connection: apsw.Connection, count: int) -> None:
    await trio.to_thread.run_sync(_whole, connection, count)


async def _commit_threaded(connection: apsw.Connection, count: int) -> None:
    _statements(connection, count)
    await trio.to_thread.run_sync(_commit, connection)


_WAYS: dict[str, _Transact] = {
    "inline": _inline,
    "whole in a thread": _threaded,
    "COMMIT in a thread": _commit_threaded,
}


async def _under_load(sizes: Sizes, scratch: Path) -> list[Figure]:
    path = scratch / "busy.sqlite3"
    path.touch(mode=0o600)
    connection = open_writer(path)
    took_ms: dict[str, list[float]] = {name: [] for name in _WAYS}
    try:
        connection.execute("CREATE TABLE lines (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
        async with trio.open_nursery() as nursery:
            for _ in range(sizes.busy_tasks):
                nursery.start_soon(_keep_busy, sizes.busy_us)
            for _ in range(sizes.rounds):
                for name, transact in _WAYS.items():
                    took_ms[name] += await _transactions(connection, transact, sizes)
            nursery.cancel_scope.cancel()
    finally:
        connection.close()
    figures = []
    for name, found in took_ms.items():
        found.sort()
        figures.append(Figure(f"{name}: p50", percentile(found, 0.5), "ms"))
        figures.append(Figure(f"{name}: p99", percentile(found, 0.99), "ms"))
    return figures


async def _transactions(
    connection: apsw.Connection, transact: _Transact, sizes: Sizes
) -> list[float]:
    took_ms = []
    for _ in range(sizes.transactions):
        started_s = time.perf_counter()
        await transact(connection, sizes.statements)
        took_ms.append((time.perf_counter() - started_s) * 1e3)
    return took_ms


async def _keep_busy(busy_us: int) -> None:
    """What a request's handler looks like from outside: computing, then a turn for others."""
    while True:
        end_s = time.perf_counter() + busy_us / 1e6
        while time.perf_counter() < end_s:
            sum(range(50))
        await trio.lowlevel.checkpoint()


# -- What batching saves ------------------------------------------------------------------------


def _batches(sizes: Sizes, scratch: Path) -> list[Figure]:
    """Durable commands through the product's writer, so many to a commit."""
    data = DataDirectory(scratch / "batches")
    try:
        writer = Writer.open(
            data.create(_PROJECT), project=_PROJECT, tag=project_tag(_PROJECT), at_us=0
        )
        try:
            took_us: dict[int, list[float]] = {batch: [] for batch in BATCHES}
            cursor = 0
            for _ in range(sizes.rounds):
                for batch in BATCHES:
                    commands = sizes.batch_commands // (8 if batch == 1 else 1)
                    started_s = time.perf_counter()
                    cursor = _append(writer, cursor, commands=commands, batch=batch)
                    took_us[batch].append((time.perf_counter() - started_s) * 1e6 / commands)
        finally:
            writer.close()
    finally:
        data.close()
    return [
        figure_of(f"durable, {batch} to a commit", found, "us/command")
        for batch, found in took_us.items()
    ]


def _append(writer: Writer, cursor: int, *, commands: int, batch: int) -> int:
    for first in range(0, commands, batch):
        writer.begin()
        for _ in range(min(batch, commands - first)):
            cursor += 1
            writer.savepoint()
            writer.append(Event(cursor, cursor, "agent", _created(cursor)))
            writer.keep_savepoint()
        writer.commit()
    return cursor


def _created(ordinal: int) -> ReservationCreated:
    return ReservationCreated(
        reservation_id=f"rsv_{ordinal:030}",
        agent_id=f"agent-{ordinal % 64:03}",
        patterns=(f"pkg{ordinal % 100}/src/file{ordinal}.py",),
        mode=Mode.EXCLUSIVE,
        reason="",
        ttl_ms=1_800_000,
        expires_at_us=ordinal + 1_800_000_000,
    )


def _fsync(scratch: Path, count: int) -> Figure:
    """What this disk takes to make one page durable: the floor of every commit."""
    took_us = []
    with (scratch / "fsync").open("wb", buffering=0) as file:
        for _ in range(count):
            file.write(b"x" * 4096)
            started_s = time.perf_counter()
            os.fdatasync(file.fileno())
            took_us.append((time.perf_counter() - started_s) * 1e6)
    return figure_of("fdatasync of one page", took_us, "us")
