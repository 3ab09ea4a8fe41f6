"""The library traps of WebSockets and of shutdown, over real sockets."""

import random
import zlib

import pytest
import trio

from intermute.web.server import ServerLimits

from .test_traps_harness import (
    ask,
    flood,
    frame,
    frames_of,
    handshake,
    head,
    open_websocket,
    post,
    read_answer,
    read_to_end,
    running,
    shrink_buffers,
)

MIB = 1024 * 1024


async def test_an_empty_binary_message_stays_one():
    async with running() as server, await server.connect() as stream:
        await open_websocket(stream, "/ws/echo")
        await stream.send_all(frame(b"", 2) + frame(b"hi"))
        received = b""
        while len(received) < 6:
            received += await stream.receive_some(100)
        assert list(frames_of(received))[-2:] == [(2, b""), (1, b"hi")]


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
async def test_trap_reader_that_stopped_reading_is_cut_off(unix, tmp_path):
    limits = ServerLimits(send_timeout_s=0.2)
    async with running(limits=limits, unix=tmp_path / "s") as server:
        stream = await (server.connect_unix() if unix else server.connect())
        async with stream:
            shrink_buffers(stream)
            await open_websocket(stream, "/ws/torrent")
            await server.probe.cancelled.wait()


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
async def test_trap_reader_that_stopped_reading_does_not_delay_shutdown(unix, tmp_path):
    """The send timeout is out of reach here: only the shutdown's own deadline can end the send."""
    limits = ServerLimits(send_timeout_s=100_000.0, graceful_timeout_s=0.2)
    async with running(limits=limits, unix=tmp_path / "s") as server:
        stream = await (server.connect_unix() if unix else server.connect())
        async with stream:
            shrink_buffers(stream)
            await open_websocket(stream, "/ws/torrent")
            await server.probe.started.wait()
            server.stop.set()
            await server.ended.wait()


async def test_cancelling_the_server_ends_a_send_in_progress():
    limits = ServerLimits(send_timeout_s=100_000.0, graceful_timeout_s=100_000.0)
    async with trio.open_nursery() as nursery, running(limits=limits) as server:
        stream = await server.connect()
        async with stream:
            shrink_buffers(stream)
            await open_websocket(stream, "/ws/torrent")
            await server.probe.started.wait()
            nursery.cancel_scope.cancel()


async def test_shutdown_lets_a_running_request_finish_and_closes_idle_connections():
    async with running(limits=ServerLimits(graceful_timeout_s=1000.0)) as server:
        idle, busy = await server.connect(), await server.connect()
        await idle.send_all(post(b"1"))
        assert (await read_answer(idle)).status == 200
        await busy.send_all(head("GET", "/slow"))
        await server.probe.started.wait()
        server.stop.set()
        assert await read_to_end(idle) == b""
        with pytest.raises(OSError, match="all attempts to connect"):
            await server.connect()
        server.probe.release.set()
        assert (await read_answer(busy)).json() == {"slow": True}
        assert await read_to_end(busy) == b""
        await server.ended.wait()
        await idle.aclose()
        await busy.aclose()


async def test_shutdown_cancels_what_outlasts_its_grace():
    limits = ServerLimits(graceful_timeout_s=0.05)
    async with running(limits=limits) as server, await server.connect() as stream:
        await stream.send_all(head("GET", "/slow"))
        await server.probe.started.wait()
        server.stop.set()
        await server.probe.cancelled.wait()
        server.probe.release.set()
        await server.ended.wait()
        assert await read_to_end(stream) == b""


async def _send_until_stopped(stream: trio.SocketStream, piece: bytes) -> int:
    """How many bytes go out before nothing more does, once the whole run stands still."""
    sent = 0
    while True:
        with trio.move_on_after(0.3) as scope:
            await stream.send_all(piece)
        if scope.cancelled_caught:
            return sent
        sent += len(piece)
        if sent > 64 * MIB:
            return sent


async def test_trap_flood_of_inbound_messages_is_stopped_by_the_socket():
    """A handler that never receives: the client is stopped after the queues are full."""
    limits = ServerLimits(graceful_timeout_s=0.05)
    async with running(limits=limits) as server, await server.connect() as stream:
        await open_websocket(stream, "/ws/deaf")
        await server.probe.started.wait()
        assert await _send_until_stopped(stream, frame(b"x" * 60_000)) < 16 * MIB


async def test_trap_flooding_client_that_leaves_frees_its_connection():
    limits = ServerLimits(connections_max=2, send_timeout_s=0.2)
    async with running(limits=limits) as server:
        for _ in range(3):
            async with await server.connect() as stream:
                shrink_buffers(stream)
                await open_websocket(stream, "/ws/torrent")
                await flood(stream, frame(b"x" * 60_000))


async def test_trap_message_over_the_limit_is_closed_with_1009():
    limits = ServerLimits(websocket_message_len_max=1000)
    async with running(limits=limits) as server, await server.connect() as stream:
        await open_websocket(stream, "/ws/echo")
        await stream.send_all(frame(b"x" * 1001))
        received = await read_to_end(stream)
        closes = [payload for opcode, payload in frames_of(received) if opcode == 8]
        assert [payload[:2] for payload in closes] == [(1009).to_bytes(2, "big")]


async def test_trap_client_that_ignores_1009_and_sends_on_is_cut():
    limits = ServerLimits(websocket_message_len_max=1000)
    async with running(limits=limits) as server, await server.connect() as stream:
        await open_websocket(stream, "/ws/echo")
        await flood(stream, frame(b"x" * 60_000, 1, fin=False))


async def test_trap_fragments_count_together():
    limits = ServerLimits(websocket_message_len_max=1000)
    async with running(limits=limits) as server, await server.connect() as stream:
        await open_websocket(stream, "/ws/echo")
        await stream.send_all(frame(b"x" * 600, 1, fin=False) + frame(b"x" * 600, 0))
        received = await read_to_end(stream)
        assert [p[:2] for o, p in frames_of(received) if o == 8] == [(1009).to_bytes(2, "big")]


async def test_trap_compression_is_declined_so_that_nothing_inflates():
    async with running() as server, await server.connect() as stream:
        offer = ("Sec-WebSocket-Extensions", "permessage-deflate")
        answer = await open_websocket(stream, "/ws/echo", offer)
        assert b"extensions" not in answer.lower()
        packer = zlib.compressobj(wbits=-15)
        bomb = packer.compress(bytes(8 * MIB)) + packer.flush(zlib.Z_SYNC_FLUSH)
        await stream.send_all(frame(bomb[:-4], 2, rsv1=True))
        received = await read_to_end(stream)
        assert not [payload for opcode, payload in frames_of(received) if opcode in (1, 2)]


async def test_ping_flood_is_answered_and_survived():
    async with running() as server, await server.connect() as stream:
        await open_websocket(stream, "/ws/echo")
        await stream.send_all(frame(b"p", 9) * 1000 + frame(b"end"))
        received = b""
        while b"end" not in received:
            received += await stream.receive_some(65536)
        assert received.count(b"\x8a\x01p") == 1000


@pytest.mark.parametrize(
    ("headers", "host", "status"),
    [
        ([("Origin", "http://evil.example")], "localhost", 403),
        ([("Origin", "null")], "localhost", 403),
        ([("Origin", "http://localhost:1")], "localhost:2", 403),
        ([("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")], "localhost", 403),
        ([], "evil.example", 421),
    ],
)
async def test_trap_foreign_origin_or_host_is_refused_before_the_handshake(headers, host, status):
    async with running() as server:
        answer = await ask(server, handshake("/ws/echo", *headers, host=host))
        assert answer.status == status
        assert answer.headers[b"content-type"] == b"application/problem+json"
        assert server.probe.calls == []


async def test_trap_a_malformed_handshake_does_not_end_the_server():
    """Hypercorn decodes these headers as ASCII in the task that reads: its server ends by it."""
    async with running() as server:
        for header in ("Connection", "Sec-WebSocket-Protocol"):
            raw = handshake("/ws/echo").replace(b"\r\n\r\n", b"\r\n")
            raw += header.encode() + b": upgrade, \xff\r\n\r\n"
            async with await server.connect() as stream:
                await stream.send_all(raw)
                await read_to_end(stream)
        assert (await ask(server, post(b"1"))).status == 200


async def test_noise_ends_only_its_own_connection():
    """Broken requests and frames from a fixed seed; after each the server still serves."""
    chance = random.Random(20)
    async with running() as server:
        good = frame(b"hello") + frame(b"a", 1, fin=False) + frame(b"b", 0) + frame(b"", 9)
        for _ in range(150):
            noisy = bytearray(good + frame(b"\x03\xe8", 8))
            for _ in range(chance.randint(1, 6)):
                noisy[chance.randrange(len(noisy))] = chance.randrange(256)
            async with await server.connect() as stream:
                await open_websocket(stream, "/ws/echo")
                await stream.send_all(bytes(noisy))
                await stream.send_eof()
                await read_to_end(stream)
        request = post(b'{"a":1}', ("X-A", "b"))
        for _ in range(150):
            noisy = bytearray(request)
            for _ in range(chance.randint(1, 6)):
                noisy[chance.randrange(len(noisy))] = chance.randrange(256)
            async with await server.connect() as stream:
                await stream.send_all(bytes(noisy))
                await stream.send_eof()
                await read_to_end(stream)
        assert (await ask(server, post(b"1"))).status == 200
