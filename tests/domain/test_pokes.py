"""Pokes: who can be reached in a window, how often, and what becomes of those who cannot."""

from typing import Any

import pytest

from intermute.domain import events, limits
from intermute.domain.commands import (
    Heartbeat,
    PokeOutcome,
    ResumePokes,
    SendMessage,
    SettlePokes,
    SurfacePoke,
)
from intermute.domain.decision import Accepted
from intermute.domain.events import Seen
from intermute.domain.refusals import Code, Refusal
from intermute.domain.state import State

from .table import (
    ALICE,
    BOB,
    CAROL,
    Later,
    ask,
    bound,
    caller,
    carry_out,
    pass_time,
    registered,
    state_of,
    token_of,
)

AGENTS = tuple(
    registered(agent_id, session_id=f"{n}" * 32, live_contact_policy="open")
    for n, agent_id in enumerate((ALICE, BOB, CAROL), 1)
)


def window(agent_id: str, uuid: str = "", target: str = "work") -> events.WindowRegistered:
    uuid = uuid or f"w-{agent_id}"
    return events.WindowRegistered(f"win-{uuid}", agent_id, uuid, agent_id, target)


def focus(state: State, agent_id: str, word: str = "at-prompt") -> None:
    note = Seen(agent_id, state.at_us, state.mono_us, word)
    carry_out(state, Accepted(None, marks=(note,)))


def ready(*agent_ids: str, **settings: Any) -> State:
    """Everybody is registered; these are at their prompt, in a window."""
    state = state_of((*AGENTS, *map(window, agent_ids)), **{"live_default": True, **settings})
    for agent_id in agent_ids:
        focus(state, agent_id)
    return state


def message(transport: str = "live", to: tuple[str, ...] = (BOB,), **members: Any) -> SendMessage:
    members = {"message_id": "m1", "thread_id": "t1", "body": "hello", **members}
    return SendMessage(sender=ALICE, to=to, transport=transport, **members)


def poked(agent_id: str = BOB, **changes: Any) -> events.PeerWindowPoke:
    members = {
        "message_id": "m1",
        "agent_id": agent_id,
        "sender": ALICE,
        "thread_id": "t1",
        "body": "hello",
        "transport": "live",
        "window_uuid": f"w-{agent_id}",
        "tmux_target": "work",
        "result": "pending",
        "reason": "",
    }
    return events.PeerWindowPoke(**{**members, **changes})


def settled(agent_id: str, result: str, reason: str = "") -> events.PeerWindowPokeSettled:
    return events.PeerWindowPokeSettled("m1", agent_id, ALICE, result, reason)


def decided(state: State, command: SendMessage) -> Accepted:
    decision = ask(state, command)
    assert isinstance(decision, Accepted), decision
    carry_out(state, decision)
    return decision


def refusal(state: State, command: Any, code: Code) -> Refusal:
    before = state.cursor
    decision = ask(state, command)
    assert isinstance(decision, Refusal), decision
    assert decision.code is code, decision
    assert state.cursor == before
    return decision


# -- Planning


def test_a_live_message_is_a_poke_and_nothing_else():
    state = ready(BOB)
    decision = decided(state, message())
    assert decision.events == (poked(),)
    assert decision.actor == ALICE
    assert decision.answer.delivery == {BOB: "pending"}
    assert (decision.answer.message_id, decision.answer.cursor) == ("m1", state.cursor)
    assert state.rows.message("m1") is None
    assert state.pokes == {("m1", BOB): ("live", ALICE)}


def test_both_is_a_message_and_pokes():
    state = ready(BOB)
    focus(state, CAROL, "thinking")
    decision = decided(state, message("both", (BOB, CAROL)))
    created, *pokes = decision.events
    assert isinstance(created, events.MessageCreated)
    assert created.to == (BOB, CAROL)
    assert pokes == [
        poked(transport="both"),
        poked(CAROL, transport="both", window_uuid="", tmux_target="", result="deferred",
              reason="recipient_thinking"),
    ]  # fmt: skip
    assert decision.answer.delivery == {BOB: "pending", CAROL: "deferred"}
    assert decision.answer.cursor == state.cursor - 2
    assert state.rows.message("m1") is not None


@pytest.mark.parametrize("transport", ["", "async", "live", "both", "carrier pigeon"])
def test_while_it_is_off_everything_waits_in_the_inbox(transport: str):
    state = ready(BOB, live_default=False)
    decision = decided(state, message(transport))
    (created,) = decision.events
    assert isinstance(created, events.MessageCreated)
    assert decision.answer.delivery is None


def test_an_unknown_transport_is_refused_while_it_is_on():
    state = ready(BOB)
    assert "invalid transport" in refusal(state, message("pigeon"), Code.INVALID_REQUEST).detail
    for transport in ("", "async"):
        assert decided(state, message(transport)).answer.delivery is None


def test_a_project_decides_against_the_server():
    on = events.ProjectConfigured(case_sensitive=True, live_transport=True)
    off = events.ProjectConfigured(case_sensitive=True, live_transport=False)
    default = events.ProjectConfigured(case_sensitive=True)
    for given, server, result in (
        ((), False, False), ((), True, True), ((on,), False, True), ((off,), True, False),
        ((on, default), False, False), ((off, default), True, True),
    ):  # fmt: skip
        assert state_of(given, live_default=server).is_live_on is result


def test_a_live_message_may_not_be_longer_than_what_is_typed():
    state = ready(BOB)
    long = "x" * (limits.ENVELOPE_BODY_LEN_MAX + 1)
    refusal(state, message(body=long), Code.INVALID_REQUEST)
    both = decided(state, message("both", body=long))
    assert both.events[0].body == long
    assert len(both.events[1].body) < len(long) + 60
    assert "cut here: 1 more" in both.events[1].body


def test_only_so_many_are_reached_at_once():
    state = ready(BOB)
    many = tuple(f"agent{n}" for n in range(limits.POKE_RECIPIENTS_MAX + 1))
    for transport in ("live", "both"):
        refusal(state, message(transport, many), Code.INVALID_REQUEST)
    assert ask(state, message("async", many)).answer.delivery is None


# -- Who can be reached


@pytest.mark.parametrize("word", ["tool-use", "thinking", "unknown"])
def test_who_is_not_at_the_prompt_is_busy(word: str):
    state = ready(BOB)
    focus(state, BOB, word)
    found = refusal(state, message(), Code.RECIPIENT_BUSY)
    assert found.data["agent"] == BOB
    assert found.data["focus_state"] == word
    assert found.data["retry_after_seconds"] > 0
    assert decided(state, message("both")).answer.delivery == {BOB: "deferred"}


def test_b43_a_focus_counts_for_a_minute_and_a_heartbeat_renews_it():
    assert limits.FOCUS_FRESH_MS == 60_000
    state = ready(BOB)
    passed(state, 59)
    assert ask(state, message()).answer.delivery == {BOB: "pending"}
    carry_out(state, ask(state, Heartbeat(BOB, "at-prompt")))
    passed(state, 59)
    assert ask(state, message()).answer.delivery == {BOB: "pending"}
    carry_out(state, ask(state, Heartbeat(BOB)))
    passed(state, 1)
    found = refusal(state, message(), Code.RECIPIENT_BUSY)
    assert found.data["focus_state"] == "unknown"


def test_b43_the_wall_clock_neither_lengthens_nor_shortens_a_focus():
    state = ready(BOB)
    passed(state, 30, wall_s=10_000)
    assert ask(state, message()).answer.delivery == {BOB: "pending"}
    passed(state, 31, wall_s=-10_000)
    refusal(state, message(), Code.RECIPIENT_BUSY)


def passed(state: State, s: float, wall_s: float = 0) -> None:
    pass_time(state, Later(s, wall_s))


def test_who_has_no_window_to_type_into_is_busy():
    for given in ((), (window(BOB, target=""),)):
        state = state_of((*AGENTS, *given), live_default=True)
        focus(state, BOB)
        assert refusal(state, message(), Code.RECIPIENT_BUSY).data["reason"] == (
            "recipient_has_no_window"
        )
    refusal(ready(BOB), message(to=("nobody",)), Code.RECIPIENT_BUSY)


def test_an_expired_window_is_none():
    state = state_of(
        (*AGENTS, window(BOB), events.WindowExpired("win-w-bob", BOB, "w-bob", "closed")),
        live_default=True,
    )
    focus(state, BOB)
    refusal(state, message(), Code.RECIPIENT_BUSY)


def test_the_last_active_window_with_a_target_is_typed_into():
    windows = (window(BOB, "u1", "one"), window(BOB, "u2", "two"), window(BOB, "u3", ""))
    state = state_of((*AGENTS, *windows), live_default=True)
    focus(state, BOB)
    (poke,) = ask(state, message()).events
    assert (poke.window_uuid, poke.tmux_target) == ("u2", "two")
    (poke,) = ask(state, message(target_window_uuid="u1")).events
    assert (poke.window_uuid, poke.tmux_target) == ("u1", "one")
    for other in ("u3", "w-alice", "nothing"):
        refusal(state, message(target_window_uuid=other), Code.RECIPIENT_BUSY)


def test_one_who_is_busy_keeps_a_live_message_from_all():
    state = ready(BOB)
    found = refusal(state, message(to=(BOB, CAROL)), Code.RECIPIENT_BUSY)
    assert found.data["agent"] == CAROL
    assert state.pokes == {}


# -- Policies


def test_the_live_policy_decides_for_to_and_the_ordinary_one_for_the_rest():
    shut = events.AgentPolicyChanged(BOB, policy="block_all", live_contact_policy="open")
    quiet = events.AgentPolicyChanged(CAROL, policy="open", live_contact_policy="block_all")
    state = ready(BOB, CAROL)
    carry_out(state, Accepted(None, (shut, quiet)))
    both = ask(state, message("both", (BOB, CAROL)))
    assert both.answer.denied == (CAROL,)
    assert both.answer.delivery == {BOB: "pending"}
    assert ask(state, message("both", (BOB,), cc=(CAROL,))).answer.denied == ()
    asked = ask(state, message("both", (CAROL,), cc=(BOB,)))
    assert isinstance(asked, Refusal)
    assert asked.code is Code.POLICY_DENIED


def test_contacts_only_is_the_rule_for_live_messages():
    state = state_of((registered(ALICE), registered(BOB), window(BOB)), live_default=True)
    focus(state, BOB)
    refusal(state, message(), Code.POLICY_DENIED)
    carry_out(state, Accepted(None, (events.ContactAdded(BOB, ALICE),)))
    assert ask(state, message()).answer.delivery == {BOB: "pending"}


def test_a_live_message_that_nobody_in_to_takes_fails_although_a_copy_would_be_taken():
    quiet = events.AgentPolicyChanged(BOB, policy="open", live_contact_policy="block_all")
    state = ready(BOB)
    carry_out(state, Accepted(None, (quiet,)))
    refusal(state, message(cc=(CAROL,)), Code.DELIVERY_FAILED)
    kept = decided(state, message("both", cc=(CAROL,)))
    assert kept.events[0].to == ()
    assert kept.answer.delivery == {}


# -- How often


def test_ten_in_a_minute_for_each_pair():
    state = ready(BOB, CAROL)
    for n in range(10):
        decided(state, message(message_id=f"m{n}"))
    found = refusal(state, message(message_id="m10"), Code.RATE_LIMIT)
    assert found.data == {"agent": BOB, "retry_after_seconds": 60}
    decided(state, message(message_id="m11", to=(CAROL,)))
    other = SendMessage(sender=CAROL, to=(BOB,), transport="live", body="x")
    assert ask(state, other).answer.delivery == {BOB: "pending"}
    passed(state, 59)
    focus(state, BOB)
    refusal(state, message(message_id="m10"), Code.RATE_LIMIT)
    passed(state, 1)
    decided(state, message(message_id="m10"))


def test_b38_over_the_limit_the_durable_copy_is_kept_all_the_same():
    state = ready(BOB)
    for n in range(10):
        decided(state, message("both", message_id=f"m{n}"))
    kept = decided(state, message("both", message_id="m10"))
    assert kept.answer.delivery == {BOB: "deferred"}
    assert kept.events[1].reason == "rate_limited"
    assert state.rows.message("m10") is not None


def test_what_is_refused_or_put_off_does_not_count():
    state = ready(BOB)
    focus(state, BOB, "thinking")
    for n in range(20):
        refusal(state, message(message_id=f"m{n}"), Code.RECIPIENT_BUSY)
        decided(state, message("both", message_id=f"b{n}"))
    focus(state, BOB)
    decided(state, message())


# -- The same id again


def test_a_live_message_is_typed_once():
    state = ready(BOB)
    first = decided(state, message())
    again = decided(state, message())
    assert again.events == ()
    assert again.answer.delivery == {BOB: "pending"}
    assert again.answer.cursor == first.answer.cursor
    carry_out(state, ask(state, SettlePokes("m1", (PokeOutcome(BOB, True),))))
    assert decided(state, message()).answer.delivery == {BOB: "injected"}


def test_one_that_failed_is_tried_again_for_those_it_did_not_reach():
    state = ready(BOB, CAROL)
    decided(state, message(to=(BOB, CAROL)))
    outcomes = (PokeOutcome(BOB, True), PokeOutcome(CAROL, False, "pane_unproven"))
    carry_out(state, ask(state, SettlePokes("m1", outcomes)))
    again = decided(state, message(to=(BOB, CAROL)))
    assert again.events == (poked(CAROL),)
    assert again.answer.delivery == {BOB: "injected", CAROL: "pending"}
    assert state.rows.poke("m1", CAROL).result == "pending"


def test_an_edit_is_not_typed():
    state = ready(BOB)
    decided(state, message("both"))
    edit = decided(state, message("both", body="better"))
    assert [type(event) for event in edit.events] == [events.MessageUpdated]
    assert edit.answer.delivery == {BOB: "pending"}
    carry_out(state, ask(state, SettlePokes("m1", (PokeOutcome(BOB, False, "x"),))))
    assert decided(state, message("both")).answer.delivery == {BOB: "deferred"}


def test_a_message_that_waited_in_the_inbox_is_not_typed_later():
    state = ready(BOB)
    decided(state, message("async"))
    assert decided(state, message("live")).answer.delivery == {BOB: "async"}
    assert state.pokes == {}


def test_the_id_of_anothers_live_message_is_taken():
    state = ready(BOB)
    decided(state, message())
    for transport in ("live", "both", "async"):
        other = SendMessage(CAROL, (BOB,), body="x", message_id="m1", transport=transport)
        refusal(state, other, Code.NOT_THE_SENDER)


# -- What came of it


@pytest.mark.parametrize(("transport", "missed"), [("live", "failed"), ("both", "deferred")])
def test_outcomes_are_recorded_once(transport: str, missed: str):
    state = ready(BOB, CAROL)
    decided(state, message(transport, (BOB, CAROL)))
    outcomes = (PokeOutcome(BOB, True), PokeOutcome(CAROL, False, "pane_dead"))
    decision = ask(state, SettlePokes("m1", outcomes))
    assert decision.events == (settled(BOB, "injected"), settled(CAROL, missed, "pane_dead"))
    carry_out(state, decision)
    assert state.pokes == {}
    late = ask(state, SettlePokes("m1", (PokeOutcome(BOB, False, "x"), PokeOutcome("z", True))))
    assert late.events == ()
    assert late.answer.count == 0


def test_b38_what_a_former_process_planned_is_interrupted_and_not_typed():
    state = ready(BOB, CAROL)
    decided(state, message("live"))
    decided(state, message("both", (CAROL,), message_id="m2"))
    decision = ask(state, ResumePokes())
    assert [(e.message_id, e.agent_id, e.result, e.reason) for e in decision.events] == [
        ("m1", BOB, "failed", "interrupted"),
        ("m2", CAROL, "deferred", "interrupted"),
    ]
    carry_out(state, decision)
    assert ask(state, ResumePokes()).events == ()


# -- Showing what could not be typed


def deferred() -> State:
    return state_of((*AGENTS, poked(transport="both", result="deferred", reason="x"), poked(CAROL)))


def test_a_poke_is_surfaced_once():
    state = deferred()
    decision = ask(state, SurfacePoke(BOB, "m1"))
    assert decision.events == (events.PokeSurfaced("m1", BOB),)
    assert decision.actor == BOB
    carry_out(state, decision)
    again = ask(state, SurfacePoke(BOB, "m1"))
    assert again.events == ()
    assert again.answer == decision.answer


def test_only_what_was_deferred_can_be_surfaced():
    state = deferred()
    for agent_id, message_id in ((BOB, "m2"), (CAROL, "m1"), (ALICE, "m1"), ("x", "m1")):
        refusal(state, SurfacePoke(agent_id, message_id), Code.POKE_NOT_FOUND)


def test_a_poke_is_surfaced_in_its_recipients_name():
    state = deferred()
    assert ask(state, SurfacePoke(BOB, "m1"), caller(CAROL)).code is Code.AGENT_IDENTITY_MISMATCH
    carry_out(state, Accepted(None, marks=(token_of(BOB), bound(BOB))))
    assert ask(state, SurfacePoke(BOB, "m1")).code is Code.AGENT_TOKEN_REQUIRED
    assert ask(state, SurfacePoke(BOB, "m1"), caller(BOB, "token")).actor == BOB


def test_whom_the_events_concern():
    assert poked().audience == (BOB, ALICE)
    assert settled(BOB, "injected").audience == (BOB, ALICE)
    assert events.PokeSurfaced("m1", BOB).audience == (BOB,)
    assert window(BOB).audience == (BOB,)
    assert poked(sender=BOB).audience == (BOB,)
