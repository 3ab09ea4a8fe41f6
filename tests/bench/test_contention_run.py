"""The harness against real servers: ours, one of the old wire, and some that break promises."""

import json
import math
import re
from pathlib import Path

import pytest

from bench.__main__ import COMMANDS
from bench.__main__ import main as bench
from bench.contention import results, workloads
from bench.contention.main import drive, load_of, main, workloads_of
from bench.contention.targets import WHAT_IT_IS, Unreachable, parse_target, probe
from bench.contention.workloads import WORKLOADS
from bench.linearizability import verify
from bench.report import Scale
from bench.server import running_server

from .old_wire import old_server
from .samples import loaded

OLD_CAN = {"websocket", "send", "inbox"}
ZERO_IS_WELL = ("at once", "exactly one", "lost", "refused", "given up", "Retry-After", "recovered")
ZERO_IS_WELL += ("conflicts", "overtaken", "drops", "late", "p99 with one", "from release")
TINY = load_of(Scale.TINY)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("ours") / "data") as server:
        yield parse_target(f"ours=http://127.0.0.1:{server.port}")


@pytest.fixture(scope="module")
def everything(ours, tmp_path_factory):
    """One run of everything, on our server and on one of the old wire; the latter's state."""
    history = tmp_path_factory.mktemp("run") / "history.jsonl"
    with old_server() as (url, state):
        old = parse_target(f"old={url}")
        yield drive(list(WORKLOADS.values()), TINY, [ours, old], history_file=history), state


@pytest.fixture(scope="module")
def run(everything):
    return everything[0]


def measured(run, workload, target):
    (found,) = (each for each in run.workloads if each.name == workload)
    return {each.target: each for each in found.measured}.get(target)


def test_everything_runs_side_by_side_and_nobody_breaks_a_promise(run, tmp_path):
    assert [found.name for found in run.workloads] == list(WORKLOADS)
    assert [text for found in run.workloads for text in found.violations] == []
    for workload in run.workloads:
        assert not [text for text in workload.warnings if "unexpected" in text], workload
        for found in workload.measured:
            assert any(series.ok for series in found.series), (workload.name, found.target)
            assert not any(series.failed for series in found.series), (workload.name, found.target)
            assert found.generator is not None
            for figure in found.figures:
                assert math.isfinite(figure.value), figure
                well = any(word in figure.name for word in ZERO_IS_WELL)
                assert figure.value > 0 or well, (workload.name, found.target, figure)
    results.save(run, tmp_path / "run.json")
    assert loaded(tmp_path / "run.json") == run


def test_what_a_target_cannot_do_is_skipped_and_said(run):
    skipped = {
        found.name: {each.target: each.reason for each in found.skipped} for found in run.workloads
    }
    assert {name for name, found in skipped.items() if found} == {"deadlock", "resume"}
    assert skipped["deadlock"] == {"old": f"cannot {WHAT_IT_IS['waiting']}"}
    assert skipped["resume"] == {"old": f"cannot {WHAT_IT_IS['resume']}"}
    assert {target.name: set(target.capabilities) for target in run.targets} == {
        "ours": set(WHAT_IT_IS),
        "old": OLD_CAN,
    }


def test_no_path_is_one_that_another_run_may_have_left_behind(everything):
    _, state = everything
    (run_id,) = {path.partition("/")[0] for path in state.asked}
    assert len(run_id) == 6
    assert set(run_id) <= set("0123456789abcdef")


def test_every_capability_that_is_looked_for_is_needed():
    needed = {"rpc"}.union(*(workload.needs for workload in WORKLOADS.values()))
    for module in Path(workloads.__file__).parent.glob("*.py"):
        needed |= set(re.findall(r'stage\.can\("(\w+)"\)', module.read_text()))
    assert needed == set(WHAT_IT_IS)


def test_targets_take_turns_in_every_round(run):
    both = {
        target: [
            at.turn for at in measured(run, "reserve", target).slices if at.series == "reserve"
        ]
        for target in ("ours", "old")
    }
    assert both["ours"] == both["old"] == [*range(TINY.turns)]


def test_sets_are_asked_for_one_by_one_where_there_are_none(run):
    names = {each.name.rpartition(": ")[2] for each in measured(run, "bigset", "old").series}
    assert {"reserve one", "reserve 50"} <= names
    ours = {each.name.rpartition(": ")[2] for each in measured(run, "bigset", "ours").series}
    assert "reserve one" not in ours


def test_the_calls_of_a_run_are_kept_and_can_be_checked(run, capsys):
    (file,) = {found.history for found in run.workloads if found.history}
    kept = [json.loads(line) for line in Path(file).read_text().splitlines()]
    assert {call["operation"] for call in kept[1:]} == {"reserve", "release", "check", "renew"}
    assert {call["project"].partition("/")[0] for call in kept[1:]} == {"ours", "old"}
    assert "old (http" in kept[0]["server"]
    ours = Path(file).with_name("ours.jsonl")
    ours.write_text(
        "".join(
            f"{json.dumps(line)}\n"
            for line in kept
            if line.get("project", "ours").startswith("ours")
        )
    )
    assert verify.main([str(ours)]) == 0, capsys.readouterr().out


# -- Servers that break a promise are found out ----------------------------------------------------


def violations_of(name, *faults):
    with old_server(*faults) as (url, _):
        run = drive([WORKLOADS[name]], TINY, [parse_target(f"bad={url}")], processes=1)
    (workload,) = run.workloads
    return workload


def test_two_winners_of_a_race_are_found():
    found = violations_of("race", "two winners")
    assert "bad: round 0.0: 2 winners" in found.violations[0]
    assert "and " in found.violations[-1] or len(found.violations) < 50


def test_two_holders_at_once_are_found():
    assert any(
        "was granted" in text for text in violations_of("contended", "two winners").violations
    )
    assert any("was granted" in text for text in violations_of("handoff", "two winners").violations)


def test_a_lost_frame_is_found():
    found = violations_of("fanout", "lost frames")
    assert any("never came to 1 subscribers" in text for text in found.violations)


def test_an_answer_that_never_came_is_unknown_and_no_failure():
    found = violations_of("reserve", "hangs up")
    (reserve,) = (each for each in found.measured[0].series if each.name == "reserve")
    assert reserve.unknown
    assert reserve.failed == 0
    assert any("had no answer" in text for text in found.warnings)


def test_a_refusal_is_counted_apart_from_a_failure():
    found = violations_of("reserve", "busy")
    (reserve,) = (each for each in found.measured[0].series if each.name == "reserve")
    assert reserve.refused.keys() == {503}
    assert reserve.failed == 0


# -- The command ----------------------------------------------------------------------------------


def test_the_command_ends_with_1_when_a_promise_was_broken(tmp_path, capsys):
    page, file = tmp_path / "run.html", tmp_path / "run.json"
    with old_server("two winners") as (url, _):
        arguments = ["contention", "race", "--target", f"bad={url}", "--quick", "--clients", "2"]
        said = bench([*arguments, "--html", str(page), "--json", str(file), "--processes", "1"])
    assert said == 1
    assert "VIOLATION" in capsys.readouterr().out
    assert "VIOLATION" in page.read_text() or "2 winners" in page.read_text()
    assert loaded(file).workloads[0].violations


def test_the_command_starts_a_server_of_its_own_and_ends_with_0(capsys):
    assert main(["reserve", "--quick", "--seconds", "0.1", "--processes", "1"]) == 0
    assert "ours" in capsys.readouterr().out


def test_an_open_loop_makes_the_calls_that_were_intended(ours):
    load = load_of(Scale.TINY, rate=100)
    first = {"send": "send", "inbox": "page", "reserve": "reserve", "fivecall": "reserve"}
    first["contended"] = "reserve"
    run = drive(workloads_of([*first]), load, [ours])
    found = {
        each.name: next(
            series for series in each.measured[0].series if series.name == first[each.name]
        )
        for each in run.workloads
    }
    assert {name: (series.count, series.intended_rate) for name, series in found.items()} == {
        "send": (20, 100),
        "inbox": (20, 100),
        "reserve": (10, 50),
        "fivecall": (4, 20),
        "contended": (8, 40),
    }
    assert [text for each in run.workloads for text in each.violations] == []
    named = {series.name for series in run.workloads[3].measured[0].series}
    assert named == {"reserve", "send", "list", "inbox", "release", "round"}


def test_the_calls_can_go_over_a_websocket(ours):
    names = ["reserve", "race", "fivecall", "overload"]
    run = drive(workloads_of(names), TINY, [ours], driver="websocket")
    assert [bool(found.measured) for found in run.workloads] == [True, True, True, False]
    assert not any(found.violations or found.warnings for found in run.workloads)
    assert "HTTP only" in run.workloads[-1].skipped[0].reason


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing"], "no such workload"),
        (["--target", "a=ftp://here"], "no base URL"),
        (["--target", "http://127.0.0.1:1/api"], "more than a host"),
        (["--target", "a=http://h:1", "--target", "a=http://h:2"], "one name"),
        (["--target", "a=http://127.0.0.1:9"], "refused"),
        (["--seconds", "0"], "too small"),
        (["--clients", "0"], "less than 1"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, says, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_the_commands_are_there_and_told_of(capsys):
    for name in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            bench([name, "--help"])
        assert ended.value.code == 0
        assert f"python -m bench {name}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        bench(["--help"])
    told = capsys.readouterr().out
    assert all(name in told for name in COMMANDS)


def test_who_does_not_reserve_is_no_target():
    with old_server("full") as (url, _), pytest.raises(Unreachable, match="does not reserve: 507"):
        probe(parse_target(url))
