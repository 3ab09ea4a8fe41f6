"""Plots as SVG elements that need nothing around them but a few CSS classes.

Each is well-formed XML with every text escaped, because it is built as a tree. A target is told
apart by colour, by dashes and by the shape of its marks, so that none of these is needed alone.
"""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

import attrs

from bench.contention.axes import Side

# A ninth target looks like the first again.
STYLES = 8
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "4 2", "1 2", "6 2 1 2 1 2")
_WIDTH, _WIDE, _LEFT, _RIGHT, _BOTTOM = 560, 1136, 70, 30, 46
_PLOT_HEIGHT, _TITLE_HEIGHT, _LEGEND_ROW = 230, 26, 18
_LETTER = 6.6
_LEGEND_LETTERS = 34


@attrs.frozen
class Spot:
    """A point of a line: its place, what to say of it on hover, the spread of its height."""

    x: float
    y: float
    text: str
    low: float | None = None
    high: float | None = None


@attrs.frozen
class Line:
    """A line of a plot.

    Attributes:
        style: The number of the target, for colour, dashes and marks.
        runs: The spots; between two runs the line is broken.
        marked: Whether each spot has a mark that can be seen.
        faint: Whether the line only accompanies another of the same target.
    """

    label: str
    style: int
    runs: tuple[tuple[Spot, ...], ...]
    marked: bool = False
    faint: bool = False


def plot(title: str, x: Side, y: Side, lines: Sequence[Line], *, wide: bool = False) -> str:
    """A plot of lines with axes, a legend, and the values on hover.

    Args:
        wide: Whether it is to have the room of two plots side by side.
    """
    width = _WIDE if wide else _WIDTH
    legend, legend_height = _legend(lines, width)
    top = _TITLE_HEIGHT + legend_height + 8
    height = top + _PLOT_HEIGHT + _BOTTOM
    svg = ET.Element("svg", {"viewBox": f"0 0 {width} {height:g}", "role": "img"})
    svg.set("class", "plot wide" if wide else "plot")
    svg.set("aria-label", title)
    _text(svg, _LEFT, 17, title, "title")
    svg.append(legend)
    frame = _Frame(x, y, top, width)
    frame.draw(svg)
    for line in lines:
        svg.append(_line(frame, line))
    return ET.tostring(svg, encoding="unicode")


def swatch(style: int) -> str:
    """A small piece of a target's line with its mark, for tables and legends in text."""
    svg = ET.Element("svg", {"viewBox": "0 0 26 12", "class": "swatch", "aria-hidden": "true"})
    _sample(svg, 0, 6, style, faint=False)
    return ET.tostring(svg, encoding="unicode")


@attrs.frozen
class _Frame:
    x: Side
    y: Side
    top: float
    width: float

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point is, in units of the drawing."""
        return (
            _LEFT + self.x.span.share(x) * (self.width - _LEFT - _RIGHT),
            self.top + (1 - self.y.span.share(y)) * _PLOT_HEIGHT,
        )

    def draw(self, svg: ET.Element) -> None:
        """The grid, the numbers and the names of both axes."""
        right, bottom = self.width - _RIGHT, self.top + _PLOT_HEIGHT
        for share, written in self.y.marks():
            at = bottom - share * _PLOT_HEIGHT
            _rule(svg, _LEFT, at, right, at)
            _text(svg, _LEFT - 7, at + 4, written, "tick", anchor="end")
        for share, written in self.x.marks():
            at = _LEFT + share * (right - _LEFT)
            _rule(svg, at, self.top, at, bottom)
            _text(svg, at, bottom + 16, written, "tick", anchor="middle")
        _rule(svg, _LEFT, bottom, right, bottom, "axis")
        _rule(svg, _LEFT, self.top, _LEFT, bottom, "axis")
        middle = (_LEFT + right) / 2
        _text(svg, middle, bottom + 36, self.x.name, "name", anchor="middle")
        name = _text(svg, 0, 0, self.y.name, "name", anchor="middle")
        name.set("transform", f"translate(13 {_at(self.top + _PLOT_HEIGHT / 2)}) rotate(-90)")


def _line(frame: _Frame, line: Line) -> ET.Element:
    group = ET.Element("g", {"class": _class_of(line.style, faint=line.faint)})
    for run in line.runs:
        places = [frame.place(spot.x, spot.y) for spot in run]
        path = "".join(f"{'L' if at else 'M'}{_at(x)} {_at(y)}" for at, (x, y) in enumerate(places))
        if len(places) > 1:
            ET.SubElement(group, "path", {"d": path, **_dashes(line.style)})
        for spot, (x, y) in zip(run, places, strict=True):
            if spot.low is not None and spot.high is not None:
                ends = (frame.place(spot.x, spot.low)[1], frame.place(spot.x, spot.high)[1])
                _rule(group, x, ends[0], x, ends[1], "spread")
            if line.marked or len(run) == 1:
                group.append(_mark(x, y, line.style))
            # An invisible disc is easier to hit than the line.
            target = ET.SubElement(group, "circle", _circle(x, y, 6, "hit"))
            ET.SubElement(target, "title").text = f"{line.label}: {spot.text}"
    return group


def _legend(lines: Sequence[Line], room: float) -> tuple[ET.Element, float]:
    """The legend below the title, and how high it is."""
    group = ET.Element("g", {"class": "legend"})
    across, row = float(_LEFT), 0
    for line in lines:
        label = line.label
        if len(label) > _LEGEND_LETTERS:
            label = label[: _LEGEND_LETTERS - 1] + "…"
        width = 34 + len(label) * _LETTER + 16
        if across > _LEFT and across + width > room - _RIGHT:
            across, row = float(_LEFT), row + 1
        middle = _TITLE_HEIGHT + row * _LEGEND_ROW + 9
        _sample(group, across, middle, line.style, faint=line.faint)
        text = _text(group, across + 32, middle + 4, label, "label")
        ET.SubElement(text, "title").text = line.label
        across += width
    return group, (row + 1) * _LEGEND_ROW if lines else 0


def _sample(parent: ET.Element, x: float, y: float, style: int, *, faint: bool) -> None:
    group = ET.SubElement(parent, "g", {"class": _class_of(style, faint=faint)})
    ET.SubElement(group, "path", {"d": f"M{_at(x)} {_at(y)}h26", **_dashes(style)})
    if not faint:
        group.append(_mark(x + 13, y, style))


def _class_of(style: int, *, faint: bool) -> str:
    return f"line t{style % STYLES}{' faint' if faint else ''}"


def _dashes(style: int) -> dict[str, str]:
    dashes = _DASHES[style % STYLES]
    return {"stroke-dasharray": dashes} if dashes else {}


def _mark(x: float, y: float, style: int) -> ET.Element:
    """A disc, a square, a triangle or a diamond; hollow from the fifth target on."""
    shape = style % 4
    kind = "mark hollow" if style % STYLES >= 4 else "mark"
    if shape == 0:
        return ET.Element("circle", _circle(x, y, 3.6, kind))
    corners = {
        1: "M{0} {1}m-3.3 -3.3h6.6v6.6h-6.6z",
        2: "M{0} {1}m0 -4.4l4.2 7.4h-8.4z",
        3: "M{0} {1}m0 -4.8l4.4 4.8l-4.4 4.8l-4.4 -4.8z",
    }
    return ET.Element("path", {"d": corners[shape].format(_at(x), _at(y)), "class": kind})


def _circle(x: float, y: float, radius: float, kind: str) -> dict[str, str]:
    return {"cx": _at(x), "cy": _at(y), "r": f"{radius:g}", "class": kind}


def _rule(
    parent: ET.Element, x1: float, y1: float, x2: float, y2: float, kind: str = "grid"
) -> None:
    ends = {"x1": _at(x1), "y1": _at(y1), "x2": _at(x2), "y2": _at(y2)}
    ET.SubElement(parent, "line", {**ends, "class": kind})


def _text(
    parent: ET.Element, x: float, y: float, text: str, kind: str, *, anchor: str = "start"
) -> ET.Element:
    place = {"x": _at(x), "y": _at(y), "class": kind, "text-anchor": anchor}
    element = ET.SubElement(parent, "text", place)
    element.text = text
    return element


def _at(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
