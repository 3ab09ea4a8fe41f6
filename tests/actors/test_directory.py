"""The directory: one actor for each key, on demand, and never two of a key."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorStopped, Directory, Overloaded


async def test_an_actor_starts_on_first_use_and_answers(stage):
    async with stage.serve() as directory:
        assert directory.live() == []
        assert await directory.ask("a", 1) == 1
        assert await directory.ask("a", 2) == 2
        assert await directory.ask("b", 3) == 3
        assert directory.live() == ["a", "b"]
        assert stage.opened == ["a", "b"]
    assert sorted(stage.closed) == ["a", "b"]


async def test_what_waits_is_handled_as_one_batch_up_to_the_limit(stage, nursery):
    async with stage.serve(batch_len_max=4) as directory:
        await directory.ask("a", "first")
        replies = [directory.ask_nowait("a", number) for number in range(6)]
        assert [await reply.wait() for reply in replies] == list(range(6))
        assert stage.batches == [["first"], [0, 1, 2, 3], [4, 5]]


async def test_the_error_of_the_behaviour_reaches_the_asker(stage):
    async def refuse(envelope):
        envelope.reply.fail(LookupError("no such thing"))

    async with stage.serve() as directory:
        with pytest.raises(LookupError, match="no such thing"):
            await directory.ask("a", refuse)
        assert await directory.ask("a", "still there") == "still there"
        assert stage.opened == ["a"]


async def test_ask_nowait_starts_nothing(stage):
    async with stage.serve() as directory:
        with pytest.raises(ActorStopped, match="not live"):
            directory.ask_nowait("a", 1)
        assert stage.opened == []


async def test_a_full_mailbox_refuses_at_once_and_loses_nothing(stage, nursery, outcome):
    gate = trio.Event()

    async def hold(envelope):
        await gate.wait()
        envelope.reply.resolve("held")

    got = []
    async with stage.serve(mailbox_len_max=2) as directory:
        nursery.start_soon(outcome, got, directory.ask, "a", hold)
        await wait_all_tasks_blocked()
        replies = [directory.ask_nowait("a", number) for number in range(2)]
        with pytest.raises(Overloaded):
            await directory.ask("a", "one too many")
        mailbox = directory.statistics().mailboxes["a"]
        assert (mailbox.len_current, mailbox.refused_full) == (2, 1)
        gate.set()
        assert [await reply.wait() for reply in replies] == [0, 1]
    assert got == ["held"]


async def test_a_cancelled_ask_may_be_handled_and_its_answer_is_dropped(stage, nursery):
    gate = trio.Event()
    done = []

    async def hold(envelope):
        await gate.wait()
        done.append("handled")
        envelope.reply.resolve("nobody listens")

    async def asker(scope):
        with scope:
            await directory.ask("a", hold)

    async with stage.serve() as directory:
        scope = trio.CancelScope()
        nursery.start_soon(asker, scope)
        await wait_all_tasks_blocked()
        scope.cancel()
        await wait_all_tasks_blocked()
        assert scope.cancelled_caught
        gate.set()
        assert await directory.ask("a", "next") == "next"
        assert done == ["handled"]


async def test_nobody_is_served_before_serve_or_after_it(stage):
    directory = Directory(stage.open, live_max=1, idle_s=1, mailbox_len_max=1, batch_len_max=1)
    with pytest.raises(ActorStopped, match="not serving"):
        await directory.ask("a", 1)
    directory.stop()
    await directory.serve(drain_s=1)
    with pytest.raises(ActorStopped, match="stopping"):
        await directory.ask("a", 1)
    with pytest.raises(RuntimeError, match="serves once"):
        await directory.serve(drain_s=1)
    assert stage.opened == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"live_max": 0},
        {"mailbox_len_max": 0},
        {"batch_len_max": 0},
        {"idle_s": 0.0},
        {"close_s": 0.0},
    ],
)
def test_bounds_out_of_range_are_refused(stage, wrong):
    bounds = {"live_max": 1, "idle_s": 1.0, "mailbox_len_max": 1, "batch_len_max": 1}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Directory(stage.open, **{**bounds, **wrong})


async def test_statistics(stage):
    async with stage.serve() as directory:
        await directory.ask("a", 1)
        await directory.ask("a", 2)
        stage.open_errors["b"] = [OSError("no")]
        with pytest.raises(ActorStopped):
            await directory.ask("b", 1)
        statistics = directory.statistics()
        assert statistics.live == 1
        assert statistics.live_max == 4
        assert statistics.closing == 0
        assert statistics.started == 2
        assert statistics.failed == 1
        assert statistics.failures_remembered == 1
        assert (statistics.stopped_idle, statistics.evicted, statistics.restarted) == (0, 0, 0)
        assert list(statistics.mailboxes) == ["a"]
        assert statistics.mailboxes["a"].accepted == 2


async def test_many_askers_of_many_keys_each_get_their_own_answer(stage):
    async def asker(directory, number):
        for turn in range(20):
            key = (number + turn) % 7
            while True:
                try:
                    assert await directory.ask(key, (number, turn)) == (number, turn)
                    break
                except Overloaded:
                    await trio.lowlevel.checkpoint()

    async with stage.serve(live_max=3) as directory, trio.open_nursery() as askers:
        for number in range(12):
            askers.start_soon(asker, directory, number)
    assert stage.most_open == 3
