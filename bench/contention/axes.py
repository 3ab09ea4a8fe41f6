"""Where numbers go on an axis, and which of them are written at it."""

from collections.abc import Callable, Iterable
from math import ceil, floor, log10

import attrs

_STEPS = (1, 2, 5, 10)
# What calculating with floats may take a round number away from itself.
_NEARLY = 1 + 1e-9


@attrs.frozen
class Span:
    """The numbers that an axis shows, linear or logarithmic (all above 0 then)."""

    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """How far along the axis a value is: 0 at `low`, 1 at `high`."""
        if self.log:
            return log10(max(value, self.low) / self.low) / log10(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, about: int = 6) -> list[float]:
        """The round numbers to write at the axis, about so many."""
        if not self.log:
            return _linear_ticks(self.low, self.high, about)
        decades = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
        dense = log10(self.high / self.low) < about / 2
        steps = _STEPS[:-1] if dense else (1,)
        found = [step * 10.0**decade for decade in decades for step in steps]
        inside = [tick for tick in found if self.low / _NEARLY <= tick <= self.high * _NEARLY]
        if len(inside) < 3:
            inside = _linear_ticks(self.low, self.high, about)
        return inside[:: ceil(len(inside) / (2 * about))]


def span_of(values: Iterable[float], *, log: bool = False, headroom: float = 0.0) -> Span:
    """The span of an axis that shows all of these values, widened to round numbers.

    A linear one shows 0 as well; a logarithmic one leaves out what is not above 0.

    Args:
        headroom: How much more than the values a linear span has at least, as a share of it,
            because a line on the very edge is hard to see.
    """
    found = [value for value in values if value > 0 or not log]
    if log:
        low, high = min(found, default=1.0), max(found, default=10.0)
        low, high = _round_down(low), _round_up(high)
        return Span(low, high if high > low else low * 10, log=True)
    low, high = min(found, default=0.0), max(found, default=0.0)
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        high = 1.0
    high += (high - low) * headroom
    step = _step(low, high, 6)
    return Span(floor(low / step + 1e-9) * step, ceil(high / step - 1e-9) * step)


def _linear_ticks(low: float, high: float, about: int) -> list[float]:
    step = _step(low, high, about)
    first = ceil(low / step - 1e-9)
    return [at * step for at in range(first, floor(high / step + 1e-9) + 1)]


def _step(low: float, high: float, about: int) -> float:
    """The round number nearest above the distance of so many ticks."""
    exact = (high - low) / about
    decade = 10.0 ** floor(log10(exact))
    return decade * next(step for step in _STEPS if step * decade >= exact * 0.999)


def _round_down(value: float) -> float:
    decade = 10.0 ** floor(log10(value))
    return max(step * decade for step in _STEPS if step * decade <= value * _NEARLY)


def _round_up(value: float) -> float:
    decade = 10.0 ** floor(log10(value))
    return min(step * decade for step in _STEPS if step * decade >= value / _NEARLY)


@attrs.frozen
class Side:
    """An axis with its name and how its numbers are written."""

    name: str
    span: Span
    written: Callable[[float], str]

    def marks(self) -> list[tuple[float, str]]:
        """Each tick as (share along the axis, text)."""
        return [(self.span.share(tick), self.written(tick)) for tick in self.span.ticks()]
