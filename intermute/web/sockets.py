"""What this server offers for a WebSocket beyond ASGI: all that waits at once, frames as bytes.

An ASGI message for each frame is most of what a small frame costs. An app finds a `DirectSocket`
among the extensions of its scope; without one (another server, a test) it does as ASGI says.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import trio
from hypercorn.protocol.ws_stream import ASGIWebsocketState, WSStream
from wsproto.connection import ConnectionState

__all__ = [
    "EXTENSION",
    "INBOUND_BYTES_MAX",
    "INBOUND_LEN_MAX",
    "DirectSocket",
    "Inbound",
    "extend",
    "text_frame",
]

EXTENSION = "intermute.socket"

# What may wait for an app that does not receive; then the client is stopped by its own socket.
INBOUND_LEN_MAX = 64
INBOUND_BYTES_MAX = 512 * 1024

_MESSAGE = "websocket.receive"

Message = dict[str, Any]


class Write(Protocol):
    """Write all of it to the peer, unless what is asked just before says no."""

    async def __call__(self, data: bytes, *, only_if: Callable[[], bool]) -> bool: ...


class Inbound:
    """ASGI messages on their way to one app, which is the only one that takes them."""

    def __init__(self) -> None:
        self._queue: deque[Message] = deque()
        self._len_bytes = 0
        self._arrived = trio.lowlevel.ParkingLot()
        self._taken = trio.lowlevel.ParkingLot()

    async def put(self, message: Message) -> None:
        """Queue a message; one from the client waits while too much is there."""
        size = 0
        if message["type"] == _MESSAGE:
            while len(self._queue) >= INBOUND_LEN_MAX or self._len_bytes >= INBOUND_BYTES_MAX:
                await self._taken.park()
            size = _size(message)
        self._queue.append(message)
        self._len_bytes += size
        self._arrived.unpark()

    async def receive(self) -> Message:
        """The next message, as ASGI has it."""
        while not self._queue:
            await self._arrived.park()
        message = self._queue.popleft()
        self._len_bytes -= _size(message)
        self._taken.unpark()
        return message

    def take(self) -> list[Message]:
        """All that the client has sent so far, perhaps nothing."""
        found = []
        while self._queue and self._queue[0]["type"] == _MESSAGE:
            found.append(self._queue.popleft())
        if found:
            self._len_bytes = 0
            self._taken.unpark()
        return found


def _size(message: Message) -> int:
    if message["type"] != _MESSAGE:
        return 0
    text = message["text"]
    return len(message["bytes"] or b"") if text is None else len(text)


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


def extend(scope: Any, app_send: Any, write: Write) -> Inbound:
    """Put a `DirectSocket` into the scope of a WebSocket; answers the queue of its messages.

    Args:
        app_send: Hypercorn's, a method of the WebSocket's stream.
    """
    stream = app_send.__self__
    assert isinstance(stream, WSStream)
    inbound = Inbound()
    scope["extensions"][EXTENSION] = DirectSocket(stream, inbound, write)
    return inbound
