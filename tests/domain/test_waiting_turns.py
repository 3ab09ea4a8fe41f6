"""Turns: taken up or not, given up, handed over; leases that near their end; restarts."""

import pytest

from intermute.domain.commands import (
    CancelTicket,
    ConfigureProject,
    ConfirmGrant,
    DescribeTicket,
    ExpireLeases,
    ForceRelease,
    HandOver,
    Heartbeat,
    RenewReservation,
    ReservePaths,
    ResumeLeases,
    RetireAgent,
)
from intermute.domain.decision import Accepted
from intermute.domain.events import (
    ReservationCancelled,
    ReservationExpired,
    ReservationExpiring,
    ReservationReleased,
    ReservationRenewed,
    ReservationSkipped,
)
from intermute.domain.refusals import Code

from .table import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    GRACE_S,
    MONO,
    OPERATOR,
    WALL,
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
from .test_waiting import CONFIRM_S, EVERYBODY, TTL_S, line_of, release, served, want

# -- Taking up


def granted_state(*more, ttl_s=TTL_S):
    state = line_of(waits("t", BOB, "src", ttl_s=ttl_s), *more)
    carry_out(state, ask(state, release("r")))
    return state, next(iter(state.holdings.by_agent[BOB]))


def token(state, key):
    """The token of what is held."""
    return state.holdings.by_id[key].cursor


def test_taking_up_counts_the_lease_anew_in_full():
    state, key = granted_state()
    pass_time(state, Later(10))
    decision = ask(state, ConfirmGrant("t", BOB))
    assert decision.events == (
        ReservationRenewed(
            key,
            BOB,
            TTL_S * 1000,
            WALL + (10 + TTL_S) * S,
            "waiter",
            fencing_token=token(state, key),
        ),
    )
    assert decision.answer.ticket_id is None
    carry_out(state, decision)
    assert state.holdings.by_id[key].ticket_id is None
    assert isinstance(ask(state, ConfirmGrant("t", BOB)), Accepted), "twice is no error"


@pytest.mark.parametrize("ttl_s", [10, 29, TTL_S])
@pytest.mark.parametrize("how", ["ask again", "renew", "queue again"])
def test_any_word_of_the_holder_takes_it_up(how, ttl_s):
    state, key = granted_state(ttl_s=ttl_s)
    command = {
        "ask again": ReservePaths(BOB, ("src",), ttl_ms=5_000),
        "renew": RenewReservation(key, BOB),
        "queue again": want(BOB, "src", ttl_s=5),
    }[how]
    decision = ask(state, command)
    carry_out(state, decision)
    assert state.holdings.by_id[key].ticket_id is None
    pass_time(state, Later(4))
    assert key in state.holdings.by_id


def test_a_heartbeat_takes_nothing_up():
    state = line_of(waits("t", BOB, "src"))
    state.line.by_id["t"].renew_on_heartbeat = True
    carry_out(state, ask(state, release("r")))
    assert ask(state, Heartbeat(BOB)).events == ()


@pytest.mark.parametrize("ttl_s", [10, TTL_S])
def test_what_is_not_taken_up_goes_to_the_next(ttl_s):
    state, key = granted_state(waits("t2", CAROL, "src"), ttl_s=ttl_s)
    limit_s = min(ttl_s, CONFIRM_S)
    pass_time(state, Later(limit_s - 0.000001))
    assert key in state.holdings.by_id
    state.mono_us = MONO + limit_s * S
    decision = ask(state, ExpireLeases())
    assert decision.events == (
        ReservationExpired(key, BOB, ("src",), fencing_token=token(state, key)),
        ReservationSkipped("t", BOB, ("src",), "unconfirmed"),
    )
    assert served(state, decision) == ["t2"]


def test_what_was_skipped_cannot_be_taken_back():
    """Its waiter was told that the turn is over, and nothing lets two have it."""
    state, key = granted_state()
    pass_time(state, Later(CONFIRM_S))
    assert ask(state, ConfirmGrant("t", BOB)).code is Code.TICKET_NOT_FOUND
    assert ask(state, RenewReservation(key, BOB)).code is Code.RESERVATION_NOT_FOUND
    assert ask(state, want(BOB, "src")).answer.reservation is not None, "it may ask anew"


def test_a_grant_is_not_announced_as_expiring():
    state, _ = granted_state()
    state.mono_us += 1 * S
    assert ask(state, ExpireLeases()).events == ()


@pytest.mark.parametrize("who", [CAROL, None, ""])
def test_only_the_waiter_takes_up_and_cancels(who):
    state, _ = granted_state(waits("t2", BOB, "src/x"))
    assert ask(state, ConfirmGrant("t", who)).code is Code.NOT_THE_OWNER
    assert ask(state, CancelTicket("t", who)).code is Code.NOT_THE_OWNER
    other = line_of(waits("t", BOB, "src"))
    assert ask(other, CancelTicket("t", who)).code is Code.NOT_THE_OWNER


@pytest.mark.parametrize("command", [ConfirmGrant, CancelTicket])
def test_a_ticket_that_is_not_there(command):
    check(EVERYBODY, command("t", BOB), Code.TICKET_NOT_FOUND)
    check(EVERYBODY, DescribeTicket("t"), Code.TICKET_NOT_FOUND)
    waiting = [*EVERYBODY, held("r", ALICE, "src"), waits("t", BOB, "src")]
    if command is ConfirmGrant:
        check(waiting, command("t", BOB), Code.TICKET_NOT_FOUND)


# -- Leaving


def test_cancelling_leaves_the_line():
    given = [*EVERYBODY, held("r", ALICE, "src"), waits("t", BOB, "src")]
    _, answer = check(given, CancelTicket("t", BOB), (ReservationCancelled("t", BOB, "waiter"),))
    assert (answer.ended, answer.ended_at_us) == ("cancelled", WALL)


def test_cancelling_gives_back_what_was_not_taken_up():
    state, key = granted_state(waits("t2", CAROL, "src"))
    decision = ask(state, CancelTicket("t", BOB))
    expected = ReservationReleased(key, BOB, "holder", fencing_token=token(state, key))
    assert decision.events == (expected,)
    assert served(state, decision) == ["t2"]


def test_cancelling_what_was_taken_up_is_too_late():
    state, _ = granted_state()
    carry_out(state, ask(state, ConfirmGrant("t", BOB)))
    assert ask(state, CancelTicket("t", BOB)).code is Code.TICKET_NOT_FOUND


def test_whoever_retires_leaves_the_line_and_lets_go():
    given = [*EVERYBODY, held("r", ALICE, "src"), held("r2", BOB, "lib"), waits("t", BOB, "src")]
    state = state_of(given)
    decision = ask(state, RetireAgent(BOB))
    assert decision.events[:-1] == (
        ReservationReleased("r2", BOB, "retired", fencing_token=token(state, "r2")),
        ReservationCancelled("t", BOB, "retired"),
    )


def test_whoever_retires_before_taking_up_lets_the_next_go_on():
    state, _ = granted_state(waits("t2", CAROL, "src"))
    assert served(state, ask(state, RetireAgent(BOB))) == ["t2"]


# -- Handing over


def test_a_holder_names_who_goes_on_past_the_others():
    state = line_of(waits("t1", CAROL, "src"), waits("t2", BOB, "src/a"))
    decision = ask(state, HandOver("r", BOB, ALICE))
    released, created, granted = decision.events
    assert released == ReservationReleased(
        "r", ALICE, "handover", successor=BOB, fencing_token=token(state, "r")
    )
    assert (created.ticket_id, granted.fencing_token) == ("t2", state.cursor + 2)
    carry_out(state, decision)
    assert state.holdings.by_id[created.reservation_id].cursor == granted.fencing_token
    assert list(state.line.by_id) == ["t1"]


def test_what_else_is_freed_goes_to_the_line():
    state = line_of(
        waits("t1", BOB, "src/a"), waits("t2", CAROL, "src/b"), waits("t3", DAVE, "src/a")
    )
    assert served(state, ask(state, HandOver("r", DAVE, ALICE))) == ["t2"]


@pytest.mark.parametrize(
    ("given", "command", "code"),
    [
        ([], HandOver("r", BOB, ALICE), Code.NO_SUCH_WAITER),
        ([waits("t", CAROL, "src")], HandOver("r", BOB, ALICE), Code.NO_SUCH_WAITER),
        ([waits("t", BOB, "src")], HandOver("r", BOB, CAROL), Code.NOT_THE_OWNER),
        ([waits("t", BOB, "src")], HandOver("x", BOB, ALICE), Code.RESERVATION_NOT_FOUND),
        (
            [held("r2", CAROL, "lib"), waits("t", BOB, "src", "lib")],
            HandOver("r", BOB, ALICE),
            Code.NO_SUCH_WAITER,
        ),
        ([waits("t", BOB, "src"), Later(GRACE_S)], HandOver("r", BOB, ALICE), Code.NO_SUCH_WAITER),
        (
            [waits("t", BOB, "src"), Later(TTL_S)],
            HandOver("r", BOB, ALICE),
            Code.RESERVATION_LAPSED,
        ),
    ],
)
def test_when_nothing_can_be_handed_over(given, command, code):
    check([*EVERYBODY, held("r", ALICE, "src"), *given], command, code)


# -- Lapsed leases and the line


def test_a_lapsed_lease_does_not_come_back_past_those_who_wait():
    given = [
        *EVERYBODY,
        held("r", ALICE, "src", ttl_s=60),
        held("r2", CAROL, "lib"),
        waits("t", BOB, "src", "lib"),
        Later(60),
    ]
    refusal = check(given, RenewReservation("r", ALICE), Code.RESERVATION_CONFLICT)[1]
    assert [c.reservation_id for c in refusal.data["conflicts"]] == ["t"]
    others = [*given[:-2], waits("t", BOB, "docs", "lib"), Later(60)]
    assert isinstance(ask(state_of(others), RenewReservation("r", ALICE)), Accepted)


def test_a_held_lease_is_renewed_although_somebody_waits():
    state = line_of(waits("t", BOB, "src"))
    assert isinstance(ask(state, RenewReservation("r", ALICE)), Accepted)


# -- Case, restarts, warnings


def test_case_is_not_changed_while_somebody_waits():
    given = [*EVERYBODY, waits("t", BOB, "src")]
    check(given, ConfigureProject(case_sensitive=False), Code.SETTING_IN_USE)


def test_a_restart_ends_the_tickets_of_open_calls():
    state = line_of(waits("t1", BOB, "src", held_open=True), waits("t2", CAROL, "src"))
    assert ask(state, ResumeLeases()).events == (
        ReservationSkipped("t1", BOB, ("src",), "restart"),
    )


@pytest.mark.parametrize(("off_s", "outcome"), [(0, "kept"), (5, "extended"), (400, "ended")])
def test_a_restart_gives_a_grant_the_time_to_be_taken_up_and_no_more(off_s, outcome):
    state, key = granted_state()
    state.at_us += off_s * S
    expected = {
        "kept": (),
        "extended": (
            ReservationRenewed(
                reservation_id=key,
                agent_id=BOB,
                ttl_ms=TTL_S * 1000,
                expires_at_us=WALL + (off_s + CONFIRM_S) * S,
                cause="restart",
                fencing_token=token(state, key),
            ),
        ),
        "ended": (
            ReservationExpired(key, BOB, ("src",), fencing_token=token(state, key)),
            ReservationSkipped("t", BOB, ("src",), "unconfirmed"),
        ),
    }[outcome]
    decision = ask(state, ResumeLeases())
    assert decision.events == expected
    carry_out(state, decision)
    if outcome == "extended":
        assert state.holdings.by_id[key].ticket_id == "t", "nobody has taken it up"


@pytest.mark.parametrize(("ttl_s", "before_s"), [(TTL_S, 60), (240, 60), (100, 25), (4, 1)])
def test_holders_are_warned_once_before_a_lease_lapses(ttl_s, before_s):
    state = state_of([held("r", ALICE, "src", ttl_s=ttl_s)])
    warning = ReservationExpiring("r", ALICE, ("src",), WALL + ttl_s * S, fencing_token=1)
    pass_time(state, Later(ttl_s - before_s - 0.000001))
    state.mono_us = MONO + (ttl_s - before_s) * S
    decision = ask(state, ExpireLeases())
    assert decision.events == (warning,)
    carry_out(state, decision)
    for n in range(200):
        # Other leases come and go; the heap is tidied behind them.
        other = ReservePaths(BOB, (f"x{n % 7}",), ttl_ms=10**7 + n)
        carry_out(state, ask(state, other, entropy=n))
    assert not [e for e in ask(state, ExpireLeases()).events if e.reservation_id == "r"]


def test_a_renewal_is_followed_by_a_new_warning():
    state = state_of([held("r", ALICE, "src", ttl_s=100), Later(80)])
    carry_out(state, ask(state, RenewReservation("r", ALICE)))
    state.mono_us += 80 * S
    assert [type(data) for data in ask(state, ExpireLeases()).events] == [ReservationExpiring]


# -- Leases tied to signs of life


@pytest.mark.parametrize(
    ("tied", "after_s", "renewed"),
    [(True, 49, False), (True, 51, True), (True, 99, True), (False, 51, False)],
)
def test_a_heartbeat_renews_what_is_tied_to_it_once_it_is_half_over(tied, after_s, renewed):
    lease = held("r", ALICE, "src", ttl_s=100, renew_on_heartbeat=tied)
    decision = ask(state_of([registered(ALICE), lease, Later(after_s)]), Heartbeat(ALICE))
    expected = ReservationRenewed(
        "r", ALICE, 100_000, WALL + (after_s + 100) * S, "heartbeat", fencing_token=2
    )
    assert decision.events == ((expected,) if renewed else ())


# -- Operators


def test_only_an_operator_ends_what_others_hold():
    given = [*EVERYBODY, held("r", ALICE, "src")]
    check(given, ForceRelease("r", "why"), Code.OPERATOR_REQUIRED)
    check(given, ForceRelease("x", "why"), Code.RESERVATION_NOT_FOUND, who=OPERATOR)
    decision = ask(state_of(given), ForceRelease("r", "why"), OPERATOR)
    (event,) = decision.events
    assert (event.cause, event.reason, event.agent_id) == ("forced", "why", ALICE)
