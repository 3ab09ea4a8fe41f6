"""Targets that cannot, do not or do no more answer as a workload needs it: nothing is made up."""

import socket
from contextlib import closing, suppress

import attrs
import pytest

from bench.contention import asks, tables, worker
from bench.contention.jobs import Variant
from bench.contention.links import GARBLED, Reply
from bench.contention.main import drive, load_of, main
from bench.contention.recording import Recording, outcome_of
from bench.contention.results import Series, slice_of
from bench.contention.run import Setting, lacks
from bench.contention.stage import Stage
from bench.contention.targets import WHAT_IT_IS, parse_target, probe
from bench.contention.workloads import WORKLOADS
from bench.contention.workloads.base import LeftOut, Part, Workload
from bench.contention.workloads.fan import FanOut
from bench.contention.workloads.overload import MEMORY_GROWTH_MAX, Overload
from bench.contention.workloads.resume import _Subscriber
from bench.contention.workloads.sets import BigSet
from bench.linearizability.history import Header, Recorder
from bench.machine import is_connected
from bench.report import Scale
from bench.websocket import ends_of

from . import samples
from .old_wire import old_server

TINY = load_of(Scale.TINY, seconds=0.05, clients=3)
JOB = attrs.evolve(
    samples.JOB,
    workload="contended",
    variant=Variant("", 4),
    parts=2,
    seconds=1.0,
    seed=7,
    run_id="abc",
)


def staged(agree=lambda: 5.0, **others):
    recording = others.pop("recording", None)
    return closing(Stage(attrs.evolve(JOB, **others), agree, recording))


def figures(found):
    return {figure.name: figure for figure in found.figures}


# -- Dice ------------------------------------------------------------------------------------------


def test_every_process_throws_dice_of_its_own_and_the_same_ones_again():
    def thrown(**others):
        with staged(**others) as stage:
            return [stage.chance.random() for _ in range(4)]

    assert thrown(part=1) == thrown(part=1)
    different = [thrown(), thrown(part=1), thrown(turn=1), thrown(seed=8)]
    assert len(set(map(tuple, different))) == len(different)


# -- Answers that lack something -------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"{}", b'{"id": ""}', b'{"id": 5}'])
def test_a_grant_that_does_not_say_its_id_is_no_grant(body):
    recorder = Recorder(Header(server="t"))
    ask, reply = asks.reserve("p", "a", "x"), Reply(201, body)
    with staged(recording=Recording(recorder, "p")) as stage:
        stage._asked("a", ask)
        stage._heard("a", ask, reply)
        found = stage.tally("reserve")
        assert (found.ok, found.failed, stage.answered) == (0, 1, 0)
        assert stage.unexpected == {"POST /api/reservations answered 201 without a proper `id`": 1}
    assert reply.status == GARBLED
    # Something may be held for it all the same.
    assert recorder.calls[0].outcome is None


def test_a_place_in_the_order_that_is_no_number_is_none():
    def place(epoch):
        return Reply(200, named={"intermute-epoch": epoch, "intermute-seq": "7"}).place()

    assert [place("3"), place("x"), place("-1"), place("")] == [(3, 7), None, None, None]


def test_a_frame_that_says_nothing_is_counted_and_the_next_one_is_heard():
    with staged() as stage:
        subscriber = _Subscriber("s", stage, feeds=None, chance=stage.chance)
        subscriber._hear([b'{"type": "t"}', b"{", b'{"type": "t", "cursor": 4}'], 0.0)
        assert subscriber.cursor == 4
        assert sum(stage.unexpected.values()) == 2
        assert any("`cursor`" in text for text in stage.unexpected)


@pytest.mark.parametrize(
    ("ask", "status", "body", "outcome"),
    [
        (asks.renew("a", "r"), 200, b'{"fencing_token": "x"}', {"kind": "renewed"}),
        (
            asks.check("p", "x"),
            200,
            b'{"conflicts": [7, {"reservation_id": 8}]}',
            {"kind": "conflict", "conflicts": ["8"]},
        ),
        (
            asks.reserve("p", "a", "x"),
            409,
            b'{"error": "reservation_conflict", "conflicts": 5}',
            {"kind": "conflict", "conflicts": []},
        ),
    ],
)
def test_a_history_holds_nothing_that_cannot_be_read_back(ask, status, body, outcome):
    assert outcome_of(ask, Reply(status, body)) == outcome


def test_a_workload_that_fails_says_why_and_the_others_are_told_that_it_is_ready(
    monkeypatch, capsys
):
    raised = [KeyError("cursors"), ExceptionGroup("", [OSError("gone")]), LeftOut("no way")]
    agreed = []

    class Fails(Workload):
        name = title = "fails"

        def variants(self, load):
            return []

        def run(self, stage):
            raise raised[0]

    monkeypatch.setitem(worker.WORKLOADS, "fails", Fails())
    said = []
    while raised:
        with staged(lambda: agreed.append(1) or 5.0, workload="fails") as stage:
            said.append(worker._play(stage.job, stage))
        del raised[0]
    assert said[0].startswith("KeyError: 'cursors' (test_contention_targets.py, line ")
    assert said[1].startswith("OSError: gone")
    assert said[2] == "no way"
    assert len(agreed) == 3
    assert "KeyError" in capsys.readouterr().err


# -- One that cannot beside one that can -----------------------------------------------------------


def both(names, *faults):
    with old_server() as (good, _), old_server(*faults) as (bad, _):
        targets = [parse_target(f"good={good}"), parse_target(f"bad={bad}")]
        run = drive([WORKLOADS[name] for name in names], TINY, targets, processes=1)
    return run, {workload.name: workload for workload in run.workloads}


def measured(workload, target):
    return next((each for each in workload.measured if each.target == target), None)


def test_who_takes_no_messages_is_skipped_where_they_are_needed():
    with old_server("no messages") as (url, _):
        place = probe(parse_target(f"t={url}"))
    assert not place.capabilities & {"send", "inbox"}
    setting = Setting(TINY, [place])
    for name in ("send", "inbox", "fivecall", "fanout", "resume", "overload"):
        assert WHAT_IT_IS["send"] in lacks(WORKLOADS[name], place, setting)
    with old_server("no cursor") as (url, _):
        assert not probe(parse_target(f"t={url}")).capabilities & {"send", "inbox"}


DYING = ["inbox", "race", "contended", "handoff", "fanout", "bigset"]


def test_a_target_that_dies_spoils_nothing_for_the_others_and_is_told_of():
    run, found = both(DYING, "dies")
    assert not run.incomplete
    for name, workload in found.items():
        good, bad = measured(workload, "good"), measured(workload, "bad")
        assert any(series.ok for series in good.series), name
        # What it did not do is no figure, least of all a good one.
        assert bad is None or bad.figures == (), name
        assert [each.target for each in workload.unmeasured] == ["bad"]
        assert any(text.startswith("bad: not measured: ") for text in workload.warnings)
        assert not workload.violations
    assert found["inbox"].unmeasured[0].reason.startswith("not one message was taken")
    assert found["bigset"].unmeasured[0].reason.startswith("it granted nothing")
    assert "POST /api/reservations had no answer" in found["handoff"].unmeasured[0].reason
    cells = [cell.text for cell in tables.verdict(run)]
    assert f"bad not measured in {', '.join(DYING)}" in cells
    (table,) = (each for each in tables.tables(found["handoff"]) if each.title == "Figures")
    rows = {row[0].text: row[1:] for row in table.rows}
    assert rows["two at once"][0].text.startswith("0, at most 0: reached")
    assert rows["two at once"][1].text == "not measured"


def test_the_command_ends_with_3_when_a_target_did_nothing(capsys):
    with old_server("dies") as (url, _):
        arguments = ["handoff", "--quick", "--seconds", "0.1", "--processes", "1"]
        assert main([*arguments, "--target", f"dead={url}"]) == 3
    shown = capsys.readouterr().out
    assert "dead not measured in handoff" in shown
    assert "reached, " not in shown
    assert ": reached" not in shown


def test_grants_without_an_id_end_nothing_but_themselves():
    run, found = both(["reserve", "race", "handoff", "contended", "bigset"], "grants no id")
    assert not run.incomplete
    assert all(measured(workload, "good").series for workload in found.values())
    for workload in found.values():
        assert any("without a proper `id`" in text for text in workload.warnings), workload.name


# -- What an answer that is missing says -----------------------------------------------------------


def test_a_round_that_nobody_can_decide_is_not_held_against_the_target():
    with old_server("loses an answer") as (url, _):
        run = drive([WORKLOADS["race"]], TINY, [parse_target(f"t={url}")], processes=1)
    (workload,) = run.workloads
    found = figures(workload.measured[0])
    without = found["3 clients: rounds without exactly one winner"]
    assert (without.value, without.reached) == (0, True)
    # What nobody knows of is still held, and the rounds after it are about something else.
    assert workload.violations == ()
    assert found["3 clients: rounds"].value == 6
    assert any("1 rounds were not decided" in text for text in workload.warnings)


def part(label, numbers, median_us=None, **others):
    made = Part(Variant(label, 1, numbers), **others)
    if median_us is not None:
        series = made.series[f"{label}: reserve 50"] = Series(f"{label}: reserve 50")
        series.record_ok(median_us, 0.5)
        made.slices.append(slice_of(series, turn=0, started_s=0.0, took_s=1.0))
    return made


def test_a_big_set_is_shown_against_what_is_held_and_not_what_was_wanted():
    workload = BigSet()
    few, many = workload.variants(attrs.evolve(TINY, scale=Scale.QUICK))[:2]
    assert workload.settled(few, {"held": [60, 40]}, []) == few
    settled = workload.settled(many, {"held": [200]}, [Part(few)])
    assert settled.label == "300 held of 1,000"
    assert workload.settled(many, {}, [Part(few)]).numbers["held"] == 100
    judged = workload.judge(
        [
            part(few.label, few.numbers, 2_000),
            part(settled.label, settled.numbers, 4_000),
            part("x", {"held": 900}),
        ]
    )
    assert [figure.name for figure in judged.figures] == [
        "100 held: p50",
        "300 held of 1,000: p50",
    ]
    assert [point.x for point in judged.curves[0].points] == [100, 300]
    assert "only 300 of 1,000 could be held" in judged.warnings
    assert judged.unmeasured == ("x: p50",)


def test_a_target_with_a_limit_is_filled_up_to_it():
    with old_server("holds 30") as (url, _):
        run = drive([WORKLOADS["bigset"]], TINY, [parse_target(f"t={url}")], processes=1)
    (workload,) = run.workloads
    assert "t: only 30 of 100 could be held" in workload.warnings
    assert any(each.name.startswith("30 held of 100: ") for each in workload.measured[0].series)


# -- Memory, and who is hung up on -----------------------------------------------------------------


def loaded(factor, memory):
    series = Series(f"{factor:g} x: send")
    series.record_ok(1_000, 0.5)
    values = {"seconds": [1.0], "saturation": [100.0], "after": [(0.1, 1_000.0)]}
    made = Part(Variant(f"{factor:g} x", 64), {series.name: series}, values=values, memory=memory)
    made.counts["in time"] = made.answered = 1
    return made


@pytest.mark.parametrize(("share", "reached"), [(1.0, True), (1.01, False)])
def test_memory_under_overload_is_held_to_a_bound(share, reached):
    much = round(100_000_000 * MEMORY_GROWTH_MAX * share)
    parts = [loaded(0.5, [(0.0, 100_000_000), (0.1, 90_000_000)]), loaded(3.0, [(0.0, much)])]
    found = figures(Overload().judge(parts))
    assert (
        found["memory under overload, as a multiple of that under little load"].reached is reached
    )


def test_memory_that_nobody_saw_is_told_of():
    judged = Overload().judge([loaded(0.5, []), loaded(3.0, [])])
    assert len([name for name in judged.unmeasured if name.startswith("memory")]) == 3
    assert any("memory" in text for text in judged.warnings)


def test_an_overload_without_an_answer_recovers_from_nothing():
    parts = [loaded(0.5, []), loaded(3.0, [])]
    for each in parts:
        each.series.clear()
        each.counts.clear()
        each.answered = 0
        each.values["after"] = []
    judged = Overload().judge(parts)
    assert {"recovered after", "503 without Retry-After", "peak goodput"} <= set(judged.unmeasured)
    assert all(figure.reached is None for figure in judged.figures)
    assert judged.curves == ()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
@pytest.mark.parametrize("is_dual", [False, True])
def test_it_is_seen_at_every_address_of_this_machine_who_hung_up(host, is_dual):
    family = socket.AF_INET6 if is_dual or host == "::1" else socket.AF_INET
    listener = socket.socket(family)
    with closing(listener):
        if is_dual:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        wide = "" if is_dual else host
        listener.bind(("::1" if host == "::1" else wide, 0))
        listener.listen()
        with socket.create_connection((host, listener.getsockname()[1])) as client:
            ends = ends_of(client)
            server, _ = listener.accept()
            assert is_connected(*ends)
            server.close()
            while is_connected(*ends):
                with suppress(OSError):
                    client.send(b"x")


def test_who_is_elsewhere_cannot_be_seen_to_hang_up_and_that_is_said():
    plain = part("all read", {"stalled": 0})
    stalled = part("one never reads", {"stalled": 1})
    assert not any("hung up" in text for text in FanOut().judge([plain, stalled]).warnings)
    stalled.counts["stalled elsewhere"] = 2
    assert any("hung up" in text for text in FanOut().judge([plain, stalled]).warnings)
    stalled.values["stalled ended"] = [12.0]
    judged = FanOut().judge([plain, stalled])
    assert figures(judged)["the one that never reads is let live"].value == 12.0
    assert not any("hung up" in text for text in judged.warnings)
