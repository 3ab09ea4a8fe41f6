"""Leases: when they lapse, how they are renewed, what a restart does to them."""

import pytest
from msgspec.structs import replace

from intermute.domain import limits
from intermute.domain.commands import (
    CheckPaths,
    ConfigureProject,
    ExpireLeases,
    ReleaseReservation,
    RenewReservation,
    ReservePaths,
    ResumeLeases,
)
from intermute.domain.decision import Accepted
from intermute.domain.events import (
    ReservationExpired,
    ReservationReleased,
    ReservationRenewed,
)
from intermute.domain.holdings import Reservation
from intermute.domain.modes import Mode
from intermute.domain.refusals import Code
from intermute.domain.views import ExpiredView
from intermute.globs import parse

from .table import (
    ALICE,
    BOB,
    CAROL,
    GRACE_S,
    MINUTE,
    MONO,
    WALL,
    Later,
    S,
    ask,
    carry_out,
    check,
    held,
    mode_of,
    pass_time,
    registered,
    settle,
    state_of,
)

TTL = 10 * MINUTE
LEASE = held("r", ALICE, "src", ttl_s=TTL)


def renewed(at_s, ttl_s=TTL, *, reservation_id="r", agent_id=ALICE, wall_s=0, cause="holder"):
    expires_at_us = int(WALL + (at_s + wall_s + ttl_s) * S)
    return ReservationRenewed(
        reservation_id, agent_id, ttl_s * 1000, expires_at_us, cause, fencing_token=1
    )


def take(agent_id, *patterns, exclusive=True, ttl_s=TTL):
    return ReservePaths(agent_id, patterns, mode_of(exclusive), ttl_ms=ttl_s * 1000)


def is_free(state, *patterns, agent_id=BOB, exclusive=True):
    return not ask(state, CheckPaths(patterns, mode_of(exclusive), agent_id)).answer.conflicts


# -- Lapsing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after_s", "lapsed"), [(0, False), (TTL - 0.000001, False), (TTL, True), (TTL + 1, True)]
)
def test_a_lease_lapses_exactly_at_its_deadline(after_s, lapsed):
    state = state_of([LEASE, Later(after_s)])
    assert ("r" in state.lapsed.by_id) is lapsed
    assert ("r" in state.holdings.by_id) is not lapsed
    assert is_free(state, "src") is lapsed


def test_an_expiry_is_an_event_that_says_what_is_free():
    state = state_of([held("r", ALICE, "src", "docs", ttl_s=TTL)])
    state.mono_us += TTL * S
    decision = ask(state, ExpireLeases())
    assert decision.events == (ReservationExpired("r", ALICE, ("src", "docs"), fencing_token=1),)
    assert decision.answer == ExpiredView(("r",))
    assert decision.actor is None, "nobody did it"


def test_leases_lapse_earliest_first():
    state = state_of(
        [
            held("r1", ALICE, "a", ttl_s=90),
            held("r2", BOB, "b", ttl_s=60),
            held("r3", BOB, "c", ttl_s=900),
        ]
    )
    state.mono_us += 100 * S
    assert ask(state, ExpireLeases()).answer == ExpiredView(("r2", "r1"))


def test_nothing_due_is_nothing_done():
    check([LEASE], ExpireLeases(), (), answer=ExpiredView(()))
    check([], ExpireLeases(), (), answer=ExpiredView(()))


@pytest.mark.parametrize("jump_s", [86_400, 10**9, -86_400, -(10**9)])
def test_a_wall_clock_that_jumps_expires_nothing_early(jump_s):
    state = state_of([LEASE, Later(TTL - 1, wall_s=jump_s)])
    assert "r" in state.holdings.by_id


@pytest.mark.parametrize("jump_s", [86_400, 10**9, -86_400, -(10**9)])
def test_a_wall_clock_that_jumps_keeps_nothing_for_ever(jump_s):
    state = state_of([LEASE, Later(1, wall_s=jump_s), Later(TTL - 1)])
    assert "r" not in state.holdings.by_id


@pytest.mark.parametrize("jump_s", [86_400, -86_400])
def test_a_lease_granted_after_a_jump_has_its_full_length(jump_s):
    state = state_of([Later(1, wall_s=jump_s), LEASE, Later(TTL - 1)])
    assert "r" in state.holdings.by_id
    pass_time(state, Later(1))
    assert "r" not in state.holdings.by_id


def test_the_clocks_of_a_state_never_go_backwards():
    state = state_of([Later(-10, wall_s=-100)])
    assert (state.at_us, state.mono_us) == (WALL, MONO)


# -- Renewing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked_s", "granted_s"), [(None, TTL), (30, 30), (3_600, 3_600)])
def test_a_renewal_counts_anew_from_now(asked_s, granted_s):
    asked_ms = None if asked_s is None else asked_s * 1000
    command = RenewReservation("r", ALICE, asked_ms)
    state, answer = check([LEASE, Later(100)], command, (renewed(100, granted_s),))
    assert answer.expires_at_us == WALL + (100 + granted_s) * S
    assert (answer.ttl_ms, answer.created_at_us, answer.cursor) == (granted_s * 1000, WALL, 1)
    reservation = state.holdings.by_id["r"]
    assert reservation.deadline_us == MONO + (100 + granted_s) * S
    pass_time(state, Later(granted_s - 1))
    assert "r" in state.holdings.by_id
    pass_time(state, Later(1))
    assert "r" not in state.holdings.by_id


def test_a_renewal_without_a_length_takes_the_last_one():
    given = [LEASE, renewed(0, 60), Later(30)]
    check(given, RenewReservation("r", ALICE), (renewed(30, 60),))


@pytest.mark.parametrize("who", [BOB, None, ""])
def test_only_the_holder_renews(who):
    check([LEASE], RenewReservation("r", who), Code.NOT_THE_OWNER)
    check([LEASE, Later(TTL)], RenewReservation("r", who), Code.NOT_THE_OWNER)


def test_what_is_not_held_cannot_be_renewed():
    check([], RenewReservation("r", ALICE), Code.RESERVATION_NOT_FOUND)
    given = [LEASE, ReservationReleased("r", ALICE, "holder", fencing_token=1)]
    check(given, RenewReservation("r", ALICE), Code.RESERVATION_NOT_FOUND)


def test_a_renewal_repeated_stacks_nothing():
    """B48: renewing is one reservation, however often."""
    state = state_of([LEASE])
    for _ in range(500):
        carry_out(state, ask(state, RenewReservation("r", ALICE)))
        pass_time(state, Later(1))
    assert state.holdings.patterns_by_agent == {ALICE: 1}
    assert len(state.holdings.due(state.mono_us + TTL * S)) == 1


# -- Asking again for what one holds (B48)


@pytest.mark.parametrize(
    ("after_s", "asked_s", "extended"),
    [(0, TTL, False), (0, TTL - 1, False), (0, TTL + 1, True), (1, TTL, True), (60, 60, False)],
)
def test_asking_again_renews_and_never_shortens(after_s, asked_s, extended):
    expected = (renewed(after_s, asked_s),) if extended else ()
    state, answer = check([LEASE, Later(after_s)], take(ALICE, "src", ttl_s=asked_s), expected)
    assert answer.reservation_id == "r"
    left_s = asked_s if extended else TTL - after_s
    assert state.holdings.by_id["r"].deadline_us == MONO + (after_s + left_s) * S
    assert answer.expires_at_us == WALL + (after_s + left_s) * S


@pytest.mark.parametrize("jump_s", [-86_400, 86_400])
def test_asking_again_after_a_jump_of_the_wall_clock_renews(jump_s):
    """A wall clock that went back stands still for the state; the lease runs on all the same."""
    state = state_of([LEASE, Later(TTL - 1, wall_s=jump_s)])
    decision = ask(state, take(ALICE, "src"))
    carry_out(state, decision)
    assert state.holdings.by_id["r"].deadline_us == MONO + (2 * TTL - 1) * S


@pytest.mark.parametrize(
    ("patterns", "same"),
    [
        (("lib", "src"), True),
        (("./src", "lib"), True),
        (("src",), False),
        (("src", "lib", "docs"), False),
        (("src/**", "lib"), False),
    ],
)
def test_what_is_the_same_claim(patterns, same):
    state = state_of([held("r", ALICE, "src", "lib")])
    carry_out(state, ask(state, take(ALICE, *patterns)))
    assert len(state.holdings) == (1 if same else 2)


def test_another_mode_or_agent_is_another_claim():
    state = state_of([held("r", ALICE, "src", exclusive=False)])
    carry_out(state, ask(state, take(ALICE, "src"), entropy=1))
    carry_out(state, ask(state, take(BOB, "lib", exclusive=False), entropy=2))
    assert len(state.holdings) == 3


def test_asking_again_is_within_the_limit():
    """It takes no more room than what is held."""
    check([LEASE], take(ALICE, "src"), (), patterns_per_agent_max=1)


def test_a_claim_that_came_back_is_still_one_claim():
    """A lapsed lease is renewed although its holder has reserved the same anew meanwhile; however
    the two end, asking again must go on finding the one that is held."""
    state = state_of([LEASE, Later(TTL)])
    carry_out(state, ask(state, take(ALICE, "src"), entropy=1))
    decision = ask(state, RenewReservation("r", ALICE))
    if isinstance(decision, Accepted):
        carry_out(state, decision)
        carry_out(state, ask(state, ReleaseReservation("r", ALICE)))
    carry_out(state, ask(state, take(ALICE, "src", ttl_s=2 * TTL), entropy=2))
    assert len(state.holdings) == 1


# -- Lapsed and back (docs/decisions/0008-lapse.md) -----------------------------------------------


@pytest.mark.parametrize("late_s", [0, 10, GRACE_S - 0.000001])
def test_a_lapsed_lease_comes_back_within_the_grace(late_s):
    given = [LEASE, Later(TTL + late_s)]
    state, answer = check(given, RenewReservation("r", ALICE), (renewed(TTL + late_s),))
    assert answer.reservation_id == "r"
    assert not is_free(state, "src")
    assert len(state.lapsed) == 0
    pass_time(state, Later(TTL - 1))
    assert "r" in state.holdings.by_id
    pass_time(state, Later(1))
    assert "r" in state.lapsed.by_id, "it can lapse again"


@pytest.mark.parametrize("late_s", [GRACE_S, GRACE_S + 1])
def test_after_the_grace_a_lease_is_gone(late_s):
    given = [LEASE, Later(TTL), Later(late_s)]
    check(given, RenewReservation("r", ALICE), Code.RESERVATION_LAPSED)


def test_a_lease_long_gone_is_forgotten():
    given = [LEASE, Later(TTL), held("r2", BOB, "lib", ttl_s=60), Later(GRACE_S)]
    check(given, RenewReservation("r", ALICE), Code.RESERVATION_NOT_FOUND)


@pytest.mark.parametrize(
    ("taker", "exclusive", "patterns", "back"),
    [
        (BOB, True, ("src",), False),
        (BOB, True, ("src/a/b",), False),
        (BOB, False, ("**",), False),
        (BOB, True, ("lib",), True),
        (ALICE, True, ("src/a",), True),
    ],
)
def test_a_lapsed_lease_is_gone_once_somebody_else_took_its_paths(taker, exclusive, patterns, back):
    given = [LEASE, Later(TTL), held("r2", taker, *patterns, exclusive=exclusive)]
    expected = (renewed(TTL),) if back else Code.RESERVATION_NOT_FOUND
    check(given, RenewReservation("r", ALICE), expected)
    given.append(ReservationReleased("r2", taker, "holder", fencing_token=1))
    check(given, RenewReservation("r", ALICE), expected)


def test_two_shared_leases_do_not_take_each_others_paths():
    given = [
        held("r", ALICE, "src", exclusive=False, ttl_s=TTL),
        Later(TTL),
        held("r2", BOB, "src", exclusive=False),
    ]
    check(given, RenewReservation("r", ALICE), (renewed(TTL),))


def test_a_lapsed_lease_that_comes_back_takes_its_paths():
    """Both lapsed; whoever renews first has the paths, and the other learns of it."""
    given = [
        held("r", ALICE, "src", ttl_s=TTL),
        Later(TTL),
        held("r2", BOB, "src", ttl_s=1),
        Later(1),
    ]
    state, _ = check(given, RenewReservation("r", ALICE), Code.RESERVATION_NOT_FOUND)
    carry_out(state, ask(state, RenewReservation("r2", BOB)))
    assert not is_free(state, "src", agent_id=ALICE)


def test_a_returning_lease_forgets_the_lapsed_ones_it_meets():
    given = [
        held("r", ALICE, "src", exclusive=False, ttl_s=TTL),
        held("r2", BOB, "src", exclusive=False, ttl_s=TTL),
        held("r3", CAROL, "lib", ttl_s=TTL),
        Later(TTL),
    ]
    state = state_of(given)
    carry_out(state, ask(state, RenewReservation("r", ALICE)))
    assert set(state.lapsed.by_id) == {"r2", "r3"}, "shared ones get on"
    carry_out(state, ask(state, RenewReservation("r3", CAROL)))
    assert set(state.lapsed.by_id) == {"r2"}


def test_a_lapsed_lease_comes_back_only_within_the_limit():
    given = [LEASE, Later(TTL), held("r2", ALICE, "a", "b")]
    check(given, RenewReservation("r", ALICE), Code.LIMIT_REACHED, patterns_per_agent_max=2)
    check(given, RenewReservation("r", ALICE), (renewed(TTL),), patterns_per_agent_max=3)


def test_a_change_of_case_forgets_lapsed_leases():
    state = state_of([LEASE, Later(TTL)])
    carry_out(state, ask(state, ConfigureProject(case_sensitive=False)))
    assert ask(state, RenewReservation("r", ALICE)).code is Code.RESERVATION_NOT_FOUND


def test_lapsed_leases_are_remembered_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(limits, "PATTERNS_LAPSED_MAX", 3)
    given = [held(f"r{i}", ALICE, f"a{i}", f"b{i}", ttl_s=60 + i) for i in range(3)]
    state = state_of([*given, Later(65)])
    assert list(state.lapsed.by_id) == ["r2"], "the oldest go first"
    assert state.lapsed.patterns_len == 2


# -- Restart ------------------------------------------------------------------------------------


def as_loaded(left_s, *, ttl_s=TTL):
    """The state that a new actor finds: one lease that ends `left_s` from now by the wall clock."""
    state = state_of([registered(ALICE)])
    state.holdings.add(
        Reservation(
            key="r",
            agent_id=ALICE,
            patterns=("src",),
            mode=Mode.EXCLUSIVE,
            reason="",
            ttl_ms=ttl_s * 1000,
            created_at_us=WALL - ttl_s * S,
            expires_at_us=int(WALL + left_s * S),
            deadline_us=int(MONO + left_s * S),
            cursor=1,
            renew_on_heartbeat=False,
            parsed=(parse("src"),),
        )
    )
    return state


@pytest.mark.parametrize(
    ("left_s", "outcome"),
    [
        (TTL, "kept"),
        (GRACE_S, "kept"),
        (GRACE_S - 0.000001, "extended"),
        (1, "extended"),
        (0, "extended"),
        (-1, "extended"),
        (-GRACE_S, "extended"),
        (-GRACE_S - 0.000001, "ended"),
        (-86_400, "ended"),
    ],
)
def test_a_restart_gives_every_holder_time_to_renew(left_s, outcome):
    state = as_loaded(left_s)
    decision = ask(state, ResumeLeases())
    expected = {
        "kept": (),
        "extended": (renewed(0, GRACE_S, cause="restart"),),
        "ended": (ReservationExpired("r", ALICE, ("src",), fencing_token=1),),
    }[outcome]
    if outcome == "extended":
        expected = (replace(expected[0], ttl_ms=TTL * 1000),)
    assert decision.events == expected
    assert decision.answer == ExpiredView(("r",) if outcome == "ended" else ())
    carry_out(state, decision)
    if outcome != "ended":
        assert state.holdings.by_id["r"].deadline_us >= MONO + GRACE_S * S
        assert state.holdings.by_id["r"].ttl_ms == TTL * 1000, "a renewal has the old length"
    settle(state)
    assert is_free(state, "src") is (outcome == "ended")


def test_a_new_project_has_nothing_to_resume():
    check([registered(ALICE)], ResumeLeases(), (), answer=ExpiredView(()))


def test_the_next_deadline_is_never_later_than_the_true_one():
    state = state_of()
    assert state.holdings.next_deadline_us() is None
    carry_out(state, ask(state, take(ALICE, "a", ttl_s=100), entropy=1))
    carry_out(state, ask(state, take(ALICE, "b", ttl_s=50), entropy=2))
    found_us = state.holdings.next_deadline_us()
    assert found_us is not None
    assert found_us <= MONO + 50 * S
    assert isinstance(ask(state, take(BOB, "c")), Accepted)
