"""Messages over the wire, as tests send and read them."""

from typing import Any

import httpx

from .conftest import Server


async def post(server: Server, sender: str, *to: str, **members: Any) -> httpx.Response:
    """Send a message; `headers` are the request's."""
    headers = members.pop("headers", None)
    body = {"from": sender, "to": list(to), "body": "hello", **members}
    return await server.client.post("/api/messages", json=body, headers=headers)


async def send(server: Server, sender: str, *to: str, **members: Any) -> dict[str, Any]:
    """The answer to a message that was sent."""
    response = await post(server, sender, *to, **members)
    assert response.status_code == 200, response.text
    return response.json()


async def get(server: Server, path: str, headers: Any = None, **params: Any) -> dict[str, Any]:
    response = await server.client.get(path, params=params or None, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


async def inbox(
    server: Server, agent_id: str, headers: Any = None, **params: Any
) -> list[dict[str, Any]]:
    return (await get(server, f"/api/inbox/{agent_id}", headers, **params))["messages"]


async def counts(server: Server, agent_id: str) -> tuple[int, int]:
    """The total and the unread."""
    found = await get(server, f"/api/inbox/{agent_id}/counts")
    return found["total"], found["unread"]


async def mark(
    server: Server, kind: str, message_id: str, agent: str | None = None, headers: Any = None
) -> httpx.Response:
    members = {} if agent is None else {"agent": agent}
    path = f"/api/messages/{message_id}/{kind}"
    return await server.client.post(path, json=members, headers=headers)


async def thread_of(server: Server, thread_id: str, **params: Any) -> list[dict[str, Any]]:
    return (await get(server, f"/api/threads/{thread_id}", **params))["messages"]


async def threads(server: Server, agent_id: str, **params: Any) -> list[dict[str, Any]]:
    return (await get(server, "/api/threads", agent=agent_id, **params))["threads"]


async def set_policy(server: Server, agent_id: str, policy: str) -> None:
    response = await server.client.put(f"/api/agents/{agent_id}/policy", json={"policy": policy})
    assert response.status_code == 200, response.text
