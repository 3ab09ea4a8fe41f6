"""The generator processes of a run, and how they are told what to do."""

import os
import selectors
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import IO

import attrs

from bench.contention.jobs import Job, Report, Word, decode_said, put, take
from bench.machine import ROOT, rss_bytes

# Enough for the word to reach every process before it counts.
_NOTICE_S = 0.01
_LOOK_S = 0.1
_SILENT_S = 300.0
_END_S = 10.0


class GeneratorFailed(Exception):
    """A generator process ended or went silent; what it said stands in our standard error."""


@attrs.frozen
class Done:
    """What came of a job that several processes did together.

    Attributes:
        started_s, took_s: The agreed beginning, and how long the slowest of them took.
        memory: What the server process held meanwhile, as (time, bytes).
    """

    reports: list[Report]
    started_s: float
    took_s: float
    memory: list[tuple[float, int]]


class Crew:
    """Generator processes that wait for jobs."""

    def __init__(self, processes: "Sequence[subprocess.Popen[bytes]]") -> None:
        self._processes = processes

    def __len__(self) -> int:
        return len(self._processes)

    def do(self, job: Job) -> Done:
        """Have a job done by all of them, or by one if its clients have to be together.

        Raises:
            GeneratorFailed: One of them did not do it.
        """
        alone = job.variant.alone or job.prepared is None
        members = self._processes[:1] if alone else self._processes
        for part, process in enumerate(members):
            put(_sink(process), Word(attrs.evolve(job, part=part, parts=len(members))))
        memory: list[tuple[float, int]] = []
        for process in members:
            if self._hear(process, job, memory) is not None:
                raise GeneratorFailed(f"{job.workload} did not wait for the word")
        start_s = perf_counter() + _NOTICE_S
        for process in members:
            put(_sink(process), Word(go_s=start_s))
        reports = []
        for process in members:
            report = self._hear(process, job, memory)
            if report is None:
                raise GeneratorFailed(f"{job.workload} waited for the word twice")
            reports.append(report)
        return Done(reports, start_s, max(each.took_s for each in reports), memory)

    def _hear(
        self, process: "subprocess.Popen[bytes]", job: Job, memory: list[tuple[float, int]]
    ) -> Report | None:
        source = _source(process)
        silent_s = perf_counter() + _SILENT_S + job.seconds
        with selectors.DefaultSelector() as selector:
            selector.register(source, selectors.EVENT_READ)
            while not selector.select(_LOOK_S):
                if job.place.pid is not None:
                    # A server that has ended is found out by the calls that fail.
                    with suppress(OSError):
                        memory.append((perf_counter(), rss_bytes(job.place.pid)))
                if perf_counter() > silent_s:
                    raise GeneratorFailed(f"{job.workload} on {job.place.name}: silent for long")
        data = take(source)
        if data is None:
            raise GeneratorFailed(f"{job.workload} on {job.place.name}: a generator has ended")
        return decode_said(data).report


def processes_default() -> int:
    """So many that they do not crowd out a server on the same machine."""
    return max(2, min(4, len(os.sched_getaffinity(0)) // 2))


@contextmanager
def crew_of(count: int, histories: Sequence[Path] = ()) -> Iterator[Crew]:
    """Generator processes, until the block ends.

    Args:
        histories: A file for each of them to keep its calls in; none to keep no history.
    """
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for part in range(count):
            command = [sys.executable, "-m", "bench.contention.worker", str(part)]
            command += [str(path) for path in histories[part : part + 1]]
            processes.append(
                subprocess.Popen(
                    command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
                )
            )
        yield Crew(processes)
        for process in processes:
            put(_sink(process), Word())
    finally:
        for process in processes:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    _sink(process).close()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _source(process).close()


def _sink(process: "subprocess.Popen[bytes]") -> IO[bytes]:
    assert process.stdin is not None
    return process.stdin


def _source(process: "subprocess.Popen[bytes]") -> IO[bytes]:
    assert process.stdout is not None
    return process.stdout
