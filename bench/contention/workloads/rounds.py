"""The five calls that an agent makes around a piece of work, and many projects at once."""

from collections.abc import Sequence
from time import perf_counter

from bench.contention import asks
from bench.contention.jobs import Variant
from bench.contention.loop import Script
from bench.contention.stage import Stage
from bench.contention.workloads.base import Judged, Load, Part, Workload
from bench.report import Figure
from bench.texts import texts

_TEXT_LEN = 512
_TEXTS = 32
_SIZES = (1, 20, 50)
_AGENTS_PER_PROJECT = 4


class FiveCalls(Workload):
    """Reserve, send 512 bytes to the next agent, list, read the inbox, release."""

    name = "fivecall"
    title = "five-call round: reserve, send, list, inbox, release"

    def variants(self, load: Load) -> list[Variant]:
        sizes = (load.clients,) if load.clients else _SIZES
        return [Variant(f"{size} clients", size) for size in sizes]

    def run(self, stage: Stage) -> None:
        stage.play({f"agent-{at:03}": _rounds(stage, at) for at in stage.own})

    def judge(self, parts: Sequence[Part]) -> Judged:
        return Judged(
            tuple(
                Figure(
                    f"{part.variant.label}: rounds",
                    part.of("round").ok / max(part.took_s, 1e-9),
                    "rounds/s",
                )
                for part in parts
            )
        )


def _rounds(stage: Stage, ordinal: int) -> Script:
    project = stage.job.project
    agent = f"agent-{ordinal:03}"
    other = f"agent-{(ordinal + 1) % stage.job.variant.clients:03}"
    bodies = list(texts(_TEXTS, _TEXT_LEN, seed=ordinal))
    number = cursor = 0
    while not stage.is_over():
        begun_s = perf_counter()
        mine = yield asks.reserve(project, agent, f"src/part{ordinal}.py")
        sent = yield asks.send(project, agent, [other], bodies[number % _TEXTS])
        listed = yield asks.held(project)
        read = yield asks.inbox(project, agent, after=cursor)
        assert mine is not None
        assert sent is not None
        assert listed is not None
        assert read is not None
        number += 1
        if mine.status != 201:
            continue
        freed = yield asks.release(agent, mine.members()["id"])
        assert freed is not None
        cursor = int(read.members().get("cursor", cursor))
        if {sent.status, listed.status, read.status, freed.status} == {200}:
            stage.done("round", begun_s, freed.answered_s)


class ManyProjects(Workload):
    """Four agents in each of very many projects, each with a path of its own."""

    name = "projects"
    title = "many projects, four agents each"
    makes_projects = True

    def variants(self, load: Load) -> list[Variant]:
        projects = load.pick(full=100, quick=100, tiny=3)
        # So many clients begin at once that a short slice would be nothing but their beginning.
        least_s = load.pick(full=5.0, quick=4.0, tiny=0.1)
        turns = load.pick(full=4, quick=1, tiny=1)
        clients = projects * _AGENTS_PER_PROJECT
        numbers: dict[str, float] = {"projects": projects}
        return [Variant("", clients, numbers, least_s=least_s, turns_most=turns)]

    def prepare(self, stage: Stage) -> None:
        """A project's first use is not what is measured here."""
        count = int(stage.job.variant.numbers["projects"])
        projects = [f"{stage.job.project}-{at}" for at in range(count)]
        scripts = {
            f"first-{at}": _once(project, f"first-{at}") for at, project in enumerate(projects)
        }
        stage.play(scripts, projects)

    def run(self, stage: Stage) -> None:
        scripts = {}
        projects = []
        for at in stage.own:
            projects.append(f"{stage.job.project}-{at // _AGENTS_PER_PROJECT}")
            scripts[f"agent-{at:03}"] = _alone(stage, projects[-1], at)
        stage.play(scripts, projects)


def _once(project: str, agent: str) -> Script:
    mine = yield asks.reserve(project, agent, "first.py", operation="first use of a project")
    assert mine is not None
    if mine.status == 201:
        yield asks.release(agent, mine.members()["id"], operation="")


def _alone(stage: Stage, project: str, ordinal: int) -> Script:
    agent, path = f"agent-{ordinal:03}", f"src/a{ordinal % _AGENTS_PER_PROJECT}.py"
    while not stage.is_over():
        mine = yield asks.reserve(project, agent, path)
        assert mine is not None
        if mine.status == 201:
            yield asks.release(agent, mine.members()["id"])
