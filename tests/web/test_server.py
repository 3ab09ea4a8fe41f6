import errno
import os
import resource
import socket
import stat
from contextlib import suppress
from functools import partial

import pytest
import trio
import trio.testing
from hypercorn.utils import LifespanFailureError

from intermute.domain.limits import SOCKET_BUFFER_LEN
from intermute.web import listeners
from intermute.web.listeners import (
    ListenError,
    address_of,
    open_tcp_listeners,
    open_unix_listener,
)
from intermute.web.peers import PEER
from intermute.web.server import ServerLimits, serve


async def app(scope, receive, send) -> None:
    """Speaks lifespan only."""
    while scope["type"] == "lifespan":
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


def close_all(sockets) -> None:
    for sock in sockets:
        sock.close()


def test_tcp_listener_on_any_port_passes_its_options_on():
    (listener,) = open_tcp_listeners("127.0.0.1", 0, user_timeout_ms=4321)
    host, port = address_of(listener)
    assert (host, listener.getblocking()) == ("127.0.0.1", False)
    assert port
    with listener, socket.create_connection((host, port)):
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            timeout_ms = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            buffer_len = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    assert timeout_ms == 4321
    assert buffer_len == 2 * SOCKET_BUFFER_LEN


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_ipv6_with_and_without_brackets(host):
    try:
        opened = open_tcp_listeners(host, 0, user_timeout_ms=1000)
    except ListenError:
        pytest.skip("this machine has no IPv6 loopback")
    assert [address_of(sock)[0] for sock in opened] == ["::1"]
    close_all(opened)


def test_a_name_opens_all_its_addresses_on_one_port():
    opened = open_tcp_listeners("localhost", 0, user_timeout_ms=1000)
    assert len({address_of(sock)[1] for sock in opened}) == 1
    close_all(opened)


def test_a_taken_port_is_named():
    (taken,) = open_tcp_listeners("127.0.0.1", 0, user_timeout_ms=1000)
    port = address_of(taken)[1]
    assert port is not None
    with taken, pytest.raises(ListenError, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address"):
        open_tcp_listeners("127.0.0.1", port, user_timeout_ms=1000)


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(ListenError, match=r"cannot listen on 192\.0\.2\.1:0"):
        open_tcp_listeners("192.0.2.1", 0, user_timeout_ms=1000)


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_unix_socket_has_its_mode_from_the_start(tmp_path, umask, monkeypatch):
    path = tmp_path / "s"
    seen = []
    chmod = os.chmod

    def watch(name: str, mode: int) -> None:
        seen.append(stat.S_IMODE(os.stat(name).st_mode))
        chmod(name, mode)

    monkeypatch.setattr(os, "chmod", watch)
    before = os.umask(umask)
    try:
        sock = open_unix_listener(path, 0o660)
    finally:
        os.umask(before)
    assert [mode & ~0o660 for mode in seen] == [0]
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert address_of(sock) == (str(path), None)
    sock.close()


def test_a_dead_unix_socket_is_replaced_and_a_live_one_is_not(tmp_path):
    path = tmp_path / "s"
    open_unix_listener(path).close()
    assert path.exists()
    with open_unix_listener(path):
        with pytest.raises(ListenError, match=r"another server is listening on .*s"):
            open_unix_listener(path)
        assert path.exists()


def test_a_live_unix_socket_with_a_full_backlog_is_live(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        with pytest.raises(ListenError, match="another server"):
            open_unix_listener(path)


def test_what_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "s"
    path.write_text("precious")
    link = tmp_path / "link"
    link.symlink_to(path)
    for name in (path, link, tmp_path):
        with pytest.raises(ListenError, match="not a socket"):
            open_unix_listener(name)
    assert path.read_text() == "precious"


def test_a_unix_path_that_cannot_be_is_named(tmp_path):
    with pytest.raises(ListenError, match=r"cannot listen on .*missing/s"):
        open_unix_listener(tmp_path / "missing" / "s")
    with pytest.raises(ListenError, match="cannot listen on"):
        open_unix_listener(tmp_path / ("x" * 200))


async def test_serving_closes_its_sockets_and_removes_its_socket_file(tmp_path):
    path = tmp_path / "s"
    opened = [*open_tcp_listeners("127.0.0.1", 0, user_timeout_ms=1000), open_unix_listener(path)]
    stop, ready = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await serve(app, opened, shutdown=stop.wait, on_ready=ready.set)

        nursery.start_soon(run)
        await ready.wait()
        assert path.exists()
        stop.set()
    assert not path.exists()
    assert all(sock.fileno() < 0 for sock in opened)


async def test_a_socket_file_that_another_server_took_over_stays(tmp_path):
    path = tmp_path / "s"
    opened = [open_unix_listener(path)]
    path.unlink()
    with open_unix_listener(path):
        await serve(app, opened, shutdown=trio.lowlevel.checkpoint)
        assert path.exists()


async def test_an_app_that_refuses_to_start_leaves_nothing_behind(tmp_path):
    path = tmp_path / "s"
    opened = [open_unix_listener(path)]

    async def broken(scope, receive, send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no disk"})

    with pytest.raises(ExceptionGroup) as caught:
        await serve(broken, opened, shutdown=trio.sleep_forever)
    assert caught.group_contains(LifespanFailureError, match="no disk")
    assert not path.exists()


@pytest.mark.parametrize("rounds", range(8))
async def test_a_request_that_meets_the_shutdown_is_answered_or_not_begun(rounds):
    """It arrives so many rounds of the loop after the word to stop; the order in one is chance."""
    begun, told, go, stop = [], [], trio.Event(), trio.Event()

    async def slow(scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        begun.append(scope["path"])
        if scope["path"] != "/first":
            with scope["state"][PEER].watched(partial(told.append, "left")):
                await go.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def request(path: bytes) -> bytes:
        return b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path

    opened, ready = open_tcp_listeners("127.0.0.1", 0, user_timeout_ms=1000), trio.Event()
    answers = []

    async def read_to_end(stream) -> None:
        with suppress(trio.BrokenResourceError):
            answers.extend([data async for data in stream])

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            start = partial(serve, slow, opened, shutdown=stop.wait, on_ready=ready.set)
            nursery.start_soon(start)
            await ready.wait()
            streams = [await trio.open_tcp_stream(*address_of(opened[0])) for _ in range(8)]
            for stream in streams:
                await stream.send_all(request(b"/first"))
                assert b"204" in await stream.receive_some()
            begun.clear()
            stop.set()
            for _ in range(rounds):
                await trio.lowlevel.checkpoint()
            for stream in streams:
                with suppress(OSError):
                    os.write(stream.socket.fileno(), request(b"/slow"))
            for stream in streams:
                nursery.start_soon(read_to_end, stream)
            await trio.testing.wait_all_tasks_blocked()
            go.set()
        for stream in streams:
            await stream.aclose()
    assert not told
    assert sum(data.count(b"HTTP/1.1 204") for data in answers) == len(begun)


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("more", "then"),
    [(b"", b""), (UPGRADE, b""), (b"", NEXT)],
    ids=["plain", "upgrade", "pipelined"],
)
async def test_a_client_that_leaves_before_its_answer_is_noticed(more, then):
    """Also while the protocol does not read, because it waits for the end of that answer."""
    begun, left, ready, stop = trio.Event(), trio.Event(), trio.Event(), trio.Event()

    async def waiting(scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        with (
            trio.CancelScope() as scope_of_wait,
            scope["state"][PEER].watched(scope_of_wait.cancel),
        ):
            begun.set()
            await trio.sleep_forever()
        left.set()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    opened = open_tcp_listeners("127.0.0.1", 0, user_timeout_ms=1000)
    limits = ServerLimits(look_s=0.001)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            start = partial(serve, waiting, opened, shutdown=stop.wait, on_ready=ready.set)
            nursery.start_soon(partial(start, limits=limits))
            await ready.wait()
            async with await trio.open_tcp_stream(*address_of(opened[0])) as stream:
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n%b" % (more, then))
                await begun.wait()
                assert not left.is_set()
            await left.wait()
            stop.set()


async def test_cancelling_leaves_nothing_behind(tmp_path):
    path = tmp_path / "s"
    opened = [open_unix_listener(path)]
    with trio.CancelScope() as scope:
        await serve(app, opened, shutdown=trio.sleep_forever, on_ready=scope.cancel)
    assert not path.exists()


async def test_running_out_of_descriptors_pauses_accepting(monkeypatch, autojump_clock, caplog):
    opened = open_tcp_listeners("127.0.0.1", 0, user_timeout_ms=1000)
    stop = trio.Event()
    tries = []

    async def accept(self) -> None:
        tries.append(trio.current_time())
        if len(tries) == 3:
            stop.set()
            await trio.sleep_forever()
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(trio.SocketListener, "accept", accept)
    await serve(app, opened, shutdown=stop.wait)
    assert len(tries) == 3
    assert "not accepting for a moment" in caplog.text


async def test_there_must_be_room_for_each_listener():
    opened = open_tcp_listeners("127.0.0.1", 0, user_timeout_ms=1000)
    with pytest.raises(AssertionError):
        await serve(
            app, opened, shutdown=trio.sleep_forever, limits=ServerLimits(connections_max=1)
        )
    close_all(opened)


@pytest.mark.parametrize(
    ("descriptors", "connections"),
    [(1_024, 512), (4_096, 2_048), (8_192, 6_144), (12_288, 10_240), (1_000_000, 10_240)],
)
def test_connections_leave_descriptors_for_files(descriptors, connections):
    assert listeners.connections_within(descriptors) == connections


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((1_024, 1_048_576), 12_288),
        ((1_024, 4_096), 4_096),
        ((50_000, 50_000), 50_000),
        ((1_024, resource.RLIM_INFINITY), 12_288),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 12_288),
    ],
)
def test_the_limit_of_descriptors_is_raised_as_far_as_there_is_use(monkeypatch, before, after):
    held = list(before)
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(held))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: held.__setitem__(0, limits[0]))
    assert listeners.raise_descriptor_limit() == after
    assert held[0] in (after, resource.RLIM_INFINITY)
