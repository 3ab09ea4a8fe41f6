"""Agents on the wire."""

import pytest

from intermute.domain import limits
from intermute.domain.commands import AddContact, Heartbeat, MergeMetadata, RegisterAgent, SetPolicy
from intermute.domain.state import FOCUS_STATES, POLICIES
from intermute.domain.views import (
    AgentView,
    ContactsView,
    HeartbeatView,
    PolicyView,
    RegisteredView,
    RetiredView,
)
from intermute.wire import agents
from intermute.wire.bodies import BadRequest

AT = 1_700_000_000_250_000
TOKEN_HASH = b"h" * 32


def registration(**members):
    return agents.register(agents.read_register(members), TOKEN_HASH)


def view(**changes):
    members = {
        "agent_id": "a1",
        "session_id": "s1",
        "name": "Ada",
        "project": "house",
        "capabilities": ("py",),
        "metadata": {},
        "status": "on",
        "policy": "open",
        "live_contact_policy": "contacts_only",
        "created_at_us": AT,
        "last_seen_us": AT,
        "focus_state": "unknown",
    }
    return AgentView(**{**members, **changes})


@pytest.mark.parametrize(
    ("members", "command"),
    [
        ({}, RegisterAgent(TOKEN_HASH)),
        ({"name": " ", "session_id": " "}, RegisterAgent(TOKEN_HASH)),
        ({"name": " Ada ", "session_id": " s "}, RegisterAgent(TOKEN_HASH, "Ada", "s")),
        ({"capabilities": []}, RegisterAgent(TOKEN_HASH, capabilities=())),
        ({"capabilities": ["a", "b"]}, RegisterAgent(TOKEN_HASH, capabilities=("a", "b"))),
        ({"metadata": {}}, RegisterAgent(TOKEN_HASH, metadata={})),
        ({"metadata": {"k": "v"}}, RegisterAgent(TOKEN_HASH, metadata={"k": "v"})),
        ({"metadata": {"k": None}}, RegisterAgent(TOKEN_HASH, metadata={"k": ""})),
        ({"status": ""}, RegisterAgent(TOKEN_HASH, status="")),
        ({"id": "chosen", "agent_id": "chosen"}, RegisterAgent(TOKEN_HASH)),
    ],
)
def test_what_a_registration_says(members, command):
    assert registration(**members) == command


@pytest.mark.parametrize(
    "members",
    [
        {"name": "x" * (limits.AGENT_NAME_LEN_MAX + 1)},
        {"name": "a\nb"},
        {"name": 1},
        {"session_id": "x" * 101},
        {"status": "x" * (limits.AGENT_STATUS_LEN_MAX + 1)},
        {"capabilities": "py"},
        {"capabilities": [1]},
        {"capabilities": ["c"] * (limits.CAPABILITIES_MAX + 1)},
        {"capabilities": ["c" * (limits.CAPABILITY_LEN_MAX + 1)]},
        {"metadata": {"k": 1}},
        {"metadata": {"k" * (limits.METADATA_KEY_LEN_MAX + 1): "v"}},
        {"metadata": {"k": "v" * (limits.METADATA_VALUE_LEN_MAX + 1)}},
        {"metadata": {str(i): "" for i in range(limits.METADATA_ENTRIES_MAX + 1)}},
        {"project": "p" * (4 * limits.PROJECT_NAME_LEN_MAX + 1)},
    ],
)
def test_what_a_registration_may_not_say(members):
    with pytest.raises(BadRequest):
        registration(**members)


@pytest.mark.parametrize("focus", FOCUS_STATES)
def test_a_heartbeat_may_say_where_the_attention_is(focus):
    assert agents.heartbeat("a1", {"focus_state": focus}) == Heartbeat("a1", focus)


def test_a_heartbeat_need_not_say_anything():
    assert agents.heartbeat("a1", {}) == Heartbeat("a1", None)
    assert agents.heartbeat("a1", {"focus_state": ""}) == Heartbeat("a1", None)
    with pytest.raises(BadRequest, match="at-prompt"):
        agents.heartbeat("a1", {"focus_state": "asleep"})


def test_a_metadata_change_may_remove_keys():
    change = {"a": "1", "b": None}
    assert agents.merge_metadata("a1", {"metadata": change}) == MergeMetadata("a1", change)


@pytest.mark.parametrize(
    "members", [{}, {"metadata": {}}, {"metadata": []}, {"metadata": {"a": 1}}]
)
def test_a_metadata_change_has_keys_and_text(members):
    with pytest.raises(BadRequest):
        agents.merge_metadata("a1", members)


@pytest.mark.parametrize("policy", POLICIES)
def test_policies(policy):
    assert agents.set_policy("a1", {"policy": policy}) == SetPolicy("a1", policy, None)
    members = {"live_contact_policy": policy}
    assert agents.set_policy("a1", members) == SetPolicy("a1", None, policy)
    both = {"policy": policy, "live_contact_policy": "open"}
    assert agents.set_policy("a1", both) == SetPolicy("a1", policy, "open")


@pytest.mark.parametrize(
    ("members", "match"),
    [
        ({}, "required"),
        ({"policy": ""}, "required"),
        ({"policy": "closed"}, "invalid policy"),
        ({"policy": "open", "live_contact_policy": "x"}, "invalid live_contact_policy"),
    ],
)
def test_what_is_no_policy(members, match):
    with pytest.raises(BadRequest, match=match):
        agents.set_policy("a1", members)


def test_a_contact_goes_by_either_name():
    assert agents.add_contact("a1", {"contact_id": " b1 "}) == AddContact("a1", "b1")
    assert agents.add_contact("a1", {"contact": "b1"}) == AddContact("a1", "b1")
    both = {"contact_id": "b1", "contact": "c1"}
    assert agents.add_contact("a1", both) == AddContact("a1", "b1")


@pytest.mark.parametrize("members", [{}, {"contact_id": " "}, {"contact_id": "a\nb"}])
def test_a_contact_is_somebody(members):
    with pytest.raises(BadRequest, match="contact_id"):
        agents.add_contact("a1", members)


def test_the_answer_to_a_registration():
    answer = agents.registered(
        RegisteredView("a1", "s1", "Ada", resumed=True), token="t", project="house"
    )
    assert answer == {
        "agent_id": "a1",
        "session_id": "s1",
        "name": "Ada",
        "token": "t",
        "cursor": 0,
        "project": "house",
        "resumed": True,
    }


def test_an_agent_in_a_list_shows_no_more_than_it_should():
    assert agents.agent(view(metadata={"k": "v"})) == {
        "agent_id": "a1",
        "session_id": "s1",
        "name": "Ada",
        "project": "house",
        "capabilities": ("py",),
        "metadata": {"k": "v"},
        "status": "on",
        "last_seen": "2023-11-14T22:13:20Z",
        "created_at": "2023-11-14T22:13:20Z",
    }


GRACE_US = limits.HEARTBEAT_GRACE_MS * 1000


@pytest.mark.parametrize(
    ("now_us", "retired_at_us", "live"),
    [
        (AT, None, True),
        (AT + GRACE_US - 1, None, True),
        (AT + GRACE_US, None, False),
        (AT - 1_000, None, True),
        (AT, AT, False),
    ],
)
def test_an_agent_by_itself_tells_whether_it_lives(now_us, retired_at_us, live):
    shown = agents.agent_whole(view(retired_at_us=retired_at_us), now_us=now_us)
    assert shown["live"] is live
    assert (shown["policy"], shown["live_contact_policy"]) == ("open", "contacts_only")
    assert shown["focus_state"] == "unknown"
    assert ("retired_at" in shown) is (retired_at_us is not None)


def test_presence_is_read_out_of_the_metadata():
    metadata = {
        "agent_kind": " coder ",
        "status": "busy",
        "repo": "r",
        "files_touched": '[" a.py ", "", "b.py"]',
        "objective": "o",
        "active_bead_confidence": "high",
        "active_bead_id": "bd",
        "thread_id": "t",
    }
    assert agents.presence(view(metadata=metadata)) == {
        "agent_id": "a1",
        "kind": "coder",
        "status": "busy",
        "last_seen": "2023-11-14T22:13:20Z",
        "repo": "r",
        "files": ["a.py", "b.py"],
        "objective": "o",
        "confidence": "high",
        "active_bead_id": "bd",
        "thread_id": "t",
    }


def test_presence_without_metadata_has_its_defaults():
    shown = agents.presence(view())
    assert (shown["status"], shown["confidence"], shown["files"]) == ("on", "unknown", [])


@pytest.mark.parametrize("text", ["", "x", "{}", "[1]", '["a", 1]', '"a"', "[\ud800]", "[" * 100])
def test_files_that_cannot_be_read_are_none(text):
    assert agents.presence(view(metadata={"files_touched": text}))["files"] == []


def test_the_other_answers():
    assert agents.heartbeat_answer(HeartbeatView("a1", AT)) == {
        "agent_id": "a1",
        "last_seen": "2023-11-14T22:13:20.25Z",
    }
    assert agents.policy(PolicyView("a1", "open", "auto")) == {
        "agent_id": "a1",
        "policy": "open",
        "live_contact_policy": "auto",
    }
    assert agents.contacts(ContactsView("a1", ("b",))) == {"agent_id": "a1", "contacts": ("b",)}
    assert agents.retired(RetiredView("a1", AT, ("r1",))) == {
        "agent_id": "a1",
        "retired_at": "2023-11-14T22:13:20.25Z",
        "released": ("r1",),
    }
