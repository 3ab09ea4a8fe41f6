"""Only what is durable is heard of."""

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
