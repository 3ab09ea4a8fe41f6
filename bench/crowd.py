"""Many connections polled together: WebSockets that listen, and HTTP that answers in between."""

import select
import time
from collections.abc import Callable
from typing import Protocol
from urllib.parse import quote

from bench.connection import Broken, Connection
from bench.websocket import Closed, WebSocket

STALL_S = 30.0

Heard = Callable[[list[bytes], float], object]


class Asked(Protocol):
    """What an answer comes over, such as a `Connection`."""

    def fileno(self) -> int:
        """The descriptor to poll."""

    def receive(self) -> bool:
        """Read what has come; True once an answer is whole."""

    def close(self) -> None:
        """Hang up."""


def own_feed(project: str, agent_id: str, *, after: int | None = None) -> str:
    """Where an agent's own feed is."""
    return _feed(f"/ws/agents/{quote(agent_id, safe='')}", project, after)


def whole_feed(project: str, *, after: int | None = None) -> str:
    """Where a project's whole feed is."""
    return _feed("/ws/events", project, after)


def _feed(path: str, project: str, after: int | None) -> str:
    since = "" if after is None else f"&since_cursor={after}"
    return f"{path}?project={quote(project, safe='')}{since}"


class Crowd:
    """Whoever is added is called when something has come for it, with the time of its arrival.

    Times are seconds of `time.perf_counter`.

    Attributes:
        woke_s: When the turn that goes on now found that something had come.
    """

    def __init__(self) -> None:
        self.woke_s = 0.0
        self._poll = select.epoll()
        self._listeners: dict[int, tuple[WebSocket, Heard, Callable[[Closed], object]]] = {}
        self._askers: dict[int, tuple[Asked, Callable[[float], object]]] = {}

    def __len__(self) -> int:
        return len(self._listeners)

    def listen(
        self, socket: WebSocket, heard: Heard, *, closed: Callable[[Closed], object]
    ) -> None:
        """Hear what comes on a WebSocket, and when the server ends it; it is dropped then."""
        self._listeners[socket.fileno()] = (socket, heard, closed)
        self._poll.register(socket.fileno(), select.EPOLLIN)
        # Frames may have come together with the answer to the handshake.
        self._hear(socket.fileno())

    def ask(self, connection: Asked, answered: Callable[[float], object]) -> None:
        """Be told whenever an answer on an HTTP connection is whole."""
        self._askers[connection.fileno()] = (connection, answered)
        self._poll.register(connection.fileno(), select.EPOLLIN)

    def forget(self, connection: Asked) -> None:
        """Hang up a connection that was asked over."""
        if self._askers.pop(connection.fileno(), None) is not None:
            self._poll.unregister(connection.fileno())
        connection.close()

    def drop(self, socket: WebSocket, *, abruptly: bool = False) -> None:
        """Hang up a WebSocket; `abruptly`: with a reset."""
        if self._listeners.pop(socket.fileno(), None) is not None:
            self._poll.unregister(socket.fileno())
        socket.close(abruptly=abruptly)

    def pause(self, socket: WebSocket, paused: bool) -> None:
        """Read nothing of a WebSocket for a while, or again."""
        self._poll.modify(socket.fileno(), 0 if paused else select.EPOLLIN)

    def turn(self, wait_s: float) -> bool:
        """Wait so long for something to come and see to it; False when nothing came."""
        ready = self._poll.poll(max(0.0, wait_s), maxevents=256)
        self.woke_s = time.perf_counter()
        for fd, _ in ready:
            if fd in self._listeners:
                self._hear(fd)
            elif fd in self._askers:
                connection, answered = self._askers[fd]
                if connection.receive():
                    answered(time.perf_counter())
        return bool(ready)

    def until(self, done: Callable[[], bool], *, timeout_s: float = STALL_S) -> bool:
        """Take turns until something holds; False when it does not in time."""
        end_s = time.perf_counter() + timeout_s
        while not done():
            left_s = end_s - time.perf_counter()
            if left_s <= 0:
                return False
            self.turn(min(left_s, 0.1))
        return True

    def close(self) -> None:
        """Hang up everything."""
        for socket, _, _ in list(self._listeners.values()):
            self.drop(socket)
        for connection, _ in self._askers.values():
            connection.close()
        self._poll.close()

    def _hear(self, fd: int) -> None:
        socket, heard, closed = self._listeners[fd]
        try:
            texts = socket.receive()
        except Closed as error:
            self.drop(socket)
            closed(error)
            return
        except Broken as error:
            self.drop(socket)
            closed(Closed(None, str(error)))
            return
        if texts:
            heard(texts, time.perf_counter())


def exchange(connection: Connection, data: bytes, *, status: int) -> bytes:
    """One request and the body of its answer, waiting for it.

    Raises:
        Broken: Another status came back, or nothing in time.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    connection.send(data)
    while True:
        if not poll.poll(STALL_S * 1000):
            raise Broken(f"no answer for {STALL_S} s")
        if connection.receive():
            break
    if connection.status != status:
        raise Broken(f"{data[:80]!r} answered {connection.status}: {connection.body[:300]!r}")
    return connection.body
