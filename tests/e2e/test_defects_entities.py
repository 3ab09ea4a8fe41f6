"""Known defects of the former service about its entities (B25, B51 to B55)."""

import pytest
import trio

from intermute.domain.entities.kinds import KINDS

from .answers import refused
from .conftest import Server
from .test_entities import KIND_NAMES, ZERO, listed, make, moment, types, url, whole

LINKS = ("link", "unlink")


async def test_b25_lists_are_in_the_order_of_time_whatever_its_spelling(server: Server):
    moments = {
        "whole": "2026-01-01T10:00:00Z",
        "half": "2026-01-01T10:00:00.5Z",
        "finer": "2026-01-01T10:00:00.25Z",
        "east": "2026-01-01T11:59:59+02:00",
        "west": "2026-01-01T05:00:01-05:00",
    }
    for entity_id, text in moments.items():
        made = await make(server, "spec", id=entity_id, created_at=text, updated_at=text)
        assert made["created_at"].endswith("Z")
        await make(server, "session", id=entity_id, started_at=text)
        await make(server, "insight", id=entity_id, created_at=text)
    in_order = ["west", "half", "finer", "whole", "east"]
    for kind in ("spec", "session", "insight"):
        assert await listed(server, kind) == in_order
    east = await server.client.get(url("spec", "east"))
    assert east.json()["created_at"] == "2026-01-01T09:59:59Z"


@pytest.mark.parametrize("kind", KIND_NAMES)
async def test_b51_what_is_not_there_is_not_found_and_nothing_happens(server: Server, kind: str):
    await make(server, kind, id="there")
    before = types(server)
    where = url(kind, "absent")
    for version in ({}, {"version": 0}, {"version": 1}):
        answer = await server.client.put(where, json=whole(kind) | version)
        refused(answer, 404, "entity_not_found")
        refused(await server.client.patch(where, json=version), 404, "entity_not_found")
    refused(await server.client.delete(where), 404, "entity_not_found")
    refused(await server.client.get(where), 404, "entity_not_found")
    assert types(server) == before
    assert await listed(server, kind) == ["there"]
    there = await server.client.delete(url(kind, "there"))
    assert there.status_code == 204
    refused(await server.client.delete(url(kind, "there")), 404, "entity_not_found")
    assert len(types(server)) == len(before) + 1


@pytest.mark.parametrize("kind", KIND_NAMES)
async def test_b52_a_replacement_never_wipes_status_and_beginning(server: Server, kind: str):
    began = KINDS[kind].created
    words = {f.name: f.words[-1] for f in KINDS[kind].fields if f.words}
    made = await make(server, kind, id="x", **words)
    answer = await server.client.put(url(kind, "x"), json=whole(kind) | {"version": 1})
    assert answer.status_code == 200
    shown = answer.json()
    assert shown.items() >= words.items()
    assert shown[began] == made[began] != ZERO
    assert moment(shown["updated_at"]) > moment(made["updated_at"])
    assert (await server.client.get(url(kind, "x"))).json() == shown
    answer = await server.client.put(url(kind, "x"), json={"version": 2})
    assert answer.json().items() >= words.items()
    assert answer.json()[began] == made[began]


@pytest.mark.parametrize("kind", KIND_NAMES)
async def test_b53_a_second_creation_is_a_conflict_with_the_present_version(
    server: Server, kind: str
):
    made = await make(server, kind, id="x")
    named = "name" if kind == "session" else "title"
    await server.client.patch(url(kind, "x"), json={named: "t"})
    for body in ({"id": "x"}, made):
        answer = await server.client.post(url(kind), json=body)
        assert refused(answer, 409, "entity_exists")["current_version"] == 2
    assert (await server.client.get(url(kind, "x"))).json()[named] == "t"
    assert (await make(server, kind, id="x", project="other"))["version"] == 1


async def test_b54_a_task_is_claimed_by_one_of_many(server: Server):
    await make(server, "task", id="t")
    agents = [f"agent{number}" for number in range(20)]
    answers = {}

    async def claim(agent: str) -> None:
        answers[agent] = await server.client.post("/api/tasks/t/assign", json={"agent": agent})

    async with trio.open_nursery() as nursery:
        for agent in agents:
            nursery.start_soon(claim, agent)
    (winner,) = [agent for agent in agents if answers[agent].status_code == 200]
    for agent in agents:
        if agent != winner:
            members = refused(answers[agent], 409, "task_claimed")
            assert (members["held_by"], members["task_status"]) == (winner, "running")
    task = (await server.client.get("/api/tasks/t")).json()
    assert (task["agent"], task["status"], task["version"]) == (winner, "running", 2)
    assert types(server) == ["task.created", "task.assigned"]


async def test_b54_a_claim_is_kept_until_a_reassignment_is_asked_for(server: Server):
    await make(server, "task", id="t")

    async def assign(agent: str, **members: object):
        return await server.client.post("/api/tasks/t/assign", json={"agent": agent, **members})

    first = await assign("ada")
    assert first.json()["status"] == "running"
    assert (await assign("ada")).json() == first.json()
    refused(await assign("bob"), 409, "task_claimed")
    refused(await assign("bob", reassign=False), 409, "task_claimed")
    taken = await server.client.patch("/api/tasks/t", json={"agent": "bob"})
    refused(taken, 409, "task_claimed")
    assert (await assign("bob", reassign=True)).json()["agent"] == "bob"
    done = await server.client.patch("/api/tasks/t", json={"status": "done"})
    assert done.json()["status"] == "done"
    for agent in ("ada", "bob"):
        refused(await assign(agent), 409, "task_claimed")
    refused(await assign("ada", reassign=True, version=1), 409, "version_conflict")
    assert (await assign("ada", reassign=True, version=4)).json()["status"] == "running"
    refused(await assign(" "), 400, "invalid_request")
    happened = types(server)
    assert happened[0] == "task.created"
    assert happened[1:] == ["task.assigned", "task.assigned", "task.completed", "task.assigned"]
    refused(
        await server.client.post("/api/tasks/absent/assign", json={"agent": "ada"}),
        404,
        "entity_not_found",
    )


async def test_b55_references_lead_somewhere(server: Server):
    for kind in KINDS.values():
        for field in kind.fields:
            if not field.refers_to:
                continue
            body = {field.name: "nowhere"}
            answer = await server.client.post(url(kind.name), json=body)
            members = refused(answer, 404, "reference_not_found")
            assert (members["field"], members["id"]) == (field.name, "nowhere")
            made = await make(server, kind.name)
            for send, version in (("PUT", 1), ("PATCH", None)):
                answer = await server.client.request(
                    send, url(kind.name, made["id"]), json=body | {"version": version}
                )
                refused(answer, 404, "reference_not_found")
            there = await make(server, field.refers_to[0])
            assert (await make(server, kind.name, **{field.name: there["id"]}))[
                field.name
            ] == there["id"]


async def test_b55_a_tasks_session_may_be_an_agents(server: Server):
    ada = await server.register("Ada")
    made = await make(server, "task", session_id=ada["session_id"])
    assert made["session_id"] == ada["session_id"]
    answer = await server.client.post(
        url("task"), json={"session_id": ada["session_id"], "project": "other"}
    )
    refused(answer, 404, "reference_not_found")


@pytest.mark.parametrize("kind", [name for name in KIND_NAMES if name != "insight"])
async def test_b55_a_status_is_one_of_the_vocabulary(server: Server, kind: str):
    made = await make(server, kind)
    allowed = list(KINDS[kind].field("status").words)
    body = {"status": "Bogus", "version": 1}
    for answer in (
        await server.client.post(url(kind), json=body),
        await server.client.put(url(kind, made["id"]), json=body),
        await server.client.patch(url(kind, made["id"]), json=body),
        await server.client.get(url(kind), params=body),
    ):
        assert refused(answer, 400, "invalid_status")["allowed"] == allowed
    assert (await server.client.get(url(kind, made["id"]))).json() == made


async def test_b55_only_what_is_there_is_linked(server: Server):
    insight, cuj = await make(server, "insight"), await make(server, "cuj")
    absent = {"spec_id": "absent", "feature_id": "f"}
    answer = await server.client.post("/api/insights/absent/link", json=absent)
    refused(answer, 404, "entity_not_found")
    answer = await server.client.post(f"{url('insight', insight['id'])}/link", json=absent)
    refused(answer, 404, "reference_not_found")
    for each in LINKS:
        answer = await server.client.post(f"/api/cujs/absent/{each}", json=absent)
        refused(answer, 404, "entity_not_found")
        for blank in ({}, {"feature_id": ""}, {"feature_id": " "}):
            answer = await server.client.post(f"{url('cuj', cuj['id'])}/{each}", json=blank)
            refused(answer, 400, "invalid_request")
    refused(await server.client.get("/api/cujs/absent/links"), 404, "entity_not_found")
    assert (await server.client.get(f"{url('cuj', cuj['id'])}/links")).json() == []
