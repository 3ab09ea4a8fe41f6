"""What comparing patterns may cost: refused when it is too much, and never where nobody asked."""

import pytest

from intermute.domain import limits
from intermute.domain.commands import (
    CheckFence,
    CheckPaths,
    DescribeTicket,
    ExpireLeases,
    HandOver,
    NarrowReservation,
    RenewReservation,
    ReservePaths,
)
from intermute.domain.decision import Accepted
from intermute.domain.events import ReservationReleased, ReservationRenewed, ReservationSkipped
from intermute.domain.leases import next_due_us
from intermute.domain.modes import Mode
from intermute.domain.refusals import Code, Refusal
from intermute.domain.waiting import admissions

from .table import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    Later,
    ask,
    carry_out,
    check,
    held,
    pass_time,
    stamp_of,
    state_of,
    waits,
    write,
)
from .test_waiting import EVERYBODY, TTL_S, line_of, release, served, want

# Wildcard patterns that neither beginning nor end tells apart, and so have to be compared.
SHAPES = ("?_{}_?", "[a-z]_{}_[a-z]", "**/m{}/*", "?/?{}?/?")
BRACES = "{{a/b,c}}{{d/e,f}}?{}?"
# Each of them means hundreds of others, and they are compared as wholes.
SLOWEST = "{{*a,b*/,**/}}{{*a,b*/,**/}}{{*a,b*/,**/}}{{*a,b*/,**/}}{}?"


def like(shape, first, count):
    return tuple(shape.format(number) for number in range(first, first + count))


def reserve(agent_id, *patterns, mode=Mode.EXCLUSIVE):
    return ReservePaths(agent_id, patterns, mode, "", TTL_S * 1000)


def crowd(shape, agents, each):
    return [
        held(f"rsv_{n}", f"agent{n}", *like(shape, 1_000 + n * each, each)) for n in range(agents)
    ]


@pytest.fixture
def little(monkeypatch):
    """A bound that a dozen of each meet a dozen under, and hundreds do not."""

    def bound(**work):
        for name, most in work.items():
            monkeypatch.setattr(limits, f"PATTERN_{name.upper()}_MAX", most)

    return bound


# -- What is asked


@pytest.mark.parametrize(
    "command",
    [
        CheckPaths(like(SLOWEST, 5_000, 150)),
        reserve(BOB, *like(SLOWEST, 5_000, 150)),
        want(BOB, *like(SLOWEST, 5_000, 150)),
    ],
    ids=["check", "reserve", "queue"],
)
def test_the_slowest_are_refused_before_most_of_it_is_done(command):
    _, refusal = check([*EVERYBODY, *crowd(SLOWEST, 2, 150)], command, Code.LIMIT_REACHED)
    assert "send fewer of them" in refusal.detail


@pytest.mark.parametrize("shape", SHAPES)
def test_patterns_alike_are_compared_together(shape):
    """As many as fit into a request, against a thousand of others, stay within the bound."""
    given = [*EVERYBODY, *crowd(shape, 5, 200)]
    state = state_of(given)
    found = ask(state, CheckPaths(like(shape, 5_000, 256)))
    assert isinstance(found, Accepted), found
    assert found.answer.total == 0
    found = ask(state, CheckPaths(like(shape, 1_100, 256)))
    met = [each.pattern for each in found.answer.conflicts]
    assert met == [shape.format(1_100), shape.format(1_200)]
    assert found.answer.total == 2


@pytest.mark.parametrize("shape", [*SHAPES, BRACES])
def test_a_search_is_refused_as_soon_as_the_work_is_spent(shape, little):
    given = [*EVERYBODY, *crowd(shape, 2, 50)]
    command = CheckPaths(like(shape, 5_000, 20))
    check(given, command, ())
    little(work=2_000_000)
    check(given, command, Code.LIMIT_REACHED)
    # Whoever asks for something else notices nothing.
    check(given, CheckPaths(("lib/a.py", "lib/*.py", "lib/x?/[ab]")), ())


def test_nothing_is_told_of_a_search_that_was_given_up(little):
    """Even when conflicts were found by then: they are not all, and perhaps not the oldest."""
    given = [*EVERYBODY, held("r", ALICE, "?_5000_?"), *crowd("?_{}_?", 2, 50)]
    little(work=2_000_000)
    check(given, reserve(BOB, *like("?_{}_?", 5_000, 20)), Code.LIMIT_REACHED)


def test_a_wait_may_cost_half_so_that_its_turn_can_be_told(little):
    given = [*EVERYBODY, held("r", ALICE, "?_5000_?"), *crowd("?_{}_?", 2, 50)]
    little(turn_work=2_000_000)
    check(given, reserve(BOB, *like("?_{}_?", 5_000, 20)), Code.RESERVATION_CONFLICT)
    check(given, want(BOB, *like("?_{}_?", 5_000, 20)), Code.LIMIT_REACHED)


def test_a_circle_that_cannot_be_told_is_refused(little):
    state = line_of(held("r2", BOB, "lib"), waits("t", BOB, "src"), *crowd("?_{}_?", 2, 50))
    little(turn_work=200_000)
    refusal = ask(state, want(ALICE, "lib", "?_7_?", "?_8_?", "?_9_?"))
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.LIMIT_REACHED


def test_narrowing_is_bounded():
    kept = tuple("a" * 1_000 + f"/{number:03}" for number in range(256))
    wide = (*(f"**/{number}?/q" for number in range(255)), "**/???/**")
    given = [*EVERYBODY, held("r", ALICE, *wide)]
    check(given, NarrowReservation("r", kept, ALICE), Code.LIMIT_REACHED)
    check(given, NarrowReservation("r", ("x/7?",), ALICE), Code.NOT_COVERED)
    assert isinstance(ask(state_of(given), NarrowReservation("r", kept[:1], ALICE)), Accepted)


def test_narrowing_to_what_lies_within_costs_little():
    wide = tuple(f"src/d{number}/**" for number in range(256))
    kept = tuple(f"src/d{number}/deep/down/file_{number}.py" for number in range(256))
    state = state_of([*EVERYBODY, held("r", ALICE, *wide)])
    assert isinstance(ask(state, NarrowReservation("r", kept, ALICE)), Accepted)


def test_a_hand_over_is_bounded(little):
    state = line_of(
        waits("t", BOB, "src", *like("?_{}_?", 5_000, 20)), *crowd("?_{}_?", 2, 50),
        first=held("r", ALICE, "src"),
    )  # fmt: skip
    little(work=2_000_000)
    refusal = ask(state, HandOver("r", BOB, ALICE))
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.LIMIT_REACHED


def test_conflicts_that_are_slow_to_show_are_counted_and_not_all_listed(little):
    given = [*EVERYBODY, *crowd("?_{}_?", 6, 2)]
    state = state_of(given)
    command = CheckPaths(("?_1*",))
    assert len(ask(state, command).answer.conflicts) == 6
    little(show_work=400_000)
    found = ask(state, command).answer
    assert (len(found.conflicts), found.total, found.more) == (2, 6, True)
    little(show_work=0)
    assert len(ask(state, command).answer.conflicts) == 1


# -- What one has


def test_a_renewal_costs_nothing(little):
    """Whatever others hold by now, who asks again for what it holds keeps it."""
    mine = like("?_{}_?", 5_000, 20)
    state = state_of([*EVERYBODY, held("r", ALICE, *mine), *crowd("?_{}_?", 2, 50), Later(60)])
    little(work=0, turn_work=0, lapsed_work=0, show_work=0)
    for command in (reserve(ALICE, *mine), want(ALICE, *mine), RenewReservation("r", ALICE)):
        decision = ask(state, command)
        assert isinstance(decision, Accepted), decision
        assert [type(data) for data in decision.events] == [ReservationRenewed]


def test_a_lapsed_lease_comes_back_whatever_it_would_cost(little):
    mine = like("?_{}_?", 5_000, 20)
    state = state_of(
        [*EVERYBODY, held("r", ALICE, *mine, ttl_s=60), *crowd("?_{}_?", 2, 50), Later(61)]
    )
    assert "r" not in state.holdings.by_id
    little(work=2_000_000, lapsed_work=0)
    decision = ask(state, RenewReservation("r", ALICE))
    assert isinstance(decision, Accepted)
    carry_out(state, decision)
    assert "r" in state.holdings.by_id


def test_lapsed_leases_are_forgotten_when_it_cannot_be_told_whose_paths_are_taken(little):
    lapsed = [
        held("r1", ALICE, *like("?_{}_?", 5_000, 20), ttl_s=60), held("r2", CAROL, "x", ttl_s=60)
    ]  # fmt: skip
    state = state_of([*EVERYBODY, *lapsed, Later(61)])
    carry_out(state, ask(state, reserve(BOB, *like("?_{}_?", 6_000, 20))))
    assert set(state.lapsed.by_id) == {"r1", "r2"}
    little(lapsed_work=100_000)
    carry_out(state, ask(state, reserve(BOB, *like("?_{}_?", 7_000, 20)), entropy=1))
    assert not state.lapsed.by_id
    refusal = ask(state, RenewReservation("r2", CAROL))
    assert refusal.code is Code.RESERVATION_NOT_FOUND


def test_who_waits_keeps_its_place_and_is_told_what_could_be_found(little):
    mine = like("?_{}_?", 1_000, 20)
    state = line_of(*crowd("?_{}_?", 2, 50), waits("t", BOB, *mine), first=held("r", ALICE, "src"))
    little(work=0, turn_work=0)
    assert isinstance(ask(state, want(BOB, *mine, wait_s=900)), Accepted)
    found = ask(state, DescribeTicket("t"))
    assert (found.answer.blocked_by, found.answer.position) == ((), 1)
    # To ask without waiting is a question of its own.
    assert ask(state, reserve(BOB, *mine)).code is Code.LIMIT_REACHED


def test_a_token_of_which_too_much_would_have_to_be_looked_at_is_outdated(little):
    mine = like("?_{}_?", 5_000, 20)
    state = state_of([*EVERYBODY, held("r", ALICE, *mine)])
    token = state.holdings.by_id["r"].cursor
    carry_out(state, ask(state, release("r")))
    for given in crowd("?_{}_?", 2, 50):
        write(state, given(state))
    assert ask(state, CheckFence(token)).answer.status == "released"
    little(work=100_000)
    assert ask(state, CheckFence(token)).answer.status == "outdated"


# -- Turns


def ticket_patterns(n):
    return ("src/x", *like("?_{}_?", 5_000 + n * 100, 4))


def line_for(count):
    """Tickets of several agents, none of which is in another's way, behind one reservation."""
    agents = (BOB, CAROL, DAVE)
    tickets = [
        waits(f"t{n}", agents[n % 3], *ticket_patterns(n), mode=Mode.SHARED) for n in range(count)
    ]
    return line_of(*crowd("?_{}_?", 1, 50), *tickets, first=held("r", ALICE, "src"))


def test_a_release_is_never_refused_and_turns_come_by_and_by(little):
    """What cannot be looked at in one go is looked at with the next command, in the old order."""
    state = line_for(9)
    assert len(served(line_for(9), ask(line_for(9), release("r")))) == 9
    little(turn_work=12_000_000)
    decision = ask(state, release("r"))
    assert [type(data) for data in decision.events] == [ReservationReleased]
    turns = [served(state, decision)]
    while state.unlooked:
        assert len(turns) < 20, "each time at least one is looked at"
        assert next_due_us(state) == state.mono_us
        # Whoever comes meanwhile does not overtake.
        later = ask(state, reserve("late", "src/x"))
        assert later.code is Code.RESERVATION_CONFLICT
        turns.append(served(state, ask(state, ExpireLeases())))
    assert len(turns) > 1
    assert [each for turn in turns for each in turn] == [f"t{n}" for n in range(9)]


def test_a_ticket_whose_turn_cannot_be_told_leaves_the_line(little):
    state = line_for(2)
    little(turn_work=500_000)
    followed = carry_out(state, ask(state, release("r")))
    assert [(data.ticket_id, data.cause) for data in followed] == [("t0", "too_much_work")]
    followed = carry_out(state, ask(state, ExpireLeases()))
    assert followed == (ReservationSkipped("t1", CAROL, ticket_patterns(1), "too_much_work"),)
    assert not state.unlooked


def test_all_who_wait_are_looked_at_when_it_cannot_be_told_who_waited_for_it(little):
    state = line_of(
        waits("t1", BOB, "src/a"), waits("t2", CAROL, "lib"), held("r2", DAVE, "lib"),
        first=held("r", ALICE, "src", *like("?_{}_?", 5_000, 20)),
    )  # fmt: skip
    little(turn_work=100_000)
    assert served(state, ask(state, release("r"))) == ["t1"]
    assert list(state.line.by_id) == ["t2"]


def test_leaving_the_line_meanwhile_is_no_harm(little):
    state = line_for(9)
    little(turn_work=12_000_000)
    carry_out(state, ask(state, release("r")))
    left = list(state.unlooked)
    assert left
    pass_time(state, Later(3_600))
    assert not state.line.by_id
    assert not state.unlooked
    assert list(admissions(state)) == []
    assert stamp_of(state).mono_us == state.mono_us
