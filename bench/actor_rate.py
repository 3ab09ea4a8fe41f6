"""`actor`: reserve and release through the project actor, in process, durable on a real disk."""

import cProfile
import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import attrs
import trio

from actors import Directory, Envelope
from bench import profiled
from bench.machine import schedule
from bench.report import Figure, Result, Scale, figure_of
from intermute.domain.commands import Caller, ReleaseReservation, ReservePaths
from intermute.domain.decision import Accepted
from intermute.domain.limits import TTL_DEFAULT_MS
from intermute.project import actor as actor_module
from intermute.project.actor import ProjectRules
from intermute.project.directory import Projects, ProjectsSettings
from intermute.storage.writer import Writer
from intermute.web.collector import settle as settle_collector

RATE_TARGET = 15_000.0
_PROJECT = "bench"
_PROFILE_ROWS = 30
_STARVED_SHARE_MAX = 0.05


@attrs.frozen
class Sizes:
    """The numbers of a run."""

    askers: int
    slices: int
    slice_s: float
    warm_up_s: float


SIZES = {
    Scale.FULL: Sizes(askers=64, slices=9, slice_s=2.0, warm_up_s=1.0),
    Scale.QUICK: Sizes(askers=64, slices=5, slice_s=0.5, warm_up_s=0.3),
    Scale.TINY: Sizes(askers=8, slices=2, slice_s=0.05, warm_up_s=0.01),
}


@attrs.frozen
class _Slice:
    commands: int
    seconds: float
    cpu_s: float
    starved_s: float

    @property
    def rate(self) -> float:
        return self.commands / self.seconds

    @property
    def cpu_us(self) -> float:
        return self.cpu_s * 1e6 / self.commands

    @property
    def disk_us(self) -> float:
        """Neither running nor waiting for a processor: then it waits for the disk."""
        return max(0.0, self.seconds - self.cpu_s - self.starved_s) * 1e6 / self.commands

    @property
    def starved_share(self) -> float:
        return self.starved_s / self.seconds


def measure(scale: Scale, scratch: Path, *, profile: bool = False) -> Result:
    """Run it; slices of the bare runtime, which decides nothing, alternate with the real ones."""
    sizes = SIZES[scale]
    with _settled():
        return trio.run(_measure, sizes, scratch, profile)


@contextmanager
def _settled() -> Iterator[None]:
    """The collector of garbage as a server sets it up, which is one to a process."""
    thresholds = gc.get_threshold()
    settle_collector()
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


async def _measure(sizes: Sizes, scratch: Path, profile: bool) -> Result:
    settings = ProjectsSettings(path=scratch / "actor", rules=ProjectRules())
    projects = Projects(settings)
    async with trio.open_nursery() as nursery:
        await nursery.start(projects.serve)
        bare: Directory[str, int, int] = _bare_directory()
        await nursery.start(lambda task_status: bare.serve(drain_s=1.0, task_status=task_status))
        await _slice(_askers(projects, sizes.askers), sizes.warm_up_s)
        real, idle = [], []
        for _ in range(sizes.slices):
            real.append(await _slice(_askers(projects, sizes.askers), sizes.slice_s))
            idle.append(await _slice(_bare_askers(bare, sizes.askers), sizes.slice_s / 4))
        with _timed() as spent_ns:
            timed = await _slice(_askers(projects, sizes.askers), sizes.slice_s)
        texts: tuple[str, ...] = ()
        if profile:
            profiler = cProfile.Profile()
            with profiler:
                found = await _slice(_askers(projects, sizes.askers), sizes.slice_s)
            rows = profiled.table(profiler, rows=_PROFILE_ROWS, requests=found.commands)
            texts = (f"  profile, {found.commands} commands\n{rows}",)
        projects.stop()
        bare.stop()
    rates = [found.rate for found in real]
    figures = [
        figure_of(f"rate, {sizes.askers} askers", rates, "commands/s", target=RATE_TARGET),
        figure_of("a command's time on the CPU", [found.cpu_us for found in real], "us"),
        figure_of("a command's wait for the disk", [found.disk_us for found in real], "us"),
        figure_of("bare runtime: CPU of a message", [found.cpu_us for found in idle], "us"),
        *_breakdown(timed, spent_ns),
    ]
    warnings = []
    starved = median(found.starved_share for found in real)
    if starved > _STARVED_SHARE_MAX:
        warnings.append(
            f"{starved:.0%} of the time there was no processor for it: others are using this "
            "machine; trust the times of a command"
        )
    return Result(tuple(figures), attrs.asdict(sizes), warnings=tuple(warnings), texts=texts)


def _breakdown(timed: _Slice, spent_ns: dict[str, int]) -> list[Figure]:
    """Where the time of a command goes, by the wall, in a slice of its own with timers set."""
    whole_us = timed.seconds * 1e6 / timed.commands
    parts = {name: ns / 1e3 / timed.commands for name, ns in spent_ns.items()}
    rest_us = whole_us - sum(parts.values())
    return [
        *(Figure(f"of it: {name}", value, "us") for name, value in parts.items()),
        Figure("of it: mailbox, reply, askers, timers", rest_us, "us"),
    ]


_Asker = Callable[[float], Any]


async def _slice(askers: Sequence[_Asker], seconds: float) -> _Slice:
    """All askers at once until the time is over; every command is answered before it ends."""
    counts: list[int] = []
    cpu_s, started_s = time.process_time(), time.perf_counter()
    before = schedule(os.getpid()) or (0.0, 0.0)

    async def run(asker: _Asker) -> None:
        counts.append(await asker(started_s + seconds))

    async with trio.open_nursery() as nursery:
        for asker in askers:
            nursery.start_soon(run, asker)
    after = schedule(os.getpid()) or (0.0, 0.0)
    return _Slice(
        commands=sum(counts),
        seconds=time.perf_counter() - started_s,
        cpu_s=time.process_time() - cpu_s,
        starved_s=after[1] - before[1],
    )


def _askers(projects: Projects, count: int) -> list[_Asker]:
    def asker(ordinal: int) -> _Asker:
        agent_id = f"asker-{ordinal:03}"
        caller = Caller(agent_id=agent_id, operator=True)
        reserve = ReservePaths(
            agent_id, (f"pkg{ordinal}/src/mod3/asker{ordinal}.py",), ttl_ms=TTL_DEFAULT_MS
        )

        async def ask(end_s: float) -> int:
            asked = 0
            while time.perf_counter() < end_s:
                told = await projects.ask(_PROJECT, reserve, caller)
                assert isinstance(told.decision, Accepted), told
                release = ReleaseReservation(told.decision.answer.reservation_id, agent_id)
                told = await projects.ask(_PROJECT, release, caller)
                assert isinstance(told.decision, Accepted), told
                asked += 2
            return asked

        return ask

    return [asker(ordinal) for ordinal in range(count)]


class _Echo:
    """A behaviour that answers with what it was asked."""

    async def handle(self, batch: Sequence[Envelope[int, int]]) -> None:
        for envelope in batch:
            envelope.reply.resolve(envelope.message)

    def may_stop(self) -> bool:
        return True


def _bare_directory() -> Directory[str, int, int]:
    @asynccontextmanager
    async def opened(_: str) -> Any:
        yield _Echo()

    return Directory(opened, live_max=1, idle_s=60.0, mailbox_len_max=1024, batch_len_max=256)


def _bare_askers(bare: Directory[str, int, int], count: int) -> list[_Asker]:
    async def ask(end_s: float) -> int:
        asked = 0
        while time.perf_counter() < end_s:
            await bare.ask("echo", asked)
            asked += 1
        return asked

    return [ask] * count


@contextmanager
def _timed() -> Iterator[dict[str, int]]:
    """Put a stopwatch around the parts of a command; nanoseconds by part."""
    spent_ns = {"decide": 0, "apply to memory": 0, "SQL": 0, "commit": 0}
    parts: list[tuple[Any, str, str]] = [
        (actor_module, "decide", "decide"),
        (actor_module, "apply", "apply to memory"),
        *((Writer, name, "SQL") for name in _STATEMENTS),
        (Writer, "commit", "commit"),
    ]
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in parts]
    for owner, name, part in parts:
        setattr(owner, name, _stopwatch(getattr(owner, name), part, spent_ns))
    try:
        yield spent_ns
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


_STATEMENTS = ("begin", "savepoint", "keep_savepoint", "append", "note")


def _stopwatch(function: Callable[..., Any], part: str, spent_ns: dict[str, int]) -> Any:
    now_ns = time.perf_counter_ns

    def timed(*arguments: Any) -> Any:
        started_ns = now_ns()
        try:
            return function(*arguments)
        finally:
            spent_ns[part] += now_ns() - started_ns

    return timed
