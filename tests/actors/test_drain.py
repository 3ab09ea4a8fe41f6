"""Stopping: drain until a deadline, cancel, close, and answer everyone on the way."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorStopped, Directory, RestartPolicy

POLICY = RestartPolicy(restarts_max=2, window_s=60.0, backoff_initial_s=1.0, backoff_max_s=8.0)


async def slow(envelope):
    await trio.sleep(1)
    envelope.reply.resolve("slow")


async def stuck(envelope):
    await trio.sleep_forever()


async def crash(envelope):
    raise ValueError("boom")


async def test_what_waits_is_drained_and_new_asks_are_refused(stage, autojump_clock):
    async with stage.serve(drain_s=10.0, batch_len_max=1) as directory:
        await directory.ask("a", 1)
        replies = [directory.ask_nowait("a", slow) for _ in range(3)]
        directory.stop()
        for ask in ("a", "new"):
            with pytest.raises(ActorStopped, match="stopping"):
                await directory.ask(ask, 1)
        with pytest.raises(ActorStopped, match="stopping"):
            directory.ask_nowait("a", 1)
        assert directory.live() == []
        assert [await reply.wait() for reply in replies] == ["slow"] * 3
    assert stage.closed == ["a"]


async def test_an_idle_directory_stops_without_waiting_for_the_deadline(stage, autojump_clock):
    start_s = trio.current_time()
    async with stage.serve(drain_s=10.0) as directory:
        await directory.ask("a", 1)
    assert trio.current_time() == start_s
    assert stage.closed == ["a"]


async def test_the_deadline_cancels_what_is_at_work_and_fails_what_waits(stage, autojump_clock):
    start_s = trio.current_time()
    async with stage.serve(drain_s=10.0, batch_len_max=1) as directory:
        await directory.ask("a", 1)
        at_work, waiting = (directory.ask_nowait("a", message) for message in (stuck, 2))
        await wait_all_tasks_blocked()
        directory.stop()
        with pytest.raises(ActorStopped, match="outcome is unknown"):
            await at_work.wait()
        with pytest.raises(ActorStopped, match="before it took the request"):
            await waiting.wait()
        assert trio.current_time() == start_s + 10.0
    assert stage.closed == ["a"]


async def test_closing_is_shielded_but_not_for_ever(stage, autojump_clock):
    stage.close_gates["a"] = gate = trio.Event()
    stage.close_gates["b"] = trio.Event()
    start_s = trio.current_time()
    async with stage.serve(drain_s=10.0, close_s=3.0) as directory:
        await directory.ask("a", 1)
        await directory.ask("b", 1)
        replies = [directory.ask_nowait(key, stuck) for key in ("a", "b")]
        directory.stop()
        for reply in replies:
            with pytest.raises(ActorStopped):
                await reply.wait()
        await trio.sleep(1)
        gate.set()
        await wait_all_tasks_blocked()
        assert stage.closed == ["a"]
    assert trio.current_time() == start_s + 13.0
    assert stage.closed == ["a"]


async def test_cancelling_serve_does_not_drain_but_closes_and_answers(
    stage, autojump_clock, nursery, outcome
):
    got = []
    directory = Directory(stage.open, live_max=2, idle_s=60, mailbox_len_max=8, batch_len_max=1)
    async with trio.open_nursery() as inner:
        inner.start_soon(lambda: directory.serve(drain_s=10))
        await wait_all_tasks_blocked()
        for message in (stuck, 2, 3):
            nursery.start_soon(outcome, got, directory.ask, "a", message)
            await wait_all_tasks_blocked()
        inner.cancel_scope.cancel()
    await wait_all_tasks_blocked()
    assert len(got) == 3
    assert all(isinstance(error, ActorStopped) for error in got)
    assert stage.closed == ["a"]
    with pytest.raises(ActorStopped, match="stopping"):
        await directory.ask("a", 1)


async def test_an_ask_after_the_cancellation_and_before_its_effect_is_answered(
    stage, nursery, outcome
):
    got = []
    directory = Directory(stage.open, live_max=2, idle_s=60, mailbox_len_max=8, batch_len_max=1)
    async with trio.open_nursery() as inner:
        inner.start_soon(lambda: directory.serve(drain_s=10))
        await wait_all_tasks_blocked()
        await directory.ask("a", 1)
        inner.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as askers:
                askers.start_soon(outcome, got, directory.ask, "a", "live")
                askers.start_soon(outcome, got, directory.ask, "b", "new")
    # Which of the tasks runs first is open; that each asker hears something is not.
    assert len(got) == 2
    assert sorted(stage.closed) == sorted(stage.opened)


async def test_cancelled_while_opening(stage, autojump_clock, nursery, outcome):
    stage.open_gates["a"] = trio.Event()
    got = []
    async with stage.serve(drain_s=2.0) as directory:
        nursery.start_soon(outcome, got, directory.ask, "a", 1)
        await wait_all_tasks_blocked()
    await wait_all_tasks_blocked()
    assert [type(error) for error in got] == [ActorStopped]


async def test_cancelled_while_waiting_for_an_older_actor(stage, autojump_clock, nursery, outcome):
    stage.close_gates["a"] = trio.Event()
    got = []
    async with stage.serve(drain_s=2.0, live_max=1, close_s=100.0) as directory:
        await directory.ask("a", 1)
        nursery.start_soon(outcome, got, directory.ask, "b", 1)
        await wait_all_tasks_blocked()
        directory.stop()
        await trio.sleep(2.5)
        assert [type(error) for error in got] == [ActorStopped]
        assert stage.opened == ["a"]
        stage.close_gates["a"].set()


async def test_a_restarting_actor_drains_after_its_pause(stage, autojump_clock):
    async with stage.serve(drain_s=10.0, policy=POLICY) as directory:
        with pytest.raises(ActorStopped):
            await directory.ask("a", crash)
        reply = directory.ask_nowait("a", "queued during the pause")
        directory.stop()
        assert await reply.wait() == "queued during the pause"
    assert stage.opened == ["a", "a"]


async def test_a_restarting_actor_with_nothing_to_drain_does_not_open_again(stage, autojump_clock):
    async with stage.serve(drain_s=10.0, policy=POLICY) as directory:
        with pytest.raises(ActorStopped):
            await directory.ask("a", crash)
    assert stage.opened == ["a"]


async def test_cancelled_in_the_pause_before_a_restart(stage, autojump_clock):
    async with stage.serve(drain_s=0.5, policy=POLICY) as directory:
        with pytest.raises(ActorStopped):
            await directory.ask("a", crash)
        reply = directory.ask_nowait("a", "queued during the pause")
        directory.stop()
        with pytest.raises(ActorStopped, match="before it took the request"):
            await reply.wait()
    assert stage.opened == ["a"]


async def test_a_failure_while_draining_still_answers_the_rest(stage, autojump_clock):
    async with stage.serve(drain_s=10.0, policy=POLICY, batch_len_max=1) as directory:
        await directory.ask("a", 1)
        crashing, behind = (directory.ask_nowait("a", message) for message in (crash, "behind"))
        directory.stop()
        with pytest.raises(ActorStopped, match="boom"):
            await crashing.wait()
        assert await behind.wait() == "behind"


async def test_an_error_while_cancelled_does_not_swallow_the_cancellation(
    stage, autojump_clock, caplog
):
    async def fail_when_cancelled(envelope):
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("cleanup went wrong")

    async with stage.serve(drain_s=1.0, policy=POLICY) as directory:
        await directory.ask("a", 1)
        reply = directory.ask_nowait("a", fail_when_cancelled)
        directory.stop()
        with pytest.raises(ActorStopped, match="cleanup went wrong"):
            await reply.wait()
    assert stage.opened == ["a"]
    assert "cleanup went wrong" in caplog.text


async def test_an_error_beside_the_cancellation_is_logged_and_the_cancellation_goes_on(
    stage, autojump_clock, nursery, outcome, caplog
):
    async def fail_when_cancelled():
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("cleanup went wrong")

    async def two_tasks(envelope):
        async with trio.open_nursery() as inner:
            inner.start_soon(trio.sleep_forever)
            inner.start_soon(fail_when_cancelled)

    got = []
    async with stage.serve(drain_s=1.0, policy=POLICY) as directory:
        nursery.start_soon(outcome, got, directory.ask, "a", two_tasks)
        await wait_all_tasks_blocked()
    await wait_all_tasks_blocked()
    assert [type(error) for error in got] == [ActorStopped]
    assert stage.opened == stage.closed == ["a"]
    assert "cleanup went wrong" in caplog.text
