"""The rows of messages: inboxes, marks, threads, topics, words, and what each read costs."""

import tracemalloc

import pytest

from intermute.domain.commands import Broadcast, MarkMessage, MarkMessages, SendMessage
from intermute.domain.limits import BROADCASTS_PER_WINDOW_MAX, MESSAGES_PAGE_LEN_MAX
from intermute.domain.refusals import Code
from intermute.domain.views import (
    DeliveryView,
    MailboxView,
    MessageHead,
    ThreadView,
)
from intermute.storage.reader import Reader

from ..project.harness import PROJECT, WALL, Desk, S, assert_consistent

NEWEST = 2**63 - 1


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path / "x.sqlite3")
    yield desk
    assert_consistent(desk.path, tmp_path / "scratch.sqlite3", desk.state)
    desk.close()


@pytest.fixture
def reader(desk):
    reader = Reader.open(desk.path)
    yield reader
    reader.close()


def send(desk, sender, *to, **members):
    members.setdefault("body", "hello")
    return desk.one(SendMessage(sender, to, **members))


def mark(desk, kind, agent_id, *message_ids):
    return desk.one(MarkMessages(agent_id, message_ids, kind))


def ids(page):
    return [message.message_id for message in page.messages]


def inbox(reader, agent_id, **asked):
    return reader.inbox(agent_id, **{"after": 0, "limit": 100, **asked})


def thread(reader, thread_id, **asked):
    return reader.thread(thread_id, **{"after": 0, "limit": 100, **asked})


def threads(reader, agent_id, **asked):
    return reader.threads(agent_id, **{"before": NEWEST, "limit": 100, **asked})


# -- One message


def test_a_message_is_read_as_it_was_sent(desk, reader):
    said = {
        "cc": ("c",),
        "bcc": ("d",),
        "thread_id": "t",
        "subject": "s",
        "topic": "x",
        "body": "b",
        "importance": "high",
        "ack_required": True,
    }
    sent = send(desk, "a", "b", message_id="m", **said)
    message = reader.message("m")
    assert {name: getattr(message, name) for name in said} == said
    assert (message.sender, message.to) == ("a", ("b",))
    assert (message.message_id, message.cursor, message.project) == ("m", sent.cursor, PROJECT)
    assert (message.created_at_us, message.edited_at_us) == (WALL, None)
    assert (message.broadcast, message.mark) == (False, None)
    assert reader.message("other") is None


def test_a_message_without_its_content(desk, reader):
    send(desk, "a", "b", "c", message_id="m", cc=("d",), bcc=("e",))
    assert reader.head("m") == MessageHead("m", 1, "a", ("b", "c", "d"))
    assert reader.head("other") is None


def test_who_has_a_message(desk, reader):
    send(desk, "a", "b", "c", message_id="m", bcc=("d",))
    desk.clock.later(1)
    mark(desk, "read", "c", "m")
    desk.clock.later(1)
    mark(desk, "ack", "c", "m")
    message, deliveries = reader.recipients("m")
    assert message == reader.message("m")
    assert deliveries == [
        DeliveryView("b", "to"),
        DeliveryView("c", "to", WALL + S, WALL + 2 * S),
        DeliveryView("d", "bcc"),
    ]
    assert reader.delivery(1, "d") == DeliveryView("d", "bcc")
    assert reader.delivery(1, "a") is None
    assert reader.recipients("other") is None


# -- Inboxes


def test_b32_every_kind_of_recipient_is_delivered_to(desk, reader):
    """B32: copies and blind copies used to be counted and never delivered."""
    send(desk, "a", "b", cc=("c",), bcc=("d",), message_id="m")
    for agent_id, kind in (("b", "to"), ("c", "cc"), ("d", "bcc")):
        (message,) = inbox(reader, agent_id).messages
        assert message.mark == DeliveryView(agent_id, kind)
        assert reader.mailbox(agent_id) == MailboxView(1, 1)
    assert inbox(reader, "a").messages == ()
    assert reader.mailbox("a") == MailboxView(0, 0)


def test_an_inbox_is_read_by_cursor_and_reading_consumes_nothing(desk, reader):
    for number in range(5):
        send(desk, "a", "b", message_id=str(number))
        send(desk, "a", "c")
    assert ids(inbox(reader, "b")) == list("01234")
    page = inbox(reader, "b", limit=2)
    assert (ids(page), page.more) == (["0", "1"], True)
    page = inbox(reader, "b", after=page.messages[-1].cursor, limit=2)
    assert (ids(page), page.more) == (["2", "3"], True)
    page = inbox(reader, "b", after=page.messages[-1].cursor, limit=2)
    assert (ids(page), page.more) == (["4"], False)
    assert inbox(reader, "b", after=page.messages[-1].cursor).messages == ()
    assert inbox(reader, "b", after=NEWEST).messages == ()
    assert ids(inbox(reader, "b")) == list("01234")


def test_an_inbox_of_what_is_unread(desk, reader):
    for number in range(4):
        send(desk, "a", "b", message_id=str(number))
    mark(desk, "read", "b", "1", "2")
    page = inbox(reader, "b", unread_only=True, limit=1)
    assert (ids(page), page.more) == (["0"], True)
    page = inbox(reader, "b", unread_only=True, after=1)
    assert (ids(page), page.more) == (["3"], False)
    assert reader.mailbox("b") == MailboxView(4, 2)


def test_counts_hold_through_marks_and_edits(desk, reader):
    send(desk, "a", "b", "c", message_id="1")
    send(desk, "a", "b", message_id="2")
    for _ in range(2):
        mark(desk, "read", "b", "1")
        mark(desk, "ack", "b", "2")
        send(desk, "a", "b", "c", message_id="1", body="two")
    assert reader.mailbox("b") == MailboxView(2, 1)
    assert reader.mailbox("c") == MailboxView(1, 1)


def test_a_page_ends_where_it_holds_enough_text(desk, reader):
    body = "x" * 900_000
    for number in range(4):
        send(desk, "a", "b", message_id=str(number), body=body, thread_id="t", topic="t")
    page = inbox(reader, "b")
    assert (ids(page), page.more) == (["0", "1"], True)
    page = inbox(reader, "b", after=page.messages[-1].cursor)
    assert (ids(page), page.more) == (["2", "3"], False)
    assert (ids(thread(reader, "t")), thread(reader, "t").more) == (["0", "1"], True)
    assert ids(reader.topic("t", after=0, limit=100)) == ["0", "1"]


def test_one_message_is_never_too_much_for_a_page(desk, reader):
    assert MESSAGES_PAGE_LEN_MAX >= 1_048_576
    recipients = tuple(f"{number:0200}" for number in range(1_000))
    for number in range(2):
        send(desk, "a", *recipients, message_id=str(number), body="x" * 1_048_576)
    assert (ids(inbox(reader, recipients[0])), inbox(reader, recipients[0]).more) == (["0"], True)


def test_a_list_of_threads_reads_no_long_bodies(desk, reader):
    for number in range(3):
        send(desk, "a", "b", thread_id=str(number), body="x" * 1_000_000)
    threads(reader, "b")
    tracemalloc.start()
    try:
        assert [view.last_body for view in threads(reader, "b")] == ["x" * 200] * 3
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


# -- Acknowledgements that are owed


def acks_due(reader, agent_id, age_s=0, at_us=WALL, limit=100):
    page = reader.acks_due(agent_id, sent_until_us=at_us - age_s * S, limit=limit)
    return ids(page)


def test_acknowledgements_that_are_owed(desk, reader):
    for number in range(4):
        kinds = {"cc": ("b",)} if number == 3 else {}
        to = "c" if kinds else "b"
        send(desk, "a", to, message_id=str(number), ack_required=number != 1, **kinds)
        desk.clock.later(10)
    now_us = desk.clock.at_us
    assert acks_due(reader, "b", at_us=now_us) == ["0", "2", "3"]
    assert acks_due(reader, "b", 20, now_us) == ["0", "2"]
    assert acks_due(reader, "b", 21, now_us) == ["0"]
    assert acks_due(reader, "b", at_us=now_us, limit=1) == ["0"]
    mark(desk, "read", "b", "0")
    assert acks_due(reader, "b", at_us=now_us) == ["0", "2", "3"]
    mark(desk, "ack", "b", "0", "1")
    assert acks_due(reader, "b", at_us=now_us) == ["2", "3"]
    (message,) = reader.acks_due("b", sent_until_us=now_us - 20 * S, limit=9).messages
    assert message.mark.kind == "to"


def test_an_edit_may_ask_for_an_acknowledgement_or_do_without(desk, reader):
    send(desk, "a", "b", "c", message_id="m")
    mark(desk, "ack", "c", "m")
    send(desk, "a", "b", "c", message_id="m", ack_required=True)
    assert acks_due(reader, "b") == ["m"]
    assert acks_due(reader, "c") == []
    send(desk, "a", "b", "c", message_id="m")
    assert acks_due(reader, "b") == []


# -- The same message once more


def test_b31_a_message_that_is_sent_again_is_one(desk, reader):
    """B31: a repeated send used to make another inbox row and to count once more everywhere."""
    send(desk, "a", "b", message_id="m", thread_id="t", topic="x")
    send(desk, "b", "a", message_id="n", thread_id="t")
    mark(desk, "read", "b", "m")
    desk.clock.later(5)
    for _ in range(3):
        again = send(desk, "a", "b", message_id="m", thread_id="t", topic="y", body="two")
    assert again.cursor == 1
    (message,) = inbox(reader, "b").messages
    assert (message.body, message.cursor, message.created_at_us) == ("two", 1, WALL)
    assert message.edited_at_us == WALL + 5 * S
    assert message.mark == DeliveryView("b", "to", WALL)
    assert reader.mailbox("b") == MailboxView(1, 0)
    assert ids(thread(reader, "t")) == ["m", "n"]
    assert threads(reader, "b")[0].message_count == 2
    assert ids(reader.topic("x", after=0, limit=9)) == []
    assert ids(reader.topic("y", after=0, limit=9)) == ["m"]


def test_b36_threads_follow_a_message_that_moves(desk, reader):
    """B36: the old thread used to stay in the list, with a preview of what was not in it."""
    send(desk, "a", "b", message_id="1", thread_id="old", body="one", bcc=("d",))
    send(desk, "a", "b", message_id="2", thread_id="old", body="two", cc=("c",))
    send(desk, "a", "b", message_id="3", thread_id="new", body="three")
    send(desk, "a", "b", message_id="2", thread_id="new", body="two", cc=("c",))
    assert ids(thread(reader, "old")) == ["1"]
    assert ids(thread(reader, "new")) == ["2", "3"]
    old = ThreadView("old", 1, 1, "a", "one", WALL)
    assert threads(reader, "b") == [ThreadView("new", 3, 2, "a", "three", WALL), old]
    assert threads(reader, "c") == [ThreadView("new", 2, 1, "a", "two", WALL)]
    assert threads(reader, "d") == [old]
    for thread_id in ("", "third"):
        send(desk, "a", "b", message_id="1", thread_id=thread_id, body="one", bcc=("d",))
        assert thread(reader, "old").messages == ()
    assert [view.thread_id for view in threads(reader, "b")] == ["new", "third"]
    assert [view.thread_id for view in threads(reader, "d")] == ["third"]


def test_b36_the_last_message_of_a_thread_may_leave_it(desk, reader):
    for number in range(3):
        send(desk, "a", "b", message_id=str(number), thread_id="t", body=str(number))
    send(desk, "a", "b", message_id="2", body="2")
    assert threads(reader, "b") == [ThreadView("t", 2, 2, "a", "1", WALL)]
    send(desk, "a", "b", message_id="2", body="2", thread_id="t")
    assert threads(reader, "b") == [ThreadView("t", 3, 3, "a", "2", WALL)]


# -- Threads and topics


def test_b32_everybody_who_has_a_message_takes_part_in_its_thread(desk, reader):
    send(desk, "a", "b", cc=("c",), bcc=("d",), thread_id="t")
    for agent_id in "abcd":
        assert [view.thread_id for view in threads(reader, agent_id)] == ["t"]
    assert threads(reader, "e") == []


def test_b34_a_thread_counts_a_message_once_for_everybody(desk, reader):
    send(desk, "a", "a", "b", "b", cc=("a",), thread_id="t")
    assert [threads(reader, name)[0].message_count for name in "ab"] == [1, 1]


def test_threads_are_listed_latest_first_and_page_by_page(desk, reader):
    for name in ("x", "y", "x", "z"):
        send(desk, "a", "b", thread_id=name, body=name)
    listed = threads(reader, "b")
    assert [(view.thread_id, view.last_cursor) for view in listed] == [("z", 4), ("x", 3), ("y", 2)]
    assert threads(reader, "b", limit=2) == listed[:2]
    assert threads(reader, "b", before=3) == listed[2:]


def test_a_thread_is_in_the_order_of_cursors_with_everything_filled_in(desk, reader):
    for number in range(3):
        send(desk, "a", "b", message_id=str(number), thread_id="t", subject="s", cc=("c",))
    page = thread(reader, "t", limit=2)
    assert (ids(page), page.more) == (["0", "1"], True)
    assert ids(thread(reader, "t", after=page.messages[-1].cursor)) == ["2"]
    assert page.messages[0] == reader.message("0")
    assert thread(reader, "none").messages == ()


def test_messages_without_a_thread_or_topic_are_in_none(desk, reader):
    send(desk, "a", "b")
    assert thread(reader, "").messages == ()
    assert reader.topic("", after=0, limit=9).messages == ()


def test_b35_a_topics_cursors_are_those_of_the_inbox(desk, reader):
    """B35: they used to be row numbers of another table."""
    desk.register("somebody")
    for number in range(3):
        send(desk, "a", "b", topic="x", message_id=str(number))
        send(desk, "a", "b")
    topic = reader.topic("x", after=0, limit=2)
    assert (ids(topic), topic.more) == (["0", "1"], True)
    received = {message.message_id: message.cursor for message in inbox(reader, "b").messages}
    assert [message.cursor for message in topic.messages] == [received["0"], received["1"]]
    assert ids(reader.topic("x", after=received["1"], limit=2)) == ["2"]


def test_b25_order_is_that_of_cursors_whatever_the_clock_says(desk, reader):
    """B25: times were text of various lengths, and 12:00:00Z sorted after 12:00:00.5Z."""
    for micros in (0, 500_000, 0, 250_000):
        send(desk, "a", "b", thread_id="t", topic="x", message_id=str(len(desk.log)))
        desk.clock.at_us += micros
    in_order = [str(number) for number in range(4)]
    assert ids(thread(reader, "t")) == in_order
    assert ids(inbox(reader, "b")) == in_order
    assert ids(reader.topic("x", after=0, limit=9)) == in_order


# -- What outlives a restart


def test_marks_and_edits_outlive_a_restart(desk):
    send(desk, "a", "b", message_id="m")
    desk.reopen()
    assert desk.one(MarkMessage("m", "b", "read")).changed is True
    desk.reopen()
    assert desk.one(MarkMessage("m", "b", "read")).changed is False
    assert send(desk, "a", "b", message_id="m", body="two").cursor == 1


def test_broadcasts_of_the_last_minute_count_after_a_restart(desk):
    desk.register("somebody")
    command = Broadcast("a", "t", "b")
    for _ in range(BROADCASTS_PER_WINDOW_MAX):
        desk.clock.later(1)
        assert desk.one(command).delivered == 1
    desk.reopen()
    refusal = desk.one(command)
    assert refusal.code is Code.RATE_LIMIT
    assert refusal.data == {"retry_after_seconds": 60 - BROADCASTS_PER_WINDOW_MAX + 1}
    desk.clock.later(51)
    assert desk.one(command).delivered == 1
    desk.clock.later(300)
    desk.reopen()
    assert len(desk.state.broadcasts) == 0
