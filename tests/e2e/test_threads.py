"""Threads and topics over the wire."""

import pytest

from intermute import app

from .answers import raw, refused
from .conftest import Server, running_server
from .mail import get, post, send, set_policy, thread_of, threads


async def test_a_thread_is_told_in_order_whole_and_page_by_page(server: Server):
    for number in range(5):
        pair = ("ada", "bob") if number % 2 else ("bob", "ada")
        await send(server, *pair, thread_id="t", body=str(number), subject="s", cc=["carl"])
    whole = await get(server, "/api/threads/t")
    assert whole["thread_id"] == "t"
    assert [message["body"] for message in whole["messages"]] == list("01234")
    assert all(m["subject"] == "s" and m["cc"] == ["carl"] for m in whole["messages"])
    assert whole["cursor"] == whole["messages"][-1]["cursor"]
    page = await get(server, "/api/threads/t", limit=3)
    assert (len(page["messages"]), page["more"]) == (3, True)
    rest = await get(server, "/api/threads/t", cursor=page["cursor"])
    assert page["messages"] + rest["messages"] == whole["messages"]
    assert rest["more"] is False
    end = await get(server, "/api/threads/t", cursor=whole["cursor"])
    assert (end["messages"], end["cursor"]) == ([], whole["cursor"])


async def test_an_agents_threads_are_listed_latest_first(server: Server):
    for name in ("x", "y", "x"):
        await send(server, "ada", "bob", thread_id=name, body=f"in {name}")
    listed = await get(server, "/api/threads", agent="bob")
    assert [each["thread_id"] for each in listed["threads"]] == ["x", "y"]
    assert listed["threads"][0].pop("last_at").count(":") == 2
    assert listed["threads"][0] == {
        "thread_id": "x",
        "last_cursor": 3,
        "message_count": 2,
        "last_from": "ada",
        "last_body": "in x",
    }
    assert (listed["cursor"], listed["more"]) == (2, False)
    first = await get(server, "/api/threads", agent="bob", limit=1)
    assert (first["cursor"], first["more"]) == (3, True)
    second = await get(server, "/api/threads", agent="bob", limit=1, cursor=first["cursor"])
    assert [each["thread_id"] for each in second["threads"]] == ["y"]
    last = await get(server, "/api/threads", agent="bob", cursor=second["cursor"])
    assert (last["threads"], last["cursor"]) == ([], 2)
    empty = await get(server, "/api/threads", agent="nobody")
    assert (empty["threads"], empty["cursor"]) == ([], 0)


async def test_a_list_of_threads_needs_an_agent(server: Server):
    for path in ("/api/threads", "/api/threads?agent=", "/api/threads?agent=%20"):
        assert (
            "agent required"
            in refused(await server.client.get(path), 400, "invalid_request")["detail"]
        )
    own = await server.client.get("/api/threads", headers={"X-Agent-ID": "bob"})
    assert own.json()["threads"] == []


async def test_threads_whose_ids_hold_slashes(server: Server):
    await send(server, "ada", "bob", thread_id="a/b c")
    for path in ("a/b%20c", "a%2Fb%20c"):
        assert len(await thread_of(server, path)) == 1
    assert await thread_of(server, "a") == []


async def test_a_thread_of_another_project_is_another_thread(server: Server):
    await send(server, "ada", "bob", thread_id="t", project="one")
    assert await thread_of(server, "t") == []
    assert len(await thread_of(server, "t", project="one")) == 1
    assert await threads(server, "bob") == []
    assert len(await threads(server, "bob", project="one")) == 1


async def test_a_message_nobody_in_to_may_have_is_in_its_thread_all_the_same(server: Server):
    bob = (await server.register("Bob"))["agent_id"]
    await set_policy(server, bob, "block_all")
    await send(server, "ada", bob, cc=["carl"], thread_id="t")
    (message,) = await thread_of(server, "t")
    assert message["to"] == []
    assert await threads(server, bob) == []
    assert len(await threads(server, "carl")) == 1


async def test_an_answer_in_a_shared_thread_gets_through(server: Server):
    ada, bob = [(await server.register(name))["agent_id"] for name in ("Ada", "Bob")]
    await set_policy(server, bob, "contacts_only")
    refused(await post(server, ada, bob, thread_id="t"), 403, "policy_denied")
    await send(server, bob, ada, thread_id="t")
    await send(server, ada, bob, thread_id="t")
    refused(await post(server, ada, bob), 403, "policy_denied")


# -- Topics


async def test_a_topic_is_found_however_it_is_written(server: Server):
    await send(server, "ada", "bob", topic="  Build/CI ")
    for path in ("/api/topics/default/build/ci", "/api/topics/default/BUILD%2FCI"):
        page = await get(server, path)
        assert [message["topic"] for message in page["messages"]] == ["build/ci"]
    by_query = await get(server, "/api/topics", topic=" BUILD/ci ", project="default")
    assert by_query == page


async def test_a_topic_is_read_page_by_page(server: Server):
    for number in range(3):
        await send(server, "ada", "bob", topic="x", body=str(number))
    page = await get(server, "/api/topics/default/x", limit=2)
    assert ([m["body"] for m in page["messages"]], page["more"]) == (["0", "1"], True)
    page = await get(server, "/api/topics/default/x", since_cursor=page["cursor"])
    assert ([m["body"] for m in page["messages"]], page["more"]) == (["2"], False)


@pytest.mark.parametrize(
    "path", ["/api/topics", "/api/topics?topic=%20", "/api/topics/default/%20"]
)
async def test_a_topic_must_be_named(server: Server, path: str):
    refused(await server.client.get(path), 400, "invalid_request")


async def test_a_topic_of_another_project_needs_its_key(server: Server, tmp_path):
    keys_file = tmp_path / "other.yaml"
    key = app.make_key(keys_file, "one", operator=False, expires_at=None)
    async with running_server(tmp_path / "other", keys_file=keys_file) as other:
        headers = {"Authorization": f"Bearer {key}"}
        await send(other, "ada", "bob", topic="x", headers=headers)
        page = await get(other, "/api/topics/one/x", headers)
        assert len(page["messages"]) == 1
        for path in ("/api/topics/two/x", "/api/topics?topic=x&project=two"):
            response = await other.client.get(path, headers=headers)
            refused(response, 403, "project_mismatch")


REPO = "/home/me/my repo"


async def test_b61_projects_with_slashes_have_topics(server: Server):
    """B61: an encoded slash used to lead to a redirect to something else."""
    await send(server, "ada", "bob", topic="a/b", project=REPO)
    await send(server, "ada", "bob", topic="home/me/my repo/a/b")
    encoded = "%2Fhome%2Fme%2Fmy%20repo"
    for path in (f"/api/topics/{encoded}/a/b", f"/api/topics/{encoded}/a%2Fb"):
        answer = await raw(server.port, "GET", path)
        assert answer.status_code == 200
        assert [message["project"] for message in answer.json()["messages"]] == [REPO]
    by_query = await get(server, "/api/topics", topic="a/b", project=REPO)
    assert len(by_query["messages"]) == 1


async def test_b61_slashes_at_the_edges_are_part_of_a_project(server: Server):
    sent = await send(server, "ada", "bob", topic="x", project="//a/")
    answer = await raw(server.port, "GET", "/api/topics/%2F%2Fa%2F/x")
    assert [message["id"] for message in answer.json()["messages"]] == [sent["message_id"]]


async def test_b35_one_cursor_leads_through_inbox_topic_and_thread(server: Server):
    """B35: the cursors of topics used to be a number space of their own."""
    await server.register("somebody")
    sent = [
        await send(server, "ada", "bob", topic="x", thread_id="t", body=str(n)) for n in range(3)
    ]
    after = sent[0]["cursor"]
    for path, name in (
        ("/api/inbox/bob", "since_cursor"),
        ("/api/topics/default/x", "since_cursor"),
        ("/api/threads/t", "cursor"),
    ):
        page = await get(server, path, **{name: after})
        assert [message["cursor"] for message in page["messages"]] == [
            each["cursor"] for each in sent[1:]
        ]


async def test_a_slash_at_the_end_of_a_path_means_nothing(server: Server):
    message = {"from": "ada", "to": ["bob"], "thread_id": "t", "body": "b"}
    await server.client.post("/api/messages", json=message)
    for path in ("/api/inbox/bob/", "/api/threads/t/"):
        found = await server.client.get(path)
        assert len(found.json()["messages"]) == 1, path
