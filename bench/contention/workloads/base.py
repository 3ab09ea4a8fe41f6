"""What every workload of the harness offers, and what it is given to judge."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

import attrs

from bench.contention.jobs import Variant
from bench.contention.results import Curve, Series, Slice
from bench.contention.stage import Stage
from bench.report import Figure, Scale

Size = TypeVar("Size")


@attrs.frozen
class Load:
    """How much is asked of the targets.

    Attributes:
        seconds: Of measuring each variant on each target, over all turns.
        clients: Instead of a workload's own number, where that is not what it is about.
        rate: Calls a second in open loop, for the workloads that have one; None: closed loop.
        skew: The exponent of Zipf's law: 0 makes all paths equally likely.
    """

    scale: Scale
    turns: int
    seconds: float
    clients: int | None = None
    rate: float | None = None
    skew: float = 1.0

    def pick(self, *, full: Size, quick: Size, tiny: Size) -> Size:
        """The number for this scale."""
        return {Scale.FULL: full, Scale.QUICK: quick, Scale.TINY: tiny}[self.scale]


@attrs.define
class Part:
    """All that one variant of a workload found on one target.

    Attributes:
        series: By name; merged over processes and turns.
        memory: What the server process held, as (seconds since the workload began, bytes).
    """

    variant: Variant
    series: dict[str, Series] = attrs.field(factory=dict)
    slices: list[Slice] = attrs.field(factory=list)
    counts: Counter[str] = attrs.field(factory=Counter)
    values: dict[str, list[Any]] = attrs.field(factory=dict)
    memory: list[tuple[float, int]] = attrs.field(factory=list)
    took_s: float = 0.0

    def of(self, name: str) -> Series:
        """The series of an operation; empty if there was no such call."""
        label = self.variant.label
        full = f"{label}: {name}" if label else name
        return self.series.get(full, Series(full))


@attrs.frozen
class Judged:
    """What a workload makes of what it found on one target."""

    figures: tuple[Figure, ...] = ()
    curves: tuple[Curve, ...] = ()
    violations: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Workload(ABC):
    """One workload. It has no state: its methods are called in several processes.

    Attributes:
        needs: The capabilities without which a target is skipped.
        is_recorded: Whether its calls can be kept as a history: all that touch its project are
            reservations.
        has_rate: Whether `Load.rate` makes it an open loop.
        over_sockets: Whether its calls can go over a WebSocket instead.
        makes_projects: Whether it needs more projects than one.
    """

    name: str
    title: str
    needs: frozenset[str] = frozenset()
    is_recorded = False
    has_rate = False
    over_sockets = True
    makes_projects = False

    @abstractmethod
    def variants(self, load: Load) -> list[Variant]:
        """The settings to run it with, in order."""

    def prepare(self, stage: Stage) -> None:
        """What has to be there before the first slice of a variant on a target; in one process.

        The values that it leaves are what `Stage.prepared` holds then.
        """
        stage.begin()

    @abstractmethod
    def run(self, stage: Stage) -> None:
        """One slice, in each of the generator processes."""

    def judge(self, parts: Sequence[Part]) -> Judged:
        """What to make of all variants on one target."""
        return Judged()
