"""The one-shot reply: one answer, one taker, nothing lost."""

import gc
import weakref
from contextlib import suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Reply


async def test_a_value_resolved_before_the_wait_is_returned():
    reply = Reply()
    assert not reply.done
    reply.resolve(7)
    assert reply.done
    assert await reply.wait() == 7


async def test_a_value_resolved_during_the_wait_wakes_the_waiter(nursery):
    reply = Reply()
    got = []

    async def taker():
        got.append(await reply.wait())

    nursery.start_soon(taker)
    await wait_all_tasks_blocked()
    reply.resolve("answer")
    await wait_all_tasks_blocked()
    assert got == ["answer"]


async def test_an_error_is_raised_as_it_is():
    reply = Reply()
    error = ValueError("no")
    reply.fail(error)
    with pytest.raises(ValueError, match="no") as caught:
        await reply.wait()
    assert caught.value is error


async def test_an_error_carries_only_the_takers_frames():
    reply = Reply()

    def deep_in_the_actor():
        raise ValueError("no")

    try:
        deep_in_the_actor()
    except ValueError as error:
        reply.fail(error)
    with pytest.raises(ValueError, match="no") as caught:
        await reply.wait()
    assert "deep_in_the_actor" not in [entry.name for entry in caught.traceback]


async def test_a_raised_error_is_not_kept_alive_by_a_cycle():
    class Marked(Exception):
        pass

    async def taker():
        reply = Reply()
        error = Marked()
        gone = weakref.ref(error)
        reply.fail(error)
        del error
        with suppress(Marked):
            await reply.wait()
        return gone

    gc.collect()
    gc.disable()
    try:
        gone = await taker()
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("first", ["resolve", "fail"])
@pytest.mark.parametrize("second", ["resolve", "fail"])
async def test_a_second_answer_is_a_bug_and_changes_nothing(first, second):
    reply = Reply()
    getattr(reply, first)(ValueError("first"))
    with pytest.raises(RuntimeError, match="answered once"):
        getattr(reply, second)(ValueError("second"))
    if first == "resolve":
        assert str(await reply.wait()) == "first"
    else:
        with pytest.raises(ValueError, match="first"):
            await reply.wait()


async def test_the_answer_is_handed_over_once():
    reply = Reply()
    reply.resolve(1)
    await reply.wait()
    with pytest.raises(RuntimeError, match="handed over once"):
        await reply.wait()


async def test_two_tasks_cannot_wait(nursery):
    reply = Reply()
    nursery.start_soon(reply.wait)
    await wait_all_tasks_blocked()
    with pytest.raises(trio.BusyResourceError):
        await reply.wait()
    reply.resolve(None)


async def test_a_cancelled_wait_can_be_repeated(autojump_clock):
    reply = Reply()
    with trio.move_on_after(1) as scope:
        await reply.wait()
    assert scope.cancelled_caught
    reply.resolve(3)
    assert await reply.wait() == 3


async def test_an_answer_on_its_way_survives_a_cancellation(nursery):
    reply = Reply()
    got = []
    scope = trio.CancelScope()

    async def taker():
        with scope:
            got.append(await reply.wait())

    nursery.start_soon(taker)
    await wait_all_tasks_blocked()
    reply.resolve("kept")
    scope.cancel()
    await wait_all_tasks_blocked()
    assert got == ["kept"]


async def test_waiting_for_what_is_done_is_a_checkpoint():
    reply = Reply()
    reply.resolve(1)
    with trio.testing.assert_checkpoints():
        await reply.wait()
