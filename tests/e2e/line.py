"""Agents that wait in line for each other, over real sockets."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import trio

from intermute.storage.reader import Reader

from .answers import request_bytes
from .conftest import Server

STALL_S = 60.0


async def wait_until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is so. Every question is a request, so the server gets its turns."""
    with trio.fail_after(STALL_S):
        while not await condition():
            await trio.lowlevel.checkpoint()


async def tickets(server: Server, **params: Any) -> list[dict[str, Any]]:
    response = await server.client.get("/api/reservations/tickets", params=params)
    assert response.status_code == 200, response.text
    return response.json()["tickets"]


async def ticket(server: Server, ticket_id: str) -> dict[str, Any]:
    response = await server.client.get(f"/api/reservations/tickets/{ticket_id}")
    assert response.status_code == 200, response.text
    return response.json()


async def until_waiting(server: Server, count: int) -> None:
    """Wait until so many wait in line."""

    async def so_many() -> bool:
        return len(await tickets(server)) == count

    await wait_until(so_many)


async def until_ended(server: Server, ticket_id: str, state: str) -> None:
    """Wait until a ticket has come to this end."""

    async def ended() -> bool:
        return (await ticket(server, ticket_id))["state"] == state

    await wait_until(ended)


async def hold_the_line(
    server: Server, agent_id: str, *patterns: str, wait_seconds: float = 60, **members: Any
) -> httpx.Response:
    """Ask for paths and stay on the line."""
    body = {"agent_id": agent_id, "patterns": patterns, "wait_seconds": wait_seconds, **members}
    return await server.client.post("/api/reservations", json=body)


async def queue(server: Server, agent_id: str, *patterns: str, **members: Any) -> dict[str, Any]:
    """Wait in line with a ticket."""
    return await server.reserve(agent_id, *patterns, queue=True, expected=202, **members)


async def call_by_hand(
    server: Server, agent_id: str, *patterns: str, headers: tuple[tuple[str, str], ...] = ()
) -> trio.SocketStream:
    """A call that stays on the line until its stream is closed."""
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    body = {"agent_id": agent_id, "patterns": patterns, "wait_seconds": 60}
    await stream.send_all(
        request_bytes("POST", "/api/reservations", json.dumps(body).encode(), headers=headers)
    )
    return stream


def events(server: Server, *types: str, project: str = "default") -> list[Any]:
    """What has happened in a project, read from its file."""
    reader = Reader.open(server.project_file(project))
    assert reader is not None
    try:
        found = reader.events(after=0, limit=10_000)
    finally:
        reader.close()
    return [event for event in found if not types or event.data.type in types]
