"""A warning that was due just when the state was committed was given then."""

import attrs

from intermute.domain.state import State

from .table import BOB, PROJECT, TAG, Later, S, held
from .test_continuity import committed


def test_what_was_due_at_the_commit_is_not_due_again():
    # The last quarter of the lease begins at this moment.
    state, continuity = committed([held("short", BOB, "x", ttl_s=100), Later(75)])
    continuity.keep(state)
    again = State(tag=TAG, project=PROJECT, at_us=state.at_us, mono_us=state.mono_us)
    again.cursor = state.cursor
    for reservation in state.holdings.by_id.values():
        again.holdings.add(attrs.evolve(reservation))
    continuity.restore(again)
    assert [claim.key for claim in again.holdings.due(state.mono_us)] == []
    assert [claim.key for claim in again.holdings.due(state.mono_us + 25 * S)] == ["short"]
