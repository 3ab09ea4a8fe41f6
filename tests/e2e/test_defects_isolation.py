"""Known defects of the former service that let somebody in: none of them is here (B14 to B62)."""

import logging
import stat
import uuid
from pathlib import Path

import apsw
import httpx
import pytest
import trio

from intermute.storage.writer import Writer

from .answers import refused
from .conftest import Server, ShiftedClock, running_server
from .tenants import Tenants, revoke
from .test_agent_updates import proof
from .test_reservations import post


@pytest.fixture
async def locked(tmp_path: Path, tenants: Tenants):
    """A server on which every caller needs a key."""
    async with running_server(tmp_path, keys_file=tenants.keys_file) as running:
        yield running


async def register(server: Server, headers: dict[str, str], **members: object) -> dict:
    response = await server.client.post("/api/agents", json=members, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


async def test_b14_agent_routes_are_bound_to_the_keys_project(locked: Server, tenants: Tenants):
    ada = await register(locked, tenants.headers("a"), name="Ada", metadata={"a": "1"})
    url, stranger = f"/api/agents/{ada['agent_id']}", tenants.headers("b")
    for method, path, members in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("PATCH", "/metadata", {"metadata": {"a": "2"}}),
        ("GET", "/policy", None),
        ("PUT", "/policy", {"policy": "block_all"}),
        ("POST", "/policy", {"live_contact_policy": "open"}),
        ("POST", "/heartbeat", {"focus_state": "at-prompt"}),
        ("GET", "/contacts", None),
        ("POST", "/contacts", {"contact_id": "x"}),
        ("DELETE", "/contacts/x", None),
    ):
        response = await locked.client.request(method, url + path, json=members, headers=stranger)
        refused(response, 404, "agent_not_found")
    seen = (await locked.client.get(url, headers=tenants.headers("a"))).json()
    assert seen["metadata"] == {"a": "1"}
    assert seen["policy"] == "open"
    assert seen["focus_state"] == "unknown"


async def test_b15_reservations_are_bound_to_the_keys_project(locked: Server, tenants: Tenants):
    own, stranger = tenants.headers("a"), tenants.headers("b", "ada")
    held = (await post(locked, own, agent="ada", path="a")).json()
    url = f"/api/reservations/{held['id']}"
    refused(await locked.client.get(url, headers=stranger), 404, "reservation_not_found")
    refused(await locked.client.delete(url, headers=stranger), 404, "reservation_not_found")
    refused(
        await locked.client.post(f"{url}/renew", headers=stranger), 404, "reservation_not_found"
    )
    for params in ({}, {"agent": "ada"}):
        listed = await locked.client.get("/api/reservations", params=params, headers=stranger)
        assert listed.json()["reservations"] == []
    check = await locked.client.get("/api/reservations/check?pattern=a", headers=stranger)
    assert check.json()["conflicts"] == []
    for path in (
        "/api/reservations?project=alpha",
        "/api/reservations/check?pattern=a&project=alpha",
    ):
        response = await locked.client.get(path, headers=stranger)
        refused(response, 403, "project_mismatch")
    assert (await post(locked, stranger, agent="ada", path="a")).status_code == 201
    assert (await locked.client.get(url, headers=own)).json()["is_active"] is True


async def test_b16_windows_are_bound_to_the_keys_project(locked: Server, tenants: Tenants):
    """More of it, within a project as well, is in `test_defects_live`."""
    own, stranger = tenants.headers("a"), tenants.headers("b")
    ada, mallory = await register(locked, own), await register(locked, stranger)

    async def claim(who: dict[str, str], headers: dict[str, str], **more: str) -> httpx.Response:
        body = {"window_uuid": "w", "agent_id": who["agent_id"], "registration_token": who["token"]}
        return await locked.client.post("/api/windows", json=body | more, headers=headers)

    assert (await claim(ada, own)).status_code == 200
    refused(await claim(mallory, stranger, project="alpha"), 403, "project_mismatch")
    refused(await claim(mallory, own), 403, "agent_token_mismatch")
    refused(await claim(ada, stranger), 403, "agent_token_mismatch")
    for method, path in (("GET", "/api/windows"), ("DELETE", "/api/windows/w")):
        url = f"{path}?project=alpha"
        refused(await locked.client.request(method, url, headers=stranger), 403, "project_mismatch")
    gone = await locked.client.delete("/api/windows/w", headers=stranger)
    refused(gone, 404, "window_not_found")
    seen = (await locked.client.get("/api/windows", headers=own)).json()["windows"]
    assert [window["agent_id"] for window in seen] == [ada["agent_id"]]
    assert (await locked.client.get("/api/windows", headers=stranger)).json()["windows"] == []


async def test_b17_a_session_of_another_project_is_another_session(
    clock: ShiftedClock, locked: Server, tenants: Tenants
):
    session = str(uuid.uuid4())
    ada = await register(locked, tenants.headers("a"), name="Ada", session_id=session)
    policy = f"/api/agents/{ada['agent_id']}/policy"
    await locked.client.put(policy, json={"policy": "block_all"}, headers=tenants.headers("a"))
    for _ in range(2):
        other = await register(locked, tenants.headers("b"), name="Mallory", session_id=session)
        assert other["agent_id"] != ada["agent_id"]
        clock.advance(301)
    seen = await locked.client.get(f"/api/agents/{ada['agent_id']}", headers=tenants.headers("a"))
    assert seen.json()["name"] == "Ada"
    assert seen.json()["policy"] == "block_all"


async def test_b18_a_shown_token_binds_an_agent_to_it(server: Server):
    ada, mallory = await server.register("Ada"), await server.register("Mallory")
    held = await server.reserve(ada["agent_id"], "a", headers=proof(ada))
    url = f"/api/reservations/{held['id']}"
    as_ada = {"X-Agent-ID": ada["agent_id"]}
    forged = as_ada | {"X-Agent-Token": mallory["token"]}
    unknown = as_ada | {"X-Agent-Token": "imt_nobody"}
    for headers, code in (
        (as_ada, "agent_token_required"),
        (forged, "agent_identity_mismatch"),
        (unknown, "agent_identity_mismatch"),
        (proof(mallory), "not_the_owner"),
    ):
        refused(await server.client.delete(url, headers=headers), 403, code)
        refused(await server.client.post(f"{url}/renew", headers=headers), 403, code)
    body = {"agent_id": ada["agent_id"], "path": "b"}
    refused(await server.client.post("/api/reservations", json=body), 403, "agent_token_required")
    response = await server.client.post("/api/reservations", json=body, headers=proof(mallory))
    refused(response, 403, "agent_identity_mismatch")
    assert (await server.client.delete(url, headers=proof(ada))).status_code == 200


async def test_b18_tokens_can_be_required_from_the_start(tmp_path: Path):
    async with running_server(tmp_path, tokens_required=True) as server:
        ada = await server.register("Ada")
        response = await post(server, agent=ada["agent_id"], path="a")
        refused(response, 403, "agent_token_required")
        response = await server.client.post(f"/api/agents/{ada['agent_id']}/heartbeat")
        refused(response, 403, "agent_token_required")
        await server.reserve(ada["agent_id"], "a", headers=proof(ada))
        await server.reserve("never registered", "b")


async def test_b28_secrets_are_nowhere_but_with_their_owner(
    tmp_path: Path, tenants: Tenants, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    secrets = [tenants.a, tenants.b, tenants.expired, "imk_0123456789_" + "k" * 43]
    async with running_server(tmp_path, keys_file=tenants.keys_file) as server:
        ada = await register(server, tenants.headers("a"), name="Ada")
        secrets.append(ada["token"])
        shown: list[httpx.Response] = []
        paths = ("/api/agents", f"/api/agents/{ada['agent_id']}", "/api/agents/x/policy")
        for key in secrets[:4]:
            headers = {"Authorization": f"Bearer {key}"} | proof(ada)
            shown += [await server.client.get(path, headers=headers) for path in paths]
            shown.append(await post(server, headers, agent=ada["agent_id"], path="["))
        tenants.keys_file.write_text(f"projects: {{a: {{keys: [{tenants.a!r}, [")
        server.reload_keys()
        shown.append(await server.client.get("/api/agents", headers=tenants.headers("a")))
        assert shown[-1].status_code == 200, "a broken keys file leaves the last good keys"
    tenants.keys_file.unlink()
    places = [caplog.text, *(f"{answer.headers} {answer.text}" for answer in shown)]
    places += contents(tmp_path)
    for secret in secrets:
        assert not any(secret in place for place in places)


def contents(folder: Path) -> list[str]:
    """What stands in the files of a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".sqlite3" for path in files)
    return [path.read_bytes().decode("latin-1") for path in files]


async def test_b28_files_are_for_their_owner_alone(tmp_path: Path):
    (tmp_path / "data").mkdir(mode=0o755)
    async with running_server(tmp_path) as server:
        for project in ("one", "../../etc/two", "three"):
            await server.reserve("ada", "a", project=project)
        files = list(server.settings.data.iterdir())
        assert len(files) >= 3 * 3
        for path in (*files, server.settings.keys_file):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
            assert path.resolve().parent in (server.settings.data, tmp_path)
        assert stat.S_IMODE(server.settings.data.stat().st_mode) == 0o700


async def test_b28_a_key_is_revoked_without_a_restart(locked: Server, tenants: Tenants):
    headers = tenants.headers("a")
    assert (await locked.client.get("/api/agents", headers=headers)).status_code == 200
    revoke(tenants.keys_file, tenants.a)
    locked.reload_keys()
    refused(await locked.client.get("/api/agents", headers=headers), 401, "unauthorized")
    assert (await locked.client.get("/api/agents", headers=tenants.headers("b"))).status_code == 200


async def test_b30_an_error_nobody_foresaw_is_told_by_a_number_alone(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    await server.reserve("ada", "a")
    text = "secret of /var/lib/intermute in SELECT * FROM agents"

    def broken(writer: Writer, event: object) -> None:
        raise RuntimeError(text)

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "append", broken)
        response = await post(server, agent="ada", path="b")
    members = refused(response, 500, "internal_error")
    for word in ("secret", "SELECT", "RuntimeError", "Traceback", "/var"):
        assert word not in response.text
    assert members["incident"] in caplog.text
    assert text in caplog.text
    caplog.clear()
    assert (await server.check("b"))["free"] is True
    await server.reserve("ada", "b")


async def test_b30_a_storage_error_is_told_by_its_kind_alone(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    await server.reserve("ada", "a")

    def broken(writer: Writer) -> None:
        raise apsw.IOError(f"disk I/O error in {server.settings.data}: INSERT INTO events")

    monkeypatch.setattr(Writer, "commit", broken)
    response = await post(server, agent="ada", path="b")
    members = refused(response, 503, "storage_unavailable")
    assert "io_error" in members["detail"]
    for word in ("INSERT", "events", str(server.settings.data), "apsw"):
        assert word not in response.text


async def test_b60_a_projects_name_is_trimmed_everywhere(server: Server):
    for spelling in ("p q", " p q", "p q\t ".replace("\t", " "), "\u00a0p q"):
        await server.register("Ada", project=spelling)
        await server.reserve("ada", "a", project=spelling)
    for spelling in ("p q", "  p q  "):
        params = {"project": spelling}
        agents = (await server.client.get("/api/agents", params=params)).json()["agents"]
        assert [agent["project"] for agent in agents] == ["p q"] * 4
        presence = await server.client.get("/api/agents/presence", params=params)
        assert len(presence.json()["agents"]) == 4
        found = await server.client.get("/api/reservations", params=params)
        assert {each["project"] for each in found.json()["reservations"]} == {"p q"}
        assert (await server.check("a", project=spelling))["free"] is False


async def test_b60_a_key_acts_in_its_project_whatever_the_blanks(locked: Server, tenants: Tenants):
    headers = tenants.headers("a")
    for spelling in (" alpha ", "", "  "):
        response = await post(locked, headers, agent="ada", path="a", project=spelling)
        assert response.status_code == 201
        assert response.json()["project"] == "alpha"
    refused(
        await post(locked, headers, agent="a", path="a", project="Alpha"), 403, "project_mismatch"
    )


async def test_b62_callers_of_the_unix_socket_are_local(tmp_path: Path):
    path = tmp_path / "i.sock"
    async with running_server(tmp_path, socket=path) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://any.name") as client:
            with trio.fail_after(60):
                response = await client.post("/api/agents", json={"name": "Ada"})
                assert response.status_code == 200, response.text
                spread = {"X-Forwarded-For": "203.0.113.9"}
                refused(await client.get("/api/agents", headers=spread), 401, "unauthorized")
        (agent,) = (await server.client.get("/api/agents")).json()["agents"]
        assert agent["name"] == "Ada"
    assert not path.exists()


async def test_b18_the_name_of_a_retired_agent_stays_under_its_token(server: Server):
    ada = await server.register("Ada")
    agent_id = ada["agent_id"]
    own = {"X-Agent-ID": agent_id, "X-Agent-Token": ada["token"]}
    message = {"id": "m", "from": agent_id, "to": ["bob"], "body": "hers"}
    sent = await server.client.post("/api/messages", json=message, headers=own)
    assert sent.status_code == 200, sent.text
    gone = await server.client.delete(f"/api/agents/{agent_id}", headers=own)
    assert gone.status_code == 200, gone.text
    taken = await server.client.post("/api/messages", json=message | {"body": "not hers"})
    refused(taken, 403, "agent_token_required")
    body = {"agent": agent_id, "path": "src"}
    refused(await server.client.post("/api/reservations", json=body), 403, "agent_token_required")
    ended = await server.client.post("/api/messages", json=message | {"body": "x"}, headers=own)
    refused(ended, 403, "agent_identity_mismatch")
    kept = await server.client.get("/api/messages/m")
    assert kept.json()["body"] == "hers"
