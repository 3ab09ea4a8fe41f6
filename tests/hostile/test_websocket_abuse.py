"""Frames against the rules of RFC 6455, over real sockets of the real app.

Each ends its own socket with a code that says why, or is answered as the rules say; nothing else
notices. What a small app behind the same server does is in tests/web/test_traps_websocket.py.
"""

import functools
import json
import socket as sockets
import zlib

import pytest
import trio

from intermute import app
from intermute.domain import limits
from intermute.web.server import ServerLimits

from ..e2e.conftest import Server, running_server
from ..web.test_traps_harness import (
    flood as send_until_cut,
)
from ..web.test_traps_harness import handshake, head, read_answer, read_to_end, shrink_buffers
from .frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    HANG_S,
    PING,
    PONG,
    QUIET,
    TEXT,
    assert_serves,
    closing,
    raw_frame,
    raw_socket,
    request,
)

BROKEN = {1002}
GARBLED = {1007}
TOO_BIG = {1009}
EURO = "€".encode()
START = raw_frame(TEXT, b'{"a":', fin=False)

ABUSES: dict[str, tuple[bytes, set[int | None]]] = {
    "no mask": (raw_frame(TEXT, b"{}", masked=False), BROKEN),
    "an empty frame without a mask": (raw_frame(PING, masked=False), BROKEN),
    **{
        f"reserved bits {bits}": (raw_frame(TEXT, b"{}", reserved=bits), BROKEN)
        for bits in range(1, 8)
    },
    **{f"opcode {each}": (raw_frame(each, b"{}"), BROKEN) for each in (3, 4, 5, 6, 7, 11, 15)},
    "a ping in pieces": (raw_frame(PING, b"p", fin=False), BROKEN),
    "a close in pieces": (raw_frame(CLOSE, b"\x03\xe8", fin=False), BROKEN),
    "a long ping": (raw_frame(PING, b"p" * 126), BROKEN),
    "a ping that says it is huge": (raw_frame(PING, declared_len=2**40, width=8), BROKEN),
    "a continuation of nothing": (raw_frame(CONTINUATION, b"{}"), BROKEN),
    "a message within a message": (START + raw_frame(TEXT, b"{}"), BROKEN),
    "a length of 8 bytes for 2": (raw_frame(TEXT, b"{}", width=8), BROKEN),
    "a length of 2 bytes for 2": (raw_frame(TEXT, b"{}", width=2), BROKEN),
    "a length beyond 63 bits": (raw_frame(TEXT, declared_len=2**64 - 1, width=8), BROKEN),
    "bad UTF-8": (raw_frame(TEXT, b"\xff\xfe"), GARBLED),
    "UTF-8 that ends early": (raw_frame(TEXT, b'"' + EURO[:2]), GARBLED),
    "a surrogate in UTF-8": (raw_frame(TEXT, b'"\xed\xa0\x80"'), GARBLED),
    "an overlong slash": (raw_frame(TEXT, b'"\xc0\xaf"'), GARBLED),
    "bad UTF-8 over pieces": (
        raw_frame(TEXT, EURO[:2], fin=False) + raw_frame(CONTINUATION, b'"'),
        GARBLED,
    ),
    "bad UTF-8 in a late piece": (
        START + raw_frame(CONTINUATION, b"1", fin=False) + raw_frame(CONTINUATION, b"\xff"),
        GARBLED,
    ),
    "a long message": (raw_frame(TEXT, b" " * (limits.SOCKET_MESSAGE_LEN_MAX + 1)), TOO_BIG),
    "a message that says it is huge": (
        raw_frame(TEXT, b" " * (limits.SOCKET_MESSAGE_LEN_MAX + 1), declared_len=2**62, width=8),
        TOO_BIG,
    ),
    "a long message in pieces": (
        START + raw_frame(CONTINUATION, b" " * 30_000, fin=False) * 10,
        TOO_BIG,
    ),
    "a close of one byte": (raw_frame(CLOSE, b"\x03"), BROKEN),
    "a close with a long reason": (closing(1000, b"x" * 124), BROKEN),
    "a close with a garbled reason": (closing(1000, b"\xff"), GARBLED),
    **{f"close code {code}": (closing(code), BROKEN) for code in (0, 999, 1004, 1005, 1006, 1015)},
    "a close without a code": (raw_frame(CLOSE), {None}),
    **{f"close code {code}": (closing(code, b"bye"), {code}) for code in (1000, 1001, 3000, 4999)},
    "a request after the close": (closing(1000) + request(1), {1000}),
    "two closes": (closing(1000) + closing(1001), {1000}),
}


@pytest.mark.parametrize("cut", [0, 1, 3])
async def test_frames_against_the_rules_end_their_socket_and_say_why(server: Server, cut: int):
    """In one piece, and with the first bytes sent by themselves."""
    for what, (frames, codes) in ABUSES.items():
        async with raw_socket(server) as socket:
            if cut:
                await socket.send(frames[:cut])
                await trio.lowlevel.checkpoint()
            await socket.send(frames[cut:])
            ended = await socket.ended()
            assert ended in codes, (what, ended)
    await assert_serves(server)


async def test_what_the_rules_allow_is_answered(server: Server):
    """Empty pieces, pings between pieces, a character split over pieces, lengths at the edges."""
    said = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "x€", "params": {}}, ensure_ascii=False)
    whole = said.encode()
    euro = whole.index(EURO)
    pieces = [b"", whole[: euro + 1], b"", whole[euro + 1 : euro + 2], whole[euro + 2 :], b""]
    frames = [raw_frame(TEXT, pieces[0], fin=False)]
    for number, piece in enumerate(pieces[1:]):
        frames.append(raw_frame(PING, b"%d" % number) + raw_frame(PONG, b"unasked"))
        frames.append(raw_frame(CONTINUATION, piece, fin=number == len(pieces) - 2))
    async with raw_socket(server) as socket:
        await socket.send(*frames)
        pongs = []
        while True:
            opcode, payload = await socket.frame()
            if opcode == TEXT:
                break
            assert opcode == PONG
            pongs.append(payload)
        assert json.loads(payload)["id"] == 7
        assert pongs == [b"%d" % number for number in range(len(pieces) - 1)]
        for size in (125, 126, 65_535, 65_536, limits.SOCKET_MESSAGE_LEN_MAX):
            message = json.dumps({"jsonrpc": "2.0", "id": size, "method": "x"}).encode()
            await socket.send(raw_frame(TEXT, message.ljust(size)))
            assert (await socket.answer(size))["error"]["data"]["status"] == 404


async def test_endless_empty_pieces_hold_nothing_and_delay_nobody(server: Server):
    async with raw_socket(server) as socket:
        await socket.send(raw_frame(TEXT, b"", fin=False))
        for _ in range(50):
            await socket.send(raw_frame(CONTINUATION, b"", fin=False) * 400 + raw_frame(PING, b"p"))
            assert await socket.frame() == (PONG, b"p")
        await assert_serves(server)
        said = b'{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}'
        await socket.send(raw_frame(CONTINUATION, said))
        assert "result" in await socket.answer(1)


async def test_what_is_no_json_ends_the_socket_and_says_so(server: Server):
    """Whatever is asked before is answered first; binary messages are read as text is."""
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(b'{"jsonrpc":"2.0"}') + packer.flush(zlib.Z_SYNC_FLUSH)
    for message in (
        b"",
        b"\xff",
        b"{" * 10_000,
        b"[" * 200_000,
        packed,
        bytes(999),
        b"1" * 200_000,
    ):
        async with raw_socket(server) as socket:
            await socket.send(request(1), raw_frame(BINARY, message), request(2))
            assert "result" in await socket.answer(1)
            opcode, payload = await socket.frame()
            if opcode == TEXT:
                assert json.loads(payload)["error"]["code"] == -32700, payload
                opcode, payload = await socket.frame()
            assert (opcode, payload[:2]) == (CLOSE, (1007).to_bytes(2, "big")), message[:20]


async def test_json_that_is_no_request_is_told_so_or_ignored(server: Server):
    wide = b"[" + b"1," * 10_000 + b"1]"
    ignored = (b"1", b"null", b'""', b"{}", b'{"type":1}', b'{"type":"publish"}', b"1e300")
    async with raw_socket(server) as socket:
        await socket.send(*(raw_frame(TEXT, message) for message in ignored))
        for message in (b"[]", b'{"jsonrpc":"1.0"}', b'{"method":[]}', b"[[[[1]]]]", wide):
            await socket.send(raw_frame(TEXT, message))
            opcode, payload = await socket.frame()
            assert opcode == TEXT, (message[:20], opcode, payload)
            found = json.loads(payload)
            first = found[0] if isinstance(found, list) else found
            assert first["error"]["code"] == -32600, (message[:20], payload)
        await socket.send(request(1))
        assert "result" in await socket.answer(1)


async def test_a_client_that_is_half_gone_is_let_go(server: Server):
    """An end of sending without a close, in the handshake's wake, in a frame and between pieces."""
    for begun in (b"", request(1)[:1], request(1)[:20], START, START + raw_frame(PING, b"p")[:3]):
        async with raw_socket(server) as socket:
            await socket.send(begun)
            await socket.stream.send_eof()
            await read_to_end(socket.stream)
    for begun in (b"", request(1), START):
        async with raw_socket(server) as socket:
            await socket.send(begun)
            # Reset, not closed: what the server still writes meets nobody.
            linger = b"\1\0\0\0\0\0\0\0"
            socket.stream.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, linger)
    await assert_serves(server)


@pytest.fixture
async def impatient(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """A server whose deadlines are short, so that nobody has to sit them out."""
    short = functools.partial(ServerLimits, send_timeout_s=0.2, websocket_idle_timeout_s=0.5)
    monkeypatch.setattr(app, "ServerLimits", short)
    async with running_server(tmp_path) as running:
        yield running


FLOODS = {
    "pings": raw_frame(PING, b"p" * 125) * 400,
    "requests": request(1) * 300,
    "requests of what is not there": request(2, "x" * 90) * 300,
    "requests and a broken frame": request(1) * 300 + raw_frame(3),
    "noise": raw_frame(TEXT, b"}") * 2_000,
    "long arrays": raw_frame(TEXT, b"[" + b"{}," * 2_000 + b"{}]") * 20,
}


# What a server may take of a flood before it is cut: what is in flight, and all buffers on the way.
TAKEN_LEN_MAX = 32 * 1024 * 1024


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_whose_answers_are_not_read_is_stopped_and_cut(impatient: Server, flood: str):
    """The server stops reading when the client does, and then ends it: nothing piles up."""
    with trio.fail_after(HANG_S):
        async with raw_socket(impatient) as socket:
            shrink_buffers(socket.stream)
            assert await send_until_cut(socket.stream, FLOODS[flood]) < TAKEN_LEN_MAX
        await assert_serves(impatient)


async def test_a_client_that_says_nothing_at_all_is_let_go(impatient: Server):
    """Not even a pong comes back; a request a piece at a time does not help it."""
    async with raw_socket(impatient) as socket:
        assert await socket.ended() is None
    await assert_serves(impatient)


KEY = "AAAAAAAAAAAAAAAAAAAAAA=="


def shaken(*headers: tuple[str, str], method: str = "GET", version: str = "1.1") -> bytes:
    """A handshake with these headers for those it has of itself; an empty one is left out."""
    own = {
        **{"Connection": "Upgrade", "Upgrade": "websocket"},
        **{"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": KEY},
    }
    every = [(name, text) for name, text in (own | dict(headers)).items() if text]
    return head(method, QUIET, *every).replace(b"HTTP/1.1", b"HTTP/" + version.encode(), 1)


HANDSHAKES: dict[str, tuple[bytes, set[int]]] = {
    "version 8": (shaken(("Sec-WebSocket-Version", "8")), {400}),
    "version 014": (shaken(("Sec-WebSocket-Version", "014")), {400}),
    "no version": (shaken(("Sec-WebSocket-Version", "")), {400}),
    "no key": (shaken(("Sec-WebSocket-Key", "")), {400}),
    "no upgrade": (shaken(("Upgrade", "")), {426}),
    "no connection": (shaken(("Connection", "")), {426}),
    "a separator that not everybody strips": (shaken(("Connection", "upgrade\x1c")), {426}),
    "connection is not upgrade": (shaken(("Connection", "keep-alive")), {426}),
    "another upgrade": (shaken(("Upgrade", "h2c")), {426}),
    "two upgrades": (shaken(("Upgrade", "websocket, h2c")), {426, 400}),
    "a POST": (shaken(method="POST"), {400, 405}),
    "a DELETE": (shaken(method="DELETE"), {400, 405}),
    "HTTP/1.0": (shaken(version="1.0"), {400, 426}),
    "no WebSocket there": (handshake("/api/agents"), {404}),
    "nothing there": (handshake("/ws/nothing"), {404}),
    "no project": (handshake("/ws/events?project=" + "x" * 300), {400}),
    "a cursor that is none": (handshake("/ws/events?since_cursor=x"), {400}),
    "a cursor of the future": (handshake("/ws/events?since_cursor=99"), {410}),
    "an agent that cannot be": (handshake("/ws/agents/%20"), {400}),
    "an agent of NULs": (handshake("/ws/agents/%00"), {400}),
    "types without end": (handshake("/ws/events?types=" + "a," * 3_000), {400}),
    "a long target": (handshake("/ws/events?" + "a" * 9_000), {414}),
    "many headers": (handshake("/ws/events", *[("X-A", "b")] * 200), {431}),
}


UNCLEAR = {
    "version 8": "Sec-WebSocket-Version: 13",
    "no version": "Sec-WebSocket-Version: 13",
    "no key": "Sec-WebSocket-Key",
    "HTTP/1.0": "HTTP/1.1",
}


async def test_handshakes_against_the_rules_are_refused_in_the_one_shape(server: Server):
    for what, (raw, statuses) in HANDSHAKES.items():
        with trio.fail_after(HANG_S):
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                await stream.send_all(raw)
                answer = await read_answer(stream)
        assert answer.status in statuses, (what, answer)
        assert answer.headers[b"content-type"] == b"application/problem+json", what
        found = answer.json()
        assert found["status"] == answer.status, what
        if what in UNCLEAR:
            assert UNCLEAR[what] in found["detail"], (what, found)
            told = answer.headers.get(b"sec-websocket-version")
            assert told == (b"13" if "version" in what else None), what
    await assert_serves(server)


async def test_a_body_with_a_handshake_is_no_request_and_no_frame(server: Server):
    """What is hidden in it is not executed, neither as a request nor as frames."""
    hidden = b"POST /api/agents HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
    hidden += b"Content-Type: application/json\r\n\r\n{}"

    async def shake(raw: bytes) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(raw)
            await stream.send_eof()
            answer = await read_to_end(stream)
        assert answer.count(b"HTTP/1.1 ") == 1, answer

    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            for body in (hidden, request(1, "agents.register")):
                length = ("Content-Length", str(len(body)))
                chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
                nursery.start_soon(shake, handshake(QUIET, length) + body)
                nursery.start_soon(
                    shake, handshake(QUIET, ("Transfer-Encoding", "chunked")) + chunk
                )
    listed = await server.client.get("/api/agents")
    assert listed.json()["agents"] == []
    await assert_serves(server)
