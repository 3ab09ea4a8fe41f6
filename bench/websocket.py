"""One WebSocket, as cheap as Python allows: whole unmasked frames come in, prepared ones go out.

It understands text, in one frame or in fragments, pings and a close, and nothing else. A client
that cost as much as the server would measure itself.
"""

import base64
import os
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from bench.connection import CONNECT_TIMEOUT_S, LOOPBACK, RECEIVE_LEN_MAX, Broken
from bench.machine import End, is_connected

_HEAD_END = b"\r\n\r\n"
_HEAD_LEN_MAX = 65_536
_KEY = b"\x37\xfa\x21\x3d"
NO_LINGER = struct.pack("ii", 1, 0)
_TEXT, _CLOSE, _PING, _PONG = 0x81, 0x88, 0x89, 0x8A
_TEXT_BEGINS, _TEXT_GOES_ON, _TEXT_ENDS = 0x01, 0x00, 0x80


class Closed(Exception):
    """The server ended the WebSocket.

    Attributes:
        code: Of its close frame; None when the connection just ended.
        reason: What the close frame says.
    """

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"closed with {code} {reason!r}")
        self.code = code
        self.reason = reason


class Endpoints(Protocol):
    """A socket, of the system or of Trio, that knows both ends of its connection."""

    def getpeername(self) -> Any:
        """The other end."""

    def getsockname(self) -> Any:
        """Our own."""


def ends_of(sock: Endpoints) -> tuple[End, End]:
    """The server's end and our own of a connection that is there: after a reset nobody knows them.

    Raises:
        OSError: It is not there any more.
    """
    server, own = sock.getpeername(), sock.getsockname()
    return (str(server[0]), int(server[1])), (str(own[0]), int(own[1]))


class WebSocket:
    """A WebSocket of a server on this machine; it does not block once it is open.

    Args:
        headers: Further header lines of the request, each ending in CRLF.
        receive_buffer_len: For who wants to be slow: what the kernel may keep for it, in bytes.

    Raises:
        Broken: The server did not agree to a WebSocket; the text holds its answer.
    """

    __slots__ = ("_begun", "_data", "sock")

    def __init__(
        self,
        port: int,
        target: str,
        *,
        host: str = LOOPBACK,
        headers: str = "",
        receive_buffer_len: int | None = None,
    ) -> None:
        self._begun = b""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            if receive_buffer_len is not None:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_len)
            self.sock.settimeout(CONNECT_TIMEOUT_S)
            self.sock.connect((host, port))
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._data = self._shake_hands(target, host, headers)
            self.sock.setblocking(False)
        except BaseException:
            self.sock.close()
            raise

    def _shake_hands(self, target: str, host: str, headers: str) -> bytes:
        """Upgrade; answers what came after the server's head."""
        key = base64.b64encode(os.urandom(16)).decode()
        named = f"[{host}]" if ":" in host else host
        self.sock.sendall(
            f"GET {target} HTTP/1.1\r\nHost: {named}:{self.sock.getpeername()[1]}\r\n{headers}"
            f"Connection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        data = b""
        while _HEAD_END not in data:
            chunk = self.sock.recv(4_096)
            data += chunk
            if not chunk or len(data) > _HEAD_LEN_MAX:
                raise Broken(f"{target}: no answer but {data[:200]!r}")
        head, _, rest = data.partition(_HEAD_END)
        if head.split(b" ", 2)[1] != b"101":
            raise Broken(f"{target}: {data[:600].decode(errors='replace')}")
        return rest

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self.sock.fileno()

    def send(self, frames: bytes) -> int:
        """Send what the socket takes of prepared frames now; answers how much that was."""
        try:
            return self.sock.send(frames)
        except BlockingIOError:
            return 0

    def receive(self) -> list[bytes]:
        """The texts that are whole now; pings are answered. To be called once after opening.

        Raises:
            Closed: Nothing more comes; what came before it in the same read is not told.
        """
        try:
            chunk = self.sock.recv(RECEIVE_LEN_MAX)
            if not chunk:
                raise Closed(None, "the connection ended")
        except BlockingIOError:
            # What came together with the answer to the handshake may still be there.
            chunk = b""
        except OSError as error:
            raise Closed(None, str(error)) from error
        texts, self._data = self._split(self._data + chunk if self._data else chunk)
        return texts

    def _split(self, data: bytes) -> tuple[list[bytes], bytes]:
        texts: list[bytes] = []
        at, end = 0, len(data)
        while end - at >= 2:
            kind, length, start = data[at], data[at + 1], at + 2
            if length == 126:
                start = at + 4
                length = int.from_bytes(data[at + 2 : start], "big")
            elif length == 127:
                start = at + 10
                length = int.from_bytes(data[at + 2 : start], "big")
            if end < start + length:
                break
            at = start + length
            if kind == _TEXT:
                texts.append(data[start:at])
            elif kind in (_TEXT_BEGINS, _TEXT_GOES_ON):
                self._begun += data[start:at]
            elif kind == _TEXT_ENDS:
                texts.append(self._begun + data[start:at])
                self._begun = b""
            else:
                self._control(kind, data[start:at])
        return texts, data[at:]

    def _control(self, kind: int, payload: bytes) -> None:
        if kind == _PING:
            self.send(_frame(_PONG, payload))
        elif kind == _CLOSE:
            with suppress(OSError):
                self.send(_frame(_CLOSE, payload[:2]))
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else None
            raise Closed(code, payload[2:].decode(errors="replace"))
        elif kind != _PONG:
            raise Broken(f"a frame that starts with {kind:#x}")

    def has_ended(self) -> bool:
        """Whether the server has hung up, which a client that never reads is not told."""
        return not is_connected(*ends_of(self.sock))

    def close(self, *, abruptly: bool = False) -> None:
        """Hang up without a word; `abruptly`: with a reset."""
        if abruptly:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self.sock.close()


def text_frame(payload: bytes) -> bytes:
    """A client's frame of one text."""
    return _frame(_TEXT, payload)


def text_frames(payloads: Sequence[bytes]) -> bytes:
    """Frames of several texts, one after the other."""
    return b"".join(map(text_frame, payloads))


def _frame(kind: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        head = bytes((kind, 0x80 | length))
    elif length < 65_536:
        head = bytes((kind, 0xFE)) + length.to_bytes(2, "big")
    else:
        head = bytes((kind, 0xFF)) + length.to_bytes(8, "big")
    keys = (_KEY * (length // 4 + 1))[:length]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")
    return head + _KEY + masked.to_bytes(length, "big")
