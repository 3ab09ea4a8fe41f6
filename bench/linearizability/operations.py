"""Calls made ready for the check: numbers instead of texts, and parts that can be checked alone.

A history is split where that is sound (P-compositionality: A. Horn and D. Kroening, "Faster
linearizability checking via P-compositionality", 2015). Two requests are in one part when their
patterns are connected: they are in one set, or they overlap, or others connect them. A decision
looks only at leases whose patterns overlap those of the request, and a set lies in one part whole,
all or nothing as it is; so a server that takes one call at a time takes those of each part one at a
time, and a part that cannot be put in order shows that the whole cannot. The other way round it
holds as well, as for any objects that share no state (M. Herlihy and J. Wing, 1990).

Calls that name the same reservation or idempotency key are in one part, too, and so is a call
without an answer with every reservation that it may have been granted: there is none that may have
had its effect in one part or in another.

Two things reach across parts. Fencing tokens grow in a project: the order that they give is checked
inside of each part by the search, and across parts against real time (`out_of_token_order`). A
list shows the leases of every part: each part checks its own share of it. So in histories with
tokens or lists, parts can miss what each part alone allows and all of them together do not, and
never the other way round; a check in one piece, or by the witness, misses nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs

from bench.linearizability.candidates import named, with_candidates
from bench.linearizability.history import Call, MalformedHistoryError
from bench.linearizability.op import NEVER, Action, Op
from bench.linearizability.patterns import Language, Terms

OPERATIONS: Final = ("reserve", "renew", "release", "check", "list")
# A century: whoever means that a lease never lapses says less.
_TTL_MS_MAX: Final = 100 * 366 * 86_400_000


@attrs.frozen
class Part:
    """Calls that can be checked alone.

    Attributes:
        ops: By the time at which they began.
        terms: What they ask for, by number.
    """

    project: str
    ops: tuple[Op, ...]
    terms: Terms


@attrs.frozen
class Prepared:
    """A history ready for the check.

    Attributes:
        left_out: How many calls of each operation are not in the model.
    """

    projects: dict[str, tuple[tuple[Op, ...], Terms]]
    left_out: Counter[str]

    def whole(self) -> list[Part]:
        """A part for each project."""
        return [Part(name, ops, terms) for name, (ops, terms) in self.projects.items()]

    def parts(self) -> list[Part]:
        """Each project split into parts as small as they can be checked alone, biggest last."""
        parts = [
            part
            for name, (ops, terms) in self.projects.items()
            for part in _split(name, ops, terms)
        ]
        return sorted(parts, key=lambda part: len(part.ops))


def prepare(calls: Sequence[Call], language: Language) -> Prepared:
    """Make the calls of a history ready, by project.

    Raises:
        MalformedHistoryError: Arguments or an outcome are not those of the format.
    """
    left_out: Counter[str] = Counter()
    by_project: dict[str, list[tuple[int, Call]]] = defaultdict(list)
    for place, call in enumerate(calls):
        if call.operation in OPERATIONS:
            by_project[call.project].append((place, call))
        else:
            left_out[call.operation] += 1
    projects = {}
    for name, placed in by_project.items():
        terms = Terms(language)
        ops = _Reader(terms, placed).ops()
        terms.settle()
        projects[name] = (with_candidates(ops, terms), terms)
    return Prepared(projects, left_out)


def alone(part: Part, calls: Sequence[Call]) -> Part:
    """Some calls of a part, changed or not, read as if there were no others.

    Args:
        calls: By time. They ask for nothing that the part does not ask for.
    """
    ops = _Reader(part.terms, list(enumerate(calls))).ops()
    return attrs.evolve(part, ops=with_candidates(ops, part.terms))


class _Reader:
    """Turns the calls of one project into operations."""

    def __init__(self, terms: Terms, placed: Sequence[tuple[int, Call]]) -> None:
        self._terms = terms
        self._placed = placed
        # A key that is no text is refused where its call is read.
        asked = (call.arguments.get("key") for _, call in placed)
        keys = Counter(key for key in asked if isinstance(key, str))
        self._repeated = {key for key, count in keys.items() if count > 1}

    def ops(self) -> list[Op]:
        ops = []
        for place, call in self._placed:
            try:
                ops.append(self._op(place, call))
            except (KeyError, TypeError, ValueError, MalformedHistoryError) as error:
                what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
                raise MalformedHistoryError(
                    f"{call.operation} of client {call.client!r} at {call.invoke_ns} ns: {what}"
                ) from None
        return [op for op in ops if op is not None]

    def _op(self, place: int, call: Call) -> Op | None:
        members = self._members(call)
        if call.outcome is None:
            if call.operation in ("check", "list"):
                return None
            action = _UNANSWERED[call.operation]
        else:
            kind = _text(call.outcome, "kind")
            found = _ACTIONS.get((call.operation, kind))
            if found is None:
                raise ValueError(f"no outcome of {call.operation} is called {kind!r}")
            action = found
            if action is Action.NOTHING:
                # What was asked for may have been nonsense, and is not looked at.
                members = {}
            members.update(_said(action, call.outcome))
        return Op(
            place=place,
            call=call,
            action=action,
            invoke_ns=call.invoke_ns,
            return_ns=NEVER if call.return_ns is None else call.return_ns,
            **members,
        )

    def _members(self, call: Call) -> dict[str, Any]:
        """What was asked, as the members of an operation."""
        arguments = call.arguments
        if call.outcome is not None and call.outcome.get("kind") == "refused":
            return {}
        key = _optional_text(arguments, "key")
        members: dict[str, Any] = {"key": key if key in self._repeated else None}
        agent = members["agent"] = _optional_text(arguments, "agent")
        if call.operation in ("reserve", "check"):
            patterns, mode = _texts(arguments, "patterns"), _text(arguments, "mode")
            members["terms"] = self._terms.number(agent, mode, patterns)
        if call.operation in ("renew", "release"):
            members["lease"] = _text(arguments, "reservation_id")
        if call.operation in ("reserve", "renew"):
            ttl_ms = arguments["ttl_ms"] if call.operation == "reserve" else arguments.get("ttl_ms")
            if ttl_ms is not None:
                if not isinstance(ttl_ms, int | float) or not 0 <= ttl_ms <= _TTL_MS_MAX:
                    raise TypeError(f"`ttl_ms` is a number, 0 to {_TTL_MS_MAX}, not {ttl_ms!r}")
                ttl_ns = members["ttl_ns"] = int(ttl_ms * 1_000_000)
                # A grant that nobody took up is a short lease, see `waits`.
                untaken = call.outcome is None and arguments.get("waits", False)
                members["lapses_ns"] = call.invoke_ns + (0 if untaken else least_ns(ttl_ns))
        if agent is None and call.operation in ("reserve", "renew", "release"):
            raise KeyError("agent")
        return members


def least_ns(ttl_ns: int) -> int:
    """The least that a lease lasts on another clock: a thousandth less (more than what a clock is
    ever slewed by), and a millisecond less for times that were rounded."""
    return max(0, ttl_ns - ttl_ns // 1000 - 1_000_000)


_UNANSWERED: Final = {
    "reserve": Action.GRANT,
    "renew": Action.RENEW,
    "release": Action.RELEASE,
}
_ACTIONS: Final = {
    ("reserve", "granted"): Action.GRANT,
    ("reserve", "conflict"): Action.CONFLICT,
    ("check", "conflict"): Action.CONFLICT,
    ("check", "free"): Action.FREE,
    ("renew", "renewed"): Action.RENEW,
    ("renew", "conflict"): Action.WAITED_FOR,
    ("renew", "not_found"): Action.GONE,
    ("renew", "lapsed"): Action.GONE,
    ("renew", "not_owner"): Action.NOT_OWNER,
    ("release", "released"): Action.RELEASE,
    ("release", "not_found"): Action.GONE,
    ("release", "lapsed"): Action.GONE,
    ("release", "not_owner"): Action.NOT_OWNER,
    ("list", "listed"): Action.LISTED,
    **{(operation, "refused"): Action.NOTHING for operation in OPERATIONS},
}


def _said(action: Action, outcome: dict[str, Any]) -> dict[str, Any]:
    """What the answer says, as the members of an operation."""
    if action is Action.GRANT:
        token = outcome.get("fencing_token")
        if token is not None and (not isinstance(token, int) or token < 1):
            raise TypeError(f"`fencing_token` is a whole number from 1 on, not {token!r}")
        return {"lease": _text(outcome, "reservation_id"), "token": token}
    if action is Action.LISTED:
        return {"listed": frozenset(_texts(outcome, "reservations"))}
    if action in (Action.CONFLICT, Action.WAITED_FOR):
        named = outcome.get("conflicts")
        listed = None if named is None else frozenset(_texts(outcome, "conflicts"))
        waiting = bool(outcome.get("waiting"))
        return {"listed": listed, "partial": bool(outcome.get("more")), "waiting": waiting}
    return {}


def _text(members: dict[str, Any], name: str) -> str:
    found = members[name]
    if not isinstance(found, str):
        raise TypeError(f"`{name}` is a text, not {found!r}")
    return found


def _optional_text(members: dict[str, Any], name: str) -> str | None:
    return None if members.get(name) is None else _text(members, name)


def _texts(members: dict[str, Any], name: str) -> list[str]:
    found = members[name]
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise TypeError(f"`{name}` is a list of texts, not {found!r}")
    return found


def _split(project: str, ops: tuple[Op, ...], terms: Terms) -> Iterable[Part]:
    """The parts of a project's history."""
    groups = _Groups()
    for patterns in terms.patterns:
        groups.join([near for pattern in patterns for near in terms.near(pattern)])
    for op in ops:
        names: list[object] = [_anchor(op, terms), *op.candidates]
        if op.action is not Action.LISTED:
            names += named(op)
        if op.key is not None:
            names.append(("key", op.key))
        groups.join(names)
    of_root: dict[object, list[Op]] = defaultdict(list)
    for op in ops:
        if op.action is Action.LISTED:
            shares: dict[object, set[str]] = defaultdict(set)
            for name in op.listed or ():
                shares[groups.root(name)].add(name)
            for root in {**of_root, **shares}:
                share = frozenset(shares.get(root, ()))
                of_root[root].append(attrs.evolve(op, listed=share))
        elif op.action is not Action.NOTHING:
            of_root[groups.root(_anchor(op, terms))].append(op)
    return [Part(project, tuple(found), terms) for found in of_root.values()]


def _anchor(op: Op, terms: Terms) -> object:
    """Something of an operation that tells which part it is in."""
    if op.terms >= 0:
        return next(iter(terms.patterns[op.terms]))
    return op.lease


class _Groups:
    """Disjoint sets of names (R. Tarjan, 1975)."""

    def __init__(self) -> None:
        self._above: dict[object, object] = {}

    def root(self, name: object) -> object:
        above = self._above
        while (parent := above.setdefault(name, name)) != name:
            above[name] = above[parent]
            name = above[name]
        return name

    def join(self, names: Sequence[object]) -> None:
        for name in names[1:]:
            self._above[self.root(name)] = self.root(names[0])


def out_of_token_order(ops: Iterable[Op]) -> tuple[Op, Op] | None:
    """Two grants whose tokens contradict real time, or each other: the one with the higher token
    was over before the one with the lower token began. In linear time after a sort.

    A reservation may have been granted by any call that answers with its id, and by one without an
    answer: it was granted after the first of them began and before the first answer.
    """
    first: dict[str, Op] = {}
    began: dict[str, Op] = {}
    answered: dict[str, Op] = {}
    for op in ops:
        if op.action is not Action.GRANT:
            continue
        for name in op.candidates or (op.lease,):
            if name not in began or op.invoke_ns < began[name].invoke_ns:
                began[name] = op
        if op.answered and op.token is not None:
            known = first.setdefault(op.lease, op)
            if known.token != op.token:
                return known, op
            if op.lease not in answered or op.return_ns < answered[op.lease].return_ns:
                answered[op.lease] = op
    latest: Op | None = None
    by_token: dict[int, str] = {}
    for name in sorted(first, key=lambda name: first[name].token or 0):
        token = first[name].token or 0
        if token in by_token:
            return first[by_token[token]], first[name]
        by_token[token] = name
        if latest is not None and answered[name].return_ns < latest.invoke_ns:
            return answered[name], latest
        if latest is None or began[name].invoke_ns > latest.invoke_ns:
            latest = began[name]
    return None
