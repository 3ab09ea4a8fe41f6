"""Waiting on the wire: what asks for it, tickets, tokens, and what ends or passes on a lease."""

import pytest
from msgspec.structs import replace

from intermute.domain import limits
from intermute.domain.commands import (
    HandOver,
    NarrowReservation,
    QueuePaths,
    RenewReservation,
    ReservePaths,
)
from intermute.domain.limits import CURSOR_MAX
from intermute.domain.modes import Mode
from intermute.domain.views import (
    ConflictView,
    FenceView,
    QueuedView,
    ReservationView,
    SupersededView,
    TicketView,
)
from intermute.wire import problems, reservations, waiting
from intermute.wire.bodies import BadRequest

S = 1_000_000
AT = 1_700_000_000 * S


def asked(**members):
    body = {"agent_id": "a1", "path": "src", **members}
    return reservations.reserve(reservations.read_reserve(body))


def test_who_does_not_ask_to_wait_does_not():
    for members in ({}, {"wait_seconds": 0}, {"queue": False}, {"queue_seconds": 0}):
        assert type(asked(**members)) is ReservePaths


@pytest.mark.parametrize(
    ("members", "wait_ms", "held_open"),
    [
        ({"wait_seconds": 1}, 1_000, True),
        ({"wait_seconds": 0.25}, 250, True),
        ({"wait_seconds": 0.0001}, 1, True),
        ({"wait_seconds": 600}, limits.WAIT_MAX_MS, True),
        ({"queue": True}, limits.QUEUE_DEFAULT_MS, False),
        ({"queue": True, "queue_seconds": -5}, limits.QUEUE_DEFAULT_MS, False),
        ({"queue": True, "queue_seconds": 90}, 90_000, False),
        ({"queue": True, "queue_seconds": 10**15}, limits.QUEUE_MAX_MS, False),
    ],
)
def test_how_long_somebody_waits_and_where(members, wait_ms, held_open):
    command = asked(**members, mode="SIX", reason="why", ttl_minutes=1, renew_on_heartbeat=True)
    assert command == QueuePaths(
        agent_id="a1",
        patterns=("src",),
        mode=Mode.SHARED_INTENT_EXCLUSIVE,
        reason="why",
        ttl_ms=60_000,
        renew_on_heartbeat=True,
        wait_ms=wait_ms,
        held_open=held_open,
    )


@pytest.mark.parametrize(
    "members",
    [
        {"wait_seconds": -1},
        {"wait_seconds": 600.001},
        {"wait_seconds": 1e300},
        {"wait_seconds": 1, "queue": True},
        {"wait_seconds": 1, "queue_seconds": 1},
        {"queue_seconds": 1},
    ],
)
def test_waits_that_make_no_sense(members):
    with pytest.raises(BadRequest, match=r"wait_seconds|queue_seconds"):
        asked(**members)


@pytest.mark.parametrize(("text", "token"), [("7", 7), (" 7 ", 7), ("9" * 19, CURSOR_MAX)])
def test_a_token_is_a_number(text, token):
    assert reservations.read_token(text) == token


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "x"])
def test_what_is_no_token(text):
    with pytest.raises(BadRequest, match="positive"):
        reservations.read_token(text)


def test_a_holder_may_show_its_token():
    renewal = reservations.renew("r1", {"fencing_token": 7}, agent_id="a1")
    assert renewal == RenewReservation("r1", agent_id="a1", fencing_token=7)
    narrowing = reservations.narrow(
        "r1", {"path_pattern": "a", "patterns": ["b", "a"], "fencing_token": 7}, agent_id="a1"
    )
    assert narrowing == NarrowReservation("r1", ("a", "b"), agent_id="a1", fencing_token=7)
    checked = reservations.check(["a"], mode=Mode.EXCLUSIVE, agent_id="", fencing_token=7)
    assert checked.fencing_token == 7


def test_a_narrowing_keeps_something():
    with pytest.raises(BadRequest, match="patterns required"):
        reservations.narrow("r1", {"agent_id": "a1"}, agent_id=None)


def test_a_handover_names_both():
    body = {"to": " a2 ", "agent": "a1"}
    assert reservations.hand_over("r1", body, agent_id="a9") == HandOver("r1", "a2", agent_id="a1")
    assert reservations.hand_over("r1", {"to": "a2"}, agent_id="a9").agent_id == "a9"
    with pytest.raises(BadRequest, match="to required"):
        reservations.hand_over("r1", {"to": " "}, agent_id="a1")


def test_force_needs_a_reason():
    assert reservations.force_reason({"reason": " stuck "}) == "stuck"
    for body in ({}, {"reason": "\t"}):
        with pytest.raises(BadRequest, match="reason required"):
            reservations.force_reason(body)


def test_a_waiter_is_named_by_body_or_header():
    assert waiting.waiter({}, agent_id="a1") == "a1"
    assert waiting.waiter({"agent_id": "a2"}, agent_id="a1") == "a2"
    assert waiting.waiter({"agent": "a2"}, agent_id=None) == "a2"


WAITING = ConflictView(
    reservation_id="t1",
    agent_id="a2",
    held_by="Bob",
    holder="quiet",
    pattern="src",
    requested="src/a",
    witness="src/a",
    mode=Mode.INTENT_SHARED,
    fencing_token=0,
    reason="",
    since_us=AT,
    expires_at_us=AT + 60 * S,
    standing="waiting",
)


def test_somebody_who_waits_has_a_ticket_and_no_token():
    shown = problems.conflict(WAITING)
    assert shown["ticket_id"] == "t1"
    assert shown["standing"] == "waiting"
    assert shown["mode"] == "intent_shared"
    assert not {"reservation_id", "fencing_token", "reason"} & shown.keys()


TICKET = TicketView(
    ticket_id="t2",
    agent_id="a1",
    project="house",
    patterns=("src/a",),
    mode=Mode.EXCLUSIVE,
    reason="why",
    ttl_ms=90_000,
    renew_on_heartbeat=True,
    held_open=True,
    created_at_us=AT,
    wait_until_us=AT + 60 * S,
    cursor=9,
    position=2,
    blocked_by=(WAITING,),
    blocked_total=1,
)


def test_a_ticket_on_the_wire():
    listed = {
        "ticket_id": "t2",
        "state": "waiting",
        "agent_id": "a1",
        "project": "house",
        "patterns": ("src/a",),
        "exclusive": True,
        "mode": "exclusive",
        "reason": "why",
        "ttl_seconds": 90,
        "renew_on_heartbeat": True,
        "on_the_line": True,
        "created_at": "2023-11-14T22:13:20Z",
        "wait_until": "2023-11-14T22:14:20Z",
        "cursor": 9,
    }
    place = {"position": 2, "blocked_by": [problems.conflict(WAITING)], "total": 1}
    assert waiting.ticket(TICKET) == listed | place
    assert waiting.listed_ticket(TICKET) == listed


def test_a_ticket_that_has_ended_has_no_place():
    ended = replace(
        TICKET,
        ended="granted",
        ended_at_us=AT + S,
        reservation_id="r1",
        reason="",
        renew_on_heartbeat=False,
    )
    shown = waiting.ticket(ended)
    assert shown["state"] == "granted"
    assert shown["ended_at"] == "2023-11-14T22:13:21Z"
    assert shown["reservation_id"] == "r1"
    assert not {"position", "blocked_by", "reason", "renew_on_heartbeat"} & shown.keys()
    assert waiting.handed_over(QueuedView(ticket=ended)) == {"ticket": shown}


def test_a_grant_says_by_when_it_is_to_be_taken_up():
    view = ReservationView(
        reservation_id="r1",
        agent_id="a1",
        project="house",
        patterns=("src",),
        mode=Mode.EXCLUSIVE,
        reason="",
        ttl_ms=60_000,
        created_at_us=AT,
        expires_at_us=AT + 30 * S,
        cursor=7,
        renew_on_heartbeat=True,
        ticket_id="t1",
    )
    shown = reservations.reservation(view, now_us=AT)
    assert shown["ticket_id"] == "t1"
    assert shown["confirm_by"] == shown["expires_at"]
    assert shown["renew_on_heartbeat"] is True
    lapsed = replace(view, ended="expired", ended_at_us=AT + 30 * S)
    assert "confirm_by" not in reservations.reservation(lapsed, now_us=AT)


def test_a_fence_on_the_wire():
    fence = FenceView(7, "r1", "a1", "house", status="current", newest=True)
    members = {
        "fencing_token": 7,
        "newest": True,
        "status": "current",
        "reservation_id": "r1",
        "agent_id": "a1",
        "project": "house",
    }
    assert reservations.fence(fence) == members
    by = SupersededView("r2", "a2", "Bob", 9, "src", "src/a", AT)
    superseded = replace(fence, status="superseded", newest=False, ended_at_us=AT, superseded_by=by)
    assert reservations.fence(superseded) == members | {
        "newest": False,
        "status": "superseded",
        "ended_at": "2023-11-14T22:13:20Z",
        "superseded_by": {
            "reservation_id": "r2",
            "agent_id": "a2",
            "held_by": "Bob",
            "fencing_token": 9,
            "pattern": "src",
            "witness": "src/a",
            "since": "2023-11-14T22:13:20Z",
        },
    }
