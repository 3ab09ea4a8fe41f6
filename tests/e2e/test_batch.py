"""Many requests in one: each with its answer, those of a project in one commit."""

from pathlib import Path
from typing import Any

import pytest

from intermute.domain import limits
from intermute.storage.writer import Writer

from .answers import refused
from .conftest import Server, running_server
from .tenants import Tenants

RESERVE = "reservations.create"


async def batch(
    server: Server, *commands: dict[str, Any], headers: dict[str, str] | None = None, **more: Any
) -> list[dict[str, Any]]:
    body = {"commands": list(commands), **more}
    response = await server.client.post("/api/batch", json=body, headers=headers)
    assert response.status_code == 200, response.text
    results = response.json()["results"]
    assert len(results) == len(commands)
    return results


def reserve(path: str, agent: str = "zoe", **more: Any) -> dict[str, Any]:
    return {"method": RESERVE, "params": {"agent_id": agent, "path": path, **more}}


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The projects of all commits, in order."""
    found: list[str] = []
    commit = Writer.commit

    def counting(writer: Writer) -> None:
        commit(writer)
        found.append(writer.project)

    monkeypatch.setattr(Writer, "commit", counting)
    return found


async def test_commands_of_a_project_share_a_commit(server: Server, commits: list[str]):
    await server.register("Ada")
    await server.register("Bob", project="other")
    commits.clear()
    results = await batch(
        server,
        *(reserve(f"f{number}") for number in range(30)),
        *(reserve(f"f{number}", project="other") for number in range(30)),
        *(reserve(f"g{number}") for number in range(30)),
    )
    assert {result["status"] for result in results} == {201}
    assert sorted(commits) == ["default", "other"]
    default = [result["seq"] for result in results[:30] + results[60:]]
    assert default == list(range(default[0], default[0] + 60)), "in the order of the batch"


async def test_each_has_an_answer_of_its_own_in_order(server: Server):
    results = await batch(
        server,
        reserve("src/**"),
        {"id": "x", **reserve("src/a", agent="bob")},
        {"id": 7, "method": "nothing.there"},
        {"id": None, "method": "agents.get", "params": {"agent_id": "nonsense"}},
        {"method": RESERVE, "params": {"agent_id": "zoe"}},
        {"method": RESERVE},
        reserve("lib/**"),
    )
    assert [result["status"] for result in results] == [201, 409, 404, 404, 400, 400, 201]
    assert [result.get("id", "none") for result in results[:4]] == ["none", "x", 7, None]
    codes = [result["body"].get("error") for result in results]
    assert codes[1:6] == [
        "reservation_conflict",
        "method_not_found",
        "agent_not_found",
        "invalid_request",
        "invalid_request",
    ]
    assert results[1]["seq"] == results[0]["seq"] + 1, "a refusal has its place too"
    assert "seq" not in results[2]


async def test_reads_see_all_commands_of_the_batch(server: Server):
    results = await batch(
        server,
        {"method": "reservations.list"},
        reserve("a"),
        {"method": "reservations.check", "params": {"pattern": ["a", "b"], "exclusive": True}},
        reserve("b"),
        {"method": "reservations.list", "params": {"limit": 1}},
    )
    listed = results[0]["body"]["reservations"]
    assert {entry["path_pattern"] for entry in listed} == {"a", "b"}
    assert len(results[4]["body"]["reservations"]) == 1
    met = [conflict["pattern"] for conflict in results[2]["body"]["conflicts"]]
    assert met == ["a"], "a check is decided where it stands"


async def test_the_project_of_those_that_name_none(server: Server):
    results = await batch(server, reserve("a"), reserve("a", project="two"), project="one")
    assert [result["body"]["project"] for result in results] == ["one", "two"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"commands": []},
        {"commands": [{"method": "project.get"}] * (limits.BATCH_COMMANDS_MAX + 1)},
        {"commands": [reserve("a"), 5]},
        {"commands": [reserve("a"), {"method": RESERVE, "params": 5}]},
    ],
)
async def test_a_malformed_envelope_does_nothing_at_all(server: Server, body: Any):
    refused(await server.client.post("/api/batch", json=body), 400, "invalid_request")
    listed = await server.client.get("/api/reservations")
    assert listed.json()["reservations"] == []


async def test_a_hundred_are_not_too_many(server: Server):
    most = limits.BATCH_COMMANDS_MAX
    results = await batch(server, *(reserve(f"f{number}") for number in range(most)))
    assert {result["status"] for result in results} == {201}


async def test_a_batch_that_is_asked_again_is_done_once(server: Server):
    headers = {"Idempotency-Key": "k" * limits.IDEMPOTENCY_KEY_LEN_MAX}
    asked = [reserve("a"), {**reserve("b"), "idempotency_key": "own"}, reserve("c")]
    first = await batch(server, *asked, headers=headers)
    again = await batch(server, *asked, headers=headers)
    assert [one["body"]["id"] for one in first] == [one["body"]["id"] for one in again]
    assert [one.get("replayed") for one in again] == [True] * 3
    by_itself = await batch(server, asked[1])
    assert by_itself[0]["replayed"] is True
    changed = await batch(server, reserve("z"), headers=headers)
    assert changed[0]["body"]["error"] == "idempotency_key_reused"
    long = {"Idempotency-Key": "k" * (limits.IDEMPOTENCY_KEY_LEN_MAX + 1)}
    response = await server.client.post("/api/batch", json={"commands": asked}, headers=long)
    refused(response, 400, "invalid_request")


async def test_a_key_answers_for_its_project_only(tmp_path: Path, tenants: Tenants):
    async with running_server(tmp_path, keys_file=tenants.keys_file) as server:
        headers = tenants.headers("a")
        results = await batch(server, reserve("a"), reserve("a", project="beta"), headers=headers)
        assert [result["status"] for result in results] == [201, 403]
        assert results[1]["body"]["error"] == "project_mismatch"
        body = {"commands": [reserve("a")], "project": "beta"}
        response = await server.client.post("/api/batch", json=body, headers=headers)
        refused(response, 403, "project_mismatch")


async def test_the_agent_of_the_request_acts_in_each(server: Server):
    results = await batch(
        server, reserve("a", "ada"), reserve("b", "bob"), headers={"X-Agent-ID": "ada"}
    )
    assert [result["status"] for result in results] == [201, 403]
    held = results[0]["body"]["id"]
    release = {"method": "reservations.release", "params": {"reservation_id": held}}
    (released,) = await batch(server, release, headers={"X-Agent-ID": "ada"})
    assert released["status"] == 200
    (unnamed,) = await batch(server, reserve("c", "ada"))
    release["params"] = {"reservation_id": unnamed["body"]["id"], "agent_id": "ada"}
    assert (await batch(server, release))[0]["status"] == 200


async def test_answers_do_not_grow_without_bound(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "BATCH_ANSWER_LEN_MAX", 2_000)
    for number in range(5):
        await server.reserve("zoe", f"f{number}", reason="x" * 500)
    reads = [{"method": "reservations.list"}] * 5
    results = await batch(server, *reads, reserve("more"))
    assert [result["status"] for result in results] == [200, 429, 429, 429, 429, 201]


async def test_a_bug_in_one_costs_that_one(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def broken(*_: object, **__: object) -> None:
        raise KeyError("bug")

    monkeypatch.setattr("intermute.wire.reservations.checked", broken)
    monkeypatch.setattr("intermute.wire.settings.project", broken)
    results = await batch(
        server,
        {"method": "reservations.check", "params": {"pattern": "a"}},
        {"method": "project.get"},
        reserve("a"),
    )
    assert [result["status"] for result in results] == [500, 500, 201]
    for result in results[:2]:
        assert result["body"]["error"] == "internal_error"
        assert "KeyError" not in str(result["body"])
        assert result["body"]["incident"] in caplog.text
