"""The WebSockets of the harness: both drivers, keys, and targets that are something else."""

import base64
import hashlib
import random
import socket
import threading
from contextlib import contextmanager, suppress

import pytest
import trio

from bench.connection import Broken
from bench.contention import asks, targets, trio_socket
from bench.contention.feeds import Asker, answer, with_feeds
from bench.contention.histogram import Histogram
from bench.contention.links import NO_ANSWER, NOT_CONNECTED, Address, HttpLink
from bench.contention.loop import Arrivals, Meet, Wait
from bench.contention.main import drive, load_of, workloads_of
from bench.contention.options import KEY_VARIABLE, with_keys
from bench.contention.sockets import DRIVERS, LEAN, TrioLink
from bench.contention.targets import Unreachable, parse_target, probe
from bench.contention.trio_loop import TrioLoop
from bench.contention.trio_socket import BusyStretches, open_trio_socket
from bench.report import Scale
from bench.server import running_server
from bench.websocket import text_frame
from intermute.app import make_key

from .old_wire import frame, old_server

TINY = load_of(Scale.TINY)
TURNS = 40
ENDLESS = 10_000_000
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@contextmanager
def peers(*serve):
    """Where connections are accepted one after the other, each for one of these functions."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def run():
        for each in serve:
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(10)
                each(peer)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield Address(*listener.getsockname())
    finally:
        thread.join()
        listener.close()


def head_of(peer):
    data = b""
    while b"\r\n\r\n" not in data:
        data += peer.recv(4_096)
    return data.decode()


def upgrade(peer):
    """Agree to a WebSocket; answers the head of the request."""
    head = head_of(peer)
    (key,) = (
        line.split(": ")[1]
        for line in head.split("\r\n")
        if line.lower().startswith("sec-websocket-key")
    )
    accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
    peer.sendall(
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    return head


# -- Feeds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", DRIVERS)
def test_whoever_stalls_reads_nothing_of_its_socket(driver):
    """What fits into buffers can be sent, and then nothing, however many turns the client has."""
    text = frame(0x81, b"x" * 60_000)
    turned, is_over = threading.Semaphore(0), threading.Event()
    sent = [0]

    def fill(peer):
        upgrade(peer)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        peer.setblocking(False)
        with suppress(ConnectionError):
            for _ in range(TURNS):
                with suppress(BlockingIOError):
                    while sent[-1] < ENDLESS:
                        sent[-1] += peer.send(text)
                sent.append(sent[-1])
                turned.acquire(timeout=10)
        is_over.set()

    async def body(feeds):
        feed = await feeds.stall("/ws", receive_buffer_len=4_096)
        assert feed.ends[0] == (feeds.address.host, feeds.address.port)
        assert feed.is_of_here()
        while not is_over.is_set():
            await feeds.turn(0.001)
            turned.release()
        assert await feeds.until(feed.has_ended)
        feed.hang_up(abruptly=True)

    with peers(fill) as address:
        with_feeds(address, driver, Histogram(), body)
    assert len(sent) == TURNS + 1
    assert 0 < sent[-1] < ENDLESS
    # The kernel moves a few segments more on its own, when it asks whether there is room.
    assert sent[-1] - sent[TURNS // 2] < 65_536


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_feed_is_heard_paused_and_told_of_its_end(driver):
    goes_on = threading.Event()
    heads, heard, ended = [], [], []
    lag = Histogram()

    def tell(peer):
        heads.append(upgrade(peer))
        peer.sendall(frame(0x81, b"one") + frame(0x01, b"tw") + frame(0x80, b"o"))
        goes_on.wait(10)
        peer.sendall(frame(0x81, b"three") + frame(0x88, b"\x0f\xa1enough"))
        peer.recv(100)

    async def body(feeds):
        feed = await feeds.listen(
            "/ws", lambda frames, _: heard.extend(frames), ended.append, receive_buffer_len=8_192
        )
        assert await feeds.until(lambda: len(heard) == 2)
        feed.pause(True)
        goes_on.set()
        feed.pause(False)
        assert await feeds.until(lambda: bool(ended))

    with peers(tell) as address:
        keyed = Address(address.host, address.port, "imk_k")
        with_feeds(keyed, driver, lag, body)
    assert b"|".join(heard).startswith(b"one|two")
    assert (ended[0].code, ended[0].reason) == (4001, "enough")
    assert "\r\nAuthorization: Bearer imk_k\r\n" in heads[0]
    assert lag.count


def refuse(peer):
    head_of(peer)
    peer.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")
    peer.recv(1)


def hang_up_on(peer):
    head_of(peer)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_feed_that_cannot_be_opened_is_told_of(driver):
    async def body(feeds):
        for says in ("404", "no "):
            with pytest.raises(Broken, match=says):
                await feeds.listen("/ws", print, print)

    with peers(refuse, hang_up_on) as address:
        with_feeds(address, driver, Histogram(), body)

    async def nobody(feeds):
        with pytest.raises(OSError, match="refused"):
            await feeds.listen("/ws", print, print)

    with_feeds(address, driver, Histogram(), nobody)


@pytest.mark.parametrize("driver", DRIVERS)
def test_calls_in_between_are_answered_or_known_not_to_be(driver):
    def serve(peer):
        head_of(peer)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        head_of(peer)
        peer.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")

    statuses = []

    async def body(feeds):
        asker = Asker(feeds, HttpLink(feeds.address))
        while not statuses or statuses[-1] > 0:
            statuses.append((await answer(feeds, asker, asks.held("p"))).status)

    # The second connection ends without an answer, and then there is nobody to connect to.
    with peers(serve, hang_up_on) as address:
        with_feeds(address, driver, Histogram(), body)
    assert statuses == [200, 200, NO_ANSWER]
    statuses.clear()
    with_feeds(address, driver, Histogram(), body)
    assert statuses == [NOT_CONNECTED]


def test_the_busy_stretch_is_as_long_as_the_loop_did_not_wait(monkeypatch):
    now = [1.0]
    monkeypatch.setattr(trio_socket, "perf_counter", lambda: now[0])
    busy, lengths = BusyStretches(), Histogram()
    busy.before_io_wait(1.0)
    busy.begin(lengths)
    now[0] = 1.002
    # With something left to do it only looks, and the stretch goes on.
    busy.before_io_wait(0.0)
    busy.after_io_wait(0.0)
    now[0] = 1.005
    busy.before_io_wait(0.5)
    now[0] = 1.4
    busy.after_io_wait(0.5)
    assert (lengths.count, lengths.most_us) == (1, pytest.approx(5_000, rel=0.01))
    assert busy.since_s == 1.4


# -- Clients over trio-websocket ------------------------------------------------------------------


def run_loop(scripts, address, **options):
    heard = []
    loop = TrioLoop(lambda *call: heard.append(call), random.Random(1), **options)
    links = [TrioLink(address, "p") for _ in scripts]
    for (name, script), link in zip(scripts.items(), links, strict=True):
        loop.start(name, script, link)
    loop.run(links)
    return heard, loop


def test_whoever_is_not_answered_over_a_socket_does_not_know():
    def client():
        reply = yield asks.reserve("p", "a", "x")
        assert reply.status == NO_ANSWER
        reply = yield asks.reserve("p", "a", "x")
        assert reply.status == NOT_CONNECTED

    def hear(peer):
        upgrade(peer)
        # First of all it wants to be told of no events.
        length = 0
        while length <= len(text_frame(b'{"type":"unsubscribe"}')):
            length += len(peer.recv(1_000))

    with peers(hear, refuse) as address:
        heard, _ = run_loop({"a": client()}, address)
    assert [reply.status for _, _, reply in heard] == [NO_ANSWER, NOT_CONNECTED]
    assert all(reply.asked_s <= reply.answered_s for _, _, reply in heard)


def test_whoever_waits_too_long_gives_up():
    is_over = threading.Event()

    def client():
        reply = yield asks.reserve("p", "a", "x")
        assert reply.status == NO_ANSWER
        is_over.set()

    def hear(peer):
        upgrade(peer)
        is_over.wait(10)

    with peers(hear) as address:
        run_loop({"a": client()}, address, timeout_s=0.01)


def test_clients_meet_and_wait_and_come_when_they_are_due():
    """One link, which the first client holds until both others have run out of patience."""
    met, begun = [], []

    def client(name):
        yield Meet("here", 3)
        yield Wait(0.0)
        met.append(name)

    def make(due_s):
        begun.append(due_s)
        for _ in range(20):
            yield Wait(0.0)

    heard, loop = run_loop({name: client(name) for name in "abc"}, Address("127.0.0.1", 9))
    assert sorted(met) == ["a", "b", "c"]
    assert heard == []
    link = TrioLink(Address("", 9), "p")
    arrivals = Arrivals("c", iter([-9.0, -8.0, -7.0]), make, [link], patience_s=5.0)
    loop = TrioLoop(print, random.Random(1))
    loop.arrive(arrivals)
    loop.run()
    assert begun == [-9.0]
    assert arrivals.given_up == [-8.0, -7.0]
    assert loop.late.count == 1


async def test_the_handshake_has_a_nursery_of_its_own():
    with peers(refuse) as address:
        async with trio.open_nursery() as nursery:
            with pytest.raises(Broken, match="404"):
                await open_trio_socket(nursery, address, "/ws")


# -- Keys -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """A server that wants a key of everybody, and a file with one."""
    data = tmp_path_factory.mktemp("sealed") / "data"
    keys, file = data.with_name("data.keys.yaml"), data.with_name("key")
    file.write_text(make_key(keys, "sealed", operator=False, expires_at=None) + "\n")
    keys.write_text(keys.read_text().replace("auth: true", "auth: false"))
    with running_server(data) as server:
        yield f"http://127.0.0.1:{server.port}", file


def test_a_key_lets_a_protected_server_be_driven_beside_one_that_needs_none(sealed, tmp_path):
    url, file = sealed
    with pytest.raises(Unreachable, match=r"401.*--api-key-file"):
        probe(parse_target(f"sealed={url}"))
    with old_server() as (other, _):
        named = [parse_target(f"sealed={url}"), parse_target(f"old={other}")]
        both = with_keys(named, [f"sealed={file}"], {KEY_VARIABLE: "for-somebody-else"})
        assert both[1].address.key == ""
        run = drive(
            workloads_of(["reserve", "projects"]),
            TINY,
            both,
            history_file=tmp_path / "history",
            processes=1,
        )
    for workload in run.workloads:
        assert not workload.violations
        assert not any("unexpected" in text for text in workload.warnings)
    assert [each.target for each in run.workloads[0].measured] == ["sealed", "old"]
    assert [each.target for each in run.workloads[1].skipped] == ["sealed"]
    assert run.settings["shown a key"] == ["sealed"]
    key = file.read_text().strip()
    assert key not in repr(run)
    assert key not in (tmp_path / "history").read_text()


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_key_opens_websockets_and_open_loops_go_over_them(sealed, driver):
    url, file = sealed
    (target,) = with_keys([parse_target(f"s={url}")], [], {KEY_VARIABLE: file.read_text()})
    load = load_of(Scale.TINY, rate=100)
    run = drive(
        workloads_of(["send"]), load, [target], driver="websocket", websocket=driver, processes=1
    )
    (series,) = run.workloads[0].measured[0].series
    assert (series.ok, series.intended_rate) == (20, 100)
    assert run.settings["websocket"] == driver
    assert run.workloads[0].settings["websocket"] == driver


def test_the_lean_driver_takes_feeds_as_well(sealed):
    url, file = sealed
    (target,) = with_keys([parse_target(f"s={url}")], [str(file)], {})
    run = drive(workloads_of(["fanout", "resume"]), TINY, [target], websocket=LEAN, processes=1)
    for workload in run.workloads:
        assert not workload.violations
        assert not any("unexpected" in text for text in workload.warnings)
        assert any(series.ok for series in workload.measured[0].series)
        assert workload.measured[0].generator.lag_us.count


@pytest.mark.parametrize(
    ("names", "files", "says"),
    [
        (["a", "b"], ["key"], "NAME=FILE is needed"),
        ([], ["key"], "NAME=FILE is needed"),
        (["a"], ["b=key"], "cannot be read"),
        (["a"], ["a=missing"], "cannot be read"),
        (["a"], ["a=empty"], "holds no key"),
        (["a"], ["a=two"], "holds no key"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused_and_not_shown(
    names, files, says, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name, text in (("key", "imk_secret\n"), ("empty", "\n"), ("two", "imk_secret x\n")):
        (tmp_path / name).write_text(text)
    found = [parse_target(f"{name}=http://127.0.0.1:9") for name in names]
    with pytest.raises(ValueError, match=says) as refused:
        with_keys(found, files, {})
    assert "imk_secret" not in str(refused.value)


# -- Targets that are something else --------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (b"220 mail.example ESMTP\r\n\r\n", "no answer in HTTP"),
        (b"x" * 100_000, "a head without an end"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: some\r\n\r\n", "a length that is none"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsome\r\n", "without a length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-9\r\n", "less than empty"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\n\x1b[2J", "404 .*2J"),
        (b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n[]", "does not reserve: 201"),
        (b"", "closed the connection"),
    ],
)
def test_what_is_no_server_of_this_wire_is_named_as_such(said, says):
    def serve(peer):
        peer.recv(65_536)
        peer.sendall(said)
        peer.shutdown(socket.SHUT_WR)

    with peers(serve) as address, pytest.raises(Unreachable, match=says) as refused:
        probe(parse_target(f"it=http://{address.authority}"))
    assert "\x1b" not in str(refused.value)


def test_who_never_answers_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(targets, "PROBE_TIMEOUT_S", 0.01)
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, pytest.raises(Unreachable, match=r"within 0\.01 s"):
        probe(parse_target(f"it=http://127.0.0.1:{listener.getsockname()[1]}"))
