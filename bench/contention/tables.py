"""What a run found, as tables that the terminal and the page show alike."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import attrs

from bench.contention.results import (
    Curve,
    Generator,
    Measured,
    Run,
    Series,
    Workload,
    names_of,
)
from bench.contention.turns import rate_of, ratio
from bench.report import Figure, number
from intermute.cli.wording import plain


class Mark(StrEnum):
    """What a cell is to be noticed for."""

    NONE = ""
    GOOD = "good"
    BAD = "bad"
    CAREFUL = "careful"


@attrs.frozen
class Cell:
    """One cell: printable text, and the name of the target it is about, for its colour."""

    text: str = ""
    mark: Mark = Mark.NONE
    target: str | None = None


@attrs.frozen
class Table:
    """A table: the first column has names, the others numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def duration(us: float | None) -> str:
    """A time in microseconds with its fitting unit."""
    if us is None:
        return ""
    if us < 1_000:
        return f"{us:.0f} µs"
    if us < 1_000_000:
        return f"{us / 1_000:.3g} ms"
    return f"{us / 1_000_000:,.1f} s" if us >= 100_000_000 else f"{us / 1_000_000:.3g} s"


def tables(workload: Workload) -> list[Table]:
    """The tables of a workload that have something to say, but for those of its curves."""
    found = [_calls(workload), _figures(workload), _generators(workload)]
    return [table for table in found if table.rows]


def targets(run: Run) -> Table:
    """The servers that took part."""
    rows = tuple(
        (
            Cell(plain(target.name), target=target.name),
            Cell(plain(target.url)),
            Cell(plain(", ".join(target.capabilities))),
            Cell(members(target.says)),
        )
        for target in run.targets
    )
    return Table("Targets", ("target", "url", "can do", "says of itself"), rows)


def surroundings(run: Run) -> Table:
    """Where and with what it was measured, one thing a row."""
    commit = "outside a repository"
    if run.commit is not None:
        commit = f"{run.commit}{', with changes' if run.changed else ''}"
    facts = {
        "began": run.at,
        "took": f"{run.seconds:,.0f} s",
        "scale": run.scale.value,
        "commit": commit,
        **{name.replace("_", " "): _value(fact) for name, fact in run.machine.items()},
        "versions": members(run.versions),
        "settings": members(run.settings),
    }
    rows = tuple((Cell(plain(name)), Cell(plain(fact))) for name, fact in facts.items() if fact)
    return Table("Machine and settings", ("", ""), rows)


def verdict(run: Run) -> tuple[Cell, ...]:
    """What matters most, each in a few words: violations, missed targets, weak generators."""
    broken = sum(len(each.violations) + each.violations_more for each in run.workloads)
    every = [at for workload in run.workloads for at in workload.measured]
    figures = [figure for measured in every for figure in measured.figures]
    missed = sum(figure.reached is False for figure in figures)
    promised = sum(figure.reached is not None for figure in figures)
    unmeasured = sum(len(at.unmeasured) for at in every)
    limited = sum(at.generator is not None and at.generator.limited for at in every)
    said = [Cell("incomplete", Mark.BAD)] if run.incomplete else []
    said += [
        Cell(_plural(broken, "violation"), Mark.BAD if broken else Mark.GOOD),
        Cell(
            f"{promised - missed} of {_plural(promised, 'promised figure')} reached",
            Mark.BAD if missed else Mark.GOOD,
        ),
    ]
    skipped = sum(len(workload.skipped) for workload in run.workloads)
    if skipped:
        said.append(Cell(f"{skipped} skipped", Mark.CAREFUL))
    if unmeasured:
        said.append(Cell(f"{_plural(unmeasured, 'figure')} not measured", Mark.CAREFUL))
    said += [Cell(text, Mark.BAD) for text in _unmeasured(run)]
    if limited:
        said.append(Cell(f"{limited} limited by the load generator", Mark.CAREFUL))
    return tuple(said)


def _unmeasured(run: Run) -> list[str]:
    """Which targets did not answer as they should, and in what, one line each."""
    lost: dict[str, list[str]] = {}
    for workload in run.workloads:
        for each in workload.unmeasured:
            lost.setdefault(each.target, []).append(workload.name)
    return [plain(f"{name} not measured in {', '.join(names)}") for name, names in lost.items()]


def warnings(workload: Workload) -> list[str]:
    """Why the figures of a workload are to be read with care, the generator's verdicts included."""
    generators = [
        f"{measured.target}: {measured.generator.verdict or 'the load generator was the limit'}"
        for measured in workload.measured
        if measured.generator is not None and measured.generator.limited
    ]
    return [plain(text) for text in (*workload.warnings, *generators)]


def violations(workload: Workload) -> list[str]:
    """What no target may do and one did, and how often besides."""
    more = workload.violations_more
    return [*map(plain, workload.violations), *([f"and {more:,} more"] if more else [])]


def members(values: Mapping[str, Any]) -> str:
    """Names and values on one line."""
    return plain(", ".join(f"{name} {_value(value)}" for name, value in values.items()))


def _value(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, Mapping):
        return members(value)
    if isinstance(value, list | tuple):
        return ", ".join(_value(each) for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, float) else str(value)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


_CALLS = (
    "ok",
    "refused",
    "failed",
    "unknown",
    "per second",
    "median",
    "90 %",
    "99 %",
    "99.9 %",
    "max",
    "refused in (99 %)",
)


def _calls(workload: Workload) -> Table:
    """One row for each series and target, those of the same series below each other."""
    first = workload.measured[0] if workload.measured else None
    several = len(workload.measured) > 1
    rows: list[tuple[Cell, ...]] = []
    for name in names_of(at.name for each in workload.measured for at in each.series):
        shown = plain(name)
        for measured in workload.measured:
            for series in measured.series:
                if series.name != name:
                    continue
                against = _against(measured, first, name) if several else ()
                row = (Cell(shown), _target(measured), *_of_series(measured, series), *against)
                rows.append(row)
                shown = ""
    against_first = (f"median against {plain(first.target)}",) if several and first else ()
    columns = ("calls", "target", *_CALLS, *against_first)
    return _without_empty(Table("Calls", columns, tuple(rows)))


def _of_series(measured: Measured, series: Series) -> tuple[Cell, ...]:
    refused = ", ".join(
        f"{times:,} with {status}" for status, times in sorted(series.refused.items())
    )
    rate = rate_of(measured, series)
    paced = "" if rate is None else number(rate)
    if series.intended_rate is not None:
        paced = f"{paced} of {number(series.intended_rate)}"
    shares = (0.5, 0.9, 0.99, 0.999, 1)
    latency, refusals = series.latency, series.refusals
    return (
        Cell(f"{series.ok:,}"),
        Cell(refused),
        Cell(f"{series.failed:,}" if series.failed else "", Mark.BAD),
        Cell(f"{series.unknown:,}" if series.unknown else "", Mark.CAREFUL),
        Cell(paced),
        *(Cell(duration(latency.quantile(at)) if latency.counts else "") for at in shares),
        Cell(duration(refusals.quantile(0.99)) if refusals.counts else ""),
    )


def _against(measured: Measured, first: Measured | None, series: str) -> tuple[Cell, ...]:
    if first is None or measured is first:
        return (Cell(""),)
    found = ratio(measured, first, series)
    if found is None:
        return (Cell("no turn in common"),)
    spread = f"{found.least:.2f} to {found.most:.2f} in {_plural(found.turns, 'turn')}"
    return (Cell(f"{found.value:.2f} times ({spread})"),)


def _without_empty(table: Table) -> Table:
    """The table without the columns in which nothing is said, but for the first two."""
    kept = [
        at for at in range(len(table.columns)) if at < 2 or any(row[at].text for row in table.rows)
    ]
    return Table(
        table.title,
        tuple(table.columns[at] for at in kept),
        tuple(tuple(row[at] for at in kept) for row in table.rows),
    )


_STANDING = {True: Mark.GOOD, False: Mark.BAD, None: Mark.NONE}


def _figures(workload: Workload) -> Table:
    """Named figures, one a row, the targets side by side."""
    rows = []
    measured_names = [at.name for each in workload.measured for at in each.figures]
    others = [name for each in workload.measured for name in each.unmeasured]
    for name in names_of([*measured_names, *others]):
        cells = [Cell(plain(name))]
        for measured in workload.measured:
            found = [figure for figure in measured.figures if figure.name == name]
            if name in measured.unmeasured:
                cells.append(Cell("not measured", Mark.CAREFUL))
            else:
                cells.append(_figure(found[0]) if found else Cell())
        rows.append(tuple(cells))
    heads = tuple(plain(measured.target) for measured in workload.measured)
    return Table("Figures", ("figure", *heads), tuple(rows))


def _figure(figure: Figure) -> Cell:
    text = f"{number(figure.value)} {figure.unit}".rstrip()
    if figure.spread is not None and figure.spread[0] != figure.spread[1]:
        text += f" ({number(figure.spread[0])} to {number(figure.spread[1])})"
    if figure.target is not None:
        standing = "reached" if figure.reached else "MISSED"
        text += f", {figure.bound.value} {number(figure.target)}: {standing}"
    return Cell(plain(text), _STANDING[figure.reached])


def curves(workload: Workload, name: str) -> Iterable[tuple[Measured, Curve, str]]:
    """Every curve of that name, with its target and the text that tells it apart."""
    for measured in workload.measured:
        for curve in measured.curves:
            if curve.name == name:
                apart = f"{measured.target}, {curve.line}" if curve.line else measured.target
                yield measured, curve, plain(apart)


def curve_names(workload: Workload) -> list[str]:
    """The names of the curves of a workload, each once."""
    return names_of(at.name for each in workload.measured for at in each.curves)


def of_curve(workload: Workload, name: str) -> Table:
    """The curves of a name: x in the rows, targets side by side."""
    found = list(curves(workload, name))
    x, y = found[0][1].x, found[0][1].y
    places = sorted({point.x for _, curve, _ in found for point in curve.points})
    by_place = [{point.x: point.y for point in curve.points} for _, curve, _ in found]
    rows = tuple(
        (
            Cell(plain(f"{number(place)} {x.unit}".rstrip())),
            *(Cell(number(each[place]) if place in each else "") for each in by_place),
        )
        for place in places
    )
    title = f"{name}: {y.name}{f' in {y.unit}' if y.unit else ''}"
    heads = (plain(x.name), *(apart for _, _, apart in found))
    return Table(plain(title), heads, rows)


def _generators(workload: Workload) -> Table:
    """How the load generator fared with each target."""
    rows = tuple(
        (_target(measured), *_of_generator(measured.generator))
        for measured in workload.measured
        if measured.generator is not None
    )
    columns = (
        *("target", "processes", "busiest", "starved", "late (50 %)", "late (99 %)"),
        *("without a connection", "loop lag (99 %)", ""),
    )
    return _without_empty(Table("Load generator", columns, rows))


def _of_generator(generator: Generator) -> Sequence[Cell]:
    starved = generator.starved_share
    late, lag, waited = generator.late_us, generator.lag_us, generator.waited_us
    return (
        Cell(str(generator.processes)),
        Cell(f"{100 * generator.cpu_share:.0f} % of a processor"),
        Cell("" if starved is None else f"{100 * starved:.1f} % of the time"),
        Cell(duration(late.quantile(0.5)) if late.counts else ""),
        Cell(duration(late.quantile(0.99)) if late.counts else ""),
        Cell(f"{waited.count:,} calls" if waited.counts else ""),
        Cell(duration(lag.quantile(0.99)) if lag.counts else ""),
        Cell(plain(generator.verdict), Mark.CAREFUL if generator.limited else Mark.NONE),
    )


def _target(measured: Measured) -> Cell:
    return Cell(plain(measured.target), target=measured.target)
