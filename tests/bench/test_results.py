"""Results: the histogram keeps its promise, values merge, and a saved run comes back the same."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.contention import results
from bench.contention.histogram import RELATIVE_ERROR, Histogram, bucket_of, merged, top_of
from bench.contention.results import (
    Measured,
    Run,
    Second,
    Series,
    Slice,
    slice_of,
)
from bench.contention.turns import Ratio, covered_s, rate_of, ratio
from bench.report import Scale

from .samples import loaded, sample

LATENCIES = st.integers(0, 10**11)


def histogram_of(values):
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(LATENCIES)
def test_a_bucket_is_narrower_than_one_percent(value):
    bucket = bucket_of(value)
    least = top_of(bucket - 1) + 1 if bucket else 0
    assert least <= value <= top_of(bucket)
    assert top_of(bucket) - least <= value * RELATIVE_ERROR < max(1, value * 0.01)


def test_buckets_follow_each_other_without_a_gap():
    tops = [top_of(bucket) for bucket in range(3_000)]
    assert [bucket_of(top) for top in tops] == list(range(3_000))
    assert [bucket_of(top + 1) for top in tops] == list(range(1, 3_001))


@given(st.lists(LATENCIES, min_size=1, max_size=60), st.floats(0, 1))
def test_a_quantile_is_the_exact_one_and_at_most_one_percent_more(values, share):
    ordered = sorted(values)
    found = histogram_of(values).quantile(share)
    reached = sum(value <= found for value in ordered) / len(ordered)
    assert reached >= share - 1e-9
    below = [value for value in ordered if value * (1 + RELATIVE_ERROR) < found]
    assert len(below) / len(ordered) < share or not below


def test_quantiles_at_their_ends_and_in_between():
    histogram = histogram_of(range(1, 101))
    assert [histogram.quantile(at) for at in (0, 0.01, 0.5, 0.9, 0.99, 1)] == [
        1,
        1,
        50,
        90,
        99,
        100,
    ]
    assert histogram.mean_us == 50.5
    assert Histogram().quantile(0.5) == 0
    assert Histogram().mean_us == 0
    with pytest.raises(ValueError, match="between 0 and 1"):
        histogram.quantile(1.1)


@given(st.lists(st.lists(LATENCIES, max_size=20), max_size=4))
def test_merging_is_recording_everything_in_one(parts):
    whole = merged([histogram_of(part) for part in parts])
    assert whole == histogram_of([value for part in parts for value in part])


def test_a_merge_leaves_the_other_as_it_was():
    one, two = histogram_of([5]), histogram_of([7])
    one.merge(two)
    one.record(7)
    assert two == histogram_of([7])


def test_a_value_is_rounded_and_never_negative():
    assert histogram_of([-3.0, 1.6]) == Histogram({0: 1, 2: 1}, 2, 0, 2)
    many = Histogram()
    many.record(9, times=3)
    assert many == histogram_of([9, 9, 9])


def test_a_series_counts_every_outcome_once():
    series = Series("reserve")
    series.record_ok(120, 0.2)
    series.record_ok(140, 1.9)
    series.record_refused(503, 10, 1.1)
    series.record_failed(1.2)
    series.record_unknown(3.0)
    assert series.count == 5
    assert (series.ok, series.refused, series.failed, series.unknown) == (2, {503: 1}, 1, 1)
    assert series.latency.count == 2
    assert series.refusals.count == 1
    assert series.seconds == {0: Second(1, 0, 0), 1: Second(1, 1, 1), 3: Second(0, 0, 1)}


def test_series_of_several_processes_merge():
    one, two = Series("reserve", intended_rate=50.0), Series("reserve", intended_rate=50.0)
    one.record_ok(100, 0.5)
    two.record_ok(300, 0.6)
    two.record_refused(429, 5, 1.5)
    two.record_unknown(1.5)
    whole = Series("reserve")
    for part in (one, msgspec.msgpack.decode(msgspec.msgpack.encode(two), type=Series)):
        whole.merge(part)
    assert (whole.name, whole.count, whole.intended_rate) == ("reserve", 4, 100.0)
    assert whole.latency == histogram_of([100, 300])
    assert whole.seconds == {0: Second(ok=2), 1: Second(refused=1, failed=1)}
    assert one.count == 1


def turns_of(target, medians):
    slices = [
        Slice("reserve", turn, 10.0 * turn, 5.0, 100, median, median)
        for turn, median in enumerate(medians)
    ]
    return Measured(target, (Series("reserve", ok=100 * len(slices)),), tuple(slices))


def test_a_ratio_compares_turns_of_the_same_round():
    # Everything became ten times slower after the first round; the targets did not change.
    slow, quick = turns_of("slow", [200.0, 2_200.0, None]), turns_of("quick", [100.0, 1_000.0, 5.0])
    assert ratio(slow, quick, "reserve") == Ratio(2.1, 2.0, 2.2, 2)
    assert ratio(slow, quick, "release") is None
    assert ratio(slow, turns_of("never", [None]), "reserve") is None


def test_rates_count_only_the_time_that_a_target_had():
    measured = turns_of("one", [1.0, 1.0])
    assert rate_of(measured, measured.series[0]) == 20.0
    assert rate_of(measured, Series("release")) is None
    turn = Slice("reserve", 0, 1.75, 1.5, 1, 1.0, 1.0)
    assert covered_s(Measured("one", slices=(turn,)), "reserve") == {1: 0.25, 2: 1.0, 3: 0.25}
    assert turn.rate == 1 / 1.5


def test_a_turn_without_an_answer_has_no_median():
    found = slice_of(Series("reserve"), turn=3, started_s=1.0, took_s=0.0)
    assert (found.median_us, found.p99_us, found.rate, found.turn) == (None, None, 0.0, 3)


def test_a_saved_run_comes_back_the_same(tmp_path):
    run, path = sample(), tmp_path / "run.json"
    results.save(run, path)
    assert loaded(path) == run
    assert loaded(path) != sample(seed=2)
    assert f'"format": {results.FORMAT}' in path.read_text()


@pytest.mark.parametrize(
    ("said", "commit", "changed"),
    [("abc", "abc", False), ("abc and changes", "abc", True), (None, None, False)],
)
def test_a_run_knows_the_commit_and_whether_files_differed(said, commit, changed):
    facts = {"cpus": 2, "python": "p", "sqlite": "s", "versions": {"trio": "1"}, "commit": said}
    run = results.begun(Scale.TINY, facts, settings={"a": 1}, targets=[])
    assert isinstance(run, Run)
    assert (run.commit, run.changed) == (commit, changed)
    assert run.machine == {"cpus": 2}
    assert run.versions == {"python": "p", "sqlite": "s", "trio": "1"}
