"""Deadlocks: circles of agents, each waiting for the next, found when the last wait is asked for.

The wait-for graph (E. G. Coffman et al., "System Deadlocks", 1971) has an edge from each agent with
a ticket to each agent whose reservation, or older ticket, that ticket waits for. It had no circle
before, so a new one runs through the new wait, and a search from there finds it. Several agents
that wait for the same one are no circle.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from intermute.domain import limits
from intermute.domain.conflicts import blockers
from intermute.domain.holdings import Claim, Reservation, Ticket
from intermute.domain.limits import CURSOR_MAX
from intermute.domain.refusals import Code, Refusal
from intermute.domain.reservations import Want
from intermute.domain.state import State
from intermute.globs import TooMuchWork, Work

if TYPE_CHECKING:
    from intermute.domain.modes import Mode

# The claims of the second agent that the first waits for, by key.
Between = Callable[[str, str], dict[str, Claim]]


def refuse_deadlock(state: State, want: Want, work: Work) -> Refusal | None:
    """The refusal of a wait that would close a circle, None when it closes none.

    When the work is spent before it can be told, that is the refusal.
    """
    asker = want.agent_id
    if asker not in state.holdings.by_agent and asker not in state.line.by_agent:
        # Nobody waits for somebody who has nothing.
        return None
    search = _Search(state, asker, work, want=want)
    circle = search.find({asker})
    return search.refuse("to wait", circle)


def refuse_circle_by_handing_over(
    state: State, reservation: Reservation, ticket: Ticket, work: Work
) -> Refusal | None:
    """The refusal of a hand-over after which somebody who is passed closes a circle.

    Those who came before the ticket and want the same will wait for its agent, who may be waiting
    for one of them with another ticket.
    """
    passed = {
        older.agent_id
        for older, _, _ in state.line.meeting(ticket.parsed, ticket.mode, work)
        if older.agent_id != ticket.agent_id and older.cursor < ticket.cursor
    }
    search = _Search(state, ticket.agent_id, work, gone=(reservation.key, ticket.key))
    circle = search.find(passed)
    return search.refuse("to hand this over", circle)


class _TooMuch(Exception):
    """More is in the way than is looked through."""


class _Search:
    """A search of the wait-for graph from one agent on.

    Args:
        work: What it may cost to compare patterns.
        want: What it begins with instead of the agent's tickets.
        gone: Keys of claims that are left out.
    """

    def __init__(
        self,
        state: State,
        asker: str,
        work: Work,
        *,
        want: Want | None = None,
        gone: tuple[str, ...] = (),
    ) -> None:
        self._work = work
        self._state = state
        self._asker = asker
        self._want = want
        self._gone = gone
        self._left = limits.DEADLOCK_CLAIMS_MAX
        # What was wanted by tickets that were looked at, with the youngest of each.
        self._known: dict[tuple[Mode, tuple[str, ...]], int] = {}

    def find(self, goals: set[str]) -> list[str] | None:
        """The agents from the asker on, each waiting for the next, of whom the last waits for the
        asker or is a goal. None when there is no such way, empty when it cannot be told.

        Breadth first, so the circle that is told is a shortest one.
        """
        came_from: dict[str, str] = {}
        frontier = [self._asker]
        try:
            while frontier:
                following: list[str] = []
                for agent_id, claim in self._onward(frontier):
                    waited_for = claim.agent_id
                    if waited_for in came_from:
                        continue
                    came_from[waited_for] = agent_id
                    if waited_for in goals:
                        last = agent_id if waited_for == self._asker else waited_for
                        return _path(came_from, self._asker, last)
                    following.append(waited_for)
                frontier = following
        except (_TooMuch, TooMuchWork):
            return []
        return None

    def refuse(self, doing: str, circle: list[str] | None) -> Refusal | None:
        if circle is None:
            return None
        if not circle:
            return Refusal(
                Code.LIMIT_REACHED,
                "so many wait here for one another that it cannot be told whether this would close "
                "a circle: ask again when fewer do",
                {"limit": limits.DEADLOCK_CLAIMS_MAX},
            )
        return _refusal(self._state, doing, circle, self._between)

    def _onward(self, frontier: list[str]) -> Iterator[tuple[str, Claim]]:
        """Whom these agents wait for, the youngest tickets first.

        A ticket for just the same as a younger one of somebody else is passed over: it waits for
        nobody but those whom the younger one waits for, and for the younger one's agent.
        """
        if self._want is not None and frontier == [self._asker]:
            yield from ((self._asker, claim) for claim in self._counted(self._wanted()))
            return
        line = self._state.line
        tickets = [ticket for agent_id in frontier for ticket in line.of(agent_id)]
        tickets.sort(key=lambda ticket: -ticket.cursor)
        for ticket in tickets:
            want = ticket.terms[1:]
            if self._known.get(want, 0) > ticket.cursor or ticket.key in self._gone:
                continue
            if ticket.agent_id != self._asker:
                self._known[want] = ticket.cursor
            for claim in self._counted(self._waited_for(ticket)):
                yield ticket.agent_id, claim

    def _counted(self, claims: Iterable[Claim]) -> Iterator[Claim]:
        for claim in claims:
            self._left -= 1
            if self._left < 0:
                raise _TooMuch
            if claim.key not in self._gone:
                yield claim

    def _wanted(self) -> Iterator[Claim]:
        want = self._want
        assert want is not None
        return blockers(self._state, want.parsed, want.mode, self._asker, CURSOR_MAX, self._work)

    def _waited_for(self, ticket: Ticket) -> Iterator[Claim]:
        wanted, mode, agent_id = ticket.parsed, ticket.mode, ticket.agent_id
        return blockers(self._state, wanted, mode, agent_id, ticket.cursor, self._work)

    def _between(self, agent_id: str, waited_for: str) -> dict[str, Claim]:
        """The claims of one agent that another waits for, each once."""
        found: list[Claim] = []
        for ticket in self._state.line.of(agent_id):
            if ticket.key not in self._gone:
                found += self._waited_for(ticket)
        if self._want is not None and agent_id == self._asker:
            found += self._wanted()
        return {
            claim.key: claim
            for claim in found
            if claim.agent_id == waited_for and claim.key not in self._gone
        }


def _path(came_from: dict[str, str], asker: str, last: str) -> list[str]:
    path = [last]
    while path[-1] != asker:
        path.append(came_from[path[-1]])
    path.reverse()
    return path


def _refusal(state: State, doing: str, circle: list[str], between: Between) -> Refusal:
    names = " -> ".join(state.name_of(agent_id) for agent_id in (*circle, circle[0]))
    try:
        cheapest = _cheapest(circle, between)
    except TooMuchWork:
        cheapest = None
    way_out = (
        "somebody in the circle has to release something or stop waiting"
        if cheapest is None
        else f"the least work is lost when {state.name_of(cheapest.agent_id)} releases "
        f"{cheapest.key} ({', '.join(cheapest.patterns[:3])})"
    )
    return Refusal(
        Code.DEADLOCK,
        f"{doing} would close a circle: {names}. {way_out[0].upper()}{way_out[1:]}",
        {
            "cycle": [
                {"agent_id": agent_id, "name": state.name_of(agent_id)} for agent_id in circle
            ],
            "way_out": None
            if cheapest is None
            else {
                "agent_id": cheapest.agent_id,
                "reservation_id": cheapest.key,
                "patterns": list(cheapest.patterns),
            },
        },
    )


def _cheapest(circle: list[str], between: Between) -> Reservation | None:
    """The youngest reservation by whose release alone somebody in the circle waits for the next
    no more: the least work rests on it."""
    found = []
    for agent_id, waited_for in zip(circle, (*circle[1:], circle[0]), strict=True):
        (only, *others) = between(agent_id, waited_for).values() or (None,)
        if isinstance(only, Reservation) and not others:
            found.append(only)
    return max(found, key=lambda claim: claim.cursor, default=None)
