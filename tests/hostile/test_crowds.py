"""Many clients that are slow, or silent, or both: others are answered, and nothing piles up.

Memory and descriptors are counted, of a server in a process of its own; time is not.
"""

import contextlib
import gc
import os
import resource
import signal
import sys
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from intermute import app
from intermute.domain import limits
from intermute.web.server import ServerLimits

from ..e2e.conftest import Server, running_server
from ..e2e.processes import Process, client, serve_options, started
from ..effort import LONG, effort
from ..web.test_traps_harness import head, open_websocket, read_answer, read_to_end
from .frames import HANG_S, PONG, QUIET, assert_serves, raw_frame

SLOW = effort(60, 100)
IDLE = effort(200, 10_000)
# What a connection on which nothing happens may cost the server, each kind; see docs/evidence.md.
IDLE_BYTES_MAX = 64 * 1024
# Connections that are gone, and wait for the collector of garbage to come by.
UNCOLLECTED_MAX = 5_000
WAVES = effort(2, 3)
# What the client needs for itself.
DESCRIPTORS_SPARE = 200
OPENING_AT_ONCE = 100
KEPT_EVERY = 2_500
JSON = ("Content-Type", "application/json")
IN_CHUNKS = ("Transfer-Encoding", "chunked")
SLOW_REQUESTS = {
    "heads": head("GET", "/health", *[(f"X-{n}", "x" * 50) for n in range(90)]),
    "first lines": b"GET /" + b"x" * 4_000,
    "bodies": head("POST", "/api/agents", JSON, ("Content-Length", "4000")) + b" " * 4_000,
    "chunks": head("POST", "/api/agents", JSON, IN_CHUNKS) + b"1\r\n \r\n" * 900,
    "chunk sizes": head("POST", "/api/agents", JSON, IN_CHUNKS) + b"0" * 4_000,
}
# What is sent at once, before it becomes slow.
SENT_AT_ONCE = {"bodies": 120, "chunks": 125, "chunk sizes": 125}


@pytest.fixture
async def hasty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A server whose deadlines are near, and that has little more room than the slow ones take."""
    short = partial(ServerLimits, header_timeout_s=0.5, body_timeout_s=0.5, idle_timeout_s=0.5)
    monkeypatch.setattr(app, "ServerLimits", short)
    monkeypatch.setattr(limits, "BODY_WAIT_MS", 500)
    async with running_server(tmp_path, connections_max=SLOW + 10) as running:
        yield running


@pytest.mark.parametrize("kind", SLOW_REQUESTS)
async def test_clients_a_byte_at_a_time_are_ended_and_others_answered(hasty: Server, kind: str):
    """Each sends its next byte when somebody else has been answered, for as long as it may."""
    request = SLOW_REQUESTS[kind]
    ended: list[bytes] = []

    async def listen(stream: trio.SocketStream) -> None:
        ended.append(await read_to_end(stream))

    with trio.fail_after(HANG_S):
        tasks = trio.lowlevel.current_statistics().tasks_living
        async with trio.open_nursery() as nursery:
            slow = [await trio.open_tcp_stream("127.0.0.1", hasty.port) for _ in range(SLOW)]
            for stream in slow:
                nursery.start_soon(listen, stream)
            at = SENT_AT_ONCE.get(kind, 1)
            piece = request[:at]
            while len(ended) < SLOW:
                for stream in slow:
                    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                        await stream.send_all(piece)
                piece, at = request[at : at + 1], at + 1
                assert at < len(request), "they were let finish, however slow they are"
                answer = await hasty.client.get("/health")
                assert answer.status_code == 200
        for stream in slow:
            await stream.aclose()
        assert all(each == b"" or each.startswith(b"HTTP/1.1 4") for each in ended), ended[0]
        # The connections that are left are those of the client that behaves.
        while trio.lowlevel.current_statistics().tasks_living > tasks + 5:
            assert (await hasty.client.get("/health")).status_code == 200
    await assert_serves(hasty)


# -- Idle ---------------------------------------------------------------------------------------


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def room_for(count: int) -> int:
    """So many, or as many as this process may have descriptors for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return count if hard == resource.RLIM_INFINITY else min(count, hard - DESCRIPTORS_SPARE)


async def kept(stream: trio.SocketStream) -> None:
    """One request, and then nothing."""
    await stream.send_all(head("GET", "/health"))
    assert (await read_answer(stream)).status == 200


async def listening(stream: trio.SocketStream) -> None:
    """A feed on which nothing happens."""
    await open_websocket(stream, QUIET)


async def pong(stream: trio.SocketStream) -> None:
    """What a client that is still there says now and then."""
    await stream.send_all(raw_frame(PONG))


# How a connection of each kind begins, and what keeps it.
KINDS = {"kept": (kept, kept), "listening": (listening, pong)}


async def crowd(stack: contextlib.AsyncExitStack, port: int, kind: str, count: int) -> None:
    """Open so many connections of a kind; they stay until the stack is closed."""
    begin, keep = KINDS[kind]
    streams: list[trio.SocketStream] = []

    async def join() -> None:
        async with limiter:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            stack.push_async_callback(trio.aclose_forcefully, stream)
            await begin(stream)
            streams.append(stream)

    limiter = trio.CapacityLimiter(OPENING_AT_ONCE)
    while len(streams) < count:
        # Opening all of them may take longer than the server waits for the first to say something.
        for stream in streams:
            await keep(stream)
        async with trio.open_nursery() as nursery:
            for _ in range(min(count - len(streams), KEPT_EVERY)):
                nursery.start_soon(join)


async def until_gone(process: Process, http: httpx.AsyncClient, most: int) -> None:
    """Ask until the server has let go of the descriptors."""
    while descriptors(process.process.pid) > most:
        assert (await http.get("/health")).status_code == 200


async def waves(folder: Path, kind: str, count: int) -> tuple[int, list[int]]:
    """The server's memory before anybody comes, and at the height of each wave of so many."""
    async with started(serve_options(folder)) as process:
        port, pid = await process.port(), process.process.pid
        async with client(port) as http:
            assert (await http.post("/api/agents", json={})).status_code == 200
            figures = []
            open_before, start = descriptors(pid), resident_bytes(pid)
            for _ in range(WAVES):
                async with contextlib.AsyncExitStack() as stack:
                    await crowd(stack, port, kind, count)
                    assert descriptors(pid) > count
                    # Others are answered, writes as well.
                    assert (await http.post("/api/agents", json={})).status_code == 200
                    figures.append(resident_bytes(pid))
                await until_gone(process, http, open_before + 5)
        assert await process.end(signal.SIGTERM) == 0
    assert "ERROR" not in process.text
    return start, figures


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counts what Linux tells")
@pytest.mark.parametrize("kind", KINDS)
async def test_idle_connections_cost_little_and_less_once_they_are_gone(tmp_path: Path, kind: str):
    count = room_for(IDLE)
    with trio.fail_after(effort(120, 900)):
        start, figures = await waves(tmp_path, kind, count)
    each = (figures[0] - start) / count
    if LONG:
        sys.stderr.write(f"{kind}: {count} connections, {each:,.0f} bytes each; {figures}\n")
    assert each <= IDLE_BYTES_MAX, f"{each:,.0f} bytes for each of {count}"
    most = start + IDLE_BYTES_MAX * (count + UNCOLLECTED_MAX)
    assert max(figures) <= most, f"wave after wave: {figures}"


# What the server makes for each connection, by the names of its classes.
MADE = {"_Connection", "Http1", "_Websocket", "Conversation", "Subscriber", "Inbound", "Trust"}


def made() -> dict[str, int]:
    """How many of each are there, after a collection: what is still reachable then is a leak."""
    gc.collect()
    names = [type(each).__name__ for each in gc.get_objects()]
    return {name: names.count(name) for name in MADE}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_connection_that_is_gone_leaves_nothing_behind(server: Server, kind: str):
    assert (await server.client.get("/health")).status_code == 200
    tasks = trio.lowlevel.current_statistics().tasks_living
    before = made()
    with trio.fail_after(HANG_S):
        async with contextlib.AsyncExitStack() as stack:
            await crowd(stack, server.port, kind, 40)
            during = made()
        while trio.lowlevel.current_statistics().tasks_living > tasks:
            assert (await server.client.get("/health")).status_code == 200
    assert during["_Connection"] == before["_Connection"] + 40
    assert during["Conversation"] == (40 if kind == "listening" else 0)
    after = made()
    # One stream may be held by the last exception that was raised.
    assert all(after[name] <= before[name] + 1 for name in MADE), (before, after)
