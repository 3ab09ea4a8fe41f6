"""Fencing tokens: current, lapsed, released, superseded; and what a stale one is refused."""

import pytest

from intermute.domain import limits
from intermute.domain.commands import (
    CheckFence,
    CheckPaths,
    NarrowReservation,
    ReleaseReservation,
    RenewReservation,
    ReservePaths,
)
from intermute.domain.decision import Accepted
from intermute.domain.events import (
    ProjectConfigured,
    ReservationNarrowed,
    ReservationReleased,
    ReservationRenewed,
)
from intermute.domain.modes import Mode
from intermute.domain.refusals import Code
from intermute.domain.state import State

from .table import (
    ALICE,
    BOB,
    CAROL,
    MINUTE,
    PROJECT,
    TAG,
    WALL,
    Later,
    S,
    ask,
    check,
    held,
    registered,
    state_of,
    write,
)

TTL = 10 * MINUTE
LEASE = held("r", ALICE, "src", "docs/*.md", ttl_s=TTL)
GONE = ReservationReleased("r", ALICE, "holder", fencing_token=1)
# The token of `r` when it is the first event.
TOKEN = 1


def fence(*given, token=TOKEN):
    return ask(state_of(given), CheckFence(token)).answer


def test_the_token_of_what_is_held_is_current():
    found = fence(LEASE)
    assert (found.status, found.newest, found.superseded_by) == ("current", True, None)
    assert (found.fencing_token, found.reservation_id, found.agent_id) == (TOKEN, "r", ALICE)
    assert found.ended_at_us is None


def test_a_renewal_keeps_the_token():
    renewed = ReservationRenewed(
        "r", ALICE, TTL * 1000, WALL + 2 * TTL * S, "holder", fencing_token=1
    )
    state = state_of([LEASE, Later(60), renewed])
    assert state.holdings.by_id["r"].cursor == TOKEN
    assert ask(state, CheckFence(TOKEN)).answer.status == "current"


@pytest.mark.parametrize(
    ("ending", "status", "ended_s"), [([GONE], "released", 0), ([Later(TTL)], "lapsed", TTL)]
)
def test_what_has_ended_is_the_newest_until_somebody_else_takes_it(ending, status, ended_s):
    found = fence(LEASE, *ending)
    assert (found.status, found.newest, found.superseded_by) == (status, True, None)
    assert found.ended_at_us == WALL + ended_s * S


@pytest.mark.parametrize(
    ("taker", "pattern", "mode", "stale"),
    [
        (BOB, "src/a.py", Mode.EXCLUSIVE, True),
        (BOB, "docs/b.md", Mode.INTENT_SHARED, True),
        (BOB, "**", Mode.SHARED, True),
        (BOB, "docs/b.txt", Mode.EXCLUSIVE, False),
        (BOB, "lib", Mode.EXCLUSIVE, False),
        (ALICE, "src", Mode.EXCLUSIVE, False),
    ],
)
@pytest.mark.parametrize("ended", [False, True])
def test_a_later_conflicting_grant_to_somebody_else_supersedes(taker, pattern, mode, stale, ended):
    """Also when that one has ended meanwhile."""
    given = [registered(BOB), LEASE, GONE, Later(5), held("r2", taker, pattern, mode=mode)]
    if ended:
        given.append(ReservationReleased("r2", taker, "holder", fencing_token=1))
    found = fence(*given, token=2)
    assert found.newest is not stale
    assert found.status == ("superseded" if stale else "released")
    if stale:
        by = found.superseded_by
        assert (by.reservation_id, by.agent_id, by.held_by) == ("r2", BOB, "Bob")
        assert (by.fencing_token, by.since_us, by.pattern) == (4, WALL + 5 * S, pattern)
        assert by.witness.startswith(("src", "docs/"))


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("later", Mode)
def test_modes_that_get_on_do_not_supersede(mode, later):
    state = state_of([held("r", ALICE, "src", mode=mode), GONE])
    free = state_of([held("r", ALICE, "src", mode=mode)])
    gets_on = isinstance(ask(free, ReservePaths(BOB, ("src",), later, ttl_ms=1)), Accepted)
    state = state_of([held("r", ALICE, "src", mode=mode), GONE, held("x", BOB, "src", mode=later)])
    assert ask(state, CheckFence(TOKEN)).answer.newest is gets_on


def test_the_first_that_took_the_paths_is_told():
    given = [LEASE, GONE]
    for name in ("r2", "r3"):
        given += [held(name, BOB, "src"), ReservationReleased(name, BOB, "holder", fencing_token=1)]
    assert fence(*given).superseded_by.reservation_id == "r2"


def test_what_was_given_up_is_not_ones_own_any_more():
    given = [
        LEASE,
        ReservationNarrowed("r", ALICE, ("src",), fencing_token=1),
        held("r2", BOB, "docs/a.md"),
    ]
    assert fence(*given).status == "current"


def test_a_grant_that_was_looked_for_in_vain_for_too_long_is_outdated(monkeypatch):
    """It is not known to be the newest, so it is said to be none."""
    others = [held(f"x{n}", BOB, f"lib/{n}") for n in range(6)]
    assert fence(LEASE, GONE, *others).newest
    for bound, most in (("FENCE_PATTERNS_MAX", 5), ("FENCE_GRANTS_MAX", 5)):
        with monkeypatch.context() as patched:
            patched.setattr(limits, bound, most)
            found = fence(LEASE, GONE, *others)
            assert (found.status, found.newest, found.superseded_by) == ("outdated", False, None)
            assert fence(LEASE, *others).status == "current", "what is held needs no looking"


# Taken and released, in the order of their tokens.
def ended(name, agent_id, pattern, token):
    released = ReservationReleased(name, agent_id, "holder", fencing_token=token)
    return [held(name, agent_id, pattern), released]


def how(state, token):
    found = ask(state, CheckFence(token)).answer
    return found.status, found.newest, found.superseded_by


IGNORED, COUNTS = ProjectConfigured(case_sensitive=False), ProjectConfigured(case_sensitive=True)


def test_a_token_from_before_the_rule_for_case_changed_is_outdated():
    """README was taken as readme, which another rule would not see."""
    state = state_of(
        [IGNORED, *ended("r", ALICE, "README", 2), *ended("r2", BOB, "readme", 4), COUNTS]
    )
    assert how(state, 2) == how(state, 4) == ("outdated", False, None)
    _, refusal = check(
        [IGNORED, *ended("r", ALICE, "README", 2), COUNTS],
        CheckPaths(("lib",), fencing_token=2),
        Code.STALE_TOKEN,
    )
    assert "case" in refusal.detail


def test_a_token_from_after_the_rule_for_case_changed_is_judged_by_it():
    """Other settings change no rule."""
    state = state_of(
        [IGNORED, *ended("r", ALICE, "README", 2), ProjectConfigured(False, live_transport=True)]
    )
    assert how(state, 2) == ("released", True, None)
    for given in ended("r2", BOB, "readme", 5):
        write(state, given(state) if callable(given) else given)
    assert how(state, 2)[:2] == ("superseded", False)


@pytest.mark.parametrize("unreadable", ["[\u00df]", "\u00df" * 600])
def test_what_cannot_be_read_any_more_makes_a_token_outdated(unreadable):
    """It was granted when case counted; and a later version may read fewer patterns, too."""
    given = [*ended("r", ALICE, "src/a", 1), *ended("r2", BOB, unreadable, 3), IGNORED]
    state = state_of([*given, *ended("r3", ALICE, "src/b", 6), *ended("r4", BOB, "lib", 8)])
    assert how(state, 1) == how(state, 3) == ("outdated", False, None)
    assert how(state, 6)[0] == "released"
    written = "UPDATE reservations SET patterns = ? WHERE reservation_id = ?"
    state.archive._connection.execute(written, (f'["{unreadable}"]', "r4"))
    assert how(state, 6) == how(state, 8) == ("outdated", False, None)


def test_the_same_patterns_are_looked_at_once(monkeypatch):
    monkeypatch.setattr(limits, "FENCE_PATTERNS_MAX", 5)
    given = [LEASE, GONE]
    for n in range(20):
        given += [
            held(f"x{n}", BOB, "lib"),
            ReservationReleased(f"x{n}", BOB, "holder", fencing_token=1),
        ]
    assert fence(*given).status == "released"


@pytest.mark.parametrize("token", [0, 2, 99, -1])
def test_a_token_that_was_never_given(token):
    check([LEASE, GONE], CheckFence(token), Code.RESERVATION_NOT_FOUND)
    empty = State(tag=TAG, project=PROJECT)
    assert ask(empty, CheckFence(token)).code is Code.RESERVATION_NOT_FOUND


# -- Presented with a command

TAKEN = [registered(BOB), LEASE, Later(TTL), held("r2", BOB, "src")]


@pytest.mark.parametrize(
    "command",
    [
        RenewReservation("r", ALICE, fencing_token=2),
        ReleaseReservation("r", ALICE, fencing_token=2),
        NarrowReservation("r", ("src",), ALICE, fencing_token=2),
        CheckPaths(("elsewhere",), fencing_token=2),
    ],
)
def test_a_stale_token_is_refused_with_who_superseded_it(command):
    _, refusal = check(TAKEN, command, Code.STALE_TOKEN)
    assert refusal.data["fencing_token"] == 2
    assert refusal.data["reservation_id"] == "r"
    by = refusal.data["superseded_by"]
    assert (by.held_by, by.agent_id, by.fencing_token) == ("Bob", BOB, 4)
    assert by.since_us == WALL + TTL * S
    assert "Bob" in refusal.detail


@pytest.mark.parametrize("command", [RenewReservation("r", ALICE), ReleaseReservation("r", ALICE)])
def test_without_a_token_it_is_just_not_there(command):
    check(TAKEN, command, Code.RESERVATION_NOT_FOUND)


@pytest.mark.parametrize("later", [(), (Later(TTL),)])
def test_a_token_that_is_not_stale_changes_nothing(later):
    given = [LEASE, *later]
    for command in (
        RenewReservation("r", ALICE, fencing_token=TOKEN),
        ReleaseReservation("r", ALICE, fencing_token=TOKEN),
        CheckPaths(("src",), fencing_token=TOKEN),
    ):
        assert isinstance(ask(state_of(given), command), Accepted)


def test_the_token_of_another_reservation_is_refused():
    given = [LEASE, held("own", ALICE, "lib")]
    for command in (
        RenewReservation("own", ALICE, fencing_token=TOKEN),
        ReleaseReservation("own", ALICE, fencing_token=TOKEN),
        NarrowReservation("own", ("lib/a",), ALICE, fencing_token=TOKEN),
    ):
        _, refusal = check(given, command, Code.STALE_TOKEN)
        assert refusal.data["superseded_by"] is None


def test_an_unknown_token_is_refused():
    check([LEASE], CheckPaths(("src",), fencing_token=77), Code.RESERVATION_NOT_FOUND)


def test_who_may_is_judged_before_the_token():
    given = [LEASE, held("own", CAROL, "lib")]
    check(given, RenewReservation("own", ALICE, fencing_token=TOKEN), Code.NOT_THE_OWNER)
