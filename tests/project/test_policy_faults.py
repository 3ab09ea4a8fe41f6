"""B29: what cannot be looked up lets nobody in."""

import apsw
import pytest

from intermute.domain.commands import SendMessage, SetPolicy
from intermute.domain.events import MessageCreated
from intermute.project.messages import StorageUnavailable, WriteOutcome

from .harness import Desk


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path / "x.sqlite3")
    yield desk
    desk.close()


def test_b29_a_fault_while_a_policy_is_looked_up_lets_no_message_through(desk, monkeypatch):
    """B29: an earlier service delivered when it could not read who may write."""
    bob = desk.register("bob")
    desk.one(SetPolicy(bob, "contacts_only"))
    desk.one(SendMessage(bob, ("ada",), thread_id="t"))
    before = len(desk.events())

    def broken(thread_id, agent_id, among, *, written):
        raise apsw.IOError("disk I/O error")

    monkeypatch.setattr(desk.writer.archive, "share_thread", broken)
    (answer,) = desk.tell(SendMessage("ada", (bob,), thread_id="t"))
    assert isinstance(answer, StorageUnavailable)
    assert answer.outcome is WriteOutcome.UNKNOWN
    assert len(desk.events()) == before
    monkeypatch.undo()
    assert desk.one(SendMessage("ada", (bob,), thread_id="t")).denied == ()
    assert isinstance(desk.events()[-1].data, MessageCreated)
