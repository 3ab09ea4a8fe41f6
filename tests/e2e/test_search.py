"""Searching a project's messages over the wire."""

import pytest
import trio

from intermute.domain import limits
from intermute.project import searching

from .answers import refused
from .conftest import Server
from .mail import get, inbox, send


async def found(server: Server, q: str, **params: object) -> list[str]:
    page = await get(server, "/api/search", q=q, **params)
    return [message["body"] for message in page["messages"]]


@pytest.fixture
async def library(server: Server) -> Server:
    for subject, body in (
        ("Build", "the foo_bar test fails"),
        ("", "Foo fighters and a bar"),
        ("", "na\u00efve caf\u00e9"),
        ("", "plain"),
    ):
        await send(server, "ada", "bob", subject=subject, body=body)
    return server


@pytest.mark.parametrize(
    ("q", "numbers"),
    [
        ("foo", [1, 0]),
        ("FOO Bar", [1, 0]),
        ("foo fails", [0]),
        ('"foo bar"', [0]),
        ("build", [0]),
        ("fight", []),
        ("fight*", [1]),
        ("naive CAFE", [2]),
        ("foo OR plain", []),
        ("foo NOT fails", []),
        ("subject:build", []),
        ('fo" plain', []),
        ("plain \U0001f600 !!!", [3]),
        ("f\x00oo plain", []),
    ],
)
async def test_words_are_found_newest_first(library: Server, q: str, numbers: list[int]):
    sent = [message["body"] for message in await inbox(library, "bob")]
    assert await found(library, q) == [sent[number] for number in numbers]


async def test_findings_come_in_pages_with_a_snippet(server: Server):
    for number in range(25):
        await send(server, "ada", "bob", body=f"needle {number}")
    page = await get(server, "/api/search", q="needle")
    assert (len(page["messages"]), page["more"]) == (20, True)
    assert page["messages"][0]["snippet"] == "[needle] 24"
    assert page["cursor"] == page["messages"][-1]["cursor"]
    rest = await get(server, "/api/search", q="needle", cursor=page["cursor"])
    assert (len(rest["messages"]), rest["more"]) == (5, False)
    assert [message["body"] for message in rest["messages"]][-1] == "needle 0"
    assert len(await found(server, "needle", limit=3)) == 3
    nothing = await get(server, "/api/search", q="absent", cursor=7)
    assert nothing == {"messages": [], "cursor": 7, "more": False}


@pytest.mark.parametrize("q", ["", " ", "...", '"', "x" * 501, "a " * 33])
async def test_what_cannot_be_searched_for(server: Server, q: str):
    refused(await server.client.get("/api/search", params={"q": q}), 400, "invalid_request")


async def test_a_search_stays_in_its_project(server: Server):
    await send(server, "ada", "bob", body="needle", project="other")
    assert await found(server, "needle") == []
    assert await found(server, "needle", project="other") == ["needle"]
    assert await found(server, "needle", project="unknown") == []


async def test_an_edit_is_what_is_found(server: Server):
    await send(server, "ada", "bob", id="m", body="first")
    await send(server, "ada", "bob", id="m", body="second")
    assert await found(server, "first") == []
    assert await found(server, "second") == ["second"]


async def test_b22_a_search_shows_blind_recipients_to_nobody_else(server: Server):
    await send(server, "ada", "bob", bcc=["carl"], body="needle")
    for viewer, seen in ((None, None), ("bob", None), ("ada", ["carl"]), ("carl", ["carl"])):
        headers = {} if viewer is None else {"X-Agent-ID": viewer}
        page = await get(server, "/api/search", headers, q="needle")
        assert page["messages"][0].get("bcc") == seen


async def test_whoever_says_which_agent_it_is_must_be_it(server: Server):
    ada = await server.register("Ada")
    headers = {"X-Agent-ID": ada["agent_id"], "X-Agent-Token": "nonsense"}
    response = await server.client.get("/api/search", params={"q": "x"}, headers=headers)
    refused(response, 403, "agent_identity_mismatch")


async def test_a_search_that_takes_too_long_is_given_up(
    library: Server, monkeypatch: pytest.MonkeyPatch
):
    def too_long(reader: object, time_ms: int, query: object) -> None:
        assert time_ms == limits.SEARCH_TIME_MAX_MS
        raise searching.TookTooLong

    monkeypatch.setattr(searching.Reader, "within", too_long)
    response = await library.client.get("/api/search", params={"q": "foo"})
    refused(response, 422, "search_too_broad")
    monkeypatch.undo()
    assert len(await found(library, "foo")) == 2


async def test_so_many_searches_may_wait(library: Server, monkeypatch: pytest.MonkeyPatch):
    """Those beyond are turned away at once, and everybody else is served all the while."""
    go = trio.Event()
    most = limits.SEARCHES_RUNNING_MAX + limits.SEARCHES_WAITING_MAX
    quick = searching.Reader.within

    def slow(reader: searching.Reader, time_ms: int, query: object) -> object:
        trio.from_thread.run(go.wait)
        return quick(reader, time_ms, query)

    monkeypatch.setattr(searching.Reader, "within", slow)
    statuses: list[int] = []

    async def search() -> None:
        response = await library.client.get("/api/search", params={"q": "foo"})
        statuses.append(response.status_code)
        if len(statuses) == 3:
            go.set()

    async with trio.open_nursery() as nursery:
        for _ in range(most + 3):
            nursery.start_soon(search)
        await send(library, "ada", "bob", body="meanwhile")
    assert statuses.count(503) == 3
    assert statuses.count(200) == most
