"""WebSocket frames that no library would send, and a client that sends them to the real server."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import attrs
import trio

from ..e2e.conftest import Server
from ..web.test_traps_harness import frames_of, open_websocket, read_to_end

HANG_S = 60.0
MASK = b"\x37\xfa\x21\x3d"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
# A feed on which nothing happens, so that what is read answers what was sent.
QUIET = "/ws/events?types=none.*"


def raw_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    declared_len: int | None = None,
    width: int | None = None,
) -> bytes:
    """One frame of a client.

    Args:
        reserved: The three reserved bits, 0 to 7.
        declared_len: The length that is said, where it is not that of the payload.
        width: Bytes of the length, 1, 2 or 8; the fewest that do by default.
    """
    size = len(payload) if declared_len is None else declared_len
    if width is None:
        width = 1 if size < 126 else 2 if size < 65_536 else 8
    short = {1: size, 2: 126, 8: 127}[width]
    head = bytes([fin << 7 | reserved << 4 | opcode, masked << 7 | short])
    if width > 1:
        head += size.to_bytes(width, "big")
    if not masked:
        return head + payload
    whole = -(-len(payload) // 4)
    return head + MASK + bytes(a ^ b for a, b in zip(payload, MASK * whole, strict=False))


def request(number: int, method: str = "rpc.discover", **params: object) -> bytes:
    """A JSON-RPC request as a text frame."""
    said = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return raw_frame(TEXT, json.dumps(said).encode())


def closing(code: int, reason: bytes = b"") -> bytes:
    return raw_frame(CLOSE, code.to_bytes(2, "big") + reason)


@attrs.define
class RawSocket:
    """An open WebSocket, read frame by frame."""

    stream: trio.SocketStream
    _buffer: bytes = b""

    async def send(self, *frames: bytes) -> None:
        """Send; it may be cut short by a server that has closed already."""
        with contextlib.suppress(trio.BrokenResourceError):
            await self.stream.send_all(b"".join(frames))

    async def frame(self) -> tuple[int, bytes]:
        """The next whole frame of the server; its pings are passed over."""
        while True:
            found = self._whole()
            if found is not None and found[0] == PING:
                continue
            if found is not None:
                return found
            more = await self.stream.receive_some(65_536)
            assert more, "it ended in the middle"
            self._buffer += bytes(more)

    def _whole(self) -> tuple[int, bytes] | None:
        if len(self._buffer) < 2:
            return None
        opcode, size, at = self._buffer[0] & 15, self._buffer[1], 2
        if size >= 126:
            at += 2 if size == 126 else 8
            size = int.from_bytes(self._buffer[2:at], "big")
        if len(self._buffer) < at + size:
            return None
        payload, self._buffer = self._buffer[at : at + size], self._buffer[at + size :]
        return opcode, payload

    async def answer(self, number: int) -> Any:
        """The answer to a request; pongs are passed over."""
        while True:
            opcode, payload = await self.frame()
            if opcode == TEXT:
                found = json.loads(payload)
                assert found["id"] == number, found
                return found
            assert opcode == PONG, (opcode, payload)

    async def ended(self) -> int | None:
        """Read to the end; the code of the close frame, None when there was none."""
        received = self._buffer + await read_to_end(self.stream)
        closes = [payload for opcode, payload in frames_of(received) if opcode == CLOSE]
        assert len(closes) <= 1, closes
        return int.from_bytes(closes[0][:2], "big") if closes and closes[0] else None


@contextlib.asynccontextmanager
async def raw_socket(server: Server, target: str = QUIET) -> AsyncIterator[RawSocket]:
    with trio.fail_after(HANG_S):
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await open_websocket(stream, target)
            yield RawSocket(stream)


async def assert_serves(server: Server) -> None:
    """A client that behaves is answered."""
    with trio.fail_after(HANG_S):
        async with raw_socket(server) as socket:
            await socket.send(request(1))
            assert "result" in await socket.answer(1)
        answer = await server.client.get("/health")
        assert answer.status_code == 200
