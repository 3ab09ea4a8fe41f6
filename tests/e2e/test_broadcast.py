"""Broadcasts over the wire."""

import httpx
import pytest

from .answers import refused
from .conftest import Server, ShiftedClock
from .mail import counts, inbox, set_policy


async def broadcast(server: Server, sender: str = "ada", **members: object) -> httpx.Response:
    headers = members.pop("headers", None)
    body = {"from": sender, "topic": "News", "body": "hello", **members}
    return await server.client.post("/api/broadcast", json=body, headers=headers)


async def agents(server: Server, *names: str) -> list[str]:
    return [(await server.register(name))["agent_id"] for name in names]


async def test_a_broadcast_reaches_everybody_but_its_sender(server: Server):
    ada, bob, carl = await agents(server, "Ada", "Bob", "Carl")
    response = await broadcast(server, ada, subject="s")
    sent = response.json()
    assert sent == {"message_id": sent["message_id"], "cursor": 4, "delivered": 2}
    for agent_id in (bob, carl):
        (message,) = await inbox(server, agent_id)
        assert (message["id"], message["to"]) == (sent["message_id"], [bob, carl])
        assert (message["topic"], message["subject"]) == ("news", "s")
        assert message["broadcast"] is True
    assert await counts(server, ada) == (0, 0)


@pytest.mark.parametrize("name", ["from", "topic", "body"])
async def test_a_broadcast_needs_all_three(server: Server, name: str):
    response = await broadcast(server, **{name: " "})
    assert f"{name} required" in refused(response, 400, "invalid_request")["detail"]


async def test_a_broadcast_stays_in_its_project(server: Server):
    """B24: without a project, an earlier service wrote to the agents of all projects."""
    bob = (await server.register("Bob", project="other"))["agent_id"]
    assert (await broadcast(server)).json()["delivered"] == 0
    assert (await broadcast(server, project="other")).json()["delivered"] == 1
    assert await counts(server, bob) == (1, 1)


async def test_b40_agents_that_are_gone_get_no_broadcasts(clock: ShiftedClock, server: Server):
    """B40: an earlier service addressed every agent that had ever registered."""
    gone, retired = await agents(server, "Gone", "Retired")
    clock.advance(301)
    (bob,) = await agents(server, "Bob")
    await server.client.delete(f"/api/agents/{retired}")
    assert (await broadcast(server)).json()["delivered"] == 1
    assert [await counts(server, name) for name in (gone, retired, bob)] == [
        (0, 0),
        (0, 0),
        (1, 1),
    ]
    assert (await broadcast(server, include_stale=True)).json()["delivered"] == 2
    assert await counts(server, gone) == (1, 1)


async def test_b40_only_broadcasts_that_are_sent_count(clock: ShiftedClock, server: Server):
    for _ in range(12):
        response = await broadcast(server)
        assert response.json() == {"message_id": "", "cursor": 0, "delivered": 0}
    (bob,) = await agents(server, "Bob")
    await set_policy(server, bob, "block_all")
    for _ in range(12):
        assert refused(await broadcast(server), 403, "policy_denied")["denied"] == [bob]
    await set_policy(server, bob, "open")
    for _ in range(10):
        assert (await broadcast(server)).json()["delivered"] == 1
    denied = await broadcast(server)
    members = refused(denied, 429, "rate_limit")
    assert 0 < members["retry_after_seconds"] <= 60
    assert denied.headers["Retry-After"] == str(members["retry_after_seconds"])
    assert (await broadcast(server, "another")).json()["delivered"] == 1
    clock.advance(members["retry_after_seconds"])
    assert (await broadcast(server)).json()["delivered"] == 1
    assert await counts(server, bob) == (12, 12)


async def test_who_does_not_want_it_is_named(server: Server):
    bob, _ = await agents(server, "Bob", "Carl")
    await set_policy(server, bob, "contacts_only")
    sent = (await broadcast(server)).json()
    assert (sent["delivered"], sent["denied"]) == (1, [bob])
    assert await counts(server, bob) == (0, 0)


async def test_b18_a_broadcast_is_in_nobody_elses_name(server: Server):
    ada, _ = await agents(server, "Ada", "Bob")
    response = await broadcast(server, ada, headers={"X-Agent-ID": "eve"})
    refused(response, 403, "agent_identity_mismatch")
