"""The feeds as event streams and as pages of JSON."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from intermute.domain import limits
from intermute.web import conversation, feeds

from .answers import refused
from .conftest import Server, running_server
from .listening import listening, streaming

ACCEPT = {"Accept": "text/event-stream"}


async def lease(server: Server, path: str, **members: Any) -> int:
    return (await server.reserve("zoe", path, **members))["cursor"]


async def page(server: Server, headers: dict[str, str] | None = None, **params: Any) -> Any:
    response = await server.client.get("/api/events", params=params, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


# -- Streams


async def test_a_stream_has_the_frames_of_the_websocket(server: Server):
    async with listening(server) as listener, streaming(server) as events:
        await lease(server, "a")
        body = {"from": "zoe", "to": ["ada"], "bcc": ["eve"], "body": "two\nlines"}
        await server.client.post("/api/messages", json=body)
        for frame in await listener.events(2):
            event = await anext(events)
            assert (event.id, event.event) == (str(frame["cursor"]), frame["type"])
            assert event.data == frame


async def test_the_head_is_there_before_anything_happens(server: Server):
    with trio.fail_after(60):
        async with streaming(server, project="silent"):
            pass


@pytest.mark.parametrize("way", ["since_cursor", "Last-Event-ID"])
async def test_a_stream_resumes(server: Server, way: str):
    for number in range(5):
        await lease(server, f"f{number}")
    headers = {"Last-Event-ID": "2"} if way == "Last-Event-ID" else None
    params = {"since_cursor": "2" if headers is None else "0"}
    async with streaming(server, headers=headers, **params) as events:
        assert [(await anext(events)).id for _ in range(3)] == ["3", "4", "5"]
        await lease(server, "more")
        assert (await anext(events)).id == "6"


async def test_a_reader_that_comes_back_again_and_again_misses_nothing(server: Server):
    seen: list[int] = []
    for number in range(20):
        await lease(server, f"a{number}")
        await lease(server, f"b{number}")
        headers = {"Last-Event-ID": str(seen[-1])} if seen else None
        async with streaming(server, headers=headers, since_cursor=0) as events:
            seen.append(int((await anext(events)).id))
    assert seen == list(range(1, 21))


async def test_one_agents_stream_with_some_types(server: Server):
    async with streaming(server, agent="ada", types="message.*") as events:
        await lease(server, "a")
        for to in ("bob", "ada"):
            body = {"from": "zoe", "to": [to], "body": to}
            await server.client.post("/api/messages", json=body)
        event = await anext(events)
        assert (event.data["agent"], event.data["data"]["body"]) == ("ada", "ada")


async def test_something_is_said_while_nothing_happens(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "FEED_COMMENT_MS", 1)
    async with streaming(server) as events:
        assert all([(await events.block()).comment for _ in range(5)])
        await lease(server, "a")
        assert (await anext(events)).id == "1"


async def test_comments_lose_no_event(server: Server, monkeypatch: pytest.MonkeyPatch):
    """A comment ends a wait that an event may be ending at the same time."""
    monkeypatch.setattr(limits, "FEED_COMMENT_MS", 0.1)
    async with streaming(server) as events:
        for number in range(40):
            await lease(server, f"f{number}")
        assert [int((await anext(events)).id) for _ in range(40)] == list(range(1, 41))


async def test_a_slow_reader_is_told_and_the_stream_ends(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "FEED_QUEUE_LEN_MAX", 4)
    monkeypatch.setattr(limits, "FEED_PAGE_MAX", 2)
    monkeypatch.setattr(limits, "FEED_LAG_MAX", 8)
    async with streaming(server) as events:
        await lease(server, "a")
        assert (await anext(events)).id == "1"
        register = [{"method": "agents.register", "params": {}}] * 50
        await server.client.post("/api/batch", json={"commands": register})
        found = [event async for event in events]
        assert found[-1].event == "feed.lagged"
        assert found[-1].id == "", "it is no event that one could resume after"
        assert found[-1].data["cursor"] == int(found[-2].id if len(found) > 1 else 1)


async def test_a_stream_ends_at_shutdown(tmp_path: Path):
    async with running_server(tmp_path) as server, streaming(server) as events:
        await lease(server, "a")
        await anext(events)
        server.shutdown.set()
        assert [event async for event in events] == []


async def test_a_client_that_leaves_is_forgotten(server: Server):
    with trio.fail_after(60):
        for _ in range(3):
            async with streaming(server) as events:
                await lease(server, "a", shared=True)
                await anext(events)


async def test_asking_for_the_head_of_a_stream_does_not_stream(server: Server):
    with trio.fail_after(60):
        response = await server.client.head("/api/events", headers=ACCEPT)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(feeds.STREAM)


@pytest.mark.parametrize(
    ("headers", "params", "status", "code"),
    [
        ({"Last-Event-ID": "x"}, {}, 400, "invalid_request"),
        ({"Last-Event-ID": "9"}, {}, 410, "cursor_gone"),
        ({}, {"since_cursor": "x"}, 400, "invalid_request"),
        ({}, {"since_cursor": "9"}, 410, "cursor_gone"),
        ({}, {"types": "x"}, 400, "invalid_request"),
        ({"X-Agent-ID": "bob"}, {"agent": "ada"}, 403, "agent_identity_mismatch"),
    ],
)
async def test_what_is_wrong_is_an_answer_and_no_stream(
    server: Server, headers: dict, params: dict, status: int, code: str
):
    response = await server.client.get("/api/events", headers=ACCEPT | headers, params=params)
    refused(response, status, code)


async def test_a_revoked_key_ends_its_stream(tmp_path: Path, tenants, monkeypatch):
    from .tenants import revoke

    monkeypatch.setattr("intermute.web.trust.CALLER_BELIEVED_MS", 0)
    async with (
        running_server(tmp_path, keys_file=tenants.keys_file) as server,
        streaming(server, headers=tenants.headers("a")) as events,
    ):
        revoke(tenants.keys_file, tenants.a)
        server.reload_keys()
        await lease(server, "a", headers=tenants.headers("operator"))
        assert [event async for event in events] == []


# -- Pages


async def test_a_page_and_the_next(server: Server):
    for number in range(7):
        await lease(server, f"f{number}")
    seen: list[int] = []
    cursor, more = 0, True
    while more:
        found = await page(server, since_cursor=cursor, limit=3)
        seen += [frame["cursor"] for frame in found["events"]]
        cursor, more = found["cursor"], found["more"]
    assert seen == list(range(1, 8))
    assert cursor == 7
    assert await page(server, since_cursor=7) == {"events": [], "cursor": 7, "more": False}


async def test_a_page_has_the_frames_of_the_websocket(server: Server):
    async with listening(server, "eve") as listener:
        body = {"from": "zoe", "to": ["ada"], "bcc": ["eve"], "body": "hi"}
        await server.client.post("/api/messages", json=body)
        frame = await listener.event()
    assert (await page(server, agent="eve"))["events"] == [frame]
    assert (await page(server, agent="bob"))["events"] == []
    assert '"bcc"' not in json.dumps(await page(server))
    seen = await page(server, headers={"X-Agent-ID": "zoe"})
    assert seen["events"][0]["data"]["bcc"] == ["eve"]


async def test_a_page_looks_through_a_bounded_part_of_the_log(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "EVENTS_SCANNED_MAX", 4)
    monkeypatch.setattr(limits, "FEED_PAGE_MAX", 2)
    for number in range(9):
        await lease(server, f"f{number}")
    body = {"from": "zoe", "to": ["ada"], "body": "hi"}
    await server.client.post("/api/messages", json=body)
    first = await page(server, types="message.*")
    assert first == {"events": [], "cursor": 4, "more": True}
    found = await page(server, types="message.*", since_cursor=8)
    assert [frame["cursor"] for frame in found["events"]] == [10]


async def test_a_page_is_bounded_in_bytes(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "EVENTS_PAGE_LEN_MAX", 3_000)
    for _ in range(5):
        body = {"from": "zoe", "to": ["ada"], "body": "x" * 2_000}
        await server.client.post("/api/messages", json=body)
    found = await page(server)
    assert len(found["events"]) == 2
    assert (found["cursor"], found["more"]) == (2, True)


async def test_pages_of_nothing(server: Server):
    assert await page(server, project="ghost") == {"events": [], "cursor": 0, "more": False}
    assert not list(server.settings.data.glob("*ghost*"))


async def test_a_browsers_accept_header_means_a_page(server: Server):
    response = await server.client.get(
        "/api/events", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    )
    assert response.json()["events"] == []


async def test_streams_and_sockets_see_the_same_end(tmp_path: Path):
    """Both kinds at once, one shutdown."""
    async with (
        running_server(tmp_path) as server,
        listening(server) as listener,
        streaming(server) as events,
    ):
        await lease(server, "a")
        await anext(events)
        server.shutdown.set()
        assert (await listener.closed())[0] == conversation.GOING_AWAY
        assert [event async for event in events] == []
