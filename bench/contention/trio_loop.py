"""Clients over trio-websocket: the same scripts as in `bench.contention.loop`, a task for each."""

import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import count
from time import perf_counter

import attrs
import trio

from bench.contention.alarm import Alarm
from bench.contention.histogram import Histogram
from bench.contention.links import BROKEN, NO_ANSWER, NOT_CONNECTED, Ask, Reply
from bench.contention.loop import (
    CALL_TIMEOUT_S,
    REFUSED_PAUSE_S,
    Arrivals,
    Meet,
    Script,
    Wait,
)
from bench.contention.sockets import TrioLink
from bench.contention.trio_socket import BusyStretches

# More connections at once than a server's backlog has room for would wait for their second try.
_OPENING_MAX = 64


@attrs.define(eq=False)
class TrioLoop:
    """Runs clients until all have ended, as `Loop` does and with the same attributes.

    Attributes:
        lag: How long Trio's loop ran each time before it could wait again.
    """

    heard: Callable[[str, Ask, Reply], object]
    chance: random.Random
    asked: Callable[[str, Ask], object] = lambda _name, _ask: None
    timeout_s: float = CALL_TIMEOUT_S
    late: Histogram = attrs.field(factory=Histogram)
    lag: Histogram = attrs.field(factory=Histogram)
    _starts: list[tuple[str, Script, TrioLink]] = attrs.field(init=False, factory=list)
    _meetings: dict[Hashable, list[trio.Event]] = attrs.field(init=False, factory=dict)
    _arrivals: Arrivals[TrioLink] | None = attrs.field(init=False, default=None)
    _order: Iterator[int] = attrs.field(init=False, factory=count)
    _playing: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)

    def start(self, name: str, script: Script, link: TrioLink) -> None:
        """Let a client begin as soon as the loop runs, with a link that nobody else uses."""
        self._starts.append((name, script, link))

    def arrive(self, arrivals: Arrivals[TrioLink]) -> None:
        """Let clients begin at their intended times; for one open loop at a time."""
        self._arrivals = arrivals

    def run(
        self, links: Sequence[TrioLink] = (), begin: Callable[[], object] = lambda: None
    ) -> None:
        """Connect, then run until every client has ended; see `Loop.run`."""
        busy = BusyStretches()
        trio.run(self._run, links, begin, busy, instruments=[busy])

    def stop(self) -> None:
        """Let everything be as it is and return from `run`; to be called while it runs."""
        self._playing.cancel()

    def close(self) -> None:
        """Nothing is left open once it has run; the links are their owners'."""

    async def _run(
        self, links: Sequence[TrioLink], begin: Callable[[], object], busy: BusyStretches
    ) -> None:
        async with trio.open_nursery() as sockets:
            await _open_all(links, sockets)
            begin()
            busy.begin(self.lag)
            with self._playing:
                await self._play_all(sockets)
            for link in links:
                link.close()
            sockets.cancel_scope.cancel()

    async def _play_all(self, sockets: trio.Nursery) -> None:
        async with trio.open_nursery() as clients:
            for name, script, link in self._starts:
                clients.start_soon(self._play, sockets, name, script, link)
            if self._arrivals is not None:
                clients.start_soon(self._arrive, sockets, clients, self._arrivals)

    async def _play(self, sockets: trio.Nursery, name: str, script: Script, link: TrioLink) -> None:
        reply: Reply | None = None
        with suppress(StopIteration):
            while True:
                step = script.send(reply)
                reply = None
                if isinstance(step, Ask):
                    reply = await self._ask(sockets, name, step, link)
                    self.heard(name, step, reply)
                elif isinstance(step, Wait):
                    await trio.sleep(max(0.0, step.until_s - perf_counter()))
                else:
                    await self._meet(step)

    async def _ask(self, sockets: trio.Nursery, name: str, ask: Ask, link: TrioLink) -> Reply:
        asked_s = perf_counter()
        status = NOT_CONNECTED

        def sends() -> None:
            nonlocal asked_s, status
            self.asked(name, ask)
            asked_s, status = perf_counter(), NO_ANSWER

        try:
            with trio.move_on_after(self.timeout_s):
                await link.open(sockets)
                reply = await link.ask(ask, sends=sends)
                reply.asked_s, reply.answered_s = asked_s, perf_counter()
                return reply
        except BROKEN:
            pass
        answered_s = perf_counter()
        link.close()
        if status == NOT_CONNECTED:
            await trio.sleep(REFUSED_PAUSE_S)
        return Reply(status, asked_s=asked_s, answered_s=answered_s)

    async def _meet(self, step: Meet) -> None:
        there = self._meetings.setdefault(step.place, [])
        mine = trio.Event()
        there.append(mine)
        if len(there) == step.size:
            del self._meetings[step.place]
            self.chance.shuffle(there)
            for event in there:
                event.set()
        await mine.wait()

    # -- Open loop --------------------------------------------------------------------------------

    async def _arrive(
        self, sockets: trio.Nursery, clients: trio.Nursery, arrivals: Arrivals[TrioLink]
    ) -> None:
        with closing(Alarm()) as alarm:
            for due_s in arrivals.due_s:
                await alarm.until(due_s)
                link = arrivals.link_for(due_s)
                if link is not None:
                    self.late.record((perf_counter() - due_s) * 1e6)
                    clients.start_soon(self._serve, sockets, arrivals, link, due_s)

    async def _serve(
        self, sockets: trio.Nursery, arrivals: Arrivals[TrioLink], link: TrioLink, due_s: float
    ) -> None:
        """One client after the other on a link, for as long as somebody waits for one."""
        turn: float | None = due_s
        while turn is not None:
            name = f"{arrivals.name}-{next(self._order)}"
            await self._play(sockets, name, arrivals.make(turn), link)
            turn = arrivals.next_waiting()
        arrivals.links.append(link)


async def _open_all(links: Sequence[TrioLink], sockets: trio.Nursery) -> None:
    """Connect; whoever cannot now is told so when it asks."""
    opening = trio.CapacityLimiter(_OPENING_MAX)

    async def open_one(link: TrioLink) -> None:
        async with opening:
            with suppress(*BROKEN):
                await link.open(sockets)

    async with trio.open_nursery() as nursery:
        for link in links:
            nursery.start_soon(open_one, link)
