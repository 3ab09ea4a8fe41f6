"""Known defects of the former service in messages, each absent here by its name."""

import pytest
import trio

from intermute.project import directory

from ..project.harness import WALL, HandClock
from .answers import refused
from .conftest import Server, running_server
from .mail import counts, get, inbox, mark, post, send, set_policy, thread_of, threads


async def register(server: Server, *names: str) -> list[str]:
    return [(await server.register(name))["agent_id"] for name in names]


async def test_b19_no_thread_of_ones_own_making_opens_a_closed_door(server: Server):
    """The thread exception used to ask only whether the sender had ever used the thread's id."""
    eve, bob, carl, mallory = await register(server, "Eve", "Bob", "Carl", "Mallory")
    for policy in ("contacts_only", "auto"):
        await set_policy(server, bob, policy)
        thread_id = f"t-{policy}"
        for sender, recipient in ((eve, carl), (eve, eve), (bob, carl), (mallory, eve)):
            await send(server, sender, recipient, thread_id=thread_id)
            refused(await post(server, eve, bob, thread_id=thread_id), 403, "policy_denied")
        assert [message["from"] for message in await inbox(server, bob)].count(eve) == 0
        await send(server, bob, eve, thread_id=thread_id)
        await send(server, eve, bob, thread_id=thread_id, body=policy)
        assert (await inbox(server, bob))[-1]["body"] == policy
        eve, mallory = await register(server, "Eve", "Mallory")


async def test_b22_blind_copies_are_blind_everywhere(server: Server):
    """`bcc` used to be shown to every reader of inboxes and topics."""
    sent = await send(
        server, "ada", "bob", cc=["carl"], bcc=["dora", "emil"], topic="x", thread_id="t"
    )
    path = f"/api/messages/{sent['message_id']}"
    await mark(server, "read", sent["message_id"], "dora")
    expected = {"ada": ["dora", "emil"], "dora": ["dora"], "emil": ["emil"]}
    for viewer in ("ada", "bob", "carl", "dora", "emil", "zoe", None):
        headers = {} if viewer is None else {"X-Agent-ID": viewer}
        seen = []
        for url in ("/api/topics/default/x", "/api/threads/t", "/api/search?q=hello"):
            seen += (await get(server, url, headers))["messages"]
        seen.append(await get(server, path, headers))
        if viewer not in (None, "ada", "zoe"):
            seen += await inbox(server, viewer, headers)
            seen += await inbox(server, viewer)
        bcc = expected.get(viewer or "")
        assert all(message.get("bcc") == bcc for message in seen), viewer
        status = await get(server, f"{path}/recipients", headers)
        blind = [each["agent"] for each in status["recipients"] if each["kind"] == "bcc"]
        assert blind == (bcc or []), viewer


async def test_b22_being_blind_copied_is_claimed_by_nobody_else(server: Server):
    ada, dora = await server.register("Ada"), await server.register("Dora")
    sent = await send(server, ada["agent_id"], "bob", bcc=[dora["agent_id"]])
    token = {"X-Agent-ID": dora["agent_id"], "X-Agent-Token": dora["token"]}
    await mark(server, "read", sent["message_id"], dora["agent_id"], token)
    path = f"/api/messages/{sent['message_id']}"
    for name in (path, f"{path}/recipients"):
        claimed = await server.client.get(name, headers={"X-Agent-ID": dora["agent_id"]})
        refused(claimed, 403, "agent_token_required")
        assert (await server.client.get(name, headers=token)).status_code == 200


async def test_b23_a_message_is_only_its_senders_to_replace(server: Server):
    await send(server, "ada", "bob", id="m", body="as it was")
    for sender in ("bob", "eve"):
        refused(await post(server, sender, "bob", id="m", body="forged"), 403, "not_the_sender")
    assert [message["body"] for message in await inbox(server, "bob")] == ["as it was"]
    await send(server, "ada", "bob", id="m", body="corrected")
    assert [message["body"] for message in await inbox(server, "bob")] == ["corrected"]


async def test_b24_a_request_without_a_project_is_not_for_all_projects(server: Server):
    """An empty project used to read every project's messages."""
    for project in ("one", "two"):
        await send(server, "ada", "bob", thread_id="t", topic="x", project=project)
    assert await inbox(server, "bob") == []
    assert await counts(server, "bob") == (0, 0)
    assert await threads(server, "bob") == []
    assert await thread_of(server, "t") == []
    assert (await get(server, "/api/topics", topic="x"))["messages"] == []
    assert (await get(server, "/api/search", q="hello"))["messages"] == []
    assert len(await inbox(server, "bob", project="one")) == 1


async def test_b25_messages_of_one_second_are_in_order(tmp_path, monkeypatch):
    """Times used to be compared as text of various lengths: `…00Z` came after `…00.5Z`."""
    clock = HandClock()
    monkeypatch.setattr(directory, "SystemClock", lambda: clock)
    parts_us = (0, 100_000, 120_000, 123_000, 123_400, 500_000)
    async with running_server(tmp_path) as server:
        for part_us in parts_us:
            clock.at_us = WALL + part_us
            await send(server, "ada", "bob", thread_id="t", topic="x", body=str(part_us))
        in_order = [str(part_us) for part_us in parts_us]
        for found in (
            await thread_of(server, "t"),
            await inbox(server, "bob"),
            (await get(server, "/api/topics", topic="x"))["messages"],
        ):
            assert [message["body"] for message in found] == in_order
            assert found[0]["created_at"].endswith(":20Z"), "a whole second"


async def test_b31_a_retry_is_not_a_second_message(server: Server):
    first = await send(server, "ada", "bob", id="m", thread_id="t", topic="x")
    await mark(server, "read", "m", "bob")
    for _ in range(3):
        assert await send(server, "ada", "bob", id="m", thread_id="t", topic="x") == first
    after = await send(server, "ada", "bob", id="n")
    assert after["cursor"] == first["cursor"] + 2, "no event but the mark"
    assert [message["id"] for message in await inbox(server, "bob")] == ["m", "n"]
    assert await counts(server, "bob") == (2, 1)
    (thread,) = await threads(server, "bob")
    assert thread["message_count"] == 1


async def test_b31_retries_at_the_same_time_are_one_message(server: Server):
    answers = []

    async def one() -> None:
        answers.append(await send(server, "ada", "bob", id="m"))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(one)
    assert all(answer == answers[0] for answer in answers)
    assert await counts(server, "bob") == (1, 1)


async def test_b31_a_retry_after_a_restart_is_no_second_message(tmp_path):
    async with running_server(tmp_path) as server:
        first = await send(server, "ada", "bob", id="m")
    async with running_server(tmp_path) as server:
        assert await send(server, "ada", "bob", id="m") == first
        assert await counts(server, "bob") == (1, 1)


async def test_b32_copies_are_delivered(server: Server):
    """Copies and blind copies used to be counted as unread and to be in no inbox."""
    await send(server, "ada", "bob", cc=["carl"], bcc=["dora"], thread_id="t", ack_required=True)
    for agent_id, kind in (("bob", "to"), ("carl", "cc"), ("dora", "bcc")):
        (message,) = await inbox(server, agent_id)
        assert message["kind"] == kind
        assert await counts(server, agent_id) == (1, 1)
        assert len(await threads(server, agent_id)) == 1
        owed = await get(server, f"/api/inbox/{agent_id}/stale-acks", ttl_seconds=0)
        assert [message["kind"] for message in owed["messages"]] == [kind]


async def test_b33_to_is_always_a_list(server: Server):
    (bob,) = await register(server, "Bob")
    await set_policy(server, bob, "block_all")
    sent = await send(server, "ada", bob, cc=["carl"], bcc=["dora"], thread_id="t", topic="x")
    assert sent["denied"] == [bob]
    for url in ("/api/inbox/carl", "/api/inbox/dora", "/api/threads/t", "/api/topics/default/x"):
        (message,) = (await get(server, url))["messages"]
        assert message["to"] == []
    assert (await get(server, f"/api/messages/{sent['message_id']}"))["to"] == []


async def test_b34_a_recipient_named_twice_has_one_message(server: Server):
    await send(server, "ada", "bob", "bob", " bob ", cc=["bob"], bcc=["bob"], thread_id="t")
    (message,) = await inbox(server, "bob")
    assert (message["to"], message["kind"]) == (["bob"], "to")
    assert not {"cc", "bcc"} & message.keys()
    assert await counts(server, "bob") == (1, 1)
    assert (await threads(server, "bob"))[0]["message_count"] == 1


async def test_b36_a_message_that_changes_threads_takes_its_place_along(server: Server):
    """The old thread used to stay listed, with a stale preview, while its messages were gone."""
    await send(server, "ada", "bob", id="m", thread_id="old", body="one")
    await send(server, "ada", "bob", id="m", thread_id="new", body="two")
    (thread,) = await threads(server, "bob")
    assert (thread["thread_id"], thread["last_body"], thread["message_count"]) == ("new", "two", 1)
    assert await thread_of(server, "old") == []
    await send(server, "ada", "bob", id="m", body="two")
    for agent_id in ("ada", "bob"):
        assert await threads(server, agent_id) == []


async def test_b36_a_preview_is_whole_characters(server: Server):
    await send(server, "ada", "bob", thread_id="t", body="a" + "\u20ac" * 100)
    (thread,) = await threads(server, "bob")
    assert thread["last_body"] == "a" + "\u20ac" * 66


@pytest.mark.parametrize("kind", ["read", "ack"])
async def test_b37_a_mark_that_cannot_be_made_is_told(server: Server, kind: str):
    """Everything used to be answered with an empty 200."""
    sent = await send(server, "ada", "bob", "carl")
    refused(await mark(server, kind, "unknown", "bob"), 404, "message_not_found")
    refused(await mark(server, kind, sent["message_id"], "eve"), 403, "not_a_recipient")
    refused(await mark(server, kind, sent["message_id"], "ada"), 403, "not_a_recipient")
    headers = {"Content-Type": "application/json"}
    for body in (b"{", b"[]", b'{"agent": 7}'):
        path = f"/api/messages/{sent['message_id']}/{kind}"
        response = await server.client.post(path, content=body, headers=headers)
        refused(response, 400, "invalid_request")
    assert (await mark(server, kind, sent["message_id"], "bob")).json()["agent"] == "bob"


async def test_b41_contacts_can_be_managed_and_count(server: Server):
    """There used to be no way to fill the list that `contacts_only` looks at."""
    ada, bob = await register(server, "Ada", "Bob")
    await set_policy(server, bob, "contacts_only")
    refused(await post(server, ada, bob), 403, "policy_denied")
    await server.client.post(f"/api/agents/{bob}/contacts", json={"contact_id": ada})
    await send(server, ada, bob)
    await server.client.delete(f"/api/agents/{bob}/contacts/{ada}")
    refused(await post(server, ada, bob), 403, "policy_denied")


async def test_b50_shared_overlap_is_no_consent(server: Server):
    """`auto` used to let in whoever reserved an overlapping path, shared or not."""
    ada, bob = await register(server, "Ada", "Bob")
    await set_policy(server, bob, "auto")
    for agent_id in (ada, bob):
        await server.reserve(agent_id, "src/**", exclusive=False)
    refused(await post(server, ada, bob), 403, "policy_denied")
