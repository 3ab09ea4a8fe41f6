"""How the demo looks: a live table on a terminal, a line now and then anywhere else."""

import time
from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bench.demo.board import HAPPENINGS_MAX, Board, Row
from bench.demo.proof import Check

FINDINGS_SHOWN_MAX = 5
_REFRESH_HZ = 8
_LINE_PERIOD_S = 1.0
_INDENT = " " * 10
_FIELDS = {"given up": "given_up", "git retries": "retried"}
_STATE_STYLES = {
    "editing": "bold green",
    "holding": "green",
    "reading": "cyan",
    "waiting": "yellow",
    "asking": "dim",
    "resting": "dim",
    "starting": "dim",
    "ready": "dim",
    "done": "blue",
    "failed": "bold red",
}


class Display:
    """Shows a board while the agents work."""

    def __init__(self, console: Console, board: Board, *, rounds: int) -> None:
        self._console = console
        self._board = board
        self._rounds = rounds
        self._started_s = time.monotonic()
        self._line_s = self._started_s
        self._live: Live | None = None
        if console.is_terminal:
            self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> "Display":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def period_s(self) -> float:
        """How long to wait between two updates."""
        return 1 / _REFRESH_HZ

    def update(self) -> None:
        """Show the board as it is now, if it is time to."""
        now_s = time.monotonic()
        if self._live is not None:
            self._live.update(self._screen(now_s), refresh=True)
        elif now_s - self._line_s >= _LINE_PERIOD_S:
            self._line_s = now_s
            self._console.print(self._line(now_s), soft_wrap=True)

    def finish(self) -> None:
        """Show how it ended."""
        if self._live is not None:
            self._live.update(self._summary(), refresh=True)
        else:
            self._console.print(self._summary())

    def _screen(self, now_s: float) -> Group:
        happenings = [
            Text(f"  {text}", style="dim", no_wrap=True, overflow="ellipsis")
            for text in self._board.happenings
        ]
        # Always as many lines, so that the table does not jump.
        happenings += [Text("")] * (HAPPENINGS_MAX - len(happenings))
        elapsed = Text(f"  {now_s - self._started_s:.0f} s, latest conflicts:", style="dim")
        return Group(self._table(), elapsed, *happenings)

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, expand=True, show_footer=True, pad_edge=False)
        table.add_column("agent", footer="all", no_wrap=True)
        table.add_column("state", ratio=4, no_wrap=True, overflow="ellipsis")
        table.add_column("holding", ratio=5, no_wrap=True, overflow="ellipsis")
        self._add_numbers(table, "grants", "conflicts", "commits")
        for row in self._board.rows:
            table.add_row(
                Text(row.name),
                _state(row),
                Text(row.holding),
                f"{row.round}/{self._rounds}",
                f"{row.grants:,}",
                f"{row.conflicts:,}",
                f"{row.commits:,}",
            )
        return table

    def _summary(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False)
        table.add_column("agent", footer="all", no_wrap=True)
        columns = ("grants", "conflicts", "given up", "commits", "git retries")
        self._add_numbers(table, *columns)
        for row in self._board.rows:
            numbers = (row.grants, row.conflicts, row.given_up, row.commits, row.retried)
            table.add_row(
                Text(row.name),
                f"{row.round}/{self._rounds}",
                *(f"{number:,}" for number in numbers),
            )
        return table

    def _add_numbers(self, table: Table, *columns: str) -> None:
        table.add_column("rounds", justify="right", no_wrap=True)
        for column in columns:
            footer = f"{self._board.total(_FIELDS.get(column, column)):,}"
            table.add_column(column, footer=footer, justify="right", no_wrap=True)

    def _line(self, now_s: float) -> Text:
        board = self._board
        states = Counter(row.state for row in board.rows)
        busy = ", ".join(f"{count} {state}" for state, count in states.most_common())
        return Text(
            f"{now_s - self._started_s:4.0f} s  {board.total('grants'):5,} grants "
            f"{board.total('conflicts'):5,} conflicts {board.total('commits'):5,} commits   {busy}"
        )


def print_checks(console: Console, checks: Sequence[Check]) -> None:
    """Each claim with its outcome, and the counterexamples below it."""
    width = max(len(check.claim) for check in checks)
    for check in checks:
        verdict = Text("FAILED", style="bold red") if check.findings else Text("ok", style="green")
        line = Text("  ").append(verdict).append(" " * (8 - len(verdict)))
        line.append(check.claim.ljust(width + 2)).append(check.extent, style="dim")
        console.print(line, soft_wrap=True)
        for finding in check.findings[:FINDINGS_SHOWN_MAX]:
            told = finding.replace("\n", f"\n{_INDENT}    ")
            console.print(Text(f"{_INDENT}{told}", style="red"), soft_wrap=True)
        more = len(check.findings) - FINDINGS_SHOWN_MAX
        if more > 0:
            console.print(Text(f"{_INDENT}and {more:,} more", style="red"))


def _state(row: Row) -> Text:
    text = Text(row.state, style=_STATE_STYLES.get(row.state, ""))
    return text.append(f" {row.about}", style="default") if row.about else text
