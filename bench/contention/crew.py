"""The generator processes of a run, and how they are told what to do."""

import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import IO

import attrs
import msgspec

from bench.contention.jobs import BEAT_S, Job, Report, Said, Word, decode_said, put, take
from bench.machine import ROOT, rss_bytes

# Enough for the word to reach every process before it counts.
_NOTICE_S = 0.01
_LOOK_S = 0.1
# Several times as long as a generator may be silent.
_SILENT_S = 12 * BEAT_S
_END_S = 10.0
_STOPPED_BY = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """Somebody wants the run to end; the text says how that was said."""


@attrs.define
class Generator:
    """A generator process.

    Attributes:
        part: Which of them, from 0.
        lost: Why it does nothing any more, in words; empty while it works.
    """

    part: int
    process: "subprocess.Popen[bytes]"
    errors: IO[bytes]
    lost: str = ""

    @property
    def pid(self) -> int:
        """Of its process."""
        return self.process.pid

    @property
    def sink(self) -> IO[bytes]:
        """What it reads."""
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def source(self) -> IO[bytes]:
        """What it says."""
        assert self.process.stdout is not None
        return self.process.stdout

    def tell(self, word: Word) -> None:
        """Tell it something; whether it lives shows in what it says."""
        with suppress(OSError):
            put(self.sink, word)

    def give_up(self, why: str) -> None:
        """Expect nothing of it any more."""
        self.process.kill()
        self.lost = f"generator {self.part} (process {self.pid}) {why}"

    def has_ended(self) -> None:
        """It has hung up: find out why."""
        try:
            code = self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.give_up("closed its output and went on")
            return
        said = self._last_words()
        if code < 0:
            why = f"was killed by {_signal_name(-code)}"
        else:
            why = f"ended with {code}" + (f": {said}" if said else "")
        self.lost = f"generator {self.part} (process {self.pid}) {why}"

    def _last_words(self) -> str:
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").split("\n")
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")

    def end(self, *, at_once: bool) -> None:
        """End it: by word, unless it is to be at once, and then not."""
        if at_once:
            self.process.kill()
        with suppress(OSError):
            self.sink.close()
        try:
            self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.source.close()
        # A warning of Python, or where an error came from.
        self.errors.seek(0)
        sys.stderr.write(self.errors.read().decode(errors="replace"))
        self.errors.close()


@attrs.frozen
class Done:
    """What came of a job that several processes did together.

    Attributes:
        reports: Of those that did it.
        started_s, took_s: The agreed beginning, and how long the slowest of them took.
        memory: What the server process held meanwhile, as (time, bytes).
        lost: What became of those that did not do it; empty when all did.
    """

    reports: list[Report]
    started_s: float
    took_s: float
    memory: list[tuple[float, int]]
    lost: str = ""


class Crew:
    """Generator processes that wait for jobs.

    Attributes:
        stopped_by: The signal that said that the run is to end; empty when none did.
    """

    def __init__(self, generators: Sequence[Generator]) -> None:
        self.generators = generators
        self.stopped_by = ""

    def __len__(self) -> int:
        return len(self.generators)

    @property
    def is_whole(self) -> bool:
        """Whether all are there and nobody wants to end."""
        return not self.stopped_by and not any(each.lost for each in self.generators)

    def do(self, job: Job) -> Done:
        """Have a job done by all of them, or by one if its clients have to be together.

        Raises:
            Interrupted: A signal came.
        """
        self._look_up()
        alone = job.variant.alone or job.prepared is None
        members = self.generators[:1] if alone else self.generators
        for part, member in enumerate(members):
            member.tell(Word(attrs.evolve(job, part=part, parts=len(members))))
        memory: list[tuple[float, int]] = []
        for member in members:
            said = self._hear(member, job, memory)
            if said is not None and said.report is not None:
                member.give_up("did not wait for the word")
        # Whoever is ready goes on without those that are lost.
        ready = [member for member in members if not member.lost]
        start_s = perf_counter() + _NOTICE_S
        for member in ready:
            member.tell(Word(go_s=start_s))
        heard = [self._hear(member, job, memory) for member in ready]
        reports = [each.report for each in heard if each is not None and each.report is not None]
        return Done(
            reports,
            start_s,
            max((each.took_s for each in reports), default=0.0),
            memory,
            "; ".join(member.lost for member in members if member.lost),
        )

    def _look_up(self) -> None:
        if self.stopped_by:
            raise Interrupted(f"stopped by {self.stopped_by}")

    def _hear(self, member: Generator, job: Job, memory: list[tuple[float, int]]) -> Said | None:
        """What one of them says next, but for that it lives; None when it is lost."""
        while True:
            said = self._hear_one(member, job, memory)
            if said is None or not said.is_alive:
                return said

    def _hear_one(
        self, member: Generator, job: Job, memory: list[tuple[float, int]]
    ) -> Said | None:
        silent_s = perf_counter() + _SILENT_S
        with selectors.DefaultSelector() as selector:
            selector.register(member.source, selectors.EVENT_READ)
            while not selector.select(_LOOK_S):
                self._look_up()
                if job.place.pid is not None:
                    # A server that has ended is found out by the calls that fail.
                    with suppress(OSError):
                        memory.append((perf_counter(), rss_bytes(job.place.pid)))
                if perf_counter() > silent_s:
                    member.give_up(f"said nothing for {_SILENT_S:.0f} s")
                    return None
        data = take(member.source)
        if data is None:
            member.has_ended()
            return None
        try:
            return decode_said(data)
        except msgspec.MsgspecError as error:
            member.give_up(f"said what nobody understands: {error}")
            return None


def processes_default() -> int:
    """So many that they do not crowd out a server on the same machine."""
    return max(2, min(4, len(os.sched_getaffinity(0)) // 2))


@contextmanager
def crew_of(count: int, histories: Sequence[Path] = ()) -> Iterator[Crew]:
    """Generator processes, until the block ends.

    They are a process group of their own each, so that Ctrl-C is for us alone to see to: it and
    SIGTERM end the run at the next occasion, a second one ends us at once.

    Args:
        histories: A file for each of them to keep its calls in; none to keep no history.
    """
    generators: list[Generator] = []
    crew = Crew(generators)
    try:
        with _stopping(crew):
            generators.extend(_started(part, histories[part : part + 1]) for part in range(count))
            yield crew
        for generator in generators:
            generator.tell(Word())
    finally:
        for generator in generators:
            generator.end(at_once=not crew.is_whole)


def _started(part: int, history: Sequence[Path]) -> Generator:
    command = [sys.executable, "-m", "bench.contention.worker", str(part), *map(str, history)]
    errors = tempfile.TemporaryFile()  # noqa: SIM115 (it is closed when the generator has ended)
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        bufsize=0,
        process_group=0,
    )
    return Generator(part, process, errors)


@contextmanager
def _stopping(crew: Crew) -> Iterator[None]:
    """Let signals end the run where they can be received; elsewhere they do what they do."""
    before: dict[signal.Signals, signal._HANDLER] = {}

    def stop(number: int, _: FrameType | None) -> None:
        crew.stopped_by = _signal_name(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    try:
        with suppress(ValueError):
            # Python takes handlers in the main thread only.
            for each in _STOPPED_BY:
                before[each] = signal.signal(each, stop)
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return f"{name}, as of a system out of memory" if name == "SIGKILL" else name
