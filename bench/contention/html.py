"""The page of a run: one file with everything in it, that opens without a network."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.contention import pictures, plots, tables
from bench.contention.results import Run, Workload
from intermute.cli.wording import plain


def write(run: Run, path: Path) -> None:
    """Write the page of a run."""
    path.write_text(page(run), encoding="utf-8")


def page(run: Run) -> str:
    """The page as text. Every text of the run is escaped; the drawings are built escaped."""
    named = [target.name for target in run.targets]
    named += [measured.target for each in run.workloads for measured in each.measured]
    styles = {name: style for style, name in enumerate(dict.fromkeys(named))}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        run=run,
        verdict=tables.verdict(run),
        targets=tables.targets(run),
        surroundings=tables.surroundings(run),
        workloads=[_workload(each, styles) for each in run.workloads],
        swatches={name: Markup(plots.swatch(style)) for name, style in styles.items()},
        plain=plain,
    )


def _workload(workload: Workload, styles: pictures.Styles) -> dict[str, Any]:
    """What the template shows of a workload."""
    drawn = [
        (plain(name), [Markup(each) for each in pictures.of_series(workload, name, styles)])
        for name in pictures.series_names(workload)
    ]
    return {
        "name": plain(workload.name),
        "title": plain(workload.title),
        "seconds": workload.seconds,
        "settings": tables.members(workload.settings),
        "tables": tables.tables(workload),
        "warnings": tables.warnings(workload),
        "incomplete": plain(workload.incomplete),
        "violations": tables.violations(workload),
        "skipped": [(plain(each.target), plain(each.reason)) for each in workload.skipped],
        "curves": [
            (Markup(pictures.of_curve(workload, name, styles)), tables.of_curve(workload, name))
            for name in tables.curve_names(workload)
        ],
        "series": drawn,
    }
