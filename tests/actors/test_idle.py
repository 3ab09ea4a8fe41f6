"""Idle stops and evictions, with the asks that arrive in the middle of them."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorStopped, Overloaded


async def test_an_idle_actor_stops_and_the_next_ask_starts_another(stage, autojump_clock):
    async with stage.serve(idle_s=10.0) as directory:
        await directory.ask("a", 1)
        await trio.sleep(9.9)
        assert directory.live() == ["a"]
        await trio.sleep(0.2)
        assert directory.live() == []
        assert stage.closed == ["a"]
        assert directory.statistics().stopped_idle == 1
        assert await directory.ask("a", 2) == 2
        assert stage.opened == ["a", "a"]


async def test_every_batch_puts_the_stop_off(stage, autojump_clock):
    async with stage.serve(idle_s=10.0) as directory:
        for _ in range(5):
            await directory.ask("a", 1)
            await trio.sleep(8)
        assert stage.opened == ["a"]
        await trio.sleep(2.1)
        assert directory.live() == []


async def test_each_actor_stops_at_its_own_time(stage, autojump_clock):
    async with stage.serve(idle_s=10.0) as directory:
        await directory.ask("a", 1)
        await trio.sleep(4)
        await directory.ask("b", 1)
        await trio.sleep(6.1)
        assert directory.live() == ["b"]
        await trio.sleep(4)
        assert directory.live() == []


async def test_a_veto_is_asked_again_later(stage, autojump_clock):
    stage.vetoes.add("a")
    async with stage.serve(idle_s=10.0) as directory:
        await directory.ask("a", 1)
        await trio.sleep(25)
        assert stage.asked_to_stop == ["a", "a"]
        assert directory.live() == ["a"]
        stage.vetoes.clear()
        await trio.sleep(10)
        assert directory.live() == []


async def test_an_actor_at_work_is_not_idle_however_long_it_takes(stage, autojump_clock):
    async def long_work(envelope):
        await trio.sleep(100)
        envelope.reply.resolve("done")

    async with stage.serve(idle_s=10.0) as directory:
        assert await directory.ask("a", long_work) == "done"
        assert stage.asked_to_stop == []
        assert directory.live() == ["a"]


async def test_a_may_stop_that_raises_is_a_veto_and_is_logged(stage, autojump_clock, caplog):
    stage.may_stop_errors["a"] = ZeroDivisionError("bug")
    async with stage.serve(idle_s=10.0) as directory:
        await directory.ask("a", 1)
        await trio.sleep(11)
        assert await directory.ask("a", 2) == 2
        assert stage.opened == ["a"]
    assert "may_stop raised" in caplog.text


async def test_an_ask_during_the_close_waits_for_it_and_gets_a_new_actor(
    stage, autojump_clock, nursery, outcome
):
    stage.close_gates["a"] = gate = trio.Event()
    got = []
    async with stage.serve(idle_s=10.0) as directory:
        await directory.ask("a", 1)
        await trio.sleep(10.5)
        assert directory.live() == []
        assert directory.statistics().closing == 1
        with pytest.raises(ActorStopped, match="idle"):
            directory.ask_nowait("a", 1)
        for number in range(3):
            nursery.start_soon(outcome, got, directory.ask, "a", number)
        await wait_all_tasks_blocked()
        assert stage.opened == ["a"]
        assert got == []
        gate.set()
        await wait_all_tasks_blocked()
        assert stage.opened == ["a", "a"]
        assert sorted(got) == [0, 1, 2]


async def test_one_more_than_the_bound_evicts_the_least_recently_used(stage, autojump_clock):
    async with stage.serve(live_max=3) as directory:
        for key in ("a", "b", "c", "a"):
            await directory.ask(key, 1)
            await trio.sleep(1)
        await directory.ask("d", 1)
        assert sorted(directory.live()) == ["a", "c", "d"]
        assert directory.statistics().evicted == 1
        assert stage.most_open == 3


async def test_a_veto_saves_from_eviction(stage, autojump_clock):
    stage.vetoes.add("a")
    async with stage.serve(live_max=2) as directory:
        for key in ("a", "b", "c"):
            await directory.ask(key, 1)
            await trio.sleep(1)
        assert sorted(directory.live()) == ["a", "c"]


async def test_overloaded_if_none_can_be_stopped(stage, nursery, outcome):
    gate = trio.Event()

    async def hold(envelope):
        await gate.wait()
        envelope.reply.resolve("held")

    stage.vetoes.add("vetoes")
    got = []
    async with stage.serve(live_max=2) as directory:
        await directory.ask("vetoes", 1)
        nursery.start_soon(outcome, got, directory.ask, "works", hold)
        await wait_all_tasks_blocked()
        with pytest.raises(Overloaded, match="2 actors are live") as caught:
            await directory.ask("c", 1)
        assert caught.value.retry_after_s > 0
        assert directory.statistics().refused_full == 1
        gate.set()
        await wait_all_tasks_blocked()
        assert got == ["held"]
        assert await directory.ask("c", 1) == 1


async def test_the_new_actor_opens_only_after_the_evicted_one_has_closed(stage, nursery, outcome):
    stage.close_gates["a"] = gate = trio.Event()
    got = []
    async with stage.serve(live_max=1) as directory:
        await directory.ask("a", 1)
        nursery.start_soon(outcome, got, directory.ask, "b", "b")
        await wait_all_tasks_blocked()
        assert stage.opened == ["a"]
        # The place is taken by an actor that has not even opened: it cannot be evicted.
        with pytest.raises(Overloaded):
            await directory.ask("c", 1)
        gate.set()
        await wait_all_tasks_blocked()
        assert got == ["b"]
        assert stage.most_open == 1


async def test_the_place_of_an_actor_that_is_closing_anyway_is_taken_over(
    stage, autojump_clock, nursery, outcome
):
    stage.close_gates["a"] = gate = trio.Event()
    stage.vetoes.add("b")
    got = []
    async with stage.serve(live_max=2, idle_s=10.0) as directory:
        await directory.ask("a", 1)
        await directory.ask("b", 1)
        await trio.sleep(10.5)
        assert directory.live() == ["b"]
        nursery.start_soon(outcome, got, directory.ask, "c", "c")
        await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()
        assert got == ["c"]
        assert directory.statistics().evicted == 0
        assert stage.most_open == 2


async def test_an_evicted_key_that_is_asked_again_waits_for_its_own_close_and_for_room(
    stage, nursery, outcome
):
    stage.close_gates["a"] = gate = trio.Event()
    got = []
    async with stage.serve(live_max=2) as directory:
        await directory.ask("a", 1)
        await directory.ask("b", 1)
        nursery.start_soon(outcome, got, directory.ask, "c", "c")
        await wait_all_tasks_blocked()
        nursery.start_soon(outcome, got, directory.ask, "a", "a again")
        await wait_all_tasks_blocked()
        assert stage.closed == ["b"]
        assert got == []
        gate.set()
        await wait_all_tasks_blocked()
        assert sorted(got) == ["a again", "c"]
        assert stage.most_open == 2


async def test_a_refusal_does_not_forget_that_the_key_is_still_closing(stage, nursery, outcome):
    stage.close_gates["a"] = gate = trio.Event()
    got = []
    async with stage.serve(live_max=1) as directory:
        await directory.ask("a", 1)
        nursery.start_soon(outcome, got, directory.ask, "b", "b")
        await wait_all_tasks_blocked()
        for _ in range(2):
            with pytest.raises(Overloaded):
                await directory.ask("a", "again")
        gate.set()
        await wait_all_tasks_blocked()
        assert got == ["b"]
        assert await directory.ask("a", "again") == "again"
