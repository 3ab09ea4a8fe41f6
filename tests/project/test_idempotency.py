"""The same request asked again (docs/decisions/0006-idempotency.md)."""

import pytest

from intermute.domain import commands, limits
from intermute.domain.commands import AddContact, Caller, ExpireLeases, RegisterAgent, SetPolicy
from intermute.domain.events import TokenSet
from intermute.domain.refusals import Code
from intermute.project.messages import StorageUnavailable
from intermute.wire.problems import STATUSES

from ..faults.disk import faulty_disk
from .harness import (
    TTL_S,
    Desk,
    assert_consistent,
    opened,
    outcome,
    raw_log,
    refused,
    release,
    renew,
    reserve,
)


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path / "x.sqlite3")
    yield desk
    desk.close()


def remembered(path):
    with opened(path) as connection:
        return connection.execute("SELECT count(*) FROM requests").get


def test_the_same_key_gives_the_same_answer(desk):
    (first,) = desk.tell(desk.ask(reserve("alice", "src"), key="k"))
    log = raw_log(desk.path)
    desk.clock.later(60)
    (again,) = desk.tell(desk.ask(reserve("alice", "src"), key="k"))
    assert outcome(again) == outcome(first)
    assert (first.replayed, again.replayed) == (False, True)
    assert again.seq > first.seq, "it was decided anew, that the answer is the old one"
    assert raw_log(desk.path) == log, "nothing happened twice"
    assert len(desk.state.holdings) == 1


def test_the_same_key_twice_in_one_batch(desk):
    asks = [desk.ask(reserve("alice", "src"), key="k") for _ in range(3)]
    told = desk.tell(*asks)
    assert [one.replayed for one in told] == [False, True, True]
    assert len({outcome(one).reservation_id for one in told}) == 1
    assert len(raw_log(desk.path)) == 1


def test_the_same_key_for_a_request_of_another_kind_is_a_mistake(desk):
    """The answer that is kept is of another shape, and must not be read as the one asked for."""
    asked = [
        reserve("alice", "src"),
        RegisterAgent(b"a" * 32, name="alice"),
        commands.SendMessage("alice", ("bob",)),
        commands.CreateEntity("task", "t", "alice"),
        commands.DeleteEntity("task", "t", "alice"),
        commands.MarkMessages("alice", ("m",), "read"),
    ]
    for number, command in enumerate(asked):
        desk.tell(desk.ask(command, key=f"k{number}", body=str(number)))
        for other in asked:
            if other is not command:
                (told,) = desk.tell(desk.ask(other, key=f"k{number}", body="other"))
                assert refused(told) == "idempotency_key_reused"


def test_the_same_key_for_another_request_is_a_mistake(desk):
    desk.tell(desk.ask(reserve("alice", "src"), key="k", body="one"))
    (told,) = desk.tell(desk.ask(reserve("alice", "lib"), key="k", body="other"))
    assert refused(told) == Code.IDEMPOTENCY_KEY_REUSED
    assert STATUSES[Code.IDEMPOTENCY_KEY_REUSED][0] == 422
    assert not told.replayed
    assert len(desk.state.holdings) == 1
    (again,) = desk.tell(desk.ask(reserve("alice", "src"), key="k", body="one"))
    assert again.replayed, "and the first answer stays"


def test_a_refusal_is_not_remembered(desk):
    held = desk.one(reserve("bob", "src")).reservation_id
    asked = [desk.ask(reserve("alice", "src"), key="k") for _ in range(2)]
    assert refused(desk.tell(asked[0])[0]) == "reservation_conflict"
    assert remembered(desk.path) == 0
    desk.one(release(held, "bob"))
    (told,) = desk.tell(asked[1])
    assert outcome(told).agent_id == "alice"
    assert not told.replayed


def test_an_answer_without_events_is_remembered_too(desk):
    alice = desk.register("alice")
    desk.one(AddContact(alice, "bob"))
    for replayed in (False, True):
        (told,) = desk.tell(desk.ask(AddContact(alice, "bob"), key="k"))
        assert told.replayed is replayed
        assert outcome(told).contacts == ("bob",)


def test_a_registration_asked_for_again_is_the_same_agent_with_a_new_token(desk):
    one, two = b"1" * 32, b"2" * 32
    (first,) = desk.tell(desk.ask(RegisterAgent(one, name="Ada"), key="k"))
    (again,) = desk.tell(desk.ask(RegisterAgent(two, name="Ada"), key="k"))
    agent_id = outcome(first).agent_id
    assert outcome(again) == outcome(first)
    assert again.replayed
    assert len(desk.state.agents) == 1
    assert desk.state.agents[agent_id].token_hash == two
    (old,) = desk.tell(desk.ask(AddContact(agent_id, "x"), Caller(agent_id, one)))
    assert refused(old) == "agent_identity_mismatch"
    (new,) = desk.tell(desk.ask(AddContact(agent_id, "x"), Caller(agent_id, two)))
    assert outcome(new).contacts == ("x",)
    desk.reopen()
    assert desk.state.agents[agent_id].token_hash == two, "in the file, too"


def test_a_retry_survives_a_restart(desk, tmp_path):
    (first,) = desk.tell(desk.ask(reserve("alice", "src"), key="k"))
    desk.reopen()
    (again,) = desk.tell(desk.ask(reserve("alice", "src"), key="k"))
    assert again.replayed
    assert outcome(again) == outcome(first)
    assert again.epoch == first.epoch + 1
    assert_consistent(desk.path, tmp_path / "scratch.sqlite3", desk.state)


def test_the_answer_is_the_old_one_also_when_the_world_has_moved_on(desk):
    """The key says what came of the request, not how things stand."""
    (first,) = desk.tell(desk.ask(reserve("alice", "src"), key="k"))
    desk.one(release(outcome(first).reservation_id, "alice"))
    desk.one(reserve("bob", "src"))
    (again,) = desk.tell(desk.ask(reserve("alice", "src"), key="k"))
    assert outcome(again) == outcome(first)
    assert [r.agent_id for r in desk.state.holdings.by_id.values()] == ["bob"]


@pytest.mark.parametrize(
    ("who", "code"),
    [
        (Caller("alice", b"wrong" * 6), "agent_identity_mismatch"),
        (Caller("bob", None), "agent_identity_mismatch"),
    ],
)
def test_a_retry_must_come_from_whoever_may_ask(desk, who, code):
    """docs/decisions/0007: a token that is presented must be right, always and everywhere."""
    alice = desk.register("alice")
    who = Caller(alice if who.agent_id == "alice" else who.agent_id, who.token_hash)
    desk.tell(desk.ask(SetPolicy(alice, "auto"), key="k"))
    (told,) = desk.tell(desk.ask(SetPolicy(alice, "auto"), who, key="k"))
    assert refused(told) == code


def test_a_retry_of_an_agent_that_keeps_its_token_needs_the_token(desk):
    alice = desk.register("alice")
    token = b"alice".ljust(32)
    desk.tell(desk.ask(SetPolicy(alice, "auto"), Caller(alice, token), key="k"))
    (told,) = desk.tell(desk.ask(SetPolicy(alice, "auto"), key="k"))
    assert refused(told) == "agent_token_required"
    (told,) = desk.tell(desk.ask(SetPolicy(alice, "auto"), Caller(alice, token), key="k"))
    assert told.replayed


def test_a_lost_answer_to_a_return_can_be_asked_for_with_the_old_token(desk):
    """The first answer held the new token and was lost; the old one is all that the agent has."""
    alice = desk.register("alice")
    session_id = desk.state.agents[alice].session_id
    old = Caller(alice, b"alice".ljust(32))
    desk.tell(desk.ask(RegisterAgent(b"2" * 32, session_id=session_id), old, key="k"))
    (told,) = desk.tell(desk.ask(RegisterAgent(b"3" * 32, session_id=session_id), old, key="k"))
    assert told.replayed
    assert outcome(told).agent_id == alice
    assert desk.state.agents[alice].token_hash == b"3" * 32


def credentials(path):
    with opened(path) as connection:
        return list(connection.execute("SELECT agent_id, token_hash, bound FROM credentials"))


def test_a_registration_asked_for_again_does_not_unlock_a_retired_agent(desk):
    """Nobody acts in the name of an agent that was held to its token when it retired."""
    token, other = b"1" * 32, b"2" * 32
    agent_id = desk.one(RegisterAgent(token, name="Ada"), key="k").agent_id
    desk.one(commands.RetireAgent(agent_id), Caller(agent_id, token))
    (again,) = desk.tell(desk.ask(RegisterAgent(other, name="Ada"), key="k"))
    assert refused(again) == "agent_not_found"
    assert credentials(desk.path) == [(agent_id, token, 1)]
    assert refused(desk.one(reserve(agent_id, "src"))) == "agent_token_required"


def test_a_retired_agents_credential_is_written_by_nothing(desk):
    agent_id = desk.register("alice")
    desk.one(commands.RetireAgent(agent_id))
    before = credentials(desk.path)
    desk.writer.begin()
    desk.writer.note(TokenSet(agent_id, b"2" * 32))
    desk.writer.commit()
    assert credentials(desk.path) == before != []


def test_a_retirement_can_be_asked_for_again_with_the_token_that_it_ended(desk):
    alice = desk.register("alice")
    retire = commands.RetireAgent(alice)
    own = Caller(alice, b"alice".ljust(32))
    first, again = [desk.tell(desk.ask(retire, own, key="k"))[0] for _ in "ab"]
    assert (first.replayed, again.replayed) == (False, True)
    assert outcome(again) == outcome(first)
    (told,) = desk.tell(desk.ask(retire, own, key="k", body="another token"))
    assert refused(told) == "agent_identity_mismatch"
    for who in (Caller(), Caller(alice)):
        assert refused(desk.tell(desk.ask(retire, who, key="k"))[0]) == "agent_token_required"
    stranger = Caller("bob", own.token_hash)
    assert refused(desk.tell(desk.ask(retire, stranger, key="k"))[0]) == "agent_identity_mismatch"


def test_a_commit_that_failed_is_not_remembered(tmp_path):
    with faulty_disk() as disk:
        desk = Desk(tmp_path / "x.sqlite3")
        disk.arm(1, only=("sync",))
        (told,) = desk.tell(desk.ask(reserve("alice", "src"), key="k"))
        disk.disarm()
        assert isinstance(told, StorageUnavailable)
        (told,) = desk.tell(desk.ask(reserve("alice", "src"), key="k"))
        assert not told.replayed
        assert len(desk.state.holdings) == 1
        desk.close()


def test_answers_are_kept_for_a_day_and_then_purged(desk):
    desk.tell(desk.ask(reserve("alice", "src"), key="k"))
    desk.clock.later(24 * 3600)
    desk.tell(ExpireLeases())
    (told,) = desk.tell(desk.ask(reserve("alice", "src"), key="k"))
    assert told.replayed, "at least 24 hours"
    desk.clock.later(3600 + 1)
    desk.tell(ExpireLeases())
    assert remembered(desk.path) == 0


def test_a_kept_answer_of_every_kind_can_be_read_again(desk):
    alice = desk.register("alice")
    held = desk.one(reserve(alice, "src")).reservation_id
    asked = [
        commands.Heartbeat(alice, "thinking"),
        commands.MergeMetadata(alice, {"k": "v", "gone": None}),
        commands.SetPolicy(alice, "auto"),
        commands.AddContact(alice, "bob"),
        commands.RemoveContact(alice, "bob"),
        reserve(alice, "lib", "docs", ttl_s=TTL_S),
        renew(held, alice),
        release(held, alice),
        commands.RetireAgent(alice),
        commands.ConfigureProject(case_sensitive=False),
        RegisterAgent(b"9" * 32, name="new"),
    ]
    for place, command in enumerate(asked):
        (first,) = desk.tell(desk.ask(command, key=f"k{place}"))
        (again,) = desk.tell(desk.ask(command, key=f"k{place}"))
        assert again.replayed, command.kind
        assert outcome(again) == outcome(first), command.kind


def test_purging_keeps_up_with_what_is_remembered(desk):
    """The table is bounded by a day of requests, so a sweep comes again until all old are gone."""
    rows = 2 * limits.IDEMPOTENCY_PURGE_ROWS_MAX + 500
    with opened(desk.path) as connection:
        connection.execute("BEGIN")
        for i in range(rows):
            connection.execute(
                "INSERT INTO requests VALUES (?, x'00', '{}', ?)", (i.to_bytes(16), i)
            )
        connection.execute("COMMIT")
    for _ in range(600):
        desk.clock.later(1)
        due = desk.actor.sweep()
        if due is not None:
            desk.tell(due)
    assert remembered(desk.path) == 0
