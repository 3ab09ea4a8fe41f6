"""Deadlocks: circles found when they would close, and none that is not there."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intermute.domain import limits
from intermute.domain.commands import HandOver, QueuePaths
from intermute.domain.decision import Accepted
from intermute.domain.events import ReservationReleased
from intermute.domain.modes import Mode
from intermute.domain.refusals import Code, Refusal

from ..effort import effort
from ..properties.oracle import GET_ON
from .table import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    ask,
    carry_out,
    held,
    registered,
    state_of,
    waits,
)

GRAPHS = effort(2_500, 20_000)


def want(agent_id, *patterns, mode=Mode.EXCLUSIVE):
    return QueuePaths(agent_id, patterns, mode, ttl_ms=60_000, wait_ms=60_000, held_open=True)


def ring_of(size):
    """Agents that hold one path each, and all but the last wait for the next one's."""
    names = [f"a{n}" for n in range(size)]
    given = [registered(name, name=name.upper()) for name in names]
    given += [held(f"r{n}", name, f"dir{n}") for n, name in enumerate(names)]
    given += [waits(f"t{n}", name, f"dir{n + 1}/x") for n, name in enumerate(names[:-1])]
    return names, given


@pytest.mark.parametrize("size", range(2, 9))
def test_a_ring_is_found_when_it_would_close(size):
    names, items = ring_of(size)
    state = state_of(items)
    refusal = ask(state, want(names[-1], "dir0/x"))
    assert refusal.code is Code.DEADLOCK
    assert [one["agent_id"] for one in refusal.data["cycle"]] == [names[-1], *names[:-1]]
    assert [one["name"] for one in refusal.data["cycle"]] == [
        name.upper() for name in (names[-1], *names[:-1])
    ]
    told = " -> ".join(name.upper() for name in (names[-1], *names[:-1], names[-1]))
    assert told in refusal.detail
    way_out = refusal.data["way_out"]
    assert way_out == {
        "agent_id": names[-1],
        "reservation_id": f"r{size - 1}",
        "patterns": [f"dir{size - 1}"],
    }, "the youngest reservation, on which the least work rests"
    assert f"r{size - 1}" in refusal.detail
    assert len(state.line) == size - 1, "nothing was changed"


@pytest.mark.parametrize("size", range(2, 9))
def test_what_does_not_close_the_ring_is_waited_for(size):
    names, items = ring_of(size)
    state = state_of(items)
    assert isinstance(ask(state, want(names[-1], "elsewhere")), Accepted)
    assert isinstance(ask(state, want("newcomer", "dir0", f"dir{size - 1}")), Accepted)


@pytest.mark.parametrize("size", range(2, 9))
def test_the_ring_is_open_once_somebody_leaves_it(size):
    names, items = ring_of(size)
    state = state_of([*items, ReservationReleased("r0", names[0], "holder", fencing_token=1)])
    assert isinstance(ask(state, want(names[-1], "dir0/x")), Accepted)


def test_many_who_wait_for_one_are_no_circle():
    given = [held("r", ALICE, "src")]
    state = state_of(given)
    for name in (BOB, CAROL, DAVE):
        decision = ask(state, want(name, "src/x"), entropy=len(state.line) + 1)
        carry_out(state, decision)
    assert len(state.line) == 3


def test_two_ways_to_the_same_one_are_no_circle():
    """A diamond: Dave waits for Bob and Carol, and both wait for Alice."""
    state = state_of(
        [
            held("r1", ALICE, "a"),
            held("r2", BOB, "b"),
            held("r3", CAROL, "c"),
            waits("t1", BOB, "a", held_open=True),
            waits("t2", CAROL, "a", held_open=True),
        ]
    )
    assert isinstance(ask(state, want(DAVE, "b", "c")), Accepted)


def test_two_who_want_to_write_what_both_read():
    given = [
        held("r1", ALICE, "src", mode=Mode.SHARED),
        held("r2", BOB, "src", mode=Mode.SHARED),
        waits("t", ALICE, "src", held_open=True),
    ]
    refusal = ask(state_of(given), want(BOB, "src"))
    assert refusal.code is Code.DEADLOCK


def test_waiting_behind_a_ticket_can_close_a_circle():
    """Alice's ticket is in Bob's way though it holds nothing."""
    given = [
        held("r1", CAROL, "x"),
        held("r2", BOB, "b"),
        waits("t", ALICE, "x", "a", held_open=True),
        waits("t2", BOB, "a", held_open=True),
    ]
    refusal = ask(state_of(given), want(ALICE, "b"))
    assert refusal.code is Code.DEADLOCK
    assert [one["agent_id"] for one in refusal.data["cycle"]] == [ALICE, BOB]


def test_the_shortest_circle_is_told():
    given = [
        held("r0", ALICE, "a"),
        held("r1", BOB, "b"),
        held("r2", CAROL, "c"),
        waits("t1", BOB, "c", held_open=True),
        waits("t2", CAROL, "a", held_open=True),
        waits("t3", BOB, "a", held_open=True),
    ]
    refusal = ask(state_of(given), want(ALICE, "b"))
    assert [one["agent_id"] for one in refusal.data["cycle"]] == [ALICE, BOB]


def test_no_way_out_is_told_that_would_not_be_one():
    """Bob is waited for twice over, so that releasing one of the two would open nothing."""
    given = [
        held("r0", ALICE, "a/1"),
        held("r1", ALICE, "a/2"),
        held("r2", BOB, "b/1"),
        held("r3", BOB, "b/2"),
        waits("t", ALICE, "b", held_open=True),
    ]
    refusal = ask(state_of(given), want(BOB, "a"))
    assert refusal.data["way_out"] is None
    assert "somebody in the circle" in refusal.detail.lower()


def test_handing_over_closes_no_circle():
    """Bob would pass Carol, who then waits for him, while he waits for her elsewhere."""
    given = [
        *(registered(name) for name in (ALICE, BOB, CAROL)),
        held("r", ALICE, "src"),
        held("r2", CAROL, "lib"),
        waits("t1", CAROL, "src"),
        waits("t2", BOB, "src"),
    ]
    assert isinstance(ask(state_of(given), HandOver("r", BOB, ALICE)), Accepted)
    state = state_of([*given, waits("t3", BOB, "lib")])
    refusal = ask(state, HandOver("r", BOB, ALICE))
    assert refusal.code is Code.DEADLOCK
    assert [one["agent_id"] for one in refusal.data["cycle"]] == [BOB, CAROL]


def test_a_long_line_for_one_path_is_looked_through_once(monkeypatch):
    """Everybody waits for everybody ahead, so the graph is far larger than the line is long."""
    monkeypatch.setattr(limits, "DEADLOCK_CLAIMS_MAX", 900)
    given = [held("r", ALICE, "src"), held("b", BOB, "lib")]
    given += [waits(f"t{n}", f"w{n}", "src", held_open=True) for n in range(300)]
    state = state_of(given)
    assert isinstance(ask(state, want(BOB, "src")), Accepted)
    assert isinstance(ask(state, want("newcomer", "src")), Accepted)
    refusal = ask(state_of([*given, waits("back", ALICE, "lib", held_open=True)]), want(BOB, "src"))
    assert [one["agent_id"] for one in refusal.data["cycle"]] == [BOB, ALICE]


def test_more_than_is_looked_through_is_not_waited_for(monkeypatch):
    """Whether it closes a circle is not known, so it is refused."""
    names, items = ring_of(6)
    state = state_of(items)
    assert isinstance(ask(state, want(names[0], "dir1", "dir2")), Accepted)
    monkeypatch.setattr(limits, "DEADLOCK_CLAIMS_MAX", 3)
    assert ask(state, want(names[0], "dir1", "dir2")).code is Code.LIMIT_REACHED


# -- Against a search that knows nothing of how it is done


class Sketch:
    """Who holds and wants which of a few paths, as sets, and a search through all of it."""

    def __init__(self):
        self.held = []
        self.line = []

    @staticmethod
    def stops(one, other):
        differ = one[0] != other[0] and not GET_ON[one[2], other[2]]
        return differ and not one[1].isdisjoint(other[1])

    def waits_for(self, claim, ahead):
        return {other[0] for other in (*self.held, *ahead) if self.stops(other, claim)}

    def edges(self):
        found = {}
        for place, ticket in enumerate(self.line):
            found.setdefault(ticket[0], set()).update(self.waits_for(ticket, self.line[:place]))
        return found

    def closes(self, claim):
        """The length of the shortest circle through the new wait, None when there is none."""
        edges = self.edges()
        reached = dict.fromkeys(self.waits_for(claim, self.line), 2)
        for length in range(2, 99):
            for agent_id in [agent for agent, steps in reached.items() if steps == length]:
                for other in edges.get(agent_id, ()):
                    if other == claim[0]:
                        return length
                    reached.setdefault(other, length + 1)
        return None


def compare(asked):
    """Let agents ask one after the other; every answer is that of the search. How many of each."""
    state = state_of()
    sketch = Sketch()
    refused = waited = 0
    for number, (agent_id, paths, mode) in enumerate(asked):
        claim = (agent_id, frozenset(paths), mode)
        if any(claim == other for other in (*sketch.held, *sketch.line)):
            continue
        decision = ask(state, want(agent_id, *sorted(paths), mode=mode), entropy=number)
        if not sketch.waits_for(claim, sketch.line):
            assert decision.answer.reservation is not None
            sketch.held.append(claim)
            carry_out(state, decision)
            continue
        length = sketch.closes(claim)
        assert isinstance(decision, Refusal) is (length is not None), (asked, number)
        if isinstance(decision, Refusal):
            refused += 1
            assert decision.code is Code.DEADLOCK
            circle = [one["agent_id"] for one in decision.data["cycle"]]
            assert len(circle) == length, "a shortest one"
            assert circle[0] == agent_id
            edges = sketch.edges()
            edges.setdefault(agent_id, set()).update(sketch.waits_for(claim, sketch.line))
            for one, other in zip(circle, (*circle[1:], agent_id), strict=True):
                assert other in edges[one], "each waits for the next"
        else:
            waited += 1
            sketch.line.append(claim)
            carry_out(state, decision)
    return refused, waited


def random_graph(dice):
    agents = [f"a{n}" for n in range(dice.randrange(2, 7))]
    paths = [f"p{n}" for n in range(dice.randrange(2, 7))]
    modes = dice.choice(((Mode.EXCLUSIVE,), tuple(Mode)))
    for _ in range(dice.randrange(4, 12)):
        count = dice.choice((1, 1, 2))
        yield dice.choice(agents), dice.sample(paths, count), dice.choice(modes)


def test_random_graphs_have_no_false_circle_and_none_is_missed():
    dice = random.Random(1976)
    refused = waited = 0
    for _ in range(GRAPHS):
        counts = compare(list(random_graph(dice)))
        refused += counts[0]
        waited += counts[1]
    assert min(refused, waited) > GRAPHS / 2, "both are common among them"


claims = st.tuples(
    st.sampled_from([f"a{n}" for n in range(5)]),
    st.sets(st.sampled_from([f"p{n}" for n in range(5)]), min_size=1, max_size=2).map(sorted),
    st.sampled_from(list(Mode)),
)


@settings(deadline=None, max_examples=200, derandomize=True, database=None)
@given(st.lists(claims, max_size=14))
def test_any_asking_is_answered_as_the_search_answers(asked):
    compare(asked)
