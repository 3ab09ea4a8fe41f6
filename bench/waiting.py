"""`waiting`: many clients stand in line for one path, over HTTP, and the line is looked at closely.

Every client takes the path, holds it for a moment, gives it back and gets in line again. What the
event log says is looked at afterwards: nobody may have been overtaken. Then half of a full line is
cut off, again and again, and rings of agents each ask for what the next one has.
"""

import heapq
import random
import select
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from time import perf_counter, sleep
from typing import Any

import apsw
import attrs
import msgspec

from bench.connection import Connection, request
from bench.load import percentile
from bench.machine import schedule
from bench.report import Bound, Figure, Result, Scale
from bench.server import Server, running_server
from intermute.domain.limits import CONFIRM_MS
from intermute.storage.connections import open_reader
from intermute.storage.files import file_name

PROJECT = "waiting"
PATH = "src/contended/file.py"
HOLD_S = 0.005
_STALL_S = 60.0
# No lingering: closing such a socket sends a reset.
_RESET = struct.pack("ii", 1, 0)


@attrs.frozen
class Sizes:
    """The numbers of a run.

    Attributes:
        grants: To clients that wait in turn, in so many `stretches`.
        cuts: How often half of a full line is cut off.
        rings: How many rings of each size from 2 to 8.
        pairs: Reservations that nobody contends, and as many requests that do nothing.
    """

    clients: int
    grants: int
    stretches: int
    cuts: int
    rings: int
    pairs: int
    seed: int = 1


SIZES = {
    Scale.FULL: Sizes(clients=16, grants=2_000, stretches=10, cuts=20, rings=20, pairs=2_000),
    Scale.QUICK: Sizes(clients=16, grants=400, stretches=5, cuts=4, rings=3, pairs=500),
    Scale.TINY: Sizes(clients=4, grants=12, stretches=2, cuts=2, rings=1, pairs=10),
}


class Asker:
    """A connection that asks one thing after the other and waits for each answer."""

    def __init__(self, port: int) -> None:
        self._connection = Connection(port)
        self._connection.sock.settimeout(_STALL_S)
        self.wrong: list[str] = []

    def ask(
        self,
        method: str,
        target: str,
        members: dict[str, Any] | None = None,
        *,
        agent: str = "",
        expected: int = 200,
    ) -> dict[str, Any]:
        """The members of the answer; a status that is not the expected one is noted."""
        headers = f"X-Agent-ID: {agent}\r\n" if agent else ""
        body = b"" if members is None else msgspec.json.encode(members)
        return self.send(request(method, target, headers=headers, body=body), expected=expected)

    def send(self, asked: bytes, *, expected: int = 200) -> dict[str, Any]:
        connection = self._connection
        connection.send(asked)
        while not connection.receive():
            pass
        answer: dict[str, Any] = msgspec.json.decode(connection.body)
        if connection.status != expected:
            self.wrong.append(f"unexpected {connection.status} for {asked[:60]!r}: {answer}")
        return answer

    def reserve(self, agent: str, path: str, **members: Any) -> dict[str, Any]:
        expected = members.pop("expected", 201)
        body = {"agent_id": agent, "path": path, "project": PROJECT, **members}
        return self.ask("POST", "/api/reservations", body, expected=expected)

    def release(self, agent: str, reservation_id: str) -> None:
        self.ask("DELETE", f"/api/reservations/{reservation_id}", agent=agent)

    def waiting(self) -> int:
        """How many wait in line now."""
        return len(self.ask("GET", f"/api/reservations/tickets?project={PROJECT}")["tickets"])

    def close(self) -> None:
        self._connection.close()


class Client:
    """Somebody who takes the path, holds it and gives it back.

    Attributes:
        asked_s: When it got in line.
        held: The reservation that it has, None while it waits.
    """

    def __init__(self, port: int, ordinal: int) -> None:
        self.agent = f"client-{ordinal:03}"
        self.connection = Connection(port)
        self.asked_s = 0.0
        self.held: str | None = None
        self._headers = f"X-Agent-ID: {self.agent}\r\n"
        body = {"agent_id": self.agent, "path": PATH, "project": PROJECT, "wait_seconds": 60}
        self._wait = request("POST", "/api/reservations", body=msgspec.json.encode(body))

    def get_in_line(self) -> None:
        self.asked_s = perf_counter()
        self.connection.send(self._wait)

    def give_back(self) -> None:
        target = f"/api/reservations/{self.held}"
        self.connection.send(request("DELETE", target, headers=self._headers))

    def cut(self, *, reset: bool) -> None:
        """Be gone, as a process that was killed; with `reset`, as one whose machine was."""
        if reset:
            self.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.connection.close()


@attrs.define
class Seen:
    """What was measured.

    Attributes:
        handed_s: From each release to the next client's having the path.
        waited_s: From getting in line to having the path.
        wrong: Answers that should not have been.
    """

    handed_s: list[float] = attrs.field(factory=list)
    waited_s: list[float] = attrs.field(factory=list)
    wrong: list[str] = attrs.field(factory=list)


class Line:
    """Clients that are in line, and the loop that drives them until none is left."""

    def __init__(self, clients: Sequence[Client], seen: Seen, *, asks: int = 0) -> None:
        self._by_fd = {client.connection.fileno(): client for client in clients}
        self._seen = seen
        self._asks_left = asks
        self._due: list[tuple[float, int]] = []
        # When the path was given back that nobody was seen to have since.
        self.freed_s: float | None = None

    def run(self) -> None:
        """Serve everybody; they get in line again as long as there are asks left."""
        poll = select.epoll()
        try:
            for fd in self._by_fd:
                poll.register(fd, select.EPOLLIN)
            while self._by_fd:
                wait_s = max(0.0, self._due[0][0] - perf_counter()) if self._due else _STALL_S
                ready = poll.poll(wait_s)
                if not ready and not self._due:
                    raise TimeoutError(f"nobody was served for {_STALL_S} s")
                for fd, _ in ready:
                    if self._by_fd[fd].connection.receive():
                        self._settle(fd, self._by_fd[fd])
                while self._due and self._due[0][0] <= perf_counter():
                    client = self._by_fd[heapq.heappop(self._due)[1]]
                    self.freed_s = perf_counter()
                    client.give_back()
        finally:
            poll.close()

    def _settle(self, fd: int, client: Client) -> None:
        now_s, connection = perf_counter(), client.connection
        if client.held is None and connection.status == 201:
            if self.freed_s is not None:
                self._seen.handed_s.append(now_s - self.freed_s)
                self.freed_s = None
            self._seen.waited_s.append(now_s - client.asked_s)
            client.held = msgspec.json.decode(connection.body)["id"]
            heapq.heappush(self._due, (now_s + HOLD_S, fd))
            return
        if client.held is None or connection.status != 200:
            self._seen.wrong.append(f"unexpected {connection.status}: {connection.body[:300]!r}")
        client.held = None
        if self._asks_left > 0:
            self._asks_left -= 1
            client.get_in_line()
        else:
            del self._by_fd[fd]


def measure(scale: Scale, scratch: Path, *, profile: bool = False) -> Result:
    """Run it and check it."""
    sizes = SIZES[scale]
    data = scratch / "waiting"
    turns, cuts = Seen(), Seen()
    noops_s: list[float] = []
    paced_s: list[float] = []
    with running_server(data) as server:
        asker = Asker(server.port)
        alone = _uncontended(server, asker, sizes)
        # In stretches, because machines are not equally fast all the time.
        for _ in range(sizes.stretches):
            noops_s += _do_nothing(asker, sizes.pairs // sizes.stretches)
            paced_s += _do_nothing(asker, sizes.grants // sizes.stretches, pause_s=HOLD_S)
            _take_turns(server, sizes, turns)
        _cut_lines(server, asker, sizes, cuts)
        ring_s, wrong_rings = _close_rings(asker, sizes)
        asker.close()
    overtaken = check_line(data / file_name(PROJECT))
    handed_s, waited_s = sorted(turns.handed_s), sorted(turns.waited_s)
    paced_ms = percentile(sorted(paced_s), 0.5) * 1e3
    figures = (
        Figure("a no-op after the last one, p50", percentile(sorted(noops_s), 0.5) * 1e3, "ms"),
        Figure("a no-op after a hold's time, p50", paced_ms, "ms"),
        _at_most("release to grant, p50", percentile(handed_s, 0.5) * 1e3, "ms", 3 * paced_ms),
        Figure("release to grant, p99", percentile(handed_s, 0.99) * 1e3, "ms"),
        Figure("a wait, mean", fmean(waited_s) * 1e3, "ms"),
        _at_most("a wait, p99", percentile(waited_s, 0.99) * 1e3, "ms", 2 * fmean(waited_s) * 1e3),
        _at_most("overtaken", len(overtaken), "", 0),
        _at_most("half the line cut off: longest free", max(cuts.handed_s) * 1e3, "ms", CONFIRM_MS),
        _at_most("rings not found", len(wrong_rings), "", 0),
        Figure("a deadlock refused, p50", percentile(sorted(ring_s), 0.5) * 1e3, "ms"),
        *alone,
    )
    found = [*turns.wrong, *cuts.wrong, *asker.wrong, *overtaken, *wrong_rings]
    return Result(
        figures,
        attrs.asdict(sizes),
        details={"found": found[:100], "grants": len(waited_s)},
        warnings=tuple(found[:10]),
    )


def _at_most(name: str, value: float, unit: str, target: float) -> Figure:
    return Figure(name, value, unit, target=target, bound=Bound.AT_MOST)


def _do_nothing(asker: Asker, count: int, *, pause_s: float = 0.0) -> list[float]:
    """How long so many requests took that do nothing, seconds.

    A release comes after a hold, in which server, client and processor have gone to sleep. A no-op
    after a pause pays for waking them too.
    """
    health = request("GET", "/health")
    times_s = []
    for _ in range(count):
        if pause_s:
            sleep(pause_s)
        started_s = perf_counter()
        asker.send(health)
        times_s.append(perf_counter() - started_s)
    return times_s


def _uncontended(server: Server, asker: Asker, sizes: Sizes) -> tuple[Figure, ...]:
    """What a reservation that nobody contends costs, and giving it back."""
    before = schedule(server.pid)
    started_s = perf_counter()
    for ordinal in range(sizes.pairs):
        held = asker.reserve("alone", f"src/{ordinal}.py")
        asker.release("alone", held["id"])
    took_s = perf_counter() - started_s
    after = schedule(server.pid)
    figures = [Figure("uncontended: reserve and release", took_s / sizes.pairs * 1e3, "ms")]
    if before is not None and after is not None:
        cpu_ms = (after[0] - before[0]) / sizes.pairs * 1e3
        figures.append(Figure("uncontended: the server's processor time", cpu_ms, "ms"))
    return tuple(figures)


def _take_turns(server: Server, sizes: Sizes, seen: Seen) -> None:
    """One stretch of everybody's being in line, over and over."""
    clients = [Client(server.port, ordinal) for ordinal in range(sizes.clients)]
    for client in clients:
        client.get_in_line()
    Line(clients, seen, asks=sizes.grants // sizes.stretches - sizes.clients).run()
    for client in clients:
        client.connection.close()


def _cut_lines(server: Server, asker: Asker, sizes: Sizes, seen: Seen) -> None:
    """Fill the line, cut off half of it, give the path back, serve the rest.

    Every other time it is given back at once, so that the server has no time to notice.
    """
    chance = random.Random(sizes.seed)
    for number in range(sizes.cuts):
        held = asker.reserve("holder", PATH)
        clients = [Client(server.port, ordinal) for ordinal in range(sizes.clients)]
        for client in clients:
            client.get_in_line()
        while asker.waiting() < sizes.clients:
            pass
        doomed = chance.sample(clients, sizes.clients // 2)
        rest = [client for client in clients if client not in doomed]
        line = Line(rest, seen)
        for client in doomed:
            client.cut(reset=number % 4 < 2)
        while number % 2 and asker.waiting() > len(rest):
            pass
        line.freed_s = perf_counter()
        asker.release("holder", held["id"])
        line.run()
        for client in rest:
            client.connection.close()


def _close_rings(asker: Asker, sizes: Sizes) -> tuple[list[float], list[str]]:
    """How long each refusal of a deadlock took, seconds; and what was wrong with any of them."""
    times_s: list[float] = []
    wrong: list[str] = []
    for size in range(2, 9):
        agents = [
            asker.ask("POST", "/api/agents", {"name": f"Ring{n}", "project": PROJECT})["agent_id"]
            for n in range(size)
        ]
        for number in range(sizes.rings):
            paths = [f"ring/{size}/{number}/{n}" for n in range(size)]
            held = [asker.reserve(agent, path) for agent, path in zip(agents, paths, strict=True)]
            tickets = [
                asker.reserve(agent, path, queue=True, expected=202)
                for agent, path in zip(agents, paths[1:], strict=False)
            ]
            started_s = perf_counter()
            refusal = asker.reserve(agents[-1], paths[0], queue=True, expected=409)
            times_s.append(perf_counter() - started_s)
            told = [agent["agent_id"] for agent in refusal.get("cycle", ())]
            if told != [agents[-1], *agents[:-1]]:
                wrong.append(f"a ring of {size} was told as one of {told}")
            for ticket in tickets:
                path = f"/api/reservations/tickets/{ticket['ticket_id']}"
                asker.ask("DELETE", path, agent=ticket["agent_id"])
            for agent, reservation in zip(agents, held, strict=True):
                asker.release(agent, reservation["id"])
    return times_s, wrong


def check_line(path: Path) -> list[str]:
    """What the event log has against the claim that nobody was overtaken."""
    connection = open_reader(path)
    try:
        return _check_events(connection)
    finally:
        connection.close()


def _check_events(connection: apsw.Connection) -> list[str]:
    """Every ticket here waits for one path alone, so among those of a path the oldest is next."""
    found: list[str] = []
    lines: dict[str, list[str]] = {}
    path_of: dict[str, str] = {}
    for kind, ticket_id, patterns in connection.execute(
        "SELECT type, entity_id, data ->> '$.patterns' FROM events "
        "WHERE type IN ('reservation.queued', 'reservation.granted', 'reservation.skipped', "
        "'reservation.cancelled') ORDER BY cursor"
    ):
        if kind == "reservation.queued":
            path_of[ticket_id] = patterns
            lines.setdefault(patterns, []).append(ticket_id)
            continue
        line = lines[path_of[ticket_id]]
        if ticket_id not in line:
            # It was granted before and not taken up.
            continue
        if kind == "reservation.granted" and line[0] != ticket_id:
            found.append(f"{ticket_id} was granted before {line[0]}")
        line.remove(ticket_id)
    found += [f"{ticket_id} never ended" for line in lines.values() for ticket_id in line]
    return found
