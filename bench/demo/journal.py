"""Journals: what each agent writes down as it goes, one JSON object a line.

The live table reads them while they grow, and the proof reads them at the end. Each record
carries the wall clock and the machine's monotonic clock at which it was written.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import msgspec

from bench.demo.evidence import Conflict, Edit, Hold


@attrs.frozen
class Record:
    """One line. `what` is one word; `data` depends on it."""

    agent: str
    at_us: int
    mono_ns: int
    what: str
    data: dict[str, Any] = attrs.field(factory=dict)


class Journal:
    """One agent's journal, written by nobody else. A record is in the file when `note` returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self.agent = ""

    def note(self, what: str, **data: object) -> Record:
        """Write one record, stamped now."""
        record = Record(self.agent, time.time_ns() // 1000, time.monotonic_ns(), what, data)
        self._file.write(msgspec.json.encode(record) + b"\n")
        return record


class Follower:
    """Reads a journal that somebody else is still writing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""

    def read(self) -> list[Record]:
        """The records that were added since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                added = file.read()
        except FileNotFoundError:
            return []
        self._offset += len(added)
        *lines, self._rest = (self._rest + added).split(b"\n")
        return [msgspec.json.decode(line, type=Record) for line in lines]


def edits_of(records: Iterable[Record]) -> list[Edit]:
    """The edits that were committed, from before the file was read until Git had returned."""
    started: dict[str, Record] = {}
    edits = []
    for record in records:
        if record.what == "editing":
            started[record.data["edit"]] = record
        elif record.what == "committed":
            first = started[record.data["edit"]]
            edits.append(
                Edit(
                    edit=record.data["edit"],
                    agent=record.agent,
                    reservation=first.data["reservation"],
                    path=first.data["path"],
                    started_us=first.at_us,
                    finished_us=record.at_us,
                )
            )
    return edits


def holds_of(records: Iterable[Record]) -> list[Hold]:
    """The times in which agents believed to hold something, on the monotonic clock."""
    granted: dict[str, Record] = {}
    ended: dict[str, int] = {}
    for record in records:
        if record.what == "granted":
            granted[record.data["reservation"]] = record
        elif record.what == "releasing":
            ended[record.data["reservation"]] = record.mono_ns
    return [
        Hold(
            agent=record.agent,
            reservation=reservation,
            patterns=tuple(record.data["patterns"]),
            exclusive=record.data["exclusive"],
            start=record.mono_ns,
            end=ended.get(reservation),
        )
        for reservation, record in granted.items()
    ]


def conflicts_of(records: Iterable[Record]) -> list[Conflict]:
    """One conflict for each reservation that a refusal named."""
    return [
        Conflict(
            agent=record.agent,
            exclusive=record.data["exclusive"],
            asked_us=record.data["asked_us"],
            answered_us=record.at_us,
            reservation=conflict["reservation_id"],
            holder=conflict["agent_id"],
            witness=conflict["witness"],
        )
        for record in records
        if record.what == "refused"
        for conflict in record.data["conflicts"]
    ]
