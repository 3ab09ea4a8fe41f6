"""Agents over the wire: registration, lists, presence."""

import re
import uuid
from datetime import datetime

from intermute.domain import limits

from .answers import place, refused
from .conftest import Server, ShiftedClock, running_server

FIELDS = {
    "agent_id",
    "session_id",
    "name",
    "project",
    "capabilities",
    "metadata",
    "status",
    "last_seen",
    "created_at",
}
WHOLE_SECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


async def agents(server: Server, path: str = "", **params: str) -> list[dict]:
    response = await server.client.get(f"/api/agents{path}", params=params)
    assert response.status_code == 200, response.text
    return response.json()["agents"]


async def test_registration_answers_200_with_id_session_name_token_and_cursor(server: Server):
    response = await server.client.post("/api/agents", json={"name": "Ada"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body.keys() >= {"agent_id", "session_id", "name", "token", "cursor"}
    assert body["name"] == "Ada"
    assert body["cursor"] == 0
    assert str(uuid.UUID(body["session_id"])) == body["session_id"]
    assert len(body["token"]) >= 32
    assert place(response) == (1, 2)


async def test_an_empty_object_and_null_register_an_agent_with_a_generated_name(server: Server):
    for content in (b"{}", b"null", b'{"name":null}', b'{"name":"  "}'):
        response = await server.client.post(
            "/api/agents", content=content, headers={"Content-Type": "application/json"}
        )
        assert response.status_code == 200, response.text
        assert response.json()["name"].strip()


async def test_generated_names_vary(server: Server):
    names = {(await server.register())["name"] for _ in range(100)}
    assert len(names) >= 10


async def test_an_id_in_the_body_is_ignored(server: Server):
    body = await server.register("Ada", id="mine", agent_id="mine")
    assert body["agent_id"] not in ("", "mine")
    assert (await server.register("Ada"))["agent_id"] != body["agent_id"]


async def test_an_agent_in_a_list_has_all_fields_and_never_null(server: Server):
    registered = await server.register()
    (agent,) = await agents(server)
    assert set(agent) == FIELDS
    assert agent["agent_id"] == registered["agent_id"]
    assert agent["session_id"] == registered["session_id"]
    assert agent["project"] == "default"
    assert agent["capabilities"] == []
    assert agent["metadata"] == {}
    assert agent["status"] == ""
    assert WHOLE_SECONDS.fullmatch(agent["last_seen"])
    assert WHOLE_SECONDS.fullmatch(agent["created_at"])


async def test_what_is_registered_is_listed(server: Server):
    given = {
        "project": "p",
        "name": "Ada <&>",
        "session_id": str(uuid.uuid4()),
        "capabilities": ["go", "rust", "go"],
        "metadata": {"repo": "r", "": "empty key"},
        "status": "busy",
    }
    await server.register(**given)
    (agent,) = await agents(server, project="p")
    assert {name: agent[name] for name in given} == given


async def test_no_agents_are_an_empty_list(server: Server):
    assert await agents(server) == []
    assert await agents(server, project="nobody-was-here") == []
    assert await agents(server, path="/presence") == []


async def test_agents_are_listed_last_seen_first(clock: ShiftedClock, server: Server):
    first, second, third = [await server.register(name) for name in ("one", "two", "three")]
    clock.advance(60)
    response = await server.client.post(f"/api/agents/{first['agent_id']}/heartbeat")
    assert response.status_code == 200
    wanted = [first["agent_id"], third["agent_id"], second["agent_id"]]
    assert [agent["agent_id"] for agent in await agents(server)] == wanted
    assert [agent["agent_id"] for agent in await agents(server, path="/presence")] == wanted


async def test_the_capability_filter_is_an_exact_or(server: Server):
    await server.register("a", capabilities=["go", "sql"])
    await server.register("b", capabilities=["rust"])
    await server.register("c", capabilities=["Go"])
    await server.register("d")

    async def named(capability: str) -> set[str]:
        return {agent["name"] for agent in await agents(server, capability=capability)}

    assert await named("go") == {"a"}
    assert await named("rust,sql") == {"a", "b"}
    assert await named(" rust , Go ,, ") == {"b", "c"}
    assert await named("g") == set()
    assert await named(" , ") == {"a", "b", "c", "d"}


async def test_a_local_list_without_a_project_spans_all_projects(server: Server):
    await server.register("a", project="one")
    await server.register("b", project="two")
    await server.register("c")
    for path in ("", "/presence"):
        assert len(await agents(server, path)) == 3
        assert len(await agents(server, path, project=" one ")) == 1
    assert {agent["project"] for agent in await agents(server)} == {"one", "two", "default"}


async def test_agent_lists_have_pages(server: Server):
    ids = {(await server.register(str(number)))["agent_id"] for number in range(5)}
    response = await server.client.get("/api/agents", params={"limit": "2", "offset": "1"})
    page = response.json()
    assert len(page["agents"]) == 2
    assert page["more"] is True
    last = await server.client.get("/api/agents", params={"limit": "2", "offset": "4"})
    assert (len(last.json()["agents"]), last.json()["more"]) == (1, False)
    whole = [agent["agent_id"] for agent in await agents(server)]
    assert [agent["agent_id"] for agent in page["agents"]] == whole[1:3]
    assert set(whole) == ids


async def test_presence_is_read_out_of_the_metadata(server: Server):
    metadata = {
        "agent_kind": " claude ",
        "repo": " r ",
        "objective": "o",
        "active_bead_id": " bd-1 ",
        "active_bead_confidence": "high",
        "active_bead_candidates": "ignored",
        "thread_id": "t",
        "status": " editing ",
        "files_touched": '[" a.py ", "", "b.py"]',
    }
    registered = await server.register(metadata=metadata, status="idle")
    (row,) = await agents(server, "/presence")
    assert row.pop("last_seen") == (await server.agent(registered["agent_id"]))["last_seen"]
    assert row == {
        "agent_id": registered["agent_id"],
        "kind": "claude",
        "status": "editing",
        "repo": "r",
        "files": ["a.py", "b.py"],
        "objective": "o",
        "confidence": "high",
        "active_bead_id": "bd-1",
        "thread_id": "t",
    }


async def test_presence_has_every_field_for_an_agent_without_metadata(server: Server):
    registered = await server.register(status="idle", metadata={"status": "  "})
    (row,) = await agents(server, "/presence")
    assert WHOLE_SECONDS.fullmatch(row.pop("last_seen"))
    assert row == {
        "agent_id": registered["agent_id"],
        "kind": "",
        "status": "idle",
        "repo": "",
        "files": [],
        "objective": "",
        "confidence": "unknown",
        "active_bead_id": "",
        "thread_id": "",
    }


async def test_presence_files_that_cannot_be_parsed_are_no_files(server: Server):
    for text in ("", "a.py", "{}", "[1]", '["a.py"', '["a.py", null]', "[" * 1000):
        await server.register(metadata={"files_touched": text})
    assert {tuple(row["files"]) for row in await agents(server, "/presence")} == {()}


async def test_presence_is_filtered_by_repo_and_bead(server: Server):
    await server.register("a", metadata={"repo": "x", "active_bead_id": "1"})
    await server.register("b", metadata={"repo": " x ", "active_bead_id": "2"})
    await server.register("c", metadata={"repo": "y", "active_bead_id": "1"})
    assert len(await agents(server, "/presence", repo=" x ")) == 2
    assert len(await agents(server, "/presence", active_bead_id="1")) == 2
    assert len(await agents(server, "/presence", repo="x", active_bead_id="1")) == 1
    assert await agents(server, "/presence", repo="X") == []


async def test_one_agent_by_its_id(server: Server):
    registered = await server.register("Ada")
    agent = await server.agent(registered["agent_id"])
    assert agent.keys() >= FIELDS | {"live", "focus_state", "policy", "live_contact_policy"}
    assert agent["live"] is True
    assert agent["focus_state"] == "unknown"
    assert agent["policy"] == "open"
    assert agent["live_contact_policy"] == "contacts_only"
    assert "token" not in agent


async def test_a_session_id_is_a_uuid_in_any_of_the_accepted_spellings(server: Server):
    for spell in (str, lambda u: u.hex, lambda u: u.urn, lambda u: f"{{{u}}}", lambda u: f"<{u}>"):
        spelling = spell(uuid.uuid4())
        assert (await server.register(session_id=f" {spelling} "))["session_id"] == spelling


async def test_what_is_no_uuid_is_400_invalid_session_id(server: Server):
    hyphens_moved = "123456781234-1234-1234-1234-56789abc"
    for text in ("x", "0" * 31, "g" * 32, "{" + "0" * 36 + "}", hyphens_moved, "urn:uuid:" + "0"):
        response = await server.client.post("/api/agents", json={"session_id": text})
        members = refused(response, 400, "invalid_session_id")
        assert text in members["detail"]
        assert members["code"] == "invalid_session_id"


async def test_a_session_in_use_is_409_active_session_conflict(server: Server):
    session = str(uuid.uuid4())
    first = await server.register("first", session_id=session)
    response = await server.client.post("/api/agents", json={"session_id": session.upper()})
    members = refused(response, 409, "active_session_conflict")
    assert members["code"] == "active_session_conflict"
    assert members["agent_id"] == first["agent_id"]
    assert 0 < members["retry_after_seconds"] <= 300
    assert int(response.headers["Retry-After"]) == members["retry_after_seconds"]


async def test_a_stale_session_is_taken_over_after_five_minutes(
    clock: ShiftedClock, server: Server
):
    session = str(uuid.uuid4())
    first = await server.register("first", session_id=session)
    clock.advance(299)
    refused(
        await server.client.post("/api/agents", json={"session_id": session}),
        409,
        "active_session_conflict",
    )
    clock.advance(1)
    second = await server.register("second", session_id=session)
    assert second["agent_id"] == first["agent_id"]
    assert second["token"] != first["token"]
    assert second["name"] == "second"


async def test_a_session_whose_agent_holds_a_reservation_is_kept_for_it(
    clock: ShiftedClock, server: Server
):
    session = str(uuid.uuid4())
    first = await server.register("first", session_id=session)
    await server.reserve(first["agent_id"], "src/**", ttl_minutes=30)
    clock.advance(600)
    response = await server.client.post("/api/agents", json={"session_id": session})
    assert "holds reservations" in refused(response, 409, "active_session_conflict")["detail"]
    clock.advance(1200)
    assert (await server.register(session_id=session))["agent_id"] == first["agent_id"]


async def test_limits_of_a_registration(server: Server):
    inside = {
        "name": "n" * limits.AGENT_NAME_LEN_MAX,
        "status": "s" * limits.AGENT_STATUS_LEN_MAX,
        "capabilities": ["c" * limits.CAPABILITY_LEN_MAX] * limits.CAPABILITIES_MAX,
        "metadata": {"k" * limits.METADATA_KEY_LEN_MAX: "v" * limits.METADATA_VALUE_LEN_MAX},
        "project": "p" * limits.PROJECT_NAME_LEN_MAX,
    }
    await server.register(**inside)
    outside = {
        "name": "n" * (limits.AGENT_NAME_LEN_MAX + 1),
        "status": "s" * (limits.AGENT_STATUS_LEN_MAX + 1),
        "capabilities": ["c"] * (limits.CAPABILITIES_MAX + 1),
        "metadata": {str(number): "" for number in range(limits.METADATA_ENTRIES_MAX + 1)},
    }
    for name, value in outside.items():
        response = await server.client.post("/api/agents", json={name: value})
        assert name in refused(response, 400, "invalid_request")["detail"]
    too_long = {"project": "p" * (limits.PROJECT_NAME_LEN_MAX + 1)}
    refused(await server.client.post("/api/agents", json=too_long), 400, "invalid_project")


async def test_a_registration_asked_again_makes_one_agent(server: Server):
    headers = {"Idempotency-Key": "r-1"}
    first = await server.client.post("/api/agents", json={"name": "Ada"}, headers=headers)
    again = await server.client.post("/api/agents", json={"name": "Ada"}, headers=headers)
    assert again.status_code == 200
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json()["agent_id"] == first.json()["agent_id"]
    assert len(await agents(server)) == 1
    token = again.json()["token"]
    beat = await server.client.post(
        f"/api/agents/{again.json()['agent_id']}/heartbeat",
        headers={"X-Agent-ID": again.json()["agent_id"], "X-Agent-Token": token},
    )
    assert beat.status_code == 200


async def test_registrations_survive_a_restart(tmp_path):
    async with running_server(tmp_path) as before:
        registered = await before.register("Ada", metadata={"k": "v"}, project="p/q r")
    async with running_server(tmp_path) as after:
        (agent,) = await agents(after)
        assert agent["agent_id"] == registered["agent_id"]
        assert agent["project"] == "p/q r"
        assert agent["metadata"] == {"k": "v"}
        datetime.fromisoformat(agent["created_at"])
