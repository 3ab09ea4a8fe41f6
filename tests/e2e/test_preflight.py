"""Looking at a plan over HTTP."""

from .answers import place, refused
from .conftest import Server


async def preflight(server: Server, *steps, **members):
    return await server.client.post(
        "/api/reservations/preflight", json={"steps": list(steps), **members}
    )


async def test_a_plan_is_looked_at_and_nothing_is_taken(server: Server):
    await server.reserve("eve", "src/**", reason="rename")
    before = (await server.check("**"))["conflicts"]
    response = await preflight(
        server,
        {"id": "models", "agent": "ada", "path": "src/models.py"},
        {"id": "views", "agent": "bob", "patterns": ["src/views.py"], "after": ["models"]},
        {"id": "docs", "agent": "ada", "path": "docs"},
        {"id": "guide", "agent": "bob", "path": "docs/*.md", "mode": "shared"},
    )
    assert response.status_code == 200
    found = response.json()
    assert found["free"] is False
    assert found["waves"] == [["models", "docs"], ["views", "guide"]]
    assert found["critical_path"] == ["models", "views"]
    assert found["blocked"] == ["models", "views"]
    first = found["conflicts"][0]
    assert first["step"] == "models"
    assert (first["held_by"], first["standing"], first["witness"]) == (
        *("eve", "active"),
        "src/models.py",
    )
    assert first["fencing_token"] > 0
    (pair,) = found["step_conflicts"]
    assert pair["steps"] == ["docs", "guide"]
    assert pair["patterns"] == ["docs", "docs/*.md"]
    assert found["step_conflicts_total"] == 1
    assert (await server.check("**"))["conflicts"] == before


async def test_a_plan_of_a_thousand_steps_fits_into_a_request(server: Server):
    steps = [
        {
            "id": f"step-{number}",
            "agent": f"agent-{number % 50}",
            "patterns": [f"src/package{number % 40}/module{number}/{each}.py" for each in range(4)],
            "after": [f"step-{earlier}" for earlier in range(max(0, number - 8), number, 4)],
        }
        for number in range(1_000)
    ]
    response = await preflight(server, *steps)
    assert response.status_code == 200
    assert sum(map(len, response.json()["waves"])) == 1_000


async def test_a_plan_stands_in_the_projects_order(server: Server):
    await server.reserve("eve", "src")
    first = await preflight(server, {"id": "a", "agent": "ada", "path": "x"})
    second = await preflight(server, {"id": "a", "agent": "ada", "path": "x"})
    assert place(second) > place(first)
    assert first.json()["free"] is True


async def test_a_plan_for_a_project_that_is_not_there_makes_no_file(server: Server):
    response = await preflight(server, {"id": "a", "agent": "ada", "path": "x"}, project="none")
    assert response.json()["waves"] == [["a"]]
    assert not list(server.settings.data.glob("*.sqlite3"))


async def test_a_bad_plan_is_refused(server: Server):
    refused(await preflight(server), 400, "invalid_request")
    response = await preflight(server, {"id": "a", "agent": "ada", "path": "x", "after": ["a"]})
    problem = refused(response, 400, "invalid_plan")
    assert problem["reason"] == "cycle"
    assert problem["steps"] == ["a"]
    response = await preflight(server, {"id": "a", "agent": "ada", "path": "src/{"})
    assert refused(response, 400, "invalid_pattern")["step"] == "a"


async def test_preflight_is_no_id_of_a_reservation(server: Server):
    response = await server.client.get("/api/reservations/preflight")
    refused(response, 404, "reservation_not_found")


async def test_a_set_of_paths_is_checked_by_its_body(server: Server):
    await server.reserve("ada", "src/**")
    patterns = [f"{n}/" + "\u6f22" * 300 for n in range(255)]
    for members, free in (
        ({"patterns": [*patterns, "src/a.py"]}, False),
        ({"patterns": patterns}, True),
        ({"path": "src", "agent": "ada"}, True),
        ({"path_pattern": "src", "agent_id": "bob"}, False),
        ({"path": "src", "project": "other"}, True),
    ):
        response = await server.client.post("/api/reservations/check", json=members)
        assert response.status_code == 200
        assert response.json()["free"] is free
    response = await server.client.post("/api/reservations/check", json={"path": "src"})
    assert response.json() == await server.check("src")


async def test_a_checked_set_is_bounded_and_its_mode_counts(server: Server):
    await server.reserve("ada", "src", shared=True)
    for mode, free in (("shared", True), ("S", True), ("exclusive", False), ("IX", False)):
        members = {"path": "src", "mode": mode}
        response = await server.client.post("/api/reservations/check", json=members)
        assert response.json()["free"] is free
    for members in ({}, {"patterns": []}, {"patterns": ["a"] * 257}, {"path": "a", "mode": "my"}):
        response = await server.client.post("/api/reservations/check", json=members)
        refused(response, 400, "invalid_request")
