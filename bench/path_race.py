"""`race`: many clients fight for one path, over and over; one wins each round, and it is proved.

Three witnesses that know nothing of each other must agree: the answers of every round, the order
that `Intermute-Epoch` and `Intermute-Seq` claim, and the event log read from the file afterwards.
"""

import random
import select
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import attrs
import msgspec

from bench.connection import Connection, request
from bench.report import Bound, Figure, Result, Scale
from bench.server import Server, get, running_server
from intermute.storage.connections import open_reader
from intermute.storage.files import file_name

PROJECT = "race"
PATH = "src/contended/file.py"
_STALL_S = 30.0


@attrs.frozen
class Sizes:
    """The numbers of a run. `seed` decides who is first to ask in a round."""

    clients: int
    rounds: int
    seed: int = 1


SIZES = {
    Scale.FULL: Sizes(clients=32, rounds=1_000),
    Scale.QUICK: Sizes(clients=32, rounds=200),
    Scale.TINY: Sizes(clients=4, rounds=5),
}


@attrs.frozen
class Answer:
    """What one client was told."""

    client: int
    status: int
    place: tuple[int, int]
    members: dict[str, Any]


class _Clients:
    """The contenders, each on its own connection."""

    def __init__(self, port: int, count: int) -> None:
        self.connections = [Connection(port) for _ in range(count)]
        self.agents = [f"racer-{number:03}" for number in range(count)]
        self._by_fd = {made.fileno(): number for number, made in enumerate(self.connections)}
        self._poll = select.epoll()
        for fd in self._by_fd:
            self._poll.register(fd, select.EPOLLIN)
        self._reserves = [
            request(
                "POST",
                "/api/reservations",
                headers=f"X-Agent-ID: {agent}\r\n",
                body=msgspec.json.encode(
                    {"agent_id": agent, "path_pattern": PATH, "project": PROJECT}
                ),
            )
            for agent in self.agents
        ]

    def fight(self, order: Sequence[int]) -> list[Answer]:
        """Everybody asks before anybody's answer is read."""
        for number in order:
            self.connections[number].send(self._reserves[number])
        return self._collect(len(order))

    def release(self, number: int, reservation_id: str) -> Answer:
        """One client gives its reservation back."""
        headers = f"X-Agent-ID: {self.agents[number]}\r\n"
        target = f"/api/reservations/{reservation_id}"
        self.connections[number].send(request("DELETE", target, headers=headers))
        return self._collect(1)[0]

    def close(self) -> None:
        self._poll.close()
        for connection in self.connections:
            connection.close()

    def _collect(self, count: int) -> list[Answer]:
        answers: list[Answer] = []
        while len(answers) < count:
            ready = self._poll.poll(_STALL_S)
            if not ready:
                raise TimeoutError(f"no answer for {_STALL_S} s")
            for fd, _ in ready:
                number = self._by_fd[fd]
                connection = self.connections[number]
                if connection.receive():
                    answers.append(_answer(number, connection))
        return answers


def _answer(client: int, connection: Connection) -> Answer:
    epoch = connection.header("intermute-epoch")
    seq = connection.header("intermute-seq")
    place = (int(epoch or 0), int(seq or 0))
    return Answer(client, connection.status, place, msgspec.json.decode(connection.body))


def measure(scale: Scale, scratch: Path, *, profile: bool = False) -> Result:
    """Run it and check it."""
    sizes = SIZES[scale]
    data = scratch / "race"
    with running_server(data) as server:
        violations, wins, seconds = _race(server, sizes)
    violations += check_log((data / file_name(PROJECT)), sizes.rounds)
    figures = (
        Figure("violations", len(violations), "", target=0, bound=Bound.AT_MOST),
        Figure("rounds", sizes.rounds, ""),
        Figure("different winners", len(wins), ""),
        Figure("requests", sizes.rounds * (sizes.clients + 1) / seconds, "requests/s"),
    )
    return Result(
        figures,
        attrs.asdict(sizes),
        details={"violations": violations[:100], "wins": dict(wins)},
        warnings=tuple(violations[:10]),
    )


def _race(server: Server, sizes: Sizes) -> tuple[list[str], Counter[str], float]:
    """The violations, how often each client won, and how long it took."""
    chance = random.Random(sizes.seed)
    clients = _Clients(server.port, sizes.clients)
    order = list(range(sizes.clients))
    wins: Counter[str] = Counter()
    violations: list[str] = []
    last = (0, 0)
    started_s = time.perf_counter()
    try:
        for number in range(sizes.rounds):
            chance.shuffle(order)
            answers = clients.fight(order)
            found = check_round(answers, clients.agents, after=last)
            winners = [answer for answer in answers if answer.status == 201]
            released = [clients.release(won.client, won.members["id"]) for won in winners]
            found += [f"a release answered {r.status}" for r in released if r.status != 200]
            last = max(answer.place for answer in (*answers, *released))
            found += _breakers(get(server.port, "/ready"))
            violations += [f"round {number}: {text}" for text in found]
            wins.update(clients.agents[answer.client] for answer in winners)
    finally:
        clients.close()
    return violations, wins, time.perf_counter() - started_s


def check_round(
    answers: Sequence[Answer], agents: Sequence[str], *, after: tuple[int, int]
) -> list[str]:
    """What is wrong with the answers of one round; `after` is the last place of the one before."""
    found = []
    winners = [answer for answer in answers if answer.status == 201]
    if len(winners) != 1:
        found.append(f"{len(winners)} winners: {[agents[won.client] for won in winners]}")
    places = [answer.place for answer in answers]
    if len(set(places)) != len(places):
        found.append("two answers claim one place in the order")
    if min(places) <= after:
        found.append(f"place {min(places)} is claimed after {after} was answered")
    for won in winners[:1]:
        if won.place != min(places):
            found.append("somebody was refused before anything was granted")
        for answer in answers:
            if answer.status != 201:
                found += _check_refusal(answer, agents[won.client], won.members["id"])
    return found


def _check_refusal(answer: Answer, winner: str, reservation_id: str) -> list[str]:
    """A loser is told 409, and who holds the path."""
    if answer.status != 409 or answer.members.get("error") != "reservation_conflict":
        return [f"a loser was told {answer.status} {answer.members.get('error')}"]
    held = [
        (conflict.get("agent_id"), conflict.get("reservation_id"))
        for conflict in answer.members.get("conflicts", [])
    ]
    return [] if held == [(winner, reservation_id)] else [f"a loser was told of {held}"]


def _breakers(ready: bytes) -> list[str]:
    return [
        f"the breaker is {project['breaker']}, {project['storage_faults']} storage faults"
        for project in msgspec.json.decode(ready)["projects"]
        if project["breaker"] != "closed" or project["storage_faults"]
    ]


def check_log(path: Path, rounds: int) -> list[str]:
    """What the event log has against the claim that grants and releases took turns."""
    connection = open_reader(path)
    try:
        return _check_events(connection, rounds)
    finally:
        connection.close()


def _check_events(connection: apsw.Connection, rounds: int) -> list[str]:
    found: list[str] = []
    held: str | None = None
    granted = 0
    for at, (cursor, kind, entity_id) in enumerate(
        connection.execute("SELECT cursor, type, entity_id FROM events ORDER BY cursor"), 1
    ):
        if cursor != at:
            found.append(f"the log has a gap before cursor {cursor}")
        if kind == "reservation.created":
            granted += 1
            if held is not None:
                found.append(f"{entity_id} was granted while {held} was held")
            held = entity_id
        elif kind == "reservation.released" and entity_id == held:
            held = None
        else:
            found.append(f"unexpected event {kind} of {entity_id}")
    if granted != rounds or held is not None:
        found.append(f"the log has {granted} grants for {rounds} rounds, held at the end: {held}")
    return found
