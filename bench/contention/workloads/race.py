"""The race: so many clients ask for one path at once, and exactly one may have it."""

from collections.abc import Sequence

from bench.contention import asks
from bench.contention.jobs import Variant
from bench.contention.links import Reply
from bench.contention.loop import Meet, Script
from bench.contention.stage import Stage
from bench.contention.workloads.base import Judged, Load, Part, Workload
from bench.path_race import Answer, check_round
from bench.report import Bound, Figure

_SIZES = (2, 8, 32)
_PATH = "src/contended.py"


class Race(Workload):
    """All ask before anybody reads an answer, so they are clients of one process."""

    name = "race"
    title = "race to one winner"
    is_recorded = True

    def variants(self, load: Load) -> list[Variant]:
        rounds = load.pick(full=1_000, quick=100, tiny=6)
        sizes = (load.clients,) if load.clients else _SIZES
        return [
            Variant(f"{size} clients", size, {"rounds": rounds // load.turns}, alone=True)
            for size in sizes
        ]

    def run(self, stage: Stage) -> None:
        rounds = int(stage.job.variant.numbers["rounds"])
        referee = _Referee(stage, [f"racer-{at:03}" for at in stage.own])
        stage.play({agent: _racing(stage, agent, rounds, referee) for agent in referee.agents})

    def judge(self, parts: Sequence[Part]) -> Judged:
        figures = []
        for part in parts:
            label = part.variant.label
            wrong = sum(count for name, count in part.counts.items() if name.startswith("winners "))
            fair = part.counts["winners 1"]
            figures += [
                Figure(f"{label}: rounds", wrong, ""),
                Figure(
                    f"{label}: rounds without exactly one winner",
                    wrong - fair,
                    "",
                    target=0,
                    bound=Bound.AT_MOST,
                ),
                Figure(f"{label}: different winners", len(set(part.values.get("winner", ()))), ""),
            ]
        return Judged(tuple(figures))


class _Referee:
    """Looks at the answers of a round once all are in."""

    def __init__(self, stage: Stage, agents: list[str]) -> None:
        self.agents = agents
        self.path = _PATH
        self._stage = stage
        self._answers: list[tuple[str, Reply]] = []
        self._last = (0, 0)

    def answer(self, agent: str, reply: Reply) -> None:
        self._answers.append((agent, reply))

    def released(self, reply: Reply) -> None:
        self._last = max(self._last, reply.place() or (0, 0))

    def end_round(self, number: int) -> None:
        """Judge a round, once; whoever comes second finds nothing left to do."""
        answers, self._answers = self._answers, []
        if not answers:
            return
        for text in wrong_with(answers, self.agents, self._last, self._stage):
            self._stage.violations.append(f"round {self._stage.job.turn}.{number}: {text}")
        self._last = max([self._last, *(reply.place() or (0, 0) for _, reply in answers)])


def wrong_with(
    answers: Sequence[tuple[str, Reply]],
    agents: list[str],
    last: tuple[int, int],
    stage: Stage,
) -> list[str]:
    """What is wrong with the answers of one round; it is counted on the stage as well.

    A target whose answers say where they stand in the order is held to that as well.
    """
    winners = [agent for agent, reply in answers if reply.status == 201]
    lost = [reply.status for _, reply in answers if reply.status not in (201, 409)]
    stage.counts[f"winners {len(winners)}"] += 1
    for agent in winners[:1]:
        stage.add("winner", agent)
    if lost:
        # Somebody else may have won without hearing of it.
        return [f"{len(winners)} winners: {winners}"] if len(winners) > 1 else []
    if not stage.can("order"):
        return [] if len(winners) == 1 else [f"{len(winners)} winners: {winners}"]
    numbers = {agent: number for number, agent in enumerate(agents)}
    told = [
        Answer(numbers[agent], reply.status, reply.place() or (0, 0), reply.members())
        for agent, reply in answers
    ]
    return check_round(told, agents, after=last)


def _racing(stage: Stage, agent: str, rounds: int, referee: _Referee) -> Script:
    size = len(referee.agents)
    ask = asks.reserve(stage.job.project, agent, referee.path)
    for number in range(rounds):
        yield Meet("start", size)
        reply = yield ask
        assert reply is not None
        referee.answer(agent, reply)
        yield Meet("finish", size)
        referee.end_round(number)
        if reply.status == 201:
            released = yield asks.release(agent, reply.members()["id"])
            assert released is not None
            referee.released(released)
        elif reply.status <= 0:
            yield from _give_back(stage, agent)


def _give_back(stage: Stage, agent: str) -> Script:
    """Release what a call without an answer may have been granted."""
    listed = yield asks.held(stage.job.project)
    assert listed is not None
    for found in listed.members().get("reservations", ()):
        if found["agent_id"] == agent:
            yield asks.release(agent, found["id"])
