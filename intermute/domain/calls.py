"""Open calls: what is kept for them alone, and what becomes of it when they end.

A call that stays on the line has a number, which is with its ticket, and then with what that is
granted, from the decision on that it has asked for. A call that ends without an answer takes its
number away; what has no number left then is given up: the place, or the lease. Whatever the agent
asks for without staying on the line, it has for good, and no call that ends takes it away.

Each of these is decided in the order of the project. So it does not matter how far the answer to
somebody who has asked has come when another call of the same agent ends. The numbers are not in
the file, because neither calls nor tickets that hang on them outlive the process.
"""

from intermute.domain.commands import Caller, HangUp
from intermute.domain.decision import Accepted, Decision, Decisions
from intermute.domain.events import CallOpened, CallsClosed, Mark, ReservationCancelled
from intermute.domain.holdings import Reservation, Ticket
from intermute.domain.leases import released
from intermute.domain.stamp import Stamp, make_id
from intermute.domain.state import State


def grant_id(state: State, ticket_id: str) -> str:
    """The id of what a ticket becomes. It is granted once, so what its own is made of serves."""
    return make_id("rsv", state.tag, ticket_id.rpartition("_")[2])


def hang_up(state: State, command: HangUp, stamp: Stamp, caller: Caller) -> Decision:
    """The end of a call. Nothing is refused: what it has asked for may have ended before."""
    claim = _asked_for(state, command.ticket_id)
    if claim is None or command.call not in claim.calls:
        return Accepted(None)
    alone = len(claim.calls) == 1
    if isinstance(claim, Ticket):
        if alone and claim.held_open:
            left = ReservationCancelled(claim.key, claim.agent_id, "waiter")
            return Accepted(None, events=(left,), actor=claim.agent_id)
    elif command.keeps_grant:
        return Accepted(None)
    elif alone:
        given_back = released(claim, "holder")
        return Accepted(None, events=(given_back,), actor=claim.agent_id)
    return Accepted(None, marks=(CallsClosed(claim.key, (command.call,)),))


def for_good(reservation: Reservation) -> tuple[Mark, ...]:
    """The agent has asked for the lease by itself, so no call is going to give it back."""
    calls = tuple(sorted(reservation.calls))
    return (CallsClosed(reservation.key, calls),) if calls else ()


def granted_for(state: State, ticket_id: str | None) -> frozenset[int]:
    """The calls for which a ticket is granted just now; none when it is the agent's for good."""
    ticket = None if ticket_id is None else state.line.by_id.get(ticket_id)
    return ticket.calls if ticket is not None and ticket.held_open else frozenset()


def open_call(state: State, note: CallOpened) -> None:
    """The call asks for a ticket, or for what it has become. What is kept for good stays so."""
    claim = _asked_for(state, note.ticket_id)
    if claim is not None and (claim.calls or isinstance(claim, Ticket)):
        state.touched[claim.key] = None
        claim.calls |= {note.call}


def close_calls(state: State, note: CallsClosed) -> None:
    """The calls do not give up any more what they have asked for."""
    claim = state.line.by_id.get(note.claim_id) or state.holdings.by_id.get(note.claim_id)
    if claim is not None:
        state.touched[claim.key] = None
        claim.calls -= frozenset(note.calls)


def _asked_for(state: State, ticket_id: str) -> Ticket | Reservation | None:
    """The ticket, or what it was granted and holds still."""
    ticket = state.line.by_id.get(ticket_id)
    return ticket or state.holdings.by_id.get(grant_id(state, ticket_id))


DECISIONS: Decisions = {HangUp: hang_up}
