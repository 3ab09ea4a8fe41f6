"""A counterexample as a picture: who called when, what overlapped, and where it gets stuck."""

from html import escape
from pathlib import Path
from typing import Final

from bench.linearizability.counterexample import Counterexample, holdings
from bench.linearizability.op import Op

_LEFT: Final = 130
_WIDTH: Final = 900
_ROW: Final = 58
_TOP: Final = 40
_LINE: Final = 18
_TEXT_WIDTH: Final = 64
_STYLE: Final = (
    "text{font:12px sans-serif;fill:#222}.small{font-size:11px}"
    ".call{fill:#dbe7f5;stroke:#4a7ab0}.stuck{fill:#f8d4d0;stroke:#c0392b;stroke-width:2}"
    ".taken{fill:#d9efdb;stroke:#3c8a4a}.open{stroke-dasharray:5 3}.axis{stroke:#bbb}"
)


def svg(example: Counterexample) -> str:
    """The picture as an SVG document.

    One row for each client, time from left to right, not to scale: every begin and every end has
    a column of its own, in their order. Green calls are those of the longest order, with their
    place in it; the red one is where it ends. A dashed call had no answer by then.
    """
    ops = example.part.ops
    clients = list(dict.fromkeys(op.call.client for op in ops))
    columns = _columns(ops)
    place = {op: ordinal for ordinal, op in enumerate(example.stuck.order, 1)}
    body = []
    for row, client in enumerate(clients):
        y = _TOP + row * _ROW
        body.append(f'<text x="8" y="{y + 24}">{escape(client)}</text>')
        body.append(
            f'<line class="axis" x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{y + 45}" y2="{y + 45}"/>'
        )
    for number, op in enumerate(ops, 1):
        y = _TOP + clients.index(op.call.client) * _ROW
        body += _call(example, op, number, place.get(op), columns, y)
    y = _TOP + len(clients) * _ROW + 16
    for line in _legend(example):
        body.append(f'<text x="8" y="{y}">{escape(line)}</text>')
        y += _LINE
    width, height = _LEFT + _WIDTH + 20, y + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}"><style>{_STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="8" y="22">{len(ops)} calls that have no order, of {example.of}</text>'
        f"{''.join(body)}</svg>\n"
    )


def timeline(example: Counterexample) -> list[str]:
    """The picture as text: a line for each call, time from left to right, not to scale.

    A call goes from `|` to `|`, or on and on if it had no answer by then; `*` is where it ends.
    """
    ops = example.part.ops
    times = sorted({op.invoke_ns for op in ops} | {op.return_ns for op in ops if op.answered})
    # Wide enough to tell times apart, and as wide as a terminal is where there are few of them.
    step = max(2, min(8, _TEXT_WIDTH // len(times)))
    column = {at_ns: ordinal * step for ordinal, at_ns in enumerate(times)}
    width = max(len(op.call.client) for op in ops)
    shown = ["What overlaps, from left to right, not to scale:"]
    for number, op in enumerate(ops, 1):
        left = column[op.invoke_ns]
        right = column[op.return_ns] if op.answered else len(times) * step
        line = "|" + "-" * (right - left - 1) + ("|" if op.answered else "...")
        mark = "*" if op is example.stuck.blocked else " "
        shown.append(f" {mark}{number:>3}  {op.call.client:<{width}} {' ' * left}{line}")
    return shown


def html(example: Counterexample) -> str:
    """The picture as a page that opens without a network."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<title>Calls that have no order</title></head>"
        f'<body style="margin:0">{svg(example)}</body></html>\n'
    )


def draw(path: Path, example: Counterexample) -> None:
    """Write the picture: a page for `.html`, else an SVG."""
    page = path.suffix.lower() in (".html", ".htm")
    path.write_text(html(example) if page else svg(example), encoding="utf-8")


def _columns(ops: tuple[Op, ...]) -> dict[int, float]:
    """Where each time stands, from left to right."""
    times = {op.invoke_ns for op in ops} | {op.return_ns for op in ops if op.answered}
    step = _WIDTH / (len(times) + 1)
    return {at_ns: _LEFT + ordinal * step for ordinal, at_ns in enumerate(sorted(times))}


def _call(
    example: Counterexample,
    op: Op,
    number: int,
    place: int | None,
    columns: dict[int, float],
    y: int,
) -> list[str]:
    left = columns[op.invoke_ns]
    right = columns[op.return_ns] if op.answered else _LEFT + _WIDTH
    kind = "stuck" if op is example.stuck.blocked else "call" if place is None else "taken"
    dashes = "" if op.answered else " open"
    where = "" if place is None else f", {place}. in order"
    return [
        f"<g><title>{escape(example.told(op))}</title>",
        f'<rect class="{kind}{dashes}" x="{left:.1f}" y="{y + 8}" rx="3" '
        f'width="{max(right - left, 6):.1f}" height="24"/>',
        f'<text class="small" x="{left + 4:.1f}" y="{y + 24}">{number}{escape(where)}</text></g>',
    ]


def _legend(example: Counterexample) -> list[str]:
    ops = example.part.ops
    number = {op: ordinal for ordinal, op in enumerate(ops, 1)}
    shown = [f"{number[op]}: {example.told(op)}" for op in ops]
    order = ", ".join(str(number[op]) for op in example.stuck.order) or "none"
    shown += ["", f"The furthest that an order goes: {order}. Then held:"]
    shown += [f"    {each}" for each in holdings(example)] or ["    nothing"]
    shown.append(f"Next comes {number[example.stuck.blocked]}, or a call that overlaps it, but:")
    shown += [f"    {number[op]}: {reason}" for op, reason in example.stuck.reasons]
    return shown
