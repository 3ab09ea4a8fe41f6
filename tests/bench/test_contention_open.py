"""Open loop: calls at their intended times, what they wait for, and the time they count in."""

import random
import socket
import threading
from contextlib import closing
from time import perf_counter

import attrs
import pytest
import trio

from bench.contention import asks, run
from bench.contention.alarm import Alarm
from bench.contention.crew import Done
from bench.contention.fared import generator_of
from bench.contention.histogram import Histogram
from bench.contention.jobs import Due, Job, Place, Report, Variant
from bench.contention.links import NO_ANSWER, Reply
from bench.contention.loop import Arrivals, Loop, Wait
from bench.contention.main import load_of
from bench.contention.results import Measured, Series, Slice
from bench.contention.stage import PREPARATION_MAX_S, UNANSWERED_MAX_S, Afterwards, Stage
from bench.contention.trio_loop import TrioLoop
from bench.contention.turns import covered_s, rate_of
from bench.contention.workloads import WORKLOADS
from bench.contention.workloads.base import Judged, Part, Workload
from bench.report import Scale

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"cursor":1}'
TINY = load_of(Scale.TINY)


def of_us(*values):
    made = Histogram()
    for value in values:
        made.record(value)
    return made


# -- Connections -----------------------------------------------------------------------------------


def test_more_connections_are_opened_up_to_a_bound_and_waits_for_one_are_counted():
    now_s = perf_counter()
    arrivals = Arrivals("c", iter(()), None, ["a"], iter(["b"]))
    assert [arrivals.link_for(now_s - at) for at in (9, 8, 7, 6)] == ["a", "b", None, None]
    assert arrivals.waited.count == 0
    assert arrivals.next_waiting() == now_s - 7
    arrivals.patience_s = 5.0
    assert arrivals.next_waiting() is None
    assert arrivals.given_up == [now_s - 6]
    assert arrivals.waited.count == 2
    assert arrivals.waited.least_us >= 6e6


@pytest.fixture
def crowd():
    """A server that answers only when so many connections have asked, and a stage for it."""
    made = []

    def open_crowd(together, *, clients, then=None):
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(10)

        def serve():
            for size in together:
                peers = [listener.accept()[0] for _ in range(size)]
                for peer in peers:
                    peer.recv(10_000)
                for peer in peers:
                    peer.sendall(OK)
                made.extend(peers)
                # Whoever comes later on one of these is answered at once.
                for peer in peers:
                    while peer.recv(10_000):
                        peer.sendall(OK)

        thread = threading.Thread(target=serve)
        thread.start()
        host, port = listener.getsockname()
        variant = Variant("v", clients)
        place = Place("t", host, port, frozenset())
        job = Job("send", variant, place, "p", {}, 0, 0, 1, 1e-6, began_s=0.0, seed=1)
        stage = Stage(job, perf_counter)

        def make(due_s):
            operation = "send" if due_s < stage.end_s else "afterwards"
            ask = asks.send("p", "a", ["b"], "text")
            ask.due_s, ask.operation = due_s, operation
            yield ask

        # Three at once.
        stage.play_open("send", 3e6, make, links_first=1, then=then)
        stage.close()
        thread.join()
        made.append(listener)
        return stage

    yield open_crowd
    for each in made:
        each.close()


def test_an_open_loop_opens_the_connections_that_it_needs(crowd):
    # Three are due before one has been answered, which none is before all have asked.
    stage = crowd([3], clients=10)
    assert stage.tally("send").ok == 3
    assert stage.waited.count == 0


def test_whoever_waits_for_a_connection_is_counted(crowd):
    stage = crowd([1], clients=1)
    assert stage.tally("send").ok == 3
    assert (stage.loop.late.count, stage.waited.count) == (1, 2)


def test_a_rate_and_a_time_belong_to_one_series(crowd):
    stage = crowd([1], clients=1, then=Afterwards("afterwards", 500.0, 0.004))
    send, after = stage.tally("send"), stage.tally("afterwards")
    assert (send.ok, after.ok) == (3, 2)
    assert (send.intended_rate, after.intended_rate) == (3e6, 500.0)
    due, later = stage.due["v: send"], stage.due["v: afterwards"]
    assert due.until_s == later.since_s == stage.end_s
    assert later.until_s == stage.end_s + 0.004
    assert due.in_time + due.after.count == 3
    assert due.last_s >= due.since_s


def report(*series, **others):
    return Report([*series], 1.0, 0.1, 0.0, Histogram(), Histogram(), {}, {}, {}, [], **others)


def test_a_generator_without_connections_is_told_of():
    few = attrs.evolve(report(waited=of_us(9_000)), late=of_us(*[10] * 99))
    many = attrs.evolve(few, waited=of_us(*[500_000] * 9))
    assert not generator_of([Done([few], 0.0, 1.0, [])]).limited
    judged = generator_of([Done([many], 0.0, 1.0, [])])
    assert judged.limited
    assert "9 of 108 calls that were due waited for one of the generator's" in judged.verdict
    assert judged.waited_us.count == 9


# -- What is counted, and in what time -------------------------------------------------------------


def slice_of_due(*due, latency_us):
    series = Series("send", ok=10, latency=of_us(latency_us, 9e6))
    reports = [report(series, due={"send": each}) for each in due]
    place = Place("t", "h", 1, frozenset())
    job = Job("send", Variant("", 1), place, "p", {}, 2, 0, 1, 4.0, began_s=100.0, seed=1)
    return run._slice(series, Done(reports, 110.0, 7.5, []), job)


def test_a_series_of_an_open_loop_lasts_as_long_as_its_calls_were_due():
    due = [Due(110.0, 114.0, 3, of_us(90_000, 3e6), 117.0), Due(110.0, 114.0, 2, of_us(), 112.0)]
    # An answer needs 100 ms, so the one 90 ms after the end was asked for in time.
    found = slice_of_due(*due, latency_us=100_000)
    assert (found.started_s, found.took_s, found.drained_s, found.ok) == (10.0, 4.0, 3.0, 6)
    assert slice_of_due(*due, latency_us=10_000).ok == 5
    measured = Measured("t", (Series("send", ok=10),), (found,))
    assert rate_of(measured, measured.series[0]) == 1.5
    assert covered_s(measured, "send") == dict.fromkeys(range(10, 17), 1.0)


def test_without_an_open_loop_a_series_lasts_as_long_as_the_slice():
    found = slice_of_due(latency_us=1)
    assert (found.started_s, found.took_s, found.drained_s, found.ok) == (10.0, 7.5, 0.0, 10)


def test_a_rate_counts_what_came_in_time():
    slices = (Slice("send", 0, 0.0, 4.0, 8, 1.0, 1.0), Slice("send", 1, 5.0, 4.0, 4, 1.0, 1.0))
    assert rate_of(Measured("t", slices=slices), Series("send", ok=99)) == 1.5


def test_a_turn_without_a_call_counts_for_its_rate():
    slices = [Slice("a", turn, 5.0 * turn, 2.0, 8, 1.0, 1.0) for turn in range(2)]
    part = Part(Variant("", 1), {name: Series(name) for name in "ab"}, slices=[*slices])
    part.slices.append(attrs.evolve(slices[1], series="b", ok=4))
    measured = Measured("t", slices=tuple(run._slices(part)))
    assert rate_of(measured, Series("a")) == 4.0
    assert rate_of(measured, Series("b")) == 1.0


# -- A whole workload, without processes -----------------------------------------------------------


class Two(Workload):
    name, title = "two", "two variants"
    passes_over = frozenset({"clients", "seconds"})
    measures_first = True
    turns = 1

    def variants(self, load):
        return [Variant(label, 1, turns_most=self.turns) for label in ("one", "other")]

    def run(self, stage):
        raise AssertionError

    def judge(self, parts):
        return Judged(violations=tuple(f"number {at}" for at in range(60)))


class One(Two):
    def variants(self, load):
        return [Variant("", 1, turns_most=1)]


class NoCrew:
    """It does nothing, and says that it was busy."""

    def __init__(self):
        self.order = []

    def do(self, job):
        if job.prepared is not None:
            self.order.append(job.place.name)
        return Done([attrs.evolve(report(answered=1), cpu_s=0.95)], 0.0, 1.0, [])


def measured(workload, **options):
    places = [Place(name, "h", 1, frozenset()) for name in "ab"]
    crew = NoCrew()
    setting = run.Setting(load_of(Scale.TINY, **options), places)
    return run.measure(workload, setting, crew, lambda _: None), crew


def test_the_order_of_the_targets_changes_from_variant_to_variant():
    found, crew = measured(Two())
    assert crew.order == ["a", "b", "b", "a"]
    assert not any("one turn only" in text for text in found.warnings)
    assert any("one turn only" in text for text in measured(One())[0].warnings)


def test_violations_are_counted_and_the_first_are_shown():
    found, _ = measured(Two())
    assert (len(found.violations), found.violations_more) == (50, 70)
    assert found.violations[0] == "a: number 0"


def test_a_preparation_that_measures_is_judged_as_well():
    found, _ = measured(Two())
    said = "b: while the saturation was measured, a generator was busy for 95% of the time"
    assert said in found.warnings


def test_an_option_without_meaning_is_told_of():
    found, _ = measured(Two(), rate=5.0, clients=3, seconds=1.0, skew=0.5)
    assert "--clients, --rate, --seconds, --skew: of no meaning in this workload" in found.warnings
    assert found.settings["loop"] == "closed"
    assert "seconds" not in found.settings
    assert not any("no meaning" in text for text in measured(Two())[0].warnings)


def test_an_open_loop_says_its_rate_and_its_connections():
    load = load_of(Scale.TINY, rate=7.0, clients=9)
    places = [Place("a", "h", 1, frozenset())]
    setting = run.Setting(load, places)
    names = [each.name for each in WORKLOADS.values() if each.has_rate]
    assert names == ["reserve", "contended", "send", "inbox", "fivecall"]
    for name in names:
        said = run._settings(WORKLOADS[name], setting)
        assert (said["loop"], said["connections at most"]) == ("open, 7/s", [9])
    overload = run._settings(WORKLOADS["overload"], setting)
    assert overload["loop"] == "open, 0.5 to 3 times the saturation"
    assert "clients" in overload
    assert WORKLOADS["race"].passed_over(load) == ["rate"]


# -- A target that does not answer -----------------------------------------------------------------


@pytest.fixture
def stage():
    place = Place("t", "127.0.0.1", 1, frozenset())
    job = Job("bigset", Variant("", 1), place, "p", None, 0, 0, 1, 1.0, began_s=0.0, seed=1)
    made = Stage(job, lambda: 100.0)
    made.begin()
    yield made
    made.close()


def test_who_answers_nothing_for_a_minute_is_given_up(stage):
    def hears(status, at_s):
        stage._heard("c", asks.held("p"), Reply(status, asked_s=at_s, answered_s=at_s))
        return stage.gave_up

    assert not hears(NO_ANSWER, 100 + UNANSWERED_MAX_S)
    assert not hears(503, 150)
    assert not hears(NO_ANSWER, 150 + UNANSWERED_MAX_S)
    assert hears(NO_ANSWER, 151 + UNANSWERED_MAX_S) == "it has answered nothing for 60 s"


def test_who_cannot_be_prepared_in_an_hour_is_given_up(stage):
    late = 101 + PREPARATION_MAX_S
    stage._heard("c", asks.held("p"), Reply(200, asked_s=late, answered_s=late))
    assert "could not be prepared within 3600 s, in which it answered 1 calls" in stage.gave_up


@pytest.mark.parametrize("kind", [Loop, TrioLoop])
def test_a_loop_that_is_stopped_returns_whatever_its_clients_do(kind):
    loop = kind(lambda *_: None, random.Random(1))
    turns = []

    def endless():
        while True:
            turns.append(len(turns))
            if len(turns) == 5:
                loop.stop()
            yield Wait(perf_counter())

    loop.start("a", endless(), None)
    loop.run()
    loop.close()
    assert len(turns) >= 5


def test_an_alarm_goes_off_when_its_time_has_come_and_can_be_set_again():
    async def main():
        with closing(Alarm()) as alarm:
            await alarm.until(perf_counter() - 1)
            for _ in range(3):
                at_s = perf_counter() + 0.0005
                await alarm.until(at_s)
                assert perf_counter() >= at_s
            with trio.move_on_after(0) as scope:
                await alarm.until(perf_counter() + 1_000)
            assert scope.cancelled_caught
            await alarm.until(perf_counter() + 0.0005)

    trio.run(main)
