"""The mailbox: bounded, ordered, closable at any moment, statistics that add up."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorStopped, Mailbox, MailboxStatistics, Overloaded


def messages(batch):
    return [envelope.message for envelope in batch]


async def test_a_batch_is_all_that_is_there_in_order():
    mailbox = Mailbox(5)
    for number in range(4):
        mailbox.put_nowait(number)
    assert messages(await mailbox.receive_batch(10)) == [0, 1, 2, 3]
    assert mailbox.len_current == 0


async def test_a_batch_stops_at_its_limit_and_the_rest_stays():
    mailbox = Mailbox(5)
    for number in range(5):
        mailbox.put_nowait(number)
    assert messages(await mailbox.receive_batch(3)) == [0, 1, 2]
    assert messages(await mailbox.receive_batch(3)) == [3, 4]


async def test_the_receiver_waits_for_the_first_message(nursery):
    mailbox = Mailbox(5)
    got = []

    async def receiver():
        got.append(messages(await mailbox.receive_batch(5)))

    nursery.start_soon(receiver)
    await wait_all_tasks_blocked()
    assert got == []
    mailbox.put_nowait("a")
    mailbox.put_nowait("b")
    await wait_all_tasks_blocked()
    assert got == [["a", "b"]]


async def test_a_full_mailbox_refuses_and_queues_nothing():
    mailbox = Mailbox(2)
    mailbox.put_nowait(1)
    mailbox.put_nowait(2)
    with pytest.raises(Overloaded, match="full with 2") as caught:
        mailbox.put_nowait(3)
    assert caught.value.retry_after_s > 0
    assert caught.value.reason == str(caught.value)
    assert messages(await mailbox.receive_batch(5)) == [1, 2]
    mailbox.put_nowait(4)


async def test_statistics():
    mailbox = Mailbox(2)
    mailbox.put_nowait(1)
    mailbox.put_nowait(2)
    with pytest.raises(Overloaded):
        mailbox.put_nowait(3)
    await mailbox.receive_batch(5)
    mailbox.put_nowait(4)
    assert mailbox.statistics() == MailboxStatistics(
        len_current=1, len_max=2, len_high_water=2, accepted=3, refused_full=1
    )


async def test_closed_with_a_half_filled_batch_gives_the_half_and_then_the_end():
    mailbox = Mailbox(8)
    mailbox.put_nowait(1)
    mailbox.put_nowait(2)
    mailbox.close("bye")
    assert messages(await mailbox.receive_batch(5)) == [1, 2]
    with pytest.raises(trio.EndOfChannel):
        await mailbox.receive_batch(5)


async def test_closing_wakes_the_receiver(nursery):
    mailbox = Mailbox(8)
    ended = trio.Event()

    async def receiver():
        with pytest.raises(trio.EndOfChannel):
            await mailbox.receive_batch(5)
        ended.set()

    nursery.start_soon(receiver)
    await wait_all_tasks_blocked()
    mailbox.close("bye")
    await ended.wait()


async def test_a_closed_mailbox_refuses_with_its_first_reason():
    mailbox = Mailbox(8)
    assert not mailbox.is_closed
    mailbox.close("first", 2.5)
    mailbox.close("second")
    assert mailbox.is_closed
    with pytest.raises(ActorStopped, match="first") as caught:
        mailbox.put_nowait(1)
    assert caught.value.retry_after_s == 2.5
    assert mailbox.statistics().accepted == 0


async def test_abandoning_fails_all_who_wait_with_the_cause():
    mailbox = Mailbox(8)
    replies = [mailbox.put_nowait(number) for number in range(3)]
    cause = OSError("disk")
    mailbox.abandon("gone", 1.0, cause)
    errors = []
    for reply in replies:
        with pytest.raises(ActorStopped, match="gone") as caught:
            await reply.wait()
        assert caught.value.__cause__ is cause
        assert caught.value.retry_after_s == 1.0
        errors.append(caught.value)
    assert len(set(map(id, errors))) == 3
    with pytest.raises(trio.EndOfChannel):
        await mailbox.receive_batch(1)


async def test_abandoned_between_the_wake_up_and_the_receipt(nursery):
    mailbox = Mailbox(8)
    ended = trio.Event()

    async def receiver():
        with pytest.raises(trio.EndOfChannel):
            await mailbox.receive_batch(5)
        ended.set()

    nursery.start_soon(receiver)
    await wait_all_tasks_blocked()
    reply = mailbox.put_nowait(1)
    mailbox.abandon("gone")
    await ended.wait()
    with pytest.raises(ActorStopped):
        await reply.wait()


async def test_a_cancelled_receiver_takes_nothing():
    mailbox = Mailbox(8)
    mailbox.put_nowait(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await mailbox.receive_batch(5)
    assert scope.cancelled_caught
    assert messages(await mailbox.receive_batch(5)) == [1]


async def test_a_receiver_cancelled_while_it_waits_leaves_the_place_free(autojump_clock):
    mailbox = Mailbox(8)
    with trio.move_on_after(1) as scope:
        await mailbox.receive_batch(5)
    assert scope.cancelled_caught
    mailbox.put_nowait(1)
    assert messages(await mailbox.receive_batch(5)) == [1]


async def test_a_batch_on_its_way_survives_a_cancellation(nursery):
    mailbox = Mailbox(8)
    scope = trio.CancelScope()
    got = []

    async def receiver():
        with scope:
            got.extend(messages(await mailbox.receive_batch(5)))

    nursery.start_soon(receiver)
    await wait_all_tasks_blocked()
    mailbox.put_nowait(1)
    scope.cancel()
    await wait_all_tasks_blocked()
    assert got == [1]


async def test_two_tasks_cannot_receive(nursery):
    mailbox = Mailbox(8)
    nursery.start_soon(mailbox.receive_batch, 5)
    await wait_all_tasks_blocked()
    with pytest.raises(trio.BusyResourceError):
        await mailbox.receive_batch(5)
    mailbox.put_nowait(1)


async def test_receiving_is_always_a_checkpoint():
    mailbox = Mailbox(8)
    mailbox.put_nowait(1)
    with trio.testing.assert_checkpoints():
        await mailbox.receive_batch(5)


@pytest.mark.parametrize("len_max", [0, -1])
async def test_bounds_below_one_are_refused(len_max):
    with pytest.raises(ValueError, match="at least 1"):
        Mailbox(len_max)
    with pytest.raises(ValueError, match="at least 1"):
        await Mailbox(1).receive_batch(len_max)
