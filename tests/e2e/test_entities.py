"""Entities over HTTP, as today's clients use them and beyond."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest

from intermute.domain import limits
from intermute.domain.entities.kinds import KINDS, Shape
from intermute.project.directory import project_tag

from ..project.harness import log_of
from .answers import place, raw, refused
from .conftest import Server, running_server
from .tenants import Tenants

ZERO = "0001-01-01T00:00:00Z"
KIND_NAMES = tuple(KINDS)


def url(kind: str, entity_id: str = "") -> str:
    rest = f"/{entity_id.replace('/', '%2F')}" if entity_id else ""
    return f"/api/{KINDS[kind].collection}{rest}"


async def make(server: Server, kind: str, **members: Any) -> dict[str, Any]:
    response = await server.client.post(url(kind), json=members)
    assert response.status_code == 201, response.text
    return response.json()


async def listed(server: Server, kind: str, **params: Any) -> list[str]:
    response = await server.client.get(url(kind), params=params)
    assert response.status_code == 200, response.text
    return [each["id"] for each in response.json()]


def moment(text: str) -> datetime:
    """A time as it is told, as one that can be compared."""
    return datetime.fromisoformat(text)


def types(server: Server, project: str = "default") -> list[str]:
    """The types of all that has happened in the project."""
    return [event.type for event in log_of(server.project_file(project))]


def whole(kind: str) -> dict[str, Any]:
    """A body as the SDK sends it: every member, times and id and status at their zero values."""
    zeros = {Shape.TEXTS: [], Shape.STEPS: [], Shape.NUMBER: 0}
    fields = {field.name: zeros.get(field.shape, "") for field in KINDS[kind].fields}
    times = {KINDS[kind].created: ZERO, "updated_at": ZERO}
    return {"id": "", "project": "", **fields, **times}


@pytest.mark.parametrize("kind", KIND_NAMES)
async def test_an_entity_lives_as_the_sdk_lets_it(server: Server, kind: str):
    named = "name" if kind == "session" else "title"
    body = whole(kind) | {named: "first", "project": "demo"}
    created = await server.client.post(url(kind), json=body)
    assert created.status_code == 201
    entity = created.json()
    assert entity["id"].startswith(f"{kind}_{project_tag('demo')}_")
    assert (entity["project"], entity[named], entity["version"]) == ("demo", "first", 1)
    assert entity[KINDS[kind].created] == entity["updated_at"] > "2020"
    where = url(kind, entity["id"])

    read = await server.client.get(where, params={"project": "demo"})
    assert read.status_code == 200
    assert read.json() == entity
    assert await listed(server, kind, project="demo") == [entity["id"]]

    changed = entity | {named: "second"}
    replaced = await server.client.put(where, json=changed)
    assert replaced.status_code == 200
    assert replaced.json() == changed | {
        "version": 2,
        "updated_at": replaced.json()["updated_at"],
    }
    if KINDS[kind].versioned:
        refused(await server.client.put(where, json=changed), 409, "version_conflict")

    gone = await server.client.delete(where, params={"project": "demo"})
    assert (gone.status_code, gone.content) == (204, b"")
    answer = await server.client.get(where, params={"project": "demo"})
    refused(answer, 404, "entity_not_found")
    assert await listed(server, kind, project="demo") == []
    what = [KINDS[kind].event_type(each) for each in ("created", "updated", "removed")]
    assert types(server, "demo") == what


async def test_defaults_are_those_that_clients_know(server: Server):
    statuses = {"spec": "draft", "epic": "open", "story": "todo", "task": "pending"}
    for kind, status in (statuses | {"session": "running", "cuj": "draft"}).items():
        assert (await make(server, kind))["status"] == status
    assert (await make(server, "cuj"))["priority"] == "medium"
    assert "status" not in await make(server, "insight")
    assert (await make(server, "cuj", version=7))["version"] == 1


async def test_decisions_have_a_place_in_the_projects_order(server: Server):
    first = await server.client.post(url("spec"), json={"id": "x"})
    second = await server.client.post(url("spec"), json={"id": "x"})
    assert place(second) == (place(first)[0], place(first)[1] + 1)


async def test_lists_are_bare_arrays_and_say_whether_more_follows(server: Server):
    empty = await server.client.get(url("spec"))
    assert empty.json() == []
    assert empty.headers["Intermute-More"] == "false"
    made = [(await make(server, "spec"))["id"] for _ in range(5)][::-1]
    seen: list[str] = []
    while True:
        params = {"limit": 2, "offset": len(seen)}
        page = await server.client.get(url("spec"), params=params)
        seen += [each["id"] for each in page.json()]
        if page.headers["Intermute-More"] == "false":
            break
    assert seen == made
    assert await listed(server, "spec", limit="nonsense", offset="-1") == made


async def test_lists_are_filtered_and_blank_filters_are_none(server: Server):
    await make(server, "spec", id="s")
    await make(server, "spec", id="t", status="research")
    for kind in ("epic", "insight", "cuj"):
        await make(server, kind, id="with", spec_id="s")
        await make(server, kind, id="without")
        assert await listed(server, kind, spec="s") == ["with"]
        assert await listed(server, kind, spec="nothing") == []
        assert len(await listed(server, kind, spec="")) == 2
    await make(server, "story", id="u", epic_id="with")
    assert await listed(server, "story", epic="with") == ["u"]
    assert await listed(server, "spec", status="research") == ["t"]
    assert await listed(server, "spec", status="") == ["t", "s"]
    await make(server, "session", id="i", status="idle")
    assert await listed(server, "session", status="idle") == ["i"]
    await make(server, "insight", id="risk", category="risk", spec_id="s")
    assert await listed(server, "insight", category="risk", spec="s") == ["risk"]


async def test_an_unknown_status_is_told_with_those_there_are(server: Server):
    answer = await server.client.get(url("task"), params={"status": "finished"})
    members = refused(answer, 400, "invalid_status")
    assert members["field"] == "status"
    assert members["allowed"] == ["pending", "running", "blocked", "done"]
    answer = await server.client.post(url("cuj"), json={"priority": "urgent"})
    assert refused(answer, 400, "invalid_status")["field"] == "priority"


async def test_a_patch_merges_and_null_empties(server: Server):
    made = await make(server, "spec", title="t", vision="v", users="u", status="research")
    where = url("spec", made["id"])
    changes = {"title": "new", "vision": None, "status": None}
    answer = await server.client.patch(where, json=changes)
    assert answer.status_code == 200
    expected = {name: held for name, held in made.items() if name != "vision"}
    updated_at = answer.json()["updated_at"]
    assert answer.json() == expected | {"title": "new", "version": 2, "updated_at": updated_at}
    assert moment(updated_at) > moment(made["updated_at"])
    assert (await server.client.get(where)).json() == answer.json()

    again = await server.client.patch(where, json=changes | {"version": 2})
    assert again.json() == answer.json()
    assert types(server) == ["spec.created", "spec.updated"]
    stale = await server.client.patch(where, json={"title": "x", "version": 1})
    assert refused(stale, 409, "version_conflict")["current_version"] == 2


async def test_a_key_tells_an_emptied_field_from_one_left_alone(server: Server):
    where = url("spec", (await make(server, "spec", vision="v"))["id"])
    key = {"Idempotency-Key": "k"}
    first = await server.client.patch(where, json={"vision": None}, headers=key)
    again = await server.client.patch(where, json={"vision": None}, headers=key)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()
    other = await server.client.patch(where, json={}, headers=key)
    refused(other, 422, "idempotency_key_reused")


@pytest.mark.parametrize("kind", KIND_NAMES)
async def test_a_retried_creation_makes_one(server: Server, kind: str):
    key = {"Idempotency-Key": "k"}
    first = await server.client.post(url(kind), json={}, headers=key)
    again = await server.client.post(url(kind), json={}, headers=key)
    assert again.json() == first.json()
    assert again.status_code == 201
    where, other = url(kind, first.json()["id"]), {"Idempotency-Key": "l"}
    refused(await server.client.delete(where, headers=key), 422, "idempotency_key_reused")
    for _ in range(2):
        gone = await server.client.delete(where, headers=other)
        assert (gone.status_code, gone.content) == (204, b"")


async def test_ids_may_be_chosen_and_hold_slashes(server: Server):
    for entity_id in ("a/b", "links", "story_registration_1", "ü ?#", "x" * 200):
        made = await make(server, "story", id=entity_id)
        assert made["id"] == entity_id
        answer = await raw(server.port, "GET", f"/api/stories/{quote(entity_id, safe='')}")
        assert answer.status_code == 200, (entity_id, answer.text)
        assert answer.json() == made
    task = await make(server, "task", id="a/b")
    assigned = await server.client.post("/api/tasks/a%2Fb/assign", json={"agent": "ada"})
    assert assigned.json()["id"] == task["id"]


async def test_a_made_ids_tag_finds_its_project(server: Server):
    made = await make(server, "task", project="demo")
    where = url("task", made["id"])
    assert (await server.client.get(where)).json() == made
    assigned = await server.client.post(f"{where}/assign", json={"agent": "ada"})
    assert assigned.json()["project"] == "demo"
    answer = await server.client.get(where, params={"project": "other"})
    refused(answer, 404, "entity_not_found")
    answer = await server.client.post(url("task"), json={"id": made["id"], "project": "other"})
    refused(answer, 400, "invalid_request")
    chosen = await make(server, "task", id="mine", project="demo")
    refused(await server.client.get(url("task", "mine")), 404, "entity_not_found")
    answer = await server.client.get(url("task", "mine"), params={"project": "demo"})
    assert answer.json() == chosen


async def test_a_replacements_project_is_the_bodys(server: Server):
    for project in ("one", "two"):
        await make(server, "spec", id="x", project=project)
    body = {"title": "t", "project": "two", "version": 1}
    answer = await server.client.put(url("spec", "x"), json=body, params={"project": "one"})
    assert answer.json()["project"] == "two"
    answer = await server.client.get(url("spec", "x"), params={"project": "one"})
    assert answer.json()["version"] == 1


async def test_a_key_acts_in_its_own_project(tmp_path, tenants: Tenants):
    async with running_server(tmp_path, keys_file=tenants.keys_file) as server:
        a, b = tenants.headers("a"), tenants.headers("b")
        made = await server.client.post(url("spec"), json={"id": "x"}, headers=a)
        assert made.json()["project"] == "alpha"
        refused(await server.client.get(url("spec", "x"), headers=b), 404, "entity_not_found")
        assert (await server.client.get(url("spec"), headers=b)).json() == []
        body = {"project": "alpha", "version": 1}
        answer = await server.client.put(url("spec", "x"), json=body, headers=b)
        refused(answer, 403, "project_mismatch")
        reference = {"spec_id": "x"}
        answer = await server.client.post(url("epic"), json=reference, headers=b)
        refused(answer, 404, "reference_not_found")


async def test_a_token_is_held_against_who_acts(server: Server):
    ada = await server.register("Ada")
    proof = {"X-Agent-ID": ada["agent_id"], "X-Agent-Token": ada["token"]}
    wrong = proof | {"X-Agent-Token": "nonsense"}
    made = await make(server, "task")
    where = url("task", made["id"])
    requests = (
        ("POST", url("task"), {}),
        ("PUT", where, {"version": 1}),
        ("PATCH", where, {"title": "t"}),
        ("POST", f"{where}/assign", {"agent": "bob"}),
        ("DELETE", where, None),
    )
    for method, path, body in requests:
        answer = await server.client.request(method, path, json=body, headers=wrong)
        refused(answer, 403, "agent_identity_mismatch")
    for method, path, body in requests:
        answer = await server.client.request(method, path, json=body, headers=proof)
        assert answer.status_code < 300, (method, path, answer.text)
    actors = [event.actor for event in log_of(server.project_file())][-len(requests) :]
    assert actors == [ada["agent_id"]] * len(requests)


async def test_links_of_a_user_journey(server: Server):
    cuj = await make(server, "cuj", title="t")
    where = url("cuj", cuj["id"])
    assert (await server.client.get(f"{where}/links")).json() == []
    for feature_id in ("login", "logout"):
        answer = await server.client.post(f"{where}/link", json={"feature_id": feature_id})
        assert answer.status_code == 200
    links = (await server.client.get(f"{where}/links")).json()
    assert [link["feature_id"] for link in links] == ["login", "logout"]
    assert links[1] == answer.json()
    assert links[0].keys() == {"cuj_id", "feature_id", "project", "linked_at"}
    answer = await server.client.post(f"{where}/unlink", json={"feature_id": "login"})
    assert (answer.status_code, answer.json()) == (200, links[0])
    assert (await server.client.get(f"{where}/links")).json() == links[1:]
    answer = await server.client.post(f"{where}/unlink", json={"feature_id": "login"})
    refused(answer, 404, "link_not_found")
    assert (await server.client.get(where)).json() == cuj, "links are beside the journey"
    assert types(server) == ["cuj.created", "cuj.linked", "cuj.linked", "cuj.unlinked"]


async def test_an_insight_is_linked_to_a_spec(server: Server):
    spec, insight = await make(server, "spec"), await make(server, "insight", title="t")
    where = url("insight", insight["id"])
    answer = await server.client.post(f"{where}/link", json={"spec_id": spec["id"]})
    assert answer.status_code == 200
    assert answer.json()["spec_id"] == spec["id"]
    assert (await server.client.get(where)).json() == answer.json()
    refused(await server.client.post(f"{where}/link", json={}), 400, "invalid_request")


async def test_wrong_methods_are_told_so(server: Server):
    for method, path in (
        ("DELETE", url("spec")),
        ("PUT", url("spec")),
        ("POST", url("spec", "x")),
        ("GET", "/api/tasks/x/assign"),
        ("DELETE", "/api/insights/x/link"),
        ("POST", "/api/cujs/x/links"),
        ("GET", "/api/cujs/x/link"),
    ):
        answer = await server.client.request(method, path)
        refused(answer, 405, "method_not_allowed")


async def test_bodies_are_bounded_and_strict(server: Server):
    for body in (
        {"title": "x" * (limits.ENTITY_TITLE_LEN_MAX + 1)},
        {
            "vision": "x" * limits.ENTITY_TEXT_LEN_MAX,
            "users": "x" * limits.ENTITY_TEXT_LEN_MAX,
            "problem": "x",
        },
        {"vision": ["a"]},
        {"version": 1.5},
        {"created_at": "soon"},
    ):
        answer = await server.client.post(url("spec"), json=body)
        refused(answer, 400, "invalid_request")
    for path in (url("spec"), url("cuj", "c") + "/link", url("task", "t") + "/assign"):
        answer = await server.client.post(path)
        refused(answer, 400, "invalid_request")
