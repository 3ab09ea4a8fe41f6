"""Which reservations a call without an answer may have been granted."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from bench.linearizability.op import NEVER, Action, Op
from bench.linearizability.patterns import Terms

_BY_HOLDER: Final = (Action.GRANT, Action.RENEW, Action.RELEASE)


def with_candidates(ops: Sequence[Op], terms: Terms) -> tuple[Op, ...]:
    """Say of each reservation without an answer which ids it may have been granted.

    Those are the id that its retry was granted, the ids that answers name but nobody is known to
    have been granted, and the ids that a later request for the same was granted although they were
    seen before it: see `_seen_early`. If it was granted any other id, no answer shows it. Then
    leaving it undone explains as much, and it is left out. A conflict that names no ids may be
    about anything, so where there is one, a grant that no answer names is tried, too, and each id
    may have been there before. Ids of which the answers say that it cannot have been are left out:
    see `_Mentioned`.

    One that has no such id is kept where it may have asked for what its agent held already: if it
    was asked again under its key, or made a lease shorter and a renewal relies on that length.
    """
    granted = {op.lease for op in ops if op.action is Action.GRANT and op.answered}
    ids_of_key: dict[str, dict[str, None]] = defaultdict(dict)
    ids_of_terms: dict[int, dict[str, None]] = defaultdict(dict)
    stray: dict[str, None] = {}
    nameless = any(op.listed is None for op in ops)
    has_default = any(op.action is Action.RENEW and op.ttl_ns is None for op in ops)
    of_granted = {op.terms for op in ops if op.action is Action.GRANT and op.answered}
    early = granted if nameless else _seen_early(ops)
    for op in ops:
        if op.action is not Action.GRANT:
            stray.update((name, None) for name in named(op) if name not in granted)
        elif op.answered:
            if op.lease in early:
                ids_of_terms[op.terms][op.lease] = None
            if op.key is not None:
                ids_of_key[op.key][op.lease] = None
    mentioned = _mentions(ops)
    found = []
    for op in ops:
        if op.action is Action.GRANT and not op.answered:
            ids = (
                ids_of_key[op.key]
                if op.key is not None and op.key in ids_of_key
                else ids_of_terms[op.terms] | stray | ({f"?{op.place}": None} if nameless else {})
            )
            ids = {
                name: None
                for name in ids
                if name not in mentioned or mentioned[name].may_be(op, terms)
            }
            is_asked_again = op.key is not None and op.key in ids_of_key
            if ids or is_asked_again or (has_default and op.terms in of_granted):
                found.append(attrs.evolve(op, candidates=tuple(ids)))
        else:
            found.append(op)
    return tuple(found)


@attrs.define
class _Mentioned:
    """What the answers say about a reservation.

    Attributes:
        seen_ns: When it was there at the latest.
        holders: Who holds it.
        others: Who does not.
        against: What it is in the way of, as terms.
    """

    seen_ns: int = NEVER
    holders: set[str | None] = attrs.field(factory=set)
    others: set[str | None] = attrs.field(factory=set)
    against: set[int] = attrs.field(factory=set)

    def may_be(self, op: Op, terms: Terms) -> bool:
        """Whether it may have been granted by a call."""
        return (
            op.invoke_ns <= self.seen_ns
            and self.holders <= {op.agent}
            and op.agent not in self.others
            and all(terms.conflict(each, op.terms) for each in self.against)
        )


def _mentions(ops: Iterable[Op]) -> dict[str, _Mentioned]:
    """What the answers say about each reservation. What is said to be gone says nothing."""
    found: dict[str, _Mentioned] = defaultdict(_Mentioned)
    for op in ops:
        if not op.answered or op.action in (Action.GONE, Action.WAITED_FOR):
            continue
        for name in named(op):
            about = found[name]
            about.seen_ns = min(about.seen_ns, op.return_ns)
            if op.action in _BY_HOLDER:
                # A request that is repeated under its key is not looked at again.
                about.holders.update((op.agent,) if op.key is None else ())
            elif op.action is Action.LISTED:
                about.holders.update(() if op.agent is None else (op.agent,))
            elif op.action is Action.NOT_OWNER:
                about.others.add(op.agent)
            elif op.action is Action.CONFLICT:
                about.against.add(op.terms)
    return found


def named(op: Op) -> Iterable[str]:
    """The reservations that an operation is about or that its answer names."""
    return (*((op.lease,) if op.lease else ()), *(op.listed or ()))


def _seen_early(ops: Sequence[Op]) -> set[str]:
    """Ids that may have been there before anybody was answered with them: those that a call names
    that began before, and those whose token is lower than that of a grant that began before."""
    answered_ns: dict[str, int] = {}
    token_of: dict[str, int | None] = {}
    for op in ops:
        if op.action is Action.GRANT and op.answered:
            token_of[op.lease] = op.token
            answered_ns[op.lease] = min(op.return_ns, answered_ns.get(op.lease, NEVER))
    found: set[str] = set()
    begins: list[int] = []
    highest: list[int] = []
    for op in ops:
        if op.action is not Action.GRANT:
            early = (name for name in named(op) if op.invoke_ns < answered_ns.get(name, 0))
            found.update(early)
        elif op.token is not None:
            begins.append(op.invoke_ns)
            highest.append(max(op.token, highest[-1] if highest else op.token))
    for name, at_ns in answered_ns.items():
        token, before = token_of[name], bisect_left(begins, at_ns)
        if token is not None and before and highest[before - 1] > token:
            found.add(name)
    return found
