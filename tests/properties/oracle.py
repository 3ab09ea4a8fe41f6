"""What must hold of any history of reservations and tickets, told by the log alone.

It hears every event in the order of the log, and knows neither the pattern language (see `paths`)
nor how decisions are made. Compatibility of modes is the textbook's table, written out.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations, product

import attrs

from intermute.domain import events
from intermute.domain.events import Event
from intermute.domain.modes import ABBREVIATIONS, Mode

from .paths import PATTERNS, meet

# J. Gray et al. 1976, table 1: which requested mode (across) gets on with which held one (down).
_TABLE = """
        IS  IX  S   SIX X
    IS  yes yes yes yes no
    IX  yes yes no  no  no
    S   yes no  yes no  no
    SIX yes no  no  no  no
    X   no  no  no  no  no
"""


def _read_table() -> dict[tuple[Mode, Mode], bool]:
    head, *rows = (line.split() for line in _TABLE.strip().splitlines())
    return {
        (ABBREVIATIONS[row[0]], ABBREVIATIONS[name]): said == "yes"
        for row in rows
        for name, said in zip(head, row[1:], strict=True)
    }


GET_ON = _read_table()
_MEET = {(one, other): meet([one], [other]) for one, other in product(PATTERNS, repeat=2)}


@attrs.define
class Claim:
    """A reservation or a ticket, as the log tells of it. `granted` is what it was granted for."""

    key: str
    agent_id: str
    patterns: tuple[str, ...]
    mode: Mode
    cursor: int
    granted: tuple[str, ...] = ()
    ticket_id: str | None = None
    held_open: bool = False

    def stops(self, other: "Claim") -> bool:
        return (
            self.agent_id != other.agent_id
            and not GET_ON[self.mode, other.mode]
            and any(_MEET[pair] for pair in product(self.patterns, other.patterns))
        )


class Oracle:
    """Folds the log and asserts, event by event, what no history may break.

    Attributes:
        held: What is held.
        line: What is waited for.
        grants: Every grant, as granted, in order.
        ends: How each ticket ended.
    """

    def __init__(self) -> None:
        self.held: dict[str, Claim] = {}
        self.line: dict[str, Claim] = {}
        self.grants: list[Claim] = []
        self.ends: dict[str, str] = {}
        self.cursor = 0
        # The last patterns of reservations that have ended.
        self._kept: dict[str, tuple[str, ...]] = {}
        self._handed_over = False
        self._made: Claim | None = None

    def hear(self, event: Event) -> None:
        assert event.cursor == self.cursor + 1, "the log has no gaps"
        self.cursor = event.cursor
        data = event.data
        if isinstance(data, events.ReservationCreated):
            self._created(data)
        elif isinstance(data, events.ReservationRenewed):
            self._renewed(data)
        elif isinstance(data, events.ReservationNarrowed):
            self.held[data.reservation_id].patterns = data.patterns
        elif isinstance(data, events.ReservationReleased):
            self._end(data.reservation_id, released=True)
            self._handed_over = data.cause == "handover"
        elif isinstance(data, events.ReservationExpired):
            self._end(data.reservation_id, released=False)
        elif isinstance(data, events.TicketEvent):
            self._ticket(data)

    def _created(self, data: events.ReservationCreated) -> None:
        claim = Claim(
            data.reservation_id,
            data.agent_id,
            data.patterns,
            data.mode,
            self.cursor,
            granted=data.patterns,
            ticket_id=data.ticket_id,
        )
        if data.ticket_id is None:
            ahead = list(self.line.values())
        else:
            ticket = self.line[data.ticket_id]
            assert (ticket.agent_id, ticket.patterns, ticket.mode) == (
                claim.agent_id,
                claim.patterns,
                claim.mode,
            ), "what is granted is what was waited for, whole"
            ahead = [other for other in self.line.values() if other.cursor < ticket.cursor]
        if not self._handed_over:
            assert not [other for other in ahead if other.stops(claim)], "somebody was overtaken"
        self._handed_over = False
        self._hold(claim)
        assert claim.cursor > max((grant.cursor for grant in self.grants), default=0)
        self.grants.append(attrs.evolve(claim))
        self._made = claim

    def _hold(self, claim: Claim) -> None:
        in_the_way = [other for other in self.held.values() if other.stops(claim)]
        assert not in_the_way, "two hold what only one may"
        assert claim.key not in self.held
        self.held[claim.key] = claim

    def _renewed(self, data: events.ReservationRenewed) -> None:
        claim = self.held.get(data.reservation_id)
        if claim is None:
            # It had lapsed and is taken back, which overtakes nobody either.
            (granted,) = [grant for grant in self.grants if grant.key == data.reservation_id]
            kept = self._kept[data.reservation_id]
            claim = attrs.evolve(granted, patterns=kept, ticket_id=None)
            assert not [other for other in self.line.values() if other.stops(claim)]
            later = [grant for grant in self.grants if grant.cursor > claim.cursor]
            assert not [grant for grant in later if grant.stops(claim)], "it had changed hands"
            self._hold(claim)
        if data.cause != "restart" and claim.ticket_id is not None:
            self._end_ticket(claim.ticket_id, "confirmed")
            claim.ticket_id = None

    def _end(self, reservation_id: str, *, released: bool) -> None:
        claim = self.held.pop(reservation_id)
        self._kept[reservation_id] = claim.patterns
        if claim.ticket_id is not None and released:
            self._end_ticket(claim.ticket_id, "given back")

    def _ticket(self, data: events.TicketEvent) -> None:
        if isinstance(data, events.ReservationQueued):
            known = self.line.get(data.ticket_id)
            if known is None:
                assert data.ticket_id not in self.ends
                self.line[data.ticket_id] = Claim(
                    data.ticket_id,
                    data.agent_id,
                    data.patterns,
                    data.mode,
                    self.cursor,
                    held_open=data.held_open,
                )
            else:
                known.held_open = data.held_open
        elif isinstance(data, events.ReservationGranted):
            del self.line[data.ticket_id]
            assert self._made is not None
            assert self._made.key == data.reservation_id
            assert self._made.cursor == data.fencing_token
        elif isinstance(data, events.ReservationSkipped) and data.cause == "unconfirmed":
            self._end_ticket(data.ticket_id, "skipped")
        else:
            self.line.pop(data.ticket_id)
            self._end_ticket(data.ticket_id, data.type)

    def _end_ticket(self, ticket_id: str, how: str) -> None:
        assert ticket_id not in self.ends, "a ticket ends once"
        self.ends[ticket_id] = how

    # Between commands

    def in_the_way(self, claim: Claim, before: int) -> Iterator[Claim]:
        """Whatever a claim of that age has to wait for."""
        older = (ticket for ticket in self.line.values() if ticket.cursor < before)
        return (other for other in (*self.held.values(), *older) if other.stops(claim))

    def assert_settled(self) -> None:
        """Nobody who could go on waits, nobody waits in a circle, and nobody is in between."""
        assert not self._handed_over
        waits: dict[str, set[str]] = {}
        for ticket in self.line.values():
            found = {other.agent_id for other in self.in_the_way(ticket, ticket.cursor)}
            assert found, f"nobody wakes {ticket}"
            waits.setdefault(ticket.agent_id, set()).update(found)
        assert not has_circle(waits), f"they wait for each other for ever: {waits}"

    def assert_all_ended(self) -> None:
        """At the end of everything: every ticket there ever was has ended."""
        assert not self.line
        assert not self.held

    def superseded(self, token: int) -> int | None:
        """The token of the first grant that took the paths of an older one, which is not held."""
        (own,) = [grant for grant in self.grants if grant.cursor == token]
        own = attrs.evolve(own, patterns=self._kept.get(own.key, own.granted))
        later = (grant for grant in self.grants if grant.cursor > token)
        return next((grant.cursor for grant in later if grant.stops(own)), None)

    def conflicting_pairs(self) -> list[tuple[Claim, Claim]]:
        return [(a, b) for a, b in combinations(self.held.values(), 2) if a.stops(b)]


def has_circle(waits: dict[str, set[str]]) -> bool:
    """Whether anybody waits for itself in the end, by taking away those who wait for nobody."""
    waits = {agent_id: set(found) for agent_id, found in waits.items()}
    while True:
        free = [agent_id for agent_id, found in waits.items() if not found & waits.keys()]
        if not free:
            return bool(waits)
        for agent_id in free:
            del waits[agent_id]


def all_heard(log: Iterable[Event]) -> Oracle:
    oracle = Oracle()
    for event in log:
        oracle.hear(event)
    return oracle
