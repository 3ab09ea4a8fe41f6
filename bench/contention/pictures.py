"""Which plots a workload gets: latency, rate over time, and one for each kind of curve."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from math import log10

from bench.contention.axes import Side, Span, span_of
from bench.contention.histogram import Histogram
from bench.contention.plots import Line, Spot, plot
from bench.contention.results import Axis, Curve, Measured, Series, Workload, names_of
from bench.contention.tables import curves, duration
from bench.contention.turns import covered_s
from bench.report import number
from intermute.cli.wording import plain

Styles = Mapping[str, int]
Named = list[tuple[str, Series, Measured]]

_SPOTS = 90
_HEADROOM = 0.03
# A second that was covered for less than this says little about a rate.
_LEAST_COVERED_S = 0.2


def of_curve(workload: Workload, name: str, styles: Styles) -> str:
    """The plot of the curves of a name: cost against number held, goodput against offered rate."""
    found = list(curves(workload, name))
    points = [point for _, curve, _ in found for point in curve.points]
    first = found[0][1]
    heights = [each for at in points for each in (at.y, at.low, at.high) if each is not None]
    x = _side(first.x, [point.x for point in points])
    y = _side(first.y, heights, headroom=_HEADROOM)
    lines = [
        Line(apart, styles[measured.target], (_spots(curve),), marked=True)
        for measured, curve, apart in found
    ]
    return plot(plain(name), x, y, lines)


def series_names(workload: Workload) -> list[str]:
    """The names of the series of a workload, each once."""
    return names_of(at.name for each in workload.measured for at in each.series)


def of_series(workload: Workload, name: str, styles: Styles) -> Iterator[str]:
    """The plots of the calls of one name: both views of the latency, then the rate over time."""
    found = [
        (plain(measured.target), series, measured)
        for measured in workload.measured
        for series in measured.series
        if series.name == name
    ]
    answered = [each for each in found if each[1].latency.counts]
    if answered:
        yield _percentiles(answered, styles)
        yield _distribution(answered, styles)
    if any(series.seconds for _, series, _ in found):
        yield _rates(found, styles)


def _percentiles(found: Named, styles: Styles) -> str:
    """Latency by percentile, on an axis that gives every further nine the same room."""
    most = max(series.latency.count for _, series, _ in found)
    nines = max(1, len(str(most - 1)))
    x = Side("share of the calls", Span(1, 10.0**nines, log=True), _percent_of)
    y = _latency_side([series.latency for _, series, _ in found])
    lines = []
    for label, series, measured in found:
        latency, spots = series.latency, []
        for at in range(nines * 24 + 1):
            ratio = 10 ** (at / 24)
            if ratio > latency.count and at:
                break
            value_us = latency.quantile(1 - 1 / ratio)
            spots.append(Spot(ratio, value_us, f"{_percent_of(ratio)} within {duration(value_us)}"))
        if latency.count > 1:
            ratio = float(latency.count)
            spots.append(
                Spot(ratio, latency.most_us, f"the slowest took {duration(latency.most_us)}")
            )
        lines.append(Line(label, styles[measured.target], (tuple(spots),)))
    return plot("Latency by percentile", x, y, lines)


def _distribution(found: Named, styles: Styles) -> str:
    """The cumulative distribution of the latency."""
    x = _latency_side([series.latency for _, series, _ in found])
    y = Side("share of the calls", Span(0, 1), lambda share: f"{100 * share:.0f} %")
    lines = []
    for label, series, measured in found:
        latency = series.latency
        spots = tuple(
            Spot(value_us, reached / latency.count, _reached(value_us, reached, latency.count))
            for value_us, reached in _thinned(list(latency.cumulative()))
        )
        start = Spot(latency.least_us, 0, f"the fastest took {duration(latency.least_us)}")
        lines.append(Line(label, styles[measured.target], ((start, *spots),)))
    return plot("Latency, cumulative", x, y, lines)


def _rates(found: Named, styles: Styles) -> str:
    """Wanted answers a second over time, with the rest and what was intended fainter."""
    lines = []
    for label, series, measured in found:
        style, covered = styles[measured.target], covered_s(measured, series.name)
        ok = [(at, second.ok) for at, second in sorted(series.seconds.items())]
        rest = [
            (at, second.refused + second.failed) for at, second in sorted(series.seconds.items())
        ]
        lines.append(Line(label, style, _by_second(ok, covered, "ok")))
        if any(count for _, count in rest):
            runs = _by_second(rest, covered, "refused or failed")
            lines.append(Line(f"{label}, refused or failed", style, runs, faint=True))
    spots = [spot for line in lines for run in line.runs for spot in run]
    intended = [each.intended_rate for _, each, _ in found if each.intended_rate is not None]
    x = Side("time", span_of([spot.x for spot in spots]), lambda at_s: f"{number(at_s)} s")
    y = Side(
        "answers a second",
        span_of([*(spot.y for spot in spots), *intended], headroom=_HEADROOM),
        number,
    )
    for rate in dict.fromkeys(intended):
        ends = tuple(Spot(at, rate, f"{number(rate)} a second") for at in (x.span.low, x.span.high))
        lines.append(Line("intended", 7, (ends,), faint=True))
    return plot("Rate over time", x, y, lines, wide=True)


def _by_second(
    counts: list[tuple[int, int]], covered: Mapping[int, float], what: str
) -> tuple[tuple[Spot, ...], ...]:
    """Rates in runs of seconds that follow each other, each at the middle of its second."""
    spots = [
        (at, Spot(at + 0.5, rate, f"{number(rate)} a second {what} at {at} s"))
        for at, count in counts
        if (part := covered.get(at, 0.0) if covered else 1.0) >= _LEAST_COVERED_S
        for rate in [count / part]
    ]
    runs = groupby(enumerate(spots), key=lambda each: each[1][0] - each[0])
    return tuple(tuple(spot for _, (_, spot) in run) for _, run in runs)


def _spots(curve: Curve) -> tuple[Spot, ...]:
    spots = []
    for point in sorted(curve.points, key=lambda point: point.x):
        said = f"{_with_unit(point.y, curve.y)} at {_with_unit(point.x, curve.x)}"
        if point.low is not None and point.high is not None:
            said += f" ({_short(point.low)} to {_short(point.high)})"
        spots.append(Spot(point.x, point.y, plain(said), point.low, point.high))
    return tuple(spots)


def _side(axis: Axis, values: list[float], *, headroom: float = 0.0) -> Side:
    name = f"{axis.name} ({axis.unit})" if axis.unit else axis.name
    return Side(plain(name), span_of(values, log=axis.log, headroom=headroom), _short)


def _with_unit(value: float, axis: Axis) -> str:
    return f"{_short(value)} {axis.unit}".rstrip()


def _short(value: float) -> str:
    """A number at an axis, where there is little room."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _latency_side(histograms: list[Histogram]) -> Side:
    values = [max(1, each) for found in histograms for each in (found.least_us, found.most_us)]
    return Side("latency", span_of(values, log=True), duration)


def _percent_of(ratio: float) -> str:
    """The share that leaves out one in `ratio`, with as many digits as that needs: 99.9 %."""
    digits = max(1, int(log10(ratio) + 1e-9))
    share = f"{100 * (1 - 1 / ratio):.{digits}f}"
    return f"{share.rstrip('0').rstrip('.')} %"


def _thinned(steps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """About `_SPOTS` of the steps, the last one among them."""
    stride = max(1, len(steps) // _SPOTS)
    return [*steps[:-1:stride], steps[-1]]


def _reached(value_us: int, reached: int, count: int) -> str:
    return f"{100 * reached / count:.3g} % within {duration(value_us)}"
