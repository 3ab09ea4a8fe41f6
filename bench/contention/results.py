"""What a run of the harness found, as values that go into JSON and come back the same.

Every number has to be finite: JSON has no other.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import msgspec

from bench.contention.histogram import Histogram
from bench.report import Figure, Scale

FORMAT = 1
_CHANGED = " and changes"


@attrs.define
class Second:
    """What came back within one second."""

    ok: int = 0
    refused: int = 0
    failed: int = 0

    def merge(self, other: "Second") -> None:
        """Add the counts of the same second from elsewhere."""
        self.ok += other.ok
        self.refused += other.refused
        self.failed += other.failed


@attrs.define
class Series:
    """Calls of one kind to one target: filled while they are made, and merged over processes.

    Attributes:
        name: What they have in common, such as `reserve` or `8 clients`. Series of the same name
            of several targets are shown in one plot.
        ok: How many had the answer that was wanted.
        refused: How many were turned away, by HTTP status (a WebSocket error has one as well).
        failed: How many had an answer that no client should get, or none because the connection
            was refused: they certainly, or as far as can be told, had no effect.
        unknown: How many may have had an effect or not: the answer never came.
        latency: Of the calls that were ok. In open loop it counts from the intended time of the
            call, not from when the generator got round to it.
        refusals: Latency of those that were refused.
        seconds: What came back in each second since the workload began, by the number of that
            second; seconds in which nothing came back may be missing.
        intended_rate: Calls a second that were to be made in open loop; None in closed loop.
    """

    name: str
    ok: int = 0
    refused: dict[int, int] = attrs.field(factory=dict)
    failed: int = 0
    unknown: int = 0
    latency: Histogram = attrs.field(factory=Histogram)
    refusals: Histogram = attrs.field(factory=Histogram)
    seconds: dict[int, Second] = attrs.field(factory=dict)
    intended_rate: float | None = None

    @property
    def count(self) -> int:
        """How many calls were made."""
        return self.ok + sum(self.refused.values()) + self.failed + self.unknown

    def record_ok(self, latency_us: float, at_s: float) -> None:
        """A call that had the wanted answer, `at_s` seconds after the workload began."""
        self.ok += 1
        self.latency.record(latency_us)
        self._second(at_s).ok += 1

    def record_refused(self, status: int, latency_us: float, at_s: float) -> None:
        """A call that was turned away with this status."""
        self.refused[status] = self.refused.get(status, 0) + 1
        self.refusals.record(latency_us)
        self._second(at_s).refused += 1

    def record_failed(self, at_s: float) -> None:
        """A call that failed and had no effect."""
        self.failed += 1
        self._second(at_s).failed += 1

    def record_unknown(self, at_s: float) -> None:
        """A call of which nobody knows whether it had an effect."""
        self.unknown += 1
        self._second(at_s).failed += 1

    def merge(self, other: "Series") -> None:
        """Add the calls of another process; both count seconds from the same moment."""
        self.ok += other.ok
        self.failed += other.failed
        self.unknown += other.unknown
        self.latency.merge(other.latency)
        self.refusals.merge(other.refusals)
        for status, times in other.refused.items():
            self.refused[status] = self.refused.get(status, 0) + times
        for at, second in other.seconds.items():
            self.seconds.setdefault(at, Second()).merge(second)
        if other.intended_rate is not None:
            self.intended_rate = (self.intended_rate or 0.0) + other.intended_rate

    def _second(self, at_s: float) -> Second:
        return self.seconds.setdefault(int(at_s), Second())


@attrs.frozen
class Slice:
    """One turn of a target: the turns of several targets alternate, so that drift hits all alike.

    Attributes:
        series: The name of the series that it is a part of.
        turn: The number of the round in which every target had its turn.
        started_s: When it began, in seconds since the workload began.
        took_s: How long it lasted; in open loop the time in which the calls were due.
        ok: How many calls had the wanted answer within it; in open loop as many as came within that
            time from the earliest moment on at which an answer can have come.
        drained_s: In open loop, how long after that the last answer came.
        median_us: The median latency of those, or None when there were none.
        p99_us: The 99th percentile of those, or None when there were none.
    """

    series: str
    turn: int
    started_s: float
    took_s: float
    ok: int
    median_us: float | None
    p99_us: float | None
    drained_s: float = 0.0

    @property
    def rate(self) -> float:
        """Wanted answers a second."""
        return self.ok / self.took_s if self.took_s > 0 else 0.0


def slice_of(
    series: Series,
    *,
    turn: int,
    started_s: float,
    took_s: float,
    ok: int | None = None,
    drained_s: float = 0.0,
) -> Slice:
    """The turn whose calls, and only those, are in `series`.

    Args:
        ok: How many had the wanted answer within it; None: all that had it.
    """
    latency = series.latency
    return Slice(
        series=series.name,
        turn=turn,
        started_s=started_s,
        took_s=took_s,
        ok=series.ok if ok is None else ok,
        drained_s=drained_s,
        median_us=float(latency.quantile(0.5)) if latency.counts else None,
        p99_us=float(latency.quantile(0.99)) if latency.counts else None,
    )


@attrs.frozen
class Generator:
    """How the load generator itself fared, by which to judge whether the figures are the target's.

    Attributes:
        processes: How many of them made the calls.
        cpu_share: Processor time of the busiest of them, as a share (0 to 1) of one processor.
        starved_share: The share of the time in which the worst of them was ready to run and had
            no processor; None where the system does not say.
        late_us: In open loop, by how much calls went out after their intended time although a
            connection was free.
        waited_us: In open loop, how long those calls waited for which none was.
        lag_us: How long a turn of the generator's event loop took: an answer that came meanwhile is
            said to have come so much later.
        limited: Whether the generator, rather than the target, may have set the figures.
        verdict: The same in words; empty when there is nothing to say.
    """

    processes: int
    cpu_share: float
    starved_share: float | None = None
    late_us: Histogram = attrs.field(factory=Histogram)
    lag_us: Histogram = attrs.field(factory=Histogram)
    limited: bool = False
    verdict: str = ""
    waited_us: Histogram = attrs.field(factory=Histogram)


@attrs.frozen
class Axis:
    """One side of a curve.

    Attributes:
        unit: Behind the numbers, such as `ms`; empty for plain counts.
        log: Whether the scale is logarithmic; every value has to be above 0 then.
    """

    name: str
    unit: str = ""
    log: bool = False


@attrs.frozen
class Point:
    """One point of a curve; `low` and `high` are the spread of `y` over repetitions."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@attrs.frozen
class Curve:
    """How one number depends on another, for one target.

    Attributes:
        name: The same over targets, whose curves of that name share a plot.
        line: Tells several curves of one target in the same plot apart; empty for a single one.
    """

    name: str
    x: Axis
    y: Axis
    points: tuple[Point, ...]
    line: str = ""


@attrs.frozen
class Measured:
    """What one workload found out about one target.

    Attributes:
        target: The name of the target.
        slices: Its turns, from which the spread of ratios is taken.
        figures: Named numbers, with what was promised where something was.
        unmeasured: The names of those that there was nothing to take from.
        generator: None for a workload in which there is no load to speak of.
    """

    target: str
    series: tuple[Series, ...] = ()
    slices: tuple[Slice, ...] = ()
    figures: tuple[Figure, ...] = ()
    curves: tuple[Curve, ...] = ()
    generator: Generator | None = None
    unmeasured: tuple[str, ...] = ()


@attrs.frozen
class Skipped:
    """A target that did not take part in a workload, and why not."""

    target: str
    reason: str


@attrs.frozen
class Workload:
    """One workload over all targets.

    Attributes:
        name: As on the command line.
        title: What it does, in a few words.
        settings: The numbers it was run with.
        violations: What no target may do and one did, such as granting a conflicting reservation;
            the first ones, if there are very many.
        violations_more: How many more there were.
        warnings: Why its figures are to be read with care.
        seconds: How long it took.
        history: The file with every call, where one was kept.
        incomplete: In what it was stopped, and why; empty when it went to its end.
        unmeasured: The targets that took part and of which nothing, or not all, was measured,
            because they did not answer as they should; their warnings say so as well.
    """

    name: str
    title: str
    settings: dict[str, Any] = attrs.field(factory=dict)
    measured: tuple[Measured, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    violations: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    history: str | None = None
    incomplete: str = ""
    unmeasured: tuple[Skipped, ...] = ()
    violations_more: int = 0


@attrs.frozen
class Target:
    """A server under load.

    Attributes:
        name: How the reports call it.
        url: Its base URL.
        capabilities: What it can do that a workload may need, by name.
        says: What it says of itself, by `/health`, `/ready` and its `Server` header.
    """

    name: str
    url: str
    capabilities: tuple[str, ...] = ()
    says: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Run:
    """A whole run.

    Attributes:
        at: When it began, in ISO 8601.
        machine: What `bench.machine.facts` says, but for the versions and the commit.
        versions: Of Python, SQLite and the packages of the harness, and of a target that it
            started. Of other targets only what they say of themselves is known.
        settings: The options of the run.
        commit: The commit of the harness, None outside a repository.
        changed: Whether files differed from that commit.
        warnings: Why all of its figures are to be read with care.
        incomplete: Why not everything was measured, and what was not; empty for a whole run.
    """

    at: str
    scale: Scale
    machine: dict[str, Any]
    versions: dict[str, str | None]
    settings: dict[str, Any] = attrs.field(factory=dict)
    commit: str | None = None
    changed: bool = False
    targets: tuple[Target, ...] = ()
    workloads: tuple[Workload, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    incomplete: str = ""
    format: int = FORMAT


def begun(
    scale: Scale,
    facts: Mapping[str, Any],
    *,
    settings: Mapping[str, Any],
    targets: Iterable[Target],
) -> Run:
    """A run that begins now, without any workload yet.

    Args:
        facts: From `bench.machine.facts`.
    """
    apart = {"python", "sqlite", "versions", "commit"}
    commit: str | None = facts["commit"]
    return Run(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        scale=scale,
        machine={name: fact for name, fact in facts.items() if name not in apart},
        versions={"python": facts["python"], "sqlite": facts["sqlite"], **facts["versions"]},
        settings=dict(settings),
        commit=None if commit is None else commit.removesuffix(_CHANGED),
        changed=commit is not None and commit.endswith(_CHANGED),
        targets=tuple(targets),
        warnings=_busy(facts),
    )


def _busy(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Whether somebody else had the processors when the run began."""
    load, cpus = facts.get("load_average", 0.0), facts["cpus"]
    if load <= cpus:
        return ()
    return (f"the machine was busy when the run began: load {load:.1f} on {cpus} processors",)


def names_of(names: Iterable[str]) -> list[str]:
    """Each name once, in the order in which they come."""
    return list(dict.fromkeys(names))


def save(run: Run, path: Path) -> None:
    """Write a run as JSON that people can read."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")
