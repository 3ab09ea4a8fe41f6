"""What counts as under way in the whole server, and what does not."""

from functools import partial

import apsw
import pytest
import trio

from intermute.domain import limits

from .answers import refused
from .conftest import Server, running_server
from .line import until_waiting
from .listening import listening, streaming

ROOM = 2


@pytest.fixture
async def narrow(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """A server that lets in two requests at a time."""
    for name in ("MIN", "FIRST", "MAX"):
        monkeypatch.setattr(limits, f"REQUESTS_ADMITTED_{name}", ROOM)
    # However slow the machine, what waits for the lock goes on waiting and counts.
    monkeypatch.setattr(limits, "STORAGE_RETRIES_MAX", 10_000)
    monkeypatch.setattr(limits, "ADMITTED_STALLED_MS", 600_000)
    async with running_server(tmp_path) as running:
        yield running


async def test_while_some_are_decided_others_are_refused(narrow: Server):
    held = await narrow.reserve("ada", "a")
    lock = apsw.Connection(str(narrow.project_file()))
    lock.execute("BEGIN IMMEDIATE")
    async with trio.open_nursery() as nursery:
        for number in range(ROOM):
            # One that ends its connection is always let in, whatever else is asked meanwhile.
            close = {"Connection": "close"}
            nursery.start_soon(partial(narrow.reserve, "bob", f"b{number}", headers=close))
        answer = await narrow.client.get("/health")
        while answer.status_code == 200:
            answer = await narrow.client.get(f"/api/reservations/{held['id']}")
        assert "nothing was done" in refused(answer, 503, "overloaded")["detail"]
        assert (await narrow.client.get("/health")).status_code == 200
        lock.execute("ROLLBACK")
        lock.close()
    assert (await narrow.client.get(f"/api/reservations/{held['id']}")).status_code == 200


async def test_who_waits_for_a_reservation_or_an_event_keeps_nobody_out(narrow: Server):
    held = await narrow.reserve("ada", "src")
    async with streaming(narrow), listening(narrow), trio.open_nursery() as nursery:
        for number, agent in enumerate(("bob", "eve"), start=1):
            nursery.start_soon(partial(narrow.reserve, agent, f"src/{agent}", wait_seconds=60))
            await until_waiting(narrow, number)
        assert (await narrow.release("ada", held["id"])).status_code == 200
    assert (await narrow.client.get("/api/reservations")).status_code == 200


async def test_who_is_answered_no_longer_counts(narrow: Server):
    """Each body comes after its head, so the end of one is met while its answer is on its way."""
    for _ in range(100):
        refused(await narrow.client.post("/api/agents", json={"name": 1}), 400, "invalid_request")
