"""Marks of reading and acknowledgement, and broadcasts."""

import pytest
from msgspec.structs import replace

from intermute.domain.commands import Broadcast, MarkMessage, MarkMessages
from intermute.domain.events import (
    AgentRetired,
    ContactAdded,
    MessageAcked,
    MessageRead,
)
from intermute.domain.limits import BROADCASTS_PER_WINDOW_MAX, RATE_WINDOW_MS
from intermute.domain.refusals import Code, Refusal
from intermute.domain.views import BroadcastView, MarkedManyView, MarkedView

from .table import (
    ALICE,
    BOB,
    CAROL,
    GRACE_S,
    TAG,
    WALL,
    Later,
    S,
    ask,
    bound,
    caller,
    carry_out,
    check,
    pass_time,
    registered,
    state_of,
    token_of,
)
from .test_messages import created, guarded

TO_BOB = created("m", ALICE, BOB)
TO_MANY = created("m", ALICE, BOB, cc=(CAROL,), bcc=("dora",))
KINDS = [("read", MessageRead), ("ack", MessageAcked)]


def marked(kind, agent_id, *, at_us=WALL, changed=True):
    return MarkedView("m", agent_id, kind, at_us, changed)


# -- One


@pytest.mark.parametrize(("kind", "event"), KINDS)
@pytest.mark.parametrize("agent_id", [BOB, CAROL])
def test_b37_a_mark_is_an_event_that_says_who(kind, event, agent_id):
    """B37: an earlier service answered 200 to anything and never said who had read."""
    command = MarkMessage("m", agent_id, kind)
    _, answer = check([TO_MANY], command, (event("m", agent_id, sender=ALICE),))
    assert answer == marked(kind, agent_id)


@pytest.mark.parametrize(("kind", "event"), KINDS)
def test_only_the_first_mark_of_a_kind_counts(kind, event):
    given = [TO_MANY, event("m", BOB, sender=ALICE), Later(9)]
    _, answer = check(given, MarkMessage("m", BOB, kind), ())
    assert answer == marked(kind, BOB, changed=False)


def test_reading_and_acknowledging_have_nothing_to_do_with_each_other():
    given = [TO_BOB, MessageAcked("m", BOB, sender=ALICE)]
    check(given, MarkMessage("m", BOB, "read"), (MessageRead("m", BOB, sender=ALICE),))
    given = [TO_BOB, MessageRead("m", BOB, sender=ALICE)]
    check(given, MarkMessage("m", BOB, "ack"), (MessageAcked("m", BOB, sender=ALICE),))


@pytest.mark.parametrize(("kind", "event"), KINDS)
def test_b22_the_mark_of_a_blind_recipient_is_for_it_and_the_sender(kind, event):
    blind = event("m", "dora", sender=ALICE, blind=True)
    check([TO_MANY], MarkMessage("m", "dora", kind), (blind,))
    assert blind.audience == ("dora", ALICE)
    assert event("m", BOB, sender=ALICE).audience is None


@pytest.mark.parametrize("kind", ["read", "ack"])
def test_b37_a_message_that_is_not_there_cannot_be_marked(kind):
    _, refusal = check([], MarkMessage("m", BOB, kind), Code.MESSAGE_NOT_FOUND)
    assert "'m'" in refusal.detail


@pytest.mark.parametrize("agent_id", [ALICE, "ghost"])
def test_b37_only_a_recipient_can_mark(agent_id):
    check([TO_MANY], MarkMessage("m", agent_id, "read"), Code.NOT_A_RECIPIENT)


def test_without_an_agent_the_only_recipient_is_meant():
    state, answer = check(
        [TO_BOB], MarkMessage("m", None, "read"), (MessageRead("m", BOB, sender=ALICE),)
    )
    assert answer == marked("read", BOB)
    assert ask(state, MarkMessage("m", None, "read")).answer == marked("read", BOB, changed=False)


def test_without_an_agent_and_with_several_recipients_nothing_happens():
    _, answer = check([TO_MANY], MarkMessage("m", None, "read"), ())
    assert answer == MarkedView("m", None, "read", None, changed=False)


def test_an_agent_that_is_held_to_its_token_is_not_marked_for_without_it():
    given = [registered(BOB), token_of(BOB), bound(BOB), TO_BOB]
    check(given, MarkMessage("m", None, "read"), Code.AGENT_TOKEN_REQUIRED)
    check(given, MarkMessage("m", BOB, "read"), Code.AGENT_TOKEN_REQUIRED)
    expected = (MessageRead("m", BOB, sender=ALICE),)
    check(given, MarkMessage("m", None, "read"), expected, who=caller(BOB, "token"))


def test_nobody_marks_in_the_name_of_another():
    check([TO_MANY], MarkMessage("m", BOB, "read"), Code.AGENT_IDENTITY_MISMATCH, who=caller(CAROL))


# -- Many


def test_many_are_marked_each_for_itself():
    given = [
        created("1", ALICE, BOB),
        created("2", ALICE, CAROL),
        created("3", ALICE, CAROL, bcc=(BOB,)),
        created("4", ALICE, BOB),
        MessageRead("4", BOB, sender=ALICE),
    ]
    command = MarkMessages(BOB, ("3", "1", "2", "none", "4", "1"), "read")
    expected = (
        MessageRead("3", BOB, sender=ALICE, blind=True),
        MessageRead("1", BOB, sender=ALICE),
    )
    _, answer = check(given, command, expected)
    assert answer == MarkedManyView(
        BOB,
        (
            MarkedView("3", BOB, "read", WALL, True),
            MarkedView("1", BOB, "read", WALL, True),
            MarkedView("2", BOB, "read", None, False, "not_a_recipient"),
            MarkedView("none", BOB, "read", None, False, "message_not_found"),
            MarkedView("4", BOB, "read", WALL, False),
        ),
    )


# -- Broadcasts


def broadcast(sender=ALICE, **changes):
    return Broadcast(sender, "topic", "body", **changes)


def everybody(*to, sender=ALICE, subject=""):
    message_id = f"msg_{TAG}_018bcfe568000f1e2d3c4b5a6978"
    return created(message_id, sender, *to, topic="topic", body="body", subject=subject)


def sent_to(given, command=None):
    state = state_of(given)
    decision = ask(state, command or broadcast())
    assert not isinstance(decision, Refusal), decision
    return [event.to for event in decision.events], decision.answer


def test_a_broadcast_goes_to_every_other_agent():
    given = [registered(ALICE), registered(BOB), registered(CAROL)]
    state = state_of(given)
    decision = ask(state, broadcast(subject="s"))
    (event,) = decision.events
    assert event == replace(everybody(BOB, CAROL, subject="s"), broadcast=True)
    assert decision.answer == BroadcastView(event.message_id, 4, 2)
    assert decision.actor == ALICE


def test_a_sender_need_not_be_registered():
    lists, answer = sent_to([registered(BOB)], broadcast("ghost"))
    assert lists == [(BOB,)]
    assert answer.delivered == 1


def test_b40_a_broadcast_is_for_the_living():
    """B40: an earlier service addressed every agent that had ever registered."""
    given = [registered(BOB), Later(GRACE_S), registered(CAROL)]
    lists, answer = sent_to(given)
    assert lists == [(CAROL,)]
    assert answer.delivered == 1
    lists, answer = sent_to(given, broadcast(include_stale=True))
    assert lists == [(BOB, CAROL)]
    retired = [*given, AgentRetired(BOB)]
    assert sent_to(retired, broadcast(include_stale=True))[0] == [(CAROL,)]


@pytest.mark.parametrize("given", [[], [registered(ALICE)], [registered(BOB), Later(GRACE_S)]])
def test_b40_a_broadcast_to_nobody_sends_nothing_and_costs_nothing(given):
    state = state_of(given)
    for _ in range(2 * BROADCASTS_PER_WINDOW_MAX):
        decision = ask(state, broadcast())
        assert decision.answer == BroadcastView("", 0, 0)
        assert decision.events == ()
        carry_out(state, decision)
    assert len(state.broadcasts) == 0


def test_policies_hold_for_broadcasts_without_the_threads_exception():
    shared = created("1", CAROL, ALICE, thread_id="topic")
    given = [registered(BOB), guarded(CAROL, "contacts_only"), shared]
    lists, answer = sent_to(given)
    assert lists == [(BOB,)]
    assert (answer.delivered, answer.denied) == (1, (CAROL,))
    lists, answer = sent_to([*given, ContactAdded(CAROL, ALICE)])
    assert lists == [(BOB, CAROL)]


def test_a_broadcast_that_nobody_takes_is_refused_and_costs_nothing():
    state = state_of([guarded(BOB, "block_all")])
    for _ in range(2 * BROADCASTS_PER_WINDOW_MAX):
        refusal = ask(state, broadcast())
        assert refusal.code is Code.POLICY_DENIED
        assert refusal.data == {"denied": [BOB]}


def test_so_many_broadcasts_are_allowed_in_a_window():
    state = state_of([registered(BOB)])
    for number in range(BROADCASTS_PER_WINDOW_MAX):
        carry_out(state, ask(state, broadcast(), entropy=number))
        pass_time(state, Later(1))
    refusal = ask(state, broadcast())
    assert refusal.code is Code.RATE_LIMIT
    wait_s = RATE_WINDOW_MS // 1000 - BROADCASTS_PER_WINDOW_MAX
    assert refusal.data == {"retry_after_seconds": wait_s}
    carry_out(state, ask(state, broadcast("another"), entropy=99))
    pass_time(state, Later(wait_s, wall_s=-3600))
    assert ask(state, broadcast()).answer.delivered == 1


def test_what_is_left_to_wait_is_rounded_up():
    state = state_of([registered(BOB)])
    for number in range(BROADCASTS_PER_WINDOW_MAX):
        carry_out(state, ask(state, broadcast(), entropy=number))
    pass_time(state, Later(0.5))
    assert ask(state, broadcast()).data == {"retry_after_seconds": RATE_WINDOW_MS // 1000}
    assert state.at_us == WALL + S // 2
