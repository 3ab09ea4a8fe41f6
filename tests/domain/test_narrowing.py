"""Narrowing: part of a reservation is kept, the rest is free, and the token stays."""

import pytest

from intermute.domain.commands import CheckPaths, NarrowReservation, RenewReservation, ReservePaths
from intermute.domain.decision import Accepted
from intermute.domain.events import ReservationGranted, ReservationNarrowed
from intermute.domain.modes import Mode
from intermute.domain.refusals import Code

from .table import (
    ALICE,
    BOB,
    CAROL,
    MINUTE,
    MONO,
    Later,
    S,
    ask,
    carry_out,
    check,
    held,
    pass_time,
    registered,
    state_of,
    waits,
)

TTL = 10 * MINUTE
LEASE = held("r", ALICE, "src", "docs/**", "*.md", ttl_s=TTL)


def narrow(*patterns, agent_id=ALICE, key="r"):
    return NarrowReservation(key, patterns, agent_id)


@pytest.mark.parametrize(
    ("kept", "covered"),
    [
        (("src",), True),
        (("./src", "*.md"), True),
        (("src/a.py", "src/b"), True),
        (("src/**", "docs/"), True),
        (("src/*.py", "docs/{a,b}/c"), True),
        (("docs",), True),
        (("docs/x",), True),
        (("lib",), False),
        (("src/a", "lib"), False),
        (("**",), False),
        (("srcs",), False),
        (("s*",), False),
        (("a.md",), False),
        (("a.md/b",), False),
    ],
)
def test_what_is_kept_lies_within_what_is_held(kept, covered):
    """`a.md` as a pattern covers what is below it, which `*.md` does not."""
    expected = (
        (ReservationNarrowed("r", ALICE, kept, fencing_token=1),) if covered else Code.NOT_COVERED
    )
    state, answer = check([LEASE], narrow(*kept), expected)
    if covered:
        assert answer.patterns == kept
        assert (answer.cursor, answer.reservation_id) == (1, "r")
        assert state.holdings.by_id["r"].patterns == kept
        assert state.holdings.patterns_by_agent == {ALICE: len(kept)}
    else:
        assert answer.data["pattern"] == kept[-1]
        assert answer.data["pattern_index"] == len(kept) - 1


def test_what_is_narrowed_to_what_has_lapsed_takes_its_place():
    """Both would lapse, or come back, as the same."""
    given = [
        held("old", ALICE, "src/a", ttl_s=60),
        held("r", ALICE, "src", ttl_s=100),
        Later(61),
        ReservationNarrowed("r", ALICE, ("src/a",), fencing_token=2),
    ]
    state = state_of(given)
    assert ask(state, RenewReservation("old", ALICE)).code is Code.RESERVATION_NOT_FOUND
    pass_time(state, Later(40))
    assert list(state.lapsed.by_id) == ["r"]


def test_the_rest_is_free_and_the_lease_goes_on():
    state, _ = check(
        [LEASE, Later(60)],
        narrow("src/a"),
        (ReservationNarrowed("r", ALICE, ("src/a",), fencing_token=1),),
    )
    assert ask(state, CheckPaths(("docs", "src/b", "x.md"), agent_id=BOB)).answer.conflicts == ()
    (conflict,) = ask(state, CheckPaths(("src",), agent_id=BOB)).answer.conflicts
    assert (conflict.pattern, conflict.fencing_token) == ("src/a", 1)
    assert state.holdings.by_id["r"].deadline_us == MONO + TTL * S
    pass_time(state, Later(TTL - 60))
    assert len(state.holdings) == 0
    assert state.holdings.wild_len_by_agent == {}


def test_whoever_waited_for_the_rest_goes_on():
    given = [
        registered(BOB),
        registered(CAROL),
        LEASE,
        waits("t1", BOB, "docs/x"),
        waits("t2", CAROL, "src/a/b"),
    ]
    state = state_of(given)
    followed = carry_out(state, ask(state, narrow("src/a")))
    assert [d.ticket_id for d in followed if isinstance(d, ReservationGranted)] == ["t1"]


def test_asking_again_finds_what_was_narrowed():
    state = state_of([LEASE])
    carry_out(state, ask(state, narrow("src/a", "docs")))
    again = ask(state, ReservePaths(ALICE, ("docs", "src/a"), ttl_ms=1)).answer
    assert again.reservation_id == "r"
    assert ask(state, narrow("docs", "./src/a")).events == ()


@pytest.mark.parametrize(
    ("given", "command", "code"),
    [
        ([LEASE], narrow(), Code.INVALID_REQUEST),
        ([LEASE], narrow("src", "["), Code.INVALID_PATTERN),
        ([LEASE], narrow("src", agent_id=BOB), Code.NOT_THE_OWNER),
        ([LEASE], narrow("src", agent_id=None), Code.NOT_THE_OWNER),
        ([], narrow("src"), Code.RESERVATION_NOT_FOUND),
        ([LEASE, Later(TTL)], narrow("src"), Code.RESERVATION_LAPSED),
        ([LEASE, held("r2", ALICE, "src/a")], narrow("src/a"), Code.INVALID_REQUEST),
    ],
)
def test_when_nothing_is_narrowed(given, command, code):
    check(given, command, code)


def test_nothing_is_held_twice_once_a_ticket_of_the_same_is_served():
    """Alice waits for just what she would keep; granted later, the two would be one claim."""
    given = [
        registered(BOB),
        held("x", BOB, "docs", mode=Mode.INTENT_SHARED),
        held("r", ALICE, "src", mode=Mode.INTENT_EXCLUSIVE),
        waits("t0", BOB, "src/a", "docs", mode=Mode.SHARED),
        waits("t", ALICE, "src/a", mode=Mode.INTENT_EXCLUSIVE),
    ]
    check(given, narrow("src/a"), Code.INVALID_REQUEST)


def test_many_small_patterns_count_like_any_others():
    many = tuple(f"src/{n}" for n in range(5))
    given = [LEASE, held("r2", ALICE, "lib")]
    few = {"patterns_per_agent_max": 5}
    check(given, narrow(*many), Code.LIMIT_REACHED, **few)
    decision = ask(state_of(given, **few), narrow(*many[:4]))
    assert isinstance(decision, Accepted)
