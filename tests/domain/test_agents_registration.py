"""Registration, and the return of a known session."""

import uuid

import pytest

from intermute.domain import limits
from intermute.domain.agents import canonical_session
from intermute.domain.commands import Caller
from intermute.domain.decision import Accepted
from intermute.domain.events import (
    AgentPolicyChanged,
    AgentResumed,
    AgentRetired,
    ContactAdded,
    Seen,
    TokenSet,
)
from intermute.domain.names import generate
from intermute.domain.refusals import Code
from intermute.domain.stamp import Stamp, tag_of
from intermute.domain.times import iso

from .table import (
    ALICE,
    BOB,
    ENTROPY,
    GRACE_S,
    MINUTE,
    MONO,
    SESSIONS,
    TAG,
    WALL,
    Later,
    S,
    ask,
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

NEW_ID = f"agt_{TAG}_{WALL // 1000:012x}{ENTROPY & (2**64 - 1):016x}"
RESUMED = AgentResumed(ALICE, "Alice", (), {}, "")


def test_a_registration_keeps_what_it_is_given():
    command = register_command(
        name="Ada", session_id=SESSIONS[BOB], capabilities=("py",), metadata={"k": "v"}, status="on"
    )
    event = registered(
        NEW_ID,
        session_id=SESSIONS[BOB],
        name="Ada",
        capabilities=("py",),
        metadata={"k": "v"},
        status="on",
    )
    state, answer = check([], command, (event,))
    assert (answer.agent_id, answer.session_id, answer.name, answer.resumed) == (
        NEW_ID,
        SESSIONS[BOB],
        "Ada",
        False,
    )
    agent = state.agents[NEW_ID]
    assert agent.token_hash == token_hash("fresh")
    assert not agent.token_bound
    assert (agent.created_at_us, agent.last_seen_us, agent.last_seen_mono_us) == (WALL, WALL, MONO)
    assert tag_of(NEW_ID) == TAG


def test_what_a_registration_leaves_out_comes_from_the_stamp():
    state = state_of()
    decision = ask(state, register_command())
    again = ask(state_of(), register_command())
    assert decision == again, "the same stamp gives the same agent"
    event = decision.events[0]
    assert event.name == generate(ENTROPY)
    assert uuid.UUID(event.session_id).version == 4
    assert (event.capabilities, event.metadata, event.status) == ((), {}, "")
    assert decision.actor == event.agent_id


def test_the_marks_of_an_arrival_are_its_token_and_its_presence():
    decision = ask(state_of(), register_command())
    assert decision.marks == (
        TokenSet(NEW_ID, token_hash("fresh")),
        Seen(NEW_ID, WALL, MONO, "unknown"),
    )


HEX = "0123456789abcdefABCDEF0123456789"
SPELT = "01234567-89ab-cdef-abcd-ef0123456789"


@pytest.mark.parametrize(
    "spelling",
    [
        SPELT,
        SPELT.upper(),
        HEX,
        HEX.lower(),
        f"urn:uuid:{SPELT}",
        f"{{{SPELT}}}",
        f"({SPELT})",
        f"[{SPELT.upper()}]",
    ],
)
def test_all_spellings_of_a_uuid_are_one_session(spelling):
    assert canonical_session(spelling) == SPELT
    state = state_of([registered(ALICE, session_id=SPELT), Later(GRACE_S)])
    decision = ask(state, register_command(session_id=spelling))
    assert isinstance(decision, Accepted)
    assert decision.answer.agent_id == ALICE
    assert decision.answer.session_id == SPELT, "the spelling of the first registration stays"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        SPELT[:-1],
        SPELT + "0",
        "{" + SPELT,
        HEX[:-1],
        HEX[:-1] + "g",
        SPELT.replace("-", "_"),
        "0123456-789ab-cdef-abcd-ef0123456789",
        f"urn:uuid:{HEX}",
        f"{{{HEX}}}",
        f"urn:uuie:{SPELT}",
        HEX[:-1] + "\uff11",
        "+" + HEX[1:],
        HEX[:4] + "_" + HEX[5:],
        "-" * 36,
    ],
)
def test_what_is_no_uuid_is_no_session(text):
    assert canonical_session(text) is None
    if text:
        check([], register_command(session_id=text), Code.INVALID_SESSION_ID)


def test_what_surrounds_a_uuid_can_be_shown():
    for before, after in (("\x1b", "]"), ("[", "\x07"), ("\u202e", "}")):
        command = register_command(session_id=f"{before}{SPELT}{after}")
        check([], command, Code.INVALID_SESSION_ID)


def test_a_session_in_use_is_refused_until_its_agent_has_been_silent():
    given = [registered(ALICE), Later(100)]
    command = register_command(session_id=SESSIONS[ALICE])
    _, refusal = check(given, command, Code.ACTIVE_SESSION_CONFLICT)
    assert refusal.data == {
        "agent_id": ALICE,
        "retry_after_seconds": 200,
        "free_at": iso(WALL + 300 * S),
    }
    check([registered(ALICE), Later(299.999999)], command, Code.ACTIVE_SESSION_CONFLICT)
    check([registered(ALICE), Later(300)], command, (RESUMED,))


def test_a_part_of_a_second_to_wait_is_a_second():
    given = [registered(ALICE), Later(299.5)]
    command = register_command(session_id=SESSIONS[ALICE])
    _, refusal = check(given, command, Code.ACTIVE_SESSION_CONFLICT)
    assert refusal.data["retry_after_seconds"] == 1


def test_a_session_whose_agent_holds_something_is_in_use_until_the_lease_ends():
    given = [registered(ALICE), held("r", ALICE, "a", ttl_s=20 * MINUTE), Later(GRACE_S)]
    command = register_command(session_id=SESSIONS[ALICE])
    _, refusal = check(given, command, Code.ACTIVE_SESSION_CONFLICT)
    assert refusal.data["retry_after_seconds"] == 15 * MINUTE
    assert "holds reservations" in refusal.detail
    check([*given, Later(15 * MINUTE)], command, (RESUMED,))


def test_a_short_lease_does_not_shorten_the_silence_asked_for():
    given = [registered(ALICE), held("r", ALICE, "a", ttl_s=60), Later(30)]
    command = register_command(session_id=SESSIONS[ALICE])
    _, refusal = check(given, command, Code.ACTIVE_SESSION_CONFLICT)
    assert refusal.data["retry_after_seconds"] == 270


def test_a_wall_clock_jump_frees_no_session():
    given = [registered(ALICE), Later(10, wall_s=86_400)]
    command = register_command(session_id=SESSIONS[ALICE])
    check(given, command, Code.ACTIVE_SESSION_CONFLICT)


def test_the_agents_own_token_leads_it_back_at_once():
    given = [registered(ALICE), token_of(ALICE), held("r", ALICE, "a")]
    command = register_command(token="second", session_id=SESSIONS[ALICE])
    state, answer = check(given, command, (RESUMED,), who=caller(ALICE, "token"))
    assert answer.resumed
    assert answer.agent_id == ALICE
    assert state.agents[ALICE].token_hash == token_hash("second")
    assert "r" in state.holdings.by_id, "what it holds stays its own"


def test_another_agents_token_leads_nobody_back():
    given = [registered(ALICE), registered(BOB), token_of(BOB, "bobs")]
    command = register_command(session_id=SESSIONS[ALICE])
    check(given, command, Code.ACTIVE_SESSION_CONFLICT, who=caller(BOB, "bobs"))


def test_a_wrong_token_leads_nobody_back_not_even_after_the_silence():
    given = [registered(ALICE), token_of(ALICE), Later(GRACE_S)]
    command = register_command(session_id=SESSIONS[ALICE])
    check(given, command, Code.AGENT_IDENTITY_MISMATCH, who=caller(ALICE, "guess"))


def test_a_return_keeps_what_is_the_agents_own():
    given = [
        registered(ALICE, capabilities=("py",), metadata={"k": "v"}, status="on"),
        AgentPolicyChanged(ALICE, "block_all", "block_all"),
        ContactAdded(ALICE, BOB),
        Later(GRACE_S),
    ]
    event = AgentResumed(ALICE, "Alice", ("py",), {"k": "v"}, "on")
    state, _ = check(given, register_command(session_id=SESSIONS[ALICE]), (event,))
    agent = state.agents[ALICE]
    assert (agent.policy, agent.live_contact_policy) == ("block_all", "block_all")
    assert list(agent.contacts) == [BOB]
    assert agent.created_at_us == WALL


def test_a_return_takes_what_it_brings():
    given = [registered(ALICE, capabilities=("py",), metadata={"k": "v"}, status="on")]
    command = register_command(
        session_id=SESSIONS[ALICE], name="New", capabilities=(), metadata={}, status=""
    )
    event = AgentResumed(ALICE, "New", (), {}, "")
    state, answer = check([*given, Later(GRACE_S)], command, (event,))
    assert answer.name == "New"
    assert state.agents[ALICE].metadata == {}


def test_a_return_ends_the_old_token_and_its_latch():
    given = [registered(ALICE), token_of(ALICE), Later(GRACE_S)]
    state, _ = check(given, register_command(session_id=SESSIONS[ALICE]), (RESUMED,))
    assert state.agents[ALICE].token_hash == token_hash("fresh")
    assert not state.agents[ALICE].token_bound
    assert state.agents[ALICE].last_seen_mono_us == MONO + GRACE_S * S


def test_the_session_of_a_retired_agent_is_free():
    given = [registered(ALICE), AgentRetired(ALICE)]
    event = registered(NEW_ID, name="Ada", session_id=SESSIONS[ALICE])
    check(given, register_command(name="Ada", session_id=SESSIONS[ALICE]), (event,))


def test_two_registrations_without_a_session_are_two_agents():
    state = state_of()
    for entropy in (1, 2):
        carry_out(state, ask(state, register_command(name="same"), entropy=entropy))
    assert len(state.agents) == len(state.sessions) == 2


@pytest.mark.parametrize(
    ("metadata", "accepted"),
    [
        ({f"k{i}": "" for i in range(limits.METADATA_ENTRIES_MAX)}, True),
        ({f"k{i}": "" for i in range(limits.METADATA_ENTRIES_MAX + 1)}, False),
        ({"k": "v" * (limits.METADATA_LEN_MAX - 1)}, True),
        ({"k": "v" * limits.METADATA_LEN_MAX}, False),
    ],
)
def test_metadata_has_its_bounds_from_the_start(metadata, accepted):
    decision = ask(state_of(), register_command(metadata=metadata))
    assert isinstance(decision, Accepted) is accepted
    if not accepted:
        assert decision.code is Code.LIMIT_REACHED


def test_a_project_has_so_many_agents_and_no_more():
    agents = [
        registered(f"agent{i}", session_id=str(uuid.UUID(int=i))) for i in range(limits.AGENTS_MAX)
    ]
    full = state_of([*agents, Later(GRACE_S)])
    assert ask(full, register_command()).code is Code.LIMIT_REACHED
    back = ask(full, register_command(session_id=str(uuid.UUID(int=7))))
    assert isinstance(back, Accepted), "one that is known may come back all the same"


def test_an_operator_has_no_special_way_into_a_session():
    command = register_command(session_id=SESSIONS[ALICE])
    who = Caller(operator=True)
    check([registered(ALICE)], command, Code.ACTIVE_SESSION_CONFLICT, who=who)


@pytest.mark.parametrize("entropy", [0, 1, 2**40 - 1, 2**128 - 1, ENTROPY])
def test_generated_names_are_words(entropy):
    words = generate(entropy).split()
    assert 2 <= len(words) <= 3
    assert all(word.isalpha() for word in words)
    assert generate(entropy) == generate(entropy)


def test_ids_of_a_later_stamp_sort_behind():
    stamp = Stamp(WALL, MONO, ENTROPY)
    later = Stamp(WALL + 1000, MONO, 0)
    assert later.unique() > stamp.unique(), "ids sort by time"


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        (NEW_ID, TAG),
        (f"imt_{TAG}_{'x-_' * 14}x", TAG),
        (f"rsv_{TAG}_{'0' * 28}", TAG),
        (f"rsv_{TAG}_{'0' * 32}", None),
        (f"rsv_{TAG}_x_y", None),
        ("story_registration_1", None),
        (f"agt_{TAG}", None),
        (f"agt_{TAG[1:]}_x", None),
        (f"agt_{'A' * 12}_x", None),
        (f"agt_{'a' * 11}1_x", None),
        ("", None),
        ("__", None),
    ],
)
def test_only_ids_made_here_have_a_tag(text, tag):
    assert tag_of(text) == tag
