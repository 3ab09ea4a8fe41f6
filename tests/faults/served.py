"""The real server as a process that tests may kill, and a client that outlives it."""

import math
import os
import re
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import attrs
import h11
import msgspec
import trio

from .seams import PASSED

ROOT = Path(__file__).parents[2]
START_S = 120


class Gone(Exception):
    """The server went away before it had answered."""


class Connection:
    """One connection and h11. httpx leaves generators behind when a server dies under it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)

    async def call(self, method, target, headers=(), members=None):
        """The status, the headers and the members of the answer."""
        body = b"" if members is None else msgspec.json.encode(members)
        head = [("Host", "localhost"), ("Content-Length", str(len(body))), *headers]
        if members is not None:
            head.append(("Content-Type", "application/json"))
        try:
            request = h11.Request(method=method, target=target, headers=head)
            data = self._http.send(request) + self._http.send(h11.Data(data=body))
            await self._stream.send_all(data + self._http.send(h11.EndOfMessage()))
            return await self._answer()
        except (trio.BrokenResourceError, h11.RemoteProtocolError) as error:
            raise Gone from error

    async def close(self):
        await self._stream.aclose()

    async def _answer(self):
        status, headers, content = 0, {}, b""
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._stream.receive_some())
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode(): value.decode() for name, value in event.headers}
            elif isinstance(event, h11.Data):
                content += event.data
            elif isinstance(event, h11.EndOfMessage):
                self._http.start_next_cycle()
                return status, headers, msgspec.json.decode(content)
            else:
                raise Gone


async def connect(port):
    return Connection(await trio.open_tcp_stream("127.0.0.1", port))


@attrs.define
class Served:
    """The server, life after life, on one data directory.

    Attributes:
        life: Counts the lives, from 1.
        port: Where it listens in this life.
        alive: Whether it was started and has not been seen to end.
        passed: Set when the seam planted in this life was passed.
    """

    folder: Path
    life: int = 0
    port: int = 0
    alive: bool = False
    passed: trio.Event = attrs.field(factory=trio.Event)
    _starter: trio.Process | None = None
    _pid: int = 0
    _begun: trio.Event = attrs.field(factory=trio.Event)
    _ports: trio.MemoryReceiveChannel | None = None
    _answers: bytes = b""
    _scopes: set[trio.CancelScope] = attrs.field(factory=set)

    @property
    def data(self):
        return self.folder / "data"

    async def start(self, *, seam=None, act="die", nth=1, bug=None):
        """Begin the next life, with a seam planted or none, and a bug of `planted.bugs` or none."""
        arguments = ["serve", "--port", "0", "--db", str(self.data)]
        arguments += ["--keys-file", str(self.folder / "keys.yaml")]
        self.passed = trio.Event()
        order = {"serve": arguments, "seam": seam, "act": act, "nth": nth, "bug": bug}
        with trio.fail_after(START_S):
            self._pid = await self._tell(order)
            self.port = await self._ports.receive()
        self.life += 1
        self.alive = True
        self._begun.set()
        self._begun = trio.Event()
        for scope in self._scopes:
            scope.cancel()

    async def up(self):
        """Wait until there is a server, after one was found to be gone."""
        await trio.lowlevel.checkpoint()
        while not self.alive:
            await self._begun.wait()

    async def next_life(self):
        """Wait until another life has begun."""
        await self._begun.wait()

    @contextmanager
    def this_life(self):
        """Ends what is done inside when another life begins: a handshake that the library left
        waiting for a server that is dead. All that the dead one has sent was read by then."""
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)

    def signal(self, number):
        os.kill(self._pid, number)

    async def ended(self):
        """Wait for its end; its exit code, or the negative number of a signal."""
        code = await self._tell({"wait": True})
        self._pid, self.alive = 0, False
        return code

    async def kill(self):
        self.alive = False
        self.signal(signal.SIGKILL)
        assert await self.ended() == -signal.SIGKILL

    async def _tell(self, order):
        await self._starter.stdin.send_all(msgspec.json.encode(order) + b"\n")
        while b"\n" not in self._answers:
            some = await self._starter.stdout.receive_some()
            assert some, "the starter ended"
            self._answers += some
        line, _, self._answers = self._answers.partition(b"\n")
        return msgspec.json.decode(line)

    async def _listen(self, ports):
        """Take down what the servers say, for as long as there are any."""
        said = b""
        async for some in self._starter.stderr:
            said += some
            *lines, said = said.split(b"\n")
            for line in lines:
                found = re.search(rb"listens on http://127\.0\.0\.1:(\d+)", line)
                if found:
                    ports.send_nowait(int(found[1]))
                elif line + b"\n" == PASSED:
                    self.passed.set()


@asynccontextmanager
async def serving(folder):
    """A server on `folder` that can be started, killed and started again; none is left behind."""
    command = [sys.executable, "-m", "tests.faults.starter"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    served = Served(folder)
    ports, served._ports = trio.open_memory_channel(math.inf)
    async with trio.open_nursery() as nursery:
        served._starter = await trio.lowlevel.open_process(command, cwd=ROOT, **pipes)
        try:
            nursery.start_soon(served._listen, ports)
            yield served
        finally:
            with trio.CancelScope(shield=True):
                # It ends the server that is left when nobody has orders any more, but not while
                # it waits for that server to die.
                if served._pid:
                    with suppress(ProcessLookupError):
                        served.signal(signal.SIGKILL)
                await served._starter.stdin.aclose()
                await served._starter.wait()
            nursery.cancel_scope.cancel()
