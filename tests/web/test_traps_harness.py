"""A small app behind the real guard and server, and clients that misbehave on purpose."""

import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import h11
import msgspec
import trio
from quart import request, websocket
from quart_trio import QuartTrio

from intermute.web.guard import Guard, HostPolicy
from intermute.web.listeners import address_of, open_tcp_listeners, open_unix_listener
from intermute.web.server import ServerLimits, serve
from intermute.web.websocket import use_inline_websockets
from intermute.wire.strict_json import BadJson, decode, encode

BODY_LEN_MAX = 64 * 1024
# A hang guard, far beyond anything a healthy run needs.
HANG_S = 60.0


@attrs.define(eq=False)
class Probe:
    """What the app's handlers saw, for tests to wait on."""

    started: trio.Event = attrs.field(factory=trio.Event)
    release: trio.Event = attrs.field(factory=trio.Event)
    cancelled: trio.Event = attrs.field(factory=trio.Event)
    finished: trio.Event = attrs.field(factory=trio.Event)
    calls: list[str] = attrs.field(factory=list)


def make_app(probe: Probe) -> QuartTrio:
    app = QuartTrio("traps")
    use_inline_websockets(app)

    @app.post("/echo")
    async def echo():
        probe.calls.append("echo")
        try:
            value = decode(await request.get_data())
        except BadJson as error:
            return {"reason": error.reason}, 400
        return encode(value), 200, {"content-type": "application/json"}

    @app.get("/where")
    async def where():
        probe.calls.append("where")
        return {"client": request.scope["client"], "server": request.scope["server"]}

    @app.route("/slow", methods=["GET", "POST"])
    async def slow():
        probe.started.set()
        try:
            await probe.release.wait()
        except trio.Cancelled:
            probe.cancelled.set()
            with trio.CancelScope(shield=True):
                await probe.release.wait()
                probe.finished.set()
            raise
        return {"slow": True}

    @app.websocket("/ws/echo")
    async def ws_echo():
        probe.calls.append("ws")
        while True:
            await websocket.send(await websocket.receive())

    @app.websocket("/ws/torrent")
    async def ws_torrent():
        probe.started.set()
        try:
            while True:
                await websocket.send(b"x" * 65536)
        except trio.Cancelled:
            probe.cancelled.set()
            raise

    @app.websocket("/ws/deaf")
    async def ws_deaf():
        await websocket.accept()
        probe.started.set()
        try:
            await trio.sleep_forever()
        finally:
            probe.cancelled.set()

    return app


@attrs.define(eq=False)
class Running:
    """A served app: where to reach it and how to stop it."""

    probe: Probe
    port: int
    path: str | None
    stop: trio.Event
    ended: trio.Event

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def connect_unix(self) -> trio.SocketStream:
        assert self.path is not None
        return await trio.open_unix_socket(self.path)


@asynccontextmanager
async def running(
    *, limits: ServerLimits | None = None, unix: Path | None = None, body_timeout_s: float = 30.0
) -> AsyncIterator[Running]:
    probe = Probe()
    app = Guard(
        make_app(probe),
        hosts=HostPolicy(),
        body_len_max=BODY_LEN_MAX,
        body_timeout_s=body_timeout_s,
    )
    sockets = open_tcp_listeners("127.0.0.1", 0, user_timeout_ms=3000)
    port = address_of(sockets[0])[1]
    assert port is not None
    if unix is not None:
        sockets.append(open_unix_listener(unix))
    stop, ended, ready = trio.Event(), trio.Event(), trio.Event()
    path = None if unix is None else str(unix)

    async def main() -> None:
        await serve(app, sockets, limits=limits, shutdown=stop.wait, on_ready=ready.set)
        ended.set()

    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(main)
            await ready.wait()
            try:
                yield Running(probe, port, path, stop, ended)
            finally:
                probe.release.set()
                stop.set()


@attrs.frozen
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes
    closed: bool

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


def head(
    method: str,
    target: str,
    *headers: tuple[str, str],
    host: str | None = "localhost",
) -> bytes:
    lines = [f"{method} {target} HTTP/1.1"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def post(body: bytes, *headers: tuple[str, str], target: str = "/echo") -> bytes:
    every = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers]
    return head("POST", target, *every) + body


async def read_answer(stream: trio.abc.ReceiveStream, method: bytes = b"POST") -> Answer:
    """One whole answer; `closed` says whether the server means to close."""
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
    peer.send(h11.EndOfMessage())
    response: h11.Response | None = None
    body = b""
    while True:
        event = peer.next_event()
        if event is h11.NEED_DATA:
            peer.receive_data(bytes(await stream.receive_some(65536)))
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert response is not None
            closed = peer.their_state is h11.MUST_CLOSE
            return Answer(response.status_code, dict(response.headers), bytes(body), closed)
        elif isinstance(event, h11.InformationalResponse):
            continue
        else:
            raise AssertionError(event)


async def ask(server: Running, raw: bytes) -> Answer:
    """Send bytes on a connection of their own and read the answer."""
    async with await server.connect() as stream:
        await stream.send_all(raw)
        return await read_answer(stream)


async def read_to_end(stream: trio.abc.ReceiveStream) -> bytes:
    """Everything until the server closes, by whichever way."""
    received = b""
    try:
        async for chunk in stream:
            received += chunk
    except trio.BrokenResourceError:
        pass
    return received


async def flood(stream: trio.SocketStream, piece: bytes) -> int:
    """Send the same again and again until the server cuts the connection; how many bytes."""
    sent_len = 0
    try:
        while True:
            await stream.send_all(piece)
            sent_len += len(piece)
    except trio.BrokenResourceError:
        return sent_len


def handshake(target: str, *headers: tuple[str, str], host: str | None = "localhost") -> bytes:
    every = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        *headers,
    ]
    return head("GET", target, *every, host=host)


async def open_websocket(
    stream: trio.SocketStream, target: str, *headers: tuple[str, str]
) -> bytes:
    """Shake hands; returns the head of the answer."""
    await stream.send_all(handshake(target, *headers))
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        received += await stream.receive_some(1)
    assert received.startswith(b"HTTP/1.1 101 "), received
    return received


def frame(payload: bytes, opcode: int = 1, *, fin: bool = True, rsv1: bool = False) -> bytes:
    """A client frame; its mask is zeroes."""
    first = (0x80 if fin else 0) | (0x40 if rsv1 else 0) | opcode
    if len(payload) < 126:
        size = bytes([0x80 | len(payload)])
    elif len(payload) < 65536:
        size = b"\xfe" + len(payload).to_bytes(2, "big")
    else:
        size = b"\xff" + len(payload).to_bytes(8, "big")
    return bytes([first]) + size + bytes(4) + payload


def frames_of(received: bytes) -> Iterable[tuple[int, bytes]]:
    """The server's whole frames as (opcode, payload)."""
    at = 0
    while len(received) - at >= 2:
        opcode, size = received[at] & 0x0F, received[at + 1]
        at += 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size = int.from_bytes(received[at : at + width], "big")
            at += width
        yield opcode, received[at : at + size]
        at += size


def shrink_buffers(stream: trio.SocketStream) -> None:
    """Let little be in flight towards this client, so that a stopped reader is felt at once."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)


async def test_the_app_answers_on_both_kinds_of_socket(tmp_path):
    async with running(unix=tmp_path / "s") as server:
        async with await server.connect() as stream:
            await stream.send_all(head("GET", "/where"))
            tcp = (await read_answer(stream)).json()
        async with await server.connect_unix() as stream:
            await stream.send_all(head("GET", "/where", host="anything.example"))
            unix = (await read_answer(stream)).json()
    assert tcp["client"][0] == "127.0.0.1"
    assert tcp["server"] == ["127.0.0.1", server.port]
    assert unix == {"client": None, "server": [server.path, None]}


async def test_a_connection_is_used_again():
    async with running() as server, await server.connect() as stream:
        for _ in range(3):
            await stream.send_all(post(b'{"a":1}'))
            answer = await read_answer(stream)
            assert (answer.status, answer.body, answer.closed) == (200, b'{"a":1}', False)
