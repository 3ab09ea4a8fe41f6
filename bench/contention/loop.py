"""The event loop of a generator process: clients written as generators, over one epoll set.

See `bench.contention.trio_loop` for the same over trio-websocket.

A client is a generator that yields what it wants: an `Ask` gives it the `Reply`, a `Wait` the time
that has come, a `Meet` everybody else who meets there. One thread runs hundreds of them at a cost
of some ten microseconds a call, so that one processor is enough to load a server written in Python.
"""

import heapq
import random
import select
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from time import perf_counter
from typing import Generic, TypeVar

import attrs

from bench.contention.histogram import Histogram
from bench.contention.links import BROKEN, NO_ANSWER, NOT_CONNECTED, Ask, Link, Reply

CALL_TIMEOUT_S = 30.0
_LOOK_EVERY_S = 0.25
# A client whose connection is refused asks again after so long.
REFUSED_PAUSE_S = 0.05


@attrs.frozen
class Wait:
    """Go on at this time, on `time.perf_counter`."""

    until_s: float


@attrs.frozen
class Meet:
    """Go on when so many clients have come to the same place; in a random order then."""

    place: Hashable
    size: int


Step = Ask | Wait | Meet
Script = Generator[Step, Reply | None, None]


@attrs.define(eq=False)
class _Player:
    """A client and what it waits for."""

    name: str
    script: Script
    link: Link
    then: Callable[[], None] | None = None
    ask: Ask | None = None
    asked_s: float = 0.0


Way = TypeVar("Way")


@attrs.define
class Arrivals(Generic[Way]):
    """Open loop: a client begins at each intended time, whether or not earlier ones are done.

    Attributes:
        name: What the names of the clients begin with.
        due_s: The intended times, ascending, on `time.perf_counter`.
        make: The client for a time; it asks once or a few times, and ends.
        links: Connections that nobody uses now.
        more: Those that may be opened besides, when all others are in use. When there is none of
            these either a client begins late, and what it asks counts from its intended time all
            the same.
        patience_s: A client that could not begin for so long is given up, and its time kept in
            `given_up`; None: it waits however long it takes.
        waiting: The intended times of those that wait for a connection, ascending.
        waited: How long those that had to wait did so.
    """

    name: str
    due_s: Iterator[float]
    make: Callable[[float], Script]
    links: list[Way]
    more: Iterator[Way] = attrs.field(factory=lambda: iter(()))
    patience_s: float | None = None
    given_up: list[float] = attrs.field(factory=list)
    waiting: deque[float] = attrs.field(factory=deque)
    waited: Histogram = attrs.field(factory=Histogram)

    def link_for(self, due_s: float) -> Way | None:
        """A connection for a client that is due; None when there is none, and the client waits."""
        link = self.links.pop() if self.links else next(self.more, None)
        if link is None:
            self.waiting.append(due_s)
        return link

    def next_waiting(self) -> float | None:
        """Whose turn it is for a connection that is free again; those who gave up are passed over.

        Returns:
            The intended time of the one that has waited longest; None when nobody waits.
        """
        now_s = perf_counter()
        while self.waiting:
            due_s = self.waiting.popleft()
            self.waited.record((now_s - due_s) * 1e6)
            if self.patience_s is None or now_s - due_s <= self.patience_s:
                return due_s
            self.given_up.append(due_s)
        return None


@attrs.define
class Loop:
    """Runs clients until all have ended.

    Args:
        heard: Called with every call of every client and its reply, in the order of replies.
        asked: Called right before a call is sent; what it returns is handed to `heard`.

    Attributes:
        late: By how much clients of an open loop began late although a connection was free: the
            generator's own fault, as is what those without a connection waited (see `Arrivals`).
        lag: How long each turn of the loop took: what came meanwhile had to wait so long.
    """

    heard: Callable[[str, Ask, Reply], object]
    chance: random.Random
    asked: Callable[[str, Ask], object] = lambda _name, _ask: None
    timeout_s: float = CALL_TIMEOUT_S
    late: Histogram = attrs.field(factory=Histogram)
    lag: Histogram = attrs.field(factory=Histogram)
    _poll: select.epoll = attrs.field(init=False, factory=select.epoll)
    _by_fd: dict[int, _Player] = attrs.field(init=False, factory=dict)
    _ready: deque[tuple[_Player, Reply | None]] = attrs.field(init=False, factory=deque)
    _timers: list[tuple[float, int, Callable[[], None]]] = attrs.field(init=False, factory=list)
    _order: Iterator[int] = attrs.field(init=False, factory=count)
    _meetings: dict[Hashable, list[_Player]] = attrs.field(init=False, factory=dict)
    _live: int = attrs.field(init=False, default=0)
    _arrivals: Arrivals[Link] | None = attrs.field(init=False, default=None)
    _looked_s: float = attrs.field(init=False, default=0.0)
    _is_stopped: bool = attrs.field(init=False, default=False)

    def start(
        self, name: str, script: Script, link: Link, *, then: Callable[[], None] | None = None
    ) -> None:
        """Let a client begin as soon as the loop runs, with a link that nobody else uses meanwhile.

        Args:
            then: Called when it has ended.
        """
        self._live += 1
        self._ready.append((_Player(name, script, link, then), None))

    def arrive(self, arrivals: Arrivals[Link]) -> None:
        """Let clients begin at their intended times; for one open loop at a time."""
        self._arrivals = arrivals
        self._next_arrival()

    def run(self, links: Sequence[Link] = (), begin: Callable[[], object] = lambda: None) -> None:
        """Run until every client has ended and nobody more is due, or it is stopped.

        Args:
            links: To be connected before; who cannot connect is told so when it asks.
            begin: Called once all are connected.
        """
        for link in links:
            with suppress(*BROKEN):
                link.open()
        begin()
        self._looked_s = perf_counter()
        while (self._live or self._arrivals is not None) and not self._is_stopped:
            self._turn()

    def stop(self) -> None:
        """Let everything be as it is and return from `run`; to be called while it runs."""
        self._is_stopped = True

    def close(self) -> None:
        """Give the descriptors back; the links are their owners'."""
        self._poll.close()

    def _turn(self) -> None:
        while self._ready:
            player, reply = self._ready.popleft()
            self._advance(player, reply)
        found = self._wait()
        woke_s = perf_counter()
        for fd, _ in found:
            heard = self._by_fd.get(fd)
            if heard is not None:
                self._receive(fd, heard)
        while self._timers and self._timers[0][0] <= perf_counter():
            heapq.heappop(self._timers)[2]()
        while self._ready:
            player, reply = self._ready.popleft()
            self._advance(player, reply)
        now_s = perf_counter()
        if found:
            self.lag.record((now_s - woke_s) * 1e6)
        if now_s - self._looked_s > _LOOK_EVERY_S:
            self._looked_s = now_s
            self._end_overdue(now_s)

    def _wait(self) -> list[tuple[int, int]]:
        """What has come, within the time to the next timer.

        An epoll set counts in whole milliseconds and rounds up, so that every timer would be late
        by about half of one; `select` counts in microseconds and can wait for such a set.
        """
        if not self._timers:
            return self._poll.poll(_LOOK_EVERY_S)
        left_s = min(_LOOK_EVERY_S, self._timers[0][0] - perf_counter())
        if left_s > 0:
            select.select([self._poll], [], [], left_s)
        return self._poll.poll(0)

    def _at(self, at_s: float, then: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (at_s, next(self._order), then))

    # -- Clients ----------------------------------------------------------------------------------

    def _advance(self, player: _Player, reply: Reply | None) -> None:
        try:
            step = player.script.send(reply)
        except StopIteration:
            self._ended(player)
            return
        if isinstance(step, Ask):
            self._send(player, step)
        elif isinstance(step, Wait):
            self._at(step.until_s, lambda: self._ready.append((player, None)))
        else:
            there = self._meetings.setdefault(step.place, [])
            there.append(player)
            if len(there) == step.size:
                del self._meetings[step.place]
                self.chance.shuffle(there)
                self._ready.extend((each, None) for each in there)

    def _send(self, player: _Player, ask: Ask) -> None:
        link = player.link
        player.ask = ask
        try:
            is_new = link.open()
        except BROKEN:
            now_s = perf_counter()
            reply = Reply(NOT_CONNECTED, asked_s=now_s, answered_s=now_s)
            self._at(now_s + REFUSED_PAUSE_S, lambda: self._answered(player, reply))
            return
        fd = link.fileno()
        if is_new or fd not in self._by_fd:
            with suppress(FileExistsError):
                self._poll.register(fd, select.EPOLLIN)
        self._by_fd[fd] = player
        self.asked(player.name, ask)
        player.asked_s = perf_counter()
        try:
            link.send(ask)
        except BROKEN:
            self._lost(fd, player)

    def _receive(self, fd: int, player: _Player) -> None:
        try:
            reply = player.link.receive()
        except BROKEN:
            self._lost(fd, player)
            return
        if not player.link.is_open:
            del self._by_fd[fd]
        if reply is None or player.ask is None:
            return
        reply.asked_s, reply.answered_s = player.asked_s, perf_counter()
        self._answered(player, reply)

    def _lost(self, fd: int, player: _Player) -> None:
        """A connection ended: what was under way over it has no answer."""
        del self._by_fd[fd]
        player.link.close()
        if player.ask is not None:
            reply = Reply(NO_ANSWER, asked_s=player.asked_s, answered_s=perf_counter())
            self._answered(player, reply)

    def _answered(self, player: _Player, reply: Reply) -> None:
        ask, player.ask = player.ask, None
        assert ask is not None
        self.heard(player.name, ask, reply)
        self._ready.append((player, reply))

    def _end_overdue(self, now_s: float) -> None:
        for fd, player in list(self._by_fd.items()):
            if player.ask is not None and now_s - player.asked_s > self.timeout_s:
                self._lost(fd, player)

    def _ended(self, player: _Player) -> None:
        self._live -= 1
        if player.then is not None:
            player.then()

    # -- Open loop --------------------------------------------------------------------------------

    def _next_arrival(self) -> None:
        arrivals = self._arrivals
        assert arrivals is not None
        due_s = next(arrivals.due_s, None)
        if due_s is None:
            self._arrivals = None
            return
        self._at(due_s, lambda: self._arrived(arrivals, due_s))

    def _arrived(self, arrivals: Arrivals[Link], due_s: float) -> None:
        link = arrivals.link_for(due_s)
        if link is not None:
            self.late.record((perf_counter() - due_s) * 1e6)
            self._begin(arrivals, due_s, link)
        self._next_arrival()

    def _begin(self, arrivals: Arrivals[Link], due_s: float, link: Link) -> None:
        self.start(
            f"{arrivals.name}-{next(self._order)}",
            arrivals.make(due_s),
            link,
            then=lambda: self._freed(arrivals, link),
        )

    def _freed(self, arrivals: Arrivals[Link], link: Link) -> None:
        """A connection has nothing more to do: whoever has waited longest for one begins."""
        due_s = arrivals.next_waiting()
        if due_s is None:
            arrivals.links.append(link)
        else:
            self._begin(arrivals, due_s, link)


def due_times(
    start_s: float, rate: float, seconds: float, *, part: int, parts: int
) -> Iterator[float]:
    """The intended times of one of several generators, which together make calls at a rate.

    Args:
        rate: Calls a second of all of them together, evenly spaced.
        part: Which of them, from 0.
    """
    for number in range(part, int(rate * seconds), parts):
        yield start_s + number / rate
