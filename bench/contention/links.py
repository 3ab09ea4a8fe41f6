"""What a client of the harness asks, what it is answered, and the way that takes over HTTP.

A call is put once, in the words of HTTP, with the name that the same call has over a WebSocket. An
`HttpLink` sends it as a request; the links of `bench.contention.sockets` as a JSON-RPC request. All
have one call under way at a time.
"""

import socket
from time import perf_counter
from typing import Any, Protocol

import attrs
import msgspec

from bench.connection import Broken, Connection, header_of, request
from bench.websocket import Closed

NO_ANSWER = 0
NOT_CONNECTED = -1
GARBLED = -2
_SILENT_S = 0.5
_encode = msgspec.json.encode
BROKEN = (Broken, Closed, OSError)
"""What a link raises when its connection is gone."""


@attrs.frozen
class Address:
    """Where a target listens, and the key that it wants to be shown.

    Attributes:
        key: Of the project that all calls are about; empty for a target that needs none. It is
            shown to this target only, and stands in no text that is printed or stored.
    """

    host: str
    port: int
    key: str = attrs.field(default="", repr=False)

    @property
    def authority(self) -> str:
        """Host and port as a `Host` header says them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def headers(self) -> str:
        """The header lines that every request to this target has."""
        return f"Authorization: Bearer {self.key}\r\n" if self.key else ""


@attrs.define
class Ask:
    """One call.

    Attributes:
        operation: What the figures call it; empty for a call that is not counted.
        method, path, body: The request; the path has its query.
        agent: In whose name, for the header.
        rpc: The name of the operation over a WebSocket; empty when it has none.
        params: What that is given; None for the members of the body.
        wanted: The status of the wanted answer.
        due_s: When it should have been made in open loop, on `time.perf_counter`.
        key: The idempotency key; empty for none.
        recorded: The operation and arguments that a history keeps of it; None to keep nothing.
        gives: What the body of the wanted answer has to have: names, and the types of the values.
    """

    operation: str
    method: str
    path: str
    agent: str = ""
    body: dict[str, Any] | None = None
    rpc: str = ""
    params: dict[str, Any] | None = None
    wanted: int = 200
    due_s: float | None = None
    key: str = ""
    recorded: tuple[str, dict[str, Any]] | None = None
    gives: tuple[tuple[str, type], ...] = ()


@attrs.define
class Reply:
    """What came back.

    Attributes:
        status: Of HTTP, over a WebSocket too; `NO_ANSWER` when the connection ended first or time
            ran out, `NOT_CONNECTED` when there was none to send it over, `GARBLED` when the status
            is the wanted one and the body lacks what such an answer has.
        asked_s, answered_s: On `time.perf_counter`.
    """

    status: int
    body: bytes = b""
    head: bytes = b""
    named: dict[str, str] | None = None
    asked_s: float = 0.0
    answered_s: float = 0.0

    def header(self, name: str) -> str | None:
        """A header, or what stands for it over a WebSocket; the name in lower case."""
        if self.named is not None:
            return self.named.get(name)
        return header_of(self.head, name)

    def members(self) -> dict[str, Any]:
        """The members of the body; none where it has none."""
        if not self.body:
            return {}
        try:
            found = msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            return {}
        return found if isinstance(found, dict) else {}

    def place(self) -> tuple[int, int] | None:
        """Where the decision stands in the project's order, if the answer says so."""
        epoch, seq = self.header("intermute-epoch"), self.header("intermute-seq")
        if epoch is None or seq is None or not (epoch.isdecimal() and seq.isdecimal()):
            return None
        return int(epoch), int(seq)


def lacking(ask: Ask, reply: Reply) -> list[str]:
    """What the wanted answer to a call has to have and this one has not, by name."""
    if not ask.gives:
        return []
    members = reply.members()
    return [
        name
        for name, kind in ask.gives
        if not isinstance(members.get(name), kind) or members[name] == ""
    ]


class Link(Protocol):
    """A way to a target. Everything but `open` raises one of `BROKEN` when the connection ends."""

    def open(self) -> bool:
        """Connect, unless there is a connection that can be used; whether that was to be done.

        Raises:
            OSError, Broken: Nobody is there, or not for this.
        """

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""

    def fileno(self) -> int:
        """The descriptor to poll; only while it is open."""

    def send(self, ask: Ask) -> None:
        """Send a call; nothing else may be under way."""

    def receive(self) -> Reply | None:
        """The answer once it is whole; its times are left to the caller."""

    def close(self) -> None:
        """Hang up; it can be opened again."""


class HttpLink:
    """A keep-alive connection."""

    __slots__ = ("_address", "_connection")

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection: Connection | None = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    def open(self) -> bool:
        if self.is_stale:
            self.close()
        if self._connection is not None:
            return False
        self._connection = Connection(self._address.port, self._address.host)
        return True

    @property
    def is_stale(self) -> bool:
        """Whether the server has hung up meanwhile, as it does on who is silent for long."""
        connection = self._connection
        if connection is None or perf_counter() - connection.sent_s < _SILENT_S:
            return False
        try:
            return not connection.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def fileno(self) -> int:
        assert self._connection is not None
        return self._connection.fileno()

    def settle(self, timeout_s: float) -> None:
        """Let `receive` wait for so long, for who has nothing else to do meanwhile."""
        assert self._connection is not None
        self._connection.sock.settimeout(timeout_s)

    def send(self, ask: Ask) -> None:
        assert self._connection is not None
        self._connection.send(request_of(ask, self._address))

    def send_all(self, ask: Ask, timeout_s: float) -> None:
        """Send a call that may be larger than the socket's buffer, waiting for so long."""
        assert self._connection is not None
        sock = self._connection.sock
        self._connection.sent_s = perf_counter()
        sock.settimeout(timeout_s)
        sock.sendall(request_of(ask, self._address))
        sock.setblocking(False)

    def receive(self) -> Reply | None:
        connection = self._connection
        assert connection is not None
        if not connection.receive():
            return None
        reply = Reply(connection.status, connection.body, connection.head)
        if connection.is_last:
            self.close()
        return reply

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def request_of(ask: Ask, address: Address) -> bytes:
    """The bytes of a call over HTTP."""
    headers = address.headers
    if ask.agent:
        headers += f"X-Agent-ID: {ask.agent}\r\n"
    if ask.key:
        headers += f"Idempotency-Key: {ask.key}\r\n"
    return request(
        ask.method,
        ask.path,
        headers=headers,
        body=b"" if ask.body is None else _encode(ask.body),
        host=address.authority,
    )
