"""The calls that the workloads make, in words that every server of this wire understands.

Members that only some servers know are sent only to those: see `bench.contention.probe`.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from bench.contention.links import Ask

TTL_MINUTES = 60


def register(project: str, name: str) -> Ask:
    """A new agent; answers its `agent_id`."""
    body = {"project": project, "name": name}
    return Ask("", "POST", "/api/agents", body=body, rpc="agents.register")


def reserve(
    project: str,
    agent: str,
    path: str | Sequence[str],
    *,
    operation: str = "reserve",
    exclusive: bool = True,
    ttl_minutes: int = TTL_MINUTES,
    **members: Any,
) -> Ask:
    """A reservation of one pattern, or of several at once where the target takes sets.

    Args:
        members: More members of the body.
    """
    patterns = [path] if isinstance(path, str) else list(path)
    body: dict[str, Any] = {
        "agent_id": agent,
        "project": project,
        "exclusive": exclusive,
        "ttl_minutes": ttl_minutes,
        **({"path_pattern": path} if isinstance(path, str) else {"patterns": patterns}),
        **members,
    }
    arguments = {
        "agent": agent,
        "patterns": patterns,
        "mode": "exclusive" if exclusive else "shared",
        "ttl_ms": ttl_minutes * 60_000,
    }
    return Ask(
        operation,
        "POST",
        "/api/reservations",
        agent=agent,
        body=body,
        rpc="reservations.create",
        wanted=201,
        recorded=("reserve", arguments),
        gives=(("id", str),),
    )


def release(agent: str, reservation_id: str, *, operation: str = "release") -> Ask:
    """The end of a reservation, by its holder."""
    return Ask(
        operation,
        "DELETE",
        f"/api/reservations/{reservation_id}",
        agent=agent,
        rpc="reservations.release",
        params={"reservation_id": reservation_id},
        recorded=("release", {"agent": agent, "reservation_id": reservation_id}),
    )


def renew(agent: str, reservation_id: str) -> Ask:
    """A longer lease."""
    return Ask(
        "renew",
        "POST",
        f"/api/reservations/{reservation_id}/renew",
        agent=agent,
        body={"agent_id": agent},
        rpc="reservations.renew",
        params={"reservation_id": reservation_id},
        recorded=("renew", {"agent": agent, "reservation_id": reservation_id}),
    )


def check(project: str, pattern: str) -> Ask:
    """Who is in the way of an exclusive reservation, own ones included."""
    query = f"project={_quoted(project)}&pattern={_quoted(pattern)}"
    return Ask(
        "check",
        "GET",
        f"/api/reservations/check?{query}",
        rpc="reservations.check",
        params={"project": project, "pattern": pattern},
        recorded=("check", {"patterns": [pattern], "mode": "exclusive"}),
    )


def held(project: str) -> Ask:
    """All reservations that are held in a project, or the first page of them."""
    return Ask(
        "list",
        "GET",
        f"/api/reservations?project={_quoted(project)}",
        rpc="reservations.list",
        params={"project": project},
    )


def send(
    project: str, sender: str, to: Sequence[str], body: str, *, message_id: str | None = None
) -> Ask:
    """A message; an id of the sender's own lets it be recognised in a feed."""
    members: dict[str, Any] = {"project": project, "from": sender, "to": list(to), "body": body}
    if message_id is not None:
        members["id"] = message_id
    return Ask(
        "send",
        "POST",
        "/api/messages",
        body=members,
        rpc="messages.send",
        gives=(("cursor", int),),
    )


def inbox(project: str, agent: str, *, after: int = 0, limit: int = 100) -> Ask:
    """One page of an inbox."""
    query = f"project={_quoted(project)}&since_cursor={after}&limit={limit}"
    return Ask(
        "inbox",
        "GET",
        f"/api/inbox/{_quoted(agent)}?{query}",
        rpc="inbox.list",
        params={"project": project, "agent_id": agent, "since_cursor": after, "limit": limit},
    )


def _quoted(text: str) -> str:
    return quote(text, safe="")
