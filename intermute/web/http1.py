"""HTTP/1.1 and the WebSocket handshake as this server speaks them, on top of Hypercorn's."""

from typing import Any, cast

import h11
from hypercorn.events import Closed, RawData
from hypercorn.protocol.events import Request, StreamClosed
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.ws_stream import FrameTooLargeError, WSStream
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.frame_protocol import CloseReason

from intermute.web.problem import problem, problem_headers

__all__ = ["Http1", "handshake_fault"]

_PROTOCOL_ERRORS = {
    400: ("bad_request", "The request is malformed"),
    431: ("headers_too_large", "The headers are too large"),
    501: ("not_implemented", "The body is sent in a way that is not read here"),
}
_UNREADABLE = "It is not an HTTP request this server reads."
_BAD_VERSION = "A WebSocket is opened with Sec-WebSocket-Version: 13."
_ONLY_VERSION = (b"sec-websocket-version", b"13")
_EXTENSIONS = b"sec-websocket-extensions"
_UPGRADE = b"upgrade"


class _Peer(h11.Connection):
    """HTTP/1.1 as a peer speaks it, deaf to whatever follows its last request.

    h11 calls that an error, and Hypercorn would cut the answer to that request short for it.
    """

    def receive_data(self, data: bytes) -> None:
        if self.their_state is not h11.MUST_CLOSE:
            super().receive_data(data)

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        return h11.NEED_DATA if self.their_state is h11.MUST_CLOSE else super().next_event()


class Http1(H11Protocol):
    """Hypercorn's HTTP/1.1, without the ways out of it and with our errors."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._head = b""
        size = self.config.h11_max_incomplete_size
        self.connection = _Peer(h11.SERVER, max_incomplete_event_size=size)

    async def _check_protocol(self, event: h11.Request) -> None:
        """Stay with HTTP/1.1: an upgrade to HTTP/2 is ignored, as the RFC allows."""

    async def _send_h11_event(self, event: Any) -> None:
        """Send what the event is on the wire; a head waits for the first of its body."""
        try:
            data = self.connection.send(event) or b""
        except h11.LocalProtocolError:
            if self.connection.their_state is not h11.ERROR:
                raise
            return
        if isinstance(event, h11.Response):
            self._head = data
            return
        if self._head:
            data, self._head = self._head + data, b""
        if data:
            await self.send(RawData(data=data))

    async def _create_stream(self, request: h11.Request) -> None:
        if not _asks_for_websocket(request):
            # Hypercorn takes more than that for a handshake, and would not decline compression.
            await super()._create_stream(_without(request, _UPGRADE))
            return
        fault = handshake_fault(request)
        if fault is not None:
            await self._send_error_response(400, fault)
            await self.send(Closed())
            return
        stream = _Websocket(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        self.stream = stream
        self.connection = H11WSConnection(cast(h11.Connection, self.connection))
        # Compression is declined: wsproto inflates a frame without a bound.
        headers = list(_without(request, _EXTENSIONS).headers)
        await stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=headers,
                http_version=request.http_version.decode(),
                method="GET",
                raw_path=request.target,
                state=self.connection_state,
            )
        )

    async def _send_error_response(self, status_code: int, detail: str = _UNREADABLE) -> None:
        status_code = status_code if status_code in _PROTOCOL_ERRORS else 400
        code, title = _PROTOCOL_ERRORS[status_code]
        body = problem(status_code, code, title, detail)
        more = (_ONLY_VERSION,) if detail is _BAD_VERSION else ()
        headers = problem_headers(body, (b"connection", b"close"), *more)
        answer = h11.Response(status_code=status_code, headers=headers)
        try:
            head = self.connection.send(answer)
            whole = [head, self.connection.send(h11.Data(data=body))]
            self.connection.send(h11.EndOfMessage())
        except h11.LocalProtocolError:
            return
        # In one piece, because the app may be answering at the same time.
        await self.send(RawData(b"".join(whole)))


class _Websocket(WSStream):
    """A WebSocket that says why before it ends at the fault of its peer."""

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            if isinstance(event, Message):
                try:
                    self.buffer.extend(event)
                except FrameTooLargeError:
                    await self._end(CloseConnection(code=CloseReason.MESSAGE_TOO_BIG))
                    return
                if event.message_finished:
                    assert self.app_put is not None
                    await self.app_put(self.buffer.to_message())
                    self.buffer.clear()
            elif isinstance(event, Ping):
                await self._send_wsproto_event(event.response())
            elif isinstance(event, CloseConnection):
                # It is the peer's own, or what wsproto makes of a frame against the rules.
                asked = self.connection.state is ConnectionState.REMOTE_CLOSING
                await self._end(event.response() if asked else event)
                return

    async def _end(self, close: CloseConnection) -> None:
        """Send a close frame, unless one was sent already, and nothing after it."""
        await self._send_wsproto_event(close)
        await self.send(StreamClosed(stream_id=self.stream_id))


def _without(request: h11.Request, header: bytes) -> h11.Request:
    """The request without any header of that name."""
    if not any(name == header for name, _ in request.headers):
        return request
    return h11.Request(
        method=request.method,
        target=request.target,
        http_version=request.http_version,
        headers=[each for each in request.headers if each[0] != header],
    )


def _asks_for_websocket(request: h11.Request) -> bool:
    upgrade = connection = b""
    for name, value in request.headers:
        if name == b"upgrade":
            upgrade = value.strip().lower()
        elif name == b"connection":
            connection = value.lower()
    if upgrade != b"websocket" or request.method.upper() != b"GET":
        return False
    return b"upgrade" in [token.strip() for token in connection.split(b",")]


def handshake_fault(request: h11.Request) -> str | None:
    """What is wrong with a request that asks for a WebSocket; None for any other request."""
    if not _asks_for_websocket(request):
        return None
    if request.http_version != b"1.1":
        return "A WebSocket is opened with HTTP/1.1."
    heads = {name: value.strip() for name, value in request.headers}
    if b"sec-websocket-key" not in heads:
        return "A WebSocket is opened with a Sec-WebSocket-Key, which is missing."
    return None if heads.get(b"sec-websocket-version") == b"13" else _BAD_VERSION
