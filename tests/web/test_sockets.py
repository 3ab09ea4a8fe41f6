"""What the server offers for WebSockets beyond ASGI, to clients that were written by others."""

from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio_websocket import wrap_client_stream

from intermute.web.listeners import address_of, open_tcp_listeners
from intermute.web.server import ServerLimits, serve
from intermute.web.sockets import EXTENSION, text_frame

from .test_traps_harness import (
    HANG_S,
    flood,
    frame,
    frames_of,
    handshake,
    open_websocket,
    read_answer,
    read_to_end,
    shrink_buffers,
)


@asynccontextmanager
async def serving(handler: Any, **limits: Any):
    """An ASGI app whose WebSockets are handled by `handler(scope, receive, send)`; its port."""

    async def app(scope, receive, send) -> None:
        while scope["type"] == "lifespan":
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return
        await receive()
        await send({"type": "websocket.accept"})
        await handler(scope, receive, send)

    listeners = open_tcp_listeners("127.0.0.1", 0, user_timeout_ms=3000)
    port = address_of(listeners[0])[1]
    stop, ready = trio.Event(), trio.Event()
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                await serve(
                    app,
                    listeners,
                    shutdown=stop.wait,
                    on_ready=ready.set,
                    limits=ServerLimits(**{"graceful_timeout_s": 0.1, **limits}),
                )

            nursery.start_soon(run)
            await ready.wait()
            yield port
            stop.set()


@asynccontextmanager
async def connected(port: int):
    """An independent client. It leaves without a closing handshake, because the library fails when
    a ping comes in the middle of one."""
    async with (
        await trio.open_tcp_stream("127.0.0.1", port) as stream,
        trio.open_nursery() as nursery,
    ):
        yield await wrap_client_stream(nursery, stream, "localhost", "/")
        nursery.cancel_scope.cancel()


# -- Frames out


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 300_000])
async def test_frames_arrive_as_they_were_sent(size):
    async def handler(scope, receive, send) -> None:
        direct = scope["extensions"][EXTENSION]
        assert await direct.send(text_frame(b"a" * size) + text_frame(b"end"))
        await receive()

    async with serving(handler) as port, connected(port) as client:
        assert await client.get_message() == "a" * size
        assert await client.get_message() == "end"


async def test_frames_of_both_ways_stay_whole_and_in_order():
    """Through ASGI, directly and pings, from several tasks at once."""

    async def handler(scope, receive, send) -> None:
        direct = scope["extensions"][EXTENSION]

        async def directly(name: str) -> None:
            for number in range(50):
                await direct.send(text_frame(f"{name} {number} ".encode() + b"x" * 20_000))

        async def by_asgi() -> None:
            for number in range(50):
                await send({"type": "websocket.send", "text": f"c {number} " + "y" * 20_000})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(directly, "a")
            nursery.start_soon(directly, "b")
            nursery.start_soon(by_asgi)

    async with (
        serving(handler, websocket_ping_interval_s=0.001) as port,
        connected(port) as client,
    ):
        seen: dict[str, list[int]] = {"a": [], "b": [], "c": []}
        for _ in range(150):
            name, number, rest = (await client.get_message()).split(" ")
            assert len(rest) == 20_000
            seen[name].append(int(number))
    assert all(numbers == list(range(50)) for numbers in seen.values())


async def test_nothing_follows_a_close_frame():
    outcome: list[bool] = []

    async def handler(scope, receive, send) -> None:
        direct = scope["extensions"][EXTENSION]
        outcome.append(await direct.send(text_frame(b"last")))
        await send({"type": "websocket.close", "code": 4000, "reason": "over"})
        outcome.append(await direct.send(text_frame(b"too late")))

    async with serving(handler) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await open_websocket(stream, "/")
            received = list(frames_of(await read_to_end(stream)))
    assert outcome == [True, False]
    assert [opcode for opcode, _ in received if opcode != 9] == [1, 8]
    assert received[-1][1] == (4000).to_bytes(2, "big") + b"over"


async def test_a_closing_handshake_of_the_client_is_answered_and_ends_sending():
    refused = trio.Event()

    async def handler(scope, receive, send) -> None:
        direct = scope["extensions"][EXTENSION]
        while await direct.send(text_frame(b"tick")):
            await trio.lowlevel.checkpoint()
        refused.set()

    async with serving(handler) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await open_websocket(stream, "/")
            await stream.send_all(frame((4001).to_bytes(2, "big") + b"enough", 8))
            received = list(frames_of(await read_to_end(stream)))
        await refused.wait()
    assert received[-1] == (8, (4001).to_bytes(2, "big") + b"enough")
    assert {opcode for opcode, _ in received[:-1]} <= {1, 9}


async def test_a_ping_of_the_client_is_answered_between_frames():
    async def handler(scope, receive, send) -> None:
        direct = scope["extensions"][EXTENSION]
        while (await receive())["type"] == "websocket.receive":
            await direct.send(text_frame(b"pong follows"))

    async with serving(handler) as port, connected(port) as client:
        await client.send_message("x")
        assert await client.get_message() == "pong follows"
        await client.ping(b"payload")


async def test_a_reader_that_never_reads_is_cut_and_its_sender_ends():
    ended = trio.Event()

    async def handler(scope, receive, send) -> None:
        direct = scope["extensions"][EXTENSION]
        try:
            while True:
                await direct.send(text_frame(b"x" * 60_000))
        finally:
            ended.set()

    async with serving(handler, send_timeout_s=0.2) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            shrink_buffers(stream)
            await open_websocket(stream, "/")
            await ended.wait()


# -- Messages in


async def test_all_that_waits_is_taken_at_once_in_order():
    seen: list[str] = []
    done = trio.Event()

    async def handler(scope, receive, send) -> None:
        direct = scope["extensions"][EXTENSION]
        calls = 0
        while len(seen) < 500:
            seen.append((await receive())["text"])
            seen.extend(each["text"] for each in direct.take())
            calls += 1
        assert calls < 100
        done.set()

    async with serving(handler) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await open_websocket(stream, "/")
            await stream.send_all(b"".join(frame(str(n).encode()) for n in range(500)))
            await done.wait()
    assert seen == [str(number) for number in range(500)]


# -- The life of a connection


async def test_an_idle_socket_is_dropped_and_one_that_answers_pings_is_not():
    """The raw client answers no pings; the other one does, all by itself."""

    async def handler(scope, receive, send) -> None:
        direct = scope["extensions"][EXTENSION]
        while (event := await receive())["type"] == "websocket.receive":
            await direct.send(text_frame(event["text"].encode()))

    limits = {"websocket_ping_interval_s": 0.05, "websocket_idle_timeout_s": 0.5}
    async with (
        serving(handler, **limits) as port,
        connected(port) as client,
    ):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await open_websocket(stream, "/")
            opcodes = {opcode for opcode, _ in frames_of(await read_to_end(stream))}
        assert opcodes == {9}, "pings and no close frame: there is nobody to read it"
        await client.send_message("still here")
        assert await client.get_message() == "still here"


async def test_a_socket_that_the_server_does_not_read_is_not_idle(autojump_clock):
    """The time jumps whenever nobody has anything to do, so many pings go by unanswered."""

    async def deaf(scope, receive, send) -> None:
        await trio.sleep_forever()

    limits = {"websocket_ping_interval_s": 2.0, "websocket_idle_timeout_s": 5.0}
    async with serving(deaf, **limits) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await open_websocket(stream, "/")
            with trio.move_on_after(30) as waited:
                await flood(stream, frame(b"x" * 32_768))
            assert waited.cancelled_caught, "it was cut"


@pytest.mark.parametrize("missing", ["Sec-WebSocket-Key", "Sec-WebSocket-Version"])
async def test_half_a_handshake_is_an_error_in_the_one_shape(missing):
    async def handler(scope, receive, send) -> None:
        raise AssertionError("it must not be reached")

    async with serving(handler) as port:
        raw = handshake("/")
        lines = [line for line in raw.split(b"\r\n") if not line.startswith(missing.encode())]
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(b"\r\n".join(lines))
            answer = await read_answer(stream)
    assert answer.status == 400
    assert answer.json()["error"] == "bad_request"


async def test_an_independent_client_sees_nothing_wrong_with_our_frames():
    """Fragments, control frames between them and both kinds of messages, echoed directly."""

    async def handler(scope, receive, send) -> None:
        direct = scope["extensions"][EXTENSION]
        while (event := await receive())["type"] == "websocket.receive":
            text = event["text"] if event["text"] is not None else event["bytes"].decode()
            await direct.send(text_frame(text.encode()))

    async with serving(handler) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await open_websocket(stream, "/")
            await stream.send_all(
                frame(b"he", 1, fin=False) + frame(b"p", 9) + frame(b"llo", 0) + frame(b"b", 2)
            )
            received = b""
            while received.count(b"\x81") < 2:
                received += await stream.receive_some(1000)
            assert [each for each in frames_of(received) if each[0] != 9] == [
                (10, b"p"),
                (1, b"hello"),
                (1, b"b"),
            ]
            await stream.send_all(frame((1000).to_bytes(2, "big"), 8))
            assert list(frames_of(await read_to_end(stream)))[-1][0] == 8
