"""Remembered answers are forgotten in time, also where none was kept at first."""

import pytest

from intermute.domain import limits
from intermute.domain.commands import ExpireLeases, SendMessage

from .harness import Desk, opened


@pytest.mark.parametrize("looked_at_first", [False, True])
def test_the_sweeper_forgets_what_was_remembered_since_it_last_looked(tmp_path, looked_at_first):
    desk = Desk(tmp_path / "x.sqlite3")
    if looked_at_first:
        desk.tell(ExpireLeases())
        assert desk.actor.sweep() is None, "nothing is due"
    # Not a lease, whose end would have the sweeper look by itself.
    desk.one(SendMessage("alice", ("bob",), message_id="m", body="hello"), key="k")
    desk.clock.later(limits.IDEMPOTENCY_KEPT_MS / 1000 + 1)
    due = desk.actor.sweep()
    assert due is not None, "an answer has been kept for long enough"
    desk.tell(due)
    desk.close()
    with opened(desk.path) as connection:
        assert connection.execute("SELECT count(*) FROM requests").get == 0
