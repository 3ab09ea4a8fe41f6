"""One keep-alive HTTP/1.1 connection, as cheap as Python allows: no parser, no objects, no copies.

It understands a status line and a body that has a `Content-Length` or comes in chunks, and nothing
else. A client that cost as much as the server would measure itself.
"""

import socket
from time import perf_counter

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length: "
_CHUNKED = b"\r\ntransfer-encoding: chunked\r\n"
_LAST = b"\r\nconnection: close\r\n"
# Stands for the length of a body that comes in chunks.
_IN_CHUNKS = -2
_HEAD_LEN_MAX = 65_536
RECEIVE_LEN_MAX = 262_144
CONNECT_TIMEOUT_S = 10.0
LOOPBACK = "127.0.0.1"


class Broken(Exception):
    """The server closed the connection or sent what is no answer."""


class Connection:
    """A connection with at most one request under way.

    Attributes:
        sent_s: When the last request was sent, on `perf_counter`.
        status, head, body: The last answer, valid once `receive` has returned True.
        is_last: Whether the server said that it closes the connection after it.
    """

    __slots__ = ("_data", "_length", "body", "head", "is_last", "sent_s", "sock", "status")

    def __init__(self, port: int, host: str = LOOPBACK) -> None:
        self.sock = socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.sent_s = 0.0
        self.status = 0
        self.head = b""
        self.body = b""
        self.is_last = False
        self._data = b""
        self._length = -1

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self.sock.fileno()

    def send(self, request: bytes) -> None:
        """Send a whole request; it is far smaller than the socket's buffer."""
        self.sent_s = perf_counter()
        if self.sock.send(request) != len(request):
            raise Broken("the socket did not take the whole request")

    def receive(self) -> bool:
        """Read what has come; True once the answer is whole."""
        chunk = self.sock.recv(RECEIVE_LEN_MAX)
        if not chunk:
            raise Broken(f"the server closed the connection after {self._data[:200]!r}")
        data = self._data + chunk if self._data else chunk
        if self._length == -1:
            end = data.find(_HEAD_END)
            if end < 0:
                if len(data) > _HEAD_LEN_MAX:
                    raise Broken(f"a head without an end: {data[:80]!r}")
                self._data = data
                return False
            self.head = data[: end + 2]
            if not self.head.startswith(b"HTTP/1.") or not data[9:12].isdigit():
                raise Broken(f"no answer in HTTP but {self.head[:80]!r}")
            self.status = int(data[9:12])
            self._length = self._length_of_body()
            data = data[end + 4 :]
        if self._length == _IN_CHUNKS:
            joined = _joined(data)
            if joined is None:
                self._data = data
                return False
            data = joined
            self._length = len(data)
        if len(data) < self._length:
            self._data = data
            return False
        if len(data) > self._length:
            raise Broken("more came than was asked for")
        self.body = data
        self._data = b""
        self._length = -1
        return True

    def _length_of_body(self) -> int:
        head = self.head.lower()
        self.is_last = _LAST in head
        at = head.find(_LENGTH)
        if at >= 0:
            start = at + len(_LENGTH)
            length = head[start : head.index(b"\r\n", start)]
            if not length.isdigit():
                raise Broken(f"a length that is none: {length!r}")
            return int(length)
        if _CHUNKED in head:
            return _IN_CHUNKS
        if self.status in (204, 304):
            return 0
        raise Broken(f"an answer without a length: {self.head!r}")

    def header(self, name: str) -> str | None:
        """A header of the last answer; the name in lower case."""
        return header_of(self.head, name)

    def close(self) -> None:
        """Hang up."""
        self.sock.close()


def header_of(head: bytes, name: str) -> str | None:
    """A header of an answer's head; the name in lower case."""
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name.encode():
            return value.strip().decode()
    return None


def _joined(data: bytes) -> bytes | None:
    """The body that chunks make; None while some are missing."""
    parts: list[bytes] = []
    at = 0
    while (end := data.find(b"\r\n", at)) >= 0:
        try:
            length = int(data[at:end].partition(b";")[0], 16)
        except ValueError as error:
            raise Broken(f"a chunk without a length: {data[at:end]!r}") from error
        if length < 0:
            raise Broken(f"a chunk that is less than empty: {data[at:end]!r}")
        at = end + 2 + length
        if len(data) < at + 2:
            return None
        if not length:
            return b"".join(parts)
        parts.append(data[end + 2 : at])
        at += 2
    return None


def request(
    method: str, target: str, *, headers: str = "", body: bytes = b"", host: str = LOOPBACK
) -> bytes:
    """The bytes of a request. `headers` are whole lines, each ending in CRLF."""
    if body:
        headers += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode() + body
