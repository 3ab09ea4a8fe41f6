"""How many requests are let in, and what becomes of the others."""

import pytest

from intermute.domain import limits
from intermute.web.admission import REFUSAL, Admission, is_refusable

from .test_traps_harness import ask, head, post, read_answer, running

WAIT_S = limits.ADMITTED_WAIT_MS / 1000
STALLED_S = limits.ADMITTED_STALLED_MS / 1000


class Time:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def admission(time):
    return Admission(time)


def fill(admission: Admission) -> list:
    entered = []
    while not admission.is_full():
        entered.append(admission.enter())
    return entered


def answer_at(admission: Admission, time: Time, rate: float) -> int:
    """Answer so many a second for two seconds, letting in as many; how many are then let in."""
    entered = fill(admission)
    for _ in range(round(2 * rate)):
        time.now_s += 1 / rate
        admission.leave(entered.pop(0))
        entered.append(admission.enter())
    for each in entered:
        admission.leave(each)
    return len(fill(admission))


@pytest.mark.parametrize("rate", [1_500, 2_000, 4_000])
def test_as_many_are_let_in_as_are_answered_in_time(admission, time, rate):
    assert answer_at(admission, time, rate) == pytest.approx(rate * WAIT_S, rel=0.01)


@pytest.mark.parametrize(
    ("rate", "most"), [(100, limits.REQUESTS_ADMITTED_MIN), (1e6, limits.REQUESTS_ADMITTED_MAX)]
)
def test_there_is_a_least_and_a_most(admission, time, rate, most):
    assert answer_at(admission, time, rate) == most


def test_one_that_leaves_makes_room_for_one(admission):
    entered = fill(admission)
    assert len(entered) == limits.REQUESTS_ADMITTED_FIRST
    admission.leave(entered[7])
    admission.leave(entered[7])
    assert len(fill(admission)) == 1


def test_a_server_with_little_to_do_measures_nothing(admission, time):
    for _ in range(10_000):
        entered = [admission.enter() for _ in range(8)]
        time.now_s += 1.0
        for each in entered:
            admission.leave(each)
    assert len(fill(admission)) == limits.REQUESTS_ADMITTED_FIRST


def test_answers_that_come_at_one_moment_are_no_rate(admission):
    for each in fill(admission):
        admission.leave(each)
    assert len(fill(admission)) == limits.REQUESTS_ADMITTED_FIRST


def test_who_waits_for_a_disk_keeps_nobody_out(admission, time):
    stalled = fill(admission)
    time.now_s += STALLED_S - 0.001
    assert admission.is_full()
    time.now_s += 0.001
    assert not admission.is_full()
    assert len(fill(admission)) == len(stalled)
    for each in stalled:
        admission.leave(each)
    assert admission.is_full(), "who was not counted does not leave"


def test_the_log_tells_of_refusals_and_not_of_each(admission, time, caplog):
    for _ in range(100):
        admission.refuse()
        time.now_s += 0.125
    assert len(caplog.records) == 2
    assert "81 refused" in caplog.text


BODY = b'{"a":1}'
LENGTH = ("Content-Length", "7")


@pytest.mark.parametrize(
    "data",
    [
        head("GET", "/api/agents"),
        head("GET", "/api/agents?limit=3&x=%2f", ("Connection", "keep-alive")),
        head("DELETE", "/api/reservations/r", ("X-Agent-ID", "ada"), ("Content-Length", "0")),
        post(BODY),
        post(BODY, ("Connection", "Keep-Alive")),
        bytearray(post(BODY)),
    ],
)
def test_a_whole_plain_request_may_be_refused_unread(data):
    assert is_refusable(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET",
        head("GET", "/health"),
        head("GET", "/ready"),
        head("HEAD", "/api/agents"),
        head("OPTIONS", "*"),
        head("GET", "http://localhost/api/agents"),
        head("GET", "/api/agents").replace(b"HTTP/1.1", b"HTTP/1.0"),
        head("GET", "/api/agents").replace(b"\r\n", b"\n"),
        head("GET", "/api/agents", ("Connection", "close")),
        head("GET", "/ws", ("Connection", "Upgrade"), ("Upgrade", "websocket")),
        head("POST", "/api/agents", ("Expect", "100-continue"), LENGTH) + BODY,
        head("POST", "/api/agents", ("Transfer-Encoding", "chunked")),
        head("POST", "/api/agents", LENGTH, ("Transfer-Encoding", "chunked")) + BODY,
        head("POST", "/api/agents", LENGTH, LENGTH) + BODY,
        head("POST", "/api/agents", LENGTH, ("content-length", "0")) + BODY,
        head("POST", "/api/agents", ("Content-Length", "+7")) + BODY,
        head("POST", "/api/agents", ("Content-Length", "7, 7")) + BODY,
        head("POST", "/api/agents", ("Content-Length", "9" * 5_000)) + BODY,
        head("POST", "/api/agents", ("Content-Length", "")) + BODY,
        head("POST", "/api/agents", LENGTH, ("A", "b\r\n c")) + BODY,
        head("POST", "/api/agents", ("Content-Length ", "7")) + BODY,
        head("POST", "/api/agents", ("X", "\x00"), LENGTH) + BODY,
        post(BODY)[:-1],
        post(BODY) + b"G",
        post(BODY) + post(BODY),
    ],
)
def test_anything_else_goes_the_ordinary_way(data):
    assert not is_refusable(data)


@pytest.fixture
def room_for_one(monkeypatch):
    for name in ("MIN", "FIRST", "MAX"):
        monkeypatch.setattr(limits, f"REQUESTS_ADMITTED_{name}", 1)


async def test_what_is_refused_is_told_at_once_and_may_ask_again(room_for_one):
    async with running() as server, await server.connect() as busy, await server.connect() as other:
        await busy.send_all(head("GET", "/slow"))
        await server.probe.started.wait()
        for _ in range(3):
            await other.send_all(post(BODY))
            answer = await read_answer(other)
            assert (answer.status, answer.json()["error"]) == (503, "overloaded")
            assert answer.headers[b"retry-after"] == b"1"
            assert answer.headers[b"content-type"] == b"application/problem+json"
            assert not answer.closed
        assert server.probe.calls == []
        server.probe.release.set()
        assert (await read_answer(busy)).status == 200
        await other.send_all(post(BODY))
        assert (await read_answer(other)).body == BODY


async def test_what_is_unusual_is_served_although_there_is_no_room(room_for_one):
    async with running() as server, await server.connect() as busy:
        await busy.send_all(head("GET", "/slow"))
        await server.probe.started.wait()
        answer = await ask(server, head("GET", "/health"))
        assert answer.status == 404, "that path is let in, and this app has no such page"
        close = ("Connection", "close")
        assert (await ask(server, post(BODY, close))).status == 200
        both = post(BODY) + post(BODY)
        assert (await ask(server, both)).status == 200


async def test_the_second_half_of_a_request_is_not_taken_for_a_request(room_for_one):
    async with running() as server, await server.connect() as busy, await server.connect() as other:
        await other.send_all(post(BODY)[:20])
        await busy.send_all(head("GET", "/slow"))
        await server.probe.started.wait()
        await other.send_all(post(BODY)[20:])
        assert (await read_answer(other)).body == BODY
        # A request within the body of one that is not all there is no request. Should both be read
        # at once, the last header keeps that from being refused.
        inner = post(BODY)
        outer = post(inner, ("Connection", "close"))
        await other.send_all(outer[: -len(inner)])
        await other.send_all(inner)
        assert (await read_answer(other)).status == 400, "it is not JSON"


async def test_who_sends_slowly_keeps_nobody_out(room_for_one):
    async with running() as server, await server.connect() as slow:
        await slow.send_all(post(BODY)[:-1])
        for _ in range(3):
            assert (await ask(server, post(BODY))).status == 200
        await slow.send_all(post(BODY)[-1:])
        assert (await read_answer(slow)).body == BODY


async def test_who_leaves_makes_room(room_for_one):
    async with running() as server:
        async with await server.connect() as busy:
            await busy.send_all(head("GET", "/slow"))
            await server.probe.started.wait()
            assert (await ask(server, post(BODY))).status == 503
        await server.probe.cancelled.wait()
        server.probe.release.set()
        await server.probe.finished.wait()
        async with await server.connect() as stream:
            answer = None
            while answer is None or answer.status == 503:
                await stream.send_all(post(BODY))
                answer = await read_answer(stream)
            assert answer.status == 200


def test_the_refusal_says_what_any_other_does():
    assert REFUSAL.startswith(b"HTTP/1.1 503 \r\n")
    assert b"nothing was done" in REFUSAL
