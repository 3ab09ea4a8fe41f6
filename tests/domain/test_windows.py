"""Windows: whose they are, who may say so, and when they end."""

import pytest

from intermute.domain import events, limits
from intermute.domain.commands import (
    AddContact,
    ExpireWindow,
    Heartbeat,
    RegisterWindow,
    RetireAgent,
    SetPolicy,
)
from intermute.domain.decide import replay
from intermute.domain.decision import Accepted
from intermute.domain.refusals import Code
from intermute.domain.stamp import make_id
from intermute.domain.windows import is_tmux_target

from .table import (
    ALICE,
    BOB,
    ENTROPY,
    OPERATOR,
    PROJECT,
    TAG,
    WALL,
    Later,
    S,
    ask,
    bound,
    caller,
    carry_out,
    check,
    registered,
    stamp_of,
    state_of,
    token_hash,
    token_of,
)

UUID = "11111111-2222-4333-8444-555555555555"
BOTH = (registered(ALICE), registered(BOB), token_of(ALICE, "a"), token_of(BOB, "b"))


def window(agent_id: str = ALICE, token: str = "a", **members) -> RegisterWindow:
    members = {"window_uuid": UUID, "tmux_target": "work:0.0", **members}
    return RegisterWindow(
        agent_id=agent_id, token_hash=token_hash(token), pane_hash=token_hash("pane"), **members
    )


def opened(agent_id: str = ALICE, window_id: str = "win", **members) -> events.WindowRegistered:
    members = {"window_uuid": UUID, "display_name": agent_id, "tmux_target": "work", **members}
    return events.WindowRegistered(window_id=window_id, agent_id=agent_id, **members)


def test_a_window_is_registered():
    made = make_id("win", TAG, stamp_of(state_of()).unique())
    state, view = check(
        BOTH,
        window(),
        (opened(window_id=made, tmux_target="work:0.0"),),
    )
    assert (view.window_id, view.project, view.display_name) == (made, PROJECT, ALICE)
    assert (view.created_at_us, view.last_active_at_us, view.cursor) == (WALL, WALL, 3)
    kept = state.windows.by_uuid[UUID]
    assert kept.pane_hash == token_hash("pane")
    assert state.agents[ALICE].last_seen_us == WALL


def test_it_is_renewed_by_its_agent():
    given = (*BOTH, opened(), Later(60))
    state, view = check(
        given,
        window(display_name="desk", tmux_target=""),
        (opened(display_name="desk", tmux_target=""),),
    )
    assert view.window_id == "win"
    assert (view.created_at_us, view.last_active_at_us) == (WALL, WALL + 60 * S)
    kept = state.windows.by_uuid[UUID]
    assert (kept.created_at_us, kept.tmux_target) == (WALL, "")
    assert len(state.windows) == 1


@pytest.mark.parametrize(
    ("agent_id", "token"), [(ALICE, "b"), (ALICE, ""), (BOB, "a"), ("nobody", "a")]
)
def test_the_token_must_be_the_agents(agent_id: str, token: str):
    check(BOTH, window(agent_id, token), Code.AGENT_TOKEN_MISMATCH)


def test_an_agent_without_a_token_has_no_windows():
    check((registered(ALICE),), window(ALICE, ""), Code.AGENT_TOKEN_MISMATCH)


def test_whoever_says_that_it_is_another_agent_is_refused():
    check(BOTH, window(), Code.AGENT_IDENTITY_MISMATCH, who=caller(BOB))
    check(BOTH, window(), Code.AGENT_IDENTITY_MISMATCH, who=caller(BOB, "b"))
    check(BOTH, window(), Code.AGENT_IDENTITY_MISMATCH, who=caller(ALICE, "b"))


def test_the_token_in_the_body_is_proof_enough_and_binds_nobody():
    state, _ = check(
        (*BOTH, bound(BOB)),
        window(BOB, "b"),
        (opened(BOB, make_id("win", TAG, stamp_of(state_of()).unique()), tmux_target="work:0.0"),),
    )
    state, _ = check((*BOTH, opened()), window(), (opened(tmux_target="work:0.0"),))
    assert not state.agents[ALICE].token_bound


def test_b16_another_agents_live_window_is_not_taken_over():
    given = (*BOTH, opened(BOB))
    state, _ = check(given, window(), Code.WINDOW_TAKEN)
    assert state.windows.by_uuid[UUID].agent_id == BOB


def test_an_expired_one_is_free_and_begins_anew():
    given = (*BOTH, opened(BOB), events.WindowExpired("win", BOB, UUID, "closed"), Later(5))
    state = state_of(given)
    decision = ask(state, window(), entropy=ENTROPY + 1)
    assert decision.answer.window_id != "win"
    assert decision.answer.created_at_us == WALL + 5 * S
    carry_out(state, decision)
    assert state.windows.by_uuid[UUID].agent_id == ALICE
    assert state.windows.of(BOB) == []


def test_an_agent_has_only_so_many_windows():
    many = tuple(
        opened(window_id=f"w{n}", window_uuid=f"u{n}") for n in range(limits.WINDOWS_PER_AGENT_MAX)
    )
    check((*BOTH, *many), window(), Code.LIMIT_REACHED)
    check((*BOTH, *many), window(window_uuid="u0"), (opened(ALICE, "w0", window_uuid="u0",
          tmux_target="work:0.0"),))  # fmt: skip
    assert ask(state_of((*BOTH, *many)), window(BOB, "b")).answer.agent_id == BOB


def test_a_project_has_only_so_many_windows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "WINDOWS_MAX", 1)
    check((*BOTH, opened(window_uuid="u")), window(BOB, "b"), Code.LIMIT_REACHED)


def test_the_windows_of_an_agent_stand_in_the_order_of_their_activity():
    given = (
        *BOTH,
        opened(window_id="w1", window_uuid="u1"),
        opened(window_id="w2", window_uuid="u2"),
        opened(window_id="w1", window_uuid="u1"),
    )
    state = state_of(given)
    assert [found.window_uuid for found in state.windows.of(ALICE)] == ["u1", "u2"]


def test_a_window_is_ended():
    expired = events.WindowExpired("win", ALICE, UUID, "closed")
    for who in (caller(), caller(ALICE), caller(ALICE, "a"), OPERATOR):
        state, answer = check((*BOTH, opened()), ExpireWindow(UUID), (expired,), who=who)
        assert answer.expired_at_us == WALL
        assert len(state.windows) == 0
    check(BOTH, ExpireWindow(UUID), Code.WINDOW_NOT_FOUND)


def test_b16_only_its_agent_ends_a_window():
    given = (*BOTH, opened())
    check(given, ExpireWindow(UUID), Code.AGENT_IDENTITY_MISMATCH, who=caller(BOB))
    check(given, ExpireWindow(UUID), Code.AGENT_IDENTITY_MISMATCH, who=caller(BOB, "b"))
    held_to_it = (*given, bound(ALICE))
    check(held_to_it, ExpireWindow(UUID), Code.AGENT_TOKEN_REQUIRED)
    check(held_to_it, ExpireWindow(UUID), Code.AGENT_TOKEN_REQUIRED, who=caller(ALICE))


OPENING = (SetPolicy(ALICE, live_contact_policy="open"), AddContact(ALICE, BOB))
CLOSING_OR_NEITHER = (
    SetPolicy(ALICE, policy="block_all"),
    SetPolicy(ALICE, live_contact_policy="contacts_only"),
    AddContact(ALICE, "known"),
    Heartbeat(ALICE, "at-prompt"),
)
by_kind = {"ids": lambda command: command.kind}


@pytest.mark.parametrize("command", OPENING, **by_kind)
def test_while_it_lives_its_token_says_who_may_type_into_it(command):
    given = (*BOTH, opened())
    for who in (caller(), caller(ALICE), OPERATOR):
        check(given, command, Code.AGENT_TOKEN_REQUIRED, who=who)
    for state, who in ((state_of(given), caller(ALICE, "a")), (state_of(BOTH), caller())):
        assert isinstance(ask(state, command, who), Accepted)


@pytest.mark.parametrize("command", CLOSING_OR_NEITHER, **by_kind)
def test_what_opens_nothing_goes_on_without_the_token(command):
    state = state_of((*BOTH, events.ContactAdded(ALICE, "known"), opened()))
    assert isinstance(ask(state, command), Accepted)


def test_retirement_ends_an_agents_windows():
    given = (
        *BOTH,
        opened(window_id="w1", window_uuid="u1"),
        opened(BOB, "w3", window_uuid="u3"),
        opened(window_id="w2", window_uuid="u2"),
    )
    state, _ = check(
        given,
        RetireAgent(ALICE),
        (
            events.WindowExpired("w1", ALICE, "u1", "retired"),
            events.WindowExpired("w2", ALICE, "u2", "retired"),
            events.AgentRetired(ALICE),
        ),
    )
    assert list(state.windows.by_uuid) == ["u3"]


def test_a_retry_brings_a_new_token_for_the_pane():
    state = state_of((*BOTH, opened()))
    answer = ask(state, window()).answer
    again = RegisterWindow(UUID, ALICE, token_hash("a"), token_hash("later"))
    note = events.PaneTokenSet("win", UUID, token_hash("later"))
    assert replay(state, again, answer) == Accepted(answer, marks=(note,))


def test_no_token_is_shown_where_a_command_is_printed():
    assert "aaa" not in repr(window(token="aaa"))
    assert "pane" not in repr(window(token="aaa"))


@pytest.mark.parametrize(
    "target", ["a", "a.1", "a:b", "a:b.0", "a-b_c:2.13", "work.x:win-dow.3", "A9:python3.11.0"]
)
def test_targets(target: str):
    assert is_tmux_target(target)


@pytest.mark.parametrize(
    "target",
    ["", "a b", "a\n", "a:b.0\n", "\na", "a:b:c", "a:", ":a", "a:b/", "=a", "%1", "a;b", "$(a)",
     "a\x00", "ä", "a:b.0 ", "a" * 201],
)  # fmt: skip
def test_b20_what_is_no_target(target: str):
    assert not is_tmux_target(target)
