"""What judges a server that was killed has to find what is wrong: here each thing is, in turn."""

import pytest
from msgspec.structs import replace

from intermute.domain.commands import SendMessage

from ..project.harness import TAG, Desk, log_of, release, reserve
from .ledger import Attempt, Ledger, judge_feed

PROJECT = "house"


@pytest.fixture
def log(tmp_path):
    """Two grants, of which the first is given back, and a message."""
    desk = Desk(tmp_path / "x.sqlite3")
    for agent, reason in (("ann", "one"), ("bea", "two")):
        desk.one(replace(reserve(agent, f"of {agent}"), reason=reason))
    first = log_of(desk.path)[0].data.reservation_id
    desk.one(release(first, "ann"))
    desk.one(SendMessage("ann", ("bea",), message_id="m", body="hello"))
    desk.close()
    return log_of(desk.path)


def attempt(status, *effects, **members):
    return Attempt(PROJECT, "POST", "/", None, "key", effects, status=status, **members)


def judged(log, *attempts):
    Ledger(list(attempts)).judge(PROJECT, log)


def test_what_is_as_it_was_answered_passes(log):
    first = log[0].data.reservation_id
    judged(
        log,
        attempt(201, ("taken", "one"), body={"id": first, "fencing_token": 1}, place=(1, 2)),
        attempt(200, ("released", first)),
        attempt(409, ("taken", "three")),
        attempt(0, ("taken", "two")),
        attempt(0, ("taken", "four")),
        attempt(0, ("taken", "two"), ("message.created", "m")),
    )
    judge_feed([(1, "reservation.created", first)], log)


@pytest.mark.parametrize(
    ("status", "effects", "why"),
    [
        (201, [("taken", "three")], "lost"),
        (200, [("taken", "one"), ("taken", "three")], "lost"),
        (409, [("taken", "one")], "refused, and done"),
        (0, [("taken", "one"), ("taken", "three")], "done by half"),
        (0, [("message.created", "m"), ("message.read", "m", "bea")], "done by half"),
    ],
)
def test_what_is_not_as_it_was_answered_is_found(log, status, effects, why):
    with pytest.raises(AssertionError, match=why):
        judged(log, attempt(status, *effects))


@pytest.mark.parametrize("status", [0, 201])
def test_what_was_done_twice_is_found(log, status):
    with pytest.raises(AssertionError, match=r"twice|by half"):
        judged([*log, log[0]], attempt(status, ("taken", "one")))


def test_a_token_that_is_not_its_place_in_the_log_is_found(log):
    body = {"id": log[0].data.reservation_id, "fencing_token": 2}
    with pytest.raises(AssertionError, match="another token"):
        judged(log, attempt(201, body=body, place=(1, 2)))


def test_a_token_that_does_not_grow_with_the_order_of_decisions_is_found(log):
    bodies = [{"id": log[at].data.reservation_id, "fencing_token": at + 1} for at in (0, 1)]
    late, early = (attempt(201, body=body, place=(1, 9 - at)) for at, body in enumerate(bodies))
    with pytest.raises(AssertionError, match="did not grow"):
        judged(log, late, early)


@pytest.mark.parametrize(
    ("places", "why"),
    [
        ([((1, 2), 1), ((1, 2), 1)], "in one place"),
        ([((1, 2), 1), ((1, 3), 2)], "the epoch stayed"),
        ([((2, 2), 1), ((1, 3), 2)], "the epoch stayed"),
    ],
)
def test_places_that_cannot_be_are_found(places, why):
    with pytest.raises(AssertionError, match=why):
        Ledger(places={PROJECT: places}).judge_places()


def test_a_heartbeat_that_was_lost_is_found(tmp_path):
    desk = Desk(tmp_path / f"{TAG}-house.sqlite3")
    agent_id = desk.register("ann")
    desk.close()
    Ledger(seen={agent_id: "2001-01-01T00:00:00Z"}).judge_presence(desk.path)
    with pytest.raises(AssertionError, match="seen later"):
        Ledger(seen={agent_id: "2099-01-01T00:00:00Z"}).judge_presence(desk.path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda seen: seen[1:],
        lambda seen: seen[:1] + seen[2:],
        lambda seen: seen[:2] + seen[1:],
        lambda seen: [seen[1], seen[0], *seen[2:]],
        lambda seen: [*seen, (len(seen) + 1, "message.created", "never committed")],
    ],
    ids=["no beginning", "gap", "twice", "order", "before its commit"],
)
def test_a_feed_that_tells_another_story_is_found(log, spoil):
    seen = [(event.cursor, event.type, event.data.entity_id) for event in log]
    judge_feed(seen, log)
    with pytest.raises(AssertionError, match="another story"):
        judge_feed(spoil(seen), log)
