"""Liveness and readiness."""

from collections.abc import Callable
from pathlib import Path

import pytest

from intermute.project.directory import project_tag

from .answers import refused
from .conftest import Server, running_server
from .tenants import Tenants


async def test_health_is_ok(server: Server):
    response = await server.client.get("/health")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"status": "ok"}


@pytest.mark.parametrize("path", ["/health", "/ready"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_health_is_only_looked_at(server: Server, path: str, method: str):
    response = await server.client.request(method, path)
    refused(response, 405, "method_not_allowed")
    assert "GET" in response.headers["Allow"]


async def test_neither_needs_a_key(tmp_path: Path, tenants: Tenants):
    async with running_server(tmp_path, keys_file=tenants.keys_file) as server:
        for path in ("/health", "/ready"):
            for headers in ({}, {"Authorization": "Bearer nonsense"}, {"X-Agent-Token": "x"}):
                assert (await server.client.get(path, headers=headers)).status_code == 200


async def test_ready_says_how_each_project_in_use_is(server: Server):
    response = await server.client.get("/ready")
    assert response.status_code == 200
    assert response.json()["status"] == "ready"
    assert response.json()["projects"] == []
    assert response.json()["disk"]["ok"] is True
    assert response.json()["disk"]["free_bytes"] > 0
    await server.reserve("ada", "a", project="secret name")
    response = await server.client.get("/ready")
    (project,) = response.json()["projects"]
    assert project == {
        "tag": project_tag("secret name"),
        "ready": True,
        "breaker": "closed",
        "storage_faults": 0,
        "last_fault": "",
    }
    assert "secret" not in response.text


async def test_a_full_disk_is_not_ready(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("intermute.web.health.DISK_FREE_MIN", 2**62)
    response = await server.client.get("/ready")
    assert response.status_code == 503
    assert response.json()["status"] == "degraded"
    assert response.json()["disk"]["ok"] is False
    assert (await server.client.get("/health")).status_code == 200


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)


def link(path: Path) -> None:
    path.rename(path.with_suffix(".away"))
    path.symlink_to(path.with_suffix(".away"))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [garbage, link, folder])
async def test_a_project_whose_file_is_broken_harms_no_other(
    tmp_path: Path, spoil: Callable[[Path], None]
):
    async with running_server(tmp_path) as before:
        for project in ("good", "bad"):
            await before.reserve("ada", "a", project=project)
        bad = before.project_file("bad")
    spoil(bad)
    async with running_server(tmp_path) as after:
        for response in (
            await after.client.post(
                "/api/reservations", json={"agent": "bob", "path": "b", "project": "bad"}
            ),
            await after.client.get("/api/reservations/check?pattern=b&project=bad"),
            await after.client.get("/api/reservations?project=bad"),
            await after.client.get("/api/project?project=bad"),
        ):
            assert response.status_code == 503, (response.request.url, response.text)
            assert int(response.headers["Retry-After"]) >= 1
            members = refused(response, 503, response.json()["error"])
            assert str(bad.parent) not in response.text
            assert "Traceback" not in members["detail"]
        assert (await after.check("a", project="good"))["free"] is False
        await after.reserve("bob", "b", project="good")
        assert (await after.client.get("/api/agents")).status_code == 200
        assert (await after.client.get("/health")).status_code == 200
