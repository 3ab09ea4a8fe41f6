"""Serving and stopping: listening sockets on one side, an ASGI app on the other.

Hypercorn speaks the protocols (its `H11Protocol` and everything below); the life of a
connection is ours. Hypercorn's own loop sends inside a shield without a deadline, accepts
without a bound and lets one malformed handshake end the whole server.
"""

import errno
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, cast

import attrs
import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.task_group import TaskGroup, _handle
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app
from wsproto.utilities import ProtocolError as WebsocketProtocolError

from intermute.domain import limits as bounds
from intermute.web import sockets as direct
from intermute.web.admission import REFUSAL, Admission, Admitted, is_refusable
from intermute.web.collector import Collector
from intermute.web.guard import ASGIApp
from intermute.web.http1 import Http1
from intermute.web.inbound import Inbound
from intermute.web.listeners import close_listeners
from intermute.web.peers import PEER, Peer, Turn

__all__ = ["ServerLimits", "serve"]

RECEIVE_LEN_MAX = 64 * 1024
WRITES_IN_A_ROW_MAX = 16
ACCEPTS_IN_A_ROW_MAX = 64
_ACCEPT_PAUSE_S = 0.1
_ACCEPT_OUT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})

# What a peer can cause in the protocol code; any of these ends its connection only.
_PEER_FAULTS = (OSError, ValueError, h11.ProtocolError, WebsocketProtocolError)

_log = logging.getLogger("intermute.web.server")


@attrs.frozen(kw_only=True)
class ServerLimits:
    """What one server grants its peers. Seconds and bytes.

    Attributes:
        connections_max: Open at once over all listeners; more wait in the kernel's backlog.
        header_timeout_s: From a request's first byte (or the accept) to the end of its headers.
        body_timeout_s: From there to the end of its body. What guards the app may answer sooner.
        idle_timeout_s: Between requests on one connection.
        send_timeout_s: For one piece of an answer or one frame; then the peer is cut off.
        look_s: Between two looks whether a peer that is not read just now has gone.
        graceful_timeout_s: From the shutdown signal to the end of the last request.
        headers_len_max: Request line and headers; more is 431.
        websocket_message_len_max: One inbound message; more is close 1009.
        websocket_ping_interval_s: Between pings to an open WebSocket.
        websocket_idle_timeout_s: Without a byte from its client, not even the answer to a ping.
    """

    connections_max: int = bounds.CONNECTIONS_MAX
    header_timeout_s: float = bounds.HEADERS_WAIT_MS / 1000
    body_timeout_s: float = bounds.CONNECTION_BODY_WAIT_MS / 1000
    idle_timeout_s: float = bounds.CONNECTION_IDLE_MS / 1000
    send_timeout_s: float = bounds.SEND_MAX_MS / 1000
    look_s: float = bounds.PEER_LOOK_MS / 1000
    graceful_timeout_s: float = bounds.SHUTDOWN_REQUESTS_MS / 1000
    headers_len_max: int = bounds.HEADERS_LEN_MAX
    websocket_message_len_max: int = bounds.SOCKET_MESSAGE_LEN_MAX
    websocket_ping_interval_s: float = bounds.SOCKET_PING_MS / 1000
    websocket_idle_timeout_s: float = bounds.SOCKET_IDLE_MS / 1000


class _Tasks(TaskGroup):
    """The tasks of one connection; Hypercorn spawns its ping timer, which must not outlast it."""

    def __init__(self, nursery: trio.Nursery, write: direct.Write) -> None:
        super().__init__()
        self.nursery = self._nursery = nursery
        self.pinging = trio.CancelScope()
        self._write = write

    async def spawn_app(self, app: Any, config: Config, scope: Any, send: Any) -> Any:
        inbound = Inbound()
        if scope["type"] == "websocket":
            direct.extend(scope, send, self._write, inbound)
        receive = cast(Any, inbound.receive)
        run_sync, run = trio.to_thread.run_sync, trio.from_thread.run
        self.nursery.start_soon(_handle, app, config, scope, receive, send, run_sync, run)
        return inbound.put

    def spawn(self, func: Callable[..., Awaitable[None]], *args: object) -> None:
        async def run() -> None:
            with self.pinging:
                await func(*args)

        self.nursery.start_soon(run)


class _Connection:
    """One accepted connection, from its first byte to its last.

    The reading task runs inside `_reading`, whose deadline is what idleness, slow headers,
    lingering and shutdown move. A failed or late send ends everything at once: bytes may be
    missing from the stream, and the app may be waiting for a reader that is gone.
    """

    def __init__(self, server: "_Server", stream: trio.SocketStream) -> None:
        self._server = server
        self._limits = server.limits
        self._stream = stream
        self._admission = server.admission
        self._admitted: Admitted | None = None
        self._peer = Peer(stream.socket.fileno, on_wait=self.leave_admission)
        self._send_lock = trio.Lock()
        self._writes = 0
        self._sending: trio.CancelScope | None = None
        self._send_until_s = float("inf")
        self._reading = trio.CancelScope(
            deadline=trio.current_time() + self._limits.header_timeout_s
        )
        self._idle = True
        self._in_headers = True
        self._in_body = False
        self._discarding = False
        self._reader: trio.lowlevel.Task | None = None
        self._tasks: _Tasks
        self._protocol: Http1

    async def run(self) -> None:
        """Serve the connection until either side ends it."""
        client, server = self._endpoints()
        async with trio.open_nursery() as nursery:
            self._tasks = tasks = _Tasks(nursery, self._write)
            self._protocol = Http1(
                self._server.app,
                self._server.config,
                self._server.context,
                tasks,
                ConnectionState({**self._server.state, PEER: self._peer}),
                False,
                client,
                server,
                self._send,
            )
            self._protocol.can_read = Turn(self._peer, self._limits.look_s)
            with self._reading:
                await self._read()
            self._peer.leave()
            tasks.pinging.cancel()
            nursery.cancel_scope.deadline = trio.current_time() + bounds.LEAVE_MS / 1000
            await self._protocol.handle(Closed())

    def stop(self, deadline_s: float) -> None:
        """End now when idle, else after the request; no send lasts beyond `deadline_s`."""
        self._send_until_s = deadline_s
        if self._sending is not None:
            self._sending.deadline = min(self._sending.deadline, deadline_s)
        if self._idle:
            self._reading.cancel()

    def _endpoints(self) -> tuple[Any, Any]:
        """The scope's `client` and `server`; a Unix socket is (None, (path, None))."""
        sock = self._stream.socket
        if sock.family == socket.AF_UNIX:
            return None, (sock.getsockname(), None)
        return sock.getpeername()[:2], sock.getsockname()[:2]

    async def _read(self) -> None:
        self._reader = trio.lowlevel.current_task()
        while True:
            try:
                data = await self._receive()
            except (OSError, trio.ClosedResourceError):
                return
            if self._reading.cancel_called:
                # What comes in the moment in which the connection ends is not begun.
                return
            if self._admission.is_full() and self._is_between_requests() and is_refusable(data):
                await self._refuse()
            elif not self._discarding:
                if isinstance(self._protocol.stream, WSStream):
                    # A client is not idle while it is the server that does not read it.
                    self._read_until(float("inf"))
                await self._protocol.handle(RawData(data))
                if isinstance(self._protocol.stream, WSStream) and not self._discarding:
                    self._read_until(self._limits.websocket_idle_timeout_s)
                elif not self._idle:
                    self._watch_body()
                elif not self._in_headers and not self._is_between_requests():
                    self._in_headers = True
                    self._read_until(self._limits.header_timeout_s)
            if not data:
                return

    async def _receive(self) -> bytes:
        """What has come, empty at the end. To read first, as trio does, is mostly in vain."""
        while True:
            await trio.lowlevel.wait_readable(self._stream.socket)
            try:
                return os.read(self._stream.socket.fileno(), RECEIVE_LEN_MAX)
            except BlockingIOError:
                continue

    def _is_between_requests(self) -> bool:
        return self._idle and self._protocol.connection.trailing_data[0] == b""

    async def _refuse(self) -> None:
        """Refuse a whole request for want of time, of which the protocol hears nothing."""
        self._admission.refuse()
        self._in_headers = False
        self._read_until(self._limits.idle_timeout_s)
        await self._write(REFUSAL)

    def _watch_body(self) -> None:
        """Bound the time for a body that has not come whole with its head; lift it after that."""
        waits = self._protocol.connection.their_state is h11.SEND_BODY
        if waits is not self._in_body:
            self._in_body = waits
            self._read_until(self._limits.body_timeout_s if waits else float("inf"))
            # Whoever sends slowly must not keep others out.
            if waits:
                self.leave_admission()
            elif self._protocol.connection.our_state is h11.SEND_RESPONSE:
                self._admitted = self._admission.enter()

    def leave_admission(self) -> None:
        """The answer begins, or what it waits for is not the server."""
        if self._admitted is not None:
            self._admission.leave(self._admitted)
            self._admitted = None

    def _wait_s(self) -> float:
        if not self._idle:
            return float("inf")
        return self._limits.header_timeout_s if self._in_headers else self._limits.idle_timeout_s

    def _read_until(self, timeout_s: float) -> None:
        self._reading.deadline = trio.current_time() + timeout_s

    async def _send(self, event: Event) -> None:
        """What the protocol has for the peer; runs in the app's task or the reading one."""
        if isinstance(event, RawData):
            self.leave_admission()
            await self._write(event.data)
        elif isinstance(event, Updated):
            self._idle = event.idle
            if not event.idle:
                self._admitted = self._admission.enter()
            self._in_body = False
            # What came early is the start of the next request.
            self._in_headers = event.idle and self._protocol.connection.trailing_data[0] != b""
            self._read_until(self._wait_s())
        elif isinstance(event, Closed):
            await self._finish()

    async def _write(self, data: bytes, *, only_if: Callable[[], bool] = lambda: True) -> bool:
        """Send all of it or end the connection; False when `only_if` says no at its turn.

        Shielded, so that a cancelled handler cannot cut a frame; with a deadline, because a peer
        may never read. Nearly every answer fits the socket's buffer at once and needs neither.
        """
        # What the reading task answers by itself (the end of a WebSocket, a pong) keeps its place:
        # the app may end the stream as soon as it runs.
        if trio.lowlevel.current_task() is not self._reader:
            await self._give_way()
        if not self._send_lock.locked():
            if not only_if():
                return False
            sent = self._write_now(data)
            if sent < len(data):
                self._send_lock.acquire_nowait()
                try:
                    await self._write_shielded(data[sent:])
                finally:
                    self._send_lock.release()
            return True
        async with self._send_lock:
            if only_if():
                await self._write_shielded(data)
                return True
            return False

    async def _give_way(self) -> None:
        """Notice a cancellation before each write, and let others run before some."""
        self._writes += 1
        if self._writes % WRITES_IN_A_ROW_MAX:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()

    def _write_now(self, data: bytes) -> int:
        """How many bytes the socket takes without waiting."""
        try:
            return os.write(self._stream.socket.fileno(), data)
        except OSError:
            # Its buffer is full, or the peer is gone: the ordinary way finds out which.
            return 0

    async def _write_shielded(self, data: bytes) -> None:
        deadline = trio.current_time() + self._limits.send_timeout_s
        scope = trio.CancelScope(shield=True, deadline=min(deadline, self._send_until_s))
        self._sending = scope
        try:
            with scope:
                await self._stream.send_all(data)
                return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._sending = None
        self._tasks.nursery.cancel_scope.cancel()

    async def _finish(self) -> None:
        """Say that nothing follows, then read on for a moment and throw it away."""
        self._discarding = True
        self._idle = False
        self._read_until(bounds.LINGER_MS / 1000)
        # Shielded, because the end of a response cancels the handler that is sending it; every
        # holder of the lock has a deadline.
        with trio.CancelScope(shield=True):
            async with self._send_lock:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._stream.send_eof()
        await self._protocol.handle(Closed())


class _Server:
    """Everything the connections of one `serve` share."""

    def __init__(self, app: ASGIApp, limits: ServerLimits) -> None:
        self.app = wrap_app(cast(Any, app), 0, "asgi")
        self.limits = limits
        self.config = _configure(limits)
        self.context = WorkerContext(None)
        self.state: dict[str, Any] = {}
        self._live: set[_Connection] = set()
        self._stop_at_s: float | None = None
        self._slots = trio.Semaphore(limits.connections_max)
        self._collector = Collector()
        self.admission = Admission()

    async def accept(self, sock: socket.socket, nursery: trio.Nursery) -> None:
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        while True:
            await self._slots.acquire()
            try:
                stream = await listener.accept()
            except BaseException as error:
                self._slots.release()
                if not isinstance(error, OSError) or error.errno not in _ACCEPT_OUT_OF:
                    raise
                _log.error("out of descriptors or memory, not accepting for a moment")
                await trio.sleep(_ACCEPT_PAUSE_S)
            else:
                nursery.start_soon(self._run_connection, stream)
                self._accept_pending(sock, nursery)

    def _accept_pending(self, sock: socket.socket, nursery: trio.Nursery) -> None:
        """Accept what is in the backlog already, up to a bound.

        Each await lets every other task have a turn, and while many projects commit that takes so
        long that a connection at the end of a backlog would wait for seconds.
        """
        for _ in range(min(ACCEPTS_IN_A_ROW_MAX, self._slots.value)):
            try:
                accepted, _ = sock.accept()
            except OSError:
                # There is no more, or whatever it is will be met again by the one who waits.
                return
            self._slots.acquire_nowait()
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(accepted))
            nursery.start_soon(self._run_connection, stream)

    async def stop(self, deadline_s: float) -> None:
        self._stop_at_s = deadline_s
        await self.context.terminated.set()
        for connection in self._live:
            connection.stop(deadline_s)

    async def _run_connection(self, stream: trio.SocketStream) -> None:
        connection = _Connection(self, stream)
        self._live.add(connection)
        if self._stop_at_s is not None:
            connection.stop(self._stop_at_s)
        try:
            await connection.run()
        except* _PEER_FAULTS as faults:
            _log.debug("a connection ended by %s", type(faults.exceptions[0]).__name__)
        except* Exception as bugs:
            # A bug in the protocol code must end the connection that met it, never the server.
            _log.error("a connection ended by a bug", exc_info=bugs)
        finally:
            connection.leave_admission()
            self._live.remove(connection)
            self._slots.release()
            self._collector.connection_ended(len(self._live))
            await trio.aclose_forcefully(stream)


def _configure(limits: ServerLimits) -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = _log
    config.include_server_header = False
    config.h11_max_incomplete_size = limits.headers_len_max
    config.keep_alive_max_requests = sys.maxsize
    config.websocket_max_message_size = limits.websocket_message_len_max
    config.websocket_ping_interval = limits.websocket_ping_interval_s
    return config


async def serve(
    app: ASGIApp,
    sockets: Sequence[socket.socket],
    *,
    shutdown: Callable[[], Awaitable[object]],
    limits: ServerLimits | None = None,
    on_ready: Callable[[], object] = lambda: None,
) -> None:
    """Serve an ASGI app on listening sockets until `shutdown` returns.

    Then nothing more is accepted, idle connections close, requests may finish for
    `graceful_timeout_s`, the rest is cancelled, and the app's lifespan ends. Peers that have
    stopped reading do not delay it.

    Args:
        app: Guarded already; its `lifespan` is run.
        sockets: From `open_tcp_listeners` and `open_unix_listener`. Closed at the end in every
            case, and Unix socket files are removed.
        shutdown: Awaited once; its return starts the shutdown. `trio.Event().wait` will do.
        on_ready: Called when connections are accepted; `task_status.started` will do.

    Raises:
        hypercorn.utils.LifespanFailureError: The app refused to start, perhaps in a group.

    Cancellation: ends all connections at once, sends in progress included.
    """
    limits = limits or ServerLimits()
    assert limits.connections_max > len(sockets), "each listener holds one slot in reserve"
    server = _Server(app, limits)
    try:
        async with trio.open_nursery() as nursery:
            lifespan = Lifespan(server.app, server.config, cast(Any, server.state))
            await nursery.start(lifespan.handle_lifespan)
            await lifespan.wait_for_startup()
            async with trio.open_nursery() as connections:
                await _accept_until(server, sockets, connections, shutdown, on_ready)
            await lifespan.wait_for_shutdown()
            nursery.cancel_scope.cancel()
    finally:
        close_listeners(sockets)


async def _accept_until(
    server: _Server,
    sockets: Sequence[socket.socket],
    connections: trio.Nursery,
    shutdown: Callable[[], Awaitable[object]],
    on_ready: Callable[[], object],
) -> None:
    grace_s = 0.0
    try:
        async with trio.open_nursery() as accepting:
            for sock in sockets:
                accepting.start_soon(server.accept, sock, connections)
            on_ready()
            await shutdown()
            grace_s = server.limits.graceful_timeout_s
            accepting.cancel_scope.cancel()
    finally:
        close_listeners(sockets)
        deadline_s = trio.current_time() + grace_s
        connections.cancel_scope.deadline = min(connections.cancel_scope.deadline, deadline_s)
        with trio.CancelScope(shield=True):
            await server.stop(deadline_s)
