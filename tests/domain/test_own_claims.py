"""Whatever one has is not in one's own way, taken up or not."""

from intermute.domain.decision import Accepted
from intermute.domain.refusals import Refusal

from .table import ALICE, BOB, CAROL, ask, carry_out, held, waits
from .test_waiting import line_of, release, want


def test_a_grant_that_is_not_taken_up_is_in_the_way_of_others_only():
    state = line_of(waits("t", BOB, "src"), first=held("r", ALICE, "src"))
    carry_out(state, ask(state, release("r")))
    (granted,) = state.holdings.by_id.values()
    assert granted.ticket_id == "t", "it is granted, and not taken up"
    own = ask(state, want(BOB, "src/a.py"))
    assert isinstance(own, Accepted)
    assert own.answer.reservation is not None, "nobody waits for oneself"
    others = ask(state, want(CAROL, "src/a.py"))
    assert isinstance(others, Refusal) or others.answer.reservation is None
