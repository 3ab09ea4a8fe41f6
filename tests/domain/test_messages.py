"""Sending messages: to whom, past which policies, and the same one once more."""

import pytest

from intermute.domain.commands import SendMessage
from intermute.domain.events import (
    AgentPolicyChanged,
    ContactAdded,
    MessageCreated,
    MessageUpdated,
    ReservationCreated,
)
from intermute.domain.limits import THREAD_LOOKBACK_MAX
from intermute.domain.messages import visible_bcc
from intermute.domain.modes import Mode
from intermute.domain.refusals import Code
from intermute.domain.views import SentView

from .table import (
    ALICE,
    BOB,
    CAROL,
    WALL,
    Later,
    S,
    ask,
    bound,
    caller,
    carry_out,
    check,
    registered,
    state_of,
    token_of,
)

DORA = "dora"
THREAD = "t"
ALL = (ALICE, BOB, CAROL)


def text_of(**changes):
    members = {
        "thread_id": "",
        "subject": "",
        "topic": "",
        "body": "hello",
        "importance": "",
        "ack_required": False,
    }
    return {**members, **changes}


def send(sender, *to, cc=(), bcc=(), message_id=None, **changes):
    return SendMessage(
        sender=sender, to=to, cc=cc, bcc=bcc, message_id=message_id, **text_of(**changes)
    )


def created(message_id, sender, *to, cc=(), bcc=(), **changes):
    return MessageCreated(
        message_id=message_id, sender=sender, to=to, cc=cc, bcc=bcc, **text_of(**changes)
    )


def updated(message_id, sender, *to, cc=(), bcc=(), cursor=1, at_us=WALL, **changes):
    return MessageUpdated(
        message_id=message_id,
        sender=sender,
        to=to,
        cc=cc,
        bcc=bcc,
        created_cursor=cursor,
        created_at_us=at_us,
        **text_of(**changes),
    )


def sent(given, command, **options):
    """The one event of a new message, and the answer."""
    state = state_of(given, **options)
    decision = ask(state, command)
    carry_out(state, decision)
    (event,) = decision.events
    assert isinstance(event, MessageCreated)
    assert decision.actor == command.sender
    return event, decision.answer


def guarded(agent_id, policy, **changes):
    return registered(agent_id, policy=policy, **changes)


# -- To whom


def test_a_message_needs_no_registered_recipient():
    event, answer = sent([], send("x", "y", message_id="m"))
    assert event == created("m", "x", "y")
    assert answer == SentView("m", 1)


def test_a_message_gets_an_id_of_its_project_and_the_cursor_of_its_event():
    event, answer = sent([registered(ALICE)], send(ALICE, BOB))
    assert event.message_id.startswith("msg_aaaaaaaaaaaa_")
    assert answer == SentView(event.message_id, 2)


@pytest.mark.parametrize(
    ("to", "cc", "bcc", "expected"),
    [
        (("a", "b"), (), (), (("a", "b"), (), ())),
        (("a", "b", "a"), (), (), (("a", "b"), (), ())),
        (("a",), ("a", "b"), ("b", "c", "c"), (("a",), ("b",), ("c",))),
        (("a",), ("b", "b"), (), (("a",), ("b",), ())),
        (("b", "a"), ("a",), ("b",), (("b", "a"), (), ())),
    ],
)
def test_b34_nobody_gets_a_message_twice(to, cc, bcc, expected):
    """B34: a recipient that was named twice got two inbox rows. The first kind wins."""
    event, _ = sent([], send("x", *to, cc=cc, bcc=bcc))
    assert (event.to, event.cc, event.bcc) == expected
    assert event.audience == (*event.to, *event.cc, *event.bcc)


def test_everything_that_is_said_is_in_the_event():
    said = text_of(thread_id="t", subject="s", topic="x", body="b", importance="high")
    said["ack_required"] = True
    event, _ = sent([], send("x", "y", message_id="m", **said))
    assert event == created("m", "x", "y", **said)


@pytest.mark.parametrize(
    ("viewer", "seen"),
    [("x", ("c", "d")), ("c", ("c",)), ("d", ("d",)), ("a", ()), ("b", ()), (None, ()), ("", ())],
)
def test_b22_blind_recipients_are_seen_by_the_sender_and_each_by_itself(viewer, seen):
    message = created("m", "x", "a", cc=("b",), bcc=("c", "d"))
    assert visible_bcc(message, viewer) == seen


def test_without_blind_recipients_there_is_nothing_to_see():
    assert visible_bcc(created("m", "x", "a"), "x") == ()


def test_a_caller_must_be_the_sender():
    check([registered(ALICE)], send(BOB, ALICE), Code.AGENT_IDENTITY_MISMATCH, who=caller(ALICE))
    given = [registered(ALICE), token_of(ALICE), bound(ALICE)]
    check(given, send(ALICE, BOB), Code.AGENT_TOKEN_REQUIRED)


@pytest.mark.parametrize("transport", ["live", "both", "async", ""])
def test_without_delivery_into_windows_everything_waits_in_the_inbox(transport):
    command = SendMessage("x", ("y",), body="b", transport=transport)
    event, answer = sent([], command)
    assert event.to == ("y",)
    assert answer.delivery is None


# -- Policies


@pytest.mark.parametrize(
    ("policy", "contacts", "reached"),
    [
        ("open", (), True),
        ("open", (CAROL,), True),
        ("block_all", (), False),
        ("block_all", (ALICE,), False),
        ("contacts_only", (), False),
        ("contacts_only", (CAROL,), False),
        ("contacts_only", (ALICE,), True),
        ("auto", (), False),
        ("auto", (ALICE,), True),
    ],
)
def test_policies(policy, contacts, reached):
    given = [registered(ALICE), guarded(BOB, policy)]
    given += [ContactAdded(BOB, contact) for contact in contacts]
    if reached:
        event, answer = sent(given, send(ALICE, BOB))
        assert event.to == (BOB,)
        assert answer.denied == ()
    else:
        _, refusal = check(given, send(ALICE, BOB), Code.POLICY_DENIED)
        assert refusal.data == {"denied": [BOB]}


@pytest.mark.parametrize("policy", ["block_all", "contacts_only", "auto"])
def test_an_agent_may_always_write_to_itself(policy):
    event, _ = sent([guarded(ALICE, policy)], send(ALICE, ALICE))
    assert event.to == (ALICE,)


def test_who_is_not_registered_has_no_policy():
    event, answer = sent([guarded(BOB, "block_all")], send(ALICE, "ghost", cc=(BOB,)))
    assert (event.to, event.cc, answer.denied) == (("ghost",), (), (BOB,))


def test_b33_to_is_empty_and_never_null_when_only_others_are_reached():
    """B33: an earlier service answered `null` there."""
    event, answer = sent([guarded(BOB, "block_all")], send(ALICE, BOB, cc=(CAROL,)))
    assert (event.to, event.cc) == ((), (CAROL,))
    assert answer.denied == (BOB,)


def test_who_is_denied_is_told_in_the_order_of_to_cc_and_bcc():
    given = [guarded(name, "block_all", session_id=s) for name, s in _sessions("abc")]
    command = send(ALICE, "c", "free", cc=("b",), bcc=("a",))
    _, answer = sent(given, command)
    assert answer.denied == ("c", "b", "a")
    _, refusal = check(given, send(ALICE, "c", cc=("b",), bcc=("a",)), Code.POLICY_DENIED)
    assert refusal.data == {"denied": ["c", "b", "a"]}


def _sessions(names):
    return [(name, f"{number:032x}") for number, name in enumerate(names, 1)]


def test_a_policy_counts_from_when_it_is_set():
    given = [registered(BOB), AgentPolicyChanged(BOB, "block_all", "contacts_only")]
    check(given, send(ALICE, BOB), Code.POLICY_DENIED)


def test_the_policy_for_live_delivery_does_not_bear_on_the_inbox():
    event, _ = sent([guarded(BOB, "open", live_contact_policy="block_all")], send(ALICE, BOB))
    assert event.to == (BOB,)


def test_b50_a_shared_path_is_no_consent():
    """B50: an earlier service took any overlap of reservations, shared ones too, for consent."""
    shared = [
        ReservationCreated(f"r-{name}", name, ("src/**",), Mode.SHARED, "", 60_000, WALL + 60 * S)
        for name in (ALICE, BOB)
    ]
    given = [registered(ALICE), guarded(BOB, "auto"), *shared]
    check(given, send(ALICE, BOB), Code.POLICY_DENIED)


# -- The exception of the thread


@pytest.mark.parametrize("policy", ["contacts_only", "auto"])
@pytest.mark.parametrize(
    "shared",
    [
        created("1", BOB, ALICE, thread_id=THREAD),
        created("1", BOB, CAROL, cc=(ALICE,), thread_id=THREAD),
        created("1", BOB, CAROL, bcc=(ALICE,), thread_id=THREAD),
        created("1", ALICE, BOB, thread_id=THREAD),
        created("1", CAROL, BOB, ALICE, thread_id=THREAD),
        created("1", CAROL, ALICE, cc=(BOB,), thread_id=THREAD),
    ],
)
def test_who_shares_a_message_of_the_thread_may_go_on_in_it(policy, shared):
    given = [registered(ALICE), guarded(BOB, policy), shared]
    event, _ = sent(given, send(ALICE, BOB, thread_id=THREAD))
    assert event.to == (BOB,)
    check(given, send(ALICE, BOB), Code.POLICY_DENIED)
    check(given, send(ALICE, BOB, thread_id="another"), Code.POLICY_DENIED)


@pytest.mark.parametrize("policy", ["contacts_only", "auto"])
@pytest.mark.parametrize(
    "before",
    [
        # The sender takes the thread's name, or joins it, by its own doing.
        [created("1", ALICE, CAROL, thread_id=THREAD)],
        [created("1", ALICE, ALICE, thread_id=THREAD)],
        # The recipient takes part as well, but in messages that the sender has nothing of.
        [
            created("1", BOB, CAROL, thread_id=THREAD),
            created("2", ALICE, CAROL, thread_id=THREAD),
        ],
        # A third agent, which may be the sender under another name, brings it in.
        [
            created("1", BOB, CAROL, thread_id=THREAD),
            created("2", "mallory", ALICE, thread_id=THREAD),
        ],
        # They share a message, but of another thread, or of none.
        [created("1", BOB, ALICE, thread_id="another"), created("2", BOB, ALICE)],
    ],
)
def test_b19_a_thread_that_one_joins_by_oneself_is_no_way_in(policy, before):
    """B19: an earlier service only asked whether the sender had ever used the thread's name."""
    given = [registered(ALICE), guarded(BOB, policy), *before]
    _, refusal = check(given, send(ALICE, BOB, thread_id=THREAD), Code.POLICY_DENIED)
    assert refusal.data == {"denied": [BOB]}


def test_block_all_has_no_exception():
    given = [guarded(BOB, "block_all"), created("1", BOB, ALICE, thread_id=THREAD)]
    check(given, send(ALICE, BOB, thread_id=THREAD), Code.POLICY_DENIED)


def test_a_denied_attempt_leaves_no_trace_in_the_thread():
    given = [registered(ALICE), guarded(BOB, "contacts_only")]
    state, _ = check(given, send(ALICE, BOB, CAROL, thread_id=THREAD), _some(ALICE, CAROL))
    assert state.rows.share_thread(THREAD, ALICE, [BOB]) == set()
    assert state.rows.share_thread(THREAD, ALICE, [BOB, CAROL]) == {CAROL}


def _some(sender, *to):
    """What is expected of a message with an id of the server's."""
    return (
        created("msg_aaaaaaaaaaaa_018bcfe568000f1e2d3c4b5a6978", sender, *to, thread_id=THREAD),
    )


def test_the_newest_messages_of_the_sender_are_looked_through():
    old = created("0", BOB, ALICE, thread_id=THREAD)
    later = [
        created(str(n + 1), ALICE, CAROL, thread_id=THREAD) for n in range(THREAD_LOOKBACK_MAX)
    ]
    state = state_of([old, *later[1:]])
    assert state.rows.share_thread(THREAD, ALICE, [BOB]) == {BOB}
    state = state_of([old, *later])
    assert state.rows.share_thread(THREAD, ALICE, [BOB]) == set()


# -- The same message once more

FIRST = created("m", ALICE, BOB, cc=(CAROL,), body="one")


def again(**changes):
    return send(ALICE, BOB, cc=(CAROL,), message_id="m", **changes)


def test_b31_the_same_message_again_is_no_event():
    """B31: an earlier service gave it a new cursor and another row in the inbox."""
    _, answer = check([FIRST], again(body="one"), ())
    assert answer == SentView("m", 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"body": "two"},
        {"body": "one", "subject": "s"},
        {"body": "one", "topic": "x"},
        {"body": "one", "thread_id": "t"},
        {"body": "one", "importance": "high"},
        {"body": "one", "ack_required": True},
    ],
)
def test_b31_other_content_is_an_event_of_its_own_and_keeps_the_cursor(changes):
    edited = updated("m", ALICE, BOB, cc=(CAROL,), **changes)
    _, answer = check([FIRST, Later(5)], again(**changes), (edited,))
    assert answer == SentView("m", 1)


def test_b23_only_the_sender_may_send_it_again():
    """B23: an earlier service let anybody who knew an id replace the message."""
    for command in (send(BOB, CAROL, message_id="m"), send(BOB, BOB, message_id="m", body="one")):
        check([FIRST], command, Code.NOT_THE_SENDER)


def test_who_has_a_message_stays_when_it_is_sent_again():
    command = send(ALICE, CAROL, "dora", bcc=("eve",), message_id="m", body="two")
    _, answer = check([FIRST], command, (updated("m", ALICE, BOB, cc=(CAROL,), body="two"),))
    assert answer == SentView("m", 1, denied=("dora", "eve"))


def test_who_was_denied_is_told_again():
    given = [registered(ALICE), guarded(BOB, "block_all")]
    command = send(ALICE, BOB, CAROL, message_id="m")
    state, answer = check(given, command, (created("m", ALICE, CAROL),))
    assert answer.denied == (BOB,)
    decision = ask(state, command)
    assert decision.events == ()
    assert decision.answer == answer


def test_a_message_can_be_edited_more_than_once():
    second = updated("m", ALICE, BOB, cc=(CAROL,), body="two")
    _, answer = check([FIRST, second], again(body="two"), ())
    assert answer.cursor == 1
    third = updated("m", ALICE, BOB, cc=(CAROL,), body="one")
    check([FIRST, second], again(body="one"), (third,))


def test_an_edit_reaches_nobody_who_takes_nothing_by_now():
    given = [guarded(BOB, "open"), FIRST, AgentPolicyChanged(BOB, "block_all", "open")]
    state, refusal = check(given, again(body="two"), Code.POLICY_DENIED)
    assert refusal.data == {"denied": [BOB]}
    retry = ask(state, again(body="one"))
    assert (retry.answer, retry.events) == (SentView("m", 2), ()), "a retry changes nothing"


@pytest.mark.parametrize("policy", ["contacts_only", "auto"])
def test_what_was_let_in_may_be_corrected(policy):
    given = [guarded(BOB, "open"), FIRST, AgentPolicyChanged(BOB, policy, "open")]
    check(given, again(body="two"), (updated("m", ALICE, BOB, cc=(CAROL,), cursor=2, body="two"),))
