"""The race: so many clients ask for one path at once, and exactly one may have it."""

from collections.abc import Sequence

from bench.contention import asks
from bench.contention.jobs import Variant
from bench.contention.links import NOT_CONNECTED, Reply
from bench.contention.loop import Meet, Script
from bench.contention.recording import is_unknown
from bench.contention.stage import Stage
from bench.contention.workloads.base import Findings, Judged, Load, Part, Workload
from bench.path_race import Answer, check_round
from bench.report import Bound, Figure

_SIZES = (2, 8, 32)
UNDECIDED = "undecided"


class Race(Workload):
    """All ask before anybody reads an answer, so they are clients of one process."""

    name = "race"
    title = "race to one winner"
    is_recorded = True
    passes_over = frozenset({"seconds"})

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
        found = Findings()
        warnings = []
        for part in parts:
            label, winners = part.variant.label, part.values.get("winner", [])
            decided = sum(
                count for name, count in part.counts.items() if name.startswith("winners ")
            )
            undecided = part.counts[UNDECIDED]
            found.add(Figure(f"{label}: rounds", decided + undecided, ""), of=decided)
            found.add(
                Figure(
                    f"{label}: rounds without exactly one winner",
                    decided - part.counts["winners 1"],
                    "",
                    target=0,
                    bound=Bound.AT_MOST,
                ),
                of=decided,
            )
            found.add(Figure(f"{label}: different winners", len(set(winners)), ""), of=len(winners))
            if undecided:
                warnings.append(
                    f"{label}: {undecided} rounds were not decided: somebody had neither the path "
                    "nor a conflict, and may have won"
                )
        return found.judged(warnings=warnings)


class _Referee:
    """Looks at the answers of a round once all are in.

    Attributes:
        path: That the next round is about. It is another one when somebody may still hold the last.
    """

    def __init__(self, stage: Stage, agents: list[str]) -> None:
        self.agents = agents
        self._moves = 0
        self._stage = stage
        self._answers: list[tuple[str, Reply]] = []
        self._last = (0, 0)

    @property
    def path(self) -> str:
        return self._stage.path(f"src/t{self._stage.job.turn}/raced{self._moves}.py")

    def move_on(self) -> None:
        """Nobody can tell whether the path is free."""
        self._moves += 1

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

    A round in which nobody was told that it won, and somebody was told neither that nor of a
    conflict, is not decided: who was not answered may have won it. A target whose answers say
    where they stand in the order is held to that as well.
    """
    winners = [agent for agent, reply in answers if reply.status == 201]
    lost = [reply.status for _, reply in answers if reply.status not in (201, 409)]
    undecided = bool(lost) and not winners
    stage.counts[UNDECIDED if undecided else f"winners {len(winners)}"] += 1
    for agent in winners[:1]:
        stage.add("winner", agent)
    if lost:
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
    for number in range(rounds):
        yield Meet("start", size)
        ask = asks.reserve(stage.job.project, agent, referee.path)
        reply = yield ask
        assert reply is not None
        referee.answer(agent, reply)
        yield Meet("finish", size)
        referee.end_round(number)
        if reply.status == 201:
            free = asks.release(agent, reply.members()["id"])
            released = yield free
            assert released is not None
            referee.released(released)
            if released.status != free.wanted:
                referee.move_on()
        elif is_unknown(reply) and reply.status != NOT_CONNECTED:
            referee.move_on()
            yield from _give_back(stage, agent)


def _give_back(stage: Stage, agent: str) -> Script:
    """Release what a call without an answer may have been granted."""
    listed = yield asks.held(stage.job.project)
    assert listed is not None
    reservations = listed.members().get("reservations")
    for found in reservations if isinstance(reservations, list) else ():
        if isinstance(found, dict) and found.get("agent_id") == agent:
            yield asks.release(agent, str(found.get("id")))
