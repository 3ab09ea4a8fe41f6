"""Clients of the feeds, for tests: WebSockets and event streams of a server on this machine."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlencode

import attrs
import h11
import httpx
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from .answers import raw, request_bytes
from .conftest import Server

WAIT_S = 60.0


@attrs.define
class Listener:
    """An open WebSocket."""

    socket: WebSocketConnection
    stream: trio.SocketStream
    frames: list[dict[str, Any]] = attrs.field(factory=list)
    _ids: int = 0

    async def read(self) -> Any:
        """The next message, an event or an answer."""
        with trio.fail_after(WAIT_S):
            return json.loads(await self.socket.get_message())

    async def event(self) -> dict[str, Any]:
        """The next event; answers are passed over."""
        while True:
            found = await self.read()
            if isinstance(found, dict) and "cursor" in found and "created_at" in found:
                self.frames.append(found)
                return found

    async def events(self, count: int) -> list[dict[str, Any]]:
        return [await self.event() for _ in range(count)]

    async def until(self, cursor: int) -> list[dict[str, Any]]:
        """All events up to the one of this cursor."""
        found = [await self.event()]
        while found[-1]["cursor"] < cursor:
            found.append(await self.event())
        return found

    async def say(self, message: Any) -> None:
        await self.socket.send_message(json.dumps(message))

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask and wait for the answer; events that come before it are kept in `frames`."""
        self._ids += 1
        own = self._ids
        await self.say({"jsonrpc": "2.0", "id": own, "method": method, "params": params})
        return await self.answer(own)

    async def answer(self, request_id: object) -> dict[str, Any]:
        while True:
            found = await self.read()
            if isinstance(found, dict) and "jsonrpc" not in found:
                self.frames.append(found)
            else:
                assert found["id"] == request_id, found
                return found

    async def closed(self) -> tuple[int, str]:
        """Read to the end; the code and the reason of the close frame."""
        with trio.fail_after(WAIT_S):
            while True:
                try:
                    self.frames.append(json.loads(await self.socket.get_message()))
                except ConnectionClosed:
                    break
        ended = self.socket.closed
        assert ended is not None, "it ended without a close frame"
        return ended.code, ended.reason or ""


@asynccontextmanager
async def listening(
    server: Server,
    agent_id: str | None = None,
    *,
    headers: dict[str, str] | None = None,
    **query: Any,
) -> AsyncIterator[Listener]:
    """An agent's feed, or that of the project."""
    path = "/ws/events" if agent_id is None else f"/ws/agents/{quote(agent_id)}"
    target = f"{path}?{urlencode(query)}" if query else path
    extra = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    # The stream is ours to close: the library leaves one open whose server closed first.
    async with (
        await trio.open_tcp_stream("127.0.0.1", server.port) as stream,
        trio.open_nursery() as nursery,
    ):
        with trio.fail_after(WAIT_S):
            socket = await wrap_client_stream(
                nursery, stream, "localhost", target, extra_headers=extra, max_message_size=2**24
            )
        yield Listener(socket, stream)
        # No closing handshake: the library fails when a ping comes in the middle of one.
        nursery.cancel_scope.cancel()


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


async def rejected(
    server: Server, path: str, *, headers: dict[str, str] | None = None, **query: Any
) -> tuple[int, dict[str, Any]]:
    """The status and the members of the answer to a handshake that does not succeed."""
    target = f"{path}?{urlencode(query)}" if query else path
    every = tuple({**UPGRADE, **(headers or {})}.items())
    answer = await raw(server.port, "GET", target, headers=every)
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()


async def all_that_a_socket_tells(
    server: Server, target: str, headers: dict[str, str]
) -> httpx.Response:
    """Open a WebSocket and take down what it says, as if it were the answer to a request."""
    given = tuple({**UPGRADE, **headers}.items())
    peer = h11.Connection(h11.CLIENT)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(request_bytes("GET", target, headers=given))
        peer.send(h11.Request(method="GET", target="/", headers=[("Host", "x"), *given]))
        peer.send(h11.EndOfMessage())
        head = await next_event(stream, peer)
        status, kinds = head.status_code, [(n.decode(), v.decode()) for n, v in head.headers]
        if status != 101:
            body = b""
            while isinstance(event := await next_event(stream, peer), h11.Data):
                body += bytes(event.data)
            return httpx.Response(status, headers=kinds, content=body)
        # What is pushed has been asked for as well, so that it is known when all of it is there.
        asked = json.dumps({"jsonrpc": "2.0", "id": "last", "method": "events.list"}).encode()
        await stream.send_all(b"\x81" + bytes([0x80 | len(asked)]) + bytes(4) + asked)
        told = b""
        with trio.fail_after(WAIT_S):
            while b'"id":"last"' not in told:
                told += bytes(await stream.receive_some(65_536))
        return httpx.Response(status, content=told.decode(errors="replace").encode())


@attrs.define
class Streamed:
    """One event of an event stream, or a comment."""

    event: str = ""
    id: str = ""
    data: Any = None
    comment: str | None = None


@attrs.define
class Stream:
    """An open event stream. Iterating over it leaves comments out."""

    tcp: trio.SocketStream
    peer: h11.Connection
    response: h11.Response
    _text: bytes = b""
    _ended: bool = False

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> Streamed:
        while True:
            block = await self.block()
            if block.comment is None:
                return block

    async def block(self) -> Streamed:
        """The next event or comment."""
        while b"\n\n" not in self._text:
            if self._ended:
                raise StopAsyncIteration
            event = await next_event(self.tcp, self.peer)
            if isinstance(event, h11.Data):
                self._text += bytes(event.data)
            else:
                assert isinstance(event, h11.EndOfMessage), "it ended in the middle"
                self._ended = True
        whole, _, self._text = self._text.partition(b"\n\n")
        block = Streamed()
        for line in whole.decode().split("\n"):
            name, _, value = line.partition(": ")
            match name:
                case "data":
                    block.data = json.loads(value)
                case "event":
                    block.event = value
                case "id":
                    block.id = value
                case _:
                    assert line.startswith(":"), line
                    block.comment = line
        return block


async def next_event(tcp: trio.SocketStream, peer: h11.Connection) -> Any:
    with trio.fail_after(WAIT_S):
        while (event := peer.next_event()) is h11.NEED_DATA:
            peer.receive_data(bytes(await tcp.receive_some(65_536)))
    return event


@asynccontextmanager
async def streaming(
    server: Server, *, headers: dict[str, str] | None = None, **params: Any
) -> AsyncIterator[Stream]:
    """The project's feed as an event stream."""
    target = f"/api/events?{urlencode(params)}"
    every = {"Host": "localhost", "Accept": "text/event-stream", **(headers or {})}
    peer = h11.Connection(h11.CLIENT)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as tcp:
        request = h11.Request(method="GET", target=target, headers=list(every.items()))
        await tcp.send_all(peer.send(request) or b"")
        peer.send(h11.EndOfMessage())
        response = await next_event(tcp, peer)
        assert response.status_code == 200, response
        assert dict(response.headers)[b"content-type"].startswith(b"text/event-stream")
        yield Stream(tcp, peer, response)
