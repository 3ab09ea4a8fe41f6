"""Sending, reading and marking messages over the wire."""

import pytest

from .answers import place, raw, refused
from .conftest import Server
from .mail import counts, get, inbox, mark, post, send, set_policy
from .test_agent_updates import proof


async def test_a_message_reaches_its_recipient_whole(server: Server):
    sent = await send(
        server,
        "ada",
        "bob",
        cc=["carl"],
        subject="Re: <build> & \u2028",
        topic=" CI/Main ",
        thread_id="t/1",
        body="line\nline\t\u00e9\U0001f600",
        importance="high",
        ack_required=True,
    )
    assert set(sent) == {"message_id", "cursor"}
    (message,) = await inbox(server, "bob")
    assert message.pop("created_at").endswith("Z")
    assert message == {
        "id": sent["message_id"],
        "thread_id": "t/1",
        "project": "default",
        "from": "ada",
        "to": ["bob"],
        "cc": ["carl"],
        "subject": "Re: <build> & \u2028",
        "topic": "ci/main",
        "body": "line\nline\t\u00e9\U0001f600",
        "importance": "high",
        "ack_required": True,
        "cursor": sent["cursor"],
        "kind": "to",
    }


async def test_a_message_may_be_nearly_empty(server: Server):
    await server.client.post("/api/messages", json={"from": "ada", "to": ["bob"]})
    (message,) = await inbox(server, "bob")
    assert message["body"] == ""
    assert message["thread_id"] == ""
    assert not {"cc", "bcc", "subject", "topic", "importance", "ack_required"} & message.keys()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"from": ""}, "from required"),
        ({"to": []}, "to required"),
        ({"to": ["", "  "]}, "to required"),
        ({"to": "bob"}, "Expected `array`"),
        ({"from": 1}, "`$.from`"),
        ({"id": "a\u0001"}, "control characters"),
        ({"ack_required": 1}, "Expected `bool`"),
    ],
)
async def test_what_cannot_be_sent(server: Server, members: dict, words: str):
    body = {"from": "ada", "to": ["bob"], **members}
    response = await server.client.post("/api/messages", json=body)
    assert words in refused(response, 400, "invalid_request")["detail"]
    assert await counts(server, "bob") == (0, 0)


async def test_whatever_transport_is_asked_for_the_inbox_is_what_there_is(server: Server):
    for transport in ("", "async", "live", "both", "carrier pigeon"):
        sent = await send(server, "ada", "bob", transport=transport, target_window_uuid="w")
        assert set(sent) == {"message_id", "cursor"}
    assert await counts(server, "bob") == (5, 5)


async def test_decisions_on_messages_have_a_place_in_the_projects_order(server: Server):
    first = await post(server, "ada", "bob")
    second = await mark(server, "read", first.json()["message_id"], "bob")
    third = await mark(server, "read", "none", "bob")
    assert place(first) < place(second) < place(third)


async def test_a_send_may_be_retried_with_an_idempotency_key(server: Server):
    key = {"Idempotency-Key": "k"}
    first = await post(server, "ada", "bob", headers=key)
    again = await post(server, "ada", "bob", headers=key)
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert await counts(server, "bob") == (1, 1)
    refused(await post(server, "ada", "carl", headers=key), 422, "idempotency_key_reused")


async def test_denied_recipients_are_named(server: Server):
    bob = (await server.register("Bob"))["agent_id"]
    await set_policy(server, bob, "block_all")
    sent = await send(server, "ada", bob, "carl")
    assert sent["denied"] == [bob]
    members = refused(await post(server, "ada", bob), 403, "policy_denied")
    assert members["denied"] == [bob]
    assert await counts(server, bob) == (0, 0)
    assert await counts(server, "carl") == (1, 1)


# -- One message


async def test_one_message_by_its_id(server: Server):
    sent = await send(server, "ada", "bob", bcc=["carl"], id="my/own id")
    found = await get(server, "/api/messages/my%2Fown%20id")
    assert found["id"] == sent["message_id"] == "my/own id"
    assert found["cursor"] == sent["cursor"]
    refused(await server.client.get("/api/messages/other"), 404, "message_not_found")
    own = await get(server, "/api/messages/my%2Fown%20id", project="default")
    assert own == found
    other = await server.client.get("/api/messages/my%2Fown%20id", params={"project": "other"})
    refused(other, 404, "message_not_found")


async def test_a_message_of_another_project_is_found_by_the_tag_of_its_id(server: Server):
    sent = await send(server, "ada", "bob", project="other")
    found = await get(server, f"/api/messages/{sent['message_id']}")
    assert found["project"] == "other"
    assert (await mark(server, "read", sent["message_id"], "bob")).json()["changed"] is True
    named = await server.client.get(
        f"/api/messages/{sent['message_id']}", params={"project": "default"}
    )
    refused(named, 404, "message_not_found")


async def test_an_id_that_looks_like_that_of_another_project_cannot_be_chosen(server: Server):
    sent = await send(server, "ada", "bob", project="other")
    taken = await post(server, "ada", "bob", id=sent["message_id"], project="default")
    refused(taken, 400, "invalid_request")
    edited = await send(server, "ada", "bob", id=sent["message_id"], project="other", body="two")
    assert edited == sent


async def test_an_agents_messages_are_of_its_own_project_unless_it_names_another(server: Server):
    ada = (await server.register("Ada", project="other"))["agent_id"]
    bob = (await server.register("Bob", project="other"))["agent_id"]
    await send(server, ada, bob)
    (message,) = await inbox(server, bob)
    assert message["project"] == "other"
    await send(server, ada, "bob", project="default")
    assert await counts(server, "bob") == (1, 1)


async def test_recipients_and_how_they_have_it(server: Server):
    sent = await send(server, "ada", "bob", cc=["carl"], ack_required=True)
    await mark(server, "read", sent["message_id"], "bob")
    await mark(server, "ack", sent["message_id"], "carl")
    found = await get(server, f"/api/messages/{sent['message_id']}/recipients")
    bob, carl = found["recipients"]
    assert (found["message_id"], found["ack_required"]) == (sent["message_id"], True)
    assert (bob["agent"], bob["kind"], bob["ack_at"]) == ("bob", "to", None)
    assert bob["read_at"].endswith("Z")
    assert (carl["agent"], carl["kind"], carl["read_at"]) == ("carl", "cc", None)
    assert carl["ack_at"].endswith("Z")
    path = "/api/messages/none/recipients"
    refused(await server.client.get(path), 404, "message_not_found")


# -- Marks


@pytest.mark.parametrize("kind", ["read", "ack"])
async def test_a_mark_says_what_it_did(server: Server, kind: str):
    sent = await send(server, "ada", "bob", "carl")
    first = (await mark(server, kind, sent["message_id"], "bob")).json()
    at = first[f"{kind}_at"]
    assert first == {
        "message_id": sent["message_id"],
        "agent": "bob",
        f"{kind}_at": at,
        "changed": True,
    }
    again = (await mark(server, kind, sent["message_id"], "bob")).json()
    assert again == {**first, "changed": False}
    (message,) = await inbox(server, "bob")
    assert message[f"{kind}_at"] == at
    assert f"{kind}_at" not in (await inbox(server, "carl"))[0]


async def test_who_marks_may_be_said_in_three_ways(server: Server):
    sent = await send(server, "ada", "bob", "carl", "dora")
    path = f"/api/messages/{sent['message_id']}/read"
    client = server.client
    by_body = await client.post(path, json={"agent": "bob"})
    by_query = await client.post(path, params={"agent": "carl"})
    by_header = await client.post(path, headers={"X-Agent-ID": "dora"})
    for response, agent in ((by_body, "bob"), (by_query, "carl"), (by_header, "dora")):
        assert (response.json()["agent"], response.json()["changed"]) == (agent, True)


async def test_b67_a_client_that_names_nobody_marks_for_the_only_recipient(server: Server):
    """B67: today's client sends `{}`; what it read used to stay unread."""
    alone = await send(server, "ada", "bob")
    for kind in ("read", "ack"):
        marked = (await mark(server, kind, alone["message_id"])).json()
        assert (marked["agent"], marked["changed"]) == ("bob", True)
    assert await counts(server, "bob") == (1, 0)
    shared = await send(server, "ada", "bob", "carl")
    nobody = (await mark(server, "read", shared["message_id"])).json()
    assert (nobody["agent"], nobody["read_at"], nobody["changed"]) == (None, None, False)


async def test_a_mark_needs_no_body(server: Server):
    sent = await send(server, "ada", "bob")
    answer = await raw(server.port, "POST", f"/api/messages/{sent['message_id']}/read")
    assert answer.json()["agent"] == "bob"


async def test_many_messages_are_marked_in_one_request(server: Server):
    ids = [(await send(server, "ada", "bob"))["message_id"] for _ in range(3)]
    other = (await send(server, "ada", "carl"))["message_id"]
    body = {"agent": "bob", "message_ids": [*ids, other, "none", ids[0]]}
    response = await server.client.post("/api/messages/read", json=body)
    assert response.status_code == 200
    results = response.json()["results"]
    assert [each["message_id"] for each in results] == [*ids, other, "none"]
    assert [each["changed"] for each in results] == [True] * 3 + [False] * 2
    errors = [each.get("error") for each in results]
    assert errors == [None] * 3 + ["not_a_recipient", "message_not_found"]
    assert await counts(server, "bob") == (3, 0)
    acked = await server.client.post("/api/messages/ack", json=body)
    assert [each["changed"] for each in acked.json()["results"][:3]] == [True] * 3


async def test_many_marks_go_to_the_agents_own_project(server: Server):
    bob = (await server.register("Bob", project="other"))["agent_id"]
    sent = await send(server, "ada", bob, project="other")
    body = {"message_ids": [sent["message_id"]]}
    by_header = await server.client.post(
        "/api/messages/read", json=body, headers={"X-Agent-ID": bob}
    )
    assert by_header.json()["results"][0]["changed"] is True
    named = await server.client.post("/api/messages/ack?project=other", json={**body, "agent": bob})
    assert named.json()["results"][0]["changed"] is True


@pytest.mark.parametrize("body", [{}, {"agent": "bob"}, {"message_ids": ["m"]}])
async def test_many_marks_need_an_agent_and_ids(server: Server, body: dict):
    response = await server.client.post("/api/messages/read", json=body)
    refused(response, 400, "invalid_request")


async def test_many_marks_are_one_commit_and_an_event_each(server: Server):
    ids = [(await send(server, "ada", "bob"))["message_id"] for _ in range(3)]
    body = {"agent": "bob", "message_ids": ids}
    first = await server.client.post("/api/messages/read", json=body)
    again = await server.client.post("/api/messages/read", json=body)
    assert place(again)[1] == place(first)[1] + 1
    after = await send(server, "ada", "bob")
    assert after["cursor"] == 3 + 3 + 1


async def test_an_agents_identity_holds_for_messages(server: Server):
    ada = await server.register("Ada")
    await send(server, ada["agent_id"], "bob", headers=proof(ada))
    refused(await post(server, ada["agent_id"], "bob"), 403, "agent_token_required")
    wrong = {**proof(ada), "X-Agent-Token": "nonsense"}
    refused(
        await post(server, ada["agent_id"], "bob", headers=wrong), 403, "agent_identity_mismatch"
    )
    other = {"X-Agent-ID": "eve"}
    refused(await post(server, "bob", "carl", headers=other), 403, "agent_identity_mismatch")
