"""Waiting on the wire: tickets."""

from typing import Any

from intermute.domain.modes import Mode
from intermute.domain.times import iso
from intermute.domain.values import Value
from intermute.domain.views import QueuedView, TicketView
from intermute.wire.agents import AgentId
from intermute.wire.bodies import convert, line
from intermute.wire.problems import conflict


class _WhoBody(Value):
    agent_id: AgentId = ""
    agent: AgentId = ""


def waiter(members: dict[str, Any], *, agent_id: str | None) -> str | None:
    """Who confirms: the one the body names, else the caller."""
    body = convert(members, _WhoBody)
    return line(body.agent_id or body.agent, "agent_id") or agent_id


def ticket(view: TicketView) -> dict[str, Any]:
    """A ticket with its place in the line, as long as it waits."""
    members = listed_ticket(view)
    if view.ended is None:
        members["position"] = view.position
        members["blocked_by"] = [conflict(found) for found in view.blocked_by]
        members["total"] = view.blocked_total
    return members


def listed_ticket(view: TicketView) -> dict[str, Any]:
    """A ticket without its place, which only the project's actor knows."""
    members: dict[str, Any] = {
        "ticket_id": view.ticket_id,
        "state": view.ended or "waiting",
        "agent_id": view.agent_id,
        "project": view.project,
        "patterns": view.patterns,
        "exclusive": view.mode is Mode.EXCLUSIVE,
        "mode": view.mode.value,
    }
    if view.reason:
        members["reason"] = view.reason
    members["ttl_seconds"] = view.ttl_ms // 1000
    if view.renew_on_heartbeat:
        members["renew_on_heartbeat"] = True
    members["on_the_line"] = view.held_open
    members["created_at"] = iso(view.created_at_us)
    members["wait_until"] = iso(view.wait_until_us)
    if view.ended_at_us is not None:
        members["ended_at"] = iso(view.ended_at_us)
    if view.reservation_id is not None:
        members["reservation_id"] = view.reservation_id
    members["cursor"] = view.cursor
    return members


def handed_over(view: QueuedView) -> dict[str, Any]:
    """The ticket that a reservation was passed to."""
    assert view.ticket is not None
    return {"ticket": listed_ticket(view.ticket)}
