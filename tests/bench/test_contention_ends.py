"""How a run ends: files that cannot be written, long work of generators, killed parents."""

import io
import json
import os
import select
import signal
import subprocess
import sys
from contextlib import nullcontext, suppress
from types import SimpleNamespace

import attrs
import pytest

from bench.__main__ import main as bench
from bench.contention import html, jobs, main, options, results, says, tables, worker
from bench.contention.crew import Crew, Generator
from bench.contention.links import Address, Reply
from bench.contention.results import Run, Workload
from bench.linearizability import verify
from bench.machine import ROOT
from bench.outputs import COULD_NOT, output_file, written
from bench.report import Scale

from .old_wire import old_server
from .samples import JOB, loaded, sample

EMPTY = Run("2026-01-02T03:04:05+00:00", Scale.TINY, {}, {})

# -- Files -----------------------------------------------------------------------------------------


def test_a_file_is_tried_and_left_as_it_was(tmp_path):
    there = tmp_path / "there"
    there.write_text("kept")
    assert output_file(str(there)) == there
    assert there.read_text() == "kept"
    output_file(str(tmp_path / "new"))
    assert [each.name for each in tmp_path.iterdir()] == ["there"]
    assert output_file("/dev/null")


@pytest.mark.parametrize(
    "arguments",
    [
        ["contention", "race", "--json", "/proc/nope.json"],
        ["contention", "race", "--html", "/nonexistent/x.html"],
        ["contention", "race", "--history", "/proc"],
        ["index", "--quick", "--json", "/nonexistent/x"],
        ["verify", "nothing", "--picture", "/proc/nope.svg"],
    ],
)
def test_what_cannot_be_written_is_refused_at_the_beginning(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        bench(arguments)
    assert ended.value.code == 2
    assert "cannot be written" in capsys.readouterr().err


def fails(*_):
    raise OSError(28, "No space left on device")


def test_one_file_that_cannot_be_written_in_the_end_costs_no_other(tmp_path, monkeypatch, capsys):
    files = [tmp_path / name for name in ("run.json", "run.html")]
    arguments = ["race", "--json", str(files[0]), "--html", str(files[1])]
    run = attrs.evolve(sample(), workloads=())
    monkeypatch.setattr(main, "drive", lambda *_, **__: run)
    assert main.main(arguments) == 0
    for module, name, left in ((results, "save", 1), (html, "write", 0)):
        for file in files:
            file.unlink(missing_ok=True)
        with monkeypatch.context() as patch:
            patch.setattr(module, name, fails)
            assert main.main(arguments) == COULD_NOT
        assert [file.exists() for file in files] == [at == left for at in range(2)]
        assert "could not be written: No space left" in capsys.readouterr().out


def test_what_is_written_does_not_wait_for_who_reads_what_is_shown(tmp_path, monkeypatch):
    file = tmp_path / "run.json"
    monkeypatch.setattr(main, "drive", lambda *_, **__: EMPTY)
    monkeypatch.setattr(main.summary, "show", fails)
    with pytest.raises(OSError, match="No space"):
        main.main(["race", "--json", str(file)])
    assert loaded(file) == EMPTY


def test_a_history_that_cannot_be_written_costs_no_result(tmp_path, monkeypatch):
    monkeypatch.setattr(main, "crew_of", lambda *_: nullcontext())
    with old_server() as (url, _):
        target = main.parse_target(f"old={url}")
        gone = tmp_path / "gone" / "history"
        run = main.drive([], main.load_of(Scale.TINY), [target], processes=1, history_file=gone)
    assert "history could not be written" in run.incomplete


def test_a_benchmark_whose_file_cannot_be_written_ends_with_3(tmp_path, monkeypatch, capsys):
    file = tmp_path / "bench.json"
    monkeypatch.setattr("bench.__main__.run", lambda *_, **__: {"benchmarks": {}})
    assert bench(["index", "--json", str(file)]) == 0
    assert json.loads(file.read_text()) == {"benchmarks": {}}
    file.unlink()
    monkeypatch.setattr("pathlib.Path.write_text", fails)
    assert bench(["index", "--json", str(file)]) == COULD_NOT
    assert "No space left" in capsys.readouterr().err


def test_nothing_is_written_where_nothing_is_wanted():
    assert written(None, fails) == ""


def test_a_number_that_makes_no_sense_is_refused(capsys):
    with pytest.raises(SystemExit):
        verify.main(["nothing", "--remembered", "-5"])
    assert "--remembered" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["race", "--rate", "5"], "--rate has no meaning in race"),
        (["deadlock", "bigset", "--clients", "5"], "--clients has no meaning in deadlock, bigset"),
        (["race", "--seconds", "5"], "--seconds has no meaning in race"),
        (["send", "--skew", "2"], "--skew has no meaning in send"),
    ],
)
def test_an_option_without_meaning_is_refused(arguments, says, capsys):
    with pytest.raises(SystemExit) as ended:
        main.main(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_the_help_says_what_has_an_open_loop():
    told = " ".join(options.parser().format_help().split())
    assert "an open loop, for reserve, contended, send, inbox, fivecall" in told


# -- What is counted -------------------------------------------------------------------------------


def test_violations_that_are_not_shown_are_counted():
    workload = Workload("w", "t", violations=("one", "two"), violations_more=49)
    assert tables.violations(workload) == ["one", "two", "and 49 more"]
    assert tables.verdict(attrs.evolve(EMPTY, workloads=(workload,)))[0].text == "51 violations"


def test_a_machine_that_was_busy_is_told_of():
    facts = {"cpus": 2, "python": "p", "sqlite": "s", "versions": {}, "commit": None}
    for load, said in ((1.9, 0), (2.5, 1)):
        run = results.begun(Scale.TINY, {**facts, "load_average": load}, settings={}, targets=[])
        assert len(run.warnings) == said


# -- What a target says of itself ------------------------------------------------------------------


def test_a_target_says_what_it_says(monkeypatch):
    replies = {
        "/health": Reply(200, b'{"version": "1.2", "up": true, "list": [1], "key": "imk_1"}'),
        "/ready": Reply(503, b'{"status": "degraded"}', named={"server": "s/1"}),
    }
    monkeypatch.setattr(says, "_asked", lambda _, path: replies[path])
    found = says.said_by(Address("h", 1, key="imk_1"))
    assert found == {
        "health version": "1.2",
        "health up": True,
        "ready status": "degraded",
        "server": "s/1",
    }


def test_a_target_need_not_say_anything():
    with old_server() as (url, _):
        port = int(url.rpartition(":")[2])
        assert says.said_by(Address("127.0.0.1", port)).keys() == {"server"}
    assert says.said_by(Address("127.0.0.1", port)) == {}


# -- Processes -------------------------------------------------------------------------------------


def test_a_generator_at_work_says_that_it_lives(monkeypatch):
    monkeypatch.setattr(worker, "BEAT_S", 0)
    sink = io.BytesIO()
    say = worker._mouth(sink)
    with worker._beating(say):
        while len(sink.getvalue()) < 100:
            os.sched_yield()
    length = len(sink.getvalue())
    sink.seek(0)
    assert jobs.decode_said(jobs.take(sink)) == jobs.Said(is_alive=True)
    assert len(sink.getvalue()) == length


def test_whoever_only_lives_is_waited_for():
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0) as source, open(writer, "wb") as sink:
        for said in (jobs.Said(is_alive=True), jobs.Said(is_alive=True), jobs.Said()):
            jobs.put(sink, said)
        member = Generator(0, SimpleNamespace(pid=1, stdout=source), io.BytesIO())
        assert Crew([member])._hear(member, JOB, []) == jobs.Said()


def test_a_server_of_ours_ends_with_the_process_that_started_it(tmp_path):
    script = (
        "import sys; from pathlib import Path; from bench.server import running_server\n"
        "with running_server(Path(sys.argv[1]) / 'data') as server:\n"
        "    print(server.pid, flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        server = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.send_signal(signal.SIGKILL)
            assert parent.wait() == -signal.SIGKILL
            assert select.select([server], [], [], 30)[0], "it goes on"
        finally:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(server, signal.SIGKILL)
            os.close(server)
