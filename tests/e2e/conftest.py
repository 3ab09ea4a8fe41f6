"""What many tests need: a running server, and agents that talk to it over a real socket."""

import ssl
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio

from intermute import app
from intermute.domain.stamp import Stamp
from intermute.project import directory
from intermute.project.clock import SystemClock

from .tenants import Tenants, make_tenants

# Never used, since nothing here speaks TLS; httpx would load every root certificate without it.
_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@attrs.define
class Server:
    """A server of this process, on a real loopback socket."""

    url: str
    settings: app.Settings
    shutdown: trio.Event
    client: httpx.AsyncClient
    reload_keys: Callable[[], None]

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    async def register(self, name: str = "", **members: Any) -> dict[str, Any]:
        response = await self.client.post("/api/agents", json={"name": name, **members})
        assert response.status_code == 200, response.text
        return response.json()

    async def reserve(
        self,
        agent_id: str,
        *patterns: str,
        expected: int = 201,
        headers: Any = None,
        **members: Any,
    ) -> dict[str, Any]:
        body = {"agent_id": agent_id, "patterns": list(patterns), **members}
        response = await self.client.post("/api/reservations", json=body, headers=headers)
        assert response.status_code == expected, response.text
        return response.json()

    async def release(self, agent_id: str, reservation_id: str) -> httpx.Response:
        return await self.client.delete(
            f"/api/reservations/{reservation_id}", headers={"X-Agent-ID": agent_id}
        )

    async def check(self, *patterns: str, **params: Any) -> dict[str, Any]:
        response = await self.client.get(
            "/api/reservations/check", params={"pattern": list(patterns), **params}
        )
        assert response.status_code == 200, response.text
        return response.json()

    async def agent(self, agent_id: str) -> dict[str, Any]:
        response = await self.client.get(f"/api/agents/{agent_id}")
        assert response.status_code == 200, response.text
        return response.json()

    def project_file(self, project: str = "default") -> Path:
        """The one file of a project."""
        tag = directory.project_tag(project)
        (path,) = self.settings.data.glob(f"{tag}*.sqlite3")
        return path


@asynccontextmanager
async def running_server(folder: Path, **settings: Any):
    """A server on `folder`, shut down the clean way at the end."""
    chosen = app.Settings(
        **{"data": folder / "data", "keys_file": folder / "keys.yaml", "port": 0, **settings}
    )
    shutdown = trio.Event()
    reloads: list[Callable[[], None]] = []
    async with trio.open_nursery() as nursery:

        async def run(*, task_status: Any) -> None:
            await app.serve(
                chosen, shutdown=shutdown.wait, on_reload=reloads.append, task_status=task_status
            )

        addresses = await nursery.start(run)
        async with httpx.AsyncClient(base_url=addresses[0], timeout=60, verify=_TLS) as client:
            yield Server(addresses[0], chosen, shutdown, client, reloads[0])
        shutdown.set()


@pytest.fixture
async def server(tmp_path: Path):
    async with running_server(tmp_path) as running:
        yield running


@attrs.define
class ShiftedClock:
    """The system's clock, moved forward by hand: for servers whose leases must run out now."""

    shift_us: int = 0
    _clock: SystemClock = attrs.field(factory=SystemClock)

    def advance(self, seconds: float) -> None:
        self.shift_us += int(seconds * 1_000_000)

    def stamp(self) -> Stamp:
        now = self._clock.stamp()
        return Stamp(now.at_us + self.shift_us, now.mono_us + self.shift_us, now.entropy)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ShiftedClock:
    """The clock that every server of the test stamps commands with."""
    shifted = ShiftedClock()
    monkeypatch.setattr(directory, "SystemClock", lambda: shifted)
    return shifted


@pytest.fixture
def tenants(tmp_path: Path) -> Tenants:
    """Keys for the projects `alpha` and `beta`, in a file that lets nobody in without a key."""
    return make_tenants(tmp_path / "keys.yaml")
