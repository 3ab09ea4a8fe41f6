"""Reservations and settings on the wire, and refusals as problems."""

import pytest
from msgspec.structs import replace

from intermute.domain import limits
from intermute.domain.commands import (
    CheckPaths,
    ConfigureProject,
    RenewReservation,
    ReservePaths,
)
from intermute.domain.modes import Mode
from intermute.domain.refusals import Code, Refusal
from intermute.domain.views import CheckedView, ConflictView, ProjectView, ReservationView
from intermute.wire import problems, reservations, settings
from intermute.wire.bodies import BadRequest

AT = 1_700_000_000_000_000
S = 1_000_000
DEFAULT_MS = limits.TTL_DEFAULT_MS
BASE = {"agent_id": "a1", "path_pattern": "src"}


def reserve(**members):
    return reservations.reserve(reservations.read_reserve(members))


@pytest.mark.parametrize(
    ("members", "patterns"),
    [
        ({"path_pattern": "src"}, ("src",)),
        ({"path": "src"}, ("src",)),
        ({"patterns": ["a", "b"]}, ("a", "b")),
        ({"glob_patterns": ["a", "b"]}, ("a", "b")),
        ({"path_pattern": "a", "path": "b", "patterns": ["c"]}, ("a", "b", "c")),
        ({"patterns": ["b", "a", "b"], "glob_patterns": ["a"]}, ("b", "a")),
        ({"patterns": [f"f{i}" for i in range(256)]}, tuple(f"f{i}" for i in range(256))),
    ],
)
def test_patterns_go_by_several_names(members, patterns):
    expected = ReservePaths("a1", patterns, Mode.EXCLUSIVE, "", DEFAULT_MS)
    assert reserve(agent_id="a1", **members) == expected


@pytest.mark.parametrize(
    ("members", "exclusive"),
    [
        ({}, True),
        ({"exclusive": True}, True),
        ({"exclusive": False}, False),
        ({"shared": True}, False),
        ({"shared": False}, True),
        ({"shared": True, "exclusive": False}, False),
        ({"shared": False, "exclusive": True}, True),
    ],
)
def test_a_reservation_is_exclusive_unless_it_says_otherwise(members, exclusive):
    """B46: reserve and check have the same default."""
    assert (reserve(**BASE, **members).mode is Mode.EXCLUSIVE) is exclusive


@pytest.mark.parametrize(
    ("members", "ttl_ms"),
    [
        ({}, DEFAULT_MS),
        ({"ttl_minutes": 0, "ttl_seconds": 0}, DEFAULT_MS),
        ({"ttl_minutes": -5}, DEFAULT_MS),
        ({"ttl_seconds": -1}, DEFAULT_MS),
        ({"ttl_minutes": 1}, 60_000),
        ({"ttl_seconds": 1}, 1_000),
        ({"ttl_seconds": 90, "ttl_minutes": -1}, 90_000),
        ({"ttl_minutes": 24 * 60}, limits.TTL_MAX_MS),
        ({"ttl_minutes": 24 * 60 + 1}, limits.TTL_MAX_MS),
        ({"ttl_minutes": 366 * 24 * 60}, limits.TTL_MAX_MS),
        ({"ttl_seconds": 366 * 24 * 3600}, limits.TTL_MAX_MS),
    ],
)
def test_the_length_of_a_lease(members, ttl_ms):
    assert reserve(**BASE, **members).ttl_ms == ttl_ms


@pytest.mark.parametrize(
    "members",
    [
        {"agent_id": ""},
        {"agent_id": " "},
        {"agent_id": "a\nb"},
        {"agent_id": "a" * 201},
        {"path_pattern": ""},
        {"path_pattern": "x" * 16_385},
        {"path_pattern": 1},
        {"patterns": ["x"] * 257},
        {"patterns": [f"f{i}" for i in range(200)], "glob_patterns": [f"g{i}" for i in range(57)]},
        {"patterns": "src"},
        {"reason": "x" * 2_001},
        {"exclusive": "yes"},
        {"exclusive": True, "shared": True},
        {"exclusive": False, "shared": False},
        {"ttl_minutes": 1, "ttl_seconds": 1},
        {"ttl_minutes": 1.5},
        {"ttl_minutes": 1.0},
        {"ttl_minutes": True},
        {"ttl_minutes": "5"},
        {"ttl_minutes": 366 * 24 * 60 + 1},
        {"ttl_seconds": 366 * 24 * 3600 + 1},
        {"ttl_minutes": 150_000_000},
        {"ttl_minutes": 2**63 - 1},
        {"ttl_minutes": -(2**63)},
        {"ttl_seconds": -(2**63)},
    ],
)
def test_what_a_reservation_may_not_say(members):
    """B13 among others: no number of minutes overflows into a lease of the past."""
    with pytest.raises(BadRequest):
        reserve(**{**BASE, **members})


@pytest.mark.parametrize("number", [1.0, 2.5, True])
@pytest.mark.parametrize("name", ["TTL_MINUTES", "Ttl_Seconds"])
def test_whole_numbers_are_whole_however_their_name_is_spelt(name, number):
    with pytest.raises(BadRequest):
        reserve(**BASE, **{name: number})


def test_a_reservation_may_name_its_agent_either_way():
    assert reserve(agent="a1", path="x").agent_id == "a1"
    assert reserve(agent_id="a1", agent="b1", path="x").agent_id == "a1"
    assert reserve(agent_id=" a1 ", path="x", reason="why").reason == "why"


@pytest.mark.parametrize(
    ("members", "command"),
    [
        ({}, RenewReservation("r", "header", None)),
        ({"agent_id": "a1"}, RenewReservation("r", "a1", None)),
        ({"agent": " a1 "}, RenewReservation("r", "a1", None)),
        ({"ttl_minutes": 5}, RenewReservation("r", "header", 300_000)),
        ({"ttl_seconds": 5}, RenewReservation("r", "header", 5_000)),
        ({"ttl_seconds": 0}, RenewReservation("r", "header", None)),
    ],
)
def test_a_renewal(members, command):
    assert reservations.renew("r", members, agent_id="header") == command
    with pytest.raises(BadRequest):
        reservations.renew("r", {**members, "ttl_minutes": 2.0}, agent_id=None)


def test_a_check():
    asked = reservations.check(["b", "", "a", "b"], mode=Mode.SHARED, agent_id=" a1 ")
    assert asked == CheckPaths(("b", "a"), Mode.SHARED, "a1")
    assert reservations.check(["a"], mode=Mode.EXCLUSIVE, agent_id=" ").agent_id is None


@pytest.mark.parametrize("patterns", [[], [""], [f"f{i}" for i in range(257)]])
def test_a_check_has_a_bounded_number_of_patterns(patterns):
    with pytest.raises(BadRequest, match="pattern"):
        reservations.check(patterns, mode=Mode.EXCLUSIVE, agent_id="")


def view(**changes):
    members = {
        "reservation_id": "r1",
        "agent_id": "a1",
        "project": "house",
        "patterns": ("src", "lib"),
        "mode": Mode.EXCLUSIVE,
        "reason": "why",
        "ttl_ms": 60_000,
        "created_at_us": AT,
        "expires_at_us": AT + 60 * S,
        "cursor": 7,
    }
    return ReservationView(**{**members, **changes})


def test_a_reservation_on_the_wire():
    assert reservations.reservation(view(), now_us=AT) == {
        "id": "r1",
        "agent_id": "a1",
        "project": "house",
        "path_pattern": "src",
        "patterns": ("src", "lib"),
        "exclusive": True,
        "mode": "exclusive",
        "reason": "why",
        "ttl_seconds": 60,
        "created_at": "2023-11-14T22:13:20Z",
        "expires_at": "2023-11-14T22:14:20Z",
        "is_active": True,
        "fencing_token": 7,
        "cursor": 7,
    }


@pytest.mark.parametrize(
    ("changes", "now_us", "expected"),
    [
        ({}, AT + 60 * S - 1, {"is_active": True}),
        ({}, AT + 60 * S, {"is_active": False}),
        ({}, None, {"is_active": True}),
        (
            {"ended": "released", "ended_at_us": AT + S},
            None,
            {"released_at": "2023-11-14T22:13:21Z", "is_active": False},
        ),
        ({"mode": Mode.SHARED}, AT, {"mode": "shared", "exclusive": False}),
        (
            {"ended": "released", "ended_at_us": AT + S},
            AT,
            {"released_at": "2023-11-14T22:13:21Z", "is_active": False},
        ),
        (
            {"ended": "expired", "ended_at_us": AT + S},
            AT,
            {"expired_at": "2023-11-14T22:13:21Z", "is_active": False},
        ),
    ],
)
def test_how_a_reservation_stands(changes, now_us, expected):
    shown = reservations.reservation(view(**changes), now_us=now_us)
    assert {name: shown[name] for name in expected} == expected
    for name in ("released_at", "expired_at"):
        assert (name in shown) is (name in expected)


def test_a_reason_that_is_not_given_is_left_out():
    assert "reason" not in reservations.reservation(view(reason=""), now_us=AT)


CONFLICT = ConflictView(
    reservation_id="r1",
    agent_id="a1",
    held_by="Ada",
    holder="live",
    pattern="src/*",
    requested="src/a",
    witness="src/a",
    mode=Mode.EXCLUSIVE,
    fencing_token=7,
    reason="why",
    since_us=AT,
    expires_at_us=AT + 60 * S,
)
ON_THE_WIRE = {
    "reservation_id": "r1",
    "standing": "active",
    "fencing_token": 7,
    "agent_id": "a1",
    "held_by": "Ada",
    "pattern": "src/*",
    "expires_at": "2023-11-14T22:14:20Z",
    "since": "2023-11-14T22:13:20Z",
    "exclusive": True,
    "mode": "exclusive",
    "holder": "live",
    "holder_alive": True,
    "requested": "src/a",
    "witness": "src/a",
    "reason": "why",
}


def test_a_check_that_met_something():
    shown = reservations.checked(CheckedView((CONFLICT,), 3, more=True))
    assert shown == {"conflicts": [ON_THE_WIRE], "free": False, "total": 3, "more": True}


def test_a_check_that_met_nothing_has_an_empty_list():
    """B47: never null."""
    shown = reservations.checked(CheckedView((), 0, more=False))
    assert shown == {"conflicts": [], "free": True, "total": 0, "more": False}


def test_a_quiet_holder_without_a_reason():
    shown = problems.conflict(replace(CONFLICT, holder="quiet", reason="", mode=Mode.SHARED))
    assert (shown["holder_alive"], shown["mode"]) == (False, "shared")
    assert "reason" not in shown


def test_a_conflict_as_a_problem():
    refusal = Refusal(Code.RESERVATION_CONFLICT, "no", {"conflicts": (CONFLICT,), "more": False})
    assert problems.refusal_members(refusal) == {"conflicts": [ON_THE_WIRE], "more": False}
    assert refusal.data["conflicts"] == (CONFLICT,), "the refusal itself is left alone"


def test_any_other_refusal_adds_what_it_holds():
    refusal = Refusal(Code.LIMIT_REACHED, "no", {"held": 1, "limit": 1})
    assert problems.refusal_members(refusal) == {"held": 1, "limit": 1}
    assert problems.refusal_members(Refusal(Code.AGENT_NOT_FOUND, "no")) == {}


def test_every_refusal_has_a_status_of_the_client():
    assert set(problems.STATUSES) == set(Code)
    for code, (status, title) in problems.STATUSES.items():
        # That another agent is out of reach is nobody's mistake, and asking again may help.
        out_of_reach = code in (Code.RECIPIENT_BUSY, Code.DELIVERY_FAILED)
        assert status == 503 if out_of_reach else 400 <= status < 500
        assert title


def test_settings():
    wanted = settings.read_settings({"project": "house", "case_sensitive": False})
    assert settings.configure(wanted) == ConfigureProject(False)
    for own, server, shown in ((None, True, True), (False, True, False), (True, False, True)):
        assert settings.project(ProjectView("house", True, own), live_default=server) == {
            "project": "house",
            "case_sensitive": True,
            "live_transport": shown,
            "live_transport_set_by": "server" if own is None else "project",
        }
    for member, word in ((True, "on"), (False, "off"), (None, "default")):
        wanted = settings.read_settings({"Live_Transport": member})
        assert settings.configure(wanted) == ConfigureProject(None, word)
    with pytest.raises(BadRequest, match="case_sensitive"):
        settings.configure(settings.read_settings({}))
    with pytest.raises(BadRequest):
        settings.read_settings({"case_sensitive": "no"})
