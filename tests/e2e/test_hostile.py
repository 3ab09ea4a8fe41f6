"""Input that nobody sends by accident: always a clean refusal, never a server error."""

import json
import random
from types import SimpleNamespace

import httpx
import msgspec
import msgspec.inspect
import pytest

from intermute.domain import limits
from intermute.domain.entities.kinds import KINDS
from intermute.domain.stamp import make_id
from intermute.project.directory import project_tag
from intermute.wire import bodies

from .answers import raw, refused
from .bodies import (
    COMMANDS,
    EITHER,
    LONG,
    MAP,
    MEMBERS,
    RIGHT,
    STEPS,
    TEXT,
    TEXTS,
    TIME,
    WRONG,
    fine,
    right,
)
from .conftest import Server
from .mail import send
from .routes import ROWS
from .test_entities import make
from .test_reservations import listed

JSON = {"Content-Type": "application/json"}


async def right_now(
    server: Server, method: str, path: str, ids: dict[str, str]
) -> dict[str, object]:
    """The same, with the version that is there, where a replacement must name it."""
    members = right(method, path, ids)
    if method == "PUT" and "version" in MEMBERS[method, path]:
        members["version"] = (await server.client.get(path.format(**ids))).json()["version"]
    return members


@pytest.fixture
async def ids(server: Server) -> dict[str, str]:
    ada, _ = await server.register("Ada"), await server.register("Bea")
    held = await server.reserve("ada", "held")
    sent = await send(server, "ada", "bob")
    entities = {kind: (await make(server, kind))["id"] for kind in KINDS}
    path = f"/api/reservations/{held['id']}/request"
    asked = await server.client.post(path, json={"from": "bob", "patterns": ["a"]})
    return {
        "asked": asked.json()["request_id"],
        "agent": ada["agent_id"],
        "token": ada["token"],
        "reservation": held["id"],
        "message": sent["message_id"],
        "project": "default",
        **entities,
    }


def test_every_body_is_in_the_table():
    paths = {(row.method, row.path) for row in ROWS if row.members is not None}
    assert set(MEMBERS) == set(RIGHT) == paths


async def test_every_member_of_every_body_is_in_the_table(
    server: Server, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    """The shapes that bodies are read as are looked at on the way."""
    shapes: list[set[str]] = []

    def convert(members: object, shape: type) -> object:
        shapes.append({field.name for field in msgspec.inspect.type_info(shape).fields})
        return msgspec.convert(members, shape)

    monkeypatch.setattr(bodies, "msgspec", SimpleNamespace(**vars(msgspec) | {"convert": convert}))
    for (method, path), members in MEMBERS.items():
        shapes.clear()
        body = await right_now(server, method, path, ids)
        shapes.clear()
        await server.client.request(method, path.format(**ids), json=body)
        known = {"sender" if name == "from" else name for name in members}
        assert shapes[0] == known, (method, path)


async def test_members_of_a_wrong_type_are_400_and_named(server: Server, ids: dict[str, str]):
    for (method, path), members in MEMBERS.items():
        whole = await right_now(server, method, path, ids)
        for name, kind in members.items():
            for value in WRONG[kind]:
                body = {**whole, name: value}
                response = await server.client.request(method, path.format(**ids), json=body)
                assert response.status_code == 400, (method, path, name, value, response.text)
                assert name in refused(response, 400, "invalid_request")["detail"]


async def test_members_in_another_case_are_the_same_members(server: Server, ids: dict[str, str]):
    for (method, path), members in MEMBERS.items():
        whole = await right_now(server, method, path, ids)
        for spell in (str.upper, str.title):
            for name, kind in members.items():
                body = {spell(own): value for own, value in whole.items()}
                body[spell(name)] = WRONG[kind][0]
                response = await server.client.request(method, path.format(**ids), json=body)
                assert response.status_code == 400, (method, path, name, response.text)
                refused(response, 400, "invalid_request")
    response = await server.client.post("/api/agents", json={"Project": "p", "NAME": "Ada"})
    assert (response.json()["project"], response.json()["name"]) == ("p", "Ada")
    response = await server.client.post("/api/messages", json={"From": "x", "TO": ["y"], "ID": "m"})
    assert response.json()["message_id"] == "m"


STRANGE = {"nobody_knows": {"a": [1, None]}, "": 0, "\u0130": 1, "__class__": "x"}


async def test_unknown_members_are_ignored(server: Server, ids: dict[str, str]):
    for method, path in RIGHT:
        body = {**await right_now(server, method, path, ids), **STRANGE}
        response = await server.client.request(method, path.format(**ids), json=body)
        assert response.status_code in fine(method, path), (method, path, response.text)


async def test_null_members_are_members_that_are_not_there(server: Server, ids: dict[str, str]):
    for (method, path), members in MEMBERS.items():
        body = dict.fromkeys(members, None) | await right_now(server, method, path, ids)
        response = await server.client.request(method, path.format(**ids), json=body)
        assert response.status_code in fine(method, path), (method, path, response.text)


HOSTILE_JSON = {
    "NaN": b'{"x":NaN}',
    "infinity": b'{"ttl_minutes":Infinity}',
    "a float without end": b'{"x":1e999999}',
    "60,000 digits": b'{"x":' + b"9" * 60_000 + b"}",
    "60,000 digits for a name": b'{"ttl_minutes":' + b"1" * 60_000 + b"}",
    "60,000 digits after the point": b'{"x":0.' + b"1" * 60_000 + b"}",
    "more than 64 bits": b'{"x":18446744073709551616}',
    "deep arrays": b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep arrays without an end": b"[" * 500_000,
    "deep objects": b'{"x":' * 10_000 + b"1" + b"}" * 10_000,
    "a million elements": b'{"x":[' + b"1," * 400_000 + b"1]}",
    "many exponents": b'{"x":[' + b"1e300," * 100_000 + b"1]}",
    "NUL": b'{"name":"a\\u0000b"}',
    "a bare NUL": b'{"name":"a\x00b"}',
    "a lone surrogate": b'{"name":"\\ud800"}',
    "a lone low surrogate": b'{"name":"\\udc00x"}',
    "invalid UTF-8": b'{"name":"\xff\xfe"}',
    "surrogates in UTF-8": b'{"name":"\xed\xa0\x80"}',
    "overlong UTF-8": b'{"name":"\xc0\xaf"}',
    "a byte order mark": b'\xef\xbb\xbf{"name":"a"}',
    "UTF-16": '{"name":"a"}'.encode("utf-16"),
    "a name twice": b'{"name":"a","name":"b"}',
    "a name twice, escaped": b'{"name":"a","na\\u006de":"b"}',
    "single quotes": b"{'name':'a'}",
    "a comment": b'{"name":"a"/**/}',
    "a comma at the end": b'{"name":"a",}',
    "an octal number": b'{"x":010}',
    "two values": b'{"name":"a"}{"name":"b"}',
    "nothing but blanks": b"  \n ",
}


async def test_hostile_json_is_400(server: Server):
    for what, content in HOSTILE_JSON.items():
        for path in ("/api/agents", "/api/reservations"):
            response = await server.client.post(path, content=content, headers=JSON)
            assert response.status_code == 400, (what, path, response.text)
            refused(response, 400, "invalid_request")
    assert (await server.client.get("/api/agents")).json()["agents"] == []


# The body of a message may be almost as long as a request. No other text may be longer than HUGE.
HUGE_BODY = "x" * 900_000
HUGE = "x" * (limits.ENTITY_TEXT_LEN_MAX + 1)
HUGE_OF = {
    **{TEXT: HUGE, TEXTS: [HUGE], MAP: {"k": HUGE}, EITHER: HUGE, TIME: HUGE},
    **{STEPS: [{"action": HUGE}], COMMANDS: [{"method": HUGE}]},
}


async def test_huge_texts_are_400_or_kept_whole(server: Server, ids: dict[str, str]):
    for (method, path), members in MEMBERS.items():
        whole = await right_now(server, method, path, ids)
        for name, kind in members.items():
            value = HUGE_BODY if (method, path, name) in LONG else HUGE_OF.get(kind)
            if value is None:
                continue
            body = {**whole, name: value}
            response = await server.client.request(method, path.format(**ids), json=body)
            assert len(response.content) < 5_000, (method, path, name)
            if (method, path, name) in LONG:
                kept = await server.client.get(f"/api/messages/{response.json()['message_id']}")
                assert kept.json()["body"] == HUGE_BODY
            else:
                assert response.status_code == 400, (method, path, name)


async def test_texts_come_back_as_they_were_sent(server: Server):
    for text in ("<script>&\u2028\u2029", "\U0001f600 e\u0301 \u202e", "'; DROP TABLE agents; --"):
        registered = await server.register(text, metadata={text: text}, capabilities=[text])
        assert registered["name"] == text.strip()
        agent = await server.agent(registered["agent_id"])
        assert agent["metadata"] == {text: text}
        assert agent["capabilities"] == [text]
        held = await server.reserve(
            registered["agent_id"], f"a/{registered['agent_id']}", reason=text
        )
        assert held["reason"] == text


async def test_query_numbers_that_are_none_are_the_default(server: Server):
    for number in range(3):
        await server.reserve("ada", str(number))
    whole = await listed(server)
    for text in ("", "x", "-1", "0", "1.5", "1_0", " 1", "0x10", "\u0661", "9" * 20, "9" * 500):
        for name in ("limit", "cursor"):
            assert await listed(server, **{name: text}) == whole, (name, text)
    assert await listed(server, cursor=str(2**63 - 1)) == whole
    assert await listed(server, cursor=str(2**64)) == whole
    assert await listed(server, limit="+2") == whole[:2]
    response = await server.client.get("/api/reservations?limit=1&limit=2")
    assert len(response.json()["reservations"]) == 1, "the first of several counts"


HOSTILE_PATTERNS = (
    *("../etc/passwd", "a/../../b", "..", "/..", "a\x01b", "a\nb", "{a", "a}", "[", "[a", "[z-a]"),
    *("[]", "[]]x[", "\\", "{" * 20 + "}" * 20, "{a,b}" * 40, "*" * 200, "?" * 200, "a" * 1025),
    *("{" + ",".join("abcdefgh" * 30) + "}", "[" + "a-z" * 300, "*/" * 200 + "*", "{,}"),
    *("{*,a}*" * 10, "{a/,}b" * 10, "\u0301*\u0301", "{{{{{{{{{a}}}}}}}}}"),
)


async def test_hostile_patterns_are_400_with_a_reason(server: Server):
    for pattern in HOSTILE_PATTERNS:
        response = await server.client.get("/api/reservations/check", params={"pattern": pattern})
        if response.status_code == 200:
            # What is a pattern after all must be decided, and decided alike.
            await server.reserve("ada", pattern, expected=201)
            continue
        members = refused(response, 400, "invalid_pattern")
        assert members["reason"]
        position = members["position"]
        assert position is None or 0 <= position <= len(pattern)
        assert len(response.content) < 5_000
        reserve = await server.client.post(
            "/api/reservations", json={"agent": "ada", "path": pattern}
        )
        assert refused(reserve, 400, "invalid_pattern")["reason"] == members["reason"]


async def test_dots_and_slashes_in_ids_lead_nowhere(server: Server, ids: dict[str, str]):
    hostile = (
        *("..%2f..%2fetc%2fpasswd", "%2e%2e", "%2E%2E%2F", "..", ".", "a%2fb", "%2f", "%5c..%5c"),
        *("agt_%2e%2e%2f_x", "agt_" + "a" * 12 + "_", "agt_" + "A" * 12 + "_1", "x" * 2000),
        *("agt_../../../_1", "%25%32%66", "a%20b", "a+b", "%F0%9F%98%80", ids["agent"] + "%2f.."),
        make_id("agt", project_tag("default"), "..%2f..%2fetc"),
    )
    for identifier in hostile:
        for path in (f"/api/agents/{identifier}", f"/api/reservations/{identifier}"):
            for method in ("GET", "DELETE"):
                answer = await raw(server.port, method, path)
                assert 300 <= answer.status_code < 500, (method, path, answer)
                assert b"root:" not in answer.body
    assert list(server.settings.data.glob("*.sqlite3")) == [server.project_file()]
    assert (await server.agent(ids["agent"]))["name"] == "Ada"


async def test_project_names_never_reach_the_file_system(server: Server):
    names = (
        "../../x",
        "/etc/passwd",
        "..",
        ".",
        "a/b/c",
        "CON",
        "a" * 200,
        "\u00e4" * 200,
        "~",
        "$HOME",
    )
    for name in names:
        await server.reserve("ada", "a", project=name)
    folder = server.settings.data
    assert all(path.parent == folder for path in folder.rglob("*"))
    assert len(list(folder.glob("*.sqlite3"))) == len(names)
    assert {path.name for path in folder.parent.iterdir()} == {"data", "keys.yaml"}


class Fuzz:
    """Requests drawn from a seed: now and then right, mostly not."""

    TEXTS = ("", "a", "..", "\x00", "\u202e", "%00", "x" * 3000, "\U0001f600", "default", "{", "-1")

    def __init__(self, seed: int, ids: dict[str, str]) -> None:
        self.random = random.Random(seed)
        self.places = ids
        self.ids = [
            *ids.values(),
            "ada",
            "nobody",
            make_id("agt", "a" * 12, "0"),
            "%2e%2e",
            "\u00e9",
        ]

    def value(self, depth: int = 0) -> object:
        draw = self.random
        kind = draw.randrange(8 if depth < 3 else 5)
        if kind < 2:
            return draw.choice((*self.TEXTS, *self.ids, "**", "src/*.py", "[", "held"))
        if kind == 2:
            return draw.choice((0, -1, 1, 30, 2**31, 2**63 - 1, -(2**63), 1.5, 1e300))
        if kind < 5:
            return draw.choice((True, False, None))
        if kind < 7:
            return [self.value(depth + 1) for _ in range(draw.randrange(4))]
        return {draw.choice(self.TEXTS): self.value(depth + 1) for _ in range(draw.randrange(4))}

    def body(self, path: str, method: str) -> bytes:
        draw = self.random
        names = [*MEMBERS.get((method, path), {"x": TEXT}), "NAME", "__proto__", ""]
        known = (method, path) in RIGHT and draw.random() < 0.6
        whole = right(method, path, self.places) if known else {}
        drawn = {draw.choice(names): self.value() for _ in range(draw.randrange(4))}
        content = json.dumps(whole | drawn).encode()
        if draw.random() < 0.15:
            at = draw.randrange(len(content))
            content = content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]
        return content

    def request(self, url: str) -> httpx.Request:
        draw = self.random
        row = draw.choice(ROWS)
        method = row.method if draw.random() < 0.9 else draw.choice(("GET", "PUT", "HEAD", "TRACE"))
        identifier = draw.choice(self.ids)
        target = row.with_id(identifier)
        params = {
            draw.choice(("limit", "cursor", "project", "agent", "pattern", "exclusive")): str(
                self.value()
            )[:500]
            for _ in range(draw.randrange(3))
        }
        headers = {
            name: str(self.value(3)).encode("utf-8", "replace").translate(None, _CONTROLS)[:300]
            for name in ("X-Agent-ID", "X-Agent-Token", "Idempotency-Key", "X-Forwarded-For")
            if draw.random() < 0.15
        }
        content = None if draw.random() < 0.1 else self.body(row.path, row.method)
        query = httpx.QueryParams(params)
        glue = "&" if "?" in target else "?"
        return httpx.Request(
            method, f"{url}{target}{glue}{query}", headers=JSON | headers, content=content
        )


_CONTROLS = bytes(range(32)) + b"\x7f"


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_request_is_a_server_error(server: Server, ids: dict[str, str], seed: int):
    fuzz = Fuzz(seed, ids)
    statuses = set()
    for number in range(150):
        request = fuzz.request(server.url)
        response = await server.client.send(request)
        what = (seed, number, request.method, str(request.url), request.content, request.headers)
        assert response.status_code < 500, (what, response.text)
        if response.status_code >= 400 and request.method != "HEAD":
            refused(response, response.status_code, response.json()["error"])
        statuses.add(response.status_code)
    assert statuses >= {200, 400, 404}
    ready = await server.client.get("/ready")
    assert ready.status_code == 200, ready.text
    assert all(project["storage_faults"] == 0 for project in ready.json()["projects"])


async def test_a_pattern_of_any_length_is_answered(server: Server):
    for length in (limits.REASON_LEN_MAX, 16_384, 16_385, 900_000):
        response = await server.client.post(
            "/api/reservations", json={"agent": "ada", "path": "x" * length}
        )
        assert response.status_code == 400
        assert response.json()["error"] in ("invalid_pattern", "invalid_request")
