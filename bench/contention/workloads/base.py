"""What every workload of the harness offers, and what it is given to judge."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

import attrs

from bench.contention.jobs import Variant
from bench.contention.results import Curve, Series, Slice
from bench.contention.stage import OPEN_LINKS_MAX, Stage
from bench.report import Figure, Scale

Size = TypeVar("Size")


@attrs.frozen
class Load:
    """How much is asked of the targets.

    Attributes:
        seconds: Of measuring each variant on each target, over all turns.
        clients: Instead of a workload's own number, where that is not what it is about; in open
            loop the most connections.
        rate: Calls a second in open loop, for the workloads that have one; None: closed loop.
        skew: The exponent of Zipf's law: 0 makes all paths equally likely.
        given: Those of `clients`, `rate`, `seconds` and `skew` that somebody asked for.
    """

    scale: Scale
    turns: int
    seconds: float
    clients: int | None = None
    rate: float | None = None
    skew: float = 1.0
    given: frozenset[str] = frozenset()

    def clients_or(self, own: int) -> int:
        """The clients that are wanted, or a workload's own number; in open loop the connections."""
        return self.clients or (own if self.rate is None else OPEN_LINKS_MAX)

    def pick(self, *, full: Size, quick: Size, tiny: Size) -> Size:
        """The number for this scale."""
        return {Scale.FULL: full, Scale.QUICK: quick, Scale.TINY: tiny}[self.scale]


@attrs.define
class Part:
    """All that one variant of a workload found on one target.

    Attributes:
        series: By name; merged over processes and turns.
        memory: What the server process held, as (seconds since the workload began, bytes).
        answered: How many calls had the wanted answer.
    """

    variant: Variant
    series: dict[str, Series] = attrs.field(factory=dict)
    slices: list[Slice] = attrs.field(factory=list)
    counts: Counter[str] = attrs.field(factory=Counter)
    values: dict[str, list[Any]] = attrs.field(factory=dict)
    memory: list[tuple[float, int]] = attrs.field(factory=list)
    took_s: float = 0.0
    answered: int = 0

    def of(self, name: str) -> Series:
        """The series of an operation; empty if there was no such call."""
        label = self.variant.label
        full = f"{label}: {name}" if label else name
        return self.series.get(full, Series(full))


class LeftOut(Exception):
    """A target cannot be measured with a workload, and is left out of it; the text says why."""


@attrs.define
class Findings:
    """The figures of a workload on one target, as they are found.

    Attributes:
        unmeasured: The names of those that would be of nothing: 0 ms is no time in which a target
            that never answered has answered, and no promise was kept by it.
    """

    figures: list[Figure] = attrs.field(factory=list)
    unmeasured: list[str] = attrs.field(factory=list)

    def add(self, figure: Figure, *, of: float) -> None:
        """Keep a figure, or if it is taken from nothing, its name.

        Args:
            of: How many things it is taken from.
        """
        if of:
            self.figures.append(figure)
        else:
            self.unmeasured.append(figure.name)

    def judged(
        self,
        *,
        curves: Sequence[Curve] = (),
        violations: Sequence[str] = (),
        warnings: Sequence[str] = (),
    ) -> "Judged":
        """All of it, with what else there is to say."""
        return Judged(
            tuple(self.figures),
            tuple(curves),
            tuple(violations),
            tuple(warnings),
            tuple(self.unmeasured),
        )


@attrs.frozen
class Judged:
    """What a workload makes of what it found on one target.

    Attributes:
        unmeasured: The names of the figures that there was nothing to take from.
    """

    figures: tuple[Figure, ...] = ()
    curves: tuple[Curve, ...] = ()
    violations: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()


class Workload(ABC):
    """One workload. It has no state: its methods are called in several processes.

    Attributes:
        needs: The capabilities without which a target is skipped.
        is_recorded: Whether its calls can be kept as a history: all that touch its project are
            reservations.
        passes_over: Those of the options `clients` and `seconds` that mean nothing to it.
        has_rate: Whether `Load.rate` makes it an open loop.
        has_skew: Whether `Load.skew` means something to it.
        measures_first: Whether its preparation measures, so that it matters how the generator
            fared in it.
        over_sockets: Whether its calls can go over a WebSocket instead.
        makes_projects: Whether it needs more projects than one.
    """

    name: str
    title: str
    needs: frozenset[str] = frozenset()
    is_recorded = False
    passes_over: frozenset[str] = frozenset()
    has_rate = False
    has_skew = False
    measures_first = False
    over_sockets = True
    makes_projects = False

    def passed_over(self, load: Load) -> list[str]:
        """What somebody asked for that means nothing to this workload."""
        without = set(self.passes_over)
        without |= set() if self.has_rate else {"rate"}
        without |= set() if self.has_skew else {"skew"}
        return sorted(load.given & without)

    def loop(self, load: Load) -> str:
        """Whether clients ask when they have been answered, or at intended times."""
        return f"open, {load.rate:g}/s" if load.rate and self.has_rate else "closed"

    @abstractmethod
    def variants(self, load: Load) -> list[Variant]:
        """The settings to run it with, in order."""

    def prepare(self, stage: Stage) -> None:
        """What has to be there before the first slice of a variant on a target; in one process.

        The values that it leaves are what `Stage.prepared` holds then.

        Raises:
            LeftOut: The target does not do what the workload builds on.
        """
        stage.begin()

    def settled(
        self, variant: Variant, values: dict[str, list[Any]], before: Sequence[Part]
    ) -> Variant:
        """What a variant has come to on one target, which may be less than was wanted.

        Args:
            values: That the preparation left.
            before: What was found with the variants before it.
        """
        return variant

    @abstractmethod
    def run(self, stage: Stage) -> None:
        """One slice, in each of the generator processes."""

    def judge(self, parts: Sequence[Part]) -> Judged:
        """What to make of all variants on one target."""
        return Judged()
