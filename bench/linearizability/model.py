"""The reservation model: what a server that takes one call at a time would answer.

The state is who holds what, and what lapsed and may still be taken back. The rules:

- A set is granted whole if no reservation of another agent is held that it conflicts with, under a
  fencing token higher than any before. Asking for what one holds is a renewal under the same id.
- A conflict names the reservations in the way: each is held, and each that is held and in the way
  is named, unless there are more than are named.
- Only its holder renews and releases a reservation. A released one is gone.
- A request that is repeated under its idempotency key changes nothing and has the same answer.

**Leases lapse** as a step of their own, which no call causes: from the time on at which the lease
can have run out. That is the time at which the call that granted or last renewed it began, and the
lease's length. The grant cannot have happened earlier than the call, so no lapse is held against a
server that was right. A lapse is only looked for where an answer needs it. That loses nothing:
until then nobody has seen it, and a held lease that may lapse can do all that a lapsed one can.
There is no time at which a lease must have lapsed: a restart prolongs leases, and how much later
than its deadline a lease may still be seen is no matter of order. A lapse puts a floor under the
time of what follows it: a call that was over before the lease could run out cannot come after.

**Grace.** A lapsed lease may be renewed until a conflicting one is granted to somebody else, or its
holder asks anew. A server may forget it at any time.

Not in the model, and not to be mixed into a run that is to be checked: tickets, beyond that they
may be in the way (`waiting`), narrowed, handed over and forced reservations, retired agents.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.linearizability.op import Action, Op
from bench.linearizability.operations import least_ns
from bench.linearizability.patterns import Terms

if TYPE_CHECKING:
    from collections.abc import Callable


class Lease(NamedTuple):
    """A reservation that was granted. `lapses_ns` is when it may lapse at the earliest."""

    key: str
    terms: int
    lapses_ns: int
    ttl_ns: int


class State(NamedTuple):
    """What a server knows between two calls.

    Attributes:
        held: By their ids.
        lapsed: Leases that lapsed and that their holders may take back.
        token: The highest fencing token so far.
        floor_ns: The earliest time that it can be.
        done: Idempotency keys of the requests that were done, with the ids that they are about.
        born: Ids that were granted and that something else could be granted, wrongly.
    """

    held: tuple[Lease, ...] = ()
    lapsed: tuple[Lease, ...] = ()
    token: int = 0
    floor_ns: int = 0
    done: frozenset[tuple[str, str]] = frozenset()
    born: frozenset[str] = frozenset()


# What may be next: the states, or why the call cannot come next.
Next = tuple[State, ...] | str
EMPTY: Final = State()
_REFUSALS: Final = (Action.CONFLICT, Action.GONE, Action.NOT_OWNER, Action.WAITED_FOR)


def _found(leases: tuple[Lease, ...], key: str) -> Lease | None:
    for lease in leases:
        if lease.key == key:
            return lease
    return None


def _without(leases: tuple[Lease, ...], key: str) -> tuple[Lease, ...]:
    return tuple(lease for lease in leases if lease.key != key)


class Model:
    """The rules, over the terms of one project.

    Args:
        ops: What will be stepped through.
    """

    def __init__(self, terms: Terms, ops: Sequence[Op]) -> None:
        self.terms = terms
        self.grants = [op for op in ops if op.action is Action.GRANT]
        self.tokens: dict[str, int] = {}
        for op in self.grants:
            if op.answered and op.token is not None:
                self.tokens.setdefault(op.lease, op.token)
        self._in_order = sorted(set(self.tokens.values()))
        births = Counter(name for op in self.grants for name in op.candidates or (op.lease,))
        # A token tells by itself that it was granted before.
        self._ambiguous = frozenset(
            name for name, count in births.items() if count > 1 and name not in self.tokens
        )
        self._steps: dict[Action, Callable[[State, Op], Next]] = {
            Action.GRANT: self._grant,
            Action.RENEW: self._renew,
            Action.RELEASE: self._release,
            Action.CONFLICT: self._conflict,
            Action.FREE: self._free,
            Action.LISTED: self._listed,
            Action.GONE: self._gone,
            Action.NOT_OWNER: self._not_owner,
            Action.WAITED_FOR: self._waited_for,
            Action.NOTHING: self._nothing,
        }

    def step(self, state: State, op: Op) -> Next:
        """The states that the call may leave behind, the likeliest first, or why it cannot come
        now. For a call without an answer: the states if it had an effect."""
        if op.return_ns < state.floor_ns:
            return "it was over before a lease could have lapsed that must have lapsed before it"
        if op.token is not None and op.token != self.tokens[op.lease]:
            return f"{op.lease} was granted with token {self.tokens[op.lease]}"
        if op.key is not None and op.action in _REFUSALS:
            for key, lease in state.done:
                if key == op.key:
                    return f"the same request under the same key was done before, to {lease}"
        return self._steps[op.action](state, op)

    def _holder(self, lease: Lease) -> str | None:
        return self.terms.agents[lease.terms]

    def _repeated(self, state: State, op: Op) -> Next | None:
        """What comes of a request under a key that was used before."""
        if op.key is None:
            return None
        for key, lease in state.done:
            if key == op.key:
                if not op.answered:
                    return "the same request was done before"
                if lease != op.lease:
                    return f"the same request under the same key was granted {lease} before"
                return (state,)
        return None

    def _done(self, state: State, op: Op, lease: str) -> frozenset[tuple[str, str]]:
        return state.done if op.key is None else state.done | {(op.key, lease)}

    def _grant(self, state: State, op: Op) -> Next:
        repeated = self._repeated(state, op)
        if repeated is not None:
            return repeated
        if not op.answered:
            return self._grant_unanswered(state, op)
        held = _found(state.held, op.lease)
        if held is None:
            return self._grant_new(state, op, op.lease)
        if held.terms != op.terms:
            return f"{op.lease} is held already, and for something else"
        return (self._hold_on(state, op, held),)

    def _grant_unanswered(self, state: State, op: Op) -> Next:
        # A lease that is only made longer can do less than before, and nobody was told.
        states = [
            self._hold_on(state, op, lease)
            for lease in state.held
            if lease.terms == op.terms and (op.key is not None or (op.ttl_ns or 0) < lease.ttl_ns)
        ]
        for key in op.candidates:
            if _found(state.held, key) is None and _found(state.lapsed, key) is None:
                granted = self._grant_new(state, op, key)
                states += () if isinstance(granted, str) else granted
        return tuple(states) or "nothing that it could have been granted explains anything"

    def _hold_on(self, state: State, op: Op, held: Lease) -> State:
        """What is held already is asked for again."""
        longer = held._replace(lapses_ns=max(held.lapses_ns, op.lapses_ns), ttl_ns=op.ttl_ns or 0)
        return self._with_held(state, longer)._replace(done=self._done(state, op, held.key))

    def _grant_new(self, state: State, op: Op, key: str) -> Next:
        if _found(state.lapsed, key) is not None:
            return f"{key} was seen to have lapsed, and what is asked for anew has a new id"
        if key in state.born:
            return f"{key} was granted before, and what is asked for anew has a new id"
        token = self.tokens.get(key)
        if token is not None and token <= state.token:
            return f"its token {token} is not higher than {state.token}, granted before"
        if token is not None:
            lowest = self._in_order[bisect_right(self._in_order, state.token)]
            if lowest < token:
                return f"its token {token} is higher than {lowest}, which is granted only later"
        floor_ns = state.floor_ns
        held, conflict = [], self.terms.conflict
        for lease in state.held:
            if lease.terms != op.terms and not conflict(op.terms, lease.terms):
                held.append(lease)
            elif lease.lapses_ns > op.return_ns:
                return f"{self._describe(lease)} is in the way"
            else:
                floor_ns = max(floor_ns, lease.lapses_ns)
        held.append(Lease(key, op.terms, op.lapses_ns, op.ttl_ns or 0))
        held.sort()
        lapsed = tuple(
            lease
            for lease in state.lapsed
            if lease.terms != op.terms and not conflict(op.terms, lease.terms)
        )
        done = self._done(state, op, key)
        born = state.born | {key} if key in self._ambiguous else state.born
        return (State(tuple(held), lapsed, token or state.token, floor_ns, done, born),)

    def _renew(self, state: State, op: Op) -> Next:
        repeated = self._repeated(state, op)
        if repeated is not None:
            return repeated
        lease, lapsed = _found(state.held, op.lease), _found(state.lapsed, op.lease)
        found = lease or lapsed
        if found is None:
            return f"{op.lease} is not held"
        if self._holder(found) != op.agent:
            return f"{op.lease} is held by {self._holder(found)}"
        ttl_ns = found.ttl_ns if op.ttl_ns is None else op.ttl_ns
        lapses_ns = op.lapses_ns if op.ttl_ns is not None else op.invoke_ns + least_ns(ttl_ns)
        renewed = found._replace(lapses_ns=lapses_ns, ttl_ns=ttl_ns)
        done = self._done(state, op, op.lease)
        if lapsed is None:
            return (self._with_held(state, renewed)._replace(done=done),)
        held = tuple(sorted((*state.held, renewed)))
        return (state._replace(held=held, lapsed=_without(state.lapsed, op.lease), done=done),)

    def _release(self, state: State, op: Op) -> Next:
        repeated = self._repeated(state, op)
        if repeated is not None:
            return repeated
        lease, lapsed = _found(state.held, op.lease), _found(state.lapsed, op.lease)
        found = lease or lapsed
        if found is None:
            return f"{op.lease} is not held"
        if self._holder(found) != op.agent:
            return f"{op.lease} is held by {self._holder(found)}"
        done = self._done(state, op, op.lease)
        if lapsed is not None:
            # Giving back what has lapsed already changes nothing.
            return (state._replace(done=done),)
        states = [state._replace(held=_without(state.held, op.lease), done=done)]
        if found.lapses_ns <= op.return_ns:
            states.append(self._lapse(state, found)._replace(done=done))
        return tuple(states)

    def _conflict(self, state: State, op: Op) -> Next:
        listed = op.listed
        if op.call.operation == "reserve":
            for lease in state.held:
                if lease.terms == op.terms:
                    if lease.lapses_ns > op.return_ns:
                        return f"the agent holds just this already, as {lease.key}"
                    state = self._lapse(state, lease)
        blocking = [lease for lease in state.held if self.terms.conflict(op.terms, lease.terms)]
        if listed is None:
            if not blocking and not op.waiting:
                return "nothing is in the way"
            return (state,)
        keys = {lease.key for lease in blocking}
        if not listed <= keys:
            return f"{_names(listed - keys)} cannot be in the way: not held, or no conflict"
        if not listed and not op.waiting:
            return "it names nothing that is in the way"
        if op.partial:
            return (state,)
        return self._lapse_all(state, op, [lease for lease in blocking if lease.key not in listed])

    def _free(self, state: State, op: Op) -> Next:
        conflict = self.terms.conflict
        blocking = [lease for lease in state.held if conflict(op.terms, lease.terms)]
        return self._lapse_all(state, op, blocking)

    def _listed(self, state: State, op: Op) -> Next:
        listed = op.listed or frozenset()
        shown = [lease for lease in state.held if op.agent in (None, self._holder(lease))]
        missing = listed - {lease.key for lease in shown}
        if missing:
            return f"{_names(missing)} is listed and not held"
        return self._lapse_all(state, op, [lease for lease in shown if lease.key not in listed])

    def _gone(self, state: State, op: Op) -> Next:
        lease = _found(state.held, op.lease)
        if lease is not None:
            if lease.lapses_ns > op.return_ns:
                return f"{self._describe(lease)} is held"
            state = self._lapse(state, lease)
        if _found(state.lapsed, op.lease) is None:
            return (state,)
        return (state._replace(lapsed=_without(state.lapsed, op.lease)),)

    def _not_owner(self, state: State, op: Op) -> Next:
        found = _found(state.held, op.lease) or _found(state.lapsed, op.lease)
        if found is None:
            return f"{op.lease} is not held by anybody"
        if self._holder(found) == op.agent:
            return f"{op.lease} is held by {op.agent}, who asks"
        return (state,)

    def _waited_for(self, state: State, op: Op) -> Next:
        """A lapsed lease that may not be taken back yet, because somebody waits for its paths."""
        lease = _found(state.held, op.lease)
        if lease is not None and lease.lapses_ns <= op.return_ns:
            return (self._lapse(state, lease),)
        if lease is not None or _found(state.lapsed, op.lease) is None:
            return f"{op.lease} has not lapsed"
        return (state,)

    def _nothing(self, state: State, op: Op) -> Next:
        return (state,)

    def _with_held(self, state: State, changed: Lease) -> State:
        held = tuple(changed if lease.key == changed.key else lease for lease in state.held)
        return state._replace(held=held)

    def _lapse(self, state: State, lease: Lease) -> State:
        return state._replace(
            held=_without(state.held, lease.key),
            lapsed=tuple(sorted((*state.lapsed, lease))),
            floor_ns=max(state.floor_ns, lease.lapses_ns),
        )

    def _lapse_all(self, state: State, op: Op, leases: list[Lease]) -> Next:
        for lease in leases:
            if lease.lapses_ns > op.return_ns:
                return f"{self._describe(lease)} is held"
            state = self._lapse(state, lease)
        return (state,)

    def _describe(self, lease: Lease) -> str:
        return f"{lease.key} of {self._holder(lease)}"


def _names(keys: frozenset[str]) -> str:
    return ", ".join(sorted(keys))
