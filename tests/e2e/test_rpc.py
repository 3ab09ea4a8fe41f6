"""Commands over a WebSocket: what HTTP can do, with the same answers, many on the way at once."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio_websocket import wrap_client_stream

from intermute import app
from intermute.domain import limits
from intermute.storage.writer import Writer
from intermute.web import conversation

from .answers import request_bytes
from .conftest import Server, running_server
from .listening import UPGRADE, Listener, listening

RESERVE = "reservations.create"


def request(request_id: object, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


@pytest.fixture
async def listener(server: Server):
    """A socket that hears nothing of the feed, so that all it reads are answers."""
    async with listening(server, types="nothing.ever") as socket:
        yield socket


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[Writer]:
    found: list[Writer] = []
    commit = Writer.commit

    def counting(writer: Writer) -> None:
        commit(writer)
        found.append(writer)

    monkeypatch.setattr(Writer, "commit", counting)
    return found


# -- All that HTTP can do


def operations() -> list[str]:
    nouns = (*app._NOUNS.values(), app.feeds.operations)
    return sorted(operation.name for noun in nouns for operation in noun)


def test_every_name_stands_for_one_operation():
    assert len(set(operations())) == len(operations())


async def test_every_operation_is_reachable(server: Server, listener: Listener):
    found = await listener.ask("rpc.discover")
    names = found["result"]["methods"]
    assert sorted(names) == sorted([*operations(), "feed.subscribe", "feed.unsubscribe"])
    for name in operations():
        answer = await listener.ask(name)
        code = answer.get("error", {}).get("code")
        assert code not in (-32601, 500), (name, answer)
    commands = [{"method": name} for name in operations()]
    for start in range(0, len(commands), limits.BATCH_COMMANDS_MAX):
        part = {"commands": commands[start : start + limits.BATCH_COMMANDS_MAX]}
        response = await server.client.post("/api/batch", json=part)
        for result in response.json()["results"]:
            assert result["status"] != 500, result
            assert "method_not_found" not in str(result["body"]), result


async def test_words_of_path_query_and_body_all_stand_in_params(server: Server, listener: Listener):
    made = (await listener.ask("agents.register", name="Ada", metadata={"a": "1"}))["result"]
    ada = made["agent_id"]
    policy = await listener.ask("agents.set_policy", agent_id=ada, policy="auto")
    assert policy["result"]["policy"] == "auto"
    for path in ("a", "b", "c"):
        await listener.ask(RESERVE, agent_id=ada, path=path)
    listed = await listener.ask("reservations.list", agent=ada, limit=2, active=True)
    assert len(listed["result"]["reservations"]) == 2
    checked = await listener.ask("reservations.check", pattern=["a", "z"], exclusive=False)
    assert len(checked["result"]["conflicts"]) == 1
    checked = await listener.ask("reservations.check", pattern="a", agent=ada)
    assert checked["result"]["free"] is True


async def test_the_same_answers_as_over_http(server: Server, listener: Listener):
    """Every kind of answer: the body, the place in the order, the error and its members."""
    await server.reserve("zoe", "taken/**")
    table: list[tuple[str, dict, str, str, Any]] = [
        ("agents.get", {"agent_id": "x"}, "GET", "/api/agents/x", None),
        ("project.get", {}, "GET", "/api/project", None),
        ("project.get", {"project": "a\u0001b"}, "GET", "/api/project?project=a%01b", None),
        ("reservations.get", {"reservation_id": "x"}, "GET", "/api/reservations/x", None),
        ("reservations.check", {"pattern": "taken/a"}, "GET", "/api/reservations/check", None),
        ("reservations.check", {}, "GET", "/api/reservations/check", None),
        (RESERVE, {"agent_id": "bob", "path": "taken/a"}, "POST", "/api/reservations", "body"),
        (RESERVE, {"agent_id": "bob", "path": "a[b"}, "POST", "/api/reservations", "body"),
        (RESERVE, {"agent_id": "bob"}, "POST", "/api/reservations", "body"),
        (RESERVE, {"agent_id": 5, "path": "a"}, "POST", "/api/reservations", "body"),
        ("messages.send", {"from": "zoe", "to": []}, "POST", "/api/messages", "body"),
        ("messages.get", {"message_id": "x"}, "GET", "/api/messages/x", None),
        ("events.list", {"since_cursor": "x"}, "GET", "/api/events?since_cursor=x", None),
        ("events.list", {"since_cursor": 99}, "GET", "/api/events?since_cursor=99", None),
        ("events.list", {}, "GET", "/api/events", None),
    ]
    for method, params, verb, path, body in table:
        if method == "reservations.check" and params:
            path += "?pattern=taken/a"
        members = params if body else None
        over_http = await server.client.request(verb, path, json=members)
        answer = await listener.ask(method, **params)
        if over_http.status_code < 400:
            assert answer["result"] == over_http.json(), method
        else:
            problem = answer["error"]["data"]
            assert problem == over_http.json(), method
            assert answer["error"]["message"] == problem["title"]
            plain = problem["code"] == "invalid_request"
            assert answer["error"]["code"] == (-32602 if plain else over_http.status_code)
        decided = "Intermute-Seq" in over_http.headers
        assert ("seq" in answer) is decided, method
        if decided:
            assert answer["seq"] == int(over_http.headers["Intermute-Seq"]) + 1
            assert answer["epoch"] == int(over_http.headers["Intermute-Epoch"])


async def test_the_connections_agent_acts(server: Server):
    async with listening(server, headers={"X-Agent-ID": "ada"}, types="nothing.ever") as own:
        held = await own.ask(RESERVE, agent_id="ada", path="a")
        wrong = await own.ask(RESERVE, agent_id="bob", path="b")
        assert wrong["error"]["code"] == 403
        released = await own.ask("reservations.release", reservation_id=held["result"]["id"])
        assert "released_at" in released["result"]


async def test_the_agent_may_be_named_by_each_request(server: Server, listener: Listener):
    held = (await listener.ask(RESERVE, agent_id="ada", path="a"))["result"]["id"]
    refused = await listener.ask("reservations.release", reservation_id=held, agent_id="bob")
    assert refused["error"]["data"]["error"] == "not_the_owner"
    done = await listener.ask("reservations.release", reservation_id=held, agent_id="ada")
    assert done["result"]["id"] == held


async def test_the_sockets_project_is_the_one_that_is_meant(server: Server):
    async with listening(server, project="house", types="nothing.ever") as own:
        held = (await own.ask(RESERVE, agent_id="ada", path="a"))["result"]
        assert held["project"] == "house"
        other = (await own.ask(RESERVE, agent_id="ada", path="a", project="two"))["result"]
        assert other["project"] == "two"


async def test_a_request_that_is_asked_again_is_done_once(server: Server, listener: Listener):
    params = {"agent_id": "ada", "path": "a", "idempotency_key": "k"}
    first = await listener.ask(RESERVE, **params)
    async with listening(server, types="nothing.ever") as other:
        again = await other.ask(RESERVE, **params)
    assert again["result"]["id"] == first["result"]["id"]
    assert again["replayed"] is True
    commands = [{"method": RESERVE, "params": params}]
    batch = await server.client.post("/api/batch", json={"commands": commands})
    assert batch.json()["results"][0]["replayed"] is True
    changed = await listener.ask(RESERVE, **{**params, "path": "b"})
    assert changed["error"]["data"]["error"] == "idempotency_key_reused"


# -- Pipelining


async def test_answers_come_in_the_order_of_the_requests(server: Server, listener: Listener):
    """Commands, reads, errors and nonsense, all sent before any answer is read."""
    asked = []
    for number in range(40):
        asked += [
            request(f"c{number}", RESERVE, agent_id="zoe", path=f"f{number}"),
            request(f"r{number}", "reservations.list"),
            request(f"e{number}", RESERVE),
            request(f"n{number}", "nothing.there"),
        ]
    for each in asked:
        await listener.say(each)
    answers = [await listener.read() for _ in asked]
    assert [answer["id"] for answer in answers] == [each["id"] for each in asked]
    for number in range(40):
        seen = answers[4 * number + 1]["result"]["reservations"]
        assert len(seen) > number, "a read sees every command that was asked before it"


async def test_a_burst_shares_commits(server: Server, commits: list[Writer]):
    """What comes in one packet is decided in a few lots, not one by one."""
    async with listening(server, types="nothing.ever") as listener:
        await listener.ask("agents.register", name="Ada")
        commits.clear()
        payloads = [
            json.dumps(request(number, RESERVE, agent_id="zoe", path=f"f{number}")).encode()
            for number in range(200)
        ]
        await listener.stream.send_all(b"".join(masked(payload) for payload in payloads))
        answers = [await listener.read() for _ in payloads]
    assert [answer["id"] for answer in answers] == list(range(200))
    assert len(commits) <= 20
    seqs = [answer["seq"] for answer in answers]
    assert seqs == list(range(seqs[0], seqs[0] + 200))


def masked(payload: bytes) -> bytes:
    """A client's text frame, its mask zeroes."""
    size = len(payload)
    head = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x81" + head + bytes(4) + payload


async def test_one_who_reads_no_answers_is_not_read_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Requests in flight are bounded, so the client's own socket stops it."""
    most = 0
    started = conversation.Conversation._start

    def watching(self, group):
        nonlocal most
        most = max(most, self._in_flight)
        started(self, group)

    monkeypatch.setattr(conversation.Conversation, "_start", watching)
    payload = masked(json.dumps(request(1, "rpc.discover")).encode())
    monkeypatch.setattr(app, "ServerLimits", partial(app.ServerLimits, send_timeout_s=0.3))
    shake = request_bytes("GET", "/ws/events", headers=tuple(UPGRADE.items()))
    async with (
        running_server(tmp_path) as server,
        await trio.open_tcp_stream("127.0.0.1", server.port) as stream,
    ):
        await stream.send_all(shake)
        received = b""
        while b"\r\n\r\n" not in received:
            received += await stream.receive_some(1_000)
        # Its answers fill the way back, and then nothing more is taken from it: the server cuts it.
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(payload * 1_000_000)
    assert most == limits.REQUESTS_IN_FLIGHT_MAX


async def test_large_requests_in_flight_are_bounded_in_bytes(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "REQUESTS_IN_FLIGHT_LEN_MAX", 1_000)
    most = 0
    started = conversation.Conversation._start

    def watching(self, group):
        nonlocal most
        most = max(most, self._in_flight_len)
        started(self, group)

    monkeypatch.setattr(conversation.Conversation, "_start", watching)
    async with listening(server, types="nothing.ever") as listener:
        for number in range(30):
            await listener.say(request(number, "project.get", padding="x" * 300))
        await listener.say(request("large", "project.get", padding="x" * 5_000))
        answers = [await listener.read() for _ in range(31)]
    assert [answer["id"] for answer in answers] == [*range(30), "large"]
    assert 1_000 < most < 6_000, "one that is longer than all the room goes alone"


async def test_commands_of_a_client_that_leaves_are_done(server: Server):
    async with listening(server, types="nothing.ever") as listener:
        await listener.ask("agents.register", name="Ada")
        for number in range(20):
            await listener.say(request(number, RESERVE, agent_id="zoe", path=f"f{number}"))
        await listener.stream.send_eof()
        with trio.fail_after(60):
            while True:
                found = await server.client.get("/api/reservations")
                if len(found.json()["reservations"]) == 20:
                    break


# -- JSON-RPC itself


async def test_notifications_are_done_and_not_answered(server: Server, listener: Listener):
    params = {"agent_id": "zoe", "path": "a"}
    await listener.say({"jsonrpc": "2.0", "method": RESERVE, "params": params})
    await listener.say({"jsonrpc": "2.0", "method": RESERVE, "params": {}})
    await listener.say({"jsonrpc": "2.0", "method": "nothing.there"})
    answer = await listener.ask("reservations.list")
    assert len(answer["result"]["reservations"]) == 1


@pytest.mark.parametrize(
    ("message", "code", "request_id"),
    [
        ({"jsonrpc": "2.0", "id": 5}, -32600, 5),
        ({"jsonrpc": "1.0", "id": 5, "method": "project.get"}, -32600, 5),
        ({"id": 5, "method": "project.get"}, -32600, 5),
        ({"jsonrpc": "2.0", "id": {}, "method": "project.get"}, -32600, None),
        ({"jsonrpc": "2.0", "id": 5, "method": "project.get", "params": []}, -32602, 5),
        ({"jsonrpc": "2.0", "id": 5, "method": "nothing.there"}, -32601, 5),
        ([], -32600, None),
        ([{"jsonrpc": "2.0", "id": 1, "method": "project.get"}] * 101, -32600, None),
    ],
)
async def test_errors_of_jsonrpc(server: Server, listener: Listener, message, code, request_id):
    await listener.say(message)
    answer = await listener.read()
    assert (answer["error"]["code"], answer["id"]) == (code, request_id)
    assert answer["error"]["data"]["status"] in (400, 404)
    assert answer["error"]["data"]["detail"]
    assert "result" in await listener.ask("project.get"), "the socket lives on"


async def test_a_batch_is_answered_by_an_array_and_shares_a_commit(
    server: Server, commits: list[Writer]
):
    async with listening(server, types="nothing.ever") as listener:
        await listener.ask("agents.register", name="Ada")
        commits.clear()
        batch = [request(n, RESERVE, agent_id="zoe", path=f"f{n}") for n in range(50)]
        batch.insert(0, request("list", "reservations.list"))
        batch.insert(5, {"jsonrpc": "2.0", "method": RESERVE, "params": {}})
        batch.insert(9, 7)  # type: ignore[arg-type]
        await listener.say(batch)
        answers = await listener.read()
        assert len(commits) == 1
        assert len(answers) == 52
        assert answers[0]["id"] == "list"
        assert len(answers[0]["result"]["reservations"]) == 50, "reads come after the commands"
        assert [a["error"]["code"] for a in answers if "error" in a] == [-32600]
        notifications = [{"jsonrpc": "2.0", "method": "project.get"}] * 3
        await listener.say(notifications)
        assert (await listener.ask("project.get"))["result"], "and nothing answered those"


async def test_feed_and_commands_share_the_socket(server: Server):
    async with listening(server) as listener:
        answer = await listener.ask(RESERVE, agent_id="zoe", path="a")
        (frame,) = listener.frames or [await listener.event()]
        assert frame["reservation_id"] == answer["result"]["id"]
        await listener.ask("feed.unsubscribe")
        listener.frames.clear()
        for number in range(20):
            await listener.ask(RESERVE, agent_id="zoe", path=f"f{number}")
        assert listener.frames == []


async def test_a_full_mailbox_is_said_at_once(server: Server, monkeypatch: pytest.MonkeyPatch):
    from actors import Overloaded
    from intermute.project.directory import Projects

    def full(self, project, asked):
        raise Overloaded("the mailbox is full with 1024 messages", retry_after_s=2.0)

    async with listening(server, types="nothing.ever") as listener:
        monkeypatch.setattr(Projects, "send", full)
        answer = await listener.ask(RESERVE, agent_id="zoe", path="a")
    assert answer["error"]["code"] == 503
    assert answer["error"]["data"]["error"] == "overloaded"
    assert answer["error"]["data"]["retry_after_seconds"] >= 1


async def test_a_bug_costs_the_one_who_met_it(
    server: Server, listener: Listener, monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: object, **__: object) -> None:
        raise KeyError("bug")

    monkeypatch.setattr("intermute.wire.settings.project", broken)
    assert (await listener.ask("project.get"))["error"]["code"] == 500
    assert "result" in await listener.ask("reservations.list")


async def test_a_socket_over_the_unix_socket(tmp_path: Path):
    path = tmp_path / "s"
    async with running_server(tmp_path, socket=path):
        stream = await trio.open_unix_socket(str(path))
        async with stream, trio.open_nursery() as nursery:
            socket = await wrap_client_stream(nursery, stream, "any.host", "/ws/events")
            await socket.send_message(json.dumps(request(1, "project.get")))
            assert json.loads(await socket.get_message())["result"]["project"] == "default"
            await socket.aclose()
            nursery.cancel_scope.cancel()
