"""What cannot have happened, made small enough to be read.

A part of a history that has no order is cut where the search got furthest: what began later is left
out, and what was still under way may have happened or not. Then calls are left out as long as what
is left has no order either. Only such calls are left out that cannot be what an order lacks, so
every step holds: if there were an order of the whole, there would be one of what is left.

- An answer that only looks changes nothing, so the others have an order without it.
- A reservation with all calls about it and all answers that name it: others meet one lease less.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import attrs

from bench.linearizability.history import Call
from bench.linearizability.operations import LOOKS, NEVER, Action, Op, Part
from bench.linearizability.search import Found, Stuck, Verdict

_TRIAL_S: Final = 2.0
_PATTERNS_SHOWN: Final = 4


class Searching(Protocol):
    """Looks for an order of a part until a time on `time.monotonic`."""

    def __call__(self, part: Part, *, until_s: float) -> Found: ...


@attrs.frozen
class Counterexample:
    """Calls that have no order.

    Attributes:
        part: The calls, and what their numbers stand for.
        stuck: Where they get stuck.
        of: How many calls they were found among.
    """

    part: Part
    stuck: Stuck
    of: int

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls, by the time at which they began."""
        return tuple(op.call for op in self.part.ops)


def smallest(part: Part, found: Found, search: Searching, *, until_s: float) -> Counterexample:
    """A small part of one that has no order.

    Args:
        found: What the search of `part` found: a violation.
        search: The search of a part, which is run again and again.
        until_s: When to be content with what there is, on `time.monotonic`.
    """
    assert found.stuck is not None
    best, stuck = part, found.stuck
    cut = attrs.evolve(part, ops=tuple(_cut(part.ops, found.stuck.blocked.return_ns)))
    again = _violation(cut, search, until_s)
    if again is not None:
        best, stuck = cut, again
    size = max(1, len(_units(best.ops)) // 2)
    while time.monotonic() < until_s:
        units = _units(best.ops)
        smaller = None
        for start in range(0, len(units), size):
            kept = tuple(_without(best.ops, units[start : start + size]))
            trial = attrs.evolve(best, ops=kept)
            again = _violation(trial, search, until_s)
            if again is not None:
                smaller, stuck = trial, again
                break
            if time.monotonic() >= until_s:
                break
        if smaller is not None:
            best = smaller
        elif size == 1:
            break
        else:
            size = max(1, size // 2)
    return Counterexample(best, stuck, len(part.ops))


def _violation(part: Part, search: Searching, until_s: float) -> Stuck | None:
    found = search(part, until_s=min(until_s, time.monotonic() + _TRIAL_S))
    return found.stuck if found.verdict is Verdict.VIOLATION else None


def _cut(ops: Sequence[Op], at_ns: int) -> Iterable[Op]:
    """The calls up to a time. What was answered later may have happened or not."""
    for op in ops:
        if op.invoke_ns > at_ns:
            continue
        if op.return_ns <= at_ns or not op.answered:
            yield op
        elif op.action not in LOOKS and op.action is not Action.WAITED_FOR:
            candidates = (op.lease,) if op.action is Action.GRANT else ()
            yield attrs.evolve(op, return_ns=NEVER, candidates=candidates, token=None)


def _units(ops: Sequence[Op]) -> list[str | Op]:
    """What can be left out: looks, and reservations by their ids."""
    leases: dict[str, None] = {}
    for op in ops:
        if op.action not in LOOKS:
            leases.update((name, None) for name in op.candidates or (op.lease,))
    return [*(op for op in ops if op.action in LOOKS), *leases]


def _without(ops: Sequence[Op], units: Sequence[str | Op]) -> Iterable[Op]:
    gone = {unit for unit in units if isinstance(unit, str)}
    looks = {unit for unit in units if isinstance(unit, Op)}
    for op in ops:
        if op in looks or op.lease in gone or not gone.isdisjoint(op.listed or ()):
            continue
        if not op.candidates:
            yield op
            continue
        candidates = tuple(name for name in op.candidates if name not in gone)
        if candidates:
            yield op if candidates == op.candidates else attrs.evolve(op, candidates=candidates)


def said(call: Call) -> str:
    """A call and its answer in a few words."""
    return f"{asked(call)} -> {answered(call)}"


def asked(call: Call) -> str:
    """What was asked."""
    arguments = call.arguments
    words = [call.operation]
    names = ("agent", "mode", "reservation_id")
    words += [str(arguments[name]) for name in names if arguments.get(name) is not None]
    patterns = arguments.get("patterns") or []
    words += [str(pattern) for pattern in patterns[:_PATTERNS_SHOWN]]
    if len(patterns) > _PATTERNS_SHOWN:
        words.append(f"and {len(patterns) - _PATTERNS_SHOWN} more")
    if arguments.get("ttl_ms") is not None:
        words.append(f"for {arguments['ttl_ms'] / 1000:g} s")
    if arguments.get("key") is not None:
        words.append(f"under key {arguments['key']}")
    return " ".join(words)


def answered(call: Call) -> str:
    """What was answered."""
    outcome = call.outcome
    if outcome is None:
        return "no answer"
    words = [str(outcome.get("kind"))]
    if outcome.get("reservation_id") is not None:
        words.append(str(outcome["reservation_id"]))
    if outcome.get("fencing_token") is not None:
        words.append(f"with token {outcome['fencing_token']}")
    names = ("conflicts", "waiting", "reservations")
    words += [
        f"{name}: {', '.join(map(str, outcome[name]))}" for name in names if outcome.get(name)
    ]
    return " ".join(words)


def lines(example: Counterexample) -> list[str]:
    """The counterexample as lines of text."""
    ops = example.part.ops
    number = {op: ordinal for ordinal, op in enumerate(ops, 1)}
    start_ns = min(op.invoke_ns for op in ops)
    width = max(len(op.call.client) for op in ops)
    shown = [f"These {len(ops)} calls (of {example.of}) have no order. Times are milliseconds:"]
    for op in ops:
        end = f"{(op.return_ns - start_ns) / 1e6:10.3f}" if op.answered else " unknown  "
        begin = f"{(op.invoke_ns - start_ns) / 1e6:10.3f}"
        late = "" if op.answered or op.call.outcome is None else " (answered later)"
        mark = "*" if op is example.stuck.blocked else " "
        shown.append(
            f" {mark}{number[op]:>3}  {op.call.client:<{width}} {begin} .. {end}  "
            f"{said(op.call)}{late}"
        )
    stuck = example.stuck
    order = ", ".join(str(number[op]) for op in stuck.order) or "none"
    shown.append(f"The furthest that an order goes: {order}. Then held:")
    shown += [f"       {each}" for each in holdings(example)] or ["       nothing"]
    shown.append(f"Next comes {number[stuck.blocked]}, or a call that overlaps it, but:")
    shown += [f"  {number[op]:>3}: {reason}" for op, reason in stuck.reasons]
    return shown


def holdings(example: Counterexample) -> list[str]:
    """What is held where the calls get stuck, a line each."""
    terms, ops = example.part.terms, example.part.ops
    asked_for = {op.terms: op.call for op in ops if op.terms >= 0}
    shown = []
    for standing, leases in (
        ("", example.stuck.state.held),
        (", lapsed", example.stuck.state.lapsed),
    ):
        for lease in leases:
            call = asked_for.get(lease.terms)
            patterns = [] if call is None else call.arguments["patterns"][:_PATTERNS_SHOWN]
            what = " ".join(map(str, patterns))
            holder, mode = terms.agents[lease.terms], terms.modes[lease.terms]
            shown.append(f"{lease.key} of {holder}: {mode} {what}{standing}")
    return shown
