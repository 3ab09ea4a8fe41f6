"""The parts of the harness: links, the loop of clients, and every judge must be able to find."""

import random
import socket
import threading
from collections import Counter
from time import perf_counter

import pytest

from bench.connection import Broken, Connection
from bench.contention import asks
from bench.contention.crew import Done
from bench.contention.fared import generator_of
from bench.contention.histogram import Histogram
from bench.contention.jobs import Job, Place, Report, Variant
from bench.contention.links import NO_ANSWER, NOT_CONNECTED, Address, HttpLink, Reply
from bench.contention.loop import Arrivals, Loop, Meet, Wait, due_times
from bench.contention.recording import is_unknown, outcome_of
from bench.contention.results import Series
from bench.contention.stage import Stage
from bench.contention.workloads import WORKLOADS
from bench.contention.workloads.base import Part
from bench.contention.workloads.contended import zipf
from bench.contention.workloads.holds import Hold, two_at_once
from bench.contention.workloads.overload import Overload, recovery_s
from bench.contention.workloads.plain import check_page
from bench.contention.workloads.race import wrong_with
from bench.contention.workloads.resume import wrong_with as wrong_feed
from bench.contention.workloads.waiting import jain, overtaken, wrong_with_ring

from .old_wire import old_server

# -- Connections -----------------------------------------------------------------------------------


@pytest.fixture
def told():
    """A connection to a peer that says whatever a test wants, in pieces."""
    listener = socket.create_server(("127.0.0.1", 0))
    made = Connection(listener.getsockname()[1])
    made.sock.settimeout(10)
    peer, _ = listener.accept()
    yield made, peer
    for each in (made.sock, peer, listener):
        each.close()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (CHUNKED + b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n", b"abc0123456789"),
        (CHUNKED + b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n"),
        (CHUNKED + b"0\r\n\r\n", b""),
    ],
)
def test_answers_are_read_whole_however_they_come(told, answer, body):
    connection, peer = told
    for at in range(len(answer) - 1):
        peer.sendall(answer[at : at + 1])
        assert not connection.receive()
    peer.sendall(answer[-1:])
    assert connection.receive()
    assert connection.body == body
    peer.sendall(answer)
    while not connection.receive():
        pass
    assert connection.body == body
    assert not connection.is_last


def test_an_answer_that_has_no_end_is_none(told):
    connection, peer = told
    peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    with pytest.raises(Broken, match="without a length"):
        connection.receive()


def test_a_link_comes_back_when_the_server_hung_up(told):
    listener = socket.create_server(("127.0.0.1", 0))
    link = HttpLink(Address(*listener.getsockname()))
    assert link.open()
    assert not link.open()
    peer, _ = listener.accept()
    link.send(asks.held("p"))
    assert b"Host: 127.0.0.1:" in peer.recv(1000)
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    link.settle(10)
    assert link.receive().status == 200
    assert not link.is_open
    assert link.open()
    peer.close()
    other, _ = listener.accept()
    other.close()
    # Silent for long, as a client is that has nothing to ask.
    link._connection.sent_s -= 10
    while not link.open():
        pass
    link.close()
    listener.close()


# -- The loop of clients ---------------------------------------------------------------------------


def run_loop(scripts, address, **options):
    heard = []
    loop = Loop(lambda *call: heard.append(call), random.Random(1), **options)
    links = [HttpLink(address) for _ in scripts]
    try:
        for (name, script), link in zip(scripts.items(), links, strict=True):
            loop.start(name, script, link)
        loop.run()
    finally:
        for link in links:
            link.close()
        loop.close()
    return heard, loop


def test_clients_ask_wait_and_meet():
    seen = []

    def client(name):
        yield Meet("begin", 3)
        reply = yield asks.reserve("p", name, f"{name}.py")
        yield Wait(perf_counter() + 0.001)
        yield Meet("all hold", 3)
        seen.append(name)
        assert (yield asks.release(name, reply.members()["id"])).status == 200

    with old_server() as (url, state):
        port = int(url.rpartition(":")[2])
        heard, _ = run_loop({name: client(name) for name in "abc"}, Address("127.0.0.1", port))
    assert sorted(seen) == ["a", "b", "c"]
    assert [ask.operation for _, ask, _ in heard] == ["reserve"] * 3 + ["release"] * 3
    assert not state.held
    assert all(reply.asked_s <= reply.answered_s for _, _, reply in heard)


def test_whoever_is_not_answered_does_not_know():
    listener = socket.create_server(("127.0.0.1", 0))

    def client():
        reply = yield asks.reserve("p", "a", "x")
        assert reply.status == NO_ANSWER

    # Nobody ever accepts.
    heard, _ = run_loop({"a": client()}, Address(*listener.getsockname()), timeout_s=0.0)
    listener.close()
    assert is_unknown(heard[0][2])
    assert outcome_of(*heard[0][1:]) is None


def test_whoever_finds_nobody_did_nothing():
    listener = socket.create_server(("127.0.0.1", 0))
    address = Address(*listener.getsockname())
    listener.close()

    def client():
        assert (yield asks.reserve("p", "a", "x")).status == NOT_CONNECTED

    run_loop({"a": client()}, address)


def test_intended_times_are_shared_out_evenly():
    parts = [list(due_times(10.0, 4.0, 2.5, part=part, parts=3)) for part in range(3)]
    assert sorted(at for part in parts for at in part) == [10 + number / 4 for number in range(10)]


def test_in_open_loop_a_client_begins_when_it_is_due_and_gives_up_without_a_connection():
    """One connection, held up by its first client until all others have run out of patience."""
    begun = []
    gate = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        peer, _ = listener.accept()
        with peer:
            while peer.recv(1000):
                gate.wait(10)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = threading.Thread(target=serve)
    server.start()
    link = HttpLink(Address(*listener.getsockname()))
    now_s = perf_counter()

    def make(due_s):
        begun.append(due_s)
        if len(begun) == 1:
            gate.set()
        yield asks.held("p")

    loop = Loop(lambda *_: None, random.Random(1))
    # All were due long ago; the first to begin has the only connection.
    arrivals = Arrivals("c", iter([now_s - 9, now_s - 8, now_s - 7]), make, [link], patience_s=5.0)
    loop.arrive(arrivals)
    loop.run()
    link.close()
    server.join()
    listener.close()
    loop.close()
    assert begun == [now_s - 9]
    assert arrivals.given_up == [now_s - 8, now_s - 7]
    assert loop.late.count == 1
    assert loop.late.least_us >= 9e6


# -- Counting --------------------------------------------------------------------------------------


@pytest.fixture
def stage():
    place = Place("t", "127.0.0.1", 1, frozenset())
    job = Job("reserve", Variant("v", 5), place, "p", {}, 0, 1, 2, 1.0, began_s=100.0, seed=1)
    made = Stage(job, lambda: 100.0)
    yield made
    made.close()


def reply(status, *, asked_s=110.0, answered_s=110.5, **others):
    return Reply(status, asked_s=asked_s, answered_s=answered_s, **others)


def test_a_call_in_open_loop_counts_from_its_intended_time(stage):
    ask = asks.reserve("p", "a", "x")
    granted = b'{"id": "r1"}'
    stage.count(ask, reply(201, body=granted))
    ask.due_s = 105.0
    stage.count(ask, reply(201, body=granted))
    found = stage.tally("reserve")
    assert found.name == "v: reserve"
    assert (found.latency.least_us, found.latency.most_us) == (500_000, 5_500_000)
    assert found.seconds.keys() == {10}


def test_answers_are_sorted_by_what_they_mean(stage):
    ask = asks.reserve("p", "a", "x")
    unknown = b'{"outcome": "unknown"}'
    for each in (reply(409), reply(503), reply(503, named={"retry-after": "1"})):
        stage.count(ask, each)
    for each in (reply(503, body=unknown), reply(NO_ANSWER), reply(500)):
        stage.count(ask, each)
    for each in (reply(NOT_CONNECTED), reply(404)):
        stage.count(ask, each)
    found = stage.tally("reserve")
    assert (found.refused, found.unknown, found.failed) == ({409: 1, 503: 2}, 3, 2)
    assert stage.counts == {"503": 2, "503 without Retry-After": 1}
    assert sum(stage.unexpected.values()) == 4


def test_clients_are_shared_out_among_processes(stage):
    assert list(stage.own) == [1, 3]


# -- What a history keeps --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "answer", "outcome"),
    [
        (
            asks.reserve("p", "a", "x"),
            (201, b'{"id": "r1", "fencing_token": 3}'),
            {"kind": "granted", "reservation_id": "r1", "fencing_token": 3},
        ),
        (
            asks.reserve("p", "a", "x"),
            (
                409,
                b'{"error": "reservation_conflict", "more": true, "conflicts": '
                b'[{"reservation_id": "r1"}, {"ticket_id": "t1"}]}',
            ),
            {"kind": "conflict", "conflicts": ["r1"], "waiting": ["t1"], "more": True},
        ),
        (asks.reserve("p", "a", "x"), (400, b""), {"kind": "refused", "code": "400"}),
        (asks.reserve("p", "a", "x"), (503, b'{"outcome": "unknown"}'), None),
        (
            asks.reserve("p", "a", "x"),
            (503, b'{"error": "overloaded"}'),
            {"kind": "refused", "code": "overloaded"},
        ),
        (asks.reserve("p", "a", "x"), (500, b""), None),
        (asks.release("a", "r1"), (200, b""), {"kind": "released"}),
        (asks.release("a", "r1"), (404, b""), {"kind": "not_found"}),
        (asks.release("a", "r1"), (403, b'{"error": "not_the_owner"}'), {"kind": "not_owner"}),
        (
            asks.renew("a", "r1"),
            (200, b'{"fencing_token": 3}'),
            {"kind": "renewed", "fencing_token": 3},
        ),
        (asks.renew("a", "r1"), (409, b'{"error": "reservation_lapsed"}'), {"kind": "lapsed"}),
        (asks.check("p", "x"), (200, b'{"conflicts": null}'), {"kind": "free"}),
        (
            asks.check("p", "x"),
            (200, b'{"conflicts": [{"reservation_id": "r1"}]}'),
            {"kind": "conflict", "conflicts": ["r1"]},
        ),
    ],
)
def test_answers_become_outcomes(ask, answer, outcome):
    status, body = answer
    assert outcome_of(ask, Reply(status, body)) == outcome


# -- Judges ----------------------------------------------------------------------------------------


def hold(agent, pattern, since_ns, until_ns, *, exclusive=True):
    return Hold(agent, pattern, exclusive, since_ns, until_ns)


def test_holds_that_may_stand_beside_each_other_are_none_at_once():
    assert not two_at_once(
        [
            hold("a", "src/x.py", 0, 10),
            hold("b", "src/x.py", 10, 20),
            hold("b", "src/y.py", 5, 9),
            hold("a", "src/x.py", 2, 3),
            hold("c", "doc/x", 0, 20, exclusive=False),
            hold("d", "doc/x", 0, 20, exclusive=False),
        ]
    )


@pytest.mark.parametrize(
    ("pattern", "exclusive"), [("src/x.py", True), ("src/x.py", False), ("src/*", True)]
)
def test_two_at_once_are_found(pattern, exclusive):
    holds = [hold("b", pattern, 9, 20, exclusive=exclusive), hold("a", "src/x.py", 0, 10)]
    (text,) = two_at_once(holds)
    assert text.startswith("a held 'src/x.py' and b was granted")


def test_whoever_asked_first_and_was_served_last_was_overtaken():
    assert overtaken([("a", 0.0, 1.0), ("b", 0.5, 2.0)]) == [0, 0]
    assert overtaken([("a", 0.0, 3.0), ("b", 0.5, 2.0), ("c", 0.6, 1.0)]) == [2, 1, 0]
    # Two that asked at the same time may be served in any order.
    assert overtaken([("a", 0.0, 3.0), ("b", 0.005, 2.0)]) == [0, 0]


def test_jains_index_tells_fair_from_unfair():
    assert jain(["a", "b", "a", "b"]) == 1
    assert jain(["a"] * 99 + ["b"]) < 0.6
    assert jain([]) == 0


def test_the_end_of_an_overload_is_seen():
    calm = [(at / 100, 1_000.0) for at in range(300)]
    assert recovery_s(calm, 900.0) == 0
    assert recovery_s([(0.25, 9_000.0), *calm], 900.0) == pytest.approx(0.0)
    slow = [(at, 9_000.0 if at < 1.2 else us) for at, us in calm]
    assert recovery_s(slow, 900.0) == pytest.approx(1.2)
    assert recovery_s([*calm, (2.55, -1.0)], 900.0) == pytest.approx(2.6)
    spike = [(at, 9_000.0 if 1.5 <= at < 1.6 else us) for at, us in slow]
    assert recovery_s(spike, 900.0) == pytest.approx(1.6), "it was not calm for long enough"
    late = [(at, 9_000.0 if 1.9 <= at < 2.0 else us) for at, us in slow]
    assert recovery_s(late, 900.0) == pytest.approx(1.2)
    assert recovery_s([(at, 9_000.0) for at, _ in calm], 900.0) >= max(at for at, _ in calm)
    assert recovery_s([], 900.0) == 0


WANTED = {3: "m3", 5: "m5"}


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        ([(3, "m3"), (4, "other"), (5, "m5")], None),
        ([(3, "m3")], "'m5', cursor 5, never came"),
        ([(3, "m3"), (3, "m3"), (5, "m5")], "cursor 3 came after 3"),
        ([(5, "m5"), (3, "m3")], "cursor 3 came after 5"),
        ([(3, "m3"), (5, "m4")], "was told as 'm4'"),
    ],
)
def test_a_feed_with_a_gap_or_twice_the_same_is_found(seen, says):
    found = wrong_feed(seen, WANTED)
    assert found == [] if says is None else any(says in text for text in found)


def test_a_round_without_exactly_one_winner_is_found(stage):
    def judged(*statuses):
        answers = [(f"a{at}", Reply(status)) for at, status in enumerate(statuses)]
        return wrong_with(answers, ["a0", "a1", "a2"], (0, 0), stage)

    assert judged(201, 409, 409) == []
    assert judged(201, 201, 409) == ["2 winners: ['a0', 'a1']"]
    assert judged(409, 409) == ["0 winners: []"]
    # One that was not answered may have won, but two who were told so have not.
    assert judged(NO_ANSWER, 409) == []
    assert judged(NO_ANSWER, 201, 201) == ["2 winners: ['a1', 'a2']"]
    assert stage.counts == {"winners 1": 1, "winners 2": 2, "winners 0": 1, "undecided": 1}


def test_a_ring_that_is_not_found_or_found_twice_is_told_of():
    assert wrong_with_ring(3, ["b"]) == []
    assert "was not found" in wrong_with_ring(3, [])[0]
    assert "refused to a, b" in wrong_with_ring(3, ["a", "b"])[0]


def test_a_page_with_a_message_too_few_is_told_of(stage):
    check_page(stage, reply(200, body=b'{"created_at": 1} {"created_at": 2}'), 2)
    assert not stage.unexpected
    check_page(stage, reply(200, body=b'{"created_at": 1}'), 2)
    assert stage.unexpected == {"a page that has not 2 messages": 1}


def overloaded(factor, *, ok, in_time, after=(), **counts):
    variant = Variant(f"{factor:g} x", 64, {"factor": factor, "after_s": 1.0})
    series = Series(f"{factor:g} x: send")
    for _ in range(ok):
        series.record_ok(1_000, 0.5)
    values = {"seconds": [1.0], "saturation": [100.0], "after": list(after)}
    values["refused after"] = [0.2] * counts.get("503", 0)
    made = Part(variant, {series.name: series}, counts=Counter(counts), values=values)
    made.counts["in time"] = in_time
    return made


def test_a_server_that_breaks_down_under_overload_misses_what_is_promised():
    little = overloaded(0.5, ok=50, in_time=50)

    def missed(much):
        figures = Overload().judge([little, much]).figures
        return {figure.name for figure in figures if figure.reached is False}

    assert missed(overloaded(3.0, ok=100, in_time=90, after=[(0.1, 1_000.0)])) == set()
    assert missed(overloaded(3.0, ok=100, in_time=30)) == {"goodput at 3 x, as a share of the peak"}
    refusing = {"503": 4, "503 without Retry-After": 1}
    assert missed(overloaded(3.0, ok=100, in_time=90, **refusing)) == {
        "p99 of a refusal",
        "503 without Retry-After",
    }
    slow = [(at / 10, 1_000_000.0) for at in range(20)]
    assert missed(overloaded(3.0, ok=100, in_time=90, after=slow)) == {"recovered after"}


def test_zipfs_law_is_as_skewed_as_it_is_told_to_be():
    assert zipf(4, 0.0) == [1, 2, 3, 4]
    assert zipf(3, 1.0) == pytest.approx([1, 1.5, 1.5 + 1 / 3])


# -- The generator's own doings --------------------------------------------------------------------


def of_us(*values):
    made = Histogram()
    for value in values:
        made.record(value)
    return made


def done(*, cpu_s=0.1, starved_s=0.0, late=(), lag=()):
    report = Report([], 1.0, cpu_s, starved_s, of_us(*late), of_us(*lag), {}, {}, {}, [])
    return Done([report], 0.0, 1.0, [])


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (done(late=[100], lag=[100]), None),
        (done(starved_s=None), None),
        (done(cpu_s=0.95), "busy for 95%"),
        (done(starved_s=0.3), "waited for a processor for 30%"),
        (done(late=[50_000]), "calls went out late, 50.0 ms"),
        (done(lag=[20_000]), "a turn of the generator's loop took 20.0 ms"),
    ],
)
def test_it_is_said_when_the_generator_was_the_limit(found, says):
    judged = generator_of([done(), found])
    assert judged.limited == (says is not None)
    assert (says or "") in judged.verdict
    assert judged.processes == 1


def test_every_workload_says_what_it_is():
    assert all(workload.title and workload.name == name for name, workload in WORKLOADS.items())
