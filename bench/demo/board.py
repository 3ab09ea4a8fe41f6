"""What is going on, told from the agents' journals: one row for each agent, and the totals."""

from collections.abc import Iterable, Sequence

import attrs

from bench.demo.journal import Record

HAPPENINGS_MAX = 4


@attrs.define
class Row:
    """One agent as of its last record."""

    name: str
    state: str = "starting"
    about: str = ""
    holding: str = ""
    round: int = 0
    grants: int = 0
    conflicts: int = 0
    commits: int = 0
    retried: int = 0
    given_up: int = 0


class Board:
    """All agents. `happenings` are the latest conflicts, as sentences, oldest first."""

    def __init__(self, names: Sequence[str]) -> None:
        self.rows = [Row(name) for name in names]
        self.happenings: list[str] = []
        self._names: dict[str, str] = {}

    def apply(self, ordinal: int, records: Iterable[Record]) -> None:
        """Take in what the agent with this ordinal has written since the last time."""
        row = self.rows[ordinal]
        for record in records:
            self._apply(row, record)

    def total(self, column: str) -> int:
        """The sum of one of the counting columns."""
        return sum(getattr(row, column) for row in self.rows)

    def _apply(self, row: Row, record: Record) -> None:
        data = record.data
        match record.what:
            case "registered":
                self._names[record.agent] = row.name
                row.state = "ready"
            case "round":
                row.round = data["ordinal"]
            case "asking":
                row.state, row.about = "asking", _listed(data["patterns"])
            case "refused":
                row.conflicts += 1
                self._refused(row, data["conflicts"][0])
            case "granted":
                row.grants += 1
                row.holding = ("" if data["exclusive"] else "(shared) ") + _listed(data["patterns"])
                row.state, row.about = ("holding" if data["exclusive"] else "reading"), ""
            case "editing":
                row.state, row.about = "editing", data["path"]
            case "committed":
                row.commits += 1
                row.retried += data["tries"] - 1
                row.state, row.about = "holding", ""
            case "without":
                row.given_up += 1
                row.state, row.about = "resting", ""
            case "released":
                row.state, row.about, row.holding = "resting", "", ""
            case "done":
                row.state, row.about = "done", ""
            case "failed":
                row.state, row.about = "failed", data["reason"]

    def _refused(self, row: Row, conflict: dict[str, str]) -> None:
        holder = self._names.get(conflict["agent_id"], conflict["held_by"])
        row.state, row.about = "waiting", f"for {holder}"
        mode = "exclusively" if conflict["exclusive"] else "shared"
        wanted, held = conflict["requested"], conflict["pattern"]
        self.happenings.append(f"{row.name} wanted {wanted}: {holder} holds {held} {mode}")
        del self.happenings[:-HAPPENINGS_MAX]


def _listed(patterns: Sequence[str]) -> str:
    return ", ".join(patterns)
