"""Feeds that are listened to, and calls over HTTP in between, on one thread and one clock.

Either WebSocket driver can be under it: trio-websocket with a task for each feed, or the lean one
with one loop over all of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import perf_counter

import attrs
import trio
from trio_websocket import ConnectionClosed

from bench.connection import Broken
from bench.contention.histogram import Histogram
from bench.contention.links import BROKEN, NO_ANSWER, NOT_CONNECTED, Address, Ask, HttpLink, Reply
from bench.contention.sockets import LEAN
from bench.contention.trio_socket import BusyStretches, TrioSocket, open_trio_socket
from bench.crowd import Crowd
from bench.machine import End, is_connected
from bench.websocket import Closed, WebSocket, ends_of

Heard = Callable[[list[bytes], float], object]
Ended = Callable[[Closed], object]

_TURN_S = 0.1
_SENDING_MAX_S = 30.0


class Feed(ABC):
    """A feed that is open.

    Attributes:
        ends: The server's end of the connection, and our own.
    """

    ends: tuple[End, End]

    @abstractmethod
    def hang_up(self, *, abruptly: bool = False) -> None:
        """End it without a word; `abruptly`: with a reset."""

    @abstractmethod
    def pause(self, paused: bool) -> None:
        """Read nothing for a while, or again."""

    def is_of_here(self) -> bool:
        """Whether the server is on this machine, and has not hung up yet."""
        return is_connected(*self.ends)

    def has_ended(self) -> bool:
        """Whether a server on this machine has hung up, which who never reads is not told."""
        return not is_connected(*self.ends)


class Feeds(ABC):
    """All feeds of a slice.

    Args:
        lag: Filled with how long the generator had been busy when it got round to each frame.
    """

    def __init__(self, address: Address, lag: Histogram) -> None:
        self.address = address
        self.lag = lag

    @abstractmethod
    async def listen(
        self, path: str, heard: Heard, ended: Ended, *, receive_buffer_len: int | None = None
    ) -> Feed:
        """Open a feed and hear what comes, and when the server ends it.

        Raises:
            Broken, OSError: It cannot be opened.
        """

    @abstractmethod
    async def stall(self, path: str, *, receive_buffer_len: int) -> Feed:
        """Open a feed of which nothing is read.

        Raises:
            Broken, OSError: It cannot be opened.
        """

    @abstractmethod
    async def turn(self, wait_s: float) -> None:
        """Wait so long for something to come and see to it."""

    @abstractmethod
    def watch(self, asker: "Asker") -> None:
        """Let an asker, which has just connected, hear its answers."""

    @abstractmethod
    def forget(self, asker: "Asker") -> None:
        """Hang up the connection of an asker."""

    async def until(self, done: Callable[[], bool], *, timeout_s: float = _SENDING_MAX_S) -> bool:
        """Take turns until something holds; False when it does not in time."""
        end_s = perf_counter() + timeout_s
        while not done():
            left_s = end_s - perf_counter()
            if left_s <= 0:
                return False
            await self.turn(min(left_s, _TURN_S))
        return True


@attrs.define(eq=False)
class Asker:
    """One HTTP connection with one call at a time, whose answer comes while feeds are heard."""

    feeds: Feeds
    link: HttpLink
    _under_way: tuple[Callable[[Reply], object], float] | None = None

    def ask(self, ask: Ask, then: Callable[[Reply], object]) -> None:
        """Make a call.

        Args:
            then: Called with the reply, which may be that there is none, perhaps at once.
        """
        assert self._under_way is None, "one call at a time"
        asked_s = perf_counter()
        if self.link.is_stale:
            self.feeds.forget(self)
        try:
            if self.link.open():
                self.feeds.watch(self)
        except BROKEN:
            then(Reply(NOT_CONNECTED, asked_s=asked_s, answered_s=perf_counter()))
            return
        self._under_way = then, asked_s
        try:
            self.link.send_all(ask, _SENDING_MAX_S)
        except BROKEN:
            self.give_up()

    def give_up(self) -> None:
        """Nothing more is expected: hang up, and say so of what is under way."""
        self.feeds.forget(self)
        self._answered(Reply(NO_ANSWER))

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self.link.fileno()

    def receive(self) -> bool:
        """Read what has come. It is told as it comes, so there is nothing left to tell."""
        try:
            reply = self.link.receive()
        except BROKEN:
            self.give_up()
            return False
        if reply is not None:
            if not self.link.is_open:
                self.feeds.forget(self)
            self._answered(reply)
        return False

    def close(self) -> None:
        """Hang up."""
        self.link.close()

    def _answered(self, reply: Reply) -> None:
        if self._under_way is not None:
            then, reply.asked_s = self._under_way
            reply.answered_s = perf_counter()
            self._under_way = None
            then(reply)


async def answer(feeds: Feeds, asker: Asker, ask: Ask) -> Reply:
    """Make a call and wait for its answer, or for as long as one may take."""
    replies: list[Reply] = []
    asker.ask(ask, replies.append)
    if not await feeds.until(lambda: bool(replies)):
        asker.give_up()
    return replies[0]


def with_feeds(
    address: Address, websocket: str, lag: Histogram, body: Callable[[Feeds], Awaitable[None]]
) -> None:
    """Run something that listens to feeds; whatever it leaves open is closed.

    Args:
        websocket: One of `sockets.DRIVERS`.
    """
    if websocket == LEAN:
        trio.run(_with_lean_feeds, LeanFeeds(address, lag), body)
        return
    busy = BusyStretches()
    trio.run(_with_trio_feeds, address, lag, busy, body, instruments=[busy])


async def _with_lean_feeds(feeds: "LeanFeeds", body: Callable[[Feeds], Awaitable[None]]) -> None:
    try:
        await body(feeds)
    finally:
        feeds.close()


async def _with_trio_feeds(
    address: Address,
    lag: Histogram,
    busy: BusyStretches,
    body: Callable[[Feeds], Awaitable[None]],
) -> None:
    async with trio.open_nursery() as nursery:
        feeds = TrioFeeds(address, lag, nursery, busy)
        await body(feeds)
        feeds.close()
        nursery.cancel_scope.cancel()


# -- The lean driver ------------------------------------------------------------------------------


@attrs.frozen
class _LeanFeed(Feed):
    socket: WebSocket
    crowd: Crowd
    ends: tuple[End, End]

    def hang_up(self, *, abruptly: bool = False) -> None:
        self.crowd.drop(self.socket, abruptly=abruptly)

    def pause(self, paused: bool) -> None:
        self.crowd.pause(self.socket, paused)


class LeanFeeds(Feeds):
    """One loop over all feeds; nothing in it lets another task of Trio run."""

    def __init__(self, address: Address, lag: Histogram) -> None:
        super().__init__(address, lag)
        self._crowd = Crowd()
        self._stalled: list[WebSocket] = []
        self._busy_since_s: float | None = None

    async def listen(
        self, path: str, heard: Heard, ended: Ended, *, receive_buffer_len: int | None = None
    ) -> Feed:
        def note(frames: list[bytes], now_s: float) -> None:
            since_s = self._busy_since_s
            if since_s is None:
                since_s = self._crowd.woke_s
            self.lag.record((now_s - since_s) * 1e6)
            heard(frames, now_s)

        is_open = False
        early: list[Closed] = []

        def end(error: Closed) -> None:
            if is_open:
                ended(error)
            else:
                early.append(error)

        socket = self._open(path, receive_buffer_len)
        self._crowd.listen(socket, note, closed=end)
        if early:
            raise Broken(str(early[0]))
        is_open = True
        return _LeanFeed(socket, self._crowd, ends_of(socket.sock))

    async def stall(self, path: str, *, receive_buffer_len: int) -> Feed:
        socket = self._open(path, receive_buffer_len)
        self._stalled.append(socket)
        return _LeanFeed(socket, self._crowd, ends_of(socket.sock))

    def _open(self, path: str, receive_buffer_len: int | None) -> WebSocket:
        address = self.address
        return WebSocket(
            address.port,
            path,
            host=address.host,
            headers=address.headers,
            receive_buffer_len=receive_buffer_len,
        )

    async def turn(self, wait_s: float) -> None:
        if self._busy_since_s is not None and self._crowd.turn(0):
            return
        self._busy_since_s = None
        if self._crowd.turn(wait_s):
            self._busy_since_s = self._crowd.woke_s

    def watch(self, asker: Asker) -> None:
        self._crowd.ask(asker, lambda _: None)

    def forget(self, asker: Asker) -> None:
        if asker.link.is_open:
            self._crowd.forget(asker)

    def close(self) -> None:
        """Hang up everything."""
        self._crowd.close()
        for stalled in self._stalled:
            stalled.close()


# -- trio-websocket -------------------------------------------------------------------------------


@attrs.define(eq=False)
class _TrioFeed(Feed):
    socket: TrioSocket
    ends: tuple[End, End]
    goes_on: trio.Event = attrs.field(factory=trio.Event)
    is_dropped: bool = False

    def hang_up(self, *, abruptly: bool = False) -> None:
        self.is_dropped = True
        self.socket.hang_up(abruptly=abruptly)
        self.goes_on.set()

    def pause(self, paused: bool) -> None:
        if not paused:
            self.goes_on.set()
        elif self.goes_on.is_set():
            self.goes_on = trio.Event()


class TrioFeeds(Feeds):
    """A task for each feed, beside the one in which trio-websocket reads."""

    def __init__(
        self, address: Address, lag: Histogram, nursery: trio.Nursery, busy: BusyStretches
    ) -> None:
        super().__init__(address, lag)
        self._nursery = nursery
        self._busy = busy
        self._something = trio.Event()
        self._watching: dict[Asker, trio.CancelScope] = {}

    async def listen(
        self, path: str, heard: Heard, ended: Ended, *, receive_buffer_len: int | None = None
    ) -> Feed:
        socket = await open_trio_socket(
            self._nursery, self.address, path, receive_buffer_len=receive_buffer_len
        )
        feed = _TrioFeed(socket, socket.ends)
        feed.goes_on.set()
        self._nursery.start_soon(self._hear, feed, heard, ended)
        return feed

    async def _hear(self, feed: _TrioFeed, heard: Heard, ended: Ended) -> None:
        connection = feed.socket.connection
        while True:
            await feed.goes_on.wait()
            try:
                text = await connection.get_message()
            except ConnectionClosed as error:
                break_off = error
                break
            if feed.is_dropped:
                return
            now_s = perf_counter()
            self.lag.record((now_s - self._busy.since_s) * 1e6)
            heard([text.encode() if isinstance(text, str) else text], now_s)
            self._something.set()
        if not feed.is_dropped:
            reason = break_off.reason
            code = None if reason is None else int(reason.code)
            ended(Closed(code, "" if reason is None else reason.reason or ""))
            self._something.set()

    async def stall(self, path: str, *, receive_buffer_len: int) -> Feed:
        # Nobody fetches, and there is no room for what nobody has fetched.
        socket = await open_trio_socket(
            self._nursery,
            self.address,
            path,
            receive_buffer_len=receive_buffer_len,
            queue_len=0,
        )
        return _TrioFeed(socket, socket.ends)

    async def turn(self, wait_s: float) -> None:
        with trio.move_on_after(wait_s):
            await self._something.wait()
        self._something = trio.Event()

    def watch(self, asker: Asker) -> None:
        scope = self._watching[asker] = trio.CancelScope()
        self._nursery.start_soon(self._watch, asker, scope)

    async def _watch(self, asker: Asker, scope: trio.CancelScope) -> None:
        with scope:
            while asker.link.is_open:
                with suppress(trio.ClosedResourceError):
                    await trio.lowlevel.wait_readable(asker.fileno())
                    asker.receive()
                self._something.set()

    def forget(self, asker: Asker) -> None:
        scope = self._watching.pop(asker, None)
        if scope is not None:
            scope.cancel()
        if asker.link.is_open:
            trio.lowlevel.notify_closing(asker.fileno())
            asker.close()

    def close(self) -> None:
        """Hang up the connections of askers; feeds end with the nursery."""
        for asker in list(self._watching):
            self.forget(asker)
