"""The real server as a process that tests may kill, and a client that outlives it."""

import re
import subprocess
import sys
from contextlib import asynccontextmanager

import h11
import msgspec
import trio

START = "from intermute.cli.main import main; main()"


class Gone(Exception):
    """The server went away before it had answered."""


class Client:
    """One connection and h11. httpx leaves generators behind when a server dies under it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)

    async def call(self, method, target, headers=(), members=None):
        """The status and the members of the answer."""
        body = msgspec.json.encode(members) if members else b""
        head = [("Host", "localhost"), ("Content-Length", str(len(body))), *headers]
        if members:
            head.append(("Content-Type", "application/json"))
        try:
            request = h11.Request(method=method, target=target, headers=head)
            data = self._http.send(request) + self._http.send(h11.Data(data=body))
            await self._stream.send_all(data + self._http.send(h11.EndOfMessage()))
            return await self._answer()
        except (trio.BrokenResourceError, h11.RemoteProtocolError) as error:
            raise Gone from error

    async def _answer(self):
        status, content = 0, b""
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._stream.receive_some())
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                content += event.data
            elif isinstance(event, h11.EndOfMessage):
                self._http.start_next_cycle()
                return status, msgspec.json.decode(content)
            else:
                raise Gone


@asynccontextmanager
async def connected(port):
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        yield Client(stream)


async def start(folder, nursery):
    """The server as a process of its own, and the port that it says it listens on."""
    process = await trio.lowlevel.open_process(
        [
            *(sys.executable, "-c", START, "serve", "--port", "0"),
            *("--db", str(folder / "data"), "--keys-file", str(folder / "keys.yaml")),
        ],
        stderr=subprocess.PIPE,
    )
    text, found = b"", None
    while found is None:
        some = await process.stderr.receive_some()
        assert some, f"the server ended: {text.decode()}"
        text += some
        found = re.search(rb"listens on http://127\.0\.0\.1:(\d+)\s", text)

    async def drain():
        async for _ in process.stderr:
            pass

    nursery.start_soon(drain)
    return process, int(found[1])
