"""`start`: from nothing to the first answer, opening a long history, and memory at rest."""

import time
from pathlib import Path

import attrs
import trio

from bench.history import write_project
from bench.report import Bound, Figure, Result, Scale, figure_of
from bench.server import get, running_server
from intermute.domain.commands import Caller, CheckPaths
from intermute.domain.decision import Accepted
from intermute.project.actor import ProjectActor, ProjectRules
from intermute.project.breaker import Breaker
from intermute.project.clock import SystemClock
from intermute.project.committing import CommitMode, Committer
from intermute.project.directory import Projects, ProjectsSettings
from intermute.storage.files import DataDirectory, project_tag
from intermute.storage.writer import Writer

START_S_MAX = 1.5
OPEN_S_MAX = 0.5
RSS_MB_MAX = 90.0
_PROJECT = "bench"


@attrs.frozen
class Sizes:
    """The numbers of a run."""

    starts: int
    events: int
    active: int
    opens: int


SIZES = {
    Scale.FULL: Sizes(starts=5, events=1_000_000, active=10_000, opens=5),
    Scale.QUICK: Sizes(starts=3, events=100_000, active=10_000, opens=3),
    Scale.TINY: Sizes(starts=1, events=300, active=50, opens=1),
}


def measure(scale: Scale, scratch: Path, *, profile: bool = False) -> Result:
    """Run it."""
    sizes = SIZES[scale]
    starts_s, rss_mb = [], []
    for number in range(sizes.starts):
        with running_server(scratch / f"start-{number}") as server:
            get(server.port, "/api/reservations?project=nothing")
            starts_s.append(server.start_s)
            rss_mb.append(server.rss_bytes() / 1e6)
    directory = scratch / "long"
    built_s = time.perf_counter()
    ended = max(0, sizes.events - sizes.active) // 2
    write_project(directory, _PROJECT, active=sizes.active, ended=ended)
    built_s = time.perf_counter() - built_s
    parts = [trio.run(_open_parts, directory) for _ in range(sizes.opens)]
    asked_s = [trio.run(_first_answer, directory) for _ in range(sizes.opens)]
    figures = (
        figure_of(
            "process start to the first answer",
            starts_s,
            "s",
            target=START_S_MAX,
            bound=Bound.AT_MOST,
        ),
        figure_of("idle memory", rss_mb, "MB", target=RSS_MB_MAX, bound=Bound.AT_MOST),
        figure_of(
            "first answer of a long history", asked_s, "s", target=OPEN_S_MAX, bound=Bound.AT_MOST
        ),
        figure_of("of it: open and verify the file", [part[0] for part in parts], "s"),
        figure_of("of it: load the state", [part[1] for part in parts], "s"),
        figure_of("of it: settle the leases", [part[2] for part in parts], "s"),
        Figure("size of the file", _size_mb(directory), "MB"),
    )
    return Result(figures, attrs.asdict(sizes), details={"built_s": built_s})


async def _open_parts(directory: Path) -> tuple[float, float, float]:
    """Seconds to open the writer, to make the actor, to start it."""
    data, tag, clock = DataDirectory(directory), project_tag(_PROJECT), SystemClock()
    marks = [time.perf_counter()]
    writer = Writer.open(
        data.create(_PROJECT), project=_PROJECT, tag=tag, at_us=clock.stamp().at_us
    )
    try:
        marks.append(time.perf_counter())
        actor = ProjectActor(
            writer,
            tag=tag,
            rules=ProjectRules(),
            clock=clock,
            breaker=Breaker(),
            committer=Committer(CommitMode.AUTO),
        )
        marks.append(time.perf_counter())
        await actor.start()
        marks.append(time.perf_counter())
    finally:
        writer.close()
        data.close()
    return marks[1] - marks[0], marks[2] - marks[1], marks[3] - marks[2]


async def _first_answer(directory: Path) -> float:
    """Seconds from fresh projects to the first decision of one."""
    started_s = time.perf_counter()
    projects = Projects(ProjectsSettings(path=directory))
    async with trio.open_nursery() as nursery:
        await nursery.start(projects.serve)
        told = await projects.ask(_PROJECT, CheckPaths(("nowhere/*.py",)), Caller(operator=True))
        took_s = time.perf_counter() - started_s
        assert isinstance(told.decision, Accepted), told
        assert told.epoch > 0, "an actor answered"
        projects.stop()
    return took_s


def _size_mb(directory: Path) -> float:
    return sum(path.stat().st_size for path in directory.iterdir()) / 1e6
