"""Granting, refusing, releasing: who may touch what."""

import itertools

import pytest

from intermute.domain import limits
from intermute.domain.commands import CheckPaths, ReleaseReservation, ReservePaths
from intermute.domain.decision import Accepted
from intermute.domain.events import (
    ProjectConfigured,
    ReservationCreated,
    ReservationReleased,
    Seen,
)
from intermute.domain.modes import Mode
from intermute.domain.refusals import Code, Refusal
from intermute.domain.times import iso
from intermute.domain.views import ConflictView, ReservationView

from .table import (
    ALICE,
    BOB,
    CAROL,
    ENTROPY,
    GRACE_S,
    MINUTE,
    MONO,
    TAG,
    WALL,
    Later,
    S,
    ask,
    carry_out,
    check,
    held,
    mode_of,
    registered,
    state_of,
)

NEW_ID = f"rsv_{TAG}_{WALL // 1000:012x}{ENTROPY & (2**64 - 1):016x}"


def reserve(agent_id, *patterns, exclusive=True, ttl_s=30 * MINUTE, reason=""):
    return ReservePaths(agent_id, patterns, mode_of(exclusive), reason, ttl_s * 1000)


def created(agent_id, *patterns, exclusive=True, ttl_s=30 * MINUTE, reason="", at_us=WALL):
    return ReservationCreated(
        NEW_ID, agent_id, patterns, mode_of(exclusive), reason, ttl_s * 1000, at_us + ttl_s * S
    )


def test_a_grant_says_what_was_granted_and_until_when():
    command = reserve(ALICE, "src/*.py", "docs", reason="tidying", ttl_s=90)
    view = ReservationView(
        reservation_id=NEW_ID,
        agent_id=ALICE,
        project="house",
        patterns=("src/*.py", "docs"),
        mode=Mode.EXCLUSIVE,
        reason="tidying",
        ttl_ms=90_000,
        created_at_us=WALL,
        expires_at_us=WALL + 90 * S,
        cursor=1,
    )
    event = created(ALICE, "src/*.py", "docs", reason="tidying", ttl_s=90)
    state, _ = check([], command, (event,), answer=view)
    reservation = state.holdings.by_id[NEW_ID]
    assert reservation.deadline_us == MONO + 90 * S
    assert reservation.cursor == 1
    assert [pattern.text for pattern in reservation.parsed] == ["src/*.py", "docs"]


MODES = list(itertools.product((True, False), repeat=2))


@pytest.mark.parametrize(("holds", "wants"), MODES)
@pytest.mark.parametrize("other", [ALICE, BOB])
def test_the_matrix_of_modes(holds, wants, other):
    """Only two shared reservations of different agents get on; one's own never conflict."""
    given = [held("r", ALICE, "src", exclusive=holds)]
    fine = other == ALICE or not (holds or wants)
    expected = (created(other, "src", exclusive=wants),) if fine else Code.RESERVATION_CONFLICT
    if (other, wants) == (ALICE, holds):
        expected = ()
    check(given, reserve(other, "src", exclusive=wants), expected)
    decision = ask(state_of(given), CheckPaths(("src",), mode_of(wants), other))
    assert (decision.answer.conflicts == ()) is fine, "the check says what reserve would"


@pytest.mark.parametrize(
    ("patterns", "free"),
    [
        (("lib",), True),
        (("src",), False),
        (("lib", "src"), False),
        (("src", "lib"), False),
        (("src/a.py",), False),
        (("srcs",), True),
        (("**",), False),
        (("*.md", "s?c/x"), False),
    ],
)
def test_a_set_is_granted_whole_or_not_at_all(patterns, free):
    expected = (created(BOB, *patterns),) if free else Code.RESERVATION_CONFLICT
    state, _ = check([held("r", ALICE, "src")], reserve(BOB, *patterns), expected)
    assert len(state.holdings) == (2 if free else 1)


def test_a_refused_set_leaves_nothing_behind():
    state, _ = check(
        [held("r", ALICE, "src")], reserve(BOB, "lib", "src"), Code.RESERVATION_CONFLICT
    )
    decision = ask(state, reserve(CAROL, "lib"))
    assert isinstance(decision, Accepted)
    assert state.holdings.patterns_by_agent == {ALICE: 1}


def test_patterns_of_one_set_do_not_conflict_with_each_other():
    check([], reserve(ALICE, "src", "src/a", "**"), (created(ALICE, "src", "src/a", "**"),))


def test_a_conflict_names_its_holder_and_a_path():
    given = [
        registered(ALICE, name="Ada"),
        held("r", ALICE, "docs", "src/*.py", reason="refactoring"),
        Later(100),
    ]
    _, refusal = check(given, reserve(BOB, "lib", "src/a*"), Code.RESERVATION_CONFLICT)
    (conflict,) = refusal.data["conflicts"]
    assert conflict == ConflictView(
        reservation_id="r",
        agent_id=ALICE,
        held_by="Ada",
        holder="live",
        pattern="src/*.py",
        requested="src/a*",
        witness=conflict.witness,
        mode=Mode.EXCLUSIVE,
        reason="refactoring",
        since_us=WALL,
        expires_at_us=WALL + 30 * MINUTE * S,
        fencing_token=2,
        standing="active",
    )
    assert conflict.witness.startswith("src/a")
    assert conflict.witness.endswith(".py")
    assert refusal.data["more"] is False
    for told in ("Ada", "live", "src/*.py", iso(conflict.expires_at_us), conflict.witness):
        assert told in refusal.detail


@pytest.mark.parametrize(
    ("before", "standing", "name"),
    [
        ([], "unregistered", ALICE),
        ([registered(ALICE)], "live", "Alice"),
        ([registered(ALICE), Later(GRACE_S)], "quiet", "Alice"),
        (
            [registered(ALICE), Later(GRACE_S), Seen(ALICE, WALL, MONO + GRACE_S * S)],
            "live",
            "Alice",
        ),
    ],
)
def test_how_a_holder_stands(before, standing, name):
    decision = ask(state_of([*before, held("r", ALICE, "x")]), CheckPaths(("x",)))
    (conflict,) = decision.answer.conflicts
    assert (conflict.holder, conflict.held_by, conflict.agent_id) == (standing, name, ALICE)


def test_conflicts_are_listed_oldest_first_and_each_once():
    given = [
        held("r1", CAROL, "c", "a/x"),
        held("r2", ALICE, "a", exclusive=False),
        held("r3", BOB, "b/1", "b/2"),
    ]
    decision = ask(state_of(given), CheckPaths(("b", "a", "c")))
    assert [conflict.reservation_id for conflict in decision.answer.conflicts] == ["r1", "r2", "r3"]
    assert not decision.answer.more


def test_the_list_of_conflicts_is_bounded_and_says_so():
    most = limits.CONFLICTS_LISTED_MAX
    full = [held(f"r{i:04}", ALICE, f"src/{i}") for i in range(most)]
    exact = ask(state_of(full), CheckPaths(("src",))).answer
    assert (len(exact.conflicts), exact.total, exact.more) == (most, most, False)
    beyond = ask(state_of([*full, held("last", ALICE, "src/last")]), CheckPaths(("src", "src")))
    found = beyond.answer
    assert (len(found.conflicts), found.total, found.more) == (most, most + 1, True)
    cursors = [
        int(c.reservation_id[1:]) if c.reservation_id != "last" else most
        for c in beyond.answer.conflicts
    ]
    assert cursors == sorted(cursors)
    _, refusal = check(
        [*full, held("last", ALICE, "src/last")], reserve(BOB, "src"), Code.RESERVATION_CONFLICT
    )
    assert refusal.data["more"] is True
    assert refusal.data["total"] == most + 1
    assert f"({most} more in the way)" in refusal.detail


def test_one_other_conflict_is_counted_in_the_detail():
    given = [held("r1", ALICE, "a", exclusive=False), held("r2", CAROL, "b")]
    _, refusal = check(given, reserve(BOB, "a", "b"), Code.RESERVATION_CONFLICT)
    assert "(1 more in the way)" in refusal.detail
    assert "shared" in refusal.detail


def test_ones_own_reservations_do_not_fill_the_list():
    own = [held(f"own{i}", BOB, f"src/{i}", exclusive=False) for i in range(120)]
    given = [*own, held("r", ALICE, "src/x", exclusive=False)]
    decision = ask(state_of(given), CheckPaths(("src",), agent_id=BOB))
    assert [c.reservation_id for c in decision.answer.conflicts] == ["r"]
    assert not decision.answer.more


def test_a_check_leaves_out_whoever_asks():
    given = [held("r1", ALICE, "src"), held("r2", BOB, "lib")]
    state = state_of(given)
    asked = {
        agent_id: [
            c.reservation_id
            for c in ask(state, CheckPaths(("**",), agent_id=agent_id)).answer.conflicts
        ]
        for agent_id in (None, ALICE, BOB, CAROL)
    }
    assert asked == {None: ["r1", "r2"], ALICE: ["r2"], BOB: ["r1"], CAROL: ["r1", "r2"]}


def test_a_check_changes_nothing():
    decision = ask(state_of([registered(ALICE), Later(60)]), CheckPaths(("x",), agent_id=ALICE))
    assert (decision.events, decision.marks) == ((), ())


@pytest.mark.parametrize("command", [reserve(ALICE, "ok", "a[", "b["), CheckPaths(("ok", "a["))])
def test_a_bad_pattern_is_named_with_its_place(command):
    _, refusal = check([], command, Code.INVALID_PATTERN)
    assert refusal.data["pattern"] == "a["
    assert refusal.data["pattern_index"] == 1
    assert refusal.data["reason"]
    assert refusal.data["position"] == 1
    assert "'a['" in refusal.detail


def test_a_bad_pattern_without_a_place_has_none():
    _, refusal = check([], reserve(ALICE, ""), Code.INVALID_PATTERN)
    assert refusal.data["position"] is None
    assert "at character" not in refusal.detail


def test_a_long_literal_path_can_be_reserved():
    """B5: only what costs anything counts, and literal characters do not."""
    path = "/".join(["directory-with-a-long-name"] * 20) + "/" + "x" * 200 + ".py"
    check([], reserve(ALICE, path), (created(ALICE, path),))


# -- Limits -------------------------------------------------------------------------------------


def test_an_agent_may_hold_so_many_patterns():
    given = [held("r", ALICE, "a", "b")]
    check(given, reserve(ALICE, "c"), (created(ALICE, "c"),), patterns_per_agent_max=3)
    _, refusal = check(
        given, reserve(ALICE, "c", "d"), Code.LIMIT_REACHED, patterns_per_agent_max=3
    )
    assert refusal.data == {"held": 2, "limit": 3}
    check(
        given, reserve(BOB, "c", "d", "e"), (created(BOB, "c", "d", "e"),), patterns_per_agent_max=3
    )


def test_what_is_released_makes_room():
    given = [held("r", ALICE, "a", "b"), ReservationReleased("r", ALICE, "holder", fencing_token=1)]
    check(given, reserve(ALICE, "a", "b"), (created(ALICE, "a", "b"),), patterns_per_agent_max=2)


def test_what_lapses_makes_room():
    given = [held("r", ALICE, "a", "b", ttl_s=60), Later(60)]
    event = created(ALICE, "a", "b", at_us=WALL + 60 * S)
    command = reserve(ALICE, "a", "b")
    state = state_of(given, patterns_per_agent_max=2)
    decision = ask(state, command)
    assert isinstance(decision, Accepted)
    assert decision.events[0].expires_at_us == event.expires_at_us


def test_a_project_may_hold_so_many_patterns(monkeypatch):
    monkeypatch.setattr(limits, "PATTERNS_ACTIVE_MAX", 3)
    given = [held("r1", ALICE, "a"), held("r2", BOB, "b", exclusive=False)]
    check(given, reserve(CAROL, "c"), (created(CAROL, "c"),))
    _, refusal = check(given, reserve(CAROL, "c", "d"), Code.LIMIT_REACHED)
    assert refusal.data == {"held": 2, "limit": 3}


def test_patterns_with_wildcards_are_bounded_by_their_length_together():
    """Two patterns built to be slow cost milliseconds, so nobody may bring or hold many."""
    slow = tuple(f"{'*a' * 100}{number}" for number in range(50))
    check([], reserve(ALICE, *slow), Code.LIMIT_REACHED)
    check([], CheckPaths(slow), Code.LIMIT_REACHED)
    some = slow[:30]
    state = state_of([held("r", ALICE, *some)])
    assert isinstance(ask(state, reserve(ALICE, *slow[30:])), Refusal)
    assert isinstance(ask(state, reserve(ALICE, *(f"src/{n}.py" for n in range(100)))), Accepted)
    state.holdings.remove("r")
    assert state.holdings.wild_len_by_agent == {}
    assert isinstance(ask(state, reserve(ALICE, *slow[30:])), Accepted)


def test_a_limit_is_judged_before_a_conflict():
    given = [held("r", BOB, "x")]
    check(given, reserve(ALICE, "x", "y"), Code.LIMIT_REACHED, patterns_per_agent_max=1)


def test_a_bad_pattern_is_judged_before_a_limit():
    check([], reserve(ALICE, "x", "["), Code.INVALID_PATTERN, patterns_per_agent_max=1)


# -- Releasing ----------------------------------------------------------------------------------


def test_a_release_frees_the_paths_at_once():
    given = [held("r", ALICE, "src")]
    event = ReservationReleased("r", ALICE, "holder", fencing_token=1)
    state, answer = check(given, ReleaseReservation("r", ALICE), (event,))
    assert (answer.ended, answer.ended_at_us) == ("released", WALL)
    assert isinstance(ask(state, reserve(BOB, "src")), Accepted)
    assert state.holdings.by_agent == {}
    assert state.holdings.patterns_by_agent == {}
    assert state.holdings.patterns_len == 0


@pytest.mark.parametrize("who", [BOB, None, "", "Alice"])
def test_only_the_holder_releases(who):
    check([held("r", ALICE, "src")], ReleaseReservation("r", who), Code.NOT_THE_OWNER)


def test_a_release_of_what_is_not_held_is_not_found():
    given = [held("r", ALICE, "src"), ReservationReleased("r", ALICE, "holder", fencing_token=1)]
    check(given, ReleaseReservation("r", ALICE), Code.RESERVATION_NOT_FOUND)
    check([], ReleaseReservation("none", ALICE), Code.RESERVATION_NOT_FOUND)


def test_a_release_of_a_lapsed_lease_is_granted_without_an_event():
    given = [held("r", ALICE, "src", ttl_s=60), Later(90)]
    _, answer = check(given, ReleaseReservation("r", ALICE), ())
    # As its event has it, which is when it was found to have lapsed.
    assert (answer.ended, answer.ended_at_us) == ("expired", WALL + 90 * S)
    check(given, ReleaseReservation("r", BOB), Code.NOT_THE_OWNER)


def test_one_of_several_is_released_alone():
    given = [held("r1", ALICE, "a", "b"), held("r2", ALICE, "c", exclusive=False)]
    state, _ = check(
        given,
        ReleaseReservation("r1", ALICE),
        (ReservationReleased("r1", ALICE, "holder", fencing_token=1),),
    )
    assert state.holdings.patterns_by_agent == {ALICE: 1}
    assert list(state.holdings.by_agent[ALICE]) == ["r2"]


# -- Case ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sensitive", "free"), [(True, True), (False, False)])
def test_case_counts_as_the_project_says(sensitive, free):
    given = [ProjectConfigured(sensitive), held("r", ALICE, "SRC")]
    decision = ask(state_of(given), reserve(BOB, "src"))
    assert isinstance(decision, Accepted) is free


def test_a_thousand_leases_come_and_go():
    """Ended leases leave nothing behind in the heap of deadlines."""
    state = state_of()
    for i in range(1_000):
        carry_out(state, ask(state, reserve(ALICE, f"f{i}"), entropy=i))
        (held_id,) = state.holdings.by_id
        carry_out(state, ask(state, ReleaseReservation(held_id, ALICE)))
    assert len(state.holdings) == 0
    assert len(state.holdings.due(MONO + 10**12)) == 0
