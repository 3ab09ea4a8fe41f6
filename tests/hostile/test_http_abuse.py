"""Requests against the rules of RFC 9112, sent byte by byte to the real app.

What each error is called is in tests/web/test_traps_http.py; here no byte of a body is ever taken
for a request, and every answer has the one shape.
"""

import contextlib
import re
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest
import trio

from intermute import app
from intermute.domain import limits
from intermute.web.server import ServerLimits

from ..e2e.conftest import Server, running_server
from ..web.test_traps_harness import head, read_to_end
from .frames import HANG_S, assert_serves

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
NAME = b"smuggled"
JSON = {"Content-Type": "application/json"}
_BODY = b'{"name":"smuggled"}'
# The request that nobody may be brought to see: it would register an agent.
HIDDEN = (
    b"POST /api/agents HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)
START = b"POST /api/agents HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(HIDDEN)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
END = b"0\r\n\r\n"


def with_encoding(value: bytes, name: bytes = b"Transfer-Encoding") -> bytes:
    """Both ways to say how long it is, one of them odd; what is hidden follows the last chunk."""
    return START + LENGTH + name + b": " + value + b"\r\n\r\n" + END + HIDDEN


SMUGGLED = {
    "length and chunks": with_encoding(b"chunked"),
    "chunks and length": START + CHUNKED + LENGTH + b"\r\n" + END + HIDDEN,
    "chunks in capitals": with_encoding(b"CHUNKED"),
    "chunks after a tab": with_encoding(b"\tchunked"),
    "chunks before a tab": with_encoding(b"chunked\t"),
    "chunks after a vertical tab": with_encoding(b"\x0bchunked"),
    "chunks in quotes": with_encoding(b'"chunked"'),
    "chunks and identity": with_encoding(b"chunked, identity"),
    "identity": with_encoding(b"identity"),
    "chunks twice in one": with_encoding(b"chunked, chunked"),
    "chunks with a parameter": with_encoding(b"chunked;q=1"),
    "xchunked": with_encoding(b"xchunked"),
    "a space before the colon": with_encoding(b"chunked", b"Transfer-Encoding "),
    "a line before the name": with_encoding(b"chunked", b"X: y\r\nTransfer-Encoding"),
    "an underscore": with_encoding(b"chunked", b"Transfer_Encoding"),
    "a NUL in the name": with_encoding(b"chunked", b"Transfer\x00-Encoding"),
    "a folded encoding": START + LENGTH + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + END + HIDDEN,
    "a folded length": START + b"Content-Length:\r\n 2\r\n\r\n{}",
    "a folded header": START + b"X: a\r\n Content-Length: 2\r\n" + LENGTH + b"\r\n" + HIDDEN,
    "a lone line feed": START + b"X: a\nContent-Length: 0\r\n" + LENGTH + b"\r\n" + HIDDEN,
    "a lone carriage return": START + b"X: a\rContent-Length: 0\r\n" + LENGTH + b"\r\n" + HIDDEN,
    "a NUL in a header": START + b"X: a\x00b\r\n" + LENGTH + b"\r\n" + HIDDEN,
    "two lengths": START + b"Content-Length: 0\r\n" + LENGTH + b"\r\n" + HIDDEN,
    "two lengths, the other way": START + LENGTH + b"Content-Length: 0\r\n\r\n" + HIDDEN,
    "lengths in a list": START + b"Content-Length: 0, %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "a length with a sign": START + b"Content-Length: +0\r\n\r\n" + HIDDEN,
    "a length below zero": START + b"Content-Length: -1\r\n\r\n" + HIDDEN,
    "a length in hexadecimal": START + b"Content-Length: 0x0\r\n\r\n" + HIDDEN,
    "a length with digits of another script": START + b"Content-Length: \xd9\xa0\r\n\r\n" + HIDDEN,
    "a length of 5,000 digits": START + b"Content-Length: " + b"0" * 5_000 + b"9\r\n\r\n" + HIDDEN,
    "chunks over HTTP/1.0": START.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n" + END + HIDDEN,
    "a chunk longer than it says": START + CHUNKED + b"\r\n1\r\n{}\r\n" + END + HIDDEN,
    "a chunk of a huge size": START + CHUNKED + b"\r\n" + b"f" * 17 + b"\r\n" + HIDDEN,
    "a chunk below zero": START + CHUNKED + b"\r\n-1\r\n" + HIDDEN,
    "a chunk of 0x": START + CHUNKED + b"\r\n0x0\r\n\r\n" + HIDDEN,
    "a chunk after a blank": START + CHUNKED + b"\r\n 0\r\n\r\n" + HIDDEN,
    "a chunk without an end": START + CHUNKED + b"\r\n2\r\n{}" + END + HIDDEN,
    "chunks of lone line feeds": START + CHUNKED + b"\r\n2\n{}\n0\n\n" + HIDDEN,
    "an endless chunk extension": START + CHUNKED + b"\r\n2;" + b"x" * 70_000 + b"\r\n" + HIDDEN,
    "a line feed in an extension": START + CHUNKED + b"\r\n2;\nxx\r\n{}\r\n" + END + HIDDEN,
    "too many trailers": START + CHUNKED + b"\r\n2\r\n{}\r\n0\r\n" + b"A: b\r\n" * 20_000 + HIDDEN,
    "a host that is two": START.replace(b"localhost", b"localhost, x") + LENGTH + b"\r\n" + HIDDEN,
    "another host in the target": START.replace(b" /api", b" http://x/api")
    + LENGTH
    + b"\r\n"
    + HIDDEN,
    "a target with a blank": START.replace(b"/api/agents", b"/api /agents")
    + LENGTH
    + b"\r\n"
    + HIDDEN,
    "a target of bytes": START.replace(b"/api", b"/\xff\xfe") + LENGTH + b"\r\n" + HIDDEN,
    "no version": START.replace(b" HTTP/1.1", b"") + LENGTH + b"\r\n" + HIDDEN,
    "version 1.2": START.replace(b"1.1", b"1.2") + LENGTH + b"\r\n" + HIDDEN,
    "version 2": START.replace(b"1.1", b"2.0") + LENGTH + b"\r\n" + HIDDEN,
    "version 0.9": b"GET /api/agents\r\n" + HIDDEN,
    "HTTP/2 without asking": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9) + HIDDEN,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + HIDDEN,
    "a tunnel": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n" + HIDDEN,
    "a length beyond the bound": START + b"Content-Length: 99999999\r\n\r\n" + HIDDEN,
    "a body of another kind": START.replace(b"application/json", b"text/plain")
    + LENGTH
    + b"\r\n"
    + HIDDEN,
    "a packed body": START + b"Content-Encoding: gzip\r\n" + LENGTH + b"\r\n" + HIDDEN,
    "a header too many": START + b"A: b\r\n" * 200 + LENGTH + b"\r\n" + HIDDEN,
    "an expectation": START + b"Expect: 200-ok\r\n" + LENGTH + b"\r\n" + HIDDEN,
    "a GET with a body": b"GET /api/agents HTTP/1.1\r\nHost: localhost\r\n"
    + LENGTH
    + b"\r\n"
    + HIDDEN,
    "a HEAD with a body": b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n"
    + LENGTH
    + b"\r\n"
    + HIDDEN,
    "a DELETE with a body": START.replace(b"POST", b"DELETE") + LENGTH + b"\r\n" + HIDDEN,
    "a body that is no JSON": START + LENGTH + b"\r\n" + HIDDEN,
}


@pytest.fixture
async def hasty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A server that waits for nothing for long, so that what is left open is closed at once."""
    short = partial(ServerLimits, header_timeout_s=0.3, body_timeout_s=0.3, idle_timeout_s=0.3)
    monkeypatch.setattr(app, "ServerLimits", short)
    monkeypatch.setattr(limits, "BODY_WAIT_MS", 300)
    async with running_server(tmp_path) as running:
        yield running


async def ask_raw(server: Server, raw: bytes, cut: int | None = None) -> bytes:
    """Everything that comes back for these bytes until the server closes."""
    with trio.fail_after(HANG_S):
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            with contextlib.suppress(trio.BrokenResourceError):
                for part in (raw,) if cut is None else (raw[:cut], raw[cut:]):
                    await stream.send_all(part)
                    await trio.lowlevel.checkpoint()
            return await read_to_end(stream)


async def agents(server: Server) -> list[str]:
    listed = await server.client.get("/api/agents")
    assert listed.status_code == 200
    return [each["name"] for each in listed.json()["agents"]]


async def smuggle(server: Server, what: str, cut: int | None) -> None:
    answer = await ask_raw(server, SMUGGLED[what], cut)
    statuses = {int(each) for each in _STATUS.findall(answer)}
    # What is not built in, and a version that is not spoken, have statuses of their own.
    assert all(status < 500 or status in (501, 505) for status in statuses), (what, answer)


@pytest.mark.parametrize("cut", [None, 40, -60])
async def test_no_body_is_taken_for_a_request(hasty: Server, cut: int | None):
    """All at once, each on a connection of its own: whole, cut in the head, cut near the end."""
    async with trio.open_nursery() as nursery:
        for what in SMUGGLED:
            nursery.start_soon(smuggle, hasty, what, cut)
    assert NAME.decode() not in await agents(hasty)
    await assert_serves(hasty)


async def test_the_hidden_request_would_have_been_seen(hasty: Server):
    """Behind a good request, in one piece with it; or the test above would prove nothing."""
    answer = await ask_raw(hasty, head("GET", "/health") + HIDDEN)
    assert _STATUS.findall(answer) == [b"200", b"200"]
    assert await agents(hasty) == [NAME.decode()]


REFUSED = {
    "an unknown route": head("GET", "/nothing"),
    "a wrong method": head("TRACE", "/api/agents"),
    "a body that is none": START + b"Content-Length: 1\r\n\r\n}",
    "a wrong member": START + b"Content-Length: 10\r\n\r\n" + b'{"name":1}',
}


async def test_requests_behind_a_refusal_are_answered_in_order_or_not_at_all(hasty: Server):
    """One that keeps the connection is followed by the next answer; one that does not, by none."""
    for what, raw in REFUSED.items():
        answer = await ask_raw(hasty, raw * 3 + HIDDEN)
        statuses = [int(each) for each in _STATUS.findall(answer)]
        assert statuses[:3] == [statuses[0]] * 3, (what, statuses)
        assert 400 <= statuses[0] < 500
        assert statuses[3:] == [200], (what, statuses)
    for raw in (SMUGGLED["length and chunks"], b"nonsense\r\n\r\n", head("GET", "x")):
        answer = await ask_raw(hasty, raw + HIDDEN * 3)
        assert len(_STATUS.findall(answer)) == 1, answer
        assert b"connection: close" in answer.lower()


TARGETS = {
    "%": 404,
    "%zz": 404,
    "%u0041": 404,
    "%2": 404,
    "%c0%af": 400,
    "%c0%ae%c0%ae": 400,
    "%ff": 400,
    "%00": 400,
    "%0d%0aX:%20y": 404,
    "%2e%2e%2f%2e%2e": 404,
    "..%2f..%2fhealth": 404,
    "%252e%252e": 404,
    "../../health": 404,
    "./health": 404,
    "%EE%80%AF": 404,
    "a;b=c": 404,
    "a%3Fb": 404,
    "\\..\\x": 404,
    "%20": 404,
    "x" * 8_000: 404,
    "x" * 9_000: 414,
    "%41" * 2_700: 404,
    "a?" + "b" * 9_000: 414,
    "a?" + "&" * 8_000: 404,
    "a?" + "a=b&" * 2_000: 404,
    "a?project=%ff%00": 400,
    "a?project=" + "%F0%9F%98%80" * 600: 400,
}


@pytest.mark.parametrize("folder", ["/api/agents/", "/api/reservations/", "/api/messages/"])
async def test_targets_of_any_kind_have_the_one_shape(server: Server, folder: str):
    async with trio.open_nursery() as nursery:

        async def look(target: str, status: int) -> None:
            answer = await ask_raw(server, head("GET", folder + target, ("Connection", "close")))
            found, _, content = answer.partition(b"\r\n\r\n")
            assert b"application/problem+json" in found, (target[:40], answer)
            members = msgspec.json.decode(content)
            # Only messages are asked for by a query, so the others do not read it.
            allowed = {status, 404} if "?" in target and status == 400 else {status}
            assert members["status"] in allowed, (target[:40], members)
            assert members["error"] == members["code"]

        for target, status in TARGETS.items():
            nursery.start_soon(look, target, status)


@pytest.mark.parametrize("path", ["//", "/api//agents", "/api/agents/a//policy"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_two_slashes_are_not_one_and_no_redirect(server: Server, path: str, method: str):
    """Werkzeug would answer 308 with a page of HTML."""
    answer = await ask_raw(server, head(method, path, ("Connection", "close")))
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"application/problem+json" in answer
    assert b"location" not in answer.lower()


async def test_an_upgrade_to_http2_is_not_taken(hasty: Server):
    upgrade = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c")]
    asked = head("GET", "/health", *upgrade, ("HTTP2-Settings", "AAMAAABk"))
    answer = await ask_raw(hasty, asked + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN)
    assert _STATUS.findall(answer) == [b"200", b"505"]
    assert NAME.decode() not in await agents(hasty)


BOMBS = {
    "deep": b"[" * 1_000_000,
    "deep objects": b'{"a":' * 150_000,
    "wide": b'{"patterns":[' + b'"a",' * 200_000 + b'"a"]}',
    "wide objects": b"[" + b"{}," * 300_000 + b"{}]",
    "many members": b"{" + b",".join(b'"%d":1' % n for n in range(80_000)) + b"}",
    "one member many times": b"{" + b'"a":1,' * 150_000 + b'"a":1}',
    "numbers": b'{"patterns":[' + b"1e308," * 150_000 + b"1]}",
    "a number": b'{"name":' + b"9" * 1_000_000 + b"}",
    "a text": b'{"name":"' + b"a" * 1_000_000 + b'"}',
    "escapes": b'{"name":"' + b"\\u0041" * 170_000 + b'"}',
    "surrogates": b'{"name":"' + b"\\ud83d\\ude00" * 80_000 + b'"}',
    "blanks": b" " * 1_000_000 + b"{}",
    "patterns": b'{"agent":"a","patterns":[' + b'"{a,b}{a,b}{a,b}{a,b}{a,b}*",' * 30_000 + b'"a"]}',
    "commands": b'{"commands":[' + b'{"method":"agents.list"},' * 40_000 + b'{"method":"x"}]}',
}


async def test_json_bombs_are_refused_and_cost_no_more_than_their_size(server: Server):
    """All of them at once, at every route that is good for patterns, texts and commands."""

    async def throw(client: httpx.AsyncClient, path: str, what: str) -> None:
        answer = await client.post(path, content=BOMBS[what], headers=JSON)
        # Blanks around a body are no fault of it, and members that a route does not know neither.
        fine = {200} if path == "/api/agents" and what in ("blanks", "patterns") else set()
        assert answer.status_code in {400, *fine}, (what, path, answer.text[:300])
        assert len(answer.content) < 5_000

    paths = ("/api/agents", "/api/reservations", "/api/reservations/preflight", "/api/batch")
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            for path in paths:
                for what in BOMBS:
                    nursery.start_soon(throw, server.client, path, what)
    await assert_serves(server)
