"""One keep-alive HTTP/1.1 connection, as cheap as Python allows: no parser, no objects, no copies.

It understands what intermute answers (a status line, `Content-Length`, a body) and nothing else.
A client that cost as much as the server would measure itself.
"""

import socket
from time import perf_counter

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length: "
RECEIVE_LEN_MAX = 262_144
CONNECT_TIMEOUT_S = 10.0


class Broken(Exception):
    """The server closed the connection or sent what is no answer."""


class Connection:
    """A connection with at most one request under way.

    Attributes:
        sent_s: When the last request was sent, on `perf_counter`.
        status, head, body: The last answer, valid once `receive` has returned True.
    """

    __slots__ = ("_data", "_length", "body", "head", "sent_s", "sock", "status")

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=CONNECT_TIMEOUT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.sent_s = 0.0
        self.status = 0
        self.head = b""
        self.body = b""
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
        if self._length < 0:
            end = data.find(_HEAD_END)
            if end < 0:
                self._data = data
                return False
            self.head = data[: end + 2]
            self.status = int(data[9:12])
            at = self.head.lower().find(_LENGTH)
            if at < 0:
                raise Broken(f"an answer without a length: {self.head!r}")
            start = at + len(_LENGTH)
            self._length = int(self.head[start : self.head.index(b"\r\n", start)])
            data = data[end + 4 :]
        if len(data) < self._length:
            self._data = data
            return False
        if len(data) > self._length:
            raise Broken("more came than was asked for")
        self.body = data
        self._data = b""
        self._length = -1
        return True

    def header(self, name: str) -> str | None:
        """A header of the last answer; the name in lower case."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.strip().lower() == name.encode():
                return value.strip().decode()
        return None

    def close(self) -> None:
        """Hang up."""
        self.sock.close()


def request(method: str, target: str, *, headers: str = "", body: bytes = b"") -> bytes:
    """The bytes of a request. `headers` are whole lines, each ending in CRLF."""
    if body:
        headers += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode() + body
