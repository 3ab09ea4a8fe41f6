"""What waits for an app that does not receive."""

from collections.abc import Callable

import pytest
import trio

from intermute.domain.limits import INBOUND_BYTES_MAX, INBOUND_LEN_MAX
from intermute.web.inbound import Inbound, Message


def of_text(size: int) -> Message:
    return {"type": "websocket.receive", "text": "x" * size, "bytes": None}


def of_bytes(size: int) -> Message:
    return {"type": "websocket.receive", "text": None, "bytes": b"x" * size}


def of_body(size: int) -> Message:
    return {"type": "http.request", "body": b"x" * size, "more_body": True}


LEFT = {"type": "websocket.disconnect", "code": 1006}
MAKES = (of_text, of_bytes, of_body)


async def flooded(inbound: Inbound, message: Message) -> None:
    while True:
        await inbound.put(message)


@pytest.mark.parametrize("make", MAKES)
async def test_it_is_bounded_in_number(make: Callable[[int], Message]):
    inbound = Inbound()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flooded, inbound, make(1))
        await trio.testing.wait_all_tasks_blocked()
        assert len(inbound._queue) == INBOUND_LEN_MAX
        await inbound.receive()
        await trio.testing.wait_all_tasks_blocked()
        assert len(inbound._queue) == INBOUND_LEN_MAX
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("make", MAKES)
async def test_it_is_bounded_in_bytes(make: Callable[[int], Message]):
    inbound = Inbound()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flooded, inbound, make(INBOUND_BYTES_MAX // 4))
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            await inbound.receive()
            await trio.testing.wait_all_tasks_blocked()
            assert len(inbound._queue) == 4
        nursery.cancel_scope.cancel()


async def test_taking_all_makes_room_for_all():
    inbound = Inbound()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flooded, inbound, of_text(1))
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
            assert len(inbound.take()) == INBOUND_LEN_MAX
        nursery.cancel_scope.cancel()


async def test_that_the_client_left_is_said_however_full_it_is_and_last():
    inbound = Inbound()
    for _ in range(INBOUND_LEN_MAX):
        await inbound.put(of_text(1))
    await inbound.put(LEFT)
    assert len(inbound.take()) == INBOUND_LEN_MAX
    assert inbound.take() == []
    assert await inbound.receive() == LEFT


async def test_what_is_there_is_handed_over_without_a_turn_of_the_others():
    inbound, others = Inbound(), 0

    async def count() -> None:
        nonlocal others
        while True:
            others += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await trio.lowlevel.checkpoint()
        before = others
        await inbound.put(of_body(1))
        await inbound.put(of_body(0))
        await inbound.receive()
        await inbound.receive()
        assert others == before
        nursery.cancel_scope.cancel()
