"""ASGI messages on their way to an app: what one connection has for it."""

from collections import deque
from collections.abc import MutableMapping
from typing import Any

import trio

from intermute.domain.limits import INBOUND_BYTES_MAX, INBOUND_LEN_MAX

__all__ = ["Inbound"]

_BODY = "http.request"
_MESSAGE = "websocket.receive"

Message = MutableMapping[str, Any]


class Inbound:
    """ASGI messages on their way to one app, which is the only one that takes them.

    Neither side lets others run unless it has to wait. A memory channel does with each message,
    so a request with a body would take its turn among all others three times before it is read.
    """

    def __init__(self) -> None:
        self._queue: deque[Message] = deque()
        self._len_bytes = 0
        self._arrived = trio.lowlevel.ParkingLot()
        self._taken = trio.lowlevel.ParkingLot()

    async def put(self, message: Message) -> None:
        """Queue a message; one from the client waits while too much is there."""
        if message["type"] in (_BODY, _MESSAGE):
            while len(self._queue) >= INBOUND_LEN_MAX or self._len_bytes >= INBOUND_BYTES_MAX:
                await self._taken.park()
        self._queue.append(message)
        self._len_bytes += _size(message)
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
        """All that the client of a WebSocket has sent so far, perhaps nothing."""
        found = []
        while self._queue and self._queue[0]["type"] == _MESSAGE:
            found.append(self._queue.popleft())
        if found:
            self._len_bytes = 0
            self._taken.unpark()
        return found


def _size(message: Message) -> int:
    """How many bytes, or characters, of the client's it holds."""
    if message["type"] == _BODY:
        return len(message["body"])
    if message["type"] != _MESSAGE:
        return 0
    text = message["text"]
    return len(message["bytes"] or b"") if text is None else len(text)
