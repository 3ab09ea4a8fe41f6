"""The feeds over WebSockets: who hears what, filters, resuming, and how a socket ends."""

import json
from pathlib import Path

import pytest
import trio

from intermute.domain import limits
from intermute.web import conversation

from .conftest import Server, running_server
from .listening import listening, rejected


async def send(server: Server, sender: str, *to: str, **members) -> dict:
    body = {"from": sender, "to": list(to), "body": "hi", **members}
    response = await server.client.post("/api/messages", json=body)
    assert response.status_code == 200, response.text
    return response.json()


# -- Who hears what


async def test_an_agent_hears_its_messages_and_what_is_of_concern_to_all(server: Server):
    async with listening(server, "ada") as ada, listening(server, "bob") as bob:
        first = await send(server, "zoe", "ada")
        second = await send(server, "zoe", "bob")
        held = await server.reserve("zoe", "src/**")
        frames = await ada.events(2)
        assert [frame["cursor"] for frame in frames] == [first["cursor"], held["cursor"]]
        assert frames[0]["type"] == "message.created"
        assert frames[0]["agent"] == "ada"
        assert frames[0]["message_id"] == first["message_id"]
        assert frames[0]["data"]["body"] == "hi"
        assert frames[1]["data"]["patterns"] == ["src/**"]
        assert [f["cursor"] for f in await bob.events(2)] == [second["cursor"], held["cursor"]]


async def test_the_first_frame_is_an_event(server: Server):
    """Clients of today take the first thing that they read for one."""
    async with listening(server) as everything:
        held = await server.reserve("zoe", "a")
        assert (await everything.read())["reservation_id"] == held["id"]


async def test_every_recipient_hears_and_the_blind_one_is_not_seen(server: Server):
    async with (
        listening(server, "to") as to,
        listening(server, "cc") as cc,
        listening(server, "bcc") as blind,
        listening(server, "other") as other,
        listening(server) as everything,
    ):
        await send(server, "zoe", "to", cc=["cc"], bcc=["bcc"])
        await server.reserve("zoe", "a")
        for listener in (to, cc, everything):
            frame = await listener.event()
            assert frame["type"] == "message.created"
            assert '"bcc"' not in json.dumps(frame)
        assert (await blind.event())["data"]["bcc"] == ["bcc"]
        assert (await other.event())["type"] == "reservation.created"


async def test_the_sender_sees_whom_it_wrote_to_also_on_the_projects_feed(server: Server):
    headers = {"X-Agent-ID": "zoe"}
    async with listening(server, headers=headers) as everything:
        await send(server, "zoe", "to", bcc=["one", "two"])
        assert (await everything.event())["data"]["bcc"] == ["one", "two"]


async def test_an_id_may_hold_slashes(server: Server):
    async with listening(server, "team/ada") as ada:
        await send(server, "zoe", "team/ada")
        assert (await ada.event())["agent"] == "team/ada"
    async with listening(server, "ada/") as ada:
        await send(server, "zoe", "ada")
        assert (await ada.event())["agent"] == "ada"


async def test_projects_are_apart(server: Server):
    async with listening(server, project="one") as one, listening(server, project="two") as two:
        await server.reserve("a", "x", project="one")
        await server.reserve("a", "x", project="two")
        for listener, project in ((one, "one"), (two, "two")):
            frame = await listener.event()
            assert (frame["project"], frame["cursor"]) == (project, 1)


async def test_a_registered_agents_project_is_that_of_its_id(server: Server):
    ada = (await server.register("Ada", project="house"))["agent_id"]
    async with listening(server, ada) as listener:
        held = await server.reserve(ada, "a", project="house")
        assert (await listener.event())["reservation_id"] == held["id"]


# -- Handshakes that do not succeed


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"since_cursor": "x"}, 400, "invalid_request"),
        ({"since_cursor": "-1"}, 400, "invalid_request"),
        ({"since_cursor": "1"}, 410, "cursor_gone"),
        ({"since_cursor": str(2**63)}, 410, "cursor_gone"),
        ({"types": "nonsense"}, 400, "invalid_request"),
        ({"types": ",".join(["a.b"] * 101)}, 400, "invalid_request"),
        ({"project": "a\x01b"}, 400, "invalid_project"),
    ],
)
@pytest.mark.parametrize("path", ["/ws/events", "/ws/agents/ada"])
async def test_what_is_wrong_is_said_before_the_handshake(
    server: Server, path: str, query: dict, status: int, code: str
):
    found, members = await rejected(server, path, **query)
    assert (found, members["error"]) == (status, code)


@pytest.mark.parametrize("agent", ["%20", "%2F", "a%00b", "a%09b", "a" * 201])
async def test_ids_that_cannot_be_are_refused(server: Server, agent: str):
    status, members = await rejected(server, f"/ws/agents/{agent}")
    assert (status, members["status"]) == (400, 400)


async def test_another_agents_feed_is_not_to_be_had(server: Server):
    status, members = await rejected(server, "/ws/agents/ada", headers={"X-Agent-ID": "bob"})
    assert (status, members["error"]) == (403, "agent_identity_mismatch")


async def test_an_agent_that_has_its_token_is_listened_to_with_it_only(server: Server):
    ada = await server.register("Ada")
    path = f"/ws/agents/{ada['agent_id']}"
    own = {"X-Agent-ID": ada["agent_id"], "X-Agent-Token": ada["token"]}
    await server.reserve(ada["agent_id"], "a", headers=own)
    status, members = await rejected(server, path)
    assert (status, members["error"]) == (403, "agent_token_required")
    wrong = own | {"X-Agent-Token": "nonsense"}
    for place in (path, "/ws/events"):
        status, members = await rejected(server, place, headers=wrong)
        assert (status, members["error"]) == (403, "agent_identity_mismatch")
    async with listening(server, ada["agent_id"], headers=own) as listener:
        await send(server, "zoe", ada["agent_id"])
        await listener.event()


async def test_where_there_is_only_a_websocket_a_request_is_told_so(server: Server):
    for path in ("/ws/events", "/ws/agents/ada"):
        response = await server.client.get(path)
        assert response.status_code == 426
        assert response.json()["error"] == "upgrade_required"
        assert response.headers["upgrade"] == "websocket"
        response = await server.client.post(path, json={})
        assert response.status_code == 405
        assert "GET" in response.headers["allow"]
    for path in ("/api/project", "/api/agents", "/ws/nothing", "/ws/agents"):
        assert (await rejected(server, path))[0] in (404, 405)


async def test_a_project_that_is_listened_to_is_not_made(server: Server):
    async with listening(server, project="ghost"):
        pass
    assert not list(server.settings.data.glob("*ghost*"))


# -- Filters


async def test_types_in_the_query(server: Server):
    async with listening(server, types="message.*,reservation.released") as listener:
        held = await server.reserve("zoe", "a")
        await server.release("zoe", held["id"])
        await send(server, "zoe", "ada")
        assert [frame["type"] for frame in await listener.events(2)] == [
            "reservation.released",
            "message.created",
        ]


async def test_filter_frames_of_todays_clients(server: Server):
    async with listening(server) as listener:
        await listener.say({"type": "subscribe", "event_types": ["message.*"], "project": "x"})
        await listener.say({"type": "unsubscribe", "event_types": ["message.read"]})
        await listener.ask("rpc.discover")
        await server.reserve("zoe", "a")
        sent = await send(server, "zoe", "ada")
        read = f"/api/messages/{sent['message_id']}/read"
        await server.client.post(read, json={"agent": "ada"})
        await server.client.post(read.replace("/read", "/ack"), json={"agent": "ada"})
        found = [frame["type"] for frame in await listener.events(2)]
        assert found == ["message.created", "message.ack"]


@pytest.mark.parametrize("types", ["x", [5], ["nonsense"], ["a.b"] * 101])
async def test_a_bad_filter_frame_is_answered_by_an_error_frame(server: Server, types):
    async with listening(server) as listener:
        await listener.say({"type": "subscribe", "event_types": types})
        answer = await listener.read()
        assert (answer["type"], answer["error"], answer["status"]) == (
            "error",
            "invalid_request",
            400,
        )
        held = await server.reserve("zoe", "a")
        assert (await listener.event())["reservation_id"] == held["id"], "the filter stays"


async def test_a_filter_does_not_grow_without_bound(server: Server):
    async with listening(server) as listener:
        for family in "abcd":
            types = [f"{family}.{'x' * (1 + at)}" for at in range(limits.FEED_TYPES_MAX // 4)]
            answer = await listener.ask("feed.subscribe", event_types=types)
            assert "result" in answer
        answer = await listener.ask("feed.subscribe", event_types=["one.more"])
        assert answer["error"]["code"] == -32602


async def test_feed_subscribe_says_from_where_on_it_holds(server: Server):
    async with listening(server) as listener:
        held = await server.reserve("zoe", "a")
        answer = await listener.ask("feed.unsubscribe", event_types=["reservation.*"])
        assert answer["result"] == {"cursor": held["cursor"]}
        await server.reserve("zoe", "b")
        answer = await listener.ask("feed.subscribe", event_types=["reservation.created"])
        assert answer["result"] == {"cursor": held["cursor"] + 1}
        third = await server.reserve("zoe", "c")
        await listener.event()
        seen = [frame["cursor"] for frame in listener.frames]
        assert seen == [held["cursor"], third["cursor"]]


# -- What else a client may say


@pytest.mark.parametrize("message", ["5", '"x"', "null", '{"type":"hello"}', "{}", "true"])
async def test_other_json_is_ignored_as_it_always_was(server: Server, message: str):
    async with listening(server) as listener:
        await listener.socket.send_message(message)
        await server.reserve("zoe", "a")
        assert (await listener.read())["type"] == "reservation.created"


@pytest.mark.parametrize("message", ["", "{", "nonsense", '{"a":1,"a":2}', "NaN", '"\\ud800"'])
async def test_what_is_no_json_closes_with_1007(server: Server, message: str):
    async with listening(server) as listener:
        await listener.socket.send_message(message)
        code, reason = await listener.closed()
        assert code == conversation.INVALID_DATA
        assert reason.startswith("failed to read JSON")
        assert listener.frames[-1]["error"]["code"] == -32700


async def test_binary_messages_are_read_like_text(server: Server):
    async with listening(server) as listener:
        asked = {"jsonrpc": "2.0", "id": 5, "method": "project.get"}
        await listener.socket.send_message(json.dumps(asked).encode())
        assert (await listener.read())["id"] == 5


async def test_what_is_too_long_closes_with_1009(server: Server):
    async with listening(server) as listener:
        await listener.socket.send_message(" " * (limits.SOCKET_MESSAGE_LEN_MAX + 1))
        assert (await listener.closed())[0] == conversation.MESSAGE_TOO_BIG
    async with listening(server) as listener:
        text = '"' + "é" * (limits.SOCKET_MESSAGE_LEN_MAX - 2) + '"'
        await listener.socket.send_message(text)
        assert (await listener.closed())[0] == conversation.MESSAGE_TOO_BIG


# -- The end of a socket


async def test_shutdown_says_1001_and_the_cursor_to_all_sockets(tmp_path: Path):
    async with running_server(tmp_path) as server:
        held = await server.reserve("zoe", "a")
        async with listening(server) as one, listening(server, "ada") as other:
            server.shutdown.set()
            for listener in (one, other):
                code, reason = await listener.closed()
                assert code == conversation.GOING_AWAY
                assert json.loads(reason) == {"cursor": held["cursor"]}


async def test_what_was_asked_before_a_shutdown_is_answered(tmp_path: Path):
    async with running_server(tmp_path) as server, listening(server) as listener:
        for number in range(50):
            params = {"agent_id": "zoe", "path": f"f{number}"}
            request = {"jsonrpc": "2.0", "id": number, "method": "reservations.create"}
            await listener.say({**request, "params": params})
        assert (await listener.answer(0))["result"]
        server.shutdown.set()
        code, _ = await listener.closed()
        assert code == conversation.GOING_AWAY
        answers = [frame for frame in listener.frames if "jsonrpc" in frame]
        assert [answer["id"] for answer in answers] == list(range(1, 1 + len(answers)))
        assert all("result" in answer for answer in answers)


async def test_a_revoked_key_ends_its_socket_before_anything_more_is_told(
    tmp_path: Path, tenants, monkeypatch
):
    from .tenants import revoke

    monkeypatch.setattr("intermute.web.trust.CALLER_BELIEVED_MS", 0)
    async with running_server(tmp_path, keys_file=tenants.keys_file) as server:
        headers = tenants.headers("a")
        async with (
            listening(server, headers=headers) as listener,
            listening(server, headers=headers) as asking,
        ):
            await asking.ask("feed.unsubscribe", event_types=[])
            revoke(tenants.keys_file, tenants.a)
            server.reload_keys()
            await asking.say({"jsonrpc": "2.0", "id": 5, "method": "project.get"})
            await server.reserve("zoe", "a", headers=tenants.headers("operator"))
            assert (await listener.closed())[0] == conversation.NO_LONGER_ALLOWED
            assert listener.frames == []
            assert (await asking.closed())[0] == conversation.NO_LONGER_ALLOWED
            assert asking.frames == []


async def test_a_socket_of_a_client_that_left_is_forgotten(server: Server):
    async with listening(server) as listener:
        await server.reserve("zoe", "a")
        await listener.event()
    with trio.fail_after(60):
        async with listening(server) as listener:
            await server.reserve("zoe", "b")
            await listener.event()
