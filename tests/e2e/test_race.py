"""Many agents want the same path at the same moment, and one of them gets it."""

from pathlib import Path

import apsw
import attrs
import httpx
import trio

from .answers import place, refused
from .conftest import Server, running_server

CLIENTS = 32
ROUNDS = 20


@attrs.define
class Round:
    """The answers to one round, by agent."""

    path: str
    answers: dict[str, httpx.Response] = attrs.field(factory=dict)

    async def ask(self, client: httpx.AsyncClient, agent_id: str, start: trio.Event) -> None:
        await start.wait()
        body = {"agent_id": agent_id, "path": self.path, "exclusive": True}
        self.answers[agent_id] = await client.post("/api/reservations", json=body)

    def winner(self) -> tuple[str, str]:
        """Who won and under which id, once it is sure that nobody else did."""
        granted = [name for name, answer in self.answers.items() if answer.status_code == 201]
        assert len(granted) == 1, (self.path, granted)
        held = self.answers[granted[0]].json()
        for name, answer in self.answers.items():
            if name != granted[0]:
                (conflict,) = refused(answer, 409, "reservation_conflict")["conflicts"]
                assert conflict["agent_id"] == granted[0]
                assert conflict["reservation_id"] == held["id"]
                assert conflict["witness"] == self.path
        return granted[0], held["id"]


async def race(server: Server, path: str, agents: list[str]) -> Round:
    start, round_ = trio.Event(), Round(path)
    async with trio.open_nursery() as nursery:
        for agent_id in agents:
            nursery.start_soon(round_.ask, server.client, agent_id, start)
        start.set()
    return round_


def logged(path: Path) -> list[tuple[str, str, str]]:
    """The project's log: type, actor and entity of each event, in order."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        rows = list(connection.execute("SELECT cursor, type, actor, entity_id FROM events"))
    finally:
        connection.close()
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1)), "the log has no gaps"
    return [row[1:] for row in rows]


async def test_of_32_clients_on_one_path_exactly_one_gets_it(tmp_path: Path):
    agents = [f"agent-{number}" for number in range(CLIENTS)]
    wanted: list[tuple[str, str, str]] = []
    places: set[tuple[int, int]] = set()
    async with running_server(tmp_path) as server:
        for number in range(ROUNDS):
            round_ = await race(server, "src/contested.py", agents)
            name, reservation_id = round_.winner()
            places |= {place(answer) for answer in round_.answers.values()}
            wanted.append(("reservation.created", name, reservation_id))
            if number % 2:
                assert (await server.release(name, reservation_id)).status_code == 200
                wanted.append(("reservation.released", name, reservation_id))
                continue
            # Whoever lost may still not have it, until the winner gives it back.
            assert (await server.check("src/**"))["conflicts"][0]["agent_id"] == name
            assert (await server.release(name, reservation_id)).status_code == 200
            wanted.append(("reservation.released", name, reservation_id))
        ready = await server.client.get("/ready")
        assert ready.status_code == 200
        (project,) = ready.json()["projects"]
        assert (project["breaker"], project["storage_faults"]) == ("closed", 0)
        file = server.project_file()
    assert len(places) == CLIENTS * ROUNDS, "every decision has a place of its own"
    assert logged(file) == wanted


async def test_overlapping_patterns_race_as_one_path_does(tmp_path: Path):
    """None of these meets all others in text, yet all of them hold `src/a/b.py`."""
    patterns = ("src/**", "src/a/*.py", "**/b.py", "src/?/b.py", "{src,lib}/a/b.*", "src/[a-c]/**")
    async with running_server(tmp_path) as server:
        for number in range(5):
            answers: dict[str, httpx.Response] = {}

            async def ask(name: str, pattern: str, answers: dict = answers) -> None:
                body = {"agent": name, "path": pattern}
                answers[name] = await server.client.post("/api/reservations", json=body)

            async with trio.open_nursery() as nursery:
                for pattern in patterns:
                    nursery.start_soon(ask, f"{number}-{pattern}", pattern)
            granted = {name: each for name, each in answers.items() if each.status_code == 201}
            assert len(granted) == 1, granted
            ((name, answer),) = granted.items()
            await server.release(name, answer.json()["id"])
