"""Open calls hear what becomes of their tickets, and of nothing else."""

import pytest
import trio

from intermute.domain.decision import Accepted
from intermute.domain.events import (
    Event,
    ReservationCancelled,
    ReservationGranted,
    ReservationQueued,
    ReservationSkipped,
)
from intermute.domain.modes import Mode
from intermute.project.feeds import Published
from intermute.project.messages import Told
from intermute.project.waiting import HungUp, OpenCalls

TAG = "t"


def queued(ticket_id: str, *, held_open: bool = True) -> ReservationQueued:
    return ReservationQueued(
        ticket_id, "a", ("src",), Mode.EXCLUSIVE, "", 1000, False, held_open, 10
    )


def granted(ticket_id: str) -> ReservationGranted:
    return ReservationGranted(ticket_id, "a", f"r-{ticket_id}", ("src",), Mode.EXCLUSIVE, 1, 10)


def skipped(ticket_id: str) -> ReservationSkipped:
    return ReservationSkipped(ticket_id, "a", ("src",), "gone")


def publish(calls: OpenCalls, *happened, taken_up: Told | None = None, tag: str = TAG) -> None:
    calls.publish(
        tag, [Published(Event(n, n, None, data), 0, taken_up) for n, data in enumerate(happened, 1)]
    )


TAKEN_UP = Told(1, 1, Accepted(None))


async def heard(line):
    with trio.fail_after(5):
        return await line.hear()


async def silent(line) -> bool:
    with trio.move_on_after(0) as scope:
        await line.hear()
    return scope.cancelled_caught


async def test_a_call_hears_of_its_own_ticket_only():
    calls = OpenCalls()
    publish(calls, queued("t1"), queued("t2"))
    with calls.join(TAG, "t1") as one, calls.join(TAG, "t2") as two:
        assert one.sure
        assert len(calls) == 2
        publish(calls, granted("t1"), tag="other")
        assert await silent(one)
        publish(calls, granted("t1"))
        word = await heard(one)
        assert word.event == granted("t1")
        assert word.taken_up is None
        assert await silent(two)
    assert len(calls) == 0


async def test_what_ended_before_is_to_be_looked_up():
    calls = OpenCalls()
    publish(calls, queued("t1"), skipped("t1"))
    publish(calls, queued("t2", held_open=False))
    for ticket_id in ("t1", "t2", "never"):
        with calls.join(TAG, ticket_id) as line:
            assert not line.sure


async def test_the_first_end_counts():
    calls = OpenCalls()
    publish(calls, queued("t1"))
    with calls.join(TAG, "t1") as line:
        publish(calls, granted("t1"), taken_up=TAKEN_UP)
        publish(calls, skipped("t1"), ReservationCancelled("t1", "a", "waiter"))
        word = await heard(line)
        assert word.event == granted("t1")
        assert word.taken_up is TAKEN_UP


async def test_all_calls_for_a_ticket_hear():
    calls = OpenCalls()
    publish(calls, queued("t1"))
    with calls.join(TAG, "t1") as one, calls.join(TAG, "t1") as two:
        publish(calls, skipped("t1"))
        assert (await heard(one)) == (await heard(two))


def test_each_call_has_a_number_of_its_own():
    calls = OpenCalls()
    assert len({calls.next_number() for _ in range(3)}) == 3


async def test_calls_look_again_as_often_as_they_are_told():
    calls = OpenCalls()
    publish(calls, queued("t1"))
    with calls.join(TAG, "t1") as line:
        for _ in range(2):
            calls.look_again(TAG)
            assert await heard(line) is None
            assert await silent(line)
        publish(calls, skipped("t1"))
        assert (await heard(line)).event == skipped("t1")
    with calls.join(TAG, "t1") as late:
        assert not late.sure
    calls.look_again("other")


async def test_those_on_the_line_are_known_to_the_actor():
    calls = OpenCalls()
    assert not calls.are_on_line(TAG, "t1")
    publish(calls, queued("t1"))
    assert not calls.are_on_line(TAG, "t1")
    with calls.join(TAG, "t1"):
        assert calls.are_on_line(TAG, "t1")
        assert not calls.are_on_line(TAG, "t2")
        assert not calls.are_on_line("other", "t1")
    assert not calls.are_on_line(TAG, "t1")


async def test_what_has_ended_is_forgotten():
    calls = OpenCalls()
    publish(calls, queued("t1"))
    with calls.join(TAG, "t1"):
        pass
    publish(calls, ReservationCancelled("t1", "a", "waiter"))
    assert not calls._by_tag


async def test_a_server_that_stops_ends_every_call():
    calls = OpenCalls()
    publish(calls, queued("t1"))
    with calls.join(TAG, "t1") as line:
        calls.hang_up()
        with pytest.raises(HungUp):
            await heard(line)
    with calls.join(TAG, "t2") as late, pytest.raises(HungUp):
        await heard(late)


async def test_what_is_known_already_is_heard_although_the_server_stops():
    calls = OpenCalls()
    publish(calls, queued("t1"))
    with calls.join(TAG, "t1") as line:
        publish(calls, granted("t1"))
        calls.hang_up()
        assert (await heard(line)).event == granted("t1")
