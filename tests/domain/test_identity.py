"""Who may act in whose name (docs/decisions/0007-identity.md)."""

import pytest

from intermute.domain.commands import (
    AddContact,
    CheckPaths,
    ConfigureProject,
    Heartbeat,
    MergeMetadata,
    ReleaseReservation,
    RenewReservation,
    ReservePaths,
    RetireAgent,
    SetPolicy,
)
from intermute.domain.decide import replay
from intermute.domain.decision import Accepted
from intermute.domain.events import AgentRetired, TokenBound, TokenSet
from intermute.domain.identity import IDENTITY_MISMATCH
from intermute.domain.refusals import Code
from intermute.domain.views import RegisteredView

from .table import (
    ALICE,
    BOB,
    Later,
    ask,
    bound,
    caller,
    carry_out,
    check,
    held,
    register_command,
    registered,
    state_of,
    token_hash,
    token_of,
)

TWO = [registered(ALICE), token_of(ALICE, "a"), registered(BOB), token_of(BOB, "b")]
LATCHED = [*TWO, bound(ALICE)]
ASKED = (
    Heartbeat(ALICE),
    MergeMetadata(ALICE, {"k": "v"}),
    SetPolicy(ALICE, "auto"),
    AddContact(ALICE, BOB),
    RetireAgent(ALICE),
    ReservePaths(ALICE, ("x",), ttl_ms=60_000),
    RenewReservation("r", ALICE),
    ReleaseReservation("r", ALICE),
)
every_command = pytest.mark.parametrize("command", ASKED, ids=lambda command: command.kind)

NO_TOKEN, MISMATCH = Code.AGENT_TOKEN_REQUIRED, Code.AGENT_IDENTITY_MISMATCH
ROWS = [
    # given, who, what is said of it (None: yes)
    (TWO, caller(), None),
    (TWO, caller(ALICE), None),
    (TWO, caller(ALICE, "a"), None),
    (TWO, caller(BOB), MISMATCH),
    (TWO, caller(BOB, "b"), MISMATCH),
    (TWO, caller(ALICE, "b"), MISMATCH),
    (TWO, caller(ALICE, "nonsense"), MISMATCH),
    (TWO, caller("ghost", "a"), MISMATCH),
    (TWO, caller("ghost"), MISMATCH),
    (TWO, caller(None, "a"), MISMATCH),
    (LATCHED, caller(), NO_TOKEN),
    (LATCHED, caller(ALICE), NO_TOKEN),
    (LATCHED, caller(ALICE, "a"), None),
    (LATCHED, caller(ALICE, "b"), MISMATCH),
    (LATCHED, caller(BOB, "b"), MISMATCH),
    (LATCHED, caller(BOB), MISMATCH),
]


@every_command
@pytest.mark.parametrize(("given", "who", "code"), ROWS)
def test_who_may_act_for_alice(given, who, code, command):
    decision = ask(state_of([*given, held("r", ALICE, "src")]), command, who)
    if code is None:
        assert isinstance(decision, Accepted), decision
        assert decision.actor == ALICE
    else:
        assert decision.code is code


@every_command
def test_tokens_required_holds_everybody_from_the_start(command):
    given = [*TWO, held("r", ALICE, "src")]
    check(given, command, NO_TOKEN, tokens_required=True)
    check(given, command, NO_TOKEN, who=caller(ALICE), tokens_required=True)
    state = state_of(given, tokens_required=True)
    assert isinstance(ask(state, command, caller(ALICE, "a")), Accepted)


def test_tokens_required_cannot_hold_whoever_has_none():
    """Names that never registered may hold reservations: their project's key is their proof."""
    command = ReservePaths("ghost", ("x",), ttl_ms=60_000)
    state = state_of(tokens_required=True)
    assert isinstance(ask(state, command), Accepted)
    assert isinstance(ask(state, register_command()), Accepted)


@pytest.mark.parametrize(
    "command",
    [ConfigureProject(False), CheckPaths(("x",)), CheckPaths(("x",), agent_id=BOB)],
)
@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        (caller(), True),
        (caller(BOB), True),
        (caller("ghost"), True),
        (caller(ALICE, "a"), True),
        (caller(ALICE, "wrong"), False),
        (caller("ghost", "a"), False),
        (caller(None, "a"), False),
    ],
)
def test_a_token_must_be_right_also_where_it_is_not_needed(command, who, allowed):
    decision = ask(state_of(TWO), command, who)
    assert isinstance(decision, Accepted) is allowed
    if not allowed:
        assert decision == IDENTITY_MISMATCH


def test_an_unknown_agent_and_a_wrong_token_look_the_same():
    state = state_of([*TWO, AgentRetired(BOB)])
    answers = [
        ask(state, Heartbeat(agent_id), caller(agent_id, token))
        for agent_id, token in ((ALICE, "wrong"), ("ghost", "a"), (BOB, "b"))
    ]
    assert answers == [IDENTITY_MISMATCH] * 3


def test_a_token_shown_once_is_asked_for_from_then_on():
    state = state_of(TWO)
    carry_out(state, ask(state, Heartbeat(ALICE)))
    assert not state.agents[ALICE].token_bound
    shown = ask(state, Heartbeat(ALICE), caller(ALICE, "a"))
    assert TokenBound(ALICE) in shown.marks
    carry_out(state, shown)
    assert ask(state, Heartbeat(ALICE)).code is NO_TOKEN
    again = ask(state, Heartbeat(ALICE), caller(ALICE, "a"))
    assert TokenBound(ALICE) not in again.marks, "it is noted once"


def test_a_refusal_latches_nothing():
    state = state_of(TWO)
    refused = ask(state, RenewReservation("none", ALICE), caller(ALICE, "a"))
    assert refused.code is Code.RESERVATION_NOT_FOUND
    assert not state.agents[ALICE].token_bound


def test_an_agent_without_any_token_cannot_present_one():
    state = state_of([registered(ALICE)])
    assert ask(state, Heartbeat(ALICE), caller(ALICE, "a")).code is MISMATCH


def test_a_claimed_name_gives_no_right_to_anothers_reservation():
    given = [*TWO, held("r", BOB, "src")]
    for command in (RenewReservation("r", ALICE), ReleaseReservation("r", ALICE)):
        check(given, command, Code.NOT_THE_OWNER, who=caller(ALICE, "a"))
    for command in (RenewReservation("r"), ReleaseReservation("r")):
        check(given, command, Code.NOT_THE_OWNER)


def test_a_registration_asked_for_again_brings_a_new_token_and_nothing_else_does():
    state = state_of(TWO)
    answer = RegisteredView(ALICE, "s", "Alice", resumed=False)
    again = replay(state, register_command("new"), answer)
    assert again == Accepted(answer, marks=(TokenSet(ALICE, token_hash("new")),))
    for command in ASKED:
        assert replay(state, command, None) == Accepted(None)


def test_a_registration_asked_for_again_brings_no_retired_agent_back():
    answer = RegisteredView(ALICE, "s", "Alice", resumed=False)
    state = state_of([*LATCHED, AgentRetired(ALICE)])
    assert replay(state, register_command("new"), answer).code is Code.AGENT_NOT_FOUND


def test_what_a_caller_shows_is_noted_before_what_the_command_notes():
    state = state_of([*TWO, Later(60)])
    decision = ask(state, Heartbeat(ALICE, "thinking"), caller(ALICE, "a"))
    carry_out(state, decision)
    assert state.agents[ALICE].focus_state == "thinking"
    assert state.agents[ALICE].token_bound
