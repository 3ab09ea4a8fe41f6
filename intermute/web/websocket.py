"""WebSockets in the one task that the server runs for each: whole messages in, bytes out."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Any, cast

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, WebsocketScope
from quart import Websocket
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIWebsocketConnection
from quart_trio.wrappers import TrioWebsocket

from intermute.domain.limits import SOCKET_PIECE_LEN_MAX
from intermute.web.paths import use_path
from intermute.web.sockets import EXTENSION, DirectSocket, text_frame

__all__ = ["InlineWebsocket", "Socket", "use_inline_websockets"]

_INTERNAL_ERROR = 1011
_MESSAGE = "websocket.receive"
_DISCONNECT = "websocket.disconnect"


class InlineWebsocket(TrioASGIWebsocketConnection):
    """One WebSocket, from its handshake to its end, without tasks of its own.

    Nothing is taken from the server before the handler receives it, so what waits for a handler
    is bounded by the server, which stops reading. A handler that receives when the client has gone
    is cancelled there; any other is cancelled by the server a moment later.
    """

    def __init__(self, app: QuartTrio, scope: WebsocketScope) -> None:
        use_path(scope)
        super().__init__(app, scope)
        self._gone = trio.CancelScope()

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        websocket = self._create_websocket_from_scope(send)
        websocket._receive = partial(self._receive, receive)
        with self._gone:
            response = await cast(QuartTrio, self.app).handle_websocket(websocket)
            if self._accepted:
                if response is not None and not self._closed:
                    # A bug: it was answered as one, but there is nobody to answer any more.
                    await self.close_connection(send, _INTERNAL_ERROR, "a bug of the server")
                elif not self._closed:
                    await self.close_connection(send, 1000, "")
            elif response is not None:
                await _refuse(response, send)

    async def _receive(self, receive: ASGIReceiveCallable) -> str | bytes:
        """The next message; cancels the handler when the client has gone."""
        while True:
            event: Any = await receive()
            if event["type"] == _MESSAGE:
                return content_of(event)
            if event["type"] == _DISCONNECT:
                self._gone.cancel()
                await trio.lowlevel.checkpoint()


async def _refuse(response: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    """Answer a handshake with an HTTP response."""
    headers = [(name.lower().encode(), value.encode()) for name, value in response.headers.items()]
    body: Any = await response.get_data(as_text=False)
    start = {"type": "websocket.http.response.start", "status": response.status_code}
    await send({**start, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})


def content_of(event: Any) -> str | bytes:
    """The text or the bytes of an ASGI message; an empty one of bytes stays one."""
    text: str | None = event.get("text")
    return (event["bytes"] or b"") if text is None else text


class Socket:
    """An accepted WebSocket. One task receives; several may send, whole frames each."""

    def __init__(self, websocket: Websocket) -> None:
        self._websocket = websocket
        extensions: Any = cast(Any, websocket.scope).get("extensions") or {}
        self._direct: DirectSocket | None = extensions.get(EXTENSION)

    async def receive(self) -> list[bytes]:
        """All messages that are there, at least one; text as UTF-8.

        Cancellation: also when the client has gone, after all that it has sent.
        """
        # The library's own method asks each time whether the handshake is over.
        first: str | bytes = await self._websocket._receive()
        if self._direct is None:
            return [_bytes(first)]
        return [_bytes(first), *(_bytes(content_of(event)) for event in self._direct.take())]

    async def send(self, payloads: Iterable[bytes]) -> None:
        """Send text messages, in order. They go nowhere once the socket is closed."""
        if self._direct is None:
            for payload in payloads:
                await self._websocket.send(payload.decode())
            return
        for piece in _pieces(payloads):
            if not await self._direct.send(piece):
                return

    async def close(self, code: int, reason: str) -> None:
        await self._websocket.close(code, reason)


def _bytes(message: str | bytes) -> bytes:
    return message.encode("utf-8", "surrogatepass") if isinstance(message, str) else message


def _pieces(payloads: Iterable[bytes]) -> Iterator[bytes]:
    piece: list[bytes] = []
    size = 0
    for payload in payloads:
        if piece and size + len(payload) > SOCKET_PIECE_LEN_MAX:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(text_frame(payload))
        size += len(payload)
    if piece:
        yield piece[0] if len(piece) == 1 else b"".join(piece)


def use_inline_websockets(app: QuartTrio) -> None:
    """Make the app serve its WebSockets through `InlineWebsocket`.

    Raises:
        RuntimeError: This Quart-Trio keeps inbound messages somewhere of its own, where nothing
            bounds them.
    """
    if hasattr(TrioWebsocket, "buffer_class"):
        raise RuntimeError("this Quart-Trio has its own inbound buffer, which is not bounded yet")
    app.asgi_websocket_class = InlineWebsocket
