"""kill -9 of the real server under load; the log of what it acknowledged is kept outside of it."""

import random
import signal
from contextlib import suppress

import attrs
import trio

from intermute.domain.events import ReservationCreated, ReservationReleased
from intermute.storage.files import file_name

from ..project.harness import assert_consistent, log_of
from .served import Gone, connected, start

SEED = 20_260_131
CYCLES = 3
CLIENTS = 6
PROJECT = "killed"


@attrs.define
class Ledger:
    """What clients were told yes to. `unknown` holds requests whose answer never came."""

    reserved: dict[str, str] = attrs.field(factory=dict)
    released: set[str] = attrs.field(factory=set)
    releasing: set[str] = attrs.field(factory=set)
    unknown: list[str] = attrs.field(factory=list)
    made: int = 0
    enough: trio.Event = attrs.field(factory=trio.Event)
    left: int = 0

    def acknowledged(self):
        self.left -= 1
        if self.left <= 0:
            self.enough.set()


async def ask(client, ledger, key):
    """Reserve a path of its own under an idempotency key; the path is the key."""
    headers = [("Idempotency-Key", key)]
    members = {"project": PROJECT, "agent_id": "load", "path": key, "reason": key}
    ledger.unknown.append(key)
    status, answer = await client.call("POST", "/api/reservations", headers, members)
    if status == 201:
        ledger.reserved[key] = answer["id"]
        ledger.unknown.remove(key)
        ledger.acknowledged()


async def give_back(client, ledger, key):
    ledger.releasing.add(key)
    path = f"/api/reservations/{ledger.reserved[key]}"
    status, _ = await client.call("DELETE", path, [("X-Agent-ID", "load")])
    if status == 200:
        ledger.released.add(key)
        ledger.acknowledged()


async def load(port, ledger, seed):
    """One client: it reserves, and now and then gives something back, until the server is gone."""
    chance = random.Random(seed)
    mine = []
    async with connected(port) as client:
        with suppress(Gone):
            while True:
                if mine and chance.random() < 0.3:
                    await give_back(client, ledger, mine.pop(chance.randrange(len(mine))))
                else:
                    ledger.made += 1
                    key = f"path-{ledger.made}"
                    await ask(client, ledger, key)
                    mine.append(key)


async def load_until_killed(folder, ledger, chance):
    async with trio.open_nursery() as nursery:
        process, port = await start(folder, nursery)
        ledger.left, ledger.enough = chance.randrange(40, 160), trio.Event()
        for _ in range(CLIENTS):
            nursery.start_soon(load, port, ledger, chance.random())
        await ledger.enough.wait()
        process.kill()
        await process.wait()


async def look(folder, ledger, *, ask_again):
    """Start again and compare what is there with what was acknowledged; stop the clean way."""
    async with trio.open_nursery() as nursery:
        process, port = await start(folder, nursery)
        async with connected(port) as client:
            for key, reservation_id in ledger.reserved.items():
                status, shown = await client.call("GET", f"/api/reservations/{reservation_id}")
                assert status == 200, (key, shown)
                assert shown["path_pattern"] == key
                if key in ledger.released:
                    assert "released_at" in shown, key
                elif key not in ledger.releasing:
                    assert shown["is_active"], key
            for key in tuple(ledger.unknown) if ask_again else ():
                ledger.unknown.remove(key)
                await ask(client, ledger, key)
            assert ledger.unknown == [] or not ask_again
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(tmp_path):
    chance = random.Random(SEED)
    ledger = Ledger()
    for _ in range(CYCLES):
        with trio.fail_after(120):
            await load_until_killed(tmp_path, ledger, chance)
    with trio.fail_after(120):
        await look(tmp_path, ledger, ask_again=True)
    data = tmp_path / "data"
    path = data / file_name(PROJECT)
    assert sorted(entry.name for entry in data.iterdir()) == sorted(["server.lock", path.name])
    assert_consistent(path, tmp_path / "scratch.sqlite3")
    log = [event.data for event in log_of(path)]
    made = [data.reason for data in log if isinstance(data, ReservationCreated)]
    assert len(made) == len(set(made)), "asked again, and done twice"
    assert set(made) == set(ledger.reserved)
    gone = {data.reservation_id for data in log if isinstance(data, ReservationReleased)}
    assert {ledger.reserved[key] for key in ledger.released} <= gone
    assert gone <= {ledger.reserved[key] for key in ledger.releasing}
    assert len(ledger.reserved) > 60, "there was some load"
