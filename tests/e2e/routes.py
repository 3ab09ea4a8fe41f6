"""Every route of the app, with a request for each that would succeed.

A test walks the app's own map, so a route that is added without a row here fails it.
"""

import re
from typing import Any

import attrs

AGENT = "{agent}"
RESERVATION = "{reservation}"


@attrs.frozen
class Row:
    """One request.

    Attributes:
        rule: The route as the app's map spells it.
        path: What to ask for; `{agent}`, `{reservation}` and so on stand for ids.
        members: The JSON body, or None for no body.
        needs_key: Whether strangers need a key.
        named: Where a project can be named: `query`, `body`, or None where an id says it.
    """

    method: str
    rule: str
    path: str
    members: dict[str, Any] | None = None
    needs_key: bool = True
    named: str | None = None

    @property
    def has_id(self) -> bool:
        return "{" in self.path

    def at(self, **ids: str) -> str:
        """The path with ids in the places of their names."""
        return re.sub(r"\{(\w+)\}", lambda place: ids[place[1]], self.path)

    def with_id(self, identifier: str) -> str:
        """The path with one and the same id in every place."""
        return re.sub(r"\{\w+\}", lambda _: identifier, self.path)


_A = "/api/agents/<agent_id>"
_R = "/api/reservations/<reservation_id>"

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
    Row("GET", _R, f"/api/reservations/{RESERVATION}"),
    Row("POST", f"{_R}/renew", f"/api/reservations/{RESERVATION}/renew", {"ttl_minutes": 5}),
    Row("DELETE", _R, f"/api/reservations/{RESERVATION}"),
    Row("DELETE", _A, f"/api/agents/{AGENT}"),
    Row("GET", "/api/project", "/api/project", named="query"),
    Row("PATCH", "/api/project", "/api/project", {"case_sensitive": True}, named="body"),
)


def with_project(row: Row, path: str, project: str) -> tuple[str, dict[str, Any] | None]:
    """The request of a row with a project named where it can be named."""
    if row.named == "body":
        return path, {**(row.members or {}), "project": project}
    return f"{path}{'&' if '?' in path else '?'}project={project}", row.members
