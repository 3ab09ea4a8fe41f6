"""Recorded histories: what was asked, when, and what came of it.

A history is a text file in UTF-8 with one JSON object a line. The first line is the header:

| member | type | meaning |
|---|---|---|
| `format` | text | always `intermute-history` |
| `version` | whole number | of this format: 1 |
| `server` | text | what was asked: its name and version, or its address |
| `started_at` | text | when, ISO 8601 in UTC, for people |
| `clock` | text | what the times are of; only histories of one clock can be merged |
| `settings` | object | how the run was made; `case_sensitive` (default true) is looked at |

Every other line is a call, in any order:

| member | type | meaning |
|---|---|---|
| `client` | text | who called; a client makes one call at a time |
| `invoke_ns` | whole number | when it began, nanoseconds of the clock |
| `return_ns` | whole number, null | when the answer was there; null when none came |
| `operation` | text | `reserve`, `renew`, `release`, `check`, `list`; others are not checked |
| `arguments` | object | see below |
| `outcome` | object, null | see below; null exactly when `return_ns` is |
| `project` | text, optional | whose state the call is about; empty if left out |
| `epoch`, `seq` | whole numbers, null, optional | the answer's place in the project's order |

A call without an answer (the connection broke, time ran out, a 503 that says that the outcome is
unknown) may have had its effect at any time after `invoke_ns`, or never. It must not be left out:
then its effect would look like one that nobody asked for.

Arguments, by operation:

| operation | arguments |
|---|---|
| `reserve` | `agent`, `patterns` (texts), `mode`, `ttl_ms`; optional `key`, `waits` |
| `renew` | `agent`, `reservation_id`; optional `ttl_ms`, `key` |
| `release` | `agent`, `reservation_id`; optional `key` |
| `check` | `patterns`, `mode`; optional `agent`, whose own are left out |
| `list` | optional `agent`, whose reservations are listed; of all if left out |

`mode` is `exclusive`, `shared`, `intent_exclusive`, `intent_shared` or `shared_intent_exclusive`.
`key` is the idempotency key; it names one request in its project. `waits` is true for a call that
stays on the line until it is granted: the grant of one that was not answered may lapse at any time.

Outcomes, by `kind`:

| kind | of | other members |
|---|---|---|
| `granted` | reserve | `reservation_id`; `fencing_token` (whole number) where there are such |
| `renewed` | renew | |
| `released` | release | |
| `conflict` | reserve, check, renew | optional `conflicts`, `waiting`, `more`; see below |
| `free` | check | |
| `listed` | list | `reservations`: their ids |
| `not_found` | renew, release | no such reservation, or none any more |
| `lapsed` | renew, release | the lease is over and may not be renewed |
| `not_owner` | renew, release | the reservation is somebody else's |
| `refused` | any | optional `code`: for a reason outside the model (limits, bad input) |

Of a conflict, `conflicts` are the ids of the reservations in the way, all of them unless `more` is
true; left out by a server that does not say. `waiting` are the ids of the tickets in the way.

In Python a `Recorder` writes the calls of one client, or of several in one process; `merge` puts
the files of several processes together. Their times can be compared because `time.monotonic_ns` is
one clock for all processes of a machine.
"""

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import attrs
import msgspec

FORMAT: Final = "intermute-history"
VERSION: Final = 1
MONOTONIC: Final = "monotonic"


class MalformedHistoryError(Exception):
    """A file that is no history; says which line, and why."""


@attrs.frozen(kw_only=True)
class Header:
    """What a history is of; see the table at the top of the module."""

    server: str
    started_at: str = attrs.field(
        factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds")
    )
    clock: str = MONOTONIC
    settings: dict[str, Any] = attrs.field(factory=dict)
    format: str = FORMAT
    version: int = VERSION


@attrs.frozen(kw_only=True, slots=True)
class Call:
    """One call and what came of it; see the tables at the top of the module."""

    client: str
    invoke_ns: int
    return_ns: int | None
    operation: str
    arguments: dict[str, Any]
    outcome: dict[str, Any] | None
    project: str = ""
    epoch: int | None = None
    seq: int | None = None


@attrs.frozen
class History:
    """A header and its calls, by the time at which they began."""

    header: Header
    calls: tuple[Call, ...]


@attrs.frozen(eq=False)
class Begun:
    """A call under way."""

    client: str
    operation: str
    arguments: dict[str, Any]
    project: str
    invoke_ns: int


class Recorder:
    """The calls of one process, in memory or appended to a file as they end.

    Not for several threads. A process that ends by `with` leaves no call out: what is under way at
    the end has an unknown outcome.

    Args:
        path: The file, which must not exist yet; None keeps the calls in `calls` instead.
        header: What the history is of.
    """

    def __init__(self, header: Header, path: Path | None = None) -> None:
        self.header = header
        self.calls: list[Call] = []
        self._under_way: set[Begun] = set()
        self._encoder = msgspec.json.Encoder()
        self._file: BinaryIO | None = None
        if path is not None:
            self._file = path.open("xb", buffering=1 << 16)
            self._write(header)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def begin(
        self, client: str, operation: str, arguments: Mapping[str, Any], *, project: str = ""
    ) -> Begun:
        """A call begins: right before its first byte is sent."""
        begun = Begun(client, operation, dict(arguments), project, time.monotonic_ns())
        self._under_way.add(begun)
        return begun

    def end(
        self,
        begun: Begun,
        outcome: Mapping[str, Any],
        *,
        epoch: int | None = None,
        seq: int | None = None,
        return_ns: int | None = None,
    ) -> None:
        """It was answered: now, right after the last byte came, or at `return_ns`."""
        at_ns = time.monotonic_ns() if return_ns is None else return_ns
        self._add(begun, at_ns, dict(outcome), epoch, seq)

    def unknown(self, begun: Begun) -> None:
        """It was not answered, or with an answer that says that the outcome is unknown."""
        self._add(begun, None, None, None, None)

    def flush(self) -> None:
        """Whatever has ended is in the file, though this process may be killed."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Every call under way has an unknown outcome, and everything is in the file."""
        for begun in sorted(self._under_way, key=lambda one: one.invoke_ns):
            self.unknown(begun)
        if self._file is not None:
            self._file.close()
            self._file = None

    def history(self) -> History:
        """What was kept in memory."""
        return History(self.header, by_time(self.calls))

    def _add(
        self,
        begun: Begun,
        return_ns: int | None,
        outcome: dict[str, Any] | None,
        epoch: int | None,
        seq: int | None,
    ) -> None:
        self._under_way.remove(begun)
        call = Call(
            client=begun.client,
            invoke_ns=begun.invoke_ns,
            return_ns=return_ns,
            operation=begun.operation,
            arguments=begun.arguments,
            outcome=outcome,
            project=begun.project,
            epoch=epoch,
            seq=seq,
        )
        if self._file is None:
            self.calls.append(call)
        else:
            self._write(call)

    def _write(self, line: Header | Call) -> None:
        assert self._file is not None
        self._file.write(self._encoder.encode(line) + b"\n")


def by_time(calls: Iterable[Call]) -> tuple[Call, ...]:
    """Calls in the order in which they began."""
    return tuple(sorted(calls, key=lambda call: (call.invoke_ns, call.client)))


def write(path: Path, history: History) -> None:
    """Write a history to a file, in place of what is there."""
    encoder = msgspec.json.Encoder()
    with path.open("wb") as file:
        for line in (history.header, *history.calls):
            file.write(encoder.encode(line) + b"\n")


def read(path: Path) -> History:
    """The history in a file.

    Raises:
        MalformedHistoryError: It is not one.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        header = _header(path, file.readline())
        decoder = msgspec.json.Decoder()
        calls = []
        for number, line in enumerate(file, 2):
            if line.isspace():
                continue
            try:
                members = decoder.decode(line)
                call = msgspec.convert(members, Call)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise MalformedHistoryError(f"{path}:{number}: {error}") from None
            wrong = _wrong(call) or _unknown(members)
            if wrong is not None:
                raise MalformedHistoryError(f"{path}:{number}: {wrong}")
            calls.append(call)
    history = History(header, by_time(calls))
    overlapping = two_at_once(history.calls)
    if overlapping is not None:
        raise MalformedHistoryError(f"{path}: {overlapping}")
    return history


def merge(histories: Iterable[History]) -> History:
    """One history of several that were recorded beside each other, with the settings of the first.

    Raises:
        ValueError: There is none, or their clocks differ.
    """
    every = list(histories)
    if not every:
        raise ValueError("there is no history to merge")
    clocks = {history.header.clock for history in every}
    if len(clocks) > 1:
        raise ValueError(f"times of different clocks cannot be compared: {sorted(clocks)}")
    return History(every[0].header, by_time(call for history in every for call in history.calls))


def two_at_once(calls: Iterable[Call]) -> str | None:
    """Which client is said to have made two calls at a time, of calls in the order of time.

    A client whose call had no answer may go on: the call is over for it, and not for the server.
    """
    until_ns: dict[str, int] = {}
    for call in calls:
        if call.invoke_ns < until_ns.get(call.client, call.invoke_ns):
            return (
                f"client {call.client!r} began {call.operation} at {call.invoke_ns} ns, before its "
                f"last call was over, at {until_ns[call.client]} ns"
            )
        until_ns[call.client] = call.invoke_ns if call.return_ns is None else call.return_ns
    return None


def _header(path: Path, line: bytes) -> Header:
    if not line:
        raise MalformedHistoryError(f"{path}:1: no header of a history: the file is empty")
    try:
        header = msgspec.json.decode(line, type=Header)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedHistoryError(f"{path}:1: no header of a history: {error}") from None
    if header.format != FORMAT:
        raise MalformedHistoryError(f"{path}:1: no header of a history: format {header.format!r}")
    if header.version != VERSION:
        raise MalformedHistoryError(
            f"{path}:1: a history of version {header.version}; this reads version {VERSION}"
        )
    return header


_MEMBERS: Final = frozenset(member.name for member in attrs.fields(Call))


def _unknown(members: Mapping[str, Any]) -> str | None:
    """A member that is misspelt would be taken for one that was left out."""
    if members.keys() <= _MEMBERS:
        return None
    return f"unknown members {sorted(members.keys() - _MEMBERS)}"


def _wrong(call: Call) -> str | None:
    """What cannot be of a call whose members have the right types."""
    if (call.return_ns is None) != (call.outcome is None):
        return "`return_ns` and `outcome` are null together or not at all"
    if call.return_ns is not None and call.return_ns < call.invoke_ns:
        return f"it returned at {call.return_ns} ns, before it began at {call.invoke_ns} ns"
    if (call.epoch is None) != (call.seq is None):
        return "`epoch` and `seq` are given together or not at all"
    if call.epoch is not None and call.outcome is None:
        return "a call without an answer cannot have `epoch` and `seq`"
    return None
