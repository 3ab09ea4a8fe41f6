"""The commands of one request share what one command may spend on comparing patterns."""

import pytest

from intermute.domain import conflicts, limits
from intermute.domain.commands import (
    CheckFence,
    CheckPaths,
    PlannedStep,
    PreflightPlan,
    RenewReservation,
)
from intermute.domain.decision import Accepted
from intermute.domain.leases import forget_taken
from intermute.domain.refusals import Code, Refusal
from intermute.domain.work import RequestAllowance

from .table import ALICE, BOB, CAROL, Later, ask, carry_out, held, state_of, waits
from .test_pattern_work import SLOWEST, crowd, like, reserve
from .test_waiting import EVERYBODY, want

COMMANDS = {
    "check": lambda n: CheckPaths(like(SLOWEST, 5_000 + 200 * n, 150)),
    "reserve": lambda n: reserve(BOB, *like(SLOWEST, 5_000 + 200 * n, 150)),
    "queue": lambda n: want(BOB, *like(SLOWEST, 5_000 + 200 * n, 150)),
    "preflight": lambda n: PreflightPlan(
        (PlannedStep("a", BOB, like(SLOWEST, 5_000 + 200 * n, 150)),)
    ),
}


@pytest.fixture
def texts_read(monkeypatch):
    found = []
    parse = conflicts.parse_pattern

    def noting(text, *, case_sensitive):
        found.append(text)
        return parse(text, case_sensitive=case_sensitive)

    monkeypatch.setattr(conflicts, "parse_pattern", noting)
    return found


def together(state, *commands):
    """Decide the commands of one request, as the actor does, and change nothing."""
    allowance = state.allowance = RequestAllowance()
    answers = []
    for command in commands:
        allowance.begin()
        answers.append(ask(state, command))
    return answers


def slow_state():
    return state_of([*EVERYBODY, *crowd(SLOWEST, 2, 150)])


@pytest.mark.parametrize("kind", COMMANDS)
def test_many_commands_cost_no_more_than_one_may(kind, steps, texts_read):
    make = COMMANDS[kind]
    state = slow_state()
    texts_read.clear()
    (alone,) = together(state, make(0))
    assert alone.code is Code.LIMIT_REACHED
    one, steps[0] = steps[0], 0
    read_by_one = len(texts_read)
    texts_read.clear()
    answers = together(state, *(make(n) for n in range(12)))
    assert {answer.code for answer in answers} == {Code.LIMIT_REACHED}
    assert "by itself" in answers[-1].detail
    # The first is as it is alone, and to read patterns has a bound of its own.
    assert answers[0] == alone
    assert steps[0] <= one + limits.PATTERN_WORK_MAX // 1_000
    assert len(texts_read) <= 3 * read_by_one
    assert state.allowance.spent <= limits.PATTERN_READ_WORK_MAX + max(
        limits.PATTERN_WORK_MAX, limits.PLAN_WORK_MAX
    )


def test_each_request_has_as_much_as_the_one_before(steps):
    state = slow_state()
    first = together(state, COMMANDS["reserve"](0))
    made, steps[0] = steps[0], 0
    assert together(state, COMMANDS["reserve"](0)) == first
    assert steps[0] == made


def test_many_plain_commands_are_far_from_the_bound():
    state = state_of([*EVERYBODY, *(held(f"r{n}", f"a{n}", f"src/{n}/*.py") for n in range(200))])
    paths = [tuple(f"src/{n}/m{k}.txt" for k in range(100)) for n in range(100)]
    answers = together(state, *(reserve(BOB, *each) for each in paths))
    assert all(isinstance(answer, Accepted) for answer in answers)
    assert state.allowance.spent < limits.PATTERN_WORK_MAX // 2


def test_patterns_too_long_to_read_are_refused_unread(texts_read):
    slow = tuple("{a,b}" * 16 + "a" * 900 + f"{n}*" for n in range(256))
    state = state_of(EVERYBODY)
    texts_read.clear()
    for command in (CheckPaths(slow), reserve(BOB, *slow), want(BOB, *slow)):
        (answer,) = together(state, command)
        assert answer.code is Code.LIMIT_REACHED
        assert sum(map(len, texts_read)) < 4 * limits.WILD_LEN_MAX
        texts_read.clear()


@pytest.mark.parametrize("text", ["?" * 12, "{a,b}" * 12, "é/" * 500])
def test_whatever_may_be_held_can_be_read(text):
    count = min(limits.PATTERNS_PER_REQUEST_MAX, limits.WILD_LEN_MAX // (len(text) + 4))
    count = count if "*" in text or "?" in text or "{" in text else limits.PATTERNS_PER_REQUEST_MAX
    state = state_of(EVERYBODY)
    (answer,) = together(state, CheckPaths(tuple(f"{text}{1000 + n}" for n in range(count))))
    assert isinstance(answer, Accepted), answer


def spent_by_others(state):
    """A request of which nothing is left to find anything with."""
    allowance = state.allowance = RequestAllowance()
    allowance.to_find(limits.PATTERN_WORK_MAX).left = 0
    allowance.begin()


def test_a_lapsed_lease_comes_back_by_itself_when_the_request_has_spent_too_much():
    """It must not pass somebody who waits only because of what came before it."""
    given = [
        held("r", ALICE, "?_7_?", ttl_s=60),
        Later(61),
        held("r2", BOB, "lib"),
        waits("t", CAROL, "lib", "?_7_?"),
    ]
    state = state_of([*EVERYBODY, *given])
    spent_by_others(state)
    refused = ask(state, RenewReservation("r", ALICE))
    assert isinstance(refused, Refusal)
    assert (refused.code, "by itself" in refused.detail) == (Code.LIMIT_REACHED, True)
    (answer,) = together(state, RenewReservation("r", ALICE))
    assert answer.code is Code.RESERVATION_CONFLICT


def test_a_token_is_not_called_outdated_because_of_others():
    given = [held("r", ALICE, "src", ttl_s=60), Later(61), held("r2", BOB, "lib/*")]
    state = state_of([*EVERYBODY, *given])
    token = state.lapsed.by_id["r"].cursor
    spent_by_others(state)
    refused = ask(state, CheckFence(token))
    assert isinstance(refused, Refusal)
    assert refused.code is Code.LIMIT_REACHED
    (answer,) = together(state, CheckFence(token))
    assert answer.answer.status == "lapsed"


def test_what_was_found_can_be_shown_and_taken_when_all_else_is_spent():
    state = state_of([*EVERYBODY, held("r", ALICE, "src", ttl_s=60), Later(61)])
    spent_by_others(state)
    carry_out(state, ask(state, reserve(BOB, "other")))
    assert list(state.lapsed.by_id) == ["r"], "it can be told that nothing of it was taken"
    state.allowance.to_finish(10**12).left = 0
    forget_taken(state, next(iter(state.holdings.by_id.values())))
    assert not len(state.lapsed)


def test_what_is_spent_is_counted_once():
    allowance = RequestAllowance()
    assert allowance.spent == 0
    work = allowance.to_find(1_000)
    work.spend(300)
    assert (allowance.spent, allowance.spent) == (300, 300)
    work.spend(200)
    allowance.to_read().spend(7)
    allowance.to_finish(50).spend(50)
    assert allowance.spent == 557
    allowance.for_turns().spend(1_000)
    assert allowance.spent == 1_557
    assert not allowance.turns_are_over
    allowance.for_turns().spend(limits.PATTERN_TURN_WORK_MAX)
    assert allowance.turns_are_over
