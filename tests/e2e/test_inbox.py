"""Inboxes over the wire: pages, counts, what is owed, and who may look."""

import pytest

from .answers import refused
from .conftest import Server, ShiftedClock
from .mail import counts, get, inbox, mark, send
from .test_agent_updates import proof


def bodies(messages):
    return [message["body"] for message in messages]


async def fill(server: Server, number: int, **members: object) -> list[dict]:
    return [await send(server, "ada", "bob", body=str(n), **members) for n in range(number)]


async def test_an_inbox_is_read_page_by_page_and_never_consumed(server: Server):
    await fill(server, 5)
    for _ in range(2):
        seen, after, more = [], 0, True
        while more:
            page = await get(server, "/api/inbox/bob", since_cursor=after, limit=2)
            seen += bodies(page["messages"])
            assert page["cursor"] == page["messages"][-1]["cursor"] > after
            after, more = page["cursor"], page["more"]
        assert seen == list("01234")
    page = await get(server, "/api/inbox/bob", since_cursor=after)
    assert page == {"messages": [], "cursor": after, "more": False}


async def test_an_inbox_of_anybody_is_empty_at_first(server: Server):
    nobody = {"messages": [], "cursor": 0, "more": False}
    assert await get(server, "/api/inbox/whoever") == nobody
    await send(server, "ada", "bob")
    assert await get(server, "/api/inbox/whoever") == nobody
    assert await counts(server, "whoever") == (0, 0)


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "+1", "0", "\u0661"])
async def test_a_cursor_that_is_none_is_the_beginning(server: Server, value: str):
    await fill(server, 2)
    assert bodies(await inbox(server, "bob", since_cursor=value)) == ["0", "1"]


@pytest.mark.parametrize("value", [2**63 - 1, 2**63, 2**64, 10**25])
async def test_b13_a_cursor_beyond_all_is_no_error(server: Server, value: int):
    """B13: an earlier service answered 500."""
    await send(server, "ada", "bob", thread_id="t", topic="x")
    for path, name in (
        ("/api/inbox/bob", "since_cursor"),
        ("/api/topics/default/x", "since_cursor"),
        ("/api/threads/t", "cursor"),
    ):
        page = await get(server, path, **{name: value})
        assert page["messages"] == []
    assert len((await get(server, "/api/threads", agent="bob", cursor=value))["threads"]) == 1
    found = await get(server, "/api/search", q="hello", cursor=value)
    assert len(found["messages"]) == 1


async def test_pages_have_bounds(server: Server):
    await fill(server, 101)
    page = await get(server, "/api/inbox/bob")
    assert (len(page["messages"]), page["more"]) == (100, True)
    for limit in ("x", "0", "-5"):
        assert len(await inbox(server, "bob", limit=limit)) == 100
    assert len(await inbox(server, "bob", limit=5_000)) == 101


async def test_what_is_unread(server: Server):
    sent = await fill(server, 3)
    await mark(server, "read", sent[1]["message_id"], "bob")
    assert bodies(await inbox(server, "bob", unread_only="true")) == ["0", "2"]
    assert bodies(await inbox(server, "bob", unread_only="false")) == ["0", "1", "2"]
    assert await counts(server, "bob") == (3, 2)
    page = await get(server, "/api/inbox/bob", unread_only="true", limit=1)
    assert (bodies(page["messages"]), page["more"]) == (["0"], True)


async def test_agents_whose_names_hold_slashes_have_inboxes(server: Server):
    for name in ("team/bob", "counts", "a b?c#d"):
        await send(server, "ada", name, body=name)
    assert bodies(await inbox(server, "team/bob")) == ["team/bob"]
    assert bodies(await inbox(server, "team%2Fbob")) == ["team/bob"]
    assert bodies(await inbox(server, "counts")) == ["counts"]
    assert bodies(await inbox(server, "a%20b%3Fc%23d")) == ["a b?c#d"]
    assert await counts(server, "team/bob") == (1, 1)


async def test_whose_inbox_must_be_a_name(server: Server):
    for name in ("x" * 201, "a%01b", "%20"):
        response = await server.client.get(f"/api/inbox/{name}")
        refused(response, 400, "invalid_request")


async def test_an_edit_shows_when_it_was_made(server: Server):
    await send(server, "ada", "bob", id="m", body="one")
    assert "edited_at" not in (await inbox(server, "bob"))[0]
    await send(server, "ada", "bob", id="m", body="two")
    (message,) = await inbox(server, "bob")
    assert message["body"] == "two"
    assert message["edited_at"] >= message["created_at"]


# -- Acknowledgements that are owed


async def owed(server: Server, **params: object) -> dict:
    return await get(server, "/api/inbox/bob/stale-acks", **params)


async def test_acknowledgements_that_are_owed_for_long(clock: ShiftedClock, server: Server):
    asked = {"ack_required": True, "subject": "s", "thread_id": "t"}
    (sent,) = await fill(server, 1, **asked)
    await fill(server, 1)
    assert (await owed(server))["messages"] == []
    found = await owed(server, ttl_seconds=0)
    assert {name: found[name] for name in ("project", "agent", "ttl_seconds", "count")} == {
        "project": "default",
        "agent": "bob",
        "ttl_seconds": 0,
        "count": 1,
    }
    (message,) = found["messages"]
    assert message["id"] == sent["message_id"]
    assert (message["kind"], message["read_at"], message["age_seconds"]) == ("to", None, 0)
    assert (message["subject"], message["thread_id"], message["to"]) == ("s", "t", ["bob"])
    await mark(server, "read", sent["message_id"], "bob")
    assert (await owed(server, ttl_seconds=0))["messages"][0]["read_at"] is not None
    await mark(server, "ack", sent["message_id"], "bob")
    assert (await owed(server, ttl_seconds=0))["messages"] == []


async def test_the_age_that_counts_as_stale_has_a_default_and_a_bound(server: Server):
    for value in ("-1", "x", "", "1.5"):
        assert (await owed(server, ttl_seconds=value))["ttl_seconds"] == 1_800
    assert (await owed(server, ttl_seconds=10**18))["ttl_seconds"] < 10**9
    assert (await owed(server))["ttl_seconds"] == 1_800


async def test_stale_acknowledgements_come_in_pages(server: Server):
    await fill(server, 25, ack_required=True)
    page = await owed(server, ttl_seconds=0)
    assert (page["count"], page["more"]) == (20, True)
    page = await owed(server, ttl_seconds=0, limit=1_000)
    assert (page["count"], page["more"]) == (25, False)
    assert bodies(page["messages"]) == [str(number) for number in range(25)]


# -- Who may look


async def test_b18_an_inbox_is_for_the_eyes_of_its_agent(server: Server):
    """B18: anybody in a project could read any inbox."""
    ada, bob = await server.register("Ada"), await server.register("Bob")
    bob_id = bob["agent_id"]
    await send(server, ada["agent_id"], bob_id, thread_id="t")
    paths = [f"/api/inbox/{bob_id}{rest}" for rest in ("", "/counts", "/stale-acks")]
    paths.append(f"/api/threads?agent={bob_id}")
    for path in paths:
        as_ada = await server.client.get(path, headers={"X-Agent-ID": ada["agent_id"]})
        refused(as_ada, 403, "agent_identity_mismatch")
        stolen = {"X-Agent-ID": bob_id, "X-Agent-Token": ada["token"]}
        refused(await server.client.get(path, headers=stolen), 403, "agent_identity_mismatch")
        assert (await server.client.get(path)).status_code == 200, "not held to its token yet"
    heartbeat = await server.client.post(f"/api/agents/{bob_id}/heartbeat", headers=proof(bob))
    assert heartbeat.status_code == 200
    for path in paths:
        refused(await server.client.get(path), 403, "agent_token_required")
        named = {"X-Agent-ID": bob_id}
        refused(await server.client.get(path, headers=named), 403, "agent_token_required")
        assert (await server.client.get(path, headers=proof(bob))).status_code == 200


async def test_b18_only_who_may_act_as_an_agent_marks_for_it(server: Server):
    ada, bob = await server.register("Ada"), await server.register("Bob")
    sent = await send(server, ada["agent_id"], bob["agent_id"])
    for kind in ("read", "ack"):
        response = await mark(
            server, kind, sent["message_id"], bob["agent_id"], {"X-Agent-ID": ada["agent_id"]}
        )
        refused(response, 403, "agent_identity_mismatch")
    await server.client.post(f"/api/agents/{bob['agent_id']}/heartbeat", headers=proof(bob))
    for agent in (None, bob["agent_id"]):
        response = await mark(server, "read", sent["message_id"], agent)
        refused(response, 403, "agent_token_required")
    response = await mark(server, "read", sent["message_id"], None, proof(bob))
    assert response.json()["changed"] is True
