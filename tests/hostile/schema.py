"""The HTTP surface as an OpenAPI description, made from what the tests know of every route.

The product has no such description. This one says what is sent and which answers are documented,
not what an answer means: an error is told by its code, and the codes are those of the table in
docs/protocol.md.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

from intermute.domain.entities.kinds import KINDS

from ..e2e.bodies import (
    COMMANDS,
    EITHER,
    FLAG,
    MAP,
    MEMBERS,
    NUMBER,
    PLAN,
    STEPS,
    TEXT,
    TEXTS,
    TIME,
    WHOLE,
)
from ..e2e.routes import ROWS, Row

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"
JSON, PROBLEM = "application/json", "application/problem+json"
TEXT_SCHEMA = {"type": "string"}
# What is answered with a list; everything else is answered with an object.
LISTS = {*(f"/api/{kind.collection}" for kind in KINDS.values()), "/api/cujs/<entity_id>/links"}
_CODE_ROW = re.compile(r"^\| `([a-z_]+)` \| (\d{3}) \|", re.MULTILINE)
_PLACE = re.compile(r"<(?:path:)?(\w+)>")

_PATTERN = {
    "anyOf": [
        TEXT_SCHEMA,
        {"enum": ["src/**", "src/*.py", "{a,b}/c", "[a-z]?", "a//b", "../x", "{", "**/**"]},
    ]
}
SHAPES: dict[str, dict[str, Any]] = {
    TEXT: TEXT_SCHEMA,
    TEXTS: {"type": "array", "items": _PATTERN, "maxItems": 5},
    EITHER: {"anyOf": [TEXT_SCHEMA, {"type": "array", "items": TEXT_SCHEMA, "maxItems": 5}]},
    MAP: {"type": "object", "additionalProperties": TEXT_SCHEMA},
    FLAG: {"type": "boolean"},
    WHOLE: {"type": "integer"},
    NUMBER: {"type": "number"},
    TIME: {"type": "string", "format": "date-time"},
    STEPS: {
        "type": "array",
        "maxItems": 3,
        "items": {
            "type": "object",
            "properties": {
                "order": {"type": "integer"},
                "action": TEXT_SCHEMA,
                "expected": TEXT_SCHEMA,
                "alternatives": {"type": "array", "items": TEXT_SCHEMA},
            },
        },
    },
    PLAN: {
        "type": "array",
        "maxItems": 4,
        "items": {
            "type": "object",
            "required": ["id", "agent"],
            "properties": {
                "id": {"enum": ["a", "b", "c"]},
                "agent": TEXT_SCHEMA,
                "path": _PATTERN,
                "after": {"type": "array", "items": {"enum": ["a", "b", "c"]}},
            },
        },
    },
    COMMANDS: {
        "type": "array",
        "maxItems": 3,
        "items": {
            "type": "object",
            "required": ["method"],
            "properties": {
                "method": {"enum": ["agents.list", "reservations.list", "rpc.discover", "x"]},
                "params": {"type": "object"},
            },
        },
    },
}
# Every word that a route reads from its query.
NUMBERS = {"limit", "cursor", "since_cursor", "offset", "ttl_seconds"}
QUERIES = {
    "/api/agents": {"project", "capability", "limit", "offset"},
    "/api/agents/presence": {"project", "active_bead_id", "repo", "limit", "offset"},
    "/api/reservations": {"project", "agent", "active", "limit", "cursor"},
    "/api/reservations/check": {
        *("project", "pattern", "agent", "agent_id", "mode", "exclusive", "fencing_token"),
    },
    "/api/reservations/fence": {"project", "token"},
    "/api/reservations/tickets": {"project", "agent", "limit", "cursor"},
    "/api/inbox/<inbox:agent_id>": {"project", "since_cursor", "limit", "unread_only"},
    "/api/inbox/<inbox:agent_id>/counts": {"project"},
    "/api/inbox/<inbox:agent_id>/stale-acks": {"project", "ttl_seconds", "limit"},
    "/api/inbox/pokes": {"project", "agent", "since_cursor", "limit"},
    "/api/inbox/pokes/<path:message_id>/ack": {"project", "agent"},
    "/api/threads": {"project", "agent", "cursor", "limit"},
    "/api/threads/<path:thread_id>": {"project", "cursor", "limit"},
    "/api/topics": {"project", "topic", "since_cursor", "limit"},
    "/api/topics/<project>/<path:topic>": {"since_cursor", "limit"},
    "/api/search": {"project", "q", "cursor", "limit"},
    "/api/windows": {"project", "limit", "cursor"},
    "/api/windows/<path:window_uuid>": {"project"},
    "/api/messages/read": {"project"},
    "/api/messages/ack": {"project"},
    "/api/project": {"project"},
    "/api/events": {"project", "agent", "since_cursor", "limit", "types"},
    "/ws/events": {"project", "since_cursor", "types"},
    "/ws/agents/<path:agent_id>": {"project", "since_cursor", "types"},
}
for _kind in KINDS.values():
    QUERIES[f"/api/{_kind.collection}"] = {
        *("project", "limit", "offset"),
        *_kind.filters,
        *_kind.filters.values(),
    }
HEADERS = ("X-Agent-ID", "Idempotency-Key", "Intermute-Fencing-Token")
# A wrong one is refused before anything else is looked at, so that only some routes are given it.
TOKEN = "X-Agent-Token"
_HEADER = {"type": "string", "pattern": r"^[!-~]{0,40}$"}


@cache
def documented_codes() -> dict[str, int]:
    """The codes of errors that the protocol's description lists, each with its status."""
    found = {code: int(status) for code, status in _CODE_ROW.findall(PROTOCOL.read_text("utf-8"))}
    assert len(found) > 40, "the table of codes in docs/protocol.md is not where it was"
    return found


def openapi_path(rule: str) -> str:
    """A rule of the app's map as OpenAPI writes it."""
    return _PLACE.sub(r"{\1}", rule)


def describe(ids: dict[str, str]) -> dict[str, Any]:
    """The description; `ids` are known to the server and drawn among others for places in paths."""
    paths: dict[str, Any] = {}
    for row in ROWS:
        operation = paths.setdefault(openapi_path(row.rule), {})
        if row.method.lower() not in operation:
            operation[row.method.lower()] = _operation(row, ids)
    problem = {
        "type": "object",
        "required": ["type", "title", "status", "detail", "error", "code"],
        "properties": {
            **dict.fromkeys(("type", "title", "detail", "error", "code"), TEXT_SCHEMA),
            "status": {"type": "integer"},
        },
    }
    return {
        "openapi": "3.0.3",
        "info": {"title": "intermute", "version": "1"},
        "paths": paths,
        "components": {"schemas": {"Problem": problem}},
    }


def _operation(row: Row, ids: dict[str, str]) -> dict[str, Any]:
    known = {"enum": sorted(set(ids.values()))}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"anyOf": [known, TEXT_SCHEMA]}}
        for name in _PLACE.findall(row.rule)
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": _query(name, known)}
        for name in sorted(queries_of(row))
    ]
    parameters += [
        {"name": name, "in": "header", "required": False, "schema": {"anyOf": [known, _HEADER]}}
        for name in (*HEADERS, *((TOKEN,) if "/agents" in row.rule else ()))
    ]
    operation: dict[str, Any] = {"parameters": parameters, "responses": _responses(row)}
    if row.members is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": _body(row)}}}
    return operation


def queries_of(row: Row) -> set[str]:
    """The words of a route's query."""
    words = set(QUERIES.get(row.rule, ()))
    if "entity_id>" in row.rule:
        words.add("project")
    if "<message_id>" in row.rule:
        words.add("project")
    if row.rule.endswith(("/read", "/ack")) and "<" in row.rule:
        words.add("agent")
    return words


def _query(name: str, known: dict[str, Any]) -> dict[str, Any]:
    if name in NUMBERS:
        return {"anyOf": [{"type": "integer"}, TEXT_SCHEMA]}
    if name == "pattern":
        return {"type": "array", "items": _PATTERN, "maxItems": 4}
    return {"anyOf": [known, TEXT_SCHEMA]}


def _body(row: Row) -> dict[str, Any]:
    members = MEMBERS.get((row.method, row.path))
    if members is None:
        return {"type": "object", "properties": dict.fromkeys(row.members or {}, TEXT_SCHEMA)}
    return {"type": "object", "properties": {name: SHAPES[kind] for name, kind in members.items()}}


def _responses(row: Row) -> dict[str, Any]:
    shape = {"type": "array" if row.method == "GET" and row.rule in LISTS else "object"}
    fine = {"description": "done", "content": {JSON: {"schema": shape}}}
    empty = {"description": "done, and nothing to say"}
    responses: dict[str, Any] = {"200": fine, "201": fine, "202": fine, "204": empty}
    if row.is_socket:
        responses = {}
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    statuses = {400, 403, 404, 405, 409, 410, 414, 415, 422, 426, 429, 503}
    assert statuses <= set(documented_codes().values())
    for status in sorted(statuses):
        responses[str(status)] = {"description": "refused", "content": {PROBLEM: problem}}
    return responses
