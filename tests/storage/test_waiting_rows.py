"""What the rows tell of tickets, of narrowed reservations and of fencing tokens."""

import pytest

from intermute.domain import limits
from intermute.domain.commands import (
    CancelTicket,
    CheckFence,
    CheckPaths,
    ConfirmGrant,
    ExpireLeases,
    NarrowReservation,
    QueuePaths,
    RetireAgent,
)
from intermute.domain.modes import Mode
from intermute.storage.reader import Reader

from ..project.harness import Desk, assert_consistent, outcome, refused, release, reserve


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path / "x.sqlite3")
    desk.names = [desk.register(name) for name in ("alice", "bob", "carol")]
    yield desk
    assert_consistent(desk.path, tmp_path / "scratch.sqlite3", desk.state)
    desk.close()


@pytest.fixture
def reader(desk):
    reader = Reader.open(desk.path)
    yield reader
    reader.close()


def queue(desk, agent_id, *patterns, wait_ms=3_600_000, held_open=False):
    command = QueuePaths(
        agent_id,
        patterns,
        Mode.EXCLUSIVE,
        "why",
        ttl_ms=600_000,
        wait_ms=wait_ms,
        held_open=held_open,
    )
    return desk.one(command).ticket.ticket_id


def stood(reader, ticket_id):
    ticket = reader.ticket(ticket_id)
    return ticket.ended, ticket.reservation_id is not None


def test_what_becomes_of_a_ticket(desk, reader):
    alice, bob, _ = desk.names
    held = desk.one(reserve(alice, "src")).reservation_id
    ticket_id = queue(desk, bob, "src")
    assert stood(reader, ticket_id) == (None, False)
    assert [ticket.ticket_id for ticket in reader.tickets(agent_id=bob, after=0, limit=9)] == [
        ticket_id
    ]
    assert reader.tickets(agent_id=alice, after=0, limit=9) == []
    desk.one(release(held, alice))
    assert stood(reader, ticket_id) == ("granted", True)
    assert reader.reservation(reader.ticket(ticket_id).reservation_id).ticket_id == ticket_id
    desk.one(ConfirmGrant(ticket_id, bob))
    assert stood(reader, ticket_id) == ("confirmed", True)
    desk.one(release(reader.ticket(ticket_id).reservation_id, bob))
    assert stood(reader, ticket_id) == ("confirmed", True), "what follows is the reservation's"
    assert reader.tickets(agent_id=None, after=0, limit=9) == []


@pytest.mark.parametrize("granted", [False, True])
@pytest.mark.parametrize("how", ["cancel", "retire", "lapse"])
def test_how_a_ticket_ends_otherwise(desk, reader, granted, how):
    alice, bob, _ = desk.names
    held = desk.one(reserve(alice, "src", ttl_s=86_000)).reservation_id
    ticket_id = queue(desk, bob, "src", wait_ms=60_000)
    if granted:
        desk.one(release(held, alice))
    if how == "lapse":
        desk.clock.later(60)
        desk.one(ExpireLeases())
    else:
        desk.one(CancelTicket(ticket_id, bob) if how == "cancel" else RetireAgent(bob))
    assert stood(reader, ticket_id) == ("skipped" if how == "lapse" else "cancelled", granted)


def test_asking_again_changes_the_row_and_keeps_its_cursor(desk, reader):
    alice, bob, _ = desk.names
    desk.one(reserve(alice, "src"))
    ticket_id = queue(desk, bob, "src", wait_ms=60_000, held_open=True)
    before = reader.ticket(ticket_id)
    desk.clock.later(30)
    assert queue(desk, bob, "src", wait_ms=90_000) == ticket_id
    after = reader.ticket(ticket_id)
    assert (after.cursor, after.created_at_us) == (before.cursor, before.created_at_us)
    assert after.wait_until_us == before.wait_until_us + 60_000_000
    assert (before.held_open, after.held_open) == (True, False)


def test_a_narrowed_reservation_is_shown_as_it_is_and_fenced_as_it_was_granted(desk, reader):
    alice, bob, _ = desk.names
    first = desk.one(reserve(alice, "src"))
    desk.one(release(first.reservation_id, alice))
    later = desk.one(reserve(bob, "src", "lib"))
    desk.one(NarrowReservation(later.reservation_id, ("lib",), bob))
    assert reader.reservation(later.reservation_id).patterns == ("lib",)
    desk.reopen()
    assert desk.state.holdings.by_id[later.reservation_id].patterns == ("lib",)
    fence = desk.one(CheckFence(first.cursor))
    assert (fence.status, fence.superseded_by.fencing_token) == ("superseded", later.cursor)
    (told,) = desk.tell(CheckPaths(("x",), fencing_token=first.cursor))
    assert refused(told) == "stale_token"


def test_only_so_many_grants_are_looked_through(desk, monkeypatch):
    alice, bob, _ = desk.names
    first = desk.one(reserve(alice, "src"))
    desk.one(release(first.reservation_id, alice))
    for number in range(4):
        desk.one(reserve(bob, f"lib/{number}"))
    desk.one(reserve(bob, "src"))
    assert outcome(desk.tell(CheckFence(first.cursor))[0]).status == "superseded"
    monkeypatch.setattr(limits, "FENCE_GRANTS_MAX", 4)
    assert outcome(desk.tell(CheckFence(first.cursor))[0]).status == "outdated"
    monkeypatch.setattr(limits, "FENCE_GRANTS_MAX", 5)
    assert outcome(desk.tell(CheckFence(first.cursor))[0]).status == "superseded"
