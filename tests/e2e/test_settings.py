"""A project's settings over the wire."""

import pytest

from .answers import place, refused
from .conftest import Server, ShiftedClock, running_server

URL = "/api/project"
LIVE = {"live_transport": False, "live_transport_set_by": "server"}


async def test_a_project_is_case_sensitive_by_default(server: Server):
    response = await server.client.get(URL)
    assert response.status_code == 200
    assert response.json() == {"project": "default", "case_sensitive": True, **LIVE}
    response = await server.client.get(URL, params={"project": " a/b "})
    assert response.json() == {"project": "a/b", "case_sensitive": True, **LIVE}
    assert list(server.settings.data.glob("*.sqlite3")) == []


@pytest.mark.parametrize("named_in", ["body", "query"])
async def test_a_setting_is_changed(server: Server, named_in: str):
    members = {"case_sensitive": False, **({"project": "p"} if named_in == "body" else {})}
    params = {"project": "p"} if named_in == "query" else None
    response = await server.client.patch(URL, json=members, params=params)
    assert response.status_code == 200
    assert response.json() == {"project": "p", "case_sensitive": False, **LIVE}
    assert place(response)[0] == 1
    seen = await server.client.get(URL, params={"project": "p"})
    assert seen.json() == response.json()
    assert (await server.client.get(URL)).json()["case_sensitive"] is True


async def test_case_decides_what_meets(server: Server):
    await server.client.patch(URL, json={"case_sensitive": False})
    await server.reserve("ada", "SRC/Straße.py")
    await server.reserve("bob", "src/STRASSE.py", expected=409)
    await server.reserve("ada", "README.md", project="strict")
    await server.reserve("bob", "readme.md", project="strict")


async def test_a_setting_in_use_is_not_changed(server: Server):
    held = await server.reserve("ada", "a")
    response = await server.client.patch(URL, json={"case_sensitive": False})
    refused(response, 409, "setting_in_use")
    same = await server.client.patch(URL, json={"case_sensitive": True})
    assert same.status_code == 200
    await server.release("ada", held["id"])
    response = await server.client.patch(URL, json={"case_sensitive": False})
    assert response.status_code == 200


async def test_a_setting_is_free_to_change_once_the_leases_lapsed(
    clock: ShiftedClock, server: Server
):
    held = await server.reserve("ada", "A", ttl_seconds=60)
    clock.advance(61)
    response = await server.client.patch(URL, json={"case_sensitive": False})
    assert response.status_code == 200
    await server.reserve("bob", "a")
    renewal = await server.client.post(
        f"/api/reservations/{held['id']}/renew", headers={"X-Agent-ID": "ada"}
    )
    refused(renewal, 404, "reservation_not_found")


@pytest.mark.parametrize("members", [{}, {"case_sensitive": None}, {"other": True}])
async def test_a_setting_must_be_named(server: Server, members: dict):
    response = await server.client.patch(URL, json=members)
    assert "case_sensitive required" in refused(response, 400, "invalid_request")["detail"]


async def test_names_that_are_no_projects_are_400(server: Server):
    for name in ("p" * 201, "a\tb", "a\u202eb", "a\ufeffb"):
        refused(await server.client.get(URL, params={"project": name}), 400, "invalid_project")
        response = await server.client.patch(URL, json={"project": name, "case_sensitive": True})
        refused(response, 400, "invalid_project")


async def test_two_spellings_of_a_name_are_one_project(server: Server):
    await server.client.patch(URL, json={"project": "Cafe\u0301", "case_sensitive": False})
    seen = await server.client.get(URL, params={"project": " Caf\u00e9 "})
    assert seen.json() == {"project": "Caf\u00e9", "case_sensitive": False, **LIVE}
    other = await server.client.get(URL, params={"project": "caf\u00e9"})
    assert other.json()["case_sensitive"] is True


async def test_settings_survive_a_restart(tmp_path):
    async with running_server(tmp_path) as before:
        await before.client.patch(URL, json={"case_sensitive": False})
        await before.reserve("ada", "A")
    async with running_server(tmp_path) as after:
        assert (await after.client.get(URL)).json()["case_sensitive"] is False
        await after.reserve("bob", "a", expected=409)
