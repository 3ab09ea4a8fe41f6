"""Fencing tokens only grow, whoever takes the paths, and whatever happens in between."""

import pytest

from intermute.domain.events import ReservationCreated

from .harness import Desk, release, renew, reserve


@pytest.mark.parametrize("restarts", [False, True])
def test_whoever_takes_the_paths_later_has_a_greater_token(tmp_path, restarts):
    desk, tokens = Desk(tmp_path / "x.sqlite3"), []
    for agent_id in ("alice", "bob", "alice", "carol"):
        held = desk.one(reserve(agent_id, "src"))
        tokens += [held.cursor, desk.one(renew(held.reservation_id, agent_id)).cursor]
        desk.one(release(held.reservation_id, agent_id))
        if restarts:
            desk.reopen()
    granted = [event.cursor for event in desk.events() if type(event.data) is ReservationCreated]
    desk.close()
    assert tokens[1::2] == sorted(set(tokens)), "a token was given twice, or did not grow"
    assert granted == tokens[::2], "a token is the place of its grant"
