"""What a benchmark found: figures, their targets, and how they are shown and written."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from statistics import median
from typing import Any

import attrs


class Scale(StrEnum):
    """How much is measured: `tiny` only shows that a benchmark works."""

    FULL = "full"
    QUICK = "quick"
    TINY = "tiny"


class Bound(StrEnum):
    """Which side of its target a figure should be on."""

    AT_LEAST = "at least"
    AT_MOST = "at most"


@attrs.frozen
class Figure:
    """One measured number.

    Attributes:
        spread: The least and the most of what `value` is the median of, or None.
        target: What was promised, or None for a figure that only informs.
    """

    name: str
    value: float
    unit: str
    spread: tuple[float, float] | None = None
    target: float | None = None
    bound: Bound = Bound.AT_LEAST

    @property
    def reached(self) -> bool | None:
        """Whether the target was reached, None where there is none."""
        if self.target is None:
            return None
        if self.bound is Bound.AT_LEAST:
            return self.value >= self.target
        return self.value <= self.target

    def members(self) -> dict[str, Any]:
        """The figure for JSON."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "spread": self.spread,
            "target": self.target,
            "bound": None if self.target is None else self.bound.value,
            "reached": self.reached,
        }


def figure_of(
    name: str,
    values: Sequence[float],
    unit: str,
    *,
    target: float | None = None,
    bound: Bound = Bound.AT_LEAST,
) -> Figure:
    """The median of several measurements, with their spread."""
    return Figure(name, median(values), unit, (min(values), max(values)), target, bound)


@attrs.frozen
class Result:
    """What one benchmark found.

    Attributes:
        settings: The numbers it was run with.
        details: Whatever else is worth keeping, for the JSON only.
        warnings: Why the figures are to be read with care.
        texts: Longer output, such as a profile, for the terminal only.
    """

    figures: tuple[Figure, ...]
    settings: dict[str, Any]
    details: dict[str, Any] = attrs.field(factory=dict)
    warnings: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()

    def members(self) -> dict[str, Any]:
        """The result for JSON."""
        return {
            "settings": self.settings,
            "figures": [figure.members() for figure in self.figures],
            "warnings": list(self.warnings),
            "details": self.details,
        }


_STANDING = {True: "reached", False: "MISSED", None: ""}


def lines(name: str, result: Result) -> list[str]:
    """The result as lines for a terminal."""
    width = max((len(figure.name) for figure in result.figures), default=0)
    shown = [name]
    for figure in result.figures:
        spread = ""
        if figure.spread is not None and figure.spread[0] != figure.spread[1]:
            spread = f"  [{number(figure.spread[0])} .. {number(figure.spread[1])}]"
        target = ""
        if figure.target is not None:
            standing = _STANDING[figure.reached]
            target = f"  {figure.bound.value} {number(figure.target)}: {standing}"
        value = f"{number(figure.value):>9} {figure.unit}".rstrip()
        shown.append(f"  {figure.name:<{width}}  {value}{spread}{target}")
    shown.extend(f"  ! {warning}" for warning in result.warnings)
    shown.extend(result.texts)
    return shown


def summary(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Every figure that had a target, one line each, from the results as they go into the JSON."""
    rows = [
        (
            f"{name}: {figure['name']}",
            f"{number(figure['value'])} {figure['unit']}".rstrip(),
            f"{figure['bound']} {number(figure['target'])}",
            _STANDING[figure["reached"]],
        )
        for name, result in found.items()
        for figure in result["figures"]
        if figure["target"] is not None
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    shown = ["targets"]
    for what, value, target, standing in rows:
        shown.append(
            f"  {what:<{widths[0]}}  {value:>{widths[1]}}  {target:<{widths[2]}}  {standing}"
        )
    warned = [name for name, result in found.items() if result["warnings"]]
    if warned:
        shown.append(f"  ! to be read with care, see above: {', '.join(warned)}")
    return shown


def number(value: float) -> str:
    """A number as people read it, with about three digits that matter."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
