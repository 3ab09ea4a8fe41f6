"""Messages on the wire: what is read from bodies, and what each viewer is shown."""

import msgspec
import pytest

from intermute.domain import limits
from intermute.domain.commands import Broadcast, MarkMessage, MarkMessages, SendMessage
from intermute.domain.events import (
    Event,
    MessageAcked,
    MessageCreated,
    MessageRead,
    MessageUpdated,
)
from intermute.domain.views import (
    BroadcastView,
    DeliveryView,
    MailboxView,
    MarkedManyView,
    MarkedView,
    MessagePage,
    MessageView,
    SentView,
    ThreadView,
)
from intermute.wire import messages as wire
from intermute.wire.bodies import BadRequest, cursor, decimal

S = 1_000_000
AT = 1_700_000_000 * S
AT_TEXT = "2023-11-14T22:13:20Z"
LATER_TEXT = "2023-11-14T22:13:21.5Z"


def send(**members):
    return wire.send(wire.read_send({"from": "a", "to": ["b"], **members}))


def broadcast(**members):
    return wire.broadcast(wire.read_broadcast({"from": "a", "topic": "t", "body": "b", **members}))


def view(**changes):
    members = {
        "message_id": "m",
        "cursor": 7,
        "project": "p",
        "thread_id": "",
        "sender": "a",
        "to": ("b",),
        "cc": (),
        "bcc": (),
        "subject": "",
        "topic": "",
        "body": "hello",
        "importance": "",
        "ack_required": False,
        "broadcast": False,
        "created_at_us": AT,
    }
    return MessageView(**{**members, **changes})


def members(message):
    """A message as who reads its JSON has it."""
    return msgspec.json.decode(msgspec.json.encode(message))


# -- Sending


def test_a_send_says_what_it_says():
    command = send(
        id=" m ",
        thread_id=" t ",
        to=["b", " c "],
        cc=["d"],
        bcc=["e"],
        subject=" s ",
        topic=" Build/CI ",
        body=" text\n",
        importance="high",
        ack_required=True,
        transport="live",
        target_window_uuid="w",
    )
    assert command == SendMessage(
        sender="a",
        to=("b", "c"),
        cc=("d",),
        bcc=("e",),
        thread_id="t",
        subject=" s ",
        topic="build/ci",
        body=" text\n",
        importance="high",
        ack_required=True,
        message_id="m",
        transport="live",
        target_window_uuid="w",
    )


def test_only_from_and_to_are_needed():
    assert send() == SendMessage("a", ("b",))
    assert send(**{"id": "  ", "to": ["", "b", "  "], "cc": [" "]}) == SendMessage("a", ("b",))


@pytest.mark.parametrize("name", ["from", "From", "FROM", "sender"])
def test_the_sender_may_be_spelled_so(name):
    body = wire.read_send({name: " a ", "to": ["b"]})
    assert wire.send(body).sender == "a"


def test_the_sender_stands_once():
    for twice in ({"from": "a", "sender": "a"}, {"From": "a", "FROM": "a"}):
        with pytest.raises(BadRequest, match="from is there twice"):
            wire.read_send({**twice, "to": ["b"]})


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"from": ""}, "from required"),
        ({"from": " \t"}, "control characters"),
        ({"from": "  "}, "from required"),
        ({"from": 7}, "`$.from`"),
        ({"from": "a" * 201}, "length <= 200"),
        ({"from": "a\nb"}, "`$.from`"),
        ({"to": []}, "to required"),
        ({"to": ["", " "]}, "to required"),
        ({"to": [], "cc": ["b"]}, "to required"),
        ({"to": "b"}, "Expected `array`"),
        ({"to": [1]}, "Expected `str`"),
        ({"to": ["b\x1b"]}, "`$.to`"),
        ({"cc": ["b\x7f"]}, "`$.cc`"),
        ({"bcc": ["b\x85"]}, "`$.bcc`"),
        ({"to": ["b" * 201]}, "length <= 200"),
        ({"to": ["b"] * 1_001}, "length <= 1000"),
        ({"to": ["b"] * 600, "cc": ["c"] * 401}, "at most 1000 recipients"),
        ({"id": "m\n"}, "`$.id`"),
        ({"id": "m" * 201}, "length <= 200"),
        ({"thread_id": "t\r"}, "`$.thread_id`"),
        ({"thread_id": "t" * 201}, "length <= 200"),
        ({"topic": "t\x00"}, "`$.topic`"),
        ({"topic": "t" * 201}, "length <= 200"),
        ({"subject": "s" * 1_001}, "length <= 1000"),
        ({"importance": "i" * 51}, "length <= 50"),
        ({"importance": "i\n"}, "`$.importance`"),
        ({"body": 1}, "Expected `str`"),
        ({"ack_required": "yes"}, "Expected `bool`"),
        ({"transport": "live\n"}, "`$.transport`"),
        ({"target_window_uuid": "w" * 101}, "length <= 100"),
    ],
)
def test_what_cannot_be_sent(members, words):
    with pytest.raises(BadRequest) as caught:
        send(**members)
    assert words in str(caught.value)


def test_the_sender_is_required():
    with pytest.raises(BadRequest, match="from required"):
        wire.send(wire.read_send({"to": ["b"]}))


def test_answers_to_a_send():
    assert wire.sent(SentView("m", 7)) == {"message_id": "m", "cursor": 7}
    assert wire.sent(SentView("m", 7, denied=("c",)))["denied"] == ("c",)
    assert wire.sent(SentView("m", 7), live=True)["denied"] == ()
    assert wire.sent(SentView("m", 7, delivery={"b": "deferred"}))["delivery"] == "deferred"
    two = {"b": "deferred", "c": "injected"}
    assert wire.sent(SentView("m", 7, delivery=two))["delivery"] == two


# -- Broadcasts


def test_a_broadcast_says_what_it_says():
    assert broadcast() == Broadcast("a", "t", "b")
    command = broadcast(topic=" Build ", subject="s", include_stale=True)
    assert command == Broadcast("a", "build", "b", "s", include_stale=True)


@pytest.mark.parametrize("name", ["from", "topic", "body"])
@pytest.mark.parametrize("blank", ["", "   "])
def test_a_broadcast_needs_all_three(name, blank):
    with pytest.raises(BadRequest, match=f"{name} required"):
        broadcast(**{name: blank})


def test_answers_to_a_broadcast():
    plain = {"message_id": "m", "cursor": 7, "delivered": 2}
    assert wire.broadcasted(BroadcastView("m", 7, 2)) == plain
    assert wire.broadcasted(BroadcastView("m", 7, 2, ("c",))) == {**plain, "denied": ("c",)}


# -- Marks


@pytest.mark.parametrize(
    ("members", "agent"),
    [({}, ""), ({"agent": " b "}, "b"), ({"agent_id": "b"}, "b"), ({"Agent": "b"}, "b")],
)
def test_who_marks(members, agent):
    assert wire.read_mark(members) == agent


def test_a_mark_is_that_of_the_agent_or_of_nobody():
    assert wire.mark("m", "read", agent_id=None) == MarkMessage("m", None, "read")
    with pytest.raises(BadRequest):
        wire.read_mark({"agent": 7})


def test_many_marks():
    def marks(members, agent_id=None):
        return wire.marks(wire.read_marks(members), "ack", agent_id=agent_id)

    ids = {"message_ids": ["1", " 2 ", ""]}
    expected = MarkMessages("b", ("1", "2"), "ack")
    assert marks({"agent": "b", **ids}) == expected
    assert marks({"agent_id": "b", **ids}) == expected
    assert marks(ids, agent_id="b") == expected
    for members, words in [
        (ids, "agent required"),
        ({"agent": "b"}, "message_ids required"),
        ({"agent": "b", "message_ids": [""]}, "message_ids required"),
        ({"agent": "b", "message_ids": ["m"] * 257}, "length <= 256"),
        ({"agent": "b", "message_ids": ["m\n"]}, "control"),
    ]:
        with pytest.raises(BadRequest, match=words):
            marks(members)


def test_answers_to_marks():
    read = MarkedView("m", "b", "read", AT, changed=True)
    assert wire.marked(read) == {
        "message_id": "m",
        "agent": "b",
        "read_at": AT_TEXT,
        "changed": True,
    }
    nobody = wire.marked(MarkedView("m", None, "ack", None, changed=False))
    assert nobody == {"message_id": "m", "agent": None, "ack_at": None, "changed": False}
    failed = MarkedView("n", "b", "read", None, changed=False, error="message_not_found")
    many = wire.marked_many(MarkedManyView("b", (read, failed)))
    assert many["agent"] == "b"
    assert [each.get("error") for each in many["results"]] == [None, "message_not_found"]


# -- What is shown


def test_a_plain_message_shows_no_empty_members():
    assert msgspec.json.encode(wire.message(view(), None)) == (
        b'{"id":"m","thread_id":"","project":"p","from":"a","to":["b"],"body":"hello",'
        b'"created_at":"2023-11-14T22:13:20Z","cursor":7}'
    )


def test_a_message_shows_all_that_it_has():
    whole = view(
        thread_id="t",
        cc=("c",),
        subject="s",
        topic="x",
        importance="high",
        ack_required=True,
        broadcast=True,
        edited_at_us=AT + 3 * S // 2,
        mark=DeliveryView("b", "to", AT, AT + 3 * S // 2),
    )
    shown = wire.message(whole, "b")
    assert msgspec.json.encode(shown) == (
        b'{"id":"m","thread_id":"t","project":"p","from":"a","to":["b"],"body":"hello",'
        b'"created_at":"2023-11-14T22:13:20Z","cursor":7,"cc":["c"],"subject":"s","topic":"x",'
        b'"importance":"high","ack_required":true,"broadcast":true,'
        b'"edited_at":"2023-11-14T22:13:21.5Z","kind":"to","read_at":"2023-11-14T22:13:20Z",'
        b'"ack_at":"2023-11-14T22:13:21.5Z"}'
    )


def test_marks_that_were_not_made_are_not_shown():
    shown = members(wire.message(view(mark=DeliveryView("b", "to")), "b"))
    assert shown["kind"] == "to"
    assert not {"read_at", "ack_at"} & shown.keys()


BLIND = {"cc": ("c",), "bcc": ("d", "e")}
VIEWERS = [("a", ["d", "e"]), ("d", ["d"]), ("b", None), ("c", None), ("x", None), (None, None)]


@pytest.mark.parametrize(("viewer", "seen"), VIEWERS)
def test_b22_blind_recipients_stay_blind(viewer, seen):
    """B22: an earlier service showed `bcc` to every reader."""
    assert members(wire.message(view(**BLIND), viewer)).get("bcc") == seen


def content(**changes):
    whole = view(**changes)
    names = "message_id thread_id sender to cc bcc subject topic body importance ack_required"
    return {name: getattr(whole, name) for name in names.split()}


@pytest.mark.parametrize(("viewer", "seen"), VIEWERS)
def test_b22_an_event_shows_no_more_than_the_message(viewer, seen):
    data = MessageCreated(**content(**BLIND), broadcast=True)
    shown = wire.message_of_event(Event(7, AT, "a", data), data, viewer, "p")
    assert shown == wire.message(view(**BLIND, broadcast=True), viewer)
    assert members(shown).get("bcc") == seen


def test_an_edits_event_shows_the_message_as_it_is_now():
    data = MessageUpdated(**content(), created_cursor=7, created_at_us=AT)
    shown = wire.message_of_event(Event(9, AT + 3 * S // 2, "a", data), data, None, "p")
    assert shown == wire.message(view(edited_at_us=AT + 3 * S // 2), None)
    assert (shown.cursor, shown.edited_at) == (7, LATER_TEXT)


def test_a_plain_messages_event_shows_the_message():
    data = MessageCreated(**content())
    assert wire.message_of_event(Event(7, AT, "a", data), data, "b", "p") == wire.message(
        view(), "b"
    )


@pytest.mark.parametrize("event", [MessageRead, MessageAcked])
def test_b22_a_mark_of_a_blind_recipient_names_it_to_itself_and_the_sender(event):
    open_mark, blind = event("m", "b", sender="a"), event("m", "d", sender="a", blind=True)
    for viewer in ("a", "b", "d", None):
        assert wire.mark_of_event(open_mark, viewer) == {"agent": "b"}
    assert wire.mark_of_event(blind, "a") == wire.mark_of_event(blind, "d") == {"agent": "d"}
    assert wire.mark_of_event(blind, "b") == wire.mark_of_event(blind, None) == {}


@pytest.mark.parametrize(
    ("viewer", "known"), [("a", "bcde"), ("d", "bcd"), ("b", "bc"), (None, "bc")]
)
def test_b22_the_list_of_recipients_hides_the_blind_ones(viewer, known):
    kinds = {"b": "to", "c": "cc", "d": "bcc", "e": "bcc"}
    deliveries = [DeliveryView(agent_id, kind) for agent_id, kind in kinds.items()]
    deliveries[0] = DeliveryView("b", "to", read_at_us=AT, ack_at_us=AT)
    shown = wire.recipients(view(**BLIND, ack_required=True), deliveries, viewer)
    assert (shown["message_id"], shown["ack_required"]) == ("m", True)
    assert "".join(each["agent"] for each in shown["recipients"]) == known
    assert shown["recipients"][:2] == [
        {"agent": "b", "kind": "to", "read_at": AT_TEXT, "ack_at": AT_TEXT},
        {"agent": "c", "kind": "cc", "read_at": None, "ack_at": None},
    ]


def test_a_page_says_where_the_next_one_begins():
    page = MessagePage((view(cursor=3), view(cursor=9)), more=True)
    shown = wire.messages(page, None, after=2)
    assert (shown["cursor"], shown["more"], len(shown["messages"])) == (9, True, 2)
    assert wire.messages(MessagePage(), None, after=2) == {
        "messages": [],
        "cursor": 2,
        "more": False,
    }


def test_counts():
    assert wire.counts(MailboxView(3, 1)) == {"total": 3, "unread": 1}


def test_stale_acknowledgements():
    page = MessagePage(
        (view(mark=DeliveryView("b", "cc")), view(mark=DeliveryView("b", "to", AT))), more=True
    )
    shown = wire.stale_acks(page, "b", project="p", ttl_s=60, now_us=AT + 90_500_000)
    messages = [members(each) for each in shown.pop("messages")]
    assert shown == {"project": "p", "agent": "b", "ttl_seconds": 60, "count": 2, "more": True}
    assert [each["read_at"] for each in messages] == [None, AT_TEXT]
    assert [each["kind"] for each in messages] == ["cc", "to"]
    assert [each["age_seconds"] for each in messages] == [90, 90]
    early = wire.stale_acks(page, "b", project="p", ttl_s=0, now_us=AT - S)
    assert early["messages"][0].age_seconds == 0


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("short", "short"),
        ("a" * 200, "a" * 200),
        ("a" * 201, "a" * 200),
        ("a" + "\u00e9" * 150, "a" + "\u00e9" * 99),
        ("\U0001f600" * 51, "\U0001f600" * 50),
        ("a\U0001f600" * 50, "a\U0001f600" * 40),
    ],
)
def test_b36_a_preview_is_cut_between_characters(body, shown):
    """B36: an earlier service cut through the middle of them."""
    threads = wire.threads([ThreadView("t", 9, 2, "a", body, AT + S // 2)], before=0, more=False)
    assert threads["threads"][0]["last_body"] == shown
    assert len(shown.encode()) <= limits.PREVIEW_LEN_MAX


def test_a_list_of_threads():
    threads = wire.threads([ThreadView("t", 9, 2, "a", "b", AT + S // 2)], before=0, more=True)
    assert threads == {
        "threads": [
            {
                "thread_id": "t",
                "last_cursor": 9,
                "message_count": 2,
                "last_from": "a",
                "last_body": "b",
                "last_at": AT_TEXT,
            }
        ],
        "cursor": 9,
        "more": True,
    }
    assert wire.threads([], before=5, more=False) == {"threads": [], "cursor": 5, "more": False}


# -- Numbers in query strings


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (None, 5),
        ("", 5),
        ("0", 5),
        ("7", 7),
        ("007", 7),
        ("-1", 5),
        ("+7", 5),
        ("7.0", 5),
        ("x", 5),
        ("\u0667", 5),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", 2**63 - 1),
        ("18446744073709551616", 2**63 - 1),
        ("9" * 41, 5),
    ],
)
def test_b13_a_cursor_beyond_all_is_the_last_there_can_be(text, number):
    """B13: an earlier service answered 500."""
    assert cursor(text, default=5) == number


def test_a_number_may_be_zero_where_that_means_something():
    assert decimal("0", default=5, most=9, least=0) == 0
    assert decimal("0", default=5, most=9) == 5
