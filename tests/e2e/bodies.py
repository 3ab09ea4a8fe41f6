"""Every member of every JSON body: a body that succeeds for each route, and wrong members."""

from intermute.domain.entities.kinds import KINDS, Shape

TEXT, TEXTS, MAP, FLAG, WHOLE = "text", "texts", "map", "flag", "whole"
NUMBER, TIME, STEPS, EITHER, COMMANDS = "number", "time", "steps", "text or texts", "commands"
PLAN = "plan"
LEASE = {"ttl_minutes": WHOLE, "ttl_seconds": WHOLE}
HOLDER = {"agent_id": TEXT, "agent": TEXT, "fencing_token": WHOLE}
MARK = {"agent": TEXT, "agent_id": TEXT}
MARKS = {**MARK, "project": TEXT, "message_ids": TEXTS}
POLICY = {"policy": TEXT, "live_contact_policy": TEXT}
SHAPES = {
    Shape.LINE: TEXT,
    Shape.TEXT: TEXT,
    Shape.TEXTS: EITHER,
    Shape.NUMBER: NUMBER,
    Shape.STEPS: STEPS,
}

# Every member of every body, and of what kind it is.
MEMBERS = {
    ("POST", "/api/agents"): {
        "name": TEXT,
        "session_id": TEXT,
        "project": TEXT,
        "status": TEXT,
        "capabilities": TEXTS,
        "metadata": MAP,
    },
    ("POST", "/api/agents/{agent}/heartbeat"): {"focus_state": TEXT},
    ("PATCH", "/api/agents/{agent}/metadata"): {"metadata": MAP},
    ("POST", "/api/agents/{agent}/policy"): POLICY,
    ("PUT", "/api/agents/{agent}/policy"): POLICY,
    ("POST", "/api/agents/{agent}/contacts"): {"contact_id": TEXT, "contact": TEXT},
    ("POST", "/api/reservations"): {
        "project": TEXT,
        "agent_id": TEXT,
        "agent": TEXT,
        "path_pattern": TEXT,
        "path": TEXT,
        "patterns": TEXTS,
        "glob_patterns": TEXTS,
        "exclusive": FLAG,
        "shared": FLAG,
        "mode": TEXT,
        "reason": TEXT,
        "renew_on_heartbeat": FLAG,
        "wait_seconds": NUMBER,
        "queue": FLAG,
        "queue_seconds": WHOLE,
        **LEASE,
    },
    ("POST", "/api/reservations/check"): {
        **dict.fromkeys(("project", "path", "path_pattern", "mode"), TEXT),
        "patterns": TEXTS,
        **HOLDER,
    },
    ("POST", "/api/reservations/preflight"): {"project": TEXT, "steps": PLAN},
    ("POST", "/api/reservations/{reservation}/renew"): {**HOLDER, **LEASE},
    ("PATCH", "/api/reservations/{reservation}"): {
        "patterns": TEXTS,
        "path_pattern": TEXT,
        **HOLDER,
    },
    ("POST", "/api/reservations/{reservation}/handover"): {"to": TEXT, **HOLDER},
    ("POST", "/api/reservations/{reservation}/request"): {
        **dict.fromkeys(("from", "agent_id", "agent", "note"), TEXT),
        "patterns": TEXTS,
    },
    ("POST", "/api/reservations/{reservation}/answer"): {
        **dict.fromkeys(("request_id", "answer", "note"), TEXT),
        "patterns": TEXTS,
        **HOLDER,
    },
    ("POST", "/api/reservations/{reservation}/force-release"): {"reason": TEXT},
    ("POST", "/api/messages"): {
        **dict.fromkeys(("project", "from", "id", "thread_id", "subject", "topic", "body"), TEXT),
        **dict.fromkeys(("importance", "transport", "target_window_uuid"), TEXT),
        **dict.fromkeys(("to", "cc", "bcc"), TEXTS),
        "ack_required": FLAG,
    },
    ("POST", "/api/broadcast"): {
        **dict.fromkeys(("project", "from", "topic", "subject", "body"), TEXT),
        "include_stale": FLAG,
    },
    ("POST", "/api/messages/{message}/read"): MARK,
    ("POST", "/api/messages/{message}/ack"): MARK,
    ("POST", "/api/messages/read"): MARKS,
    ("POST", "/api/messages/ack"): MARKS,
    ("POST", "/api/windows"): {
        "project": TEXT,
        "window_uuid": TEXT,
        "agent_id": TEXT,
        "display_name": TEXT,
        "tmux_target": TEXT,
        "registration_token": TEXT,
    },
    ("PATCH", "/api/project"): {"project": TEXT, "case_sensitive": FLAG, "live_transport": FLAG},
    ("POST", "/api/batch"): {"project": TEXT, "commands": COMMANDS},
    ("POST", "/api/tasks/{task}/assign"): {**MARK, "reassign": FLAG, "version": WHOLE},
    ("POST", "/api/insights/{insight}/link"): {"spec_id": TEXT},
    ("POST", "/api/cujs/{cuj}/link"): {"feature_id": TEXT},
    ("POST", "/api/cujs/{cuj}/unlink"): {"feature_id": TEXT},
}
# A body that succeeds; `{name}` stands for an id.
RIGHT: dict[tuple[str, str], dict[str, object]] = {
    ("POST", "/api/agents"): {},
    ("POST", "/api/agents/{agent}/heartbeat"): {},
    ("PATCH", "/api/agents/{agent}/metadata"): {"metadata": {"k": "v"}},
    ("POST", "/api/agents/{agent}/policy"): {"policy": "open"},
    ("PUT", "/api/agents/{agent}/policy"): {"policy": "open"},
    ("POST", "/api/agents/{agent}/contacts"): {"contact_id": "c"},
    ("POST", "/api/reservations"): {"agent": "ada", "path": "a"},
    ("POST", "/api/reservations/{reservation}/renew"): {"agent": "ada"},
    ("POST", "/api/reservations/check"): {"patterns": ["a"]},
    ("POST", "/api/reservations/preflight"): {
        "steps": [{"id": "s", "agent": "probe", "path": "a"}]
    },
    ("PATCH", "/api/reservations/{reservation}"): {"agent": "ada", "patterns": ["held"]},
    ("POST", "/api/reservations/{reservation}/handover"): {"agent": "ada", "to": "bob"},
    ("POST", "/api/reservations/{reservation}/request"): {"from": "bob", "patterns": ["a"]},
    ("POST", "/api/reservations/{reservation}/answer"): {
        "agent": "ada",
        "request_id": "{asked}",
        "answer": "keep",
    },
    ("POST", "/api/reservations/{reservation}/force-release"): {"reason": "stuck"},
    ("POST", "/api/messages"): {"from": "ada", "to": ["bob"]},
    ("POST", "/api/broadcast"): {"from": "ada", "topic": "t", "body": "b"},
    ("POST", "/api/messages/{message}/read"): {"agent": "bob"},
    ("POST", "/api/messages/{message}/ack"): {"agent": "bob"},
    ("POST", "/api/messages/read"): {"agent": "bob", "message_ids": ["x"]},
    ("POST", "/api/messages/ack"): {"agent": "bob", "message_ids": ["x"]},
    ("POST", "/api/windows"): {
        "project": "default",
        "window_uuid": "w",
        "agent_id": "{agent}",
        "registration_token": "{token}",
    },
    ("PATCH", "/api/project"): {"case_sensitive": True},
    ("POST", "/api/batch"): {"commands": [{"method": "agents.list"}]},
    ("POST", "/api/tasks/{task}/assign"): {"agent": "ada"},
    ("POST", "/api/insights/{insight}/link"): {"spec_id": "{spec}"},
    ("POST", "/api/cujs/{cuj}/link"): {"feature_id": "f"},
    ("POST", "/api/cujs/{cuj}/unlink"): {"feature_id": "f"},
}
for _kind in KINDS.values():
    _every = f"/api/{_kind.collection}"
    _one = f"{_every}/{{{_kind.name}}}"
    for _route in (("POST", _every), ("PUT", _one), ("PATCH", _one)):
        MEMBERS[_route] = {
            **{"project": TEXT, "id": TEXT, "version": WHOLE},
            **{_kind.created: TIME, "updated_at": TIME},
            **{field.name: SHAPES[field.shape] for field in _kind.fields},
        }
        RIGHT[_route] = {}
WRONG = {
    TEXT: (1, 1.5, True, [], {}, ["x"]),
    TEXTS: ("x", 1, True, {}, [1], [1, None], [["x"]]),
    EITHER: (1, True, {}, [1], [1, None], [["x"]]),
    MAP: ("x", 1, [], ["x"], {"k": 1}, {"k": []}, {"k": {}}),
    FLAG: ("true", 1, 0, [], {}, "", 1.0),
    WHOLE: ("1", "", 1.5, 1.0, True, [], {}),
    NUMBER: ("1", "", True, [], {}),
    TIME: ("", "x", 1, 1.5, True, [], {}, "2026-01-01", "2026-01-01T00:00:00", "12:00:00Z"),
    PLAN: ("x", 1, True, {}, [1], [None], [{"id": 1}], [{"id": "s", "after": "x"}]),
    STEPS: ("x", 1, True, {}, ["x"], [None], [[]], [{"order": "1"}], [{"alternatives": [1]}]),
    COMMANDS: (
        *("x", 1, True, [], {}, ["agents.list"], [None], [{}], [{"method": 1}], [{"method": ""}]),
        *([{"method": "agents.list", "params": params}] for params in ([], "x", 1, True)),
        [{"method": "agents.list", "id": []}],
        [{"method": "agents.list", "idempotency_key": 1}],
    ),
}
# Texts that may be as long as a request.
LONG = {("POST", "/api/messages", "body"), ("POST", "/api/broadcast", "body")}


def fine(method: str, path: str) -> tuple[int, ...]:
    """The statuses of a right body."""
    # Nobody waits for what is handed over, and what was released cannot be released again.
    if path.endswith("/handover"):
        return (409,)
    return 200, 201


def right(method: str, path: str, ids: dict[str, str]) -> dict[str, object]:
    """A body that succeeds, with ids where their names stand."""
    members = RIGHT[method, path]
    return {
        name: member.format(**ids) if isinstance(member, str) else member
        for name, member in members.items()
    }
