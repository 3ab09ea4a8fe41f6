"""A histogram of latencies that keeps a bounded relative error and merges without loss."""

from collections.abc import Iterator
from math import ceil

import attrs

# Values below 2 ** _BITS have a bucket each; above, every doubling has 2 ** (_BITS - 1) buckets,
# so that a bucket is never wider than 1/128 (0.8 %) of the values in it.
_BITS = 8
_HALF = 1 << (_BITS - 1)
RELATIVE_ERROR = 1 / _HALF


@attrs.define
class Histogram:
    """Whole microseconds in log-linear buckets.

    The layout is HdrHistogram's (Gil Tene, http://hdrhistogram.org) with two significant digits:
    linear buckets within each power of two. A value is off by less than 1 % of itself, however
    large it is, and merging histograms gives exactly what recording all values in one would have.

    Attributes:
        counts: How many values fell into the bucket with this number; empty ones are absent.
        sum_us: The exact sum of the values.
        least_us: The exact least value, 0 when there is none.
        most_us: The exact largest value, 0 when there is none.
    """

    counts: dict[int, int] = attrs.field(factory=dict)
    sum_us: int = 0
    least_us: int = 0
    most_us: int = 0

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self.counts.values())

    @property
    def mean_us(self) -> float:
        """The exact mean, 0 when there is no value."""
        return self.sum_us / self.count if self.counts else 0.0

    def record(self, value_us: float, times: int = 1) -> None:
        """Add a value, rounded to a whole microsecond; a negative one counts as 0."""
        value = max(0, round(value_us))
        if not self.counts or value < self.least_us:
            self.least_us = value
        self.most_us = max(self.most_us, value)
        bucket = bucket_of(value)
        self.counts[bucket] = self.counts.get(bucket, 0) + times
        self.sum_us += value * times

    def merge(self, other: "Histogram") -> None:
        """Add every value of another histogram."""
        if not other.counts:
            return
        self.least_us = min(self.least_us, other.least_us) if self.counts else other.least_us
        self.most_us = max(self.most_us, other.most_us)
        self.sum_us += other.sum_us
        for bucket, times in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + times

    def quantile(self, share: float) -> int:
        """The least value, in microseconds, that at least `share` (0 to 1) of the values reach.

        It is the top of its bucket, as in HdrHistogram, so that a latency is never understated.

        Raises:
            ValueError: The share is not within 0 and 1.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"a share is between 0 and 1, not {share}")
        # The product of an exact share is often a hair above the whole number it stands for.
        wanted = max(1, ceil(share * self.count - 1e-9))
        for value_us, reached in self.cumulative():
            if reached >= wanted:
                return value_us
        return 0

    def up_to(self, value_us: float) -> int:
        """How many values are at most so large, but for those that share its bucket and are not."""
        bucket = bucket_of(int(value_us))
        return sum(times for at, times in self.counts.items() if at <= bucket)

    def cumulative(self) -> Iterator[tuple[int, int]]:
        """Each bucket that is not empty, ascending: (its top in microseconds, values up to it)."""
        reached = 0
        for bucket in sorted(self.counts):
            reached += self.counts[bucket]
            yield max(self.least_us, min(self.most_us, top_of(bucket))), reached


def bucket_of(value_us: int) -> int:
    """The number of the bucket of a value."""
    shift = max(0, value_us.bit_length() - _BITS)
    return shift * _HALF + (value_us >> shift)


def top_of(bucket: int) -> int:
    """The largest value, in microseconds, that falls into a bucket."""
    shift = max(0, bucket // _HALF - 1)
    return ((bucket - shift * _HALF + 1) << shift) - 1


def merged(histograms: "list[Histogram]") -> Histogram:
    """One histogram of all the values of several, which stay as they are."""
    whole = Histogram()
    for histogram in histograms:
        whole.merge(histogram)
    return whole
