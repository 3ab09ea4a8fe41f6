"""The page of a run: whole, without anything from elsewhere, every text escaped."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import attrs
import pytest

from bench.contention import html
from bench.contention.results import Measured, Run, Series, Workload
from bench.report import Scale

from .samples import HOSTILE, sample

EMPTY = Run("2026-01-02T03:04:05+00:00", Scale.TINY, {}, {})
VOID = {"meta", "link", "br", "img", "hr", "input"}
LOADING = {"src", "href", "srcset", "data", "action", "poster", "xlink:href", "background"}


class Page(HTMLParser):
    """What a page holds: its elements, its text, and what is wrong with it."""

    def __init__(self, text):
        super().__init__()
        self.wrong, self.tags, self.said, self.open = [], [], [], []
        self.feed(text)
        self.close()
        self.wrong += [f"<{tag}> stays open" for tag in self.open]
        style = "".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
        if re.search(r"url\(|@import|expression", style):
            self.wrong.append("a style loads something")

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag in {"script", "iframe", "object", "embed", "link", "base"}:
            self.wrong.append(f"there is a <{tag}>")
        for name, value in attrs:
            if name in LOADING and not (value or "").startswith("#"):
                self.wrong.append(f"{name} leads to {value}")
            if name.startswith("on") or "://" in (value or ""):
                self.wrong.append(f"{name} is {value}")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes something else")

    def handle_data(self, data):
        self.said.append(data)

    @property
    def text(self):
        return " ".join(self.said)


def drawings(text):
    """Every SVG of a page, parsed as XML, which fails when one is not well-formed."""
    found = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    return [ET.fromstring(each) for each in found]


def test_the_page_holds_everything_and_nothing_from_elsewhere(tmp_path):
    run = sample()
    html.write(run, tmp_path / "run.html")
    text = (tmp_path / "run.html").read_text()
    page = Page(text)
    assert page.wrong == []
    for workload in run.workloads:
        assert workload.name in page.said
        assert workload.title in page.said
    for target in run.targets:
        assert target.url in page.said
    for said in (
        "Violation: old build: two exclusive grants",
        "old build was skipped: it cannot be driven in open loop",
        "a client process was busy 97 % of the time",
        "52.5 ms, at most 50: MISSED",
        run.commit,
        "A processor",
        "CPython 3.11.9",
        "3.50.1",
    ):
        assert said in page.text
    assert "prefers-color-scheme: dark" in text


def test_every_kind_of_plot_is_there_with_all_its_targets():
    plots = [each for each in drawings(html.page(sample())) if each.get("class") != "swatch"]
    titles = [each.get("aria-label") for each in plots]
    assert titles == [
        *("Latency by percentile", "Latency, cumulative", "Rate over time") * 2,
        "cost against number held",
        "goodput against offered rate",
        *("Latency by percentile", "Latency, cumulative", "Rate over time"),
    ]
    for plot in plots[:7]:
        legend = [each.text for each in plot.findall(".//text[@class='label']")]
        assert legend[:2] == ["intermute", "old build"]
        styles = {
            each.get("class").split()[1]
            for each in plot.findall("g")
            if each.get("class") != "legend"
        }
        assert styles == {"t0", "t1"}
    hovers = [each.text for each in plots[6].findall(".//circle/title")]
    assert "intermute: 7 ms at 100,000 (5.95 to 8.511)" in hovers
    assert len(hovers) == 8


def test_hostile_names_are_text_wherever_they_come():
    run = sample(other=HOSTILE)
    everywhere = Workload(
        HOSTILE,
        HOSTILE,
        settings={HOSTILE: HOSTILE},
        measured=tuple(
            attrs.evolve(
                each,
                series=tuple(attrs.evolve(series, name=HOSTILE) for series in each.series),
                figures=tuple(attrs.evolve(figure, name=HOSTILE) for figure in each.figures),
            )
            for each in run.workloads[0].measured
        ),
        warnings=(HOSTILE,),
        violations=(HOSTILE,),
    )
    run = attrs.evolve(run, workloads=(*run.workloads, everywhere), warnings=(HOSTILE,))
    text = html.page(run)
    page = Page(text)
    assert page.wrong == []
    assert "<script" not in text
    assert "\x1b" not in text
    assert HOSTILE.replace("\x1b", "\N{REPLACEMENT CHARACTER}") in page.said
    assert drawings(text)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("<p><script>1</script></p>", "<script>"),
        ("<p><img src='https://example.com/a.png'></p>", "src leads"),
        ("<a href='//example.com'>x</a>", "href leads"),
        ("<p><b>x</p>", "</p> closes"),
        ("<p>x", "<p> stays open"),
        ("<p onclick='1'>x</p>", "onclick"),
        ("<style>@import 'a.css'</style>", "style loads"),
    ],
)
def test_a_page_with_something_wrong_is_found(broken, says):
    assert any(says in text for text in Page(broken).wrong)


def test_a_run_with_nothing_in_it_has_a_page():
    assert Page(html.page(EMPTY)).wrong == []


def test_calls_without_answers_have_no_latency_to_draw():
    series = Series("reserve")
    series.record_unknown(0.5)
    workload = Workload("w", "t", measured=(Measured("a", (series, Series("release"))),))
    text = html.page(attrs.evolve(EMPTY, workloads=(workload,)))
    assert Page(text).wrong == []
    plots = [each for each in drawings(text) if each.get("class") != "swatch"]
    assert [each.get("aria-label") for each in plots] == ["Rate over time"]
