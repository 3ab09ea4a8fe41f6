"""What this server offers for a WebSocket beyond ASGI: all that waits at once, frames as bytes.

An ASGI message for each frame is most of what a small frame costs. An app finds a `DirectSocket`
among the extensions of its scope; without one (another server, a test) it does as ASGI says.
"""

from collections.abc import Callable
from typing import Any, Protocol

from hypercorn.protocol.ws_stream import ASGIWebsocketState, WSStream
from wsproto.connection import ConnectionState

from intermute.web.inbound import Inbound

__all__ = [
    "EXTENSION",
    "DirectSocket",
    "extend",
    "text_frame",
]

EXTENSION = "intermute.socket"


class Write(Protocol):
    """Write all of it to the peer, unless what is asked just before says no."""

    async def __call__(self, data: bytes, *, only_if: Callable[[], bool]) -> bool: ...


class DirectSocket:
    """One WebSocket of this server, past ASGI."""

    def __init__(self, stream: WSStream, inbound: Inbound, write: Write) -> None:
        self._stream = stream
        self._write = write
        self.take = inbound.take

    async def send(self, frames: bytes) -> bool:
        """Send whole frames of the server as they are; False when the WebSocket is not open.

        Cancellation: before they are sent, or not at all.
        """
        return await self._write(frames, only_if=self._is_open)

    def _is_open(self) -> bool:
        """Whether a frame may follow: accepted, and neither side has said that it closes."""
        stream = self._stream
        return (
            not stream.closed
            and stream.state is ASGIWebsocketState.CONNECTED
            and stream.connection.state is ConnectionState.OPEN
        )


def text_frame(payload: bytes) -> bytes:
    """A whole text message as a server frames it."""
    size = len(payload)
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big") + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def extend(scope: Any, app_send: Any, write: Write, inbound: Inbound) -> None:
    """Put a `DirectSocket` into the scope of a WebSocket.

    Args:
        app_send: Hypercorn's, a method of the WebSocket's stream.
        inbound: Where its messages come from.
    """
    stream = app_send.__self__
    assert isinstance(stream, WSStream)
    scope["extensions"][EXTENSION] = DirectSocket(stream, inbound, write)
