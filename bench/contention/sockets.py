"""Calls over a WebSocket, with either of two drivers: trio-websocket, and one of our own.

trio-websocket is what a client would be written with, and what is used unless it is told otherwise.
The lean one (`bench.websocket`) reads whole frames out of one buffer and costs a fraction of that,
for loads that trio-websocket would not bring about on the machine at hand.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import attrs
import msgspec
import trio
from trio_websocket import ConnectionClosed

from bench.connection import Broken
from bench.contention.links import Address, Ask, Reply
from bench.contention.trio_socket import TrioSocket, open_trio_socket
from bench.websocket import WebSocket, text_frame

TRIO_WEBSOCKET, LEAN = "trio-websocket", "lean"
DRIVERS = (TRIO_WEBSOCKET, LEAN)

_QUIET = b'{"type":"unsubscribe"}'
_encode = msgspec.json.encode


class _Answer(msgspec.Struct):
    """What is read of a JSON-RPC answer; a frame of the feed has no `id`."""

    id: int | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: dict[str, Any] | None = None
    epoch: int | None = None
    seq: int | None = None


_decode = msgspec.json.Decoder(_Answer).decode


@attrs.define
class _Exchange:
    """The calls of one WebSocket, one after the other."""

    number: int = 0
    asked: Ask | None = None

    def text(self, ask: Ask) -> bytes:
        """What is sent for a call."""
        self.number += 1
        self.asked = ask
        params = dict((ask.params if ask.params is not None else ask.body) or {})
        if ask.agent:
            params.setdefault("agent_id", ask.agent)
        if ask.key:
            params["idempotency_key"] = ask.key
        return _encode({"jsonrpc": "2.0", "id": self.number, "method": ask.rpc, "params": params})

    def reply(self, text: bytes | str) -> Reply | None:
        """What a frame answers to the call; None when it is of something else.

        Raises:
            Broken: It is no frame of this wire.
        """
        try:
            answer = _decode(text)
        except msgspec.MsgspecError as error:
            raise Broken(f"a frame that nobody understands: {text[:80]!r}") from error
        if answer.id != self.number or self.asked is None:
            return None
        asked, self.asked = self.asked, None
        return _reply(asked, answer)


def _reply(asked: Ask, answer: _Answer) -> Reply:
    named: dict[str, str] = {}
    if answer.epoch is not None:
        named = {"intermute-epoch": str(answer.epoch), "intermute-seq": str(answer.seq)}
    if answer.error is None:
        return Reply(asked.wanted, bytes(answer.result), named=named)
    data = answer.error.get("data") or {}
    if "retry_after_seconds" in data:
        named["retry-after"] = str(data["retry_after_seconds"])
    status = int(data.get("status", 500))
    return Reply(status, _encode(data), named=named)


def _path(project: str) -> str:
    return f"/ws/events?project={quote(project, safe='')}"


class SocketLink:
    """A lean WebSocket that takes commands and is told of no events."""

    __slots__ = ("_address", "_exchange", "_project", "_socket")

    def __init__(self, address: Address, project: str) -> None:
        self._address = address
        self._project = project
        self._socket: WebSocket | None = None
        self._exchange = _Exchange()

    @property
    def is_open(self) -> bool:
        return self._socket is not None

    def open(self) -> bool:
        if self._socket is not None:
            return False
        address = self._address
        self._socket = WebSocket(
            address.port, _path(self._project), host=address.host, headers=address.headers
        )
        self._socket.send(text_frame(_QUIET))
        return True

    def fileno(self) -> int:
        assert self._socket is not None
        return self._socket.fileno()

    def send(self, ask: Ask) -> None:
        assert self._socket is not None
        frame = text_frame(self._exchange.text(ask))
        if self._socket.send(frame) != len(frame):
            raise Broken("the socket did not take the whole call")

    def receive(self) -> Reply | None:
        assert self._socket is not None
        for text in self._socket.receive():
            reply = self._exchange.reply(text)
            if reply is not None:
                return reply
        return None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._exchange.asked = None


class TrioLink:
    """The same with trio-websocket, for the clients of a `TrioLoop`."""

    __slots__ = ("_address", "_exchange", "_project", "_socket")

    def __init__(self, address: Address, project: str) -> None:
        self._address = address
        self._project = project
        self._socket: TrioSocket | None = None
        self._exchange = _Exchange()

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._socket is not None

    async def open(self, nursery: trio.Nursery) -> None:
        """Connect, unless there is a connection.

        Args:
            nursery: Where the task that reads runs until the connection ends.

        Raises:
            OSError, Broken: Nobody is there, or not for this.
        """
        if self._socket is not None and self._socket.connection.closed:
            self.close()
        if self._socket is None:
            self._socket = await open_trio_socket(nursery, self._address, _path(self._project))
            await self._send(_QUIET)

    async def ask(self, ask: Ask, *, sends: Callable[[], object]) -> Reply:
        """Make a call and wait for its answer, whose times are left to the caller.

        Args:
            sends: Called right before the call goes out.

        Raises:
            Broken: The connection ended first.
        """
        text = self._exchange.text(ask)
        sends()
        await self._send(text)
        assert self._socket is not None
        while True:
            try:
                heard = await self._socket.connection.get_message()
            except ConnectionClosed as error:
                raise Broken(f"the WebSocket was closed: {error.reason}") from error
            reply = self._exchange.reply(heard)
            if reply is not None:
                return reply

    async def _send(self, text: bytes) -> None:
        assert self._socket is not None
        try:
            await self._socket.connection.send_message(text.decode())
        except ConnectionClosed as error:
            raise Broken(f"the WebSocket was closed: {error.reason}") from error

    def close(self) -> None:
        """Hang up; it can be opened again."""
        if self._socket is not None:
            self._socket.hang_up()
            self._socket = None
        self._exchange.asked = None
