"""Frames: every event has one, today's clients find what they look for, and bcc stays blind."""

from typing import Any

import msgspec
import pytest

from intermute.domain import events
from intermute.domain.entities.kinds import Entity
from intermute.domain.events import Event, EventData
from intermute.domain.limits import (
    AGENT_ID_LEN_MAX,
    EVENT_TYPE_LEN_MAX,
    FEED_FRAME_LEN_MAX,
    FEED_RECIPIENTS_SHOWN_MAX,
    FEED_TYPES_MAX,
    PATTERNS_PER_REQUEST_MAX,
    TTL_DEFAULT_MS,
)
from intermute.domain.modes import Mode
from intermute.globs.limits import PATTERN_LEN_MAX
from intermute.wire import frames
from intermute.wire.bodies import BadRequest

AT_US = 1_700_000_000_250_000
SENDER, TO, CC, BLIND, OTHER = "sender", "to", "cc", "blind", "other"


def shown(
    data: EventData, viewer: str | None = None, addressee: str | None = None, **more: Any
) -> dict[str, Any]:
    event = Event(7, AT_US, more.get("actor"), data)
    frame = frames.frame_for(event, "house", {}, viewer=viewer, addressee=addressee)
    assert b"\n" not in frame
    return msgspec.json.decode(frame)


def message(**more: Any) -> events.MessageCreated:
    members: dict[str, Any] = {
        "message_id": "m",
        "thread_id": "th",
        "sender": SENDER,
        "to": (TO,),
        "cc": (CC,),
        "bcc": (BLIND,),
        "subject": "s",
        "topic": "t",
        "body": "line\nand é",
        "importance": "high",
        "ack_required": True,
        **more,
    }
    return events.MessageCreated(**members)


@pytest.mark.parametrize("kind", events.EVENT_TYPES.values(), ids=lambda kind: kind.type)
def test_every_event_has_a_frame_of_its_own(kind):
    assert frames._own_members.dispatch(kind) is not frames._own_members.dispatch(object)


@pytest.mark.parametrize("name", events.EVENT_TYPES)
def test_every_event_type_can_be_asked_for(name):
    family = name.partition(".")[0] + ".*"
    assert frames.read_types(f"{name}, {family}") == [name, family]
    assert len(name) <= EVENT_TYPE_LEN_MAX


def test_all_frames_have_the_same_members_first():
    data = events.ReservationReleased("r", "ada", "holder", fencing_token=1)
    assert shown(data, actor="ada") == {
        "type": "reservation.released",
        "project": "house",
        "cursor": 7,
        "created_at": "2023-11-14T22:13:20.25Z",
        "entity_id": "r",
        "actor": "ada",
        "agent_id": "ada",
        "reservation_id": "r",
        "data": {
            "id": "r",
            "agent_id": "ada",
            "fencing_token": 1,
            "released_at": "2023-11-14T22:13:20.25Z",
            "cause": "holder",
        },
    }
    assert "actor" not in shown(data)


def test_what_clients_of_today_look_for_in_an_expiry():
    frame = shown(events.ReservationExpired("r", "ada", ("src/**", "b"), fencing_token=1))
    assert (frame["agent_id"], frame["path_pattern"], frame["reservation_id"]) == (
        "ada",
        "src/**",
        "r",
    )
    assert frame["data"]["patterns"] == ["src/**", "b"]


def test_what_clients_of_today_look_for_in_a_message():
    frame = shown(message(), TO, TO)
    assert (frame["agent"], frame["message_id"], frame["cursor"]) == (TO, "m", 7)
    assert frame["entity_id"] == "m"
    assert frame["data"]["body"] == "line\nand é"
    assert frame["data"]["from"] == SENDER


@pytest.mark.parametrize("kind", [events.MessageRead, events.MessageAcked])
def test_b37_a_mark_says_who_made_it(kind):
    frame = shown(kind("m", TO, SENDER), actor=TO)
    assert (frame["message_id"], frame["agent"], frame["actor"]) == ("m", TO, TO)


def test_an_entity_shows_all_of_it():
    entity = Entity("spec", "s1", "house", {"title": "T", "status": "draft"}, 1, AT_US, AT_US)
    created = events.EVENT_TYPES["spec.created"](entity)  # type: ignore[call-arg]
    frame = shown(created)
    assert frame["entity_id"] == "s1"
    assert frame["data"]["title"] == "T"
    archived = events.EVENT_TYPES["spec.archived"]("s1")  # type: ignore[call-arg]
    assert shown(archived)["data"] is None


def test_a_registration_shows_no_session():
    data = events.AgentRegistered("a", "secret", "Ada", (), {}, "", "open", "open")
    assert b"secret" not in msgspec.json.encode(shown(data))


# -- Blind recipients


def test_b22_bcc_is_seen_by_the_sender_and_by_that_recipient():
    data = message(bcc=(BLIND, "blind2"))
    seen = {
        viewer: shown(data, viewer, viewer)["data"].get("bcc")
        for viewer in (SENDER, TO, CC, BLIND, OTHER, None)
    }
    assert seen == {
        SENDER: [BLIND, "blind2"],
        BLIND: [BLIND],
        TO: None,
        CC: None,
        OTHER: None,
        None: None,
    }


@pytest.mark.parametrize("viewer", [TO, OTHER, None])
def test_b22_a_blind_recipients_mark_does_not_give_it_away(viewer):
    data = events.MessageRead("m", BLIND, SENDER, blind=True)
    event = Event(7, AT_US, BLIND, data)
    assert BLIND.encode() not in frames.frame_for(event, "p", {}, viewer=viewer)
    assert shown(data, SENDER, actor=BLIND)["agent"] == BLIND
    assert shown(data, BLIND, actor=BLIND)["actor"] == BLIND


def test_a_poke_is_between_two_agents():
    poke = events.PeerWindowPoke("m", TO, SENDER, "t", "body", "both", "w", "s:1.0", "pending", "")
    event = Event(7, AT_US, SENDER, poke)
    assert TO.encode() not in frames.frame_for(event, "p", {}, viewer=OTHER).replace(b'"to"', b"")
    frame = shown(poke, TO, actor=SENDER)
    assert frame["data"]["agent"] == TO
    assert "s:1.0" not in str(frame)


# -- Made once


def test_who_sees_the_same_shares_the_bytes():
    event = Event(7, AT_US, SENDER, message())
    made: frames.Frames = {}
    for viewer in (None, TO, CC, OTHER, *(f"a{number}" for number in range(1_000))):
        frames.frame_for(event, "p", made, viewer=viewer)
    assert len(made) == 1
    for viewer in (SENDER, BLIND):
        frames.frame_for(event, "p", made, viewer=viewer)
    assert len(made) == 3


def test_the_addressee_is_put_in_whatever_it_is_called():
    name = 'a "quoted"\nname é'
    assert shown(message(to=(name,)), name, name)["agent"] == name
    assert "agent" not in shown(message(), TO)


def test_long_lists_of_recipients_are_cut_and_counted():
    to = tuple(f"a{number}" for number in range(FEED_RECIPIENTS_SHOWN_MAX + 50))
    data = shown(message(to=to))["data"]
    assert len(data["to"]) == FEED_RECIPIENTS_SHOWN_MAX
    assert data["recipients"] == len(to) + 1
    assert "recipients" not in shown(message())["data"]


# -- What clients say


@pytest.mark.parametrize(
    "types",
    [
        "message.created",
        {"a": 1},
        [1],
        ["message"],
        ["*"],
        ["message.**"],
        ["Message.created"],
        ["message.created "],
        ["a." + "b" * EVENT_TYPE_LEN_MAX],
        ["a.b"] * (FEED_TYPES_MAX + 1),
        [""],
    ],
)
def test_types_that_cannot_be_are_refused(types):
    with pytest.raises(BadRequest):
        frames.check_types(types)


def test_types_in_a_query_string():
    assert frames.read_types("") == []
    assert frames.read_types(" a.b ,, c.* ") == ["a.b", "c.*"]
    with pytest.raises(BadRequest):
        frames.read_types("a")


@pytest.mark.parametrize("text", ["-1", "1.0", "x", " 1", "٣", "+1", "9" * 20, "0x1"])
def test_cursors_that_are_none_are_refused(text):
    with pytest.raises(BadRequest, match="since_cursor must be a cursor"):
        frames.read_cursor(text, "since_cursor")


def test_cursors():
    assert frames.read_cursor("0", "x") == 0
    assert frames.read_cursor(str(2**63 - 1), "x") == 2**63 - 1


LONG = "\U0001f600" * FEED_FRAME_LEN_MAX


@pytest.mark.parametrize(
    ("data", "left_out"),
    [
        (message(body="x" * FEED_FRAME_LEN_MAX), ["body"]),
        (message(body=LONG, subject=LONG, topic="t"), ["body", "subject"]),
        (
            events.ReservationCreated(
                "r",
                "ada",
                patterns=("\U0001f600" * PATTERN_LEN_MAX,) * PATTERNS_PER_REQUEST_MAX,
                mode=Mode.EXCLUSIVE,
                reason="",
                ttl_ms=TTL_DEFAULT_MS,
                expires_at_us=AT_US,
            ),
            ["patterns"],
        ),
        (events.AgentMetadataMerged("ada", {"notes": LONG}), ["metadata"]),
    ],
    ids=["message", "two members", "reservation", "metadata"],
)
def test_a_frame_is_shortened_for_who_reads_no_longer_ones(data, left_out):
    event, made, addressee = Event(7, AT_US, None, data), {}, "\U0001f600" * AGENT_ID_LEN_MAX
    whole = frames.frame_for(event, "p", made, viewer=None, addressee=addressee)
    assert len(whole) > FEED_FRAME_LEN_MAX
    for _ in range(2):
        short = frames.frame_for(event, "p", made, viewer=None, addressee=addressee, short=True)
        assert len(short) <= FEED_FRAME_LEN_MAX
    expected = msgspec.json.decode(whole)
    for name in left_out:
        del expected["data"][name]
    assert msgspec.json.decode(short) == {**expected, "truncated": left_out}
    assert frames.frame_for(event, "p", made, viewer=None, addressee=addressee) == whole


def test_what_is_short_enough_is_not_shortened():
    event = Event(7, AT_US, None, message())
    whole = frames.frame_for(event, "p", {}, viewer=None)
    assert frames.frame_for(event, "p", {}, viewer=None, short=True) == whole
