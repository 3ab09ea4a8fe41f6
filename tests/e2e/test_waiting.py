"""Waiting for paths on the line: granted in turn, whole, and never to somebody who has gone."""

import json
import socket
import struct
import uuid

import pytest
import trio

from intermute.domain import limits
from intermute.project.committing import Committer
from intermute.storage.writer import Writer

from .answers import place, refused, request_bytes
from .conftest import Server, ShiftedClock, running_server
from .line import (
    STALL_S,
    call_by_hand,
    events,
    hold_the_line,
    queue,
    ticket,
    tickets,
    until_waiting,
    wait_until,
)

CONFIRM_S = limits.CONFIRM_MS / 1000


async def test_what_is_free_is_granted_at_once(server: Server):
    waited = await hold_the_line(server, "bob", "src")
    assert waited.status_code == 201
    assert waited.json()["is_active"]
    assert waited.json()["fencing_token"] == waited.json()["cursor"]
    queued = await server.reserve("eve", "docs", queue=True)
    assert queued["agent_id"] == "eve"
    assert await tickets(server) == []


async def test_a_waiter_is_granted_what_is_released(server: Server):
    held = await server.reserve("ada", "src/a.py")
    async with trio.open_nursery() as nursery:
        answers = []

        async def wait():
            answers.append(await hold_the_line(server, "bob", "src", ttl_minutes=7))

        nursery.start_soon(wait)
        await until_waiting(server, 1)
        released = await server.release("ada", held["id"])
    (answer,) = answers
    assert answer.status_code == 201
    granted = answer.json()
    assert granted["agent_id"] == "bob"
    assert granted["patterns"] == ["src"]
    assert granted["ttl_seconds"] == 420
    assert "confirm_by" not in granted, "what is answered is taken up already"
    assert granted["fencing_token"] > held["fencing_token"]
    assert place(answer) > place(released), "the place is the one of the grant"
    found = (await server.client.get(f"/api/reservations/{granted['id']}")).json()
    assert found["expires_at"] == granted["expires_at"]
    kinds = [event.data.type for event in events(server)]
    assert kinds == [
        "reservation.created",
        "reservation.queued",
        "reservation.released",
        "reservation.created",
        "reservation.granted",
        "reservation.renewed",
    ]


async def test_sixteen_waiters_are_served_in_their_order(server: Server):
    held = await server.reserve("holder", "src/a.py")
    waiters = [f"waiter-{number:02}" for number in range(16)]
    served = []

    async def wait(agent_id: str) -> None:
        answer = await hold_the_line(server, agent_id, "src/a.py")
        assert answer.status_code == 201, answer.text
        served.append(agent_id)
        assert (await server.release(agent_id, answer.json()["id"])).status_code == 200

    async with trio.open_nursery() as nursery:
        for number, agent_id in enumerate(waiters):
            nursery.start_soon(wait, agent_id)
            await until_waiting(server, number + 1)
        late = await server.client.post(
            "/api/reservations", json={"agent_id": "late", "patterns": ["src/a.py"]}
        )
        assert refused(late, 409, "reservation_conflict")["total"] == 17
        assert (await server.release("holder", held["id"])).status_code == 200
    assert served == waiters
    tokens = [e.data.fencing_token for e in events(server, "reservation.granted")]
    assert tokens == sorted(set(tokens))


async def test_who_conflicts_with_nobody_ahead_goes_past(server: Server):
    await server.reserve("ada", "src")
    await queue(server, (await server.register("Bob"))["agent_id"], "src")
    assert (await hold_the_line(server, "eve", "docs")).status_code == 201


async def test_a_wait_whose_time_is_over_says_who_is_in_the_way(server: Server):
    held = await server.reserve("ada", "src")
    answer = await hold_the_line(server, "bob", "src/a.py", wait_seconds=0.05)
    members = refused(answer, 409, "reservation_conflict")
    assert [found["reservation_id"] for found in members["conflicts"]] == [held["id"]]
    assert members["total"] == 1
    assert 0.05 <= members["waited_seconds"] < STALL_S
    assert await tickets(server) == []
    assert place(answer)[1] > 0


async def test_a_wait_that_the_clock_ends_says_so_too(server: Server, clock: ShiftedClock):
    await server.reserve("ada", "src", ttl_minutes=60)
    async with trio.open_nursery() as nursery:

        async def wait():
            answer = await hold_the_line(server, "bob", "src", wait_seconds=600)
            refused(answer, 409, "reservation_conflict")

        nursery.start_soon(wait)
        await until_waiting(server, 1)
        clock.advance(601)
        await server.check("src")


async def test_a_client_that_goes_away_leaves_the_line(server: Server):
    await server.reserve("ada", "src")
    stream = await call_by_hand(server, "bob", "src")
    await until_waiting(server, 1)
    await trio.aclose_forcefully(stream)
    await until_waiting(server, 0)
    (ended,) = events(server, "reservation.cancelled")
    assert (ended.data.agent_id, ended.data.cause) == ("bob", "waiter")


async def test_a_client_that_only_stops_sending_leaves_too(server: Server):
    await server.reserve("ada", "src")
    stream = await call_by_hand(server, "bob", "src")
    await until_waiting(server, 1)
    await stream.send_eof()
    await until_waiting(server, 0)
    await trio.aclose_forcefully(stream)


async def test_so_does_one_whose_agent_has_another_token_by_then(server: Server):
    await server.reserve("ada", "src")
    bob = await server.register("Bob", session_id=str(uuid.uuid4()))
    known = {"X-Agent-ID": bob["agent_id"], "X-Agent-Token": bob["token"]}
    stream = await call_by_hand(server, bob["agent_id"], "src", headers=tuple(known.items()))
    await until_waiting(server, 1)
    again = {"name": "Bob", "session_id": bob["session_id"]}
    answer = await server.client.post("/api/agents", json=again, headers=known)
    assert (answer.status_code, answer.json()["agent_id"]) == (200, bob["agent_id"])
    assert answer.json()["token"] != bob["token"]
    await trio.aclose_forcefully(stream)
    await until_waiting(server, 0)


async def test_dead_waiters_lose_nobody_a_slot(server: Server):
    """Every second waiter goes away; the clock stands still, so no time may pass for it."""
    held = await server.reserve("holder", "src/a.py")
    served = []

    async def wait(agent_id: str) -> None:
        answer = await hold_the_line(server, agent_id, "src/a.py")
        assert answer.status_code == 201, answer.text
        served.append(agent_id)
        assert (await server.release(agent_id, answer.json()["id"])).status_code == 200

    async with trio.open_nursery() as nursery:
        doomed = []
        for number in range(16):
            if number % 2:
                nursery.start_soon(wait, f"waiter-{number:02}")
            else:
                doomed.append(await call_by_hand(server, f"waiter-{number:02}", "src/a.py"))
            await until_waiting(server, number + 1)
        for stream in doomed:
            await trio.aclose_forcefully(stream)
        assert (await server.release("holder", held["id"])).status_code == 200
    assert served == [f"waiter-{number:02}" for number in range(1, 16, 2)]


async def test_a_grant_that_nobody_takes_up_goes_to_the_next(server: Server, clock: ShiftedClock):
    held = await server.reserve("ada", "src")
    absent = (await server.register("Absent"))["agent_id"]
    forgotten = await queue(server, absent, "src")
    async with trio.open_nursery() as nursery:

        async def wait():
            assert (await hold_the_line(server, "bob", "src")).status_code == 201

        nursery.start_soon(wait)
        await until_waiting(server, 2)
        assert (await server.release("ada", held["id"])).status_code == 200
        assert (await ticket(server, forgotten["ticket_id"]))["state"] == "granted"
        clock.advance(CONFIRM_S)
        await server.check("src")
    (skipped,) = events(server, "reservation.skipped")
    assert (skipped.data.agent_id, skipped.data.cause) == (absent, "unconfirmed")
    assert (await ticket(server, forgotten["ticket_id"]))["state"] == "skipped"


async def test_a_retired_waiter_hears_that_it_is(server: Server):
    await server.reserve("ada", "src")
    bob = (await server.register("Bob"))["agent_id"]
    async with trio.open_nursery() as nursery:

        async def wait():
            refused(await hold_the_line(server, bob, "src"), 404, "ticket_not_found")

        nursery.start_soon(wait)
        await until_waiting(server, 1)
        assert (await server.client.delete(f"/api/agents/{bob}")).status_code == 200


async def test_a_cancelled_ticket_ends_its_call(server: Server):
    await server.reserve("ada", "src")
    async with trio.open_nursery() as nursery:

        async def wait():
            members = refused(await hold_the_line(server, "bob", "src"), 404, "ticket_not_found")
            assert "cancelled" in members["detail"]

        nursery.start_soon(wait)
        await until_waiting(server, 1)
        (waiting,) = await tickets(server, agent="bob")
        path = f"/api/reservations/tickets/{waiting['ticket_id']}"
        foreign = await server.client.delete(path, headers={"X-Agent-ID": "eve"})
        refused(foreign, 403, "not_the_owner")
        gone = await server.client.delete(path, headers={"X-Agent-ID": "bob"})
        assert gone.status_code == 200
        assert gone.json()["state"] == "cancelled"
    refused(
        await server.client.delete(path, headers={"X-Agent-ID": "bob"}), 404, "ticket_not_found"
    )


async def test_two_calls_for_the_same_share_a_ticket(server: Server):
    held = await server.reserve("ada", "src")
    first = await call_by_hand(server, "bob", "src")
    await until_waiting(server, 1)
    async with trio.open_nursery() as nursery:
        answers = []

        async def wait():
            answers.append(await hold_the_line(server, "bob", "src"))

        nursery.start_soon(wait)

        async def joined() -> bool:
            return len(events(server, "reservation.queued")) == 2

        await wait_until(joined)
        await trio.aclose_forcefully(first)
        await until_waiting(server, 1)
        assert (await server.release("ada", held["id"])).status_code == 200
    assert answers[0].status_code == 201


async def test_a_lost_answer_is_found_again_with_the_same_key(server: Server):
    """The client has gone before it was served; its retry waits anew, and the next finds it."""
    held = await server.reserve("ada", "src")
    key = {"Idempotency-Key": "once"}
    body = {"agent_id": "bob", "patterns": ["src"], "wait_seconds": 60}
    with trio.move_on_after(STALL_S) as first:

        async def go_away():
            await until_waiting(server, 1)
            first.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_away)
            await server.client.post("/api/reservations", json=body, headers=key)
    await until_waiting(server, 0)
    async with trio.open_nursery() as nursery:
        answers = []

        async def wait():
            answers.append(await server.client.post("/api/reservations", json=body, headers=key))

        nursery.start_soon(wait)
        await until_waiting(server, 1)
        await server.release("ada", held["id"])
    (answer,) = answers
    assert answer.status_code == 201
    assert answer.json()["agent_id"] == "bob"


async def test_a_deadlock_is_refused_with_its_circle(server: Server):
    names = {}
    for name in ("Ada", "Bob", "Eve"):
        names[name] = (await server.register(name))["agent_id"]
        await server.reserve(names[name], name.lower())
    await queue(server, names["Ada"], "bob")
    await queue(server, names["Bob"], "eve")
    answer = await hold_the_line(server, names["Eve"], "ada")
    members = refused(answer, 409, "deadlock")
    assert [agent["name"] for agent in members["cycle"]] == ["Eve", "Ada", "Bob"]
    assert "Eve -> Ada -> Bob -> Eve" in members["detail"]
    assert members["way_out"]["agent_id"] == names["Eve"]
    assert len(await tickets(server)) == 2


async def test_those_on_the_line_are_told_when_the_server_stops(tmp_path):
    async with running_server(tmp_path) as server:
        await server.reserve("ada", "src")
        answers = []

        async def wait():
            answers.append(await hold_the_line(server, "bob", "src"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await until_waiting(server, 1)
            server.shutdown.set()
    refused(answers[0], 503, "project_unavailable")
    async with running_server(tmp_path) as server:
        assert await tickets(server) == []


@pytest.mark.parametrize(
    "members",
    [
        {"wait_seconds": -1},
        {"wait_seconds": 600.5},
        {"wait_seconds": 1, "queue": True},
        {"wait_seconds": 1, "queue_seconds": 60},
        {"queue_seconds": 60},
        {"wait_seconds": "1"},
        {"queue": 1},
        {"mode": "sideways"},
    ],
)
async def test_a_wait_that_makes_no_sense_is_400(server: Server, members):
    body = {"agent_id": "bob", "patterns": ["src"], **members}
    refused(await server.client.post("/api/reservations", json=body), 400, "invalid_request")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_grant_to_a_client_that_goes_during_the_commit_is_given_back(
    server: Server, monkeypatch, when: str, reset: bool
):
    """The call has ended when it is told of the grant; or nobody has read yet that it has."""
    held = await server.reserve("ada", "src")
    stream = await call_by_hand(server, "bob", "src")
    await until_waiting(server, 1)
    if reset:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    commit = Committer.commit

    async def leave_at_commit(committer: Committer, writer: Writer) -> None:
        if when == "before":
            stream.socket.close()
            for _ in range(50):
                await trio.lowlevel.checkpoint()
        await commit(committer, writer)
        stream.socket.close()
        monkeypatch.undo()

    monkeypatch.setattr(Committer, "commit", leave_at_commit)
    assert (await server.release("ada", held["id"])).status_code == 200
    (granted,) = events(server, "reservation.granted")

    async def is_free() -> bool:
        return (await server.check("src"))["free"]

    await wait_until(is_free)
    ended = events(server, "reservation.released")[-1].data
    assert (ended.reservation_id, ended.cause) == (granted.data.reservation_id, "holder")
    assert await tickets(server) == []


async def test_an_agent_on_the_line_is_alive(server: Server, clock: ShiftedClock, monkeypatch):
    """It cannot send heartbeats of its own while it waits for its answer."""
    monkeypatch.setattr(limits, "LINE_HEARTBEAT_MS", 1)
    await server.reserve("ada", "src", ttl_minutes=60)
    bob = (await server.register("Bob"))["agent_id"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold_the_line, server, bob, "src")
        await until_waiting(server, 1)
        clock.advance(2 * limits.HEARTBEAT_GRACE_MS / 1000)

        async def is_live() -> bool:
            return (await server.agent(bob))["live"]

        await wait_until(is_live)
        nursery.cancel_scope.cancel()


# -- Asking again before the former call is known to have ended


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("first", ["ask again", "release"])
async def test_who_asks_again_has_what_it_is_told_it_has(server: Server, first: str, turns: int):
    """The former call ends so many turns of the loop after both the retry and the release."""
    held = await server.reserve("ada", "src")
    former = await call_by_hand(server, "bob", "src")
    await until_waiting(server, 1)
    retry = await trio.open_tcp_stream("127.0.0.1", server.port)
    holder = await trio.open_tcp_stream("127.0.0.1", server.port)
    body = json.dumps({"agent_id": "bob", "patterns": ["src"], "wait_seconds": 60}).encode()
    ask = request_bytes("POST", "/api/reservations", body)
    target = f"/api/reservations/{held['id']}"
    free = request_bytes("DELETE", target, headers=(("X-Agent-ID", "ada"),))
    steps = [(retry, ask), (holder, free)]
    for stream, request in steps if first == "ask again" else reversed(steps):
        await stream.send_all(request)
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
    await former.aclose()
    with trio.fail_after(STALL_S):
        answer = await retry.receive_some()
    assert answer.startswith(b"HTTP/1.1 201")
    # What the end of the former call brings about is done before this is decided.
    await until_waiting(server, 0)
    late = await server.client.post(
        "/api/reservations", json={"agent_id": "eve", "patterns": ["src"]}
    )
    assert refused(late, 409, "reservation_conflict")["conflicts"][0]["held_by"] == "bob"
    await retry.aclose()
    await holder.aclose()
