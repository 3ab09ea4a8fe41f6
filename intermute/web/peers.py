"""The client at the other end of a connection, for those who answer it only after a while."""

import select
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import trio

# Under it, in the state that a server keeps of each connection, is its `Peer`.
PEER: Final = "intermute.peer"
# Beside these, errors and resets are always told. Not every system tells of an end before its time.
_ENDED = getattr(select, "POLLRDHUP", 0)


def is_unix_peer(scope: Mapping[str, Any]) -> bool:
    """Whether the request came through the Unix socket."""
    server = scope.get("server")
    return scope.get("client") is None and server is not None and server[1] is None


class Peer:
    """Whether the client of one connection is still there.

    A client that has closed its sending side counts as gone: nobody does that who still waits.
    """

    def __init__(
        self, fileno: Callable[[], int], *, on_wait: Callable[[], object] = lambda: None
    ) -> None:
        self._fileno = fileno
        self._on_wait = on_wait
        self._watchers: list[Callable[[], object]] = []
        self._left = False

    def has_left(self) -> bool:
        """Whether it has gone as far as the system knows, even if nobody has read that far.

        Who watches is told when this is what finds it out.
        """
        if not self._left:
            look = select.poll()
            look.register(self._fileno(), _ENDED)
            if look.poll(0):
                self.leave()
        return self._left

    @contextmanager
    def watched(self, tell: Callable[[], object]) -> Iterator[None]:
        """Call `tell` once when the client goes, or at once when it has gone.

        Whoever watches waits for something other than the server, which is told to the server.
        """
        self._on_wait()
        if self.has_left():
            tell()
            yield
            return
        self._watchers.append(tell)
        try:
            yield
        finally:
            self._watchers.remove(tell)

    def leave(self) -> None:
        """The client has gone: the server's to say."""
        if not self._left:
            self._left = True
            for tell in tuple(self._watchers):
                tell()


class Turn:
    """The turn of a connection to be read again, as Hypercorn's protocol waits for it.

    It waits while an answer is due and more has come already, or an upgrade was proposed. Nobody
    reads the end of the connection then, so whoever watches the client would never hear of it.
    """

    def __init__(self, peer: Peer, look_s: float) -> None:
        self._peer = peer
        self._look_s = look_s
        self._event = trio.Event()

    async def clear(self) -> None:
        self._event = trio.Event()

    async def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        """Wait for the turn, and look every `look_s` seconds whether the client has gone."""
        while not self._event.is_set():
            with trio.move_on_after(self._look_s):
                await self._event.wait()
            self._peer.has_left()
