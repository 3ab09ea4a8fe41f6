"""What changes an agent over the wire: heartbeat, metadata, policies, retirement, tokens."""

import uuid

import httpx
import pytest

from intermute.domain import limits

from .answers import place, refused
from .conftest import Server, ShiftedClock
from .test_agents import FIELDS, WHOLE_SECONDS, agents

JSON = {"Content-Type": "application/json"}


def proof(registered: dict) -> dict[str, str]:
    """The headers that show who an agent is."""
    return {"X-Agent-ID": registered["agent_id"], "X-Agent-Token": registered["token"]}


@pytest.fixture
async def ada(server: Server) -> dict:
    return await server.register("Ada")


async def beat(server: Server, agent_id: str, content: bytes = b"", **more) -> httpx.Response:
    headers = {**(JSON if content else {}), **more.pop("headers", {})}
    path = f"/api/agents/{agent_id}/heartbeat{more.pop('slash', '')}"
    return await server.client.post(path, content=content, headers=headers)


async def test_a_heartbeat_needs_no_body(server: Server, ada: dict):
    for content in (b"", b"{}", b"null", b" "):
        response = await beat(server, ada["agent_id"], content)
        assert response.status_code == 200, response.text
        assert response.json()["agent_id"] == ada["agent_id"]


async def test_a_heartbeat_tolerates_a_slash_at_the_end(server: Server, ada: dict):
    response = await beat(server, ada["agent_id"], slash="/")
    assert response.status_code == 200
    assert response.json()["agent_id"] == ada["agent_id"]


async def test_a_heartbeat_is_seen(clock: ShiftedClock, server: Server, ada: dict):
    before = (await server.agent(ada["agent_id"]))["last_seen"]
    clock.advance(3600)
    await beat(server, ada["agent_id"])
    after = (await server.agent(ada["agent_id"]))["last_seen"]
    assert after > before
    assert WHOLE_SECONDS.fullmatch(after)


@pytest.mark.parametrize("focus", ["at-prompt", "tool-use", "thinking", "unknown"])
async def test_a_heartbeat_sets_the_focus(server: Server, ada: dict, focus: str):
    content = b'{"focus_state":"%s"}' % focus.encode()
    assert (await beat(server, ada["agent_id"], content)).status_code == 200
    assert (await server.agent(ada["agent_id"]))["focus_state"] == focus


async def test_a_blank_focus_keeps_the_focus(server: Server, ada: dict):
    await beat(server, ada["agent_id"], b'{"focus_state":"thinking"}')
    assert (await beat(server, ada["agent_id"], b'{"focus_state":""}')).status_code == 200
    assert (await server.agent(ada["agent_id"]))["focus_state"] == "thinking"


async def test_an_unknown_focus_is_400(server: Server, ada: dict):
    response = await beat(server, ada["agent_id"], b'{"focus_state":"asleep"}')
    assert "invalid focus_state" in refused(response, 400, "invalid_request")["detail"]
    refused(await beat(server, ada["agent_id"], b"{"), 400, "invalid_request")


async def patch(server: Server, agent_id: str, members: object) -> httpx.Response:
    return await server.client.patch(f"/api/agents/{agent_id}/metadata", json=members)


async def test_metadata_is_merged_and_the_whole_agent_answered(server: Server):
    registered = await server.register("Ada", metadata={"a": "1", "b": "2"})
    response = await patch(server, registered["agent_id"], {"metadata": {"b": "3", "c": "4"}})
    assert response.status_code == 200
    assert set(response.json()) == FIELDS
    assert response.json()["metadata"] == {"a": "1", "b": "3", "c": "4"}
    (listed,) = await agents(server)
    assert listed == response.json()


async def test_a_metadata_key_is_removed_with_null(server: Server):
    registered = await server.register("Ada", metadata={"a": "1", "b": "2"})
    response = await patch(server, registered["agent_id"], {"metadata": {"a": None, "zz": None}})
    assert response.json()["metadata"] == {"b": "2"}


async def test_a_metadata_patch_is_a_sign_of_life(clock: ShiftedClock, server: Server, ada: dict):
    before = (await server.agent(ada["agent_id"]))["last_seen"]
    clock.advance(3600)
    response = await patch(server, ada["agent_id"], {"metadata": {"a": "1"}})
    assert response.json()["last_seen"] > before


@pytest.mark.parametrize("content", [b"{}", b"null", b'{"metadata":{}}', b'{"metadata":null}'])
async def test_a_metadata_patch_without_metadata_is_400(server: Server, ada: dict, content: bytes):
    url = f"/api/agents/{ada['agent_id']}/metadata"
    response = await server.client.patch(url, content=content, headers=JSON)
    assert "metadata map required" in refused(response, 400, "invalid_request")["detail"]


async def test_metadata_has_a_bound_over_all_its_keys(server: Server, ada: dict):
    value = "v" * limits.METADATA_VALUE_LEN_MAX
    for key in ("a", "b", "c"):
        assert (await patch(server, ada["agent_id"], {"metadata": {key: value}})).status_code == 200
    response = await patch(server, ada["agent_id"], {"metadata": {"d": value}})
    refused(response, 429, "limit_reached")
    assert set((await server.agent(ada["agent_id"]))["metadata"]) == {"a", "b", "c"}


async def test_policies_have_their_defaults(server: Server, ada: dict):
    response = await server.client.get(f"/api/agents/{ada['agent_id']}/policy")
    assert response.status_code == 200
    assert response.json() == {
        "agent_id": ada["agent_id"],
        "policy": "open",
        "live_contact_policy": "contacts_only",
    }


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_policies_are_set_one_or_both(server: Server, ada: dict, method: str):
    url = f"/api/agents/{ada['agent_id']}/policy"
    response = await server.client.request(method, url, json={"policy": "block_all"})
    assert response.status_code == 200
    wanted = {
        "agent_id": ada["agent_id"],
        "policy": "block_all",
        "live_contact_policy": "contacts_only",
    }
    assert response.json() == wanted
    both = {"policy": "auto", "live_contact_policy": "open"}
    assert (await server.client.request(method, url, json=both)).json() == wanted | both
    assert (await server.client.get(url)).json() == wanted | both


async def test_a_policy_that_is_none_is_400(server: Server, ada: dict):
    url = f"/api/agents/{ada['agent_id']}/policy"
    for members, words in (
        ({}, "policy or live_contact_policy required"),
        ({"policy": ""}, "policy or live_contact_policy required"),
        (
            {"policy": "closed"},
            "invalid policy: must be open, auto, contacts_only, or block_all",
        ),
        (
            {"policy": "open", "live_contact_policy": "OPEN"},
            "invalid live_contact_policy: must be open, auto, contacts_only, or block_all",
        ),
    ):
        response = await server.client.put(url, json=members)
        assert refused(response, 400, "invalid_request")["detail"] == words
    assert (await server.client.get(url)).json()["policy"] == "open"


async def test_a_retired_agent_releases_what_it_holds(server: Server, ada: dict):
    held = await server.reserve(ada["agent_id"], "src/**")
    response = await server.client.delete(f"/api/agents/{ada['agent_id']}")
    assert response.status_code == 200
    assert response.json()["agent_id"] == ada["agent_id"]
    assert response.json()["released"] == [held["id"]]
    assert await agents(server) == []
    assert (await server.check("src/a.py"))["free"] is True
    seen = await server.client.get(f"/api/reservations/{held['id']}")
    assert seen.json()["is_active"] is False
    assert "released_at" in seen.json()


async def test_a_retired_agent_can_be_looked_at_and_nothing_else(server: Server, ada: dict):
    url = f"/api/agents/{ada['agent_id']}"
    await server.client.delete(url)
    agent = await server.agent(ada["agent_id"])
    assert agent["live"] is False
    assert "retired_at" in agent
    for method, path, members in (
        ("DELETE", "", None),
        ("POST", "/heartbeat", {}),
        ("PATCH", "/metadata", {"metadata": {"a": "b"}}),
        ("GET", "/policy", None),
        ("PUT", "/policy", {"policy": "open"}),
        ("GET", "/contacts", None),
        ("POST", "/contacts", {"contact_id": "x"}),
        ("DELETE", "/contacts/x", None),
    ):
        response = await server.client.request(method, url + path, json=members)
        assert response.status_code == 404, (method, path, response.text)
        refused(response, 404, "agent_not_found")


async def test_the_session_of_a_retired_agent_is_free(server: Server):
    session = str(uuid.uuid4())
    first = await server.register(session_id=session)
    await server.client.delete(f"/api/agents/{first['agent_id']}")
    second = await server.register(session_id=session)
    assert second["agent_id"] != first["agent_id"]


async def test_a_retired_agents_registration_asked_again_opens_nothing(server: Server):
    """Its name stays held to the token that has ended, and its mail with it."""
    headers = {"Idempotency-Key": "r"}
    first = (await server.client.post("/api/agents", json={}, headers=headers)).json()
    own = {"X-Agent-ID": first["agent_id"], "X-Agent-Token": first["token"]}
    await server.client.delete(f"/api/agents/{first['agent_id']}", headers=own)
    again = await server.client.post("/api/agents", json={}, headers=headers)
    assert "retired" in refused(again, 404, "agent_not_found")["detail"]
    inbox = await server.client.get(f"/api/inbox/{first['agent_id']}")
    refused(inbox, 403, "agent_token_required")
    anew = await server.client.post("/api/agents", json={}, headers={"Idempotency-Key": "s"})
    assert anew.status_code == 200


async def test_decisions_about_agents_say_where_they_stand(server: Server, ada: dict):
    url = f"/api/agents/{ada['agent_id']}"
    seen = []
    for method, path, members in (
        ("POST", "/heartbeat", {}),
        ("PATCH", "/metadata", {"metadata": {"a": "b"}}),
        ("PUT", "/policy", {"policy": "auto"}),
        ("POST", "/contacts", {"contact_id": "x"}),
        ("DELETE", "/contacts/x", None),
        ("DELETE", "/contacts/x", None),
        ("DELETE", "", None),
        ("DELETE", "", None),
    ):
        response = await server.client.request(method, url + path, json=members)
        seen.append((response.status_code, place(response)))
    assert [status for status, _ in seen] == [200, 200, 200, 200, 200, 404, 200, 404]
    places = [where for _, where in seen]
    assert places == sorted(set(places))
    assert {epoch for epoch, _ in places} == {1}


async def test_changes_of_an_agent_are_idempotent_with_a_key(server: Server, ada: dict):
    url = f"/api/agents/{ada['agent_id']}"
    headers = {"Idempotency-Key": "k"}
    first = await server.client.patch(
        f"{url}/metadata", json={"metadata": {"a": "1"}}, headers=headers
    )
    await patch(server, ada["agent_id"], {"metadata": {"a": "2"}})
    again = await server.client.patch(
        f"{url}/metadata", json={"metadata": {"a": "1"}}, headers=headers
    )
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (await server.agent(ada["agent_id"]))["metadata"] == {"a": "2"}
    other = await server.client.patch(
        f"{url}/metadata", json={"metadata": {"a": "3"}}, headers=headers
    )
    refused(other, 422, "idempotency_key_reused")


async def test_a_token_must_be_right_wherever_it_is_shown(server: Server, ada: dict):
    bob = await server.register("Bob")
    held = await server.reserve(ada["agent_id"], "a")
    wrong = (
        proof(ada) | {"X-Agent-Token": bob["token"]},
        proof(ada) | {"X-Agent-Token": "nonsense"},
        proof(ada) | {"X-Agent-ID": "agt_unknown"},
        proof(ada) | {"X-Agent-ID": bob["agent_id"]},
    )
    requests = (
        ("POST", "/api/agents", {}),
        ("GET", "/api/agents", None),
        ("GET", "/api/agents/presence", None),
        ("GET", f"/api/agents/{ada['agent_id']}", None),
        ("POST", f"/api/agents/{ada['agent_id']}/heartbeat", {}),
        ("PATCH", f"/api/agents/{ada['agent_id']}/metadata", {"metadata": {"a": "b"}}),
        ("GET", f"/api/agents/{ada['agent_id']}/policy", None),
        ("PUT", f"/api/agents/{ada['agent_id']}/policy", {"policy": "open"}),
        ("GET", f"/api/agents/{ada['agent_id']}/contacts", None),
        ("POST", "/api/reservations", {"agent_id": ada["agent_id"], "path": "b"}),
        ("GET", "/api/reservations", None),
        ("GET", "/api/reservations/check?pattern=a", None),
        ("GET", f"/api/reservations/{held['id']}", None),
        ("POST", f"/api/reservations/{held['id']}/renew", {}),
        ("DELETE", f"/api/reservations/{held['id']}", None),
        ("GET", "/api/project", None),
        ("PATCH", "/api/project", {"case_sensitive": True}),
    )
    for headers in wrong:
        for method, path, members in requests:
            response = await server.client.request(method, path, json=members, headers=headers)
            assert response.status_code == 403, (method, path, headers, response.text)
            refused(response, 403, "agent_identity_mismatch")


async def test_a_wrong_token_is_refused_where_there_is_nothing_to_see(server: Server):
    headers = {"X-Agent-ID": "agt_unknown", "X-Agent-Token": "nonsense"}
    for path in ("/api/agents", "/api/agents/presence", "/api/agents?project=none"):
        refused(await server.client.get(path, headers=headers), 403, "agent_identity_mismatch")


async def test_a_wrong_token_is_refused_on_a_retry_too(server: Server, ada: dict):
    request = {
        "url": f"/api/agents/{ada['agent_id']}/metadata",
        "json": {"metadata": {"secret": "s"}},
    }
    right = proof(ada) | {"Idempotency-Key": "k"}
    assert (await server.client.patch(**request, headers=right)).status_code == 200
    wrong = right | {"X-Agent-Token": "nonsense"}
    response = await server.client.patch(**request, headers=wrong)
    refused(response, 403, "agent_identity_mismatch")


async def test_a_held_agents_remembered_answers_need_its_token(server: Server, ada: dict):
    request = {"url": f"/api/agents/{ada['agent_id']}/metadata", "json": {"metadata": {"a": "s"}}}
    right = proof(ada) | {"Idempotency-Key": "k"}
    assert (await server.client.patch(**request, headers=right)).status_code == 200
    response = await server.client.patch(**request, headers={"Idempotency-Key": "k"})
    refused(response, 403, "agent_token_required")


async def test_a_token_without_its_agent_is_403(server: Server, ada: dict):
    for path in ("/api/agents", f"/api/agents/{ada['agent_id']}", "/api/reservations"):
        response = await server.client.get(path, headers={"X-Agent-Token": ada["token"]})
        detail = refused(response, 403, "agent_token_unbound")["detail"]
        assert "agent token is bound but X-Agent-ID header is missing" in detail


async def test_whoever_has_shown_its_token_is_held_to_it(server: Server, ada: dict):
    assert (await beat(server, ada["agent_id"])).status_code == 200
    assert (await beat(server, ada["agent_id"], headers=proof(ada))).status_code == 200
    response = await beat(server, ada["agent_id"])
    refused(response, 403, "agent_token_required")
    assert (await beat(server, ada["agent_id"], headers=proof(ada))).status_code == 200
