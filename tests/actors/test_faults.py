"""A fault at every point: nobody waits on a dead actor, and every answer says why."""

from contextlib import asynccontextmanager, suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorStopped, RestartPolicy

POLICY = RestartPolicy(restarts_max=2, window_s=60.0, backoff_initial_s=1.0, backoff_max_s=8.0)


async def crash(envelope):
    raise ValueError("boom")


async def forget(envelope):
    pass


async def crash_in_a_nursery(envelope):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash, envelope)


async def test_an_error_in_handle_fails_the_batch_and_the_next_ask_is_served(
    stage, autojump_clock, caplog
):
    async with stage.serve(policy=POLICY) as directory:
        await directory.ask("a", "first")
        answered, crashing, behind = (
            directory.ask_nowait("a", message) for message in ("answered", crash, "behind")
        )
        assert await answered.wait() == "answered"
        for reply in (crashing, behind):
            with pytest.raises(ActorStopped, match="boom") as caught:
                await reply.wait()
            assert isinstance(caught.value.__cause__, ValueError)
            assert caught.value.retry_after_s == 1.0
        start_s = trio.current_time()
        assert await directory.ask("a", "next") == "next"
        assert trio.current_time() == start_s + 1.0
        assert stage.opened == ["a", "a"]
        assert stage.closed == ["a"]
        assert directory.statistics().restarted == 1
        assert directory.statistics().started == 1
    assert directory.statistics().restarted == 1
    assert "restarts" in caplog.text


async def test_an_error_group_is_chained_and_named_by_its_only_error(stage, autojump_clock):
    async with stage.serve(policy=POLICY) as directory:
        with pytest.raises(ActorStopped, match=r"^boom$") as caught:
            await directory.ask("a", crash_in_a_nursery)
        assert isinstance(caught.value.__cause__, ExceptionGroup)


async def test_what_handle_leaves_unanswered_is_failed_without_a_restart(stage):
    async with stage.serve() as directory:
        with pytest.raises(ActorStopped, match="did not answer") as caught:
            await directory.ask("a", forget)
        assert caught.value.__cause__ is None
        assert await directory.ask("a", 1) == 1
        assert stage.opened == ["a"]


async def test_the_mailbox_of_a_restarting_actor_takes_messages_up_to_its_bound(
    stage, autojump_clock
):
    async with stage.serve(policy=POLICY, mailbox_len_max=3) as directory:
        with pytest.raises(ActorStopped):
            await directory.ask("a", crash)
        replies = [directory.ask_nowait("a", number) for number in range(3)]
        assert directory.statistics().mailboxes["a"].len_current == 3
        assert [await reply.wait() for reply in replies] == [0, 1, 2]


async def test_too_many_failures_end_the_actor_and_everyone_hears_it(stage, autojump_clock, caplog):
    async with stage.serve(policy=POLICY, batch_len_max=1) as directory:
        await directory.ask("a", "first")
        replies = [
            directory.ask_nowait("a", message) for message in (crash, crash, crash, "queued")
        ]
        retries = []
        for reply in replies:
            with pytest.raises(ActorStopped, match="boom") as caught:
                await reply.wait()
            assert isinstance(caught.value.__cause__, ValueError)
            retries.append(caught.value.retry_after_s)
        assert retries == [1.0, 2.0, 8.0, 8.0]
        assert "failed more than 2 times in 60.0 s" in caught.value.reason
        assert directory.live() == []
        with pytest.raises(ActorStopped, match="failed more than 2 times"):
            await directory.ask("a", 1)
        await trio.sleep(8)
        assert await directory.ask("a", 1) == 1
        assert directory.statistics().restarted == 2
        assert directory.statistics().failed == 1
    assert "ends" in caplog.text


async def test_what_cannot_be_opened_fails_all_at_once_and_refuses_until_the_backoff_has_passed(
    stage, autojump_clock, nursery, outcome
):
    stage.open_gates["a"] = gate = trio.Event()
    stage.open_errors["a"] = [OSError("disk full"), OSError("disk full"), OSError("disk full")]
    got = []
    async with stage.serve(policy=POLICY) as directory:
        for number in range(3):
            nursery.start_soon(outcome, got, directory.ask, "a", number)
        await wait_all_tasks_blocked()
        start_s = trio.current_time()
        gate.set()
        await wait_all_tasks_blocked()
        assert trio.current_time() == start_s
        assert [str(error) for error in got] == ["disk full"] * 3
        assert all(isinstance(error, ActorStopped) for error in got)
        assert all(isinstance(error.__cause__, OSError) for error in got)
        assert [error.retry_after_s for error in got] == [1.0] * 3

        await trio.sleep(0.75)
        with pytest.raises(ActorStopped, match="disk full") as caught:
            await directory.ask("a", 1)
        assert caught.value.retry_after_s == pytest.approx(0.25)
        assert len(stage.open_errors["a"]) == 2
        assert await directory.ask("b", "unharmed") == "unharmed"

        for retry_after_s in (2.0, 4.0):
            await trio.sleep(4)
            with pytest.raises(ActorStopped, match="disk full") as caught:
                await directory.ask("a", 1)
            assert caught.value.retry_after_s == retry_after_s
        await trio.sleep(4)
        assert await directory.ask("a", "at last") == "at last"


async def test_a_start_that_worked_clears_the_count_of_failures(stage, autojump_clock):
    stage.open_errors["a"] = [OSError("no"), OSError("no")]
    async with stage.serve(policy=POLICY, idle_s=20.0) as directory:
        for retry_after_s in (1.0, 2.0):
            with pytest.raises(ActorStopped) as caught:
                await directory.ask("a", 1)
            assert caught.value.retry_after_s == retry_after_s
            await trio.sleep(retry_after_s)
        await directory.ask("a", 1)
        assert directory.statistics().failures_remembered == 1
        await trio.sleep(25)
        assert directory.statistics().failures_remembered == 0
        stage.open_errors["a"] = [OSError("no")]
        with pytest.raises(ActorStopped) as caught:
            await directory.ask("a", 1)
        assert caught.value.retry_after_s == 1.0


async def test_what_cannot_be_opened_again_after_a_failure_fails_all_at_once(stage, autojump_clock):
    async with stage.serve(policy=POLICY) as directory:
        await directory.ask("a", 1)
        crashing = directory.ask_nowait("a", crash)
        stage.open_errors["a"] = [OSError("disk full")]
        with pytest.raises(ActorStopped, match="boom"):
            await crashing.wait()
        with pytest.raises(ActorStopped, match="disk full"):
            await directory.ask("a", "queued during the pause")
        assert directory.statistics().failed == 1


async def test_an_error_while_closing_an_idle_actor_ends_it_as_failed(stage, autojump_clock):
    stage.close_errors["a"] = OSError("cannot checkpoint")
    async with stage.serve(policy=POLICY, idle_s=10.0) as directory:
        await directory.ask("a", 1)
        await trio.sleep(10.5)
        assert directory.statistics().failed == 1
        with pytest.raises(ActorStopped, match="cannot checkpoint"):
            await directory.ask("a", 1)
        await trio.sleep(1)
        assert await directory.ask("a", 1) == 1


async def test_a_close_that_hangs_is_cut_off_and_the_next_actor_starts(stage, autojump_clock):
    stage.close_gates["a"] = trio.Event()
    async with stage.serve(policy=POLICY, live_max=1, close_s=3.0) as directory:
        await directory.ask("a", 1)
        start_s = trio.current_time()
        assert await directory.ask("b", "b") == "b"
        assert trio.current_time() == start_s + 3.0
        with pytest.raises(ActorStopped, match="closing took longer than 3"):
            await directory.ask("a", 1)


async def test_errors_in_handle_and_in_the_close_are_one_failure(stage, autojump_clock):
    stage.close_errors["a"] = OSError("cannot checkpoint")
    async with stage.serve(policy=POLICY) as directory:
        with pytest.raises(ActorStopped, match="boom"):
            await directory.ask("a", crash)
        assert await directory.ask("a", 1) == 1
        assert directory.statistics().restarted == 1


class Echo:
    async def handle(self, batch):
        for envelope in batch:
            if callable(envelope.message):
                await envelope.message(envelope)
            else:
                envelope.reply.resolve(envelope.message)

    def may_stop(self):
        return True


@pytest.mark.parametrize("errors", [1, 2])
async def test_a_task_of_the_behaviours_own_nursery_that_fails_restarts_the_actor(
    stage, autojump_clock, errors, caplog
):
    crash_now = trio.Event()

    async def background():
        await crash_now.wait()
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        raise ValueError("background boom")

    @asynccontextmanager
    async def opens(key):
        stage.opened.append(key)
        async with trio.open_nursery() as nursery:
            if len(stage.opened) == 1:
                for _ in range(errors):
                    nursery.start_soon(background)
            yield Echo()
            nursery.cancel_scope.cancel()

    async def never(envelope):
        crash_now.set()
        await trio.sleep_forever()

    async with stage.serve(policy=POLICY, opens=opens) as directory:
        with pytest.raises(ActorStopped, match="cancelled; the outcome is unknown"):
            await directory.ask("a", never)
        assert await directory.ask("a", 1) == 1
        assert stage.opened == ["a", "a"]
    assert "background boom" in caplog.text


async def test_several_errors_are_named_together(stage, autojump_clock):
    @asynccontextmanager
    async def opens(key):
        raise ExceptionGroup("several", [OSError("one"), KeyError()])
        yield

    async with stage.serve(policy=POLICY, opens=opens) as directory:
        with pytest.raises(ActorStopped, match=r"^one; KeyError$"):
            await directory.ask("a", 1)


async def test_a_context_that_swallows_the_failure_is_a_failure(stage, autojump_clock):
    @asynccontextmanager
    async def opens(key):
        stage.opened.append(key)
        with suppress(ValueError):
            yield Echo()

    async with stage.serve(policy=POLICY, opens=opens) as directory:
        with pytest.raises(ActorStopped, match="boom"):
            await directory.ask("a", crash)
        assert await directory.ask("a", 1) == 1
        assert directory.statistics().restarted == 1


async def test_an_open_that_raises_before_there_is_a_context(stage, autojump_clock):
    def opens(key):
        raise RuntimeError

    async with stage.serve(policy=POLICY, opens=opens) as directory:
        with pytest.raises(ActorStopped, match=r"^RuntimeError$"):
            await directory.ask("a", 1)


async def test_a_failure_of_one_actor_does_not_touch_another(stage, autojump_clock):
    async with stage.serve(policy=POLICY) as directory:
        await directory.ask("b", 1)
        with pytest.raises(ActorStopped):
            await directory.ask("a", crash)
        assert await directory.ask("b", 2) == 2
        assert stage.opened.count("b") == 1
