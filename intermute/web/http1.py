"""HTTP/1.1 and the WebSocket handshake as this server speaks them, on top of Hypercorn's."""

from typing import Any

import h11
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import StreamClosed
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.ws_stream import WSStream

from intermute.web.problem import problem, problem_headers

__all__ = ["Http1"]

_PROTOCOL_ERRORS = {
    400: ("bad_request", "The request is malformed"),
    431: ("headers_too_large", "The headers are too large"),
}


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
        if not _is_whole_handshake(request):
            await self._send_error_response(400)
            await self.send(Closed())
            return
        extensions = b"sec-websocket-extensions"
        if any(name == extensions for name, _ in request.headers):
            # Compression is declined: wsproto inflates a frame without a bound.
            request = h11.Request(
                method=request.method,
                target=request.target,
                headers=[header for header in request.headers if header[0] != extensions],
                http_version=request.http_version,
            )
        await super()._create_stream(request)

    async def _send_error_response(self, status_code: int) -> None:
        code, title = _PROTOCOL_ERRORS.get(status_code, _PROTOCOL_ERRORS[400])
        body = problem(status_code, code, title, "It is not an HTTP request this server reads.")
        headers = problem_headers(body, (b"connection", b"close"))
        answer = h11.Response(status_code=status_code, headers=headers)
        try:
            head = self.connection.send(answer)
            whole = [head, self.connection.send(h11.Data(data=body))]
            self.connection.send(h11.EndOfMessage())
        except h11.LocalProtocolError:
            return
        # In one piece, because the app may be answering at the same time.
        await self.send(RawData(b"".join(whole)))

    async def handle(self, event: Event) -> None:
        await super().handle(event)
        stream = self.stream
        if isinstance(stream, WSStream) and stream.buffer.length > stream.buffer.max_length:
            # Close 1009 was sent, but Hypercorn would go on collecting the message.
            await self.stream_send(StreamClosed(stream_id=STREAM_ID))


def _is_whole_handshake(request: h11.Request) -> bool:
    """Whether a request that wants a WebSocket has all that it needs; any other request has."""
    heads = {name: value.strip().lower() for name, value in request.headers}
    if heads.get(b"upgrade") != b"websocket" or request.method != b"GET":
        return True
    tokens = [token.strip() for token in heads.get(b"connection", b"").split(b",")]
    if b"upgrade" not in tokens:
        return True
    if request.http_version != b"1.1":
        return False
    return heads.get(b"sec-websocket-version") == b"13" and b"sec-websocket-key" in heads
