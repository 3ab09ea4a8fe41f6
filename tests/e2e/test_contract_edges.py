"""Where a client of the Go service meets the edges of the contract: odd paths, odd bodies."""

import pytest
import trio

from .answers import raw, read_answer, refused, request_bytes
from .conftest import Server, ShiftedClock
from .mail import send

TO = "project=default"
NOTHING, NO_METHOD = (404, "not_found"), (405, "method_not_allowed")

PATHS: list[tuple[str, str, tuple[int, str]]] = [
    # Segments that clients and proxies resolve by themselves, written in each way.
    ("GET", "/api/inbox/a/../b", NOTHING),
    ("GET", "/api/inbox/a/./b", NOTHING),
    ("GET", "/api/inbox/a/%2E%2e/b/counts", NOTHING),
    ("GET", "/api/inbox/..", NOTHING),
    ("GET", "/api/inbox/%2e", NOTHING),
    ("GET", "/api/inbox/a/..", NOTHING),
    ("GET", "/api/./agents", NOTHING),
    ("GET", "/api/agents/../agents", NOTHING),
    ("GET", "/api/agents/..", NOTHING),
    ("PATCH", "/api/tasks/..", NOTHING),
    ("GET", "/api/specs/a/..", NOTHING),
    ("DELETE", "/api/windows/../w?project=p", NOTHING),
    ("GET", "/api/topics/../t", NOTHING),
    ("GET", "/api/threads/t/.", NOTHING),
    # Names that only look like them, and slashes that belong to a name.
    ("GET", "/api/inbox/...", (200, "")),
    ("GET", "/api/inbox/.a/b.", (200, "")),
    ("GET", "/api/inbox/a%2F..%2Fb", (200, "")),
    ("GET", "/api/inbox/x//y", (200, "")),
    ("GET", "//api/agents", (200, "")),
    ("GET", "/api//agents", NOTHING),
    ("GET", "/api/agents/", (200, "")),
    ("GET", "/api/agents//", (200, "")),
    # What stands below `pokes` is a poke, whatever the method.
    ("GET", f"/api/inbox/pokes/m1/ack?agent=x&{TO}", NO_METHOD),
    ("GET", f"/api/inbox/pokes/m1?agent=x&{TO}", NOTHING),
    ("POST", f"/api/inbox/pokes/m1?agent=x&{TO}", NOTHING),
    ("POST", f"/api/inbox/pokes/m1/ack?agent=x&{TO}", (404, "poke_not_found")),
    ("POST", f"/api/inbox/pokes/m1/ack/?agent=x&{TO}", (404, "poke_not_found")),
    ("POST", f"/api/inbox/pokes/m1/ack?{TO}", (400, "invalid_request")),
    ("GET", "/api/inbox/pokes%2Fm1", (200, "")),
    # An id that is missing.
    ("GET", "/api/inbox/", NOTHING),
    ("GET", "/api/topics/a/", NOTHING),
    ("DELETE", "/api/reservations/", NO_METHOD),
    ("DELETE", "/api/specs/", NO_METHOD),
    ("DELETE", "/api/windows/", NO_METHOD),
    ("GET", "/api/specs/", (200, "")),
    # The server's own name in the target.
    ("GET", "http://127.0.0.1:7338/health", (200, "")),
    ("GET", "http://localhost", NOTHING),
    ("GET", "http://elsewhere.example/health", (421, "unknown_host")),
]


async def test_paths_against_the_grain(server: Server):
    for method, target, (status, code) in PATHS:
        answer = await raw(server.port, method, target)
        assert answer.status_code == status, (method, target, answer.text)
        if code:
            refused(answer, status, code)


async def test_a_slash_at_the_end_means_nothing(server: Server):
    await send(server, "a", "b/counts", "b")
    for path, members in (
        ("/api/inbox/b/counts/", {"total", "unread"}),
        ("/api/inbox/b/stale-acks//", {"count"}),
        ("/api/inbox/b/", {"messages"}),
        ("/api/inbox/b%2Fcounts", {"messages"}),
    ):
        answer = await raw(server.port, "GET", path)
        assert members <= answer.json().keys(), (path, answer.text)


async def test_a_character_of_the_private_use_area_is_no_slash(server: Server):
    name = "a\ue02fb"
    await send(server, "a", name)
    for path, count in (("a%EE%80%AFb", 1), ("a%2Fb", 0), ("a/b", 0), ("a%EE%80%AFb%2F", 0)):
        answer = await raw(server.port, "GET", f"/api/inbox/{path}/counts")
        assert answer.json()["total"] == count, path


async def test_a_request_with_a_slash_in_a_name_is_known_again(server: Server):
    """The key of a retry is bound to the path, which is not text once its slashes are marked."""
    key = (("Idempotency-Key", "k"), ("X-Agent-ID", "b"))
    await send(server, "a", "b", id="m/1")
    first = await raw(server.port, "POST", "/api/messages/m%2F1/read", b"{}", key)
    again = await raw(server.port, "POST", "/api/messages/m%2F1/read/", b"{}", key)
    assert first.status_code == 200, first.text
    assert again.body == first.body
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("collection", ["specs", "epics", "stories", "sessions"])
async def test_the_rest_of_the_path_is_the_id_where_nothing_stands_below(
    server: Server, collection: str
):
    url = f"/api/{collection}"
    made = await server.client.post(url, json={"id": "a/b", "title": "t", "name": "n"})
    assert made.status_code == 201, made.text
    for path in ("a/b", "a%2Fb", "a/b/"):
        assert (await raw(server.port, "GET", f"{url}/{path}")).json()["id"] == "a/b"
    changed = await raw(server.port, "PATCH", f"{url}/a/b", b'{"title":"u","name":"u"}')
    assert changed.json()["version"] == 2, changed.text
    assert (await raw(server.port, "DELETE", f"{url}/a/b")).status_code == 204
    refused(await raw(server.port, "GET", f"{url}/a/b"), 404, "entity_not_found")


async def test_null_among_texts_is_an_empty_one(server: Server):
    ada = await server.register("Ada", metadata={"a": None, "b": "c"}, capabilities=["x", None])
    seen = await server.agent(ada["agent_id"])
    assert seen["metadata"] == {"a": "", "b": "c"}
    assert seen["capabilities"] == ["x", ""]
    message = {"from": "a", "to": ["b", None], "body": "hello"}
    sent = await server.client.post("/api/messages", json=message)
    found = await server.client.get(f"/api/messages/{sent.json()['message_id']}")
    assert found.json()["to"] == ["b"]
    for wrong in ({"to": ["b", 5]}, {"to": [None]}, {"to": [["b"], None]}):
        answer = await server.client.post("/api/messages", json={**message, **wrong})
        refused(answer, 400, "invalid_request")


async def test_a_body_without_a_byte_needs_no_type(server: Server):
    ada = (await server.register("Ada"))["agent_id"]
    end = b"0\r\n\r\n"
    for method, path, status in (
        ("POST", f"/api/agents/{ada}/heartbeat", 200),
        ("DELETE", f"/api/agents/{ada}", 200),
        ("POST", "/api/agents", 400),
    ):
        answer = await chunked(server, method, path, end)
        assert answer.status_code == status, (method, path, answer.text)
    answer = await chunked(server, "POST", "/api/agents", b"2\r\n{}\r\n" + end)
    refused(answer, 415, "unsupported_media_type")


async def chunked(server: Server, method: str, path: str, chunks: bytes, coding: str = "chunked"):
    """A request whose body is these bytes, without a type."""
    head = request_bytes(method, path, headers=(("Transfer-Encoding", coding),))
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(head + chunks)
        return await read_answer(stream, method)


async def test_an_unknown_transfer_coding_says_so(server: Server):
    answer = await chunked(server, "POST", "/api/agents", b"0\r\n\r\n", coding="gzip, chunked")
    refused(answer, 501, "not_implemented")


async def test_a_lapse_has_one_time(server: Server, clock: ShiftedClock):
    """Whoever tells of it: the list, the reservation by itself, the event and its release."""
    held = await server.reserve("ada", "a", ttl_seconds=60)
    clock.advance(75)
    await server.check("a")
    listed = await server.client.get("/api/reservations", params={"agent": "ada"})
    one = await server.client.get(f"/api/reservations/{held['id']}")
    released = await server.release("ada", held["id"])
    params = {"since_cursor": 0, "types": "reservation.expired"}
    events = await server.client.get("/api/events", params=params)
    times = {
        listed.json()["reservations"][0]["expired_at"],
        one.json()["expired_at"],
        released.json()["expired_at"],
        events.json()["events"][0]["data"]["expired_at"],
    }
    assert len(times) == 1, times
    assert times != {held["expires_at"]}
