"""What is given up by narrowing is not counted any more."""

from intermute.domain import limits
from intermute.domain.commands import NarrowReservation, ReservePaths
from intermute.domain.decision import Accepted
from intermute.domain.modes import Mode

from .table import ALICE, BOB, ask, carry_out, held, state_of


def test_what_is_given_up_makes_room_in_the_project(monkeypatch):
    monkeypatch.setattr(limits, "PATTERNS_ACTIVE_MAX", 2)
    state = state_of([held("r", ALICE, "a", "b")])
    carry_out(state, ask(state, NarrowReservation("r", ("a",), ALICE)))
    assert state.holdings.patterns_len == 1
    assert state.holdings.patterns_by_agent == {ALICE: 1}
    command = ReservePaths(BOB, ("c",), Mode.EXCLUSIVE, "", 60_000)
    assert isinstance(ask(state, command), Accepted)
