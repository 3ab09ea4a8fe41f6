"""The search for an order of calls that a server taking one at a time could have taken them in.

The algorithm is that of J. Wing and C. Gong ("Testing and verifying concurrent objects", 1993)
with the memory and the just-in-time linearization of G. Lowe ("Testing for linearizability", 2017):
calls are looked at in the order of their answers, nothing is taken before an answer demands it, and
no state is tried twice with the same calls taken. It is depth-first, with a stack of its own.

Four things keep it small, none of which loses an order:

- A call that only looks is taken as soon as it fits. It leaves the state as it is, so whatever can
  follow without it can follow with it.
- Before an answer, only those calls are tried that have anything to do with it, directly or through
  each other. What has nothing to do with it can as well be taken after it.
- A grant whose token is lower than one that was granted already can never be taken: the search
  turns back at once.
- A reservation without an answer is only granted where the next answers show it, see `Shown`.
"""

import time
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Final, Protocol

import attrs

from bench.linearizability.model import EMPTY, Model, State
from bench.linearizability.op import LOOKS, NEVER, Action, Op

# Configurations that are remembered, of a few hundred bytes each, before the search gives up.
REMEMBERED_MAX: Final = 2_000_000
_LOOK_AT_CLOCK_EVERY: Final = 16
_NOTHING: Final[frozenset[Op]] = frozenset()


class Verdict(Enum):
    """What came of a check."""

    LINEARIZABLE = "linearizable"
    VIOLATION = "violation"
    UNKNOWN = "unknown"


@attrs.frozen
class Stuck:
    """Where no order goes on.

    Attributes:
        order: The calls that can be taken, in the order that goes furthest.
        state: What is then held.
        blocked: The call whose answer cannot have come by then.
        reasons: The calls that may come next, and why each cannot or does not help.
    """

    order: tuple[Op, ...]
    state: State
    blocked: Op
    reasons: tuple[tuple[Op, str], ...]


@attrs.frozen
class Found:
    """What came of a search.

    Attributes:
        order: An order that fits, if there is one.
        stuck: Where the search got furthest, if there is none.
        tried: How many configurations were looked at.
        why: Why nothing is known, if that is the verdict.
    """

    verdict: Verdict
    order: tuple[Op, ...] = ()
    stuck: Stuck | None = None
    tried: int = 0
    why: str = ""


class Schedule(Protocol):
    """Which calls may come before which answer."""

    @property
    def answers(self) -> Sequence[Op]:
        """The calls that were answered, in the order in which they are looked at."""
        ...

    def pending(self, rank: int) -> Sequence[Op]:
        """The answered calls that may be taken before the answer at `rank`, its own among them,
        whether they are taken already or not; none whose answer came before."""
        ...

    def unanswered(self, rank: int) -> Sequence[Op]:
        """The calls without an answer that may be taken before the answer at `rank`."""
        ...


class RealTime:
    """Calls that overlap in time may come in any order."""

    def __init__(self, ops: Sequence[Op]) -> None:
        by_begin = sorted(ops, key=lambda op: op.invoke_ns)
        self.answers: Sequence[Op] = sorted(
            (op for op in ops if op.answered), key=lambda op: op.return_ns
        )
        self._never = [op for op in by_begin if not op.answered]
        self._pending: list[tuple[Op, ...]] = []
        self._never_until: list[int] = []
        known = [op for op in by_begin if op.answered]
        under_way: dict[Op, None] = {}
        begun = never = 0
        for op in self.answers:
            while begun < len(known) and known[begun].invoke_ns <= op.return_ns:
                under_way[known[begun]] = None
                begun += 1
            while never < len(self._never) and self._never[never].invoke_ns <= op.return_ns:
                never += 1
            self._pending.append(tuple(under_way))
            self._never_until.append(never)
            del under_way[op]

    def pending(self, rank: int) -> Sequence[Op]:
        return self._pending[rank]

    def unanswered(self, rank: int) -> Sequence[Op]:
        return self._never[: self._never_until[rank]]


@attrs.define(slots=True)
class _Frame:
    """A configuration: so many answers are behind, and these calls were taken before theirs.

    `taken` are the calls that lead here from the one before, `depth` how many lead here in all.
    """

    rank: int
    ahead: frozenset[Op]
    state: State
    taken: tuple[Op, ...]
    depth: int
    choices: Iterator[tuple[Op, State]]


class Search:
    """One search over one part of a history.

    Args:
        schedule: Which calls may come before which answer.
        until_s: When to give up, on `time.monotonic`.
        remembered_max: How many configurations may be remembered.
    """

    def __init__(
        self,
        model: Model,
        schedule: Schedule,
        *,
        until_s: float,
        remembered_max: int = REMEMBERED_MAX,
    ) -> None:
        self._model = model
        self._schedule = schedule
        self._until_s = until_s
        self._remembered_max = remembered_max
        self._answers = schedule.answers
        self._seen: set[tuple[int, frozenset[Op], State]] = set()
        self._relations = Relations(model, schedule)
        self._shown = Shown(model, schedule)
        self._furthest: tuple[int, int] = (-1, -1)
        self._stuck: Stuck | None = None

    def run(self) -> Found:
        """Look for an order until one is found, there is none, or time or memory is over."""
        first = self._settled(0, _NOTHING, EMPTY, (), 0)
        stack = [first]
        steps = 0
        while stack:
            top = stack[-1]
            if top.rank == len(self._answers):
                order = tuple(op for frame in stack for op in frame.taken)
                return Found(Verdict.LINEARIZABLE, order, tried=len(self._seen))
            steps += 1
            why = self._over(steps)
            if why is not None:
                return Found(Verdict.UNKNOWN, tried=len(self._seen), why=why)
            choice = next(top.choices, None)
            if choice is None:
                self._remember_stuck(stack)
                stack.pop()
                continue
            op, state = choice
            frame = self._settled(top.rank, top.ahead | {op}, state, (op,), top.depth)
            key = (frame.rank, frame.ahead, frame.state)
            if key not in self._seen and not self._hopeless(frame):
                self._seen.add(key)
                stack.append(frame)
        return Found(Verdict.VIOLATION, stuck=self._stuck, tried=len(self._seen))

    def _over(self, steps: int) -> str | None:
        if len(self._seen) > self._remembered_max:
            return f"more than {self._remembered_max:,} configurations to remember"
        if steps % _LOOK_AT_CLOCK_EVERY == 0 and time.monotonic() > self._until_s:
            return "time is over"
        return None

    def _settled(
        self, rank: int, ahead: frozenset[Op], state: State, taken: tuple[Op, ...], depth: int
    ) -> _Frame:
        """The configuration with every look taken that fits, and the answers behind it that are."""
        unfit: set[Op] = set()
        while rank < len(self._answers):
            looks = []
            for op in self._schedule.pending(rank):
                if op.action in LOOKS and op not in ahead and op not in unfit:
                    unfit.add(op)
                    after = self._model.step(state, op)
                    if not isinstance(after, str) and state in after:
                        looks.append(op)
            if looks:
                ahead = ahead.union(looks)
                taken = (*taken, *looks)
            answered = self._answers[rank]
            if answered not in ahead:
                break
            ahead = ahead - {answered}
            rank += 1
        depth += len(taken)
        return _Frame(rank, ahead, state, taken, depth, self._choices(rank, ahead, state))

    def _choices(self, rank: int, ahead: frozenset[Op], state: State) -> Iterator[tuple[Op, State]]:
        """What may be taken next, with what it leaves behind; the likeliest first."""
        answered = self._answers[rank]
        pending = [op for op in self._schedule.pending(rank) if op not in ahead]
        early = sorted(
            (op for op in pending if _place(op) < _place(answered)), key=lambda op: _place(op)
        )
        tried = set()
        for op in (*early, answered):
            tried.add(op)
            yield from self._after(state, op, pending)
        unanswered = [op for op in self._schedule.unanswered(rank) if op not in ahead]
        for op in self._relations.close(answered, pending + unanswered):
            if op not in tried:
                yield from self._after(state, op, pending)

    def _after(self, state: State, op: Op, pending: Sequence[Op]) -> Iterator[tuple[Op, State]]:
        after = self._model.step(state, op)
        if not isinstance(after, str):
            for each in after:
                if op.answered or (
                    each != state and self._shown.worth_trying(state, op, each, pending)
                ):
                    yield op, each

    def _hopeless(self, frame: _Frame) -> bool:
        """Whether some grant can never be taken any more, because a higher token was granted."""
        if frame.rank == len(self._answers):
            return False
        token = frame.state.token
        for op in self._schedule.pending(frame.rank):
            if (
                op.action is Action.GRANT
                and op.token is not None
                and op.token <= token
                and op.key is None
                and op not in frame.ahead
                and not _known(frame.state, op.lease)
            ):
                return True
        return False

    def _remember_stuck(self, stack: list[_Frame]) -> None:
        top = stack[-1]
        reached = (top.rank, top.depth)
        if reached <= self._furthest:
            return
        self._furthest = reached
        pending = [
            op
            for op in (
                *self._schedule.pending(top.rank),
                *self._schedule.unanswered(top.rank),
            )
            if op not in top.ahead
        ]
        reasons = []
        for op in pending:
            after = self._model.step(top.state, op)
            said = after if isinstance(after, str) else "could come next, and does not help"
            reasons.append((op, said))
        self._stuck = Stuck(
            order=tuple(op for frame in stack for op in frame.taken),
            state=top.state,
            blocked=self._answers[top.rank],
            reasons=tuple(reasons),
        )


def _place(op: Op) -> tuple[int, int]:
    """A guess at the order: the witness, or else the token. Never relied on."""
    call = op.call
    if call.epoch is not None and call.seq is not None:
        return call.epoch, call.seq
    return (0, NEVER) if op.token is None else (0, op.token)


def _known(state: State, lease: str) -> bool:
    return any(one.key == lease for one in (*state.held, *state.lapsed))


class Shown:
    """Which grants without an answer are worth trying, in the order in which they may be.

    Take an order in which such a grant is as late as it can be. What comes right after it would not
    fit without it, or else could have come before it: nothing that conflicts with the reservation
    is granted while it is held, and whoever else meets it would rather not. So right after it comes
    an answer that names the reservation, a conflict that names none and has no other reason, or a
    grant with a higher token. An answered request for the same is none of these: it could have been
    granted then as well.

    One thing outlives the reservation and is not moved: what was done under an idempotency key.
    """

    def __init__(self, model: Model, schedule: Schedule) -> None:
        self._model = model
        self._done = {(op.key, op.lease) for op in schedule.answers if op.key is not None}
        last = len(schedule.answers) - 1
        self._moved_by_key = {
            op.lease
            for op in (schedule.unanswered(last) if last >= 0 else ())
            if op.key is not None and op.action is not Action.GRANT
        }

    def worth_trying(self, before: State, op: Op, after: State, pending: Sequence[Op]) -> bool:
        """Whether a call without an answer may be needed for one of those that may come next.

        Args:
            before: What the call meets.
            after: What it leaves behind.
            pending: The answered calls that may come next.
        """
        if op.action is not Action.GRANT:
            return True
        if any(done in self._done for done in after.done - before.done):
            return True
        known = {lease.key: lease for lease in before.held}
        for lease in set(after.held).difference(before.held):
            if lease.key in known:
                return lease.ttl_ns < known[lease.key].ttl_ns
            return lease.key in self._moved_by_key or any(
                self._needs(other, lease.key, before, after) for other in pending
            )
        return False

    def _needs(self, op: Op, lease: str, before: State, after: State) -> bool:
        """Whether a call that comes next may fit only because a reservation was granted."""
        if op.action is Action.GRANT:
            token, of_lease = op.token, self._model.tokens.get(lease)
            return token is not None and of_lease is not None and of_lease < token
        if op.lease == lease or lease in (op.listed or ()):
            return True
        return (
            op.listed is None
            and isinstance(self._model.step(before, op), str)
            and not isinstance(self._model.step(after, op), str)
        )


class Relations:
    """Which operations have to do with each other.

    Two do when they name the same reservation or key, when they are about terms that are the same
    or in conflict, or when both are grants, whose tokens have an order. Two that do not can change
    places: neither sees what the other did.
    """

    def __init__(self, model: Model, schedule: Schedule) -> None:
        self._model = model
        self._terms_of: dict[str, set[int]] = {}
        self._known: dict[Op, tuple[frozenset[str], frozenset[int] | None]] = {}
        for op in model.grants:
            for name in op.candidates or (op.lease,):
                self._terms_of.setdefault(name, set()).add(op.terms)

    def close(self, start: Op, ops: Sequence[Op]) -> list[Op]:
        """Those that have to do with `start`, directly or through each other, in their order."""
        found, left, border = {start}, [op for op in ops if op is not start], [start]
        while border:
            one = border.pop()
            related = [op for op in left if self._related(one, op)]
            if related:
                found.update(related)
                border += related
                left = [op for op in left if op not in found]
        return [op for op in ops if op in found]

    def _related(self, one: Op, other: Op) -> bool:
        if one.action is Action.GRANT is other.action:
            return True
        if one.key is not None and one.key == other.key:
            return True
        ids, terms = self._subject(one)
        other_ids, other_terms = self._subject(other)
        if terms is None or other_terms is None or not ids.isdisjoint(other_ids):
            return True
        conflict = self._model.terms.conflict
        return not terms.isdisjoint(other_terms) or any(
            conflict(first, second) for first in terms for second in other_terms
        )

    def _subject(self, op: Op) -> tuple[frozenset[str], frozenset[int] | None]:
        """The ids and the terms that an operation is about; None for terms that are not known."""
        found = self._known.get(op)
        if found is None:
            ids = {*(op.listed or ()), *op.candidates, *((op.lease,) if op.lease else ())}
            terms = set() if op.terms < 0 else {op.terms}
            is_clear = op.action is not Action.LISTED
            for name in ids:
                of_name = self._terms_of.get(name)
                is_clear = is_clear and of_name is not None
                terms |= of_name or set()
            found = self._known[op] = (frozenset(ids), frozenset(terms) if is_clear else None)
        return found
