"""What cannot have happened, made small enough to be read.

A part of a history that has no order is cut where the search got furthest: what began later is left
out, and what was still under way may have happened or not. Then calls are left out as long as what
is left has no order either. Two things hold for each step.

It is looked for an order of what is left as if there were nothing else, so what is shown in the end
is a history that has none by itself (`Counterexample.alone`).

And what is left out cannot be what an order lacks: if there were an order of the whole, there would
be one of what is left, so what is shown is indeed what is wrong with the whole.

- An answer that only looks changes nothing, so the others have an order without it.
- A reservation is left out with all calls about it, with its name in the answers that name others
  as well, and with the answers that are only about it or that may be, for they name nothing: the
  others meet one lease less.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import attrs

from bench.linearizability.history import Call
from bench.linearizability.op import LOOKS, Action, Op
from bench.linearizability.operations import Part, alone
from bench.linearizability.search import Found, Stuck, Verdict

# Configurations of a trial: a step that takes much more than the whole did is not worth it.
_TRIED_MIN: Final = 10_000
_TRIED_TIMES: Final = 2
_PATTERNS_SHOWN: Final = 4


class Searching(Protocol):
    """Looks for an order of a part, until a time on `time.monotonic` or a number of tries."""

    def __call__(self, part: Part, *, until_s: float, remembered_max: int) -> Found: ...


@attrs.frozen
class Counterexample:
    """Calls that have no order.

    Attributes:
        part: The calls, and what their numbers stand for.
        stuck: Where they get stuck.
        of: How many calls they were found among.
        recorded: The calls as they were recorded, by `Op.place`.
    """

    part: Part
    stuck: Stuck
    of: int
    recorded: dict[int, Call]

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls as they were recorded, by the time at which they began."""
        return tuple(self.recorded[op.place] for op in self.part.ops)

    @property
    def alone(self) -> tuple[Call, ...]:
        """The calls as a history that has no order by itself: without the answers that came only
        after the end, and without the names of reservations that are left out."""
        return tuple(op.call for op in self.part.ops)

    def told(self, op: Op) -> str:
        """A call of the part and its answer in a few words."""
        recorded = self.recorded[op.place]
        if not op.answered:
            late = "" if recorded.outcome is None else " (answered later)"
            return f"{said(recorded)}{late}"
        others = len(_names(recorded)) - len(_names(op.call))
        return said(recorded) + (f" ({others:,} of them left out here)" if others else "")


# A call as it was recorded, and what of it is looked at.
_Pair = tuple[Call, Call]


def smallest(part: Part, found: Found, search: Searching, *, until_s: float) -> Counterexample:
    """A small part of one that has no order.

    Args:
        found: What the search of `part` found: a violation.
        search: The search of a part, which is run again and again.
        until_s: When to be content with what there is, on `time.monotonic`.
    """
    assert found.stuck is not None
    shrinking = _Shrinking(part, search, max(_TRIED_MIN, _TRIED_TIMES * found.tried), until_s)
    best = shrinking.trial(_cut(part.ops, found.stuck.blocked.return_ns))
    best = best or shrinking.trial((op.call, _share(op)) for op in part.ops)
    if best is None:
        # Time is over. The part is shown as it is, which the search found to have no order.
        recorded = {op.place: op.call for op in part.ops}
        return Counterexample(part, found.stuck, len(part.ops), recorded)
    return shrinking.smaller(best)


@attrs.frozen
class _Shrinking:
    """Looks for what is left of a part that still has no order.

    Attributes:
        tried_max: Configurations of a trial. Beyond them nothing is known, and it is no step.
    """

    part: Part
    search: Searching
    tried_max: int
    until_s: float

    def trial(self, pairs: Iterable[_Pair]) -> Counterexample | None:
        """The calls, if they are known to have no order by themselves."""
        kept = list(pairs)
        part = alone(self.part, [call for _, call in kept])
        found = self.search(part, until_s=self.until_s, remembered_max=self.tried_max)
        if found.verdict is not Verdict.VIOLATION:
            return None
        assert found.stuck is not None
        recorded = {place: call for place, (call, _) in enumerate(kept)}
        if len(part.ops) < len(kept):
            # Calls that explain nothing are gone: that has to hold without them, too.
            return self.trial((recorded[op.place], op.call) for op in part.ops)
        return Counterexample(part, found.stuck, len(self.part.ops), recorded)

    def smaller(self, best: Counterexample) -> Counterexample:
        """What is left when no one thing can be left out, or when time is over."""
        size = max(1, len(_units(best.part.ops)) // 2)
        while time.monotonic() < self.until_s:
            again = self._smaller_by(best, size)
            if again is not None:
                best = again
            elif size == 1:
                break
            else:
                size = max(1, size // 2)
        return best

    def _smaller_by(self, best: Counterexample, size: int) -> Counterexample | None:
        units = _units(best.part.ops)
        for start in range(0, len(units), size):
            pairs = list(_without(best, units[start : start + size]))
            if tuple(call for _, call in pairs) == best.alone:
                continue
            again = self.trial(pairs)
            if again is not None or time.monotonic() >= self.until_s:
                return again
        return None


def _share(op: Op) -> Call:
    """The call with what its answer says about this part."""
    return _narrowed(op.call, op.listed) if op.action is Action.LISTED else op.call


def _names(call: Call) -> list[str]:
    """The reservations that an answer lists."""
    outcome: dict[str, Any] = call.outcome or {}
    return [*(outcome.get("conflicts") or ()), *(outcome.get("reservations") or ())]


def _narrowed(call: Call, names: Iterable[str] | None) -> Call:
    """The call with an answer that lists no others."""
    kept, outcome = set(names or ()), dict(call.outcome or {})
    for member in ("conflicts", "reservations"):
        if outcome.get(member):
            outcome[member] = [name for name in outcome[member] if name in kept]
    return attrs.evolve(call, outcome=outcome)


def _cut(ops: Sequence[Op], at_ns: int) -> Iterable[_Pair]:
    """The calls up to a time. What was answered later may have happened or not."""
    for op in ops:
        if op.invoke_ns > at_ns:
            continue
        if op.return_ns <= at_ns or not op.answered:
            yield op.call, _share(op)
        elif not _only_looks(op):
            lost = attrs.evolve(op.call, return_ns=None, outcome=None, epoch=None, seq=None)
            yield op.call, lost


def _only_looks(op: Op) -> bool:
    return op.action in LOOKS or op.action is Action.WAITED_FOR


def _units(ops: Sequence[Op]) -> list[str | Op]:
    """What can be left out: looks, and reservations by their ids."""
    leases: dict[str, None] = {}
    for op in ops:
        if not _only_looks(op):
            leases.update((name, None) for name in op.candidates or (op.lease,) if name)
    return [*(op for op in ops if _only_looks(op)), *leases]


def _without(example: Counterexample, units: Sequence[str | Op]) -> Iterable[_Pair]:
    ops, conflict = example.part.ops, example.part.terms.conflict
    gone = {unit for unit in units if isinstance(unit, str)}
    looks = {unit for unit in units if isinstance(unit, Op)}
    terms = {
        op.terms
        for op in ops
        if op.action is Action.GRANT and not gone.isdisjoint(op.candidates or (op.lease,))
    }
    for op in ops:
        if op in looks or op.lease in gone or (op.candidates and gone.issuperset(op.candidates)):
            continue
        call, listed = op.call, op.listed
        if listed is None:
            if op.terms >= 0 and any(conflict(op.terms, each) for each in terms):
                continue
        elif not gone.isdisjoint(listed):
            if op.action is not Action.LISTED and listed <= gone:
                continue
            call = _narrowed(call, listed - gone)
        yield example.recorded[op.place], call


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
        mark = "*" if op is example.stuck.blocked else " "
        shown.append(
            f" {mark}{number[op]:>3}  {op.call.client:<{width}} {begin} .. {end}  "
            f"{example.told(op)}"
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
