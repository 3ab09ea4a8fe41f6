"""What the turns of the targets say: rates over the time each had, and ratios round by round."""

from math import ceil
from statistics import median

import attrs

from bench.contention.results import Measured, Series


@attrs.frozen
class Ratio:
    """How two targets compare: `value` below 1 means that the first needed less.

    Attributes:
        least: The smallest ratio that one round of turns gave.
        most: The largest.
        turns: How many rounds both had a median in.
    """

    value: float
    least: float
    most: float
    turns: int


def ratio(first: Measured, second: Measured, series: str) -> Ratio | None:
    """The ratio of the median latencies, round by round; None without a round that has both.

    Comparing only turns of the same round keeps a drift of the machine out of it.
    """
    medians = [
        {at.turn: at.median_us for at in measured.slices if at.series == series and at.median_us}
        for measured in (first, second)
    ]
    both = medians[0].keys() & medians[1].keys()
    ratios = [medians[0][turn] / medians[1][turn] for turn in sorted(both)]
    return Ratio(median(ratios), min(ratios), max(ratios), len(ratios)) if ratios else None


def rate_of(measured: Measured, series: Series) -> float | None:
    """Wanted answers a second over the turns of a series; None where they are not known.

    In open loop these are the ones that came while calls were due, or no later after that than the
    quickest answer needs: who answers the rest afterwards did not keep up with the rate.
    """
    turns = [each for each in measured.slices if each.series == series.name]
    took_s = sum(each.took_s for each in turns)
    return sum(each.ok for each in turns) / took_s if took_s > 0 else None


def covered_s(measured: Measured, series: str) -> dict[int, float]:
    """How much of each second, by its number, the turns of a series covered, in seconds.

    What came back within a second that was covered in part only is divided by that part.
    """
    covered: dict[int, float] = {}
    for each in measured.slices:
        end_s = each.started_s + each.took_s + each.drained_s
        if each.series == series:
            for second in range(int(each.started_s), ceil(end_s)):
                part = min(end_s, second + 1) - max(each.started_s, second)
                covered[second] = covered.get(second, 0.0) + part
    return covered
