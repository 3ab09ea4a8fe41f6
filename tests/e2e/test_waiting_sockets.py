"""Waiting over a WebSocket: the answer comes when there is one, and keeps no other back."""

from typing import Any

import pytest

from intermute.domain import limits

from .conftest import Server, ShiftedClock
from .line import queue, ticket, until_waiting, wait_until
from .listening import Listener, listening

GRACE_S = limits.HEARTBEAT_GRACE_MS / 1000


@pytest.fixture
async def listener(server: Server):
    """A socket that hears nothing of the feed, so that all it reads are answers."""
    async with listening(server, types="nothing.ever") as socket:
        yield socket


def waiting(request_id: object, agent_id: str, *patterns: str, **more: Any) -> dict[str, Any]:
    params = {"agent_id": agent_id, "patterns": patterns, "wait_seconds": 60, **more}
    method = "reservations.create"
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


async def test_an_answer_that_takes_long_keeps_no_other_back(server: Server, listener: Listener):
    held = await server.reserve("ada", "src")
    await listener.say(waiting("later", "bob", "src/a.py"))
    for _ in range(3):
        assert (await listener.ask("reservations.list"))["result"]["reservations"]
    await until_waiting(server, 1)
    params = {"reservation_id": held["id"], "agent_id": "ada"}
    await listener.say(
        {"jsonrpc": "2.0", "id": "now", "method": "reservations.release", "params": params}
    )
    answers = {answer["id"]: answer for answer in (await listener.read(), await listener.read())}
    assert answers["now"]["result"]["is_active"] is False
    assert answers["later"]["result"]["agent_id"] == "bob"
    assert answers["later"]["seq"] > answers["now"]["seq"], "the place is that of the grant"


async def test_what_arrives_together_is_decided_in_its_order(server: Server, listener: Listener):
    """The first of two waits for the second, and the third comes after both."""
    held = await server.reserve("ada", "src")
    release = {"reservation_id": held["id"], "agent_id": "ada"}
    late = {"agent_id": "eve", "patterns": ["src"]}
    for message in (
        waiting(1, "bob", "src"),
        {"jsonrpc": "2.0", "id": 2, "method": "reservations.release", "params": release},
        {"jsonrpc": "2.0", "id": 3, "method": "reservations.create", "params": late},
    ):
        await listener.say(message)
    answers = {}
    while len(answers) < 3:
        answer = await listener.read()
        answers[answer["id"]] = answer
    assert answers[1]["result"]["agent_id"] == "bob"
    assert answers[2]["result"]["is_active"] is False
    assert answers[3]["error"]["data"]["error"] == "reservation_conflict"


async def test_the_time_to_wait_ends_with_who_is_in_the_way(server: Server, listener: Listener):
    held = await server.reserve("ada", "src")
    await listener.say(waiting(1, "bob", "src", wait_seconds=0.01))
    error = (await listener.answer(1))["error"]
    assert error["data"]["status"] == 409
    assert error["data"]["conflicts"][0]["reservation_id"] == held["id"]


async def test_a_socket_that_goes_gives_its_place_up(server: Server):
    held = await server.reserve("ada", "src")
    async with listening(server, types="nothing.ever") as listener:
        await listener.say(waiting(1, "bob", "src"))
        await until_waiting(server, 1)
    await until_waiting(server, 0)
    await server.release("ada", held["id"])
    assert (await server.reserve("eve", "src"))["agent_id"] == "eve"


async def test_a_server_that_stops_answers_those_who_wait(server: Server, listener: Listener):
    await server.reserve("ada", "src")
    await listener.say(waiting(1, "bob", "src"))
    await until_waiting(server, 1)
    server.shutdown.set()
    assert (await listener.answer(1))["error"]["data"]["status"] == 503


async def test_one_of_several_that_are_answered_together_cannot_wait(
    server: Server, listener: Listener
):
    await server.reserve("ada", "src")
    await listener.say([waiting(1, "bob", "src"), waiting(2, "bob", "docs", wait_seconds=0)])
    wait, at_once = await listener.read()
    assert wait["error"]["data"]["error"] == "invalid_request"
    assert at_once["result"]["agent_id"] == "bob"
    command = {"method": "reservations.create", "params": waiting(1, "bob", "src")["params"]}
    response = await server.client.post("/api/batch", json={"commands": [command]})
    (result,) = response.json()["results"]
    assert (result["status"], result["body"]["error"]) == (400, "invalid_request")
    assert "queue" in result["body"]["detail"]


# -- An open socket is a sign of life


async def test_an_agent_lives_as_long_as_its_socket_is_open(
    clock: ShiftedClock, monkeypatch: pytest.MonkeyPatch, server: Server
):
    monkeypatch.setattr(limits, "LINE_HEARTBEAT_MS", 1)
    bob = (await server.register("Bob"))["agent_id"]
    held = await server.reserve("ada", "src", ttl_minutes=60)
    waits = await queue(server, bob, "src")
    async with listening(server, bob, headers={"X-Agent-ID": bob}):
        clock.advance(GRACE_S + 1)

        async def lives() -> bool:
            return (await server.agent(bob))["live"]

        await wait_until(lives)
        await server.release("ada", held["id"])
        assert (await ticket(server, waits["ticket_id"]))["state"] == "granted"


@pytest.mark.parametrize("whose", ["its own", "the project's"])
async def test_who_looks_on_keeps_nobody_alive(
    clock: ShiftedClock, monkeypatch: pytest.MonkeyPatch, server: Server, whose: str
):
    monkeypatch.setattr(limits, "LINE_HEARTBEAT_MS", 1)
    bob = (await server.register("Bob"))["agent_id"]
    held = await server.reserve("ada", "src", ttl_minutes=60)
    waits = await queue(server, bob, "src")
    feed, headers = (bob, {}) if whose == "its own" else (None, {"X-Agent-ID": bob})
    async with listening(server, feed, headers=headers) as listener:
        clock.advance(GRACE_S + 1)
        for _ in range(10):
            await listener.ask("rpc.discover")
        await server.release("ada", held["id"])
    assert (await ticket(server, waits["ticket_id"]))["state"] == "skipped"


async def test_a_socket_brings_no_project_into_being(server: Server):
    async with listening(server, "bob", headers={"X-Agent-ID": "bob"}, project="empty") as listener:
        await listener.ask("rpc.discover")
        await listener.ask("reservations.list", project="empty")
        assert not list(server.settings.data.glob("*.sqlite3"))
