"""What is contained harms nobody beside it."""

import pytest
import trio

from actors import contain


async def answer():
    await trio.lowlevel.checkpoint()
    return "done"


async def fail():
    await trio.lowlevel.checkpoint()
    raise ZeroDivisionError("a bug, by order of a test")


async def fail_in_a_nursery():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        nursery.start_soon(fail)


async def test_what_it_comes_to_is_returned(caplog):
    assert await contain("a test", answer) == "done"
    assert not caplog.records


@pytest.mark.parametrize("work", [fail, fail_in_a_nursery])
async def test_an_error_is_logged_and_returned(work, caplog):
    assert isinstance(await contain("a test", work), ZeroDivisionError)
    (record,) = caplog.records
    assert record.getMessage() == "a test failed"
    assert record.exc_info[0] is ZeroDivisionError


async def test_others_go_on(caplog, nursery):
    nursery.start_soon(contain, "a test", fail_in_a_nursery)
    await trio.testing.wait_all_tasks_blocked()
    assert len(caplog.records) == 1
    assert not nursery.cancel_scope.cancel_called


async def test_cancellation_passes_through(caplog):
    async def fail_when_cancelled():
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await fail()

    async def both():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            nursery.start_soon(trio.sleep_forever)

    for work in (trio.sleep_forever, both):
        with trio.CancelScope() as scope:
            scope.cancel()
            await contain("a test", work)
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
