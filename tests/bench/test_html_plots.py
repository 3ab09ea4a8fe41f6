"""Plots: numbers stand where they belong, and a line is broken where nothing was measured."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.contention import pictures
from bench.contention.axes import Side, Span, span_of
from bench.contention.plots import STYLES, Line, Spot, plot, swatch
from bench.contention.results import Axis, Curve, Measured, Point, Series, Slice, Workload

VALUES = st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=8)


@given(VALUES, st.booleans())
@example([2.001], True)
@example([1.999, 5.004], True)
def test_an_axis_holds_every_value_and_has_round_ticks(values, log):
    span = span_of(values, log=log)
    assert all(-1e-6 <= span.share(value) <= 1 + 1e-6 for value in values)
    ticks = span.ticks()
    assert 2 <= len(ticks) <= 13
    assert ticks == sorted(set(ticks))
    assert all(-1e-6 <= span.share(tick) <= 1 + 1e-6 for tick in ticks)


@pytest.mark.parametrize(
    ("values", "log", "ticks"),
    [
        ([3, 97], False, [0, 20, 40, 60, 80, 100]),
        ([0.2, 0.9], False, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([-40, 60], False, [-40, -20, 0, 20, 40, 60]),
        ([], False, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([100, 100_000], True, [100, 1_000, 10_000, 100_000]),
        ([3, 70], True, [2, 5, 10, 20, 50, 100]),
        ([0, 5, 50], True, [5, 10, 20, 50]),
        ([], True, [1, 2, 5, 10]),
    ],
)
def test_ticks_are_the_numbers_that_people_expect(values, log, ticks):
    assert span_of(values, log=log).ticks() == pytest.approx(ticks)


def test_a_logarithmic_axis_gives_each_decade_the_same_room():
    span = Span(1, 1_000, log=True)
    assert [span.share(value) for value in (1, 10, 100, 1_000)] == pytest.approx(
        [0, 1 / 3, 2 / 3, 1]
    )
    assert span.share(0) == 0


def drawn(*lines, **more):
    side = Side("x", Span(0, 10), str)
    return ET.fromstring(plot("a plot", side, side, lines, **more))


def test_points_are_where_the_axes_say():
    run = (Spot(0, 0, "low"), Spot(10, 10, "high"), Spot(5, 5, "middle", 2.5, 7.5))
    svg = drawn(Line("a", 0, (run,), marked=True))
    hits = {
        each.findtext("title"): (float(each.get("cx")), float(each.get("cy")))
        for each in svg.findall(".//circle[@class='hit']")
    }
    low, high, middle = hits["a: low"], hits["a: high"], hits["a: middle"]
    assert low[0] < high[0]
    assert low[1] > high[1]
    assert middle == pytest.approx(((low[0] + high[0]) / 2, (low[1] + high[1]) / 2))
    spread = svg.find(".//line[@class='spread']")
    assert float(spread.get("y1")) - float(spread.get("y2")) == pytest.approx(
        (low[1] - high[1]) / 2
    )


def test_targets_differ_in_more_than_colour():
    groups = [ET.fromstring(swatch(style)).find("g") for style in range(STYLES)]
    dashes = [group.find("path").get("stroke-dasharray") for group in groups]
    assert len(set(dashes)) == STYLES
    marks = [
        (group[1].tag, group[1].get("class"), (group[1].get("d") or "")[-12:]) for group in groups
    ]
    assert len(set(marks)) == STYLES


def test_a_long_legend_goes_on_in_another_row_and_stays_inside():
    lines = [Line("a rather long name of a target " * 3, style, ()) for style in range(4)]
    svg = drawn(*lines)
    labels = svg.findall(".//text[@class='label']")
    assert len({label.get("y") for label in labels}) == 4
    assert all(len(label.text) <= 34 for label in labels)
    assert labels[0].findtext("title") == lines[0].label


def hovers(svg, kind="hit"):
    return [
        each.findtext("title")
        for each in ET.fromstring(svg).iter("circle")
        if each.get("class") == kind
    ]


def series_of(*at_s):
    series = Series("reserve")
    for each in at_s:
        series.record_ok(1_000, each)
    return series


def rates_of(series, *slices):
    measured = Measured("a", (series,), tuple(slices))
    *_, rates = pictures.of_series(Workload("w", "t", measured=(measured,)), "reserve", {"a": 0})
    return rates


def test_a_rate_is_broken_between_turns_and_fair_to_parts_of_a_second():
    series = series_of(0.1, 0.2, 1.1, 1.2, 1.4, 5.6, 5.7)
    turns = [Slice("reserve", 0, 0.0, 1.5, 5, 1.0, 1.0), Slice("reserve", 1, 5.5, 0.5, 2, 1.0, 1.0)]
    rates = rates_of(series, *turns)
    assert hovers(rates) == [
        "a: 2 a second ok at 0 s",
        "a: 6 a second ok at 1 s",
        "a: 4 a second ok at 5 s",
    ]
    # The first turn is a line; the second, of one second only, is a mark of its own.
    line = next(
        each for each in ET.fromstring(rates).findall("g") if each.get("class") == "line t0"
    )
    assert len(line.findall("path")) == 1
    assert len([each for each in line if each.get("class") == "mark"]) == 1


def test_refusals_and_the_intended_rate_are_drawn_as_well():
    series = series_of(0.1)
    series.intended_rate = 3.0
    series.record_refused(503, 10, 0.5)
    labels = [
        each.text for each in ET.fromstring(rates_of(series)).findall(".//text[@class='label']")
    ]
    assert labels == ["a", "a, refused or failed", "intended"]


def test_percentiles_say_how_many_nines():
    series = Series("reserve")
    for value in range(1, 1_001):
        series.record_ok(value, 0.0)
    percentiles, distribution, _ = pictures.of_series(
        Workload("w", "t", measured=(Measured("a", (series,)),)), "reserve", {"a": 0}
    )
    said = hovers(percentiles)
    assert said[0] == "a: 0 % within 1 µs"
    assert "a: 90 % within 903 µs" in said
    assert "a: 99 % within 991 µs" in said
    assert said[-1] == "a: the slowest took 1 ms"
    ticks = [each.text for each in ET.fromstring(percentiles).findall("text[@class='tick']")]
    assert ticks[-4:] == ["0 %", "90 %", "99 %", "99.9 %"]
    assert hovers(distribution)[-1] == "a: 100 % within 1 ms"


def test_curves_of_one_target_are_told_apart():
    axis = Axis("n")
    curves = tuple(Curve("c", axis, axis, (Point(1, 2),), line) for line in ("reads", "writes"))
    workload = Workload("w", "t", measured=(Measured("a", curves=curves),))
    svg = pictures.of_curve(workload, "c", {"a": 0})
    assert hovers(svg) == ["a, reads: 2 at 1", "a, writes: 2 at 1"]
