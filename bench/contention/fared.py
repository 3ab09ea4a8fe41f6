"""Whether the figures are the target's or the load generator's own."""

from collections.abc import Sequence

from bench.contention.crew import Done
from bench.contention.histogram import merged
from bench.contention.results import Generator

BUSY_SHARE = 0.85
STARVED_SHARE = 0.10
LATE_US = 5_000
LAG_US = 10_000
WAITED_SHARE = 0.01


def generator_of(done: Sequence[Done]) -> Generator:
    """How the generator processes fared in the slices on one target.

    They limit what was measured when the busiest of them had hardly a processor left over; when
    it was ready to run and somebody else ran for a tenth of the time; when one call in a hundred
    went out 5 ms late although a connection was free; when one call in a hundred found all
    connections in use, and what it waited for one is in its latency though the target was not asked
    yet; or when one turn in a hundred of their event loop took 10 ms, which everybody who was
    answered meanwhile is said to have waited for.
    """
    reports = [(report, each.took_s) for each in done for report in each.reports]
    busy = max((report.cpu_s / took_s for report, took_s in reports if took_s), default=0.0)
    known = [
        report.starved_s / took_s
        for report, took_s in reports
        if report.starved_s is not None and took_s
    ]
    starved = max(known) if known else None
    late = merged([report.late for report, _ in reports])
    lag = merged([report.lag for report, _ in reports])
    waited = merged([report.waited for report, _ in reports])
    said = []
    if busy > BUSY_SHARE:
        said.append(f"a generator was busy for {busy:.0%} of the time")
    if starved is not None and starved > STARVED_SHARE:
        said.append(f"a generator waited for a processor for {starved:.0%} of the time")
    if late.counts and late.quantile(0.99) > LATE_US:
        said.append(f"calls went out late, {late.quantile(0.99) / 1e3:.1f} ms at p99")
    began = late.count + waited.count
    if waited.count > WAITED_SHARE * began:
        said.append(
            f"{waited.count:,} of {began:,} calls that were due waited for one of the generator's "
            f"connections, {waited.quantile(0.99) / 1e3:.1f} ms at p99, before the target was asked"
        )
    if lag.counts and lag.quantile(0.99) > LAG_US:
        said.append(f"a turn of the generator's loop took {lag.quantile(0.99) / 1e3:.1f} ms at p99")
    return Generator(
        processes=max((len(each.reports) for each in done), default=0),
        cpu_share=busy,
        starved_share=starved,
        late_us=late,
        lag_us=lag,
        waited_us=waited,
        limited=bool(said),
        verdict="; ".join(said),
    )
