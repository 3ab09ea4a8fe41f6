"""Presence, metadata, policies, contacts, retirement."""

import pytest

from intermute.domain import limits
from intermute.domain.commands import (
    AddContact,
    Caller,
    Heartbeat,
    MergeMetadata,
    RemoveContact,
    RetireAgent,
    SetPolicy,
)
from intermute.domain.decision import Accepted
from intermute.domain.events import (
    AgentMetadataMerged,
    AgentPolicyChanged,
    AgentRetired,
    ContactAdded,
    ContactRemoved,
    ReservationReleased,
    Seen,
    TokenBound,
    TokenSet,
)
from intermute.domain.refusals import Code
from intermute.domain.transitions import mark
from intermute.domain.views import ContactsView, HeartbeatView, PolicyView, RetiredView

from .table import (
    ALICE,
    BOB,
    CAROL,
    GRACE_S,
    MINUTE,
    MONO,
    OPERATOR,
    WALL,
    Later,
    S,
    ask,
    caller,
    carry_out,
    check,
    held,
    registered,
    state_of,
)


@pytest.mark.parametrize(
    "command",
    [
        Heartbeat(ALICE),
        Heartbeat(ALICE, "thinking"),
        MergeMetadata(ALICE, {"k": "v"}),
        SetPolicy(ALICE, "auto"),
        AddContact(ALICE, BOB),
        RemoveContact(ALICE, BOB),
        RetireAgent(ALICE),
    ],
    ids=lambda command: command.kind,
)
@pytest.mark.parametrize("given", [[], [registered(ALICE), AgentRetired(ALICE)]])
def test_an_agent_that_is_not_there_is_not_found_by_any_command(command, given):
    check(given, command, Code.AGENT_NOT_FOUND)


# -- Presence -----------------------------------------------------------------------------------


def test_a_heartbeat_is_no_event():
    state, answer = check([registered(ALICE), Later(MINUTE)], Heartbeat(ALICE, "tool-use"), ())
    assert answer == HeartbeatView(ALICE, WALL + MINUTE * S)
    agent = state.agents[ALICE]
    assert (agent.last_seen_us, agent.last_seen_mono_us) == (WALL + MINUTE * S, MONO + MINUTE * S)
    assert agent.focus_state == "tool-use"


def test_a_heartbeat_without_a_focus_keeps_the_one_known():
    state = state_of([registered(ALICE), Seen(ALICE, WALL, MONO, "thinking")])
    carry_out(state, ask(state, Heartbeat(ALICE)))
    assert state.agents[ALICE].focus_state == "thinking"


@pytest.mark.parametrize(("silent_s", "live"), [(0, True), (299.999999, True), (300, False)])
def test_an_agent_is_live_within_the_grace(silent_s, live):
    state = state_of([registered(ALICE), Later(silent_s)])
    assert state.is_live(state.agents[ALICE]) is live


def test_the_wall_clock_makes_nobody_quiet():
    state = state_of([registered(ALICE), Later(1, wall_s=86_400)])
    assert state.is_live(state.agents[ALICE])


def test_whatever_an_agent_does_shows_that_it_lives():
    state, _ = check(
        [registered(ALICE), Later(60)], AddContact(ALICE, BOB), (ContactAdded(ALICE, BOB),)
    )
    assert state.agents[ALICE].last_seen_mono_us == MONO + 60 * S


@pytest.mark.parametrize(("silent_s", "noted"), [(9.999999, False), (10, True)])
def test_presence_is_noted_in_grains(silent_s, noted):
    state = state_of([registered(ALICE), Later(silent_s)])
    decision = ask(state, AddContact(ALICE, BOB))
    assert bool(decision.marks) is noted


@pytest.mark.parametrize("note", [Seen(ALICE, 1, 1), TokenSet(ALICE, b""), TokenBound(ALICE)])
def test_a_mark_of_an_agent_that_is_gone_is_dropped(note):
    state = state_of([registered(ALICE), AgentRetired(ALICE)])
    mark(state, note)
    assert state.agents == {}


# -- Metadata -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "change", "new"),
    [
        ({}, {"a": "1"}, {"a": "1"}),
        ({"a": "1"}, {"b": "2"}, {"a": "1", "b": "2"}),
        ({"a": "1"}, {"a": "2"}, {"a": "2"}),
        ({"a": "1", "b": "2"}, {"a": None}, {"b": "2"}),
        ({"a": "1"}, {"zz": None}, {"a": "1"}),
        ({"a": "1"}, {"a": None, "b": "2", "c": None}, {"b": "2"}),
        ({"a": "1"}, {"a": ""}, {"a": ""}),
        ({"a": "1"}, {}, {"a": "1"}),
    ],
)
def test_a_merge_changes_the_keys_it_names(old, change, new):
    given = [registered(ALICE, metadata=old), Later(30)]
    command = MergeMetadata(ALICE, change)
    state, answer = check(given, command, (AgentMetadataMerged(ALICE, change),))
    assert state.agents[ALICE].metadata == new
    assert answer.metadata == new
    assert answer.last_seen_us == state.agents[ALICE].last_seen_us == WALL + 30 * S
    assert (answer.agent_id, answer.project, answer.name) == (ALICE, "house", "Alice")


def test_merges_of_different_keys_are_never_lost():
    """B56: sixty writers of one key each must leave sixty keys."""
    state = state_of([registered(ALICE)])
    for i in range(60):
        carry_out(state, ask(state, MergeMetadata(ALICE, {f"k{i}": str(i)})))
    assert state.agents[ALICE].metadata == {f"k{i}": str(i) for i in range(60)}


def test_the_bound_on_metadata_is_on_what_a_merge_leaves():
    most = limits.METADATA_ENTRIES_MAX
    full = {f"k{i}": "v" for i in range(most)}
    given = [registered(ALICE, metadata=full)]
    check(given, MergeMetadata(ALICE, {"new": "v"}), Code.LIMIT_REACHED)
    swap = {"new": "v", "k0": None}
    check(given, MergeMetadata(ALICE, swap), (AgentMetadataMerged(ALICE, swap),))
    long = {"new": "v" * limits.METADATA_VALUE_LEN_MAX}
    half = {f"k{i}": "v" * (limits.METADATA_VALUE_LEN_MAX - 2) for i in range(4)}
    check([registered(ALICE, metadata=half)], MergeMetadata(ALICE, long), Code.LIMIT_REACHED)


def test_a_refused_merge_changes_nothing():
    full = {f"k{i}": "v" for i in range(limits.METADATA_ENTRIES_MAX)}
    state, _ = check(
        [registered(ALICE, metadata=full)], MergeMetadata(ALICE, {"x": "y"}), Code.LIMIT_REACHED
    )
    assert state.agents[ALICE].metadata == full


# -- Policies -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "live", "expected"),
    [
        ("block_all", None, ("block_all", "contacts_only")),
        (None, "block_all", ("open", "block_all")),
        ("auto", "open", ("auto", "open")),
    ],
)
def test_a_policy_that_is_not_given_stays(policy, live, expected):
    event = AgentPolicyChanged(ALICE, *expected)
    command = SetPolicy(ALICE, policy, live)
    state, _ = check([registered(ALICE)], command, (event,), answer=PolicyView(ALICE, *expected))
    agent = state.agents[ALICE]
    assert (agent.policy, agent.live_contact_policy) == expected


@pytest.mark.parametrize("command", [SetPolicy(ALICE), SetPolicy(ALICE, "open", "contacts_only")])
def test_a_policy_that_stays_as_it_is_is_no_event(command):
    check([registered(ALICE)], command, (), answer=PolicyView(ALICE, "open", "contacts_only"))


# -- Contacts -----------------------------------------------------------------------------------


def test_contacts_stay_in_the_order_in_which_they_were_added():
    given = [registered(ALICE), ContactAdded(ALICE, CAROL)]
    view = ContactsView(ALICE, (CAROL, BOB))
    check(given, AddContact(ALICE, BOB), (ContactAdded(ALICE, BOB),), answer=view)


def test_a_contact_that_is_there_already_is_no_event():
    given = [registered(ALICE), ContactAdded(ALICE, BOB)]
    check(given, AddContact(ALICE, BOB), (), answer=ContactsView(ALICE, (BOB,)))


def test_a_contact_need_not_be_registered():
    check([registered(ALICE)], AddContact(ALICE, "ghost"), (ContactAdded(ALICE, "ghost"),))


def test_a_contact_can_be_removed_once():
    given = [registered(ALICE), ContactAdded(ALICE, BOB), ContactAdded(ALICE, CAROL)]
    event = ContactRemoved(ALICE, BOB)
    view = ContactsView(ALICE, (CAROL,))
    check(given, RemoveContact(ALICE, BOB), (event,), answer=view)
    check([*given, event], RemoveContact(ALICE, BOB), Code.CONTACT_NOT_FOUND)


def test_contacts_have_a_bound():
    full = [ContactAdded(ALICE, f"c{i}") for i in range(limits.CONTACTS_MAX)]
    check([registered(ALICE), *full], AddContact(ALICE, BOB), Code.LIMIT_REACHED)
    check([registered(ALICE), *full], AddContact(ALICE, "c0"), ())
    event = ContactAdded(ALICE, BOB)
    check([registered(ALICE), *full[1:]], AddContact(ALICE, BOB), (event,))


# -- Retirement ---------------------------------------------------------------------------------


def test_a_retirement_releases_what_the_agent_holds():
    given = [
        registered(ALICE),
        registered(BOB),
        held("r1", ALICE, "a"),
        held("r2", BOB, "b"),
        held("r3", ALICE, "c", exclusive=False),
    ]
    events = (
        ReservationReleased("r1", ALICE, "retired", fencing_token=3),
        ReservationReleased("r3", ALICE, "retired", fencing_token=5),
        AgentRetired(ALICE),
    )
    view = RetiredView(ALICE, WALL, ("r1", "r3"))
    state, _ = check(given, RetireAgent(ALICE), events, answer=view)
    assert list(state.holdings.by_id) == ["r2"]
    assert list(state.agents) == [BOB]
    assert list(state.sessions.values()) == [BOB]


def test_a_retired_agents_lapsed_leases_are_forgotten():
    given = [
        registered(ALICE),
        registered(BOB),
        held("r1", ALICE, "a", ttl_s=60),
        held("r2", BOB, "b", ttl_s=60),
        Later(60),
    ]
    state, answer = check(given, RetireAgent(ALICE), (AgentRetired(ALICE),))
    assert answer.released == (), "what has lapsed was not held"
    assert list(state.lapsed.by_id) == ["r2"]


LOCKED = [registered(ALICE), TokenSet(ALICE, caller(None, "t").token_hash), TokenBound(ALICE)]


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        (OPERATOR, True),
        (caller(), False),
        (caller(ALICE), False),
        (caller(ALICE, "t"), True),
        (caller(BOB), False),
    ],
)
def test_an_operator_may_retire_an_agent_that_keeps_its_token(who, allowed):
    decision = ask(state_of([*LOCKED, registered(BOB)]), RetireAgent(ALICE), who)
    assert isinstance(decision, Accepted) is allowed
    if not allowed:
        assert decision.code in (Code.AGENT_TOKEN_REQUIRED, Code.AGENT_IDENTITY_MISMATCH)


def test_an_operators_retirement_is_nobodys_deed():
    """The log must not say that the agent retired itself, and it must not look alive by it."""
    decision = ask(state_of([*LOCKED, Later(GRACE_S)]), RetireAgent(ALICE), OPERATOR)
    assert decision.actor is None
    assert decision.marks == ()


@pytest.mark.parametrize(
    "command",
    [
        Heartbeat(ALICE),
        MergeMetadata(ALICE, {"k": "v"}),
        SetPolicy(ALICE, "auto"),
        AddContact(ALICE, BOB),
        RemoveContact(ALICE, BOB),
    ],
    ids=lambda command: command.kind,
)
def test_an_operator_may_do_nothing_else_in_an_agents_name(command):
    check(LOCKED, command, Code.AGENT_TOKEN_REQUIRED, who=OPERATOR)


def test_an_operator_who_claims_to_be_an_agent_is_that_agent():
    check(LOCKED, RetireAgent(ALICE), Code.AGENT_TOKEN_REQUIRED, who=Caller(ALICE, None, True))
    check(LOCKED, RetireAgent(ALICE), Code.AGENT_IDENTITY_MISMATCH, who=Caller(BOB, None, True))
