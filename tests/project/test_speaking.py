"""Only what is durable is heard of."""

import apsw
import pytest

from intermute.project.messages import StorageUnavailable, WriteOutcome
from intermute.storage.writer import Writer

from .harness import Desk, reserve


def test_a_feed_hears_of_nothing_before_its_commit(tmp_path, monkeypatch):
    order = []
    commit = Writer.commit
    monkeypatch.setattr(Writer, "commit", lambda writer: (commit(writer), order.append("commit")))
    desk = Desk(tmp_path / "x.sqlite3")
    monkeypatch.setattr(desk.actor, "_publish", lambda batch: order.append(len(batch)))
    order.clear()
    desk.tell(reserve("alice", "a"), reserve("bob", "b"))
    desk.tell(reserve("carol", "c"))
    desk.close()
    assert order == ["commit", 2, "commit", 1], "what was committed together is told together"


@pytest.mark.parametrize("made", [True, False], ids=["made", "not made"])
def test_a_commit_of_unknown_outcome_is_heard_of_when_it_was_made(tmp_path, monkeypatch, made):
    """At once, and not with the next one, which may be long in coming."""
    heard = []
    commit = Writer.commit

    def fail(writer):
        if made:
            commit(writer)
        raise apsw.IOError("by order of a test")

    desk = Desk(tmp_path / "x.sqlite3")
    monkeypatch.setattr(desk.actor, "_publish", lambda batch: heard.extend(p.cursor for p in batch))
    monkeypatch.setattr(Writer, "commit", fail)
    (told,) = desk.tell(reserve("alice", "a"))
    assert isinstance(told, StorageUnavailable)
    assert told.outcome is WriteOutcome.UNKNOWN
    monkeypatch.setattr(Writer, "commit", commit)
    kept = [event.cursor for event in desk.events()]
    assert heard == kept
    assert bool(kept) is made
    desk.tell(reserve("bob", "b"))
    assert heard == [event.cursor for event in desk.events()], "and once"
    desk.close()
