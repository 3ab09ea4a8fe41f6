"""Looking at reservations: checks, lists and their pages, and where decisions stand."""

import time
from pathlib import Path

import pytest

from intermute.domain import limits
from intermute.project.actor import ProjectActor

from .answers import place, refused
from .conftest import Server, ShiftedClock, running_server
from .test_reservations import listed, post


def set_forward(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """Set the wall clock forward, and no other."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + seconds * 10**9)


async def test_a_check_of_a_free_path_is_an_empty_list(server: Server):
    response = await server.client.get("/api/reservations/check", params={"pattern": "a"})
    assert response.status_code == 200
    assert response.json()["conflicts"] == []
    assert response.json()["free"] is True
    await server.reserve("ada", "b")
    assert (await server.check("a"))["conflicts"] == []


async def test_a_check_lists_what_a_reservation_would_meet(server: Server):
    await server.reserve("ada", "src/**", reason="why")
    await server.reserve("eve", "docs/*", shared=True)
    found = await server.check("src/a.py", "docs/b.md", "free")
    assert found["free"] is False
    assert [conflict["agent_id"] for conflict in found["conflicts"]] == ["ada", "eve"]
    refusal = await server.reserve("bob", "src/a.py", "docs/b.md", "free", expected=409)
    assert refusal["conflicts"] == found["conflicts"]


async def test_a_check_is_exclusive_unless_it_says_false(server: Server):
    await server.reserve("ada", "a", shared=True)
    assert (await server.check("a"))["free"] is False
    assert (await server.check("a", exclusive="true"))["free"] is False
    assert (await server.check("a", exclusive="False"))["free"] is False
    assert (await server.check("a", exclusive="0"))["free"] is False
    assert (await server.check("a", exclusive="false"))["free"] is True


async def test_a_check_leaves_out_the_askers_own(server: Server):
    await server.reserve("ada", "a")
    assert (await server.check("a", agent="ada"))["free"] is True
    assert (await server.check("a", agent="bob"))["free"] is False
    assert (await server.check("a"))["free"] is False


async def test_a_check_needs_a_pattern(server: Server):
    for params in ({}, {"pattern": ""}, {"pattern": ["", ""]}):
        response = await server.client.get("/api/reservations/check", params=params)
        assert "pattern required" in refused(response, 400, "invalid_request")["detail"]


async def test_a_check_takes_a_bounded_number_of_patterns(server: Server):
    many = [str(number) for number in range(limits.PATTERNS_PER_REQUEST_MAX + 1)]
    response = await server.client.get("/api/reservations/check", params={"pattern": many})
    refused(response, 400, "invalid_request")
    response = await server.client.get("/api/reservations/check", params={"pattern": many[1:]})
    assert response.status_code == 200


async def test_a_check_changes_nothing(server: Server):
    response = await server.client.get(
        "/api/reservations/check", params={"pattern": "a", "project": "never-used"}
    )
    assert response.status_code == 200
    assert response.json()["conflicts"] == []
    assert list(server.settings.data.glob("*.sqlite3")) == []


async def test_conflicts_are_listed_up_to_a_bound(tmp_path):
    async with running_server(tmp_path, patterns_per_agent_max=10_000) as server:
        for number in range(limits.CONFLICTS_LISTED_MAX + 1):
            await server.reserve("ada", f"src/{number}", f"lib/{number}")
        found = await server.check("src/**")
        assert len(found["conflicts"]) == limits.CONFLICTS_LISTED_MAX
        assert found["more"] is True
        assert (await server.check("src/1*"))["more"] is False


async def test_a_list_by_project_has_the_active_ones_newest_first(
    clock: ShiftedClock, server: Server
):
    first = await server.reserve("ada", "a")
    short = await server.reserve("ada", "b", ttl_seconds=60)
    released = await server.reserve("bob", "c")
    await server.release("bob", released["id"])
    last = await server.reserve("bob", "d")
    await server.reserve("eve", "e", project="other")
    found = await listed(server, project="default")
    assert [each["id"] for each in found] == [last["id"], short["id"], first["id"]]
    assert all(each["is_active"] for each in found)
    clock.advance(61)
    await server.check("x")
    found = await listed(server, project=" default ")
    assert [each["id"] for each in found] == [last["id"], first["id"]]


async def look_at(server: Server, held):
    """Whether it is listed, and whether it says that it is active."""
    found = await listed(server)
    one = (await server.client.get(f"/api/reservations/{held['id']}")).json()
    assert all(each["is_active"] for each in found)
    return [each["id"] for each in found] == [held["id"]], one["is_active"]


async def test_what_is_active_is_what_decisions_go_by_whatever_the_wall_clock_says(
    monkeypatch: pytest.MonkeyPatch, server: Server
):
    """Leases are kept by the monotonic clock, so a wall clock set forward ends none."""
    held = await server.reserve("ada", "src")
    set_forward(monkeypatch, 3_600)
    assert await look_at(server, held) == (True, True)
    members = await server.reserve("bob", "src", expected=409)
    assert members["conflicts"][0]["reservation_id"] == held["id"]


async def test_what_is_due_is_shown_as_ended_before_it_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: ShiftedClock
):
    monkeypatch.setattr(ProjectActor, "sweep", lambda self: None)
    async with running_server(tmp_path) as server:
        held = await server.reserve("ada", "src", ttl_seconds=60)
        clock.advance(61)
        set_forward(monkeypatch, 61)
        assert await look_at(server, held) == (False, False)
        one = (await server.client.get(f"/api/reservations/{held['id']}")).json()
        assert "expired_at" in one


async def test_a_list_by_agent_has_all_of_its_history(server: Server):
    released = await server.reserve("ada", "a")
    await server.release("ada", released["id"])
    held = await server.reserve("ada", "b")
    await server.reserve("bob", "c")
    found = await listed(server, agent="ada")
    assert [each["id"] for each in found] == [held["id"], released["id"]]
    assert [each["is_active"] for each in found] == [True, False]
    active = await listed(server, agent="ada", active="true")
    assert [each["id"] for each in active] == [held["id"]]


async def test_a_list_by_a_registered_agent_finds_its_project(server: Server):
    ada = await server.register("Ada", project="one")
    held = await server.reserve(ada["agent_id"], "a", project="one")
    (found,) = await listed(server, agent=ada["agent_id"])
    assert found["id"] == held["id"]


async def test_empty_lists_are_lists(server: Server):
    assert await listed(server) == []
    assert await listed(server, project="unknown") == []
    assert await listed(server, agent="unknown") == []


async def test_lists_have_pages_by_limit_and_cursor(server: Server):
    made = [(await server.reserve("ada", str(number)))["id"] for number in range(5)]
    seen: list[str] = []
    cursor = ""
    while True:
        response = await server.client.get(
            "/api/reservations", params={"limit": "2", **({"cursor": cursor} if cursor else {})}
        )
        page = response.json()
        assert len(page["reservations"]) <= 2
        seen += [each["id"] for each in page["reservations"]]
        cursor = str(page["cursor"])
        if not page["more"]:
            break
    assert seen == made[::-1]
    rest = await server.client.get("/api/reservations", params={"cursor": cursor})
    assert rest.json() == {"reservations": [], "cursor": int(cursor), "more": False}


async def test_pages_stay_put_while_reservations_come_and_go(server: Server):
    made = [(await server.reserve("ada", str(number)))["id"] for number in range(4)]
    first = (await server.client.get("/api/reservations", params={"limit": "2"})).json()
    await server.reserve("ada", "new")
    await server.release("ada", made[3])
    second = await server.client.get("/api/reservations", params={"cursor": first["cursor"]})
    assert [each["id"] for each in second.json()["reservations"]] == [made[1], made[0]]


async def test_every_decision_says_where_it_stands(server: Server):
    held = await server.reserve("ada", "a")
    url = f"/api/reservations/{held['id']}"
    check = "/api/reservations/check?pattern="
    answers = [
        await post(server, agent="ada", path="b"),
        await post(server, agent="bob", path="a"),
        await post(server, agent="bob", path="["),
        await server.client.get(f"{check}a"),
        await server.client.get(f"{check}["),
        await server.client.post(f"{url}/renew", headers={"X-Agent-ID": "ada"}),
        await server.client.post(f"{url}/renew", headers={"X-Agent-ID": "bob"}),
        await server.client.delete(url, headers={"X-Agent-ID": "bob"}),
        await server.client.delete(url, headers={"X-Agent-ID": "ada"}),
        await server.client.delete(url, headers={"X-Agent-ID": "ada"}),
        await server.client.get(f"{check}zzz"),
    ]
    assert [answer.status_code for answer in answers] == [
        *(201, 409, 400),
        *(200, 400),
        *(200, 403),
        *(403, 200, 404),
        200,
    ]
    places = [place(answer) for answer in answers]
    assert places == sorted(set(places))
    assert {epoch for epoch, _ in places} == {1}


async def test_the_epoch_rises_with_each_start(tmp_path):
    seen = []
    for _ in range(3):
        async with running_server(tmp_path) as server:
            seen += [place(await post(server, agent="ada", path=str(len(seen)))) for _ in "ab"]
    assert seen == sorted(set(seen))
    assert len({epoch for epoch, _ in seen}) == 3


async def test_projects_do_not_meet(server: Server):
    await server.reserve("ada", "**", project="one")
    await server.reserve("bob", "**", project="two")
    await server.reserve("eve", "**", project="Two")
    assert (await server.check("a", project="three"))["free"] is True
    assert [each["agent_id"] for each in await listed(server, project="one")] == ["ada"]


async def test_after_a_restart_the_first_look_shows_what_is_decided_by(
    clock: ShiftedClock, tmp_path: Path
):
    """A lease that ran out while nobody was there is given the grace before it is shown."""
    async with running_server(tmp_path) as server:
        held = await server.reserve("ada", "src", ttl_seconds=60)
    clock.advance(90)
    async with running_server(tmp_path) as server:
        shown = (await server.client.get("/api/reservations")).json()["reservations"]
        assert [found["id"] for found in shown] == [held["id"]]
        assert shown[0]["is_active"] is True
        assert shown[0]["expires_at"] > held["expires_at"]
        await server.reserve("bob", "src/a.py", expected=409)
