"""A run that loses a generator or is stopped keeps what it has, and says what it lacks."""

import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import attrs

from bench.contention import crew, jobs, main
from bench.contention.histogram import Histogram
from bench.linearizability import history

from . import samples
from .old_wire import old_server
from .samples import loaded

QUICK = ["--quick", "--seconds", "0.1", "--clients", "2", "--processes", "2"]


@contextmanager
def struck(monkeypatch, agent, strike):
    """A server in whose first reservation of this agent something is struck.

    Args:
        strike: Called with the crew of the run that is going on.
    """
    crews = []
    crew_of = main.crew_of

    @contextmanager
    def noted(*arguments):
        with crew_of(*arguments) as found:
            crews.append(found)
            yield found

    monkeypatch.setattr(main, "crew_of", noted)
    with old_server() as (url, state):
        conflicts = state.conflicts

        def look(project, asking, pattern, exclusive):
            if asking == agent and crews:
                strike(crews.pop())
            return conflicts(project, asking, pattern, exclusive)

        state.conflicts = look
        yield f"old={url}"


def run(tmp_path, target, *workloads):
    """The code of a run, and its result as it was written."""
    files = [tmp_path / name for name in ("run.json", "run.html", "run.jsonl")]
    named = zip(("--json", "--html", "--history"), map(str, files), strict=True)
    options = [text for pair in named for text in pair]
    code = main.main([*workloads, *QUICK, "--target", target, *options])
    return code, loaded(files[0]), files[1].read_text(), history.read(files[2])


def kill(found, part):
    os.kill(found.generators[part].pid, signal.SIGKILL)


def test_a_generator_that_is_killed_is_missed_and_the_others_are_heard(
    tmp_path, monkeypatch, capsys
):
    pids = []

    def strike(found):
        pids.append(found.generators[1].pid)
        kill(found, 1)

    with struck(monkeypatch, "worker-001", strike) as target:
        code, found, page, kept = run(tmp_path, target, "reserve", "send")
    said = f"generator 1 (process {pids[0]}) was killed by SIGKILL"
    assert code == main.INCOMPLETE
    (reserve,) = found.workloads
    assert said in reserve.incomplete
    assert "in reserve on old" in reserve.incomplete
    assert said in found.incomplete
    assert "not begun: send" in found.incomplete
    # The other one went on to the end of the turn.
    (measured,) = reserve.measured
    assert any(series.name == "reserve" and series.ok for series in measured.series)
    assert measured.generator.processes == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "INCOMPLETE" in shown
    assert f"process {pids[0]}" in shown
    assert f"Incomplete: in reserve on old: {said}" in page
    # What it took with it cannot be known, so nothing of it is kept as a history.
    assert kept.calls == ()


def test_what_was_whole_before_is_kept(tmp_path, monkeypatch):
    with struck(monkeypatch, "racer-001", lambda found: kill(found, 0)) as target:
        code, found, _, kept = run(tmp_path, target, "reserve", "race")
    reserve, race = found.workloads
    assert code == main.INCOMPLETE
    assert not reserve.incomplete
    assert reserve.history
    assert "generator 0" in race.incomplete
    # All clients of a race are in one process, so there is nothing left to judge.
    assert race.measured[0].figures == ()
    assert any("left out" in text for text in race.warnings)
    assert {call.project.rpartition("-")[2] for call in kept.calls} == {"reserve"}


def test_a_run_that_is_stopped_keeps_what_it_has(tmp_path, monkeypatch):
    number = signal.SIGINT
    handler = signal.getsignal(number)
    crews = []

    def strike(found):
        crews.append(found)
        os.kill(os.getpid(), number)

    with struck(monkeypatch, "racer-001", strike) as target:
        code, found, page, kept = run(tmp_path, target, "reserve", "race", "send")
    reserve, race = found.workloads
    assert code == main.INCOMPLETE
    assert not reserve.incomplete
    assert reserve.measured[0].figures == ()
    assert any(series.ok for series in reserve.measured[0].series)
    assert f"stopped by {number.name}" in race.incomplete
    assert "not begun: send" in found.incomplete
    assert "Incomplete" in page
    assert kept.calls
    assert all(each.process.poll() is not None for each in crews[0].generators)
    assert signal.getsignal(number) == handler


KEY = "imk_2265fc1fd6_of_nobody"
JOB = attrs.evolve(samples.JOB, place=jobs.Place("nobody", "127.0.0.1", 9, frozenset(), key=KEY))


def test_a_generator_that_fails_says_why_and_is_told_keys_in_private(capsys):
    with crew.crew_of(1) as found:
        found.do(JOB)
        line = Path(f"/proc/{found.generators[0].pid}/cmdline").read_bytes()
        assert b"worker" in line
        assert KEY.encode() not in line
        found.do(attrs.evolve(JOB, workload="nothing"))
        assert not found.is_whole
        assert found.generators[0].lost.endswith("ended with 1: KeyError: 'nothing'")
        # Nobody is left, and nobody waits.
        assert found.do(JOB).reports == []
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert KEY not in said + repr(JOB) + repr(JOB.place.address)


def test_a_generator_that_says_something_else_is_given_up(tmp_path, monkeypatch):
    babble = tmp_path / "babble.py"
    babble.write_text(
        "import sys, time\n"
        "sys.stdout.buffer.write((3).to_bytes(4, 'big') + b'\\xc1\\xc1\\xc1')\n"
        "sys.stdout.flush()\n"
        "sys.stdin.read()\n"
    )
    popen = crew.subprocess.Popen
    monkeypatch.setattr(
        crew.subprocess,
        "Popen",
        lambda _command, **options: popen([sys.executable, str(babble)], **options),
    )
    with crew.crew_of(1) as found:
        assert "said what nobody understands" in found.do(JOB).lost


def test_a_long_report_is_read_however_a_pipe_gives_it():
    counts = {f"count {number}": number for number in range(20_000)}
    report = jobs.Report([], 1.0, 0.1, None, Histogram(), Histogram(), {}, counts, {}, [])

    class InPieces:
        def __init__(self):
            self.data = bytearray()

        def write(self, data):
            self.data += data

        def flush(self):
            pass

        def read(self, length):
            piece = self.data[: min(length, 1_000)]
            del self.data[: len(piece)]
            return bytes(piece)

    pipe = InPieces()
    jobs.put(pipe, jobs.Said(report))
    assert jobs.decode_said(jobs.take(pipe)).report.counts == counts
    jobs.put(pipe, jobs.Said(report))
    del pipe.data[-1:]
    assert jobs.take(pipe) is None
