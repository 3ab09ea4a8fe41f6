"""The library traps of HTTP, each shown to be out of reach behind our server and guard."""

import pytest
import trio

from intermute.app import Application, Settings
from intermute.web.server import ServerLimits

from .test_traps_harness import (
    BODY_LEN_MAX,
    ask,
    flood,
    head,
    post,
    read_answer,
    read_to_end,
    running,
)

CHUNKED = ("Transfer-Encoding", "chunked")
JSON = ("Content-Type", "application/json")


async def test_trap_chunked_body_over_the_limit_is_answered_before_it_ends():
    async with running() as server, await server.connect() as stream:
        await stream.send_all(head("POST", "/echo", JSON, CHUNKED))
        chunk = b"x" * 16384
        for _ in range(BODY_LEN_MAX // len(chunk) + 1):
            await stream.send_all(b"4000\r\n" + chunk + b"\r\n")
        answer = await read_answer(stream)
        assert (answer.status, answer.json()["error"]) == (413, "body_too_large")
        assert answer.closed
        assert server.probe.calls == []


async def test_trap_a_client_that_never_stops_sending_chunks_is_cut():
    async with running() as server, await server.connect() as stream:
        await stream.send_all(head("POST", "/echo", JSON, CHUNKED))
        assert await flood(stream, b"4000\r\n" + b"x" * 16384 + b"\r\n") > BODY_LEN_MAX


async def test_trap_many_tiny_chunks_are_refused_and_do_not_wedge_the_connection():
    """Each costs the server as much as a large one, so that their number has a bound too."""
    async with running() as server, await server.connect() as stream:
        await stream.send_all(head("POST", "/echo", JSON, CHUNKED))
        await stream.send_all(b"1\r\nx\r\n" * 2000)
        assert (await read_answer(stream)).status == 400
        await read_to_end(stream)


async def test_announced_body_over_the_limit_is_answered_before_any_of_it():
    async with running() as server, await server.connect() as stream:
        await stream.send_all(
            head("POST", "/echo", JSON, ("Content-Length", str(BODY_LEN_MAX + 1)))
        )
        answer = await read_answer(stream)
        assert answer.status == 413
        assert answer.headers[b"content-type"] == b"application/problem+json"


async def test_a_client_that_sends_everything_first_still_reads_its_413():
    async with running() as server, await server.connect() as stream:
        await stream.send_all(post(b"x" * (BODY_LEN_MAX * 4)))
        assert (await read_answer(stream)).status == 413


async def test_body_of_exactly_the_limit_is_served():
    body = b'"' + b"x" * (BODY_LEN_MAX - 2) + b'"'
    async with running() as server:
        assert (await ask(server, post(body))).body == body


async def test_slow_body_is_answered_408():
    async with running(body_timeout_s=0.05) as server, await server.connect() as stream:
        await stream.send_all(head("POST", "/echo", JSON, ("Content-Length", "10")) + b"{")
        answer = await read_answer(stream)
        assert (answer.status, answer.json()["error"]) == (408, "body_timeout")


async def test_body_of_which_nothing_comes_is_cut():
    limits = ServerLimits(body_timeout_s=0.05)
    async with running(limits=limits) as server, await server.connect() as stream:
        await stream.send_all(head("POST", "/echo", JSON, ("Content-Length", "10")))
        assert await read_to_end(stream) == b""


async def test_an_answer_may_take_longer_than_its_body_may():
    """The bound on the body is lifted once the body is there, in however many pieces."""
    limits = ServerLimits(body_timeout_s=0.05)
    async with running(limits=limits) as server, await server.connect() as stream:
        await stream.send_all(head("POST", "/slow", JSON, ("Content-Length", "2")) + b"{")
        await stream.send_all(b"}")
        await server.probe.started.wait()
        async with await server.connect() as later:
            # A body that begins later and never comes: when it is cut, the first would have been.
            await later.send_all(head("POST", "/echo", JSON, ("Content-Length", "10")))
            assert await read_to_end(later) == b""
        assert not server.probe.cancelled.is_set()
        server.probe.release.set()
        assert (await read_answer(stream)).status == 200


async def test_slow_headers_are_cut():
    limits = ServerLimits(header_timeout_s=0.05)
    async with running(limits=limits) as server, await server.connect() as stream:
        await stream.send_all(b"GET /where HTTP/1.1\r\nHost: local")
        assert await read_to_end(stream) == b""


async def test_slow_headers_on_a_connection_that_was_used_are_cut():
    limits = ServerLimits(header_timeout_s=0.05, idle_timeout_s=1000.0)
    async with running(limits=limits) as server, await server.connect() as stream:
        await stream.send_all(post(b"1"))
        assert (await read_answer(stream)).status == 200
        await stream.send_all(b"GET")
        assert await read_to_end(stream) == b""


async def test_idle_connection_is_closed():
    limits = ServerLimits(idle_timeout_s=0.05)
    async with running(limits=limits) as server, await server.connect() as stream:
        await stream.send_all(post(b"1"))
        assert (await read_answer(stream)).status == 200
        assert await read_to_end(stream) == b""


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /where HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /where HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 8_000 + b"\r\n",
        b"GET /where HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: " + b"a" * 4_000_000,
        b"GET /" + b"a" * 4_000_000,
    ],
    ids=["one long header", "many headers", "endless header", "endless request line"],
)
async def test_header_flood_is_431(raw):
    async with running() as server, await server.connect() as stream:
        with trio.CancelScope() as sending:
            try:
                await stream.send_all(raw)
            except trio.BrokenResourceError:
                sending.cancel()
        answer = await read_answer(stream)
        assert (answer.status, answer.json()["error"]) == (431, "headers_too_large")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (head("POST", "/echo", JSON, CHUNKED, ("Content-Length", "3")) + b"0\r\n\r\n", 400),
        (head("POST", "/echo", JSON, ("Content-Length", "1"), ("Content-Length", "2")) + b"1", 400),
        (head("POST", "/echo", JSON, ("Content-Length", "1, 2")) + b"1", 400),
        (head("POST", "/echo", JSON, ("Content-Length", "+1")) + b"1", 400),
        (head("POST", "/echo", JSON, ("Content-Length", "0x1")) + b"1", 400),
        (head("POST", "/echo", JSON, ("Transfer-Encoding", "gzip, chunked")) + b"0\r\n\r\n", 501),
        (head("POST", "/echo", JSON, ("Transfer-Encoding", "xchunked")) + b"0\r\n\r\n", 501),
        (head("POST", "/echo", JSON, CHUNKED, CHUNKED) + b"0\r\n\r\n", 501),
        (head("POST", "/echo", JSON, ("Content-Length ", "1")) + b"1", 400),
        (head("GET", "/where", ("Host", "localhost")), 400),
        (head("GET", "/where", host=None), 400),
        (head("GET", "https://localhost/where"), 400),
        (head("GET", "http://elsewhere.example/where"), 421),
        (head("GET", "where"), 400),
        (head("GET", "?x"), 400),
        (head("GET", "/%00"), 400),
        (head("GET", "/%ff"), 400),
        (head("OPTIONS", "*"), 400),
        (b"GET /where HTTP/1.0\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (head("POST", "/echo", JSON, CHUNKED) + b"zz\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    ],
)
async def test_trap_smuggling_shapes_are_refused_and_the_connection_is_closed(raw, status):
    async with running() as server, await server.connect() as stream:
        await stream.send_all(raw + head("GET", "/where"))
        answer = await read_answer(stream)
        assert answer.status == status
        assert answer.headers[b"content-type"] == b"application/problem+json"
        assert answer.closed
        assert await read_to_end(stream) == b""
        assert server.probe.calls == []


async def test_trap_upgrade_to_http2_is_not_taken():
    async with running() as server:
        raw = head("GET", "/where", ("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"))
        assert (await ask(server, raw)).status == 200


async def test_long_request_line_is_414():
    async with running() as server:
        answer = await ask(server, head("GET", "/" + "a" * 9_000))
        assert (answer.status, answer.json()["error"]) == (414, "uri_too_long")


async def test_what_follows_the_last_request_of_a_connection_changes_nothing():
    async with running() as server, await server.connect() as stream:
        last = post(b"[1]", ("Connection", "close"))
        await stream.send_all(last + b"\r\n" + head("GET", "/where") + b"x" * 100_000)
        assert (await read_answer(stream)).body == b"[1]"
        assert await read_to_end(stream) == b""
        assert server.probe.calls == ["echo"]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "file://"])
async def test_trap_foreign_origin_is_refused_on_loopback(origin):
    async with running() as server:
        answer = await ask(server, post(b"1", ("Origin", origin)))
        assert (answer.status, answer.json()["error"]) == (403, "foreign_origin")
        assert server.probe.calls == []


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.2", "a@b"])
async def test_trap_foreign_host_is_refused_on_loopback(host):
    async with running() as server:
        answer = await ask(server, head("GET", "/where", host=host))
        assert (answer.status, answer.json()["error"]) == (421, "unknown_host")
        assert server.probe.calls == []


async def test_b27_browser_reachability():
    """No page of another origin gets a simple request, a rebound name or a navigation through."""
    async with running() as server:
        form = ("Content-Type", "application/x-www-form-urlencoded")
        plain = ("Content-Type", "text/plain")
        for kind in (form, plain):
            raw = head("POST", "/echo", kind, ("Content-Length", "1")) + b"1"
            assert (await ask(server, raw)).status == 415
        raw = head("POST", "/echo", ("Content-Length", "1")) + b"1"
        assert (await ask(server, raw)).status == 415
        assert (await ask(server, post(b"1", ("Origin", "http://evil.example")))).status == 403
        assert (await ask(server, post(b"", ("Sec-Fetch-Site", "cross-site")))).status == 403
        rebound = head("GET", "/where", host=f"evil.example:{server.port}")
        assert (await ask(server, rebound)).status == 421
        assert server.probe.calls == []
        own = head("GET", "/where", ("Origin", "http://localhost:9"), host="localhost:9")
        assert (await ask(server, own)).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'"\xff"',
        '{"a":1}'.encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b"NaN",
        b"-Infinity",
        b'{"a":1,"a":2}',
        rb'"\ud800"',
        b'"\xed\xa0\x80"',
        rb'"\u0000"',
        b"1" * 60_000,
        b"1e999",
        b"{} {}",
        b" ",
    ],
)
async def test_trap_hostile_json_is_400_and_never_500(body):
    async with running() as server:
        answer = await ask(server, post(body))
        assert answer.status == 400
        assert answer.json()["reason"]


async def test_trap_a_client_that_goes_away_cancels_its_handler():
    """The handler is cancelled; a shielded unit of work inside it runs to its end."""
    async with running() as server:
        probe = server.probe
        async with await server.connect() as stream:
            await stream.send_all(head("GET", "/slow"))
            await probe.started.wait()
        await probe.cancelled.wait()
        assert not probe.finished.is_set()
        probe.release.set()
        await probe.finished.wait()


async def test_connections_beyond_the_bound_wait_in_the_backlog():
    async with running(limits=ServerLimits(connections_max=2)) as server:
        first, second = await server.connect(), await server.connect()
        for stream in (first, second):
            await stream.send_all(post(b"1"))
            assert (await read_answer(stream)).status == 200
        third = await server.connect()
        await third.send_all(post(b"3"))
        answered = trio.Event()

        async def wait_for_third() -> None:
            assert (await read_answer(third)).body == b"3"
            answered.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_third)
            await first.send_all(post(b"1"))
            assert (await read_answer(first)).status == 200
            assert not answered.is_set()
            await first.aclose()
        await second.aclose()
        await third.aclose()


def test_trap_no_route_is_compiled_to_be_put_together(tmp_path):
    built = Application(Settings(data=tmp_path / "data", keys_file=tmp_path / "keys.yaml"))
    rules = list(built.quart.url_map.iter_rules())
    assert len(rules) > 100
    for rule in rules:
        with pytest.raises(NotImplementedError):
            rule.build({})
