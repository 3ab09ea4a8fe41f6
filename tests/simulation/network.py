"""A network in memory: connections with latency, small buffers, cuts, stalls and half-closes.

The server is given streams and a listening socket that look like trio's. The few looks that it
takes at the system below them (`os.read`, `os.write`, `select.poll`) are answered from here too.
"""

import errno
import random
import select
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from unittest.mock import patch

import attrs
import trio

from intermute.web import peers, server

BUFFER_LEN_MAX = 16 * 1024
BACKLOG_MAX = 64
FAR = float("inf")
_FIRST_FD = 1_000_000


@attrs.frozen
class Conditions:
    """How good the network is.

    Attributes:
        latency_s: The longest that bytes are on their way.
        split_p: How likely it is that a write arrives in two pieces.
        cut_p: That a connection is cut at a write.
        stall_p: That a write, and all that follows it, never arrives.
        accept_fault_p: That the server has no descriptor left for a connection.
    """

    latency_s: float = 0.005
    split_p: float = 0.1
    cut_p: float = 0.0
    stall_p: float = 0.0
    accept_fault_p: float = 0.0


class Pipe:
    """Bytes on their way in one direction."""

    def __init__(self, link: "Link") -> None:
        self._link = link
        self._chunks: deque[tuple[float, bytes]] = deque()
        self._len = 0
        self._last_at_s = 0.0
        self._ended_at_s: float | None = None
        self._deaf = False
        self.broken = False
        self._arrived = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()

    def write_now(self, data: bytes) -> int:
        """How many bytes there is room for, which are then on their way."""
        if self.broken or self._ended_at_s is not None:
            raise BrokenPipeError
        if self._deaf:
            self._link.cut()
            raise BrokenPipeError
        room = BUFFER_LEN_MAX - self._len
        if room <= 0:
            raise BlockingIOError
        some = bytes(data[:room])
        self._len += len(some)
        for piece in self._link.befall(some):
            if self.broken:
                raise BrokenPipeError
            self._chunks.append((self._time_of_arrival(), piece))
        self._arrived.unpark_all()
        return len(some)

    async def send_all(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        while data:
            try:
                data = data[self.write_now(data) :]
            except BlockingIOError:
                await self._room.park()
            except BrokenPipeError:
                raise trio.BrokenResourceError from None

    async def wait_readable(self) -> None:
        """Until something has come: bytes, the end, or word that it is broken."""
        await trio.lowlevel.checkpoint()
        while not self.broken and (due_s := self._due_s()) > trio.current_time():
            with trio.move_on_at(due_s):
                await self._arrived.park()

    def read_now(self, len_max: int) -> bytes:
        """What has come, empty at the end."""
        if self.broken:
            raise ConnectionResetError
        if self._due_s() > trio.current_time():
            raise BlockingIOError
        return self._take(len_max) if self._chunks else b""

    def _due_s(self) -> float:
        if self._chunks:
            return self._chunks[0][0]
        return FAR if self._ended_at_s is None else self._ended_at_s

    def _take(self, len_max: int) -> bytes:
        at_s, data = self._chunks.popleft()
        if len(data) > len_max:
            self._chunks.appendleft((at_s, data[len_max:]))
            data = data[:len_max]
        self._len -= len(data)
        self._room.unpark_all()
        return data

    def end(self) -> None:
        """Nothing more is sent."""
        if self._ended_at_s is None:
            self._ended_at_s = self._time_of_arrival()
            self._arrived.unpark_all()
            self._room.unpark_all()

    def go_deaf(self) -> None:
        """Nothing more is read; who sends something gets to know."""
        self._deaf = True

    def break_off(self) -> None:
        self.broken = True
        self._chunks.clear()
        self._arrived.unpark_all()
        self._room.unpark_all()

    def end_is_known(self) -> bool:
        """Whether the other end is known here to have ended it, read or not."""
        known = self._ended_at_s is not None and self._ended_at_s <= trio.current_time()
        return self.broken or known

    def _time_of_arrival(self) -> float:
        at_s = trio.current_time() + self._link.latency_s()
        self._last_at_s = max(self._last_at_s, at_s)
        return self._last_at_s


class Link:
    """One connection.

    Attributes:
        disturbed: It was cut or stalled, so nobody can expect an answer on it.
    """

    def __init__(self, network: "Network", fd: int) -> None:
        self._network = network
        self.fd = fd
        self.disturbed = False
        self._stalled = False
        up, down = Pipe(self), Pipe(self)
        self.client = Stream(self, out=up, into=down)
        self.server = Stream(self, out=down, into=up)
        self.up = up

    def latency_s(self) -> float:
        if self._stalled:
            return FAR
        return self._network.dice.uniform(0, self._network.conditions.latency_s)

    def befall(self, data: bytes) -> list[bytes]:
        """What becomes of a write: its pieces. It may be the last."""
        dice, conditions = self._network.dice, self._network.conditions
        if conditions.cut_p and dice.random() < conditions.cut_p:
            self.cut()
        elif conditions.stall_p and dice.random() < conditions.stall_p:
            self.disturbed = self._stalled = True
        if len(data) > 1 and dice.random() < conditions.split_p:
            at = dice.randrange(1, len(data))
            return [data[:at], data[at:]]
        return [data]

    def cut(self) -> None:
        self.disturbed = True
        for stream in (self.client, self.server):
            stream.out.break_off()


class Stream:
    """One end of a connection: a trio stream, and the socket below it."""

    family = socket.AF_INET

    def __init__(self, link: Link, *, out: Pipe, into: Pipe) -> None:
        self.link = link
        self.out = out
        self._into = into
        self.send_all = out.send_all
        self.wait_readable = into.wait_readable
        self.read_now = into.read_now

    async def receive_some(self, max_bytes: int = 65_536) -> bytes:
        await self.wait_readable()
        try:
            return self.read_now(max_bytes)
        except ConnectionResetError as error:
            raise trio.BrokenResourceError from error

    async def send_eof(self) -> None:
        self.out.end()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        self.out.end()
        self._into.go_deaf()
        self.link._network.forget(self)

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    @property
    def socket(self) -> "Stream":
        return self

    def fileno(self) -> int:
        return self.link.fd

    def getpeername(self) -> tuple[str, int]:
        return "127.0.0.1", 40_000 + self.link.fd % 20_000

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 7338


class Door:
    """What a server listens on."""

    family = socket.AF_INET

    def __init__(self, network: "Network") -> None:
        self._network = network
        self._backlog: deque[Link] = deque()
        self._came = trio.lowlevel.ParkingLot()
        self.closed = False

    def knock(self, link: Link) -> None:
        if self.closed or len(self._backlog) >= BACKLOG_MAX:
            raise ConnectionRefusedError
        self._backlog.append(link)
        self._came.unpark()

    def accept(self) -> tuple[Stream, tuple[str, int]]:
        """As the socket does that it stands for: at once, or an OSError."""
        if not self._backlog:
            raise BlockingIOError
        fault_p = self._network.conditions.accept_fault_p
        if fault_p and self._network.dice.random() < fault_p:
            raise OSError(errno.EMFILE, "no descriptor left, by order of a test")
        link = self._backlog.popleft()
        self._network.accepted[link.fd] = link
        return link.server, link.server.getpeername()

    async def wait(self) -> None:
        """Until somebody may be there."""
        await trio.lowlevel.checkpoint()
        while not self._backlog:
            await self._came.park()

    def close(self) -> None:
        self.closed = True
        for link in self._backlog:
            link.cut()
        self._backlog.clear()

    def fileno(self) -> int:
        return -1 if self.closed else _FIRST_FD

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 7338


class Listener:
    """A door as trio has it."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def accept(self) -> Stream:
        await self._door.wait()
        return self._door.accept()[0]


class Network:
    """All connections there are.

    Attributes:
        accepted: Connections that the server has, by what it takes for their descriptors.
    """

    def __init__(self, dice: random.Random, conditions: Conditions) -> None:
        self.dice = dice
        self.conditions = conditions
        self.accepted: dict[int, Link] = {}
        self._door: Door | None = None
        self._fd = _FIRST_FD

    def listen(self) -> Door:
        assert self._door is None or self._door.closed
        self._door = Door(self)
        return self._door

    async def connect(self) -> Stream:
        """Raises OSError when nobody listens."""
        await trio.sleep(self.dice.uniform(0, self.conditions.latency_s))
        if self._door is None:
            raise ConnectionRefusedError
        self._fd += 1
        link = Link(self, self._fd)
        self._door.knock(link)
        return link.client

    def cut_all(self) -> None:
        """The server's machine has gone."""
        if self._door is not None:
            self._door.close()
        for link in list(self.accepted.values()):
            link.cut()

    def forget(self, stream: Stream) -> None:
        if self.accepted.get(stream.link.fd) is stream.link and stream is stream.link.server:
            del self.accepted[stream.link.fd]

    @contextmanager
    def in_effect(self) -> Iterator[None]:
        """The server's module sees this network and no other."""
        with ExitStack() as stack:
            system = SimpleNamespace(read=self._read, write=self._write)
            poll = SimpleNamespace(poll=lambda: _Poll(self), POLLRDHUP=select.POLLRDHUP)
            stack.enter_context(patch.object(server, "os", system))
            stack.enter_context(patch.object(peers, "select", poll))
            stack.enter_context(patch.object(trio.lowlevel, "wait_readable", _wait_readable))
            stack.enter_context(patch.object(trio, "SocketListener", Listener))
            stack.enter_context(patch.object(trio, "SocketStream", lambda stream: stream))
            stack.enter_context(patch.object(trio.socket, "from_stdlib_socket", lambda sock: sock))
            yield

    def _write(self, fd: int, data: bytes) -> int:
        return self._accepted(fd).out.write_now(data)

    def _read(self, fd: int, len_max: int) -> bytes:
        return self._accepted(fd).read_now(len_max)

    def _accepted(self, fd: int) -> Stream:
        link = self.accepted.get(fd)
        if link is None:
            raise OSError(errno.EBADF, "closed")
        return link.server


async def _wait_readable(stream: Stream) -> None:
    await stream.wait_readable()


class _Poll:
    """`select.poll`, as far as it is used: whether the client has ended its side."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._fd = -1

    def register(self, fd: int, _: int) -> None:
        self._fd = fd

    def poll(self, _: int) -> list[tuple[int, int]]:
        link = self._network.accepted.get(self._fd)
        gone = link is None or link.up.end_is_known()
        return [(self._fd, select.POLLRDHUP)] if gone else []
