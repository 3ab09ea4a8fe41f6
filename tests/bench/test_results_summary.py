"""The terminal summary: targets side by side, what went wrong in red, nothing left out."""

import io

import attrs
import pytest
from rich.console import Console

from bench.contention import summary, tables
from bench.contention.results import Measured, Run, Series, Skipped, Workload
from bench.contention.tables import Cell, Mark, duration
from bench.report import Figure, Scale

from .samples import sample

EMPTY = Run("2026-01-02T03:04:05+00:00", Scale.TINY, {}, {})


def shown(run, *, width=170, colour=False):
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        legacy_windows=False,
        _environ={},
    )
    summary.show(run, console)
    return console.file.getvalue()


def line_with(text, *words):
    found = [line for line in text.splitlines() if all(word in line for word in words)]
    assert found, words
    return found[0]


def test_targets_are_side_by_side_with_their_ratio():
    text = shown(sample())
    lines = text.splitlines()
    first = next(at for at, line in enumerate(lines) if "reserve" in line and "intermute" in line)
    assert "old build" in lines[first + 1]
    assert "times (" in lines[first + 1]
    assert "in 4 turns)" in lines[first + 1]
    assert "times (" not in lines[first]
    figure = line_with(text, "oldest wait")
    assert figure.index("12.5 ms, at most 50: reached") < figure.index(
        "52.5 ms, at most 50: MISSED"
    )
    assert "723 with 503" in line_with(text, "170.7 of 200")
    assert line_with(text, "100,000").split() == ["100,000", "7.000", "42.0"]


def test_what_is_missing_or_wrong_is_said():
    text = shown(sample())
    assert "old build: skipped, it cannot be driven in open loop" in text
    assert "VIOLATION  old build: two exclusive grants" in text
    assert "! intermute: a client process was busy 97 % of the time" in text
    assert "! the machine was busy with something else" in text
    assert "! one run only" in text
    verdict = "1 violation · 3 of 4 promised figures reached · 1 skipped"
    assert f"{verdict} · 1 limited by the load generator" in text


def test_violations_are_red_and_warnings_yellow():
    text = shown(sample(), colour=True)
    assert "\x1b[1;31mVIOLATION" in text
    assert "\x1b[33m! the machine was busy" in text
    assert "\x1b[31m" not in shown(EMPTY, colour=True)


def test_a_run_with_nothing_in_it_can_be_shown():
    assert "0 violations · 0 of 0 promised figures reached" in shown(EMPTY)


def test_the_verdict_counts_each_kind():
    everything_well = attrs.evolve(
        EMPTY,
        workloads=(Workload("w", "t", measured=(Measured("a", figures=(Figure("f", 3, "s"),)),)),),
    )
    assert [cell.mark for cell in tables.verdict(everything_well)] == [Mark.GOOD, Mark.GOOD]
    assert [cell.mark for cell in tables.verdict(sample())] == [
        Mark.BAD,
        Mark.BAD,
        Mark.CAREFUL,
        Mark.CAREFUL,
    ]


def test_names_from_elsewhere_are_only_text():
    name = "[red]a[/] \x1b[2J"
    workload = Workload(
        name,
        name,
        settings={name: name},
        measured=(Measured(name, (Series(name, ok=3),), figures=(Figure(name, 1, name),)),),
        skipped=(Skipped(name, name),),
        violations=(name,),
        warnings=(name,),
    )
    text = shown(attrs.evolve(EMPTY, workloads=(workload,), warnings=(name,)), width=400)
    assert "\x1b" not in text
    assert "VIOLATION  [red]a[/] \N{REPLACEMENT CHARACTER}[2J" in text
    assert text.count("[red]a[/]") == 14


def test_calls_without_an_answer_have_no_latency():
    series = Series("reserve", unknown=4)
    workload = Workload("w", "t", measured=(Measured("a", (series,)),))
    table = tables.tables(workload)[0]
    assert table.columns == ("calls", "target", "ok", "unknown")
    assert table.rows[0][1:] == (
        Cell("a", target="a"),
        Cell("0"),
        Cell("4", Mark.CAREFUL),
    )


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (None, ""),
        (0, "0 µs"),
        (999, "999 µs"),
        (1_000, "1 ms"),
        (12_340, "12.3 ms"),
        (999_400, "999 ms"),
        (1_500_000, "1.5 s"),
        (4_000_000_000, "4,000.0 s"),
    ],
)
def test_times_are_written_with_their_fitting_unit(us, text):
    assert duration(us) == text
