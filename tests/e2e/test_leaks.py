"""What must not be told: blind copies, by whatever way, and doors that messages must not open."""

from typing import Any

import pytest

from intermute.domain.stamp import make_id
from intermute.project.directory import project_tag

from .answers import refused
from .conftest import Server
from .listening import listening, streaming
from .mail import get, inbox, mark, post, send, set_policy, thread_of
from .test_defects_messages import register

BLIND = "ursula"
SENDER = "ada"


async def everything(server: Server, viewer: str | None) -> str:
    """All that reads tell this viewer, and nobody's own mail but its own, as one text."""
    headers = {} if viewer is None else {"X-Agent-ID": viewer}
    paths = [
        *("/api/topics/default/x", "/api/threads/t", "/api/events", "/api/messages/m"),
        *("/api/messages/m/recipients", "/api/search?q=hello", "/api/agents", "/api/reservations"),
    ]
    if viewer is not None:
        paths += [f"/api/inbox/{viewer}", f"/api/inbox/{viewer}/counts"]
        paths += [f"/api/inbox/{viewer}/stale-acks?ttl_seconds=0", f"/api/threads?agent={viewer}"]
        paths += [f"/api/inbox/pokes?agent={viewer}&project=default"]
        paths += [f"/api/events?agent={viewer}"]
    return "".join([(await server.client.get(path, headers=headers)).text for path in paths])


async def pushed(server: Server, viewer: str | None) -> str:
    """All that the feeds push to this viewer."""
    head = (await get(server, "/api/events"))["cursor"]
    headers = {} if viewer is None else {"X-Agent-ID": viewer}
    async with listening(server, headers=headers, since_cursor=0) as listener:
        told: list[Any] = await listener.until(head)
    async with streaming(server, headers=headers, since_cursor=0) as stream:
        while told[-1] != head:
            block = await anext(stream)
            told += [block.data, int(block.id)]
    if viewer is None:
        return repr(told)
    async with listening(server, viewer, headers=headers, since_cursor=0) as listener:
        # An answer comes after whatever was pushed before it was asked for.
        await post(server, "zoe", viewer, id=f"last-{viewer}")
        last = (await get(server, f"/api/messages/last-{viewer}"))["cursor"]
        told += await listener.until(last)
    return repr(told)


async def test_b22_a_blind_copy_leaves_no_trace_for_third_parties(server: Server):
    """The message, its replacement, its marks: in every list, in every feed."""
    members = {"thread_id": "t", "topic": "x", "ack_required": True, "id": "m"}
    await send(server, SENDER, "bob", cc=["carl"], bcc=[BLIND], **members)
    await mark(server, "read", "m", BLIND)
    await send(server, SENDER, "bob", body="hello again", **members)
    await mark(server, "ack", "m", BLIND)
    await mark(server, "read", "m", "bob")
    for viewer in (None, "bob", "carl", "zoe"):
        assert BLIND not in await everything(server, viewer), viewer
        assert BLIND not in await pushed(server, viewer), viewer
    for viewer in (SENDER, BLIND):
        assert BLIND in await everything(server, viewer)
        assert BLIND in await pushed(server, viewer)
    found = await get(server, "/api/search", {"X-Agent-ID": SENDER}, q=BLIND)
    assert found["messages"] == []


async def test_b22_an_answer_that_is_replayed_to_somebody_else_tells_no_more(server: Server):
    body = {"from": SENDER, "to": ["bob"], "bcc": [BLIND], "body": "hello"}
    keyed = {"Idempotency-Key": "k"}
    answers = [
        await server.client.post("/api/messages", json=body, headers=keyed | who)
        for who in ({}, {"X-Agent-ID": SENDER}, {"X-Agent-ID": "eve"})
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 403]
    assert all(BLIND not in answer.text for answer in answers)


@pytest.mark.parametrize("kind", ["read", "ack"])
async def test_b22_a_mark_of_nobody_in_particular_is_not_a_blind_recipients(
    server: Server, kind: str
):
    """Whoever named no agent was told the only recipient, also where that one was blind."""
    (bob,) = await register(server, "Bob")
    await set_policy(server, bob, "block_all")
    sent = await send(server, SENDER, bob, bcc=[BLIND])
    answer = await mark(server, kind, sent["message_id"])
    assert answer.status_code == 200
    assert answer.json() | {"agent": None, "changed": False} == answer.json()
    assert "read_at" not in (await inbox(server, BLIND))[0]
    # With or without blind copies, the one open recipient is the one that is meant.
    for bcc in ([], [BLIND]):
        sent = await send(server, SENDER, "carl", bcc=bcc)
        assert (await mark(server, kind, sent["message_id"])).json()["agent"] == "carl"


async def test_b22_no_policy_tells_who_has_a_blind_copy(server: Server):
    """Threads let in whoever shares a message, blind copies included, and so told of them."""
    bob, eve = await register(server, "Bob", "Eve")
    await send(server, SENDER, eve, bcc=[bob], thread_id="t")
    await set_policy(server, bob, "contacts_only")
    refused(await post(server, eve, bob, thread_id="t"), 403, "policy_denied")
    await send(server, SENDER, bob, thread_id="t")
    # The one who has it blind knows of the other, and by writing tells of itself.
    await send(server, bob, eve, thread_id="t")
    await send(server, eve, bob, thread_id="t")


async def test_b19_no_message_is_moved_into_a_thread_to_open_a_door(server: Server):
    """A message that was let in before could be given a thread, and the thread let in the next."""
    bob, eve = await register(server, "Bob", "Eve")
    await send(server, eve, bob, id="m", body="let in")
    await set_policy(server, bob, "contacts_only")
    moved = await post(server, eve, bob, id="m", thread_id="t")
    assert refused(moved, 403, "policy_denied")["denied"] == [bob]
    refused(await post(server, eve, bob, thread_id="t"), 403, "policy_denied")
    assert await thread_of(server, "t") == []
    assert [message["body"] for message in await inbox(server, bob)] == ["let in"]
    # What stays where it is may be corrected, and what takes its leave may go.
    await send(server, eve, bob, id="m", body="corrected")
    await send(server, bob, eve, thread_id="t")
    await send(server, eve, bob, id="m", thread_id="t")
    await send(server, eve, bob, id="m")
    assert len(await thread_of(server, "t")) == 1


@pytest.mark.parametrize("transport", ["live", "both"])
async def test_b19_mail_that_was_let_in_is_no_leave_to_type(server: Server, transport: str):
    """With the policies that agents have from the start: mail from all, live from contacts only."""
    bob, eve, mallory = await register(server, "Bob", "Eve", "Mallory")
    on = await server.client.patch("/api/project", json={"live_transport": True})
    assert on.status_code == 200
    live = {"transport": transport, "thread_id": "t"}
    refused(await post(server, eve, bob, **live), 403, "policy_denied")
    await send(server, eve, bob, thread_id="t")
    refused(await post(server, eve, bob, **live), 403, "policy_denied")
    await send(server, mallory, bob, cc=[eve], thread_id="t")
    refused(await post(server, eve, bob, **live), 403, "policy_denied")
    await send(server, bob, eve, thread_id="t")
    answer = await post(server, eve, bob, **live)
    if transport == "live":
        refused(answer, 503, "recipient_busy")
    else:
        assert answer.json()["delivery"] == "deferred"
    refused(await post(server, mallory, bob, **live), 403, "policy_denied")


async def test_no_message_is_taken_for_who_could_never_read_it(server: Server):
    """An agent's inbox is in its own project; a message to it elsewhere would be in no inbox."""
    ada = (await server.register("Ada", project="one"))["agent_id"]
    await send(server, "bob", ada, project="one")
    for members in ({}, {"cc": [ada]}, {"bcc": [ada]}):
        to = ["carl"] if members else [ada]
        refused(await post(server, "bob", *to, project="two", **members), 404, "agent_not_found")
        refused(await post(server, "bob", *to, **members), 404, "agent_not_found")
    assert await inbox(server, "carl", project="two") == []
    unseen = make_id("agt", project_tag("nowhere"), "0" * 28)
    refused(await post(server, "bob", unseen), 404, "agent_not_found")


async def test_the_mail_of_an_agent_that_has_retired_is_not_everybodys(server: Server):
    ada = await server.register("Ada")
    own = {"X-Agent-ID": ada["agent_id"], "X-Agent-Token": ada["token"]}
    await send(server, SENDER, "bob", bcc=[ada["agent_id"]], id="m")
    await mark(server, "read", "m", ada["agent_id"], own)
    path = f"/api/agents/{ada['agent_id']}"
    assert (await server.client.delete(path, headers=own)).status_code == 200
    claimed = {"X-Agent-ID": ada["agent_id"]}
    for name in (f"/api/inbox/{ada['agent_id']}", f"/api/events?agent={ada['agent_id']}"):
        refused(await server.client.get(name), 403, "agent_token_required")
        refused(await server.client.get(name, headers=claimed), 403, "agent_token_required")
    refused(
        await server.client.get("/api/messages/m", headers=claimed), 403, "agent_token_required"
    )
