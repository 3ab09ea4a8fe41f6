"""The line: who is served when, and who is skipped; a row for each command and event."""

import pytest

from intermute.domain import limits
from intermute.domain.commands import (
    CancelTicket,
    CheckPaths,
    DescribeTicket,
    ExpireLeases,
    ForceRelease,
    Heartbeat,
    QueuePaths,
    ReleaseReservation,
    ReservePaths,
    RetireAgent,
)
from intermute.domain.decision import Accepted
from intermute.domain.events import (
    ReservationCreated,
    ReservationGranted,
    ReservationQueued,
    ReservationSkipped,
)
from intermute.domain.modes import Mode
from intermute.domain.refusals import Code

from .table import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    ENTROPY,
    GRACE_S,
    MINUTE,
    MONO,
    NOBODY,
    OPERATOR,
    TAG,
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

UNIQUE = f"{WALL // 1000:012x}{ENTROPY & (2**64 - 1):016x}"
EVERYBODY = [registered(agent_id) for agent_id in (ALICE, BOB, CAROL, DAVE)]
CONFIRM_S = limits.CONFIRM_MS // 1000
TTL_S = 30 * MINUTE


def want(agent_id, *patterns, mode=Mode.EXCLUSIVE, ttl_s=TTL_S, wait_s=600, held_open=False):
    return QueuePaths(
        agent_id, patterns, mode, "", ttl_s * 1000, wait_ms=wait_s * 1000, held_open=held_open
    )


def release(key, agent_id=ALICE):
    return ReleaseReservation(key, agent_id)


def served(state, decision):
    """Who is granted something by what follows a decision, in order."""
    followed = carry_out(state, decision)
    return [data.ticket_id for data in followed if isinstance(data, ReservationGranted)]


def line_of(*tickets, first=None):
    return state_of([*EVERYBODY, first or held("r", ALICE, "src"), *tickets])


# -- Asking


def test_what_is_free_is_granted_at_once():
    state, answer = check(
        EVERYBODY,
        want(BOB, "src"),
        (
            ReservationCreated(
                f"rsv_{TAG}_{UNIQUE}",
                BOB,
                ("src",),
                Mode.EXCLUSIVE,
                "",
                TTL_S * 1000,
                WALL + TTL_S * S,
            ),
        ),
    )
    assert answer.ticket is None
    assert answer.reservation.ticket_id is None
    assert len(state.line) == 0


def test_what_is_not_free_is_waited_for():
    given = [*EVERYBODY, held("r", ALICE, "src"), waits("t0", CAROL, "src/a")]
    event = ReservationQueued(
        f"tkt_{TAG}_{UNIQUE}",
        BOB,
        ("src", "lib"),
        Mode.EXCLUSIVE,
        "",
        TTL_S * 1000,
        False,
        False,
        WALL + 600 * S,
    )
    state, answer = check(given, want(BOB, "src", "lib"), (event,))
    ticket = answer.ticket
    assert answer.reservation is None
    assert [(c.reservation_id, c.standing, c.fencing_token) for c in ticket.blocked_by] == [
        ("r", "active", 5),
        ("t0", "waiting", 0),
    ]
    assert (ticket.position, ticket.blocked_total, ticket.ended) == (2, 2, None)
    assert state.line.by_id[ticket.ticket_id].deadline_us == MONO + 600 * S
    assert ask(state, DescribeTicket(ticket.ticket_id)).answer == ticket


def test_asking_again_keeps_the_place_and_lengthens_the_wait():
    state = line_of(waits("t1", BOB, "src", "lib", wait_s=100), waits("t2", CAROL, "src"))
    decision = ask(state, want(BOB, "./lib", "src", wait_s=300, ttl_s=60))
    (event,) = decision.events
    assert (event.ticket_id, event.patterns, event.ttl_ms) == ("t1", ("src", "lib"), 60_000)
    assert decision.answer.ticket.position == 1
    carry_out(state, decision)
    ticket = state.line.by_id["t1"]
    assert (ticket.deadline_us, ticket.ttl_ms, ticket.cursor) == (MONO + 300 * S, 60_000, 6)
    pass_time(state, Later(100))
    assert "t1" in state.line.by_id, "the old end of the wait means nothing any more"
    assert served(state, ask(state, release("r"))) == ["t1"]


def test_asking_again_for_the_same_changes_nothing():
    state = line_of(waits("t1", BOB, "src", wait_s=600))
    assert ask(state, want(BOB, "src", wait_s=60)).events == ()


@pytest.mark.parametrize(
    ("before", "again", "after"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
def test_a_ticket_that_needs_no_call_goes_on_needing_none(before, again, after):
    state = line_of(waits("t1", BOB, "src", held_open=before))
    carry_out(state, ask(state, want(BOB, "src", held_open=again, wait_s=3_000)))
    assert state.line.by_id["t1"].held_open is after


def test_somebody_unknown_waits_only_on_the_line():
    given = [held("r", ALICE, "src")]
    check(given, want("ghost", "src"), Code.AGENT_NOT_FOUND)
    decision = ask(state_of(given), want("ghost", "src", held_open=True))
    assert decision.answer.ticket.held_open


def test_what_waits_counts_as_much_as_what_is_held():
    given = [*EVERYBODY, held("r", ALICE, "src"), waits("t", BOB, "src", "x")]
    few = {"patterns_per_agent_max": 3}
    assert isinstance(ask(state_of(given, **few), want(BOB, "y")), Accepted)
    check(given, want(BOB, "y", "z"), Code.LIMIT_REACHED, **few)
    check(given, ReservePaths(BOB, ("y", "z"), ttl_ms=1), Code.LIMIT_REACHED, **few)
    again = ask(state_of(given, **few), want(BOB, "x", "src", wait_s=9_000))
    assert isinstance(again, Accepted), "asking again takes no more room"


def test_slow_patterns_that_wait_count_too():
    slow = tuple(f"{'*a' * 100}{number}" for number in range(50))
    given = [*EVERYBODY, held("r", ALICE, "**"), waits("t", BOB, *slow[:30])]
    check(given, want(BOB, *slow[30:]), Code.LIMIT_REACHED)


def test_an_agent_waits_for_so_many_sets(monkeypatch):
    monkeypatch.setattr(limits, "TICKETS_PER_AGENT_MAX", 2)
    given = [*EVERYBODY, held("r", ALICE, "src")]
    given += [waits(f"t{n}", BOB, f"src/{n}") for n in range(2)]
    check(given, want(BOB, "src/3"), Code.LIMIT_REACHED)
    assert isinstance(ask(state_of(given), want(CAROL, "src/3")), Accepted)
    monkeypatch.setattr(limits, "TICKETS_MAX", 2)
    check(given, want(CAROL, "src/3"), Code.LIMIT_REACHED)


# -- Nobody is overtaken


@pytest.mark.parametrize(
    ("agent_id", "patterns", "mode", "free"),
    [
        (CAROL, ("lib/a",), Mode.EXCLUSIVE, False),
        (CAROL, ("lib",), Mode.SHARED, False),
        (CAROL, ("docs", "lib/a"), Mode.EXCLUSIVE, False),
        (CAROL, ("lib",), Mode.INTENT_SHARED, True),
        (CAROL, ("docs",), Mode.EXCLUSIVE, True),
        (ALICE, ("lib",), Mode.EXCLUSIVE, False),
        (ALICE, ("src/a",), Mode.EXCLUSIVE, True),
        (BOB, ("lib",), Mode.EXCLUSIVE, True),
    ],
)
def test_a_later_request_does_not_overtake_an_older_ticket(agent_id, patterns, mode, free):
    """Whether it waits or not. What conflicts with nobody ahead goes past, and one's own never
    conflicts. Of the ticket's paths one is free, and is kept for it all the same."""
    src = held("r", ALICE, "src", mode=Mode.SHARED)
    given = [*EVERYBODY, src, waits("t", BOB, "lib", "src", mode=Mode.SHARED_INTENT_EXCLUSIVE)]
    if agent_id == ALICE and free:
        given[-1] = waits("t", BOB, "lib", "src/b", mode=Mode.SHARED_INTENT_EXCLUSIVE)
    state = state_of(given)
    decision = ask(state, ReservePaths(agent_id, patterns, mode, ttl_ms=60_000))
    assert isinstance(decision, Accepted) is free
    checked = ask(state, CheckPaths(patterns, mode, agent_id)).answer
    assert (checked.conflicts == ()) is free
    if not free:
        (conflict,) = decision.data["conflicts"]
        assert (conflict.standing, conflict.reservation_id) == ("waiting", "t")
        assert (conflict.agent_id, conflict.fencing_token) == (BOB, 0)
        assert conflict.expires_at_us == WALL + 1_800 * S
        assert "came first" in decision.detail


def test_the_precedence_of_what_is_told():
    """One's own before others', what is held before what waits, and each oldest first."""
    given = [
        *EVERYBODY,
        held("own", DAVE, "x", mode=Mode.SHARED),
        held("r2", BOB, "b"),
        waits("t1", CAROL, "b", "z"),
        held("r1", ALICE, "a"),
        waits("t2", CAROL, "a"),
    ]
    state = state_of(given)
    refusal = ask(state, ReservePaths(DAVE, ("z", "a", "b", "x"), ttl_ms=1))
    assert [c.reservation_id for c in refusal.data["conflicts"]] == ["r2", "r1", "t1", "t2"]
    assert refusal.data["total"] == 4
    mine = ask(state, ReservePaths(DAVE, ("x",), Mode.SHARED, ttl_ms=1))
    assert mine.answer.reservation_id == "own", "asking for what one holds meets nobody"


def test_a_place_counts_all_who_are_ahead(monkeypatch):
    monkeypatch.setattr(limits, "CONFLICTS_LISTED_MAX", 2)
    tickets = [waits(f"t{n}", f"a{n}", "src", held_open=True) for n in range(5)]
    state = line_of(*tickets)
    ticket = ask(state, want(BOB, "src")).answer.ticket
    assert (ticket.position, ticket.blocked_total, len(ticket.blocked_by)) == (6, 6, 2)


# -- Admission


def test_first_come_first_served():
    state = line_of(*(waits(f"t{n}", agent, "src") for n, agent in enumerate((CAROL, BOB, DAVE))))
    assert served(state, ask(state, release("r"))) == ["t0"]
    (granted,) = state.holdings.by_id.values()
    assert (granted.agent_id, granted.ticket_id) == (CAROL, "t0")
    assert served(state, ask(state, release(granted.key, CAROL))) == ["t1"]


def test_a_grant_says_by_when_to_take_it_up():
    state = line_of(waits("t", BOB, "src", "lib"))
    created, granted = carry_out(state, ask(state, release("r")))
    token = state.cursor - 1
    assert created == ReservationCreated(
        created.reservation_id,
        BOB,
        ("src", "lib"),
        Mode.EXCLUSIVE,
        "",
        TTL_S * 1000,
        WALL + CONFIRM_S * S,
        ticket_id="t",
    )
    assert granted == ReservationGranted(
        "t",
        BOB,
        created.reservation_id,
        ("src", "lib"),
        Mode.EXCLUSIVE,
        token,
        WALL + CONFIRM_S * S,
    )
    reservation = state.holdings.by_id[created.reservation_id]
    assert (reservation.cursor, reservation.deadline_us) == (token, MONO + CONFIRM_S * S)


def test_a_set_is_granted_whole_never_half():
    state = line_of(held("r2", CAROL, "lib"), waits("t", BOB, "src", "lib"))
    assert served(state, ask(state, release("r"))) == []
    assert served(state, ask(state, release("r2", CAROL))) == ["t"]


def test_several_are_served_by_one_release():
    state = line_of(
        waits("t1", BOB, "src/a"),
        waits("t2", CAROL, "src/b", mode=Mode.SHARED),
        waits("t3", DAVE, "src/b", mode=Mode.SHARED),
        waits("t4", BOB, "src/b"),
        waits("t5", CAROL, "src/c"),
    )
    assert served(state, ask(state, release("r"))) == ["t1", "t2", "t3", "t5"]


def test_a_line_of_readers_and_writers_keeps_its_order():
    state = line_of(
        waits("t1", BOB, "src", mode=Mode.SHARED),
        waits("t2", CAROL, "src"),
        waits("t3", DAVE, "src", mode=Mode.SHARED),
    )
    assert served(state, ask(state, release("r"))) == ["t1"], "t3 does not pass t2"


@pytest.mark.parametrize("late_s", [GRACE_S, GRACE_S + 1_000])
def test_whoever_is_gone_is_skipped_at_its_turn(late_s):
    state = line_of(waits("t1", BOB, "src"), waits("t2", CAROL, "src"), Later(late_s))
    carry_out(state, ask(state, Heartbeat(CAROL)))
    skipped, _, granted = carry_out(state, ask(state, release("r")))
    assert skipped == ReservationSkipped("t1", BOB, ("src",), "gone")
    assert granted.ticket_id == "t2"


def test_an_open_call_is_a_sign_of_life():
    given = [held("r", ALICE, "src"), waits("t", "ghost", "src", held_open=True), Later(GRACE_S)]
    state = state_of(given)
    assert served(state, ask(state, release("r"))) == ["t"]


def test_a_skip_frees_those_behind_it():
    state = line_of(waits("t1", BOB, "src", "lib"), waits("t2", CAROL, "lib"), Later(GRACE_S))
    carry_out(state, ask(state, Heartbeat(CAROL)))
    assert served(state, ask(state, release("r"))) == ["t2"]


@pytest.mark.parametrize(
    ("ends", "who"),
    [
        (ReleaseReservation("r", ALICE), NOBODY),
        (ForceRelease("r", "somebody waits"), OPERATOR),
        (RetireAgent(ALICE), NOBODY),
    ],
)
def test_whatever_ends_a_reservation_lets_the_next_go_on(ends, who):
    state = line_of(waits("t", BOB, "src/a"))
    assert served(state, ask(state, ends, who)) == ["t"]


def test_a_lapse_lets_the_next_go_on():
    state = line_of(waits("t", BOB, "src"), first=held("r", ALICE, "src", ttl_s=60))
    carry_out(state, ask(state, Heartbeat(BOB)))
    pass_time(state, Later(60))
    (granted,) = state.holdings.by_id.values()
    assert granted.ticket_id == "t"


@pytest.mark.parametrize("leaves", ["cancel", "retire", "timeout"])
def test_whoever_leaves_the_line_lets_the_next_go_on(leaves):
    state = line_of(waits("t1", BOB, "src", "lib", wait_s=60), waits("t2", CAROL, "lib"))
    if leaves == "timeout":
        pass_time(state, Later(60))
    else:
        command = CancelTicket("t1", BOB) if leaves == "cancel" else RetireAgent(BOB)
        assert served(state, ask(state, command)) == ["t2"]
    assert [r.ticket_id for r in state.holdings.by_id.values()] == [None, "t2"]


def test_a_wait_that_is_over_is_told():
    state = line_of(waits("t1", BOB, "src", wait_s=60))
    state.mono_us += 60 * S
    assert ask(state, ExpireLeases()).events == (
        ReservationSkipped("t1", BOB, ("src",), "timeout"),
    )


def test_many_are_served_in_one_go():
    """Each ticket is looked at once, however many there are."""
    first = held("r", ALICE, "src")
    state = line_of(*(waits(f"t{n}", BOB, f"src/{n}") for n in range(400)), first=first)
    assert len(served(state, ask(state, release("r")))) == 400
