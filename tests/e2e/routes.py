"""Every route of the app, with a request for each that would succeed.

A test walks the app's own map, so a route that is added without a row here fails it.
"""

import re
from collections.abc import Iterator
from typing import Any

import attrs

from intermute.domain.entities.kinds import CUJ, INSIGHT, KINDS, TASK

AGENT = "{agent}"
RESERVATION = "{reservation}"
MESSAGE = "{message}"
TICKET = "{ticket}"


@attrs.frozen
class Row:
    """One request.

    Attributes:
        rule: The route as the app's map spells it.
        path: What to ask for; `{agent}`, `{reservation}` and so on stand for ids.
        members: The JSON body, or None for no body.
        needs_key: Whether strangers need a key.
        named: Where a project can be named: `query`, `body`, `path` (as `{project}`), or None
            where an id says it.
        is_socket: A WebSocket is opened, not a request made.
    """

    method: str
    rule: str
    path: str
    members: dict[str, Any] | None = None
    needs_key: bool = True
    named: str | None = None
    is_socket: bool = False

    @property
    def has_id(self) -> bool:
        return "{" in self.path

    @property
    def ids(self) -> list[str]:
        """The names of the ids in the path."""
        return re.findall(r"\{(\w+)\}", self.path)

    def at(self, **ids: str) -> str:
        """The path with ids in the places of their names."""
        return re.sub(r"\{(\w+)\}", lambda place: ids[place[1]], self.path)

    def with_id(self, identifier: str) -> str:
        """The path with one and the same id in every place."""
        return re.sub(r"\{\w+\}", lambda _: identifier, self.path)


_A = "/api/agents/<agent_id>"
_R = "/api/reservations/<reservation_id>"
_M = "/api/messages/<message_id>"
_I = "/api/inbox/<inbox:agent_id>"
_TEXT = {"topic": "probe", "body": "probe"}


def _entity_rows() -> Iterator[Row]:
    """The routes that all kinds of entities have, with the id in the path or a project named."""
    for kind in KINDS.values():
        every = f"/api/{kind.collection}"
        variable = "entity_id" if kind in (TASK, INSIGHT, CUJ) else "path:entity_id"
        rule, path = f"{every}/<{variable}>", f"{every}/{{{kind.name}}}"
        yield Row("POST", every, every, {"project": ""}, named="body")
        yield Row("GET", every, every, named="query")
        for method, members in (("GET", None), ("PUT", {"version": 1}), ("PATCH", {})):
            named = "query" if members is None else "body"
            yield Row(method, rule, path, members)
            yield Row(method, rule, path, members, named=named)
        yield Row("DELETE", rule, path)
        yield Row("DELETE", rule, path, named="query")


def _entity_row(method: str, path: str, kind: str, member: str = "") -> Row:
    rule = path.replace("{}", "<entity_id>")
    members = {member: "probe"} if member else None
    return Row(method, rule, path.replace("{}", f"{{{kind}}}"), members)


_T = "/api/reservations/tickets/<ticket_id>"

ROWS = (
    Row("GET", "/health", "/health", needs_key=False),
    Row("GET", "/ready", "/ready", needs_key=False),
    Row("POST", "/api/agents", "/api/agents", {"name": "Probe"}, named="body"),
    Row("GET", "/api/agents", "/api/agents", named="query"),
    Row("GET", "/api/agents/presence", "/api/agents/presence", named="query"),
    Row("GET", _A, f"/api/agents/{AGENT}"),
    Row("POST", f"{_A}/heartbeat", f"/api/agents/{AGENT}/heartbeat", {"focus_state": "thinking"}),
    Row("PATCH", f"{_A}/metadata", f"/api/agents/{AGENT}/metadata", {"metadata": {"k": "v"}}),
    Row("GET", f"{_A}/policy", f"/api/agents/{AGENT}/policy"),
    Row("POST", f"{_A}/policy", f"/api/agents/{AGENT}/policy", {"policy": "open"}),
    Row("PUT", f"{_A}/policy", f"/api/agents/{AGENT}/policy", {"policy": "open"}),
    Row("GET", f"{_A}/contacts", f"/api/agents/{AGENT}/contacts"),
    Row("POST", f"{_A}/contacts", f"/api/agents/{AGENT}/contacts", {"contact_id": "c"}),
    Row("DELETE", f"{_A}/contacts/<path:contact_id>", f"/api/agents/{AGENT}/contacts/c"),
    Row(
        "POST",
        "/api/reservations",
        "/api/reservations",
        {"agent": "probe", "path": "probe"},
        named="body",
    ),
    Row("GET", "/api/reservations", "/api/reservations", named="query"),
    Row("GET", "/api/reservations", f"/api/reservations?agent={AGENT}", named="query"),
    Row(
        "GET",
        "/api/reservations/check",
        "/api/reservations/check?pattern=**",
        named="query",
    ),
    Row(
        "POST",
        "/api/reservations/check",
        "/api/reservations/check",
        {"patterns": ["**"]},
        named="body",
    ),
    Row(
        "POST",
        "/api/reservations/preflight",
        "/api/reservations/preflight",
        {"steps": [{"id": "s", "agent": "probe", "path": "probe"}]},
        named="body",
    ),
    Row("GET", _R, f"/api/reservations/{RESERVATION}"),
    Row("POST", f"{_R}/renew", f"/api/reservations/{RESERVATION}/renew", {"ttl_minutes": 5}),
    Row("PATCH", _R, f"/api/reservations/{RESERVATION}", {"patterns": ["held"]}),
    Row("GET", "/api/reservations/fence", "/api/reservations/fence?token=1", named="query"),
    Row("GET", "/api/reservations/tickets", "/api/reservations/tickets", named="query"),
    Row(
        "GET",
        "/api/reservations/tickets",
        f"/api/reservations/tickets?agent={AGENT}",
        named="query",
    ),
    Row("GET", _T, f"/api/reservations/tickets/{TICKET}"),
    Row("POST", f"{_T}/confirm", f"/api/reservations/tickets/{TICKET}/confirm"),
    Row("DELETE", _T, f"/api/reservations/tickets/{TICKET}"),
    Row("POST", f"{_R}/handover", f"/api/reservations/{RESERVATION}/handover", {"to": "probe"}),
    Row(
        "POST",
        f"{_R}/force-release",
        f"/api/reservations/{RESERVATION}/force-release",
        {"reason": "probe"},
    ),
    Row(
        "POST",
        f"{_R}/request",
        f"/api/reservations/{RESERVATION}/request",
        {"from": "probe", "patterns": ["held"]},
    ),
    Row(
        "POST",
        f"{_R}/answer",
        f"/api/reservations/{RESERVATION}/answer",
        {"agent": "probe", "request_id": "probe", "answer": "keep"},
    ),
    Row("DELETE", _R, f"/api/reservations/{RESERVATION}"),
    Row(
        "POST",
        "/api/messages",
        "/api/messages",
        {"from": "probe", "to": ["probe"], **_TEXT},
        named="body",
    ),
    Row("POST", "/api/broadcast", "/api/broadcast", {"from": "probe", **_TEXT}, named="body"),
    Row("GET", _M, f"/api/messages/{MESSAGE}"),
    Row("GET", f"{_M}/recipients", f"/api/messages/{MESSAGE}/recipients"),
    Row("POST", f"{_M}/read", f"/api/messages/{MESSAGE}/read", {}),
    Row("POST", f"{_M}/ack", f"/api/messages/{MESSAGE}/ack", {}),
    Row(
        "POST",
        "/api/messages/read",
        "/api/messages/read",
        {"agent": "probe", "message_ids": ["probe"]},
        named="body",
    ),
    Row(
        "POST",
        "/api/messages/ack",
        "/api/messages/ack",
        {"agent": "probe", "message_ids": ["probe"]},
        named="body",
    ),
    Row("GET", _I, f"/api/inbox/{AGENT}", named="query"),
    Row("GET", f"{_I}/counts", f"/api/inbox/{AGENT}/counts", named="query"),
    Row("GET", f"{_I}/stale-acks", f"/api/inbox/{AGENT}/stale-acks?ttl_seconds=0", named="query"),
    Row("GET", "/api/threads", f"/api/threads?agent={AGENT}", named="query"),
    Row("GET", "/api/threads/<path:thread_id>", "/api/threads/probe", named="query"),
    Row("GET", "/api/topics", "/api/topics?topic=probe", named="query"),
    Row(
        "GET",
        "/api/topics/<project>/<path:topic>",
        "/api/topics/{project}/probe",
        named="path",
    ),
    Row("GET", "/api/search", "/api/search?q=probe", named="query"),
    Row(
        "POST",
        "/api/windows",
        "/api/windows",
        {"window_uuid": "probe", "agent_id": "probe", "registration_token": "probe"},
        named="body",
    ),
    Row("GET", "/api/windows", "/api/windows", named="query"),
    Row("DELETE", "/api/windows/<path:window_uuid>", "/api/windows/probe", named="query"),
    Row("GET", "/api/inbox/pokes", f"/api/inbox/pokes?agent={AGENT}", named="query"),
    Row(
        "POST",
        "/api/inbox/pokes/<path:message_id>/ack",
        f"/api/inbox/pokes/probe/ack?agent={AGENT}",
        named="query",
    ),
    Row("DELETE", _A, f"/api/agents/{AGENT}"),
    Row("GET", "/api/project", "/api/project", named="query"),
    Row("PATCH", "/api/project", "/api/project", {"case_sensitive": True}, named="body"),
    Row("GET", "/api/events", "/api/events?since_cursor=0", named="query"),
    Row("GET", "/api/events", f"/api/events?agent={AGENT}", named="query"),
    Row(
        "POST",
        "/api/batch",
        "/api/batch",
        {"commands": [{"method": "events.list"}, {"method": "agents.list"}]},
        named="body",
    ),
    Row("GET", "/ws/events", "/ws/events?since_cursor=0", named="query", is_socket=True),
    Row(
        "GET",
        "/ws/agents/<path:agent_id>",
        f"/ws/agents/{AGENT}?since_cursor=0",
        named="query",
        is_socket=True,
    ),
    *_entity_rows(),
    _entity_row("POST", "/api/tasks/{}/assign", "task", "agent"),
    _entity_row("POST", "/api/insights/{}/link", "insight", "spec_id"),
    _entity_row("POST", "/api/cujs/{}/link", "cuj", "feature_id"),
    _entity_row("POST", "/api/cujs/{}/unlink", "cuj", "feature_id"),
    _entity_row("GET", "/api/cujs/{}/links", "cuj"),
)


def with_project(row: Row, path: str, project: str) -> tuple[str, dict[str, Any] | None]:
    """The request of a row with a project named where it can be named."""
    if row.named == "path":
        return row.at(project=project), row.members
    if row.named == "body":
        return path, {**(row.members or {}), "project": project}
    return f"{path}{'&' if '?' in path else '?'}project={project}", row.members
