"""Fencing tokens: who comes too late is told so, and by whom it was overtaken."""

from pathlib import Path

import pytest

from .answers import refused
from .conftest import Server, running_server


async def fence(server: Server, token: int):
    response = await server.client.get("/api/reservations/fence", params={"token": token})
    assert response.status_code == 200, response.text
    return response.json()


async def change_hands(server: Server):
    """A grant to Ada that Bob was granted after her."""
    stale = await server.reserve("ada", "src")
    await server.release("ada", stale["id"])
    return stale, await server.reserve("bob", "src/a.py")


async def test_tokens_only_grow_and_renewals_keep_them(server: Server):
    tokens = []
    for number in range(5):
        held = await server.reserve("ada", f"src/{number}")
        tokens.append(held["fencing_token"])
        again = await server.client.post(
            f"/api/reservations/{held['id']}/renew", json={"agent_id": "ada"}
        )
        assert again.json()["fencing_token"] == held["fencing_token"]
        repeated = await server.reserve("ada", f"src/{number}")
        assert repeated["fencing_token"] == held["fencing_token"]
    assert tokens == sorted(set(tokens))


async def test_a_fence_tells_whether_a_token_is_the_newest(server: Server):
    held = await server.reserve("ada", "src")
    found = await fence(server, held["fencing_token"])
    assert found["newest"] is True
    assert found["status"] == "current"
    assert found["reservation_id"] == held["id"]
    await server.release("ada", held["id"])
    found = await fence(server, held["fencing_token"])
    assert (found["newest"], found["status"]) == (True, "released")
    assert "superseded_by" not in found


async def test_a_fence_tells_who_came_after(server: Server):
    stale, newer = await change_hands(server)
    found = await fence(server, stale["fencing_token"])
    assert (found["newest"], found["status"]) == (False, "superseded")
    by = found["superseded_by"]
    assert by["agent_id"] == by["held_by"] == "bob"
    assert by["fencing_token"] == newer["fencing_token"]
    assert by["reservation_id"] == newer["id"]
    assert by["witness"] == "src/a.py"


async def test_a_change_of_the_rule_for_case_makes_earlier_tokens_outdated(tmp_path: Path):
    """Also after a restart, and when what was granted cannot be read by the new rule."""
    path = "/api/project"
    async with running_server(tmp_path) as server:
        await server.client.patch(path, json={"case_sensitive": False})
        upper = await server.reserve("ada", "README")
        await server.release("ada", upper["id"])
        lower = await server.reserve("bob", "readme")
        await server.release("bob", lower["id"])
        assert (await fence(server, upper["fencing_token"]))["status"] == "superseded"
        await server.client.patch(path, json={"case_sensitive": True})
        unread = await server.reserve("eve", "[ß]")
        await server.release("eve", unread["id"])
        assert (await fence(server, unread["fencing_token"]))["status"] == "released"
        await server.client.patch(path, json={"case_sensitive": False})
    async with running_server(tmp_path) as server:
        for held in (upper, lower, unread):
            found = await fence(server, held["fencing_token"])
            assert (found["status"], found["newest"]) == ("outdated", False)


async def test_a_token_of_nobody_is_404(server: Server):
    await server.reserve("ada", "src")
    response = await server.client.get("/api/reservations/fence", params={"token": 99})
    refused(response, 404, "reservation_not_found")


@pytest.mark.parametrize("token", ["", "0", "-1", "x", "1.5"])
async def test_what_is_no_token_is_400(server: Server, token: str):
    response = await server.client.get("/api/reservations/fence", params={"token": token})
    refused(response, 400, "invalid_request")


async def test_a_stale_token_is_refused_with_who_superseded_it(server: Server):
    stale, newer = await change_hands(server)
    path, token = f"/api/reservations/{stale['id']}", stale["fencing_token"]
    ada = {"X-Agent-ID": "ada"}
    renewal = await server.client.post(f"{path}/renew", json={"fencing_token": token}, headers=ada)
    by_query = await server.client.delete(path, params={"fencing_token": token}, headers=ada)
    by_header = await server.client.delete(
        path, headers={**ada, "Intermute-Fencing-Token": str(token)}
    )
    checked = await server.client.get(
        "/api/reservations/check", params={"pattern": "docs", "fencing_token": token}
    )
    for response in (renewal, by_query, by_header, checked):
        members = refused(response, 409, "stale_token")
        assert members["superseded_by"]["fencing_token"] == newer["fencing_token"]
        assert "bob" in members["detail"]


async def test_a_token_that_is_current_does_no_harm(server: Server):
    held = await server.reserve("ada", "src")
    token = held["fencing_token"]
    assert (await server.check("docs", fencing_token=token))["free"]
    path = f"/api/reservations/{held['id']}"
    body = {"agent_id": "ada", "fencing_token": token}
    assert (await server.client.post(f"{path}/renew", json=body)).status_code == 200
    body["patterns"] = ["src/a.py"]
    assert (await server.client.patch(path, json=body)).status_code == 200
    other = await server.client.patch(path, json={**body, "fencing_token": token + 1})
    refused(other, 409, "stale_token")
    released = await server.client.delete(
        path, params={"fencing_token": token}, headers={"X-Agent-ID": "ada"}
    )
    assert released.status_code == 200


async def test_a_token_that_is_none_is_400(server: Server):
    held = await server.reserve("ada", "src")
    path = f"/api/reservations/{held['id']}"
    for params in ({"fencing_token": "x"}, {"fencing_token": "-3"}):
        refused(await server.client.delete(path, params=params), 400, "invalid_request")
    body = {"agent_id": "ada", "fencing_token": "1"}
    refused(await server.client.post(f"{path}/renew", json=body), 400, "invalid_request")


async def test_every_conflict_shows_the_token(server: Server):
    held = await server.reserve("ada", "src")
    members = await server.reserve("bob", "src", expected=409)
    assert members["conflicts"][0]["fencing_token"] == held["fencing_token"]
    (found,) = (await server.check("src"))["conflicts"]
    assert found["fencing_token"] == held["fencing_token"]
