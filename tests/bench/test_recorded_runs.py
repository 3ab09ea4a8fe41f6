"""The real server, asked by several clients at once; what it answered is recorded and checked."""

import math
import random
import secrets
from pathlib import Path

import attrs
import pytest
import trio

from bench.linearizability.checker import check
from bench.linearizability.counterexample import lines
from bench.linearizability.history import Header, Recorder, read
from bench.linearizability.search import Verdict
from intermute.domain import reservations
from intermute.domain.views import CheckedView
from intermute.project.actor import ProjectActor

from ..e2e.conftest import running_server
from ..effort import effort
from ..faults.served import Gone, connect, serving
from ..project.harness import quick_folder

PROJECT = "recorded"
CLIENTS = 4
PATTERNS = ("src", "src/*.py", "src/a.py", "src/{a,b}.py", "**/b.py", "docs/**", "docs/a.md")
MODES = ("exclusive", "exclusive", "shared", "intent_exclusive", "intent_shared")
TTLS_S = (1, 60, 600)
KINDS = {
    "reservation_not_found": "not_found",
    "reservation_lapsed": "lapsed",
    "not_the_owner": "not_owner",
}
DONE = {"reserve": "granted", "renew": "renewed", "release": "released", "check": "free"}


def outcome_of(operation, status, members):
    """An answer in the words of a history; None when nobody can tell what was done."""
    if status in (200, 201):
        found = members.get("conflicts") if operation == "check" else None
        if found:
            return {"kind": "conflict", "conflicts": [each["reservation_id"] for each in found]}
        if operation == "reserve":
            named = {"reservation_id": members["id"], "fencing_token": members["fencing_token"]}
            return {"kind": "granted", **named}
        return {"kind": DONE[operation]}
    if status >= 500 and members.get("outcome") != "not_done":
        return None
    if members["error"] == "reservation_conflict":
        assert not members["more"]
        found = [each["reservation_id"] for each in members["conflicts"]]
        return {"kind": "conflict", "conflicts": found}
    code = members["error"]
    return {"kind": KINDS[code]} if code in KINDS else {"kind": "refused", "code": code}


@attrs.define
class Player:
    """One client: it makes random calls, and records them.

    Attributes:
        known: Reservations that anybody was granted, for calls about those of others.
        left: How many calls it still makes.
    """

    name: str
    chance: random.Random
    recorder: Recorder
    known: list[str]
    left: int
    made: int = 0
    again: tuple | None = None

    async def play(self, served, half):
        """Make all calls, life after life of the server. Tells `half` when half is done."""
        enough = self.left // 2
        while self.left:
            await served.up()
            with served.this_life():
                await self._play_one_life(await self._connected(served), half, enough)

    async def _connected(self, served):
        while True:
            try:
                return await connect(served.port)
            except OSError:
                await served.next_life()

    async def _play_one_life(self, connection, half, enough):
        try:
            while self.left:
                self.left -= 1
                if self.left == enough:
                    half.set()
                await self._one(connection)
        except Gone:
            return
        finally:
            with trio.CancelScope(shield=True):
                await connection.close()

    async def _one(self, connection):
        # What was lost is asked again, under its key if it has one; now and then something else.
        again, self.again = self.again, None
        operation, arguments = again or self._asked()
        begun = self.recorder.begin(self.name, operation, arguments)
        request = self._request(operation, arguments)
        try:
            status, headers, members = await connection.call(*request)
        except BaseException:
            self.recorder.unknown(begun)
            self.again = (operation, arguments)
            raise
        if "key" in arguments and self.chance.random() < 0.2:
            self.again = (operation, arguments)
        outcome = outcome_of(operation, status, members)
        if outcome is None:
            self.recorder.unknown(begun)
            return
        place = int(headers["intermute-epoch"]), int(headers["intermute-seq"])
        self.recorder.end(begun, outcome, epoch=place[0], seq=place[1])
        if outcome["kind"] == "granted":
            self.known.append(outcome["reservation_id"])

    def _asked(self):
        chance = self.chance
        operation = chance.choice(("reserve", "reserve", "release", "release", "renew", "check"))
        if operation in ("renew", "release") and self.known:
            name = chance.choice(self.known[-8:])
            arguments = {"agent": self.name, "reservation_id": name}
            if operation == "renew":
                arguments["ttl_ms"] = chance.choice(TTLS_S) * 1000
        else:
            operation = "check" if operation == "check" else "reserve"
            patterns = chance.sample(PATTERNS, chance.choice((1, 1, 2)))
            arguments = {"agent": self.name, "patterns": patterns, "mode": chance.choice(MODES)}
            if operation == "reserve":
                arguments["ttl_ms"] = chance.choice(TTLS_S) * 1000
        if operation != "check" and chance.random() < 0.5:
            self.made += 1
            arguments["key"] = f"{self.name}-{self.made}"
        return operation, arguments

    def _request(self, operation, arguments):
        headers = [("X-Agent-ID", self.name)]
        if "key" in arguments:
            headers.append(("Idempotency-Key", arguments["key"]))
        if operation == "release":
            return "DELETE", f"/api/reservations/{arguments['reservation_id']}", headers
        members = {"agent": arguments["agent"]}
        if "ttl_ms" in arguments:
            members["ttl_seconds"] = arguments["ttl_ms"] // 1000
        if operation == "renew":
            target = f"/api/reservations/{arguments['reservation_id']}/renew"
            return "POST", target, headers, members
        members |= {"project": PROJECT, "patterns": arguments["patterns"]}
        members["mode"] = arguments["mode"]
        end = "/check" if operation == "check" else ""
        return "POST", f"/api/reservations{end}", headers, members


def players(seed, recorder, calls):
    chance, known = random.Random(seed), []
    for number in range(CLIENTS):
        mine = random.Random(chance.random())
        yield Player(f"p{number}", mine, recorder, known, calls)


async def record(folder, seed, *, calls, is_killed):
    """Let clients contend, with the server killed when half is done or not; the history."""
    path = folder / "history.jsonl"
    half = trio.Event()
    header = Header(server="intermute", settings={"seed": seed, "clients": CLIENTS})
    with Recorder(header, path) as recorder:
        async with serving(folder) as served:
            await served.start()
            async with trio.open_nursery() as nursery:
                for player in players(seed, recorder, calls):
                    nursery.start_soon(player.play, served, half)
                if is_killed:
                    await half.wait()
                    await served.kill()
                    await served.start()
    return read(path)


@pytest.mark.parametrize("is_killed", [False, True], ids=["contention", "kill and restart"])
async def test_what_the_server_answers_has_an_order(is_killed):
    seed = secrets.randbits(32)
    with trio.fail_after(effort(120, 1_800)), quick_folder() as folder:
        calls = effort(150, 5_000)
        history = await record(Path(folder), seed, calls=calls, is_killed=is_killed)
    found = check(history, time_limit_s=math.inf, remembered_max=500_000)
    example = found.searched.counterexample
    shown = [] if example is None else lines(example)
    report = "\n".join([f"the seed is {seed}", str(found.searched.why), *shown])
    assert found.searched.verdict is Verdict.LINEARIZABLE, report
    assert found.witnessed.verdict is Verdict.LINEARIZABLE, (seed, found.witnessed)
    # Checks before there is anything in the project have no place.
    assert found.witnessed.unplaced <= CLIENTS
    kinds = {call.outcome["kind"] for call in history.calls if call.outcome is not None}
    assert {"granted", "conflict", "renewed", "released", "not_found", "not_owner"} <= kinds
    assert len({call.epoch for call in history.calls} - {None, 0}) == (2 if is_killed else 1)
    # The same calls with one answer changed: the check can fail.
    assert check(with_a_lie(history)).verdict is Verdict.VIOLATION


def with_a_lie(history):
    """The last grant in the history is said to be a conflict with itself."""
    calls = list(history.calls)
    place = max(
        place
        for place, call in enumerate(calls)
        if call.outcome is not None and call.outcome["kind"] == "granted"
    )
    name = calls[place].outcome["reservation_id"]
    calls[place] = attrs.evolve(calls[place], outcome={"kind": "conflict", "conflicts": [name]})
    return attrs.evolve(history, calls=tuple(calls))


# -- Servers with a bug, of which the check must find what it leads to


def overlap_is_skipped(monkeypatch):
    def nothing(*_, **__):
        return CheckedView((), 0, more=False)

    monkeypatch.setattr(reservations, "conflicts", nothing)


def retries_are_not_remembered(monkeypatch):
    monkeypatch.setattr(ProjectActor, "_recall", lambda self, ask, idempotency: None)


def anybody_may_release(monkeypatch):
    def found(state, reservation_id, agent_id, fencing_token=None):
        held = state.holdings.by_id.get(reservation_id)
        return (
            held or state.lapsed.by_id.get(reservation_id) or reservations.not_found(reservation_id)
        )

    monkeypatch.setattr(reservations, "find_own", found)


def leases_last_too_short(monkeypatch):
    real = reservations.ReservationCreated

    def shorter(**members):
        members["expires_at_us"] -= members["ttl_ms"] * 1000 - 20_000
        return real(**members)

    monkeypatch.setattr(reservations, "ReservationCreated", shorter)


def there_is_none(monkeypatch):
    """Else a check that finds fault with everything would pass."""


TRIES = 6
BUGS = (
    there_is_none,
    overlap_is_skipped,
    retries_are_not_remembered,
    anybody_may_release,
    leases_last_too_short,
)


@pytest.mark.parametrize("bug", BUGS, ids=[bug.__name__ for bug in BUGS])
async def test_a_server_with_a_bug_is_found_out_and_no_other(monkeypatch, bug):
    """A bug does not come to light in every run, but in one of a few."""
    bug(monkeypatch)
    expected = Verdict.LINEARIZABLE if bug is there_is_none else Verdict.VIOLATION
    seeds = [secrets.randbits(32) for _ in range(TRIES)]
    for seed in seeds:
        found = await a_short_run(seed)
        if found.verdict is expected:
            return
        assert expected is Verdict.VIOLATION, f"the seed is {seed}"
    pytest.fail(f"none of the seeds {seeds} shows it")


async def a_short_run(seed):
    recorder = Recorder(Header(server="intermute with a bug"))
    with trio.fail_after(120), quick_folder() as folder:
        async with running_server(Path(folder)) as server, trio.open_nursery() as nursery:
            for player in players(seed, recorder, 100):
                connection = await connect(server.port)
                nursery.start_soon(player._play_one_life, connection, trio.Event(), 0)
    recorder.close()
    return check(recorder.history(), time_limit_s=math.inf, remembered_max=100_000)
