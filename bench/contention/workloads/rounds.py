"""The five calls that an agent makes around a piece of work, and many projects at once."""

from collections.abc import Sequence
from itertools import cycle
from time import perf_counter

import attrs

from bench.contention import asks
from bench.contention.jobs import Variant
from bench.contention.loop import Script
from bench.contention.stage import Stage
from bench.contention.workloads.base import Findings, Judged, Load, Part, Workload
from bench.report import Figure
from bench.texts import texts

_TEXT_LEN = 512
_TEXTS = 32
_SIZES = (1, 20, 50)
_CALLS = 5
_AGENTS_PER_PROJECT = 4
# In open loop, of each process: the rounds are theirs one after the other.
_AGENTS = 50


class FiveCalls(Workload):
    """Reserve, send 512 bytes to the next agent, list, read the inbox, release."""

    name = "fivecall"
    title = "five-call round: reserve, send, list, inbox, release"
    needs = frozenset({"send", "inbox"})
    has_rate = True

    def variants(self, load: Load) -> list[Variant]:
        if load.rate is not None:
            return [Variant("", load.clients_or(0))]
        sizes = (load.clients,) if load.clients else _SIZES
        return [Variant(f"{size} clients", size) for size in sizes]

    def run(self, stage: Stage) -> None:
        job = stage.job
        if job.rate is None:
            stage.play({f"agent-{at:03}": _rounds(stage, at) for at in stage.own})
            return
        begun = iter(range(1 << 40))
        bodies = list(texts(_TEXTS, _TEXT_LEN, seed=job.part))
        agents = [_Agent(f"agent-{job.part}-{at:03}") for at in range(_AGENTS)]

        def make(due_s: float) -> Script:
            number = next(begun)
            agent, other = agents[number % _AGENTS], agents[(number + 1) % _AGENTS]
            path = stage.path(f"src/t{job.turn}p{job.part}n{number}.py")
            return _round(stage, agent, other.name, path, bodies[number % _TEXTS], due_s)

        stage.play_open("reserve", job.rate / _CALLS, make)

    def judge(self, parts: Sequence[Part]) -> Judged:
        if not parts[0].variant.label:
            # At a rate, how many there were is what was asked for.
            return Judged()
        found = Findings()
        for part in parts:
            done = part.of("round").ok
            rate = done / max(part.took_s, 1e-9)
            found.add(Figure(f"{part.variant.label}: rounds", rate, "rounds/s"), of=done)
        return found.judged()


@attrs.define
class _Agent:
    """Who makes the calls, and how far the inbox has been read."""

    name: str
    cursor: int = 0


def _rounds(stage: Stage, ordinal: int) -> Script:
    agent = _Agent(f"agent-{ordinal:03}")
    other = f"agent-{(ordinal + 1) % stage.job.variant.clients:03}"
    path = stage.path(f"src/part{ordinal}.py")
    for body in cycle(texts(_TEXTS, _TEXT_LEN, seed=ordinal)):
        if stage.is_over():
            return
        yield from _round(stage, agent, other, path, body, None)


def _round(
    stage: Stage, agent: _Agent, other: str, path: str, body: str, due_s: float | None
) -> Script:
    """One round, which counts from its intended time if it has one."""
    project = stage.job.project
    begun_s = perf_counter() if due_s is None else due_s
    ask = asks.reserve(project, agent.name, path)
    ask.due_s = due_s
    mine = yield ask
    sent = yield asks.send(project, agent.name, [other], body)
    listed = yield asks.held(project)
    read = yield asks.inbox(project, agent.name, after=agent.cursor)
    assert mine is not None
    assert sent is not None
    assert listed is not None
    assert read is not None
    if mine.status != 201:
        return
    freed = yield asks.release(agent.name, mine.members()["id"])
    assert freed is not None
    told = read.members().get("cursor")
    agent.cursor = max(agent.cursor, told) if isinstance(told, int) else agent.cursor
    if {sent.status, listed.status, read.status, freed.status} == {200}:
        stage.done("round", begun_s, freed.answered_s)


class ManyProjects(Workload):
    """Four agents in each of very many projects, each with a path of its own."""

    name = "projects"
    title = "many projects, four agents each"
    makes_projects = True
    passes_over = frozenset({"clients"})

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
            f"first-{at}": _once(stage, project, f"first-{at}")
            for at, project in enumerate(projects)
        }
        stage.play(scripts, projects)

    def run(self, stage: Stage) -> None:
        scripts = {}
        projects = []
        for at in stage.own:
            projects.append(f"{stage.job.project}-{at // _AGENTS_PER_PROJECT}")
            scripts[f"agent-{at:03}"] = _alone(stage, projects[-1], at)
        stage.play(scripts, projects)


def _once(stage: Stage, project: str, agent: str) -> Script:
    path = stage.path("first.py")
    mine = yield asks.reserve(project, agent, path, operation="first use of a project")
    assert mine is not None
    if mine.status == 201:
        yield asks.release(agent, mine.members()["id"], operation="")


def _alone(stage: Stage, project: str, ordinal: int) -> Script:
    agent = f"agent-{ordinal:03}"
    path = stage.path(f"src/a{ordinal % _AGENTS_PER_PROJECT}.py")
    while not stage.is_over():
        mine = yield asks.reserve(project, agent, path)
        assert mine is not None
        if mine.status == 201:
            yield asks.release(agent, mine.members()["id"])
