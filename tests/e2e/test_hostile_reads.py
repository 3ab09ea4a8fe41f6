"""Reads asked for in strange ways, and every operation asked for over a socket with anything."""

import random
from urllib.parse import quote

import pytest

from intermute.domain.entities.kinds import KINDS

from .answers import raw, refused
from .conftest import Server
from .listening import listening
from .mail import get, send
from .test_entities import make

QUERIES = (
    *(
        '"',
        '""',
        '"""',
        "*",
        "**",
        "hello*",
        "*hello",
        '"hello',
        'hello"',
        "NEAR(hello x)",
        "NEAR(",
    ),
    *("hello AND", "AND", "OR", "NOT", "NOT hello", "-hello", "^hello", "subject:hello", "a + b"),
    *("{subject}:hello", "(hello", "hello)", "'", "\\", "%", "_", "hello\x01x", "x" * 501, '" "'),
    *('"hello" *', '"a b"*', "!", "the-end", "foo^2", "col:umn", "\ufffd", "\U0001f600", "\u0301"),
    *('"\u0301"', "\u00bd", 'a"b"c*', "rowid:1", "); DROP TABLE messages;--", " ".join("x" * 33)),
)


async def test_no_search_is_read_as_an_expression(server: Server):
    """Whatever is typed is words: it is answered, or refused, and never an operator."""
    text = "hello AND OR NOT near the-end foo^2 col:umn"
    await send(server, "ada", "bob", body=text, subject="subject")
    await send(server, "ada", "bob", body="nothing", subject="hello")
    for query in QUERIES:
        response = await server.client.get("/api/search", params={"q": query})
        if response.status_code != 200:
            refused(response, 400, "invalid_request")
    for query, count in (
        *(("hello", 2), ("NOT hello", 1), ("hello AND near", 1), ("hello OR nothing", 0)),
        *(("subject:hello", 0), ("^hello", 2), ("-hello", 2), ("the-end", 1), ("col:umn", 1)),
        *(("hell*", 2), ("hell", 0), ('"foo 2"', 1), ("NEAR(", 1), ("hello nothing", 1)),
    ):
        found = (await get(server, "/api/search", q=query))["messages"]
        assert len(found) == count, query


PAGED = (
    *("/api/inbox/bob", "/api/inbox/bob/stale-acks", "/api/threads?agent=bob", "/api/threads/t"),
    *("/api/topics/default/x", "/api/search?q=hello", "/api/specs", "/api/agents"),
    *("/api/inbox/pokes?agent=bob&project=default", "/api/windows?project=default"),
    *("/api/reservations", "/api/events"),
)
NUMBERS = (
    *("9223372036854775807", "9223372036854775808", "18446744073709551616", "9" * 39, "9" * 500),
    *("-1", "-9223372036854775808", "0", "+5", "1e3", "\u0663", "NaN", "", " 1", "0x1", "1_000"),
)


async def test_b13_no_number_in_a_query_is_a_server_error(server: Server):
    await send(server, "ada", "bob", thread_id="t", topic="x")
    for path in PAGED:
        glue = "&" if "?" in path else "?"
        for name in ("cursor", "since_cursor", "limit", "offset", "ttl_seconds"):
            for number in NUMBERS:
                asked = f"{path}{glue}{name}={quote(number)}"
                response = await server.client.get(asked)
                if response.status_code == 200:
                    continue
                # Only a feed says what is wrong with a cursor, because a gap would be silent.
                assert (path, name) == ("/api/events", "since_cursor"), asked
                assert response.status_code in (400, 410), asked


ODD_IDS = (
    *("a/b", "a//b", "../x", "/", "//", "/a", "a/", "a%2Fb", "%00", "%", "%zz", "a+b", "a?b"),
    *("a#b", "a b", "...", "x.", "\u00e9", "e\u0301", "\u202e", "a\u2028b", "\U0001f600", "'", '"'),
    *("\\", "counts", "stale-acks", "read", "ack", "recipients", "check", "links", "x" * 198),
)


async def test_b61_every_id_is_found_again_under_its_own_name(server: Server):
    for number, odd in enumerate(ODD_IDS):
        members = {"id": f"m{odd}", "thread_id": odd, "topic": odd, "ack_required": True}
        sent = await send(server, "ada", odd, **members)
        at = quote(odd, safe="")
        for path in (
            *(f"/api/inbox/{at}", f"/api/inbox/{at}/stale-acks?ttl_seconds=0"),
            *(f"/api/threads/{at}", f"/api/topics/default/{at}", f"/api/topics?topic={at}"),
        ):
            (message,) = (await raw(server.port, "GET", path)).json()["messages"]
            assert message["id"] == f"m{odd}", path
        for rest in ("", "/recipients"):
            path = f"/api/messages/m{at}{rest}"
            assert (await raw(server.port, "GET", path)).status_code == 200, path
        kind = tuple(KINDS)[number % len(KINDS)]
        made = await make(server, kind, id=odd)
        found = await raw(server.port, "GET", f"/api/{KINDS[kind].collection}/{at}")
        assert found.json() == made
        assert sent["message_id"] == f"m{odd}"


NAMES = (
    *("agent_id", "agent", "message_id", "message_ids", "entity_id", "thread_id", "topic", "q"),
    *("limit", "cursor", "since_cursor", "from", "to", "cc", "bcc", "body", "subject", "id"),
    *("version", "title", "status", "score", "steps", "created_at", "updated_at", "started_at"),
    *("metadata", "capabilities", "session_id", "pattern", "patterns", "path", "window_uuid"),
    *("registration_token", "tmux_target", "transport", "feature_id", "spec_id", "reassign"),
    *("types", "ttl_seconds", "ttl_minutes", "reservation_id", "contact_id", "policy", "priority"),
    *("case_sensitive", "live_transport", "exclusive", "acceptance_criteria", "ack_required"),
)
VALUES = (
    *(None, True, False, 0, 1, -1, 2**62, -(2**63), 1.5, -0.0, 1e308, "", "a", "t1", "..", "a/b"),
    *("x" * 300, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999-23:59", "running", "done"),
    *("0001-01-01T00:00:00+23:59", "1970-01-01T00:00:00Z", "open", "live", "both", "high", "**"),
    *([], ["a"], ["a", "a"], [None], [1], [[]], {}, {"a": "b"}, {"k": None}),
    [{"order": 2**62, "action": "a", "alternatives": ["x"]}],
)


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_that_is_asked_over_a_socket_is_a_server_error(server: Server, seed: int):
    """Anything for everything, now and then under a key that another request has used."""
    draw = random.Random(seed)
    went_well = 0
    async with listening(server, types="none.*") as listener:
        methods = (await listener.ask("rpc.discover"))["result"]["methods"]
        for _ in range(700):
            method = draw.choice([name for name in methods if not name.startswith("feed.")])
            params = {
                name: draw.choice(VALUES) for name in draw.sample(NAMES, draw.randrange(2, 14))
            }
            params |= {"entity_id": "a", "agent_id": "a"} if draw.random() < 0.5 else {}
            params |= {"idempotency_key": draw.choice("xyz")} if draw.random() < 0.3 else {}
            answer = await listener.ask(method, project="default", **params)
            if "result" in answer:
                went_well += 1
                continue
            assert answer["error"]["data"]["status"] < 500, (method, params, answer)
    assert went_well > 50
    ready = (await server.client.get("/ready")).json()
    assert all(project["storage_faults"] == 0 for project in ready["projects"])
