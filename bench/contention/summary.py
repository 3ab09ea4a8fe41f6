"""The summary of a run in the terminal."""

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table as RichTable
from rich.text import Text

from bench.contention import tables
from bench.contention.results import Run, Workload
from bench.contention.tables import Cell, Mark, Table
from intermute.cli.wording import plain

_STYLES = {Mark.NONE: "", Mark.GOOD: "green", Mark.BAD: "bold red", Mark.CAREFUL: "yellow"}


def show(run: Run, console: Console | None = None) -> None:
    """Print what the run found, on standard output when no console is given."""
    console = console or Console()
    for workload in run.workloads:
        console.print(of_workload(workload))
    lines = (
        [Text(f"INCOMPLETE  {plain(run.incomplete)}", style="bold red")] if run.incomplete else []
    )
    lines += [Text(f"! {plain(text)}", style="yellow") for text in run.warnings]
    verdict = Text(" · ").join(_text(cell) for cell in tables.verdict(run))
    console.print(Panel(Group(verdict, *lines), title="the run", box=box.ROUNDED, expand=False))


def of_workload(workload: Workload) -> RenderableType:
    """One workload: its tables, who was skipped, what went wrong."""
    head = Text(f"\n{plain(workload.name)}", style="bold")
    head.append(f"  {plain(workload.title)}", style="not bold")
    head.append(f"  ({workload.seconds:,.0f} s)", style="not bold dim")
    parts: list[RenderableType] = [head]
    if workload.settings:
        parts.append(Text(tables.members(workload.settings), style="dim"))
    curves = [tables.of_curve(workload, name) for name in tables.curve_names(workload)]
    parts += [_table(table) for table in (*tables.tables(workload), *curves)]
    for skipped in workload.skipped:
        parts.append(Text(f"- {plain(skipped.target)}: skipped, {plain(skipped.reason)}", "dim"))
    if workload.incomplete:
        parts.append(Text(f"INCOMPLETE  {plain(workload.incomplete)}", style="bold red"))
    parts += [Text(f"! {text}", style="yellow") for text in tables.warnings(workload)]
    parts += [Text(f"VIOLATION  {text}", style="bold red") for text in tables.violations(workload)]
    return Group(*parts)


def _table(table: Table) -> RichTable:
    shown = RichTable(box=box.SIMPLE_HEAD, title=Text(table.title), title_justify="left")
    numbers = 2 if "target" in table.columns[:2] else 1
    for at, column in enumerate(table.columns):
        shown.add_column(Text(column), justify="left" if at < numbers else "right")
    for row in table.rows:
        shown.add_row(*(_text(cell) for cell in row))
    return shown


def _text(cell: Cell) -> Text:
    return Text(cell.text, style=_STYLES[cell.mark])
