"""Reads: what lists show, page by page."""

import pytest

from intermute.domain.commands import (
    AddContact,
    ConfigureProject,
    Heartbeat,
    MergeMetadata,
    RemoveContact,
    RetireAgent,
    SetPolicy,
)
from intermute.domain.events import AgentRegistered, ReservationCreated
from intermute.domain.views import ContactsView, PolicyView
from intermute.storage.reader import AgentFilter, Reader

from ..project.harness import PROJECT, WALL, Desk, S, release, renew, reserve

NEWEST = 2**63 - 1
EVERYBODY = AgentFilter()


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path / "x.sqlite3")
    yield desk
    desk.close()


@pytest.fixture
def reader(desk):
    reader = Reader.open(desk.path)
    yield reader
    reader.close()


def listed(reader, **asked):
    query = {"agent_id": None, "active": False, "before": NEWEST, "limit": 100, **asked}
    return [view.patterns[0] for view in reader.reservations(**query)]


def test_an_agent_is_read_as_the_actor_answers_it(desk, reader):
    agent_id = desk.register("alice", capabilities=("py",), status="on")
    desk.clock.later(60)
    desk.one(Heartbeat(agent_id, "thinking"))
    answered = desk.one(MergeMetadata(agent_id, {"k": "v"}))
    view = reader.agent(agent_id)
    assert view == answered
    assert (view.project, view.focus_state, view.last_seen_us) == (
        PROJECT,
        "thinking",
        WALL + 60 * S,
    )
    assert view.created_at_us == WALL


def test_agents_are_listed_last_seen_first(desk, reader):
    ids = []
    for name in ("a", "b", "c"):
        ids.append(desk.register(name))
        desk.clock.later(60)
    desk.one(Heartbeat(ids[0]))
    assert [view.agent_id for view in reader.agents(EVERYBODY, limit=10)] == [
        ids[0],
        ids[2],
        ids[1],
    ]


def test_agents_that_were_seen_together_are_listed_newest_first(desk, reader):
    ids = [desk.register(name) for name in ("a", "b", "c")]
    assert [view.agent_id for view in reader.agents(EVERYBODY, limit=10)] == ids[::-1]


def test_a_list_of_agents_is_bounded(desk, reader):
    ids = [desk.register(f"a{i}") for i in range(7)]
    shown = reader.agents(EVERYBODY, limit=3)
    assert [view.agent_id for view in shown] == ids[:3:-1]


AGENTS = {
    "a": {"capabilities": ("py", "sql"), "metadata": {"repo": " r1 ", "active_bead_id": "b1"}},
    "b": {"capabilities": ("go",), "metadata": {"repo": "r1", "active_bead_id": "b2"}},
    "c": {"metadata": {"repo": "r2"}},
    "d": {"metadata": {"REPO": "r1"}},
}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (AgentFilter(), "abcd"),
        (AgentFilter(("py",)), "a"),
        (AgentFilter(("py", "sql")), "a"),
        (AgentFilter(("go", "sql")), "ab"),
        (AgentFilter(("p",)), ""),
        (AgentFilter(('py"',)), ""),
        (AgentFilter(("%",)), ""),
        (AgentFilter(repo="r1"), "ab"),
        (AgentFilter(repo="r1", active_bead_id="b2"), "b"),
        (AgentFilter(active_bead_id="b1"), "a"),
        (AgentFilter(("go",), "r2"), ""),
        (AgentFilter(repo="x' OR '1' = '1"), ""),
    ],
)
def test_agents_are_found_by_what_they_can_do_and_say(desk, reader, wanted, found):
    for name, members in AGENTS.items():
        desk.register(name, **members)
    assert sorted(view.name for view in reader.agents(wanted, limit=10)) == list(found)


def test_a_retired_agent_can_be_looked_at_but_is_not_listed(desk, reader):
    agent_id = desk.register("alice")
    desk.one(AddContact(agent_id, "bob"))
    desk.clock.later(5)
    desk.one(RetireAgent(agent_id))
    assert reader.agent(agent_id).retired_at_us == WALL + 5 * S
    assert reader.agents(EVERYBODY, limit=10) == []
    assert reader.policy(agent_id) is None
    assert reader.contacts(agent_id) is None
    assert reader.credential(agent_id) is not None, "its mail stays under its token"


def test_what_is_not_there_is_none(reader):
    assert reader.agent("ghost") is None
    assert reader.policy("ghost") is None
    assert reader.contacts("ghost") is None
    assert reader.credential("ghost") is None
    assert reader.reservation("ghost") is None


def test_policies_and_contacts(desk, reader):
    agent_id = desk.register("alice")
    desk.one(SetPolicy(agent_id, "block_all"))
    assert reader.policy(agent_id) == PolicyView(agent_id, "block_all", "contacts_only")
    for contact_id in ("z", "a", "m"):
        desk.one(AddContact(agent_id, contact_id))
    desk.one(RemoveContact(agent_id, "z"))
    desk.one(AddContact(agent_id, "z"))
    assert reader.contacts(agent_id) == ContactsView(agent_id, ("a", "m", "z"))
    assert list(desk.state.agents[agent_id].contacts) == ["a", "m", "z"]
    desk.reopen()
    assert list(desk.state.agents[agent_id].contacts) == ["a", "m", "z"]


def test_reservations_are_listed_newest_first_in_pages(desk, reader):
    for i in range(7):
        desk.one(reserve("alice", f"f{i}"))
    first = reader.reservations(agent_id=None, active=False, before=NEWEST, limit=3)
    assert [view.patterns[0] for view in first] == ["f6", "f5", "f4"]
    second = listed(reader, before=first[-1].cursor, limit=3)
    assert second == ["f3", "f2", "f1"]
    assert listed(reader, before=1) == []
    assert listed(reader, before=2) == ["f0"]


def test_reservations_of_one_agent_and_only_those_that_are_active(desk, reader):
    desk.one(reserve("alice", "a1"))
    gone = desk.one(reserve("alice", "a2"))
    desk.one(release(gone.reservation_id, "alice"))
    desk.one(reserve("bob", "b1", ttl_s=60))
    desk.one(reserve("bob", "b2"))
    assert listed(reader) == ["b2", "b1", "a2", "a1"]
    assert listed(reader, agent_id="alice") == ["a2", "a1"]
    assert listed(reader, active=True) == ["b2", "b1", "a1"]
    desk.clock.later(60)
    desk.one(reserve("bob", "b3"))
    assert listed(reader, active=True) == ["b3", "b2", "a1"]
    assert listed(reader, agent_id="bob", active=True) == ["b3", "b2"]
    assert listed(reader, agent_id="ghost") == []


def test_how_a_reservation_ended_can_be_looked_at(desk, reader):
    released = desk.one(reserve("alice", "a"))
    lapsed = desk.one(reserve("alice", "b", ttl_s=60))
    back = desk.one(reserve("alice", "c", ttl_s=60))
    desk.clock.later(5)
    desk.one(release(released.reservation_id, "alice"))
    desk.clock.later(60)
    answer = desk.one(renew(back.reservation_id, "alice"))
    shown = reader.reservation(released.reservation_id)
    assert (shown.ended, shown.ended_at_us) == ("released", WALL + 5 * S)
    shown = reader.reservation(lapsed.reservation_id)
    assert (shown.ended, shown.ended_at_us) == ("expired", WALL + 65 * S)
    assert reader.reservation(back.reservation_id) == answer, "it is held again"


def test_the_log_is_read_in_order_and_in_pages(desk, reader):
    desk.register("alice")
    desk.one(reserve("alice", "a"))
    desk.one(reserve("alice", "b"))
    whole = reader.events(after=0, limit=10)
    assert [event.cursor for event in whole] == [1, 2, 3]
    assert [type(event.data) for event in whole] == [
        AgentRegistered,
        ReservationCreated,
        ReservationCreated,
    ]
    assert whole[1].actor == "alice"
    assert whole[1].type == "reservation.created"
    assert reader.events(after=1, limit=1) == whole[1:2]
    assert reader.events(after=3, limit=10) == []
    assert reader.events(after=NEWEST, limit=10) == []


def test_settings_are_read(desk, reader):
    assert reader.settings().case_sensitive is True
    desk.one(ConfigureProject(case_sensitive=False))
    assert reader.settings().case_sensitive is False
    desk.reopen()
    assert desk.state.case_sensitive is False
