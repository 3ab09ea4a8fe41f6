"""A WebSocket of trio-websocket over a socket that we make, so that its buffer can be small."""

import socket
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import cast

import attrs
import trio
import wsproto.utilities
from trio_websocket import (
    ConnectionClosed,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)

from bench.connection import CONNECT_TIMEOUT_S, Broken
from bench.contention.histogram import Histogram
from bench.contention.links import Address
from bench.machine import End
from bench.websocket import NO_LINGER, ends_of

# A page of an inbox, or a list of what is held, may be one frame.
MESSAGE_LEN_MAX = 64 * 1024 * 1024


@attrs.frozen
class TrioSocket:
    """An open WebSocket.

    trio-websocket reads in a task of its own, as far as its queue has room: with a queue of none
    that task stops at the first message that nobody fetches, and then nothing is read at all.

    Attributes:
        ends: The server's end of the connection, and our own.
    """

    connection: WebSocketConnection
    stream: trio.SocketStream
    reading: trio.CancelScope
    ends: tuple[End, End]

    def hang_up(self, *, abruptly: bool = False) -> None:
        """End the connection without a word; `abruptly`: with a reset."""
        sock = self.stream.socket
        if abruptly and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        sock.close()
        # A reader that has stalled does not notice that.
        self.reading.cancel()


async def open_trio_socket(
    nursery: trio.Nursery,
    address: Address,
    path: str,
    *,
    receive_buffer_len: int | None = None,
    queue_len: int = 1,
) -> TrioSocket:
    """Open a WebSocket.

    Args:
        nursery: Where the task that reads runs until the connection ends.
        receive_buffer_len: For who wants to be slow: what the kernel may keep for it, in bytes.
        queue_len: How many messages are read that nobody has fetched.

    Raises:
        Broken: The server did not agree to a WebSocket, or not in time.
        OSError: Nobody is there.

    Cancellation: hangs up.
    """
    opened: TrioSocket = await nursery.start(_hold, address, path, receive_buffer_len, queue_len)
    return opened


async def _hold(
    address: Address,
    path: str,
    receive_buffer_len: int | None,
    queue_len: int,
    *,
    task_status: trio.TaskStatus[TrioSocket],
) -> None:
    """Run what trio-websocket runs in the background, until the connection has ended.

    It raises what goes wrong in the handshake in its own task, so that has a nursery of its own.
    """
    stream = await _connect(address, receive_buffer_len)
    # A connection that was reset does not know them any more.
    ends = ends_of(stream.socket)
    refused: Exception | None = None
    try:
        async with trio.open_nursery() as reading:
            with trio.move_on_after(CONNECT_TIMEOUT_S) as handshake:
                connection = await wrap_client_stream(
                    cast(trio.Nursery, _Reading(reading, handshake)),
                    stream,
                    address.authority,
                    path,
                    extra_headers=_headers(address),
                    message_queue_size=queue_len,
                    max_message_size=MESSAGE_LEN_MAX,
                    receive_buffer_size=None,
                )
            if handshake.cancelled_caught:
                raise HandshakeError("the connection ended, or no answer came in time")
            task_status.started(TrioSocket(connection, stream, reading.cancel_scope, ends))
    except* HandshakeError as group:
        refused = group.exceptions[0]
    except* (ConnectionClosed, wsproto.utilities.ProtocolError):
        # Whoever waits for a message is told so by the connection.
        pass
    finally:
        stream.socket.close()
    if refused is not None:
        raise Broken(f"{path}: no WebSocket: {refused!r}")


@attrs.frozen
class _Reading:
    """Where trio-websocket's reading task is put: when it ends, nobody need wait for a handshake.

    trio-websocket itself would wait on when the connection ends in the middle of one.
    """

    nursery: trio.Nursery
    handshake: trio.CancelScope

    def start_soon(self, read: Callable[[], Awaitable[None]]) -> None:
        """As of a nursery."""
        self.nursery.start_soon(self._read, read)

    async def _read(self, read: Callable[[], Awaitable[None]]) -> None:
        try:
            await read()
        finally:
            self.handshake.cancel()


async def _connect(address: Address, receive_buffer_len: int | None) -> trio.SocketStream:
    failed: Exception = Broken(f"{address.authority} did not take a connection in time")
    with trio.move_on_after(CONNECT_TIMEOUT_S):
        for family, kind, protocol, _, place in await trio.socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM
        ):
            sock = trio.socket.socket(family, kind, protocol)
            try:
                # The window that is told to the server when it connects follows from this.
                if receive_buffer_len is not None:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_len)
                await sock.connect(place)
                return trio.SocketStream(sock)
            except OSError as error:
                sock.close()
                failed = error
            except BaseException:
                sock.close()
                raise
    raise failed


def _headers(address: Address) -> list[tuple[bytes, bytes]]:
    if not address.key:
        return []
    return [(b"Authorization", f"Bearer {address.key}".encode())]


class BusyStretches(trio.abc.Instrument):
    """Notes how long Trio's loop ran before it could wait again.

    Attributes:
        since_s: When the stretch that goes on now began, on `time.perf_counter`: whatever is looked
            at now may have waited since.
    """

    def __init__(self) -> None:
        self._lengths: Histogram | None = None
        self.since_s = perf_counter()

    def begin(self, lengths: Histogram) -> None:
        """Forget what was before, and keep the length of each stretch from here on."""
        self._lengths = lengths
        self.since_s = perf_counter()

    def before_io_wait(self, timeout: float) -> None:
        """Trio: the loop looks at its sockets, and waits unless there is something to do."""
        if timeout > 0 and self._lengths is not None:
            self._lengths.record((perf_counter() - self.since_s) * 1e6)

    def after_io_wait(self, timeout: float) -> None:
        """Trio: it has looked."""
        if timeout > 0:
            self.since_s = perf_counter()
