"""Calls that end without an answer, among others of the same agent, in every order of the actor."""

from itertools import permutations

import pytest
import trio

from actors import Overloaded
from intermute.domain.commands import (
    CancelTicket,
    ConfirmGrant,
    DescribeTicket,
    HangUp,
    NarrowReservation,
    QueuePaths,
)
from intermute.domain.modes import Mode
from intermute.project.directory import Asked
from intermute.project.messages import StorageUnavailable

from ..faults.disk import faulty_disk
from .harness import (
    NOBODY,
    TTL_S,
    Desk,
    TrioClock,
    check,
    outcome,
    refused,
    release,
    renew,
    reserve,
    running,
)


@pytest.fixture
def desk(tmp_path):
    found = Desk(tmp_path / "x.sqlite3")
    yield found
    found.close()


class Line:
    """Ada holds what bob waits for on the line, by call 1; eve comes later."""

    def __init__(self, desk, *, on_line, key=None):
        self.desk = desk
        desk.actor._on_line = lambda _: on_line
        self.bob = desk.register("Bob")
        self.held = desk.one(reserve("ada", "src")).reservation_id
        answer = desk.one(self.ask(1), key=key)
        self.ticket_id = answer.ticket.ticket_id

    def hang_up(self, call, *, keeps_grant=False):
        return HangUp(self.ticket_id, call, keeps_grant)

    def confirm(self, *, for_call):
        return ConfirmGrant(self.ticket_id, self.bob, for_call)

    def ask(self, call):
        return waiting(self.bob, held_open=True, call=call)

    @property
    def waits(self):
        return self.ticket_id in self.desk.state.line.by_id

    @property
    def holder(self):
        """Who has the paths, as somebody else sees it who asks for them."""
        answer = self.desk.one(reserve("eve", "src"))
        if hasattr(answer, "agent_id"):
            return answer.agent_id
        return answer.data["conflicts"][0].agent_id


def waiting(agent_id, **how):
    ttl_ms = TTL_S * 1000
    return QueuePaths(agent_id, ("src",), Mode.EXCLUSIVE, "", ttl_ms, wait_ms=60_000, **how)


def each_by_itself(desk, commands):
    return [desk.tell(one)[0] for one in commands]


def together(desk, commands):
    return desk.tell(*commands)


hows = pytest.mark.parametrize("how", [each_by_itself, together])
lines = pytest.mark.parametrize("on_line", [True, False], ids=["taken up", "not taken up"])


@hows
@lines
@pytest.mark.parametrize("order", [*permutations(("ask", "release", "hang up"))], ids="-".join)
def test_a_retry_has_what_the_call_before_it_was_granted(desk, how, on_line, order):
    """Whoever is told of a lease has it, and whoever is told of a ticket keeps the place."""
    line = Line(desk, on_line=on_line)
    desk.clock.later(1)
    steps = {"ask": line.ask(2), "release": release(line.held, "ada"), "hang up": line.hang_up(1)}
    told = dict(zip(order, how(desk, [steps[each] for each in order]), strict=True))
    answer = outcome(told["ask"])
    if answer.reservation is None:
        if order.index("ask") < order.index("hang up"):
            assert answer.ticket.ticket_id == line.ticket_id
        line.ticket_id = answer.ticket.ticket_id
        if line.waits:
            desk.one(release(line.held, "ada"))
        desk.one(line.confirm(for_call=True))
    assert line.holder == line.bob
    desk.one(line.hang_up(1))
    assert line.holder == line.bob, "a call hangs up once"


@hows
@lines
@pytest.mark.parametrize("granted_first", [True, False])
def test_so_has_one_with_the_same_key(desk, how, on_line, granted_first):
    line = Line(desk, on_line=on_line, key="k")
    again, freed = desk.ask(line.ask(2), key="k"), release(line.held, "ada")
    first = [freed, again] if granted_first else [again, freed]
    how(desk, [*first, line.hang_up(1)])
    assert desk.one(line.confirm(for_call=True)).agent_id == line.bob
    assert line.holder == line.bob
    desk.one(line.hang_up(2))
    assert line.holder == "eve"


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_the_place_goes_with_the_last_who_asks_for_it(desk, order):
    line = Line(desk, on_line=False)
    first, last = order
    desk.tell(line.ask(2), line.hang_up(first))
    assert line.waits
    desk.one(line.hang_up(last))
    assert not line.waits


@lines
@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_so_does_the_grant(desk, on_line, order):
    line = Line(desk, on_line=on_line)
    desk.tell(line.ask(2), release(line.held, "ada"), line.hang_up(order[0]))
    assert line.holder == line.bob
    desk.one(line.hang_up(order[1]))
    assert line.holder == "eve"


@lines
def test_what_is_given_back_goes_to_the_next_in_line(desk, on_line):
    line = Line(desk, on_line=on_line)
    eve = desk.register("Eve")
    desk.one(waiting(eve))
    desk.tell(release(line.held, "ada"), line.hang_up(1))
    (holder,) = desk.state.holdings.by_agent
    assert holder == eve


def own_ways(line):
    (key,) = line.desk.state.holdings.by_id
    return {
        "reserve": reserve(line.bob, "src"),
        "reserve for less": reserve(line.bob, "src", ttl_s=1),
        "renew": renew(key, line.bob),
        "confirm": line.confirm(for_call=False),
        "narrow": NarrowReservation(key, ("src/a",), line.bob),
        "narrow to the same": NarrowReservation(key, ("src",), line.bob),
        "queue": waiting(line.bob),
    }


@lines
@pytest.mark.parametrize(
    "way",
    ["reserve", "reserve for less", "renew", "confirm", "narrow", "narrow to the same", "queue"],
)
def test_what_the_agent_asks_for_itself_no_call_takes_away(desk, on_line, way):
    line = Line(desk, on_line=on_line)
    desk.one(release(line.held, "ada"))
    desk.tell(own_ways(line)[way], line.hang_up(1))
    assert line.holder == line.bob


@lines
@pytest.mark.parametrize("first", [True, False])
def test_a_ticket_that_needs_no_call_stays(desk, on_line, first):
    """Whether the agent has asked for it before the call or after."""
    line = Line(desk, on_line=on_line)
    if first:
        desk.one(line.hang_up(1))
    line.ticket_id = desk.one(waiting(line.bob)).ticket.ticket_id
    desk.tell(line.ask(2), line.hang_up(1), line.hang_up(2))
    assert line.waits
    desk.tell(line.ask(3), release(line.held, "ada"), line.hang_up(3))
    assert line.holder == line.bob


@lines
def test_whose_time_is_over_keeps_what_it_is_answered(desk, on_line):
    line = Line(desk, on_line=on_line)
    desk.tell(
        release(line.held, "ada"),
        line.confirm(for_call=True),
        DescribeTicket(line.ticket_id),
        line.hang_up(1, keeps_grant=True),
    )
    assert line.holder == line.bob
    desk.one(line.hang_up(1))
    assert line.holder == "eve", "nobody heard the answer"


def test_the_agent_cancels_for_all_of_its_calls(desk):
    line = Line(desk, on_line=False)
    desk.tell(line.ask(2), CancelTicket(line.ticket_id, line.bob))
    assert not line.waits
    for call in (1, 2):
        assert desk.one(line.hang_up(call)) is None


@lines
def test_a_commit_that_fails_does_not_forget_who_is_on_the_line(tmp_path, on_line):
    with faulty_disk() as disk:
        desk = Desk(tmp_path / "x.sqlite3")
        try:
            line = Line(desk, on_line=on_line)
            desk.tell(line.ask(2))
            for _ in range(2):
                disk.arm(1, only=("sync",))
                told = desk.tell(line.hang_up(1), line.hang_up(2), release(line.held, "ada"))
                disk.disarm()
                assert all(isinstance(one, StorageUnavailable) for one in told)
                desk.breaker.succeeded()
                assert line.waits
            desk.one(line.hang_up(1))
            desk.one(release(line.held, "ada"))
            assert line.holder == line.bob
            desk.one(line.hang_up(2))
            assert line.holder == "eve"
        finally:
            desk.close()


def test_a_restart_ends_the_wait_and_leaves_the_lease(desk):
    line = Line(desk, on_line=True)
    desk.reopen()
    assert not line.waits
    desk.actor._on_line = lambda _: True
    line.ticket_id = desk.one(line.ask(2)).ticket.ticket_id
    desk.one(release(line.held, "ada"))
    desk.reopen()
    desk.one(line.hang_up(2))
    assert line.holder == line.bob, "the number of a call means nothing to another process"


async def test_those_who_leave_while_the_mailbox_is_full_are_told_of_later(
    tmp_path, autojump_clock
):
    async with running(tmp_path, mailbox_len_max=4, clock=TrioClock()) as projects:
        held = outcome(await projects.ask("house", reserve("ada", "src"), NOBODY)).reservation_id
        for call in range(1, 4):
            queued = waiting(f"bob{call}", held_open=True, call=call)
            ticket = outcome(await projects.ask("house", queued, NOBODY)).ticket
            for _ in range(4):
                projects.send("house", [Asked(check("x"), NOBODY)])
            with pytest.raises(Overloaded):
                projects.send("house", [Asked(check("x"), NOBODY)])
            projects.hang_up("house", HangUp(ticket.ticket_id, call))
            await trio.sleep(10)
            described = await projects.ask("house", DescribeTicket(ticket.ticket_id), NOBODY)
            assert refused(described) == "ticket_not_found"
        await projects.ask("house", release(held, "ada"), NOBODY)
        assert outcome(await projects.ask("house", reserve("eve", "src"), NOBODY)).agent_id == "eve"
