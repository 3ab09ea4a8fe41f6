"""Agents that can be reached in their panes, and what is sent to them."""

from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx

from ..panes import Pane, TmuxServer, tmux_server
from .conftest import Server, running_server

PROJECT = "default"


@attrs.define
class Peer:
    """An agent with a window, and perhaps a pane."""

    server: Server
    agent_id: str
    token: str
    window: dict[str, Any] = attrs.field(factory=dict)
    pane: Pane | None = None

    @property
    def proof(self) -> dict[str, str]:
        return {"X-Agent-ID": self.agent_id, "X-Agent-Token": self.token}

    async def focus(self, word: str = "at-prompt") -> None:
        response = await self.server.client.post(
            f"/api/agents/{self.agent_id}/heartbeat", json={"focus_state": word}
        )
        assert response.status_code == 200, response.text

    async def open_window(self, uuid: str, target: str, **members: Any) -> httpx.Response:
        body = {
            "project": PROJECT,
            "window_uuid": uuid,
            "agent_id": self.agent_id,
            "tmux_target": target,
            "registration_token": self.token,
            **members,
        }
        return await self.server.client.post("/api/windows", json=body)

    async def pokes(self, **params: Any) -> list[dict[str, Any]]:
        asked = {"agent": self.agent_id, "project": PROJECT, **params}
        response = await self.server.client.get("/api/inbox/pokes", params=asked)
        assert response.status_code == 200, response.text
        return response.json()["pokes"]

    async def inbox(self) -> list[dict[str, Any]]:
        response = await self.server.client.get(f"/api/inbox/{self.agent_id}")
        assert response.status_code == 200, response.text
        return response.json()["messages"]


async def peer(server: Server, name: str) -> Peer:
    """An agent that lets everybody reach it live, but has no window yet."""
    made = await server.register(name)
    response = await server.client.put(
        f"/api/agents/{made['agent_id']}/policy", json={"live_contact_policy": "open"}
    )
    assert response.status_code == 200, response.text
    return Peer(server, made["agent_id"], made["token"])


async def reachable(server: Server, panes: TmuxServer, name: str) -> Peer:
    """One at its prompt, in a pane that has shown its token."""
    found = await peer(server, name)
    found.pane = await panes.reader(name)
    response = await found.open_window(f"window-{name}", name)
    assert response.status_code == 200, response.text
    found.window = response.json()
    found.pane.show(found.window["pane_token"])
    await found.focus()
    return found


async def send(
    server: Server, sender: str, *to: str, transport: str = "live", headers: Any = None, **more: Any
) -> httpx.Response:
    body = {"from": sender, "to": list(to), "body": "hello", "transport": transport, **more}
    return await server.client.post("/api/messages", json=body, headers=headers)


@contextmanager
def panes_of_a_test() -> Iterator[TmuxServer]:
    with tmux_server() as server:
        yield server


@asynccontextmanager
async def live_server(folder: Path, panes: TmuxServer, **settings: Any):
    """A server that types into the panes of that tmux server and of no other."""
    chosen = {"live_transport": True, "live_tmux_socket": panes.socket, **settings}
    async with running_server(folder, **chosen) as server:
        yield server


def events_of(server: Server, kind: str) -> list[dict[str, Any]]:
    """What the project's log holds of a type, as its data."""
    import json

    import apsw

    path = server.project_file()
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        rows = connection.execute("SELECT data FROM events WHERE type = ? ORDER BY cursor", (kind,))
        return [json.loads(row[0]) for row in rows]
    finally:
        connection.close()
