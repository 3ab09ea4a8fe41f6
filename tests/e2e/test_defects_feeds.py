"""Known defects of feeds: each of these tests fails where the defect is."""

import json
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
import trio

from intermute import app
from intermute.web import conversation

from .answers import request_bytes
from .conftest import Server, running_server
from .listening import UPGRADE, Listener, listening, rejected
from .tenants import Tenants


async def send(server: Server, *to: str, body: str = "hi", **members) -> int:
    message = {"from": "zoe", "to": list(to), "body": body, **members}
    response = await server.client.post("/api/messages", json=message)
    assert response.status_code == 200, response.text
    return response.json()["cursor"]


# -- B6: a reader that does not read


async def stuck_reader(server: Server, path: str = "/ws/events") -> trio.SocketStream:
    """A WebSocket that shakes hands and then reads nothing at all."""
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4_096)
    await stream.send_all(request_bytes("GET", path, headers=tuple(UPGRADE.items())))
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        received += await stream.receive_some(1)
    return stream


async def test_b6_senders_go_on_while_readers_do_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The send deadline is out of reach: a sender that waited for a reader would wait for ever."""
    far = partial(app.ServerLimits, send_timeout_s=10_000.0, graceful_timeout_s=0.1)
    monkeypatch.setattr(app, "ServerLimits", far)
    async with running_server(tmp_path) as server:
        stuck = [await stuck_reader(server) for _ in range(3)]
        stuck.append(await stuck_reader(server, "/ws/agents/ada"))
        with trio.fail_after(60):
            async with listening(server, "ada") as reader:
                for number in range(200):
                    await send(server, "ada", body=f"{number} " + "x" * 30_000)
                    frame = await reader.event()
                    assert frame["data"]["body"].startswith(f"{number} ")
            held = await server.reserve("zoe", "a")
            async with listening(server, since_cursor=held["cursor"] - 1) as reader:
                assert (await reader.event())["reservation_id"] == held["id"]
        for stream in stuck:
            await stream.aclose()


async def test_b6_a_stuck_reader_is_cut_and_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(app, "ServerLimits", partial(app.ServerLimits, send_timeout_s=0.2))
    ended = trio.Event()
    run = conversation.Conversation.run

    async def watched(self: conversation.Conversation) -> None:
        try:
            await run(self)
        finally:
            ended.set()

    monkeypatch.setattr(conversation.Conversation, "run", watched)
    async with running_server(tmp_path) as server:
        stream = await stuck_reader(server)
        async with stream:
            for _ in range(30):
                await send(server, "ada", body="x" * 200_000)
            with trio.fail_after(60):
                await ended.wait()


# -- B24, B18: who is whose


async def test_b24_no_project_is_not_all_projects(server: Server):
    """Sockets without a project hear the default one, and nobody is heard by all."""
    async with listening(server) as unnamed, listening(server, project="house") as named:
        await server.reserve("zoe", "a", project="house")
        await server.reserve("zoe", "b")
        assert [(await unnamed.event())["project"], (await named.event())["project"]] == [
            "default",
            "house",
        ]
        await send(server, "ada", project="house")
        await send(server, "ada")
        assert [(await unnamed.event())["project"], (await named.event())["project"]] == [
            "default",
            "house",
        ]


async def test_b18_an_agents_socket_is_for_the_agent(server: Server):
    ada = await server.register("Ada")
    own = {"X-Agent-ID": ada["agent_id"], "X-Agent-Token": ada["token"]}
    await server.reserve(ada["agent_id"], "a", headers=own)
    eve = await server.register("Eve")
    theirs = {"X-Agent-ID": eve["agent_id"], "X-Agent-Token": eve["token"]}
    for headers in (None, {"X-Agent-ID": eve["agent_id"]}, theirs):
        status, _ = await rejected(server, f"/ws/agents/{ada['agent_id']}", headers=headers)
        assert status == 403
    stolen = {"X-Agent-ID": ada["agent_id"], "X-Agent-Token": eve["token"]}
    for path in (f"/ws/agents/{ada['agent_id']}", "/ws/events"):
        assert (await rejected(server, path, headers=stolen))[0] == 403


async def test_b18_a_token_that_ended_ends_its_socket(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    """Whoever takes a session over does not share its feed with the one from before."""
    monkeypatch.setattr("intermute.web.trust.CALLER_BELIEVED_MS", 0)
    first = await server.register("Ada")
    agent_id = first["agent_id"]
    own = {"X-Agent-ID": agent_id, "X-Agent-Token": first["token"]}
    async with listening(server, agent_id, headers=own) as listener:
        again = await server.client.post(
            "/api/agents", json={"session_id": first["session_id"]}, headers=own
        )
        assert again.json()["token"] != first["token"]
        await send(server, agent_id)
        assert (await listener.closed())[0] == conversation.NO_LONGER_ALLOWED
        assert [frame for frame in listener.frames if frame["type"] == "message.created"] == []


async def test_b18_commands_over_a_socket_obey_the_rules_of_identity(server: Server):
    async with listening(server, headers={"X-Agent-ID": "bob"}, types="nothing.ever") as bob:
        params = {"from": "ada", "to": ["eve"], "body": "hi"}
        answer = await bob.ask("messages.send", **params)
        assert answer["error"]["data"]["error"] == "agent_identity_mismatch"
        answer = await bob.ask("inbox.list", agent_id="ada")
        assert answer["error"]["data"]["error"] == "agent_identity_mismatch"


# -- B42: order


async def test_b42_frames_come_in_the_order_of_their_cursors(server: Server):
    """Many senders at once, and readers of both kinds."""
    agents = [None, None, "ada", "bob"]
    count = 150
    found: dict[int, list[dict]] = {}

    async def read(at: int, listener: Listener) -> None:
        found[at] = await listener.until(count)

    async def sender(name: str) -> None:
        for number in range(count // 6):
            message = {"from": name, "to": ["ada", "bob"], "body": str(number)}
            response = await server.client.post("/api/messages", json=message)
            assert response.status_code == 200

    async with AsyncExitStack() as stack:
        listeners = [await stack.enter_async_context(listening(server, each)) for each in agents]
        async with trio.open_nursery() as nursery:
            for at, listener in enumerate(listeners):
                nursery.start_soon(read, at, listener)
            for number in range(6):
                nursery.start_soon(sender, f"s{number}")
    assert len(found) == len(agents)
    for frames in found.values():
        assert [frame["cursor"] for frame in frames] == list(range(1, count + 1))


# -- B49: what ends is announced


async def test_b49_every_end_of_a_lease_is_announced(tmp_path: Path, clock):
    """Swept, settled on the way of another command, released, retired and found after a restart."""
    async with running_server(tmp_path) as server, listening(server) as listener:
        ada = (await server.register("Ada"))["agent_id"]
        await server.reserve(ada, "swept", ttl_minutes=1)
        clock.advance(120)
        assert (await ended(listener))["path_pattern"] == "swept"
        await server.reserve(ada, "lapsed", ttl_minutes=1)
        clock.advance(61)
        await server.reserve("bob", "lapsed")
        assert (await ended(listener))["agent_id"] == ada
        held = await server.reserve("bob", "released")
        await server.release("bob", held["id"])
        frame = await ended(listener)
        assert (frame["type"], frame["reservation_id"]) == ("reservation.released", held["id"])
        mine = await server.reserve(ada, "retired")
        await server.client.delete(f"/api/agents/{ada}")
        assert (await ended(listener))["reservation_id"] == mine["id"]
        server.shutdown.set()
        _, reason = await listener.closed()
    clock.advance(3 * 24 * 3600)
    after = json.loads(reason)["cursor"]
    async with (
        running_server(tmp_path) as server,
        listening(server, since_cursor=after) as listener,
    ):
        frame = await ended(listener)
        assert (frame["type"], frame["path_pattern"]) == ("reservation.expired", "lapsed")


async def ended(listener: Listener) -> dict:
    """The next end of a lease."""
    while True:
        frame = await listener.event()
        if frame["type"] in ("reservation.expired", "reservation.released"):
            return frame


async def test_b49_beginnings_and_renewals_are_announced_too(server: Server):
    async with listening(server, types="reservation.*") as listener:
        held = await server.reserve("bob", "a")
        await server.client.post(
            f"/api/reservations/{held['id']}/renew", headers={"X-Agent-ID": "bob"}
        )
        assert [frame["type"] for frame in await listener.events(2)] == [
            "reservation.created",
            "reservation.renewed",
        ]


# -- B69: what clients ask for


async def test_b69_the_project_has_a_feed_with_times_ids_and_filters(server: Server):
    async with listening(server) as listener:
        await listener.say({"type": "subscribe", "event_types": ["spec.created", "message.*"]})
        await listener.ask("rpc.discover")
        spec = await server.client.post("/api/specs", json={"title": "T"})
        assert spec.status_code == 201, spec.text
        await server.reserve("zoe", "a")
        await send(server, "ada")
        created, message = await listener.events(2)
        assert created["type"] == "spec.created"
        assert created["entity_id"] == spec.json()["id"]
        assert created["data"]["title"] == "T"
        assert message["entity_id"] == message["message_id"] != ""
        for frame in (created, message):
            assert frame["created_at"].endswith("Z")
            assert frame["created_at"] > "2020"
        await listener.say({"type": "unsubscribe", "event_types": ["message.*"]})
        await listener.ask("rpc.discover")
        await send(server, "ada")
        await server.client.post("/api/specs", json={"title": "U"})
        assert (await listener.event())["data"]["title"] == "U"


async def test_b37_the_feed_says_who_read_and_who_acked(server: Server):
    async with listening(server, "somebody") as listener:
        message = {"from": "zoe", "to": ["ada"], "body": "hi"}
        sent = (await server.client.post("/api/messages", json=message)).json()["message_id"]
        for mark in ("read", "ack"):
            await server.client.post(f"/api/messages/{sent}/{mark}", json={"agent": "ada"})
            frame = await listener.event()
            assert (frame["type"], frame["message_id"], frame["agent"]) == (
                f"message.{mark}",
                sent,
                "ada",
            )


async def test_b32_every_kind_of_recipient_is_pushed_to(server: Server):
    async with (
        listening(server, "to") as to,
        listening(server, "cc") as cc,
        listening(server, "bcc") as blind,
    ):
        await send(server, "to", cc=["cc"], bcc=["bcc"])
        for agent, listener in (("to", to), ("cc", cc), ("bcc", blind)):
            assert (await listener.event())["agent"] == agent


async def test_b15_a_feed_with_another_projects_key_or_id_is_not_to_be_had(
    tmp_path: Path, tenants: Tenants
):
    async with running_server(tmp_path, keys_file=tenants.keys_file) as server:
        made = await server.client.post("/api/agents", json={}, headers=tenants.headers("b"))
        theirs = made.json()["agent_id"]
        mine = tenants.headers("a")
        status, members = await rejected(server, f"/ws/agents/{theirs}", headers=mine)
        assert (status, members["error"]) == (404, "agent_not_found")
        status, members = await rejected(server, "/ws/events", headers=mine, project="beta")
        assert (status, members["error"]) == (403, "project_mismatch")
        async with listening(server, headers=mine, types="nothing.ever") as listener:
            answer = await listener.ask("agents.get", agent_id=theirs)
            assert answer["error"]["data"]["error"] == "agent_not_found"
            answer = await listener.ask("agents.list", project="beta")
            assert answer["error"]["data"]["error"] == "project_mismatch"
