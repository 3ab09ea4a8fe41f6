"""The client at the other end of a connection, for those who answer it only after a while."""

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

# Under it, in the state that a server keeps of each connection, is its `Peer`.
PEER: Final = "intermute.peer"
# Beside these, errors and resets are always told. Not every system tells of an end before its time.
_ENDED = getattr(select, "POLLRDHUP", 0)


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
        """Whether it has gone as far as the system knows, even if nobody has read that far."""
        if not self._left:
            look = select.poll()
            look.register(self._fileno(), _ENDED)
            self._left = bool(look.poll(0))
        return self._left

    @contextmanager
    def watched(self, tell: Callable[[], object]) -> Iterator[None]:
        """Call `tell` once when the client goes, or at once when it has gone.

        Whoever watches waits for something other than the server, which is told to the server.
        """
        self._on_wait()
        self._watchers.append(tell)
        try:
            if self.has_left():
                tell()
            yield
        finally:
            self._watchers.remove(tell)

    def leave(self) -> None:
        """The client has gone: the server's to say."""
        self._left = True
        for tell in tuple(self._watchers):
            tell()
