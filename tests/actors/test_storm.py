"""Everything at once, from a seed: whatever happens, every asker hears something."""

import random
from contextlib import asynccontextmanager

import pytest
import trio

from actors import ActorStopped, Overloaded, RestartPolicy

POLICY = RestartPolicy(restarts_max=2, window_s=5.0, backoff_initial_s=0.1, backoff_max_s=1.0)
KEYS = 6
ASKERS = 15
ASKS = 25


class Storm:
    """Draws the faults; keeps count of what every asker heard."""

    def __init__(self, stage, seed):
        self.stage = stage
        self.random = random.Random(seed)
        self.heard = {"answer": 0, "refusal": 0, "stopped": 0, "overloaded": 0, "gave up": 0}
        self.reasons = set()

    @asynccontextmanager
    async def open(self, key):
        await trio.sleep(self.random.choice([0, 0, 0.5]))
        if self.random.random() < 0.15:
            raise OSError("cannot open")
        async with self.stage.open(key) as player, trio.open_nursery() as nursery:
            if self.random.random() < 0.1:
                nursery.start_soon(self.crash_later)
            yield player
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.sleep(self.random.choice([0, 0.2]))

    async def crash_later(self):
        await trio.sleep(self.random.random() * 3)
        raise ValueError("background")

    async def crash(self, envelope):
        raise ValueError("crash")

    async def refuse(self, envelope):
        envelope.reply.fail(LookupError("refused"))

    async def forget(self, envelope):
        await trio.lowlevel.checkpoint()

    async def slow(self, envelope):
        await trio.sleep(self.random.random())
        envelope.reply.resolve(envelope.message)

    async def asker(self, directory):
        messages = ["echo"] * 8 + [self.slow, self.refuse, self.forget, self.crash]
        for _ in range(ASKS):
            message = self.random.choice(messages)
            patience_s = self.random.choice([0.3, 1e6])
            with trio.move_on_after(patience_s) as scope:
                await self.ask(directory, self.random.randrange(KEYS), message)
            self.heard["gave up"] += scope.cancelled_caught
            await trio.sleep(self.random.choice([0, 0, 1.0, 4.0]))

    async def ask(self, directory, key, message):
        try:
            assert await directory.ask(key, message) == message
            self.heard["answer"] += 1
        except LookupError:
            self.heard["refusal"] += 1
        except ActorStopped as error:
            self.heard["stopped"] += 1
            self.reasons.add(error.reason)
        except Overloaded:
            self.heard["overloaded"] += 1


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("stop_at_s", [7.0, 200.0])
async def test_every_asker_hears_something(stage, autojump_clock, seed, stop_at_s):
    storm = Storm(stage, seed)
    bounds = {"live_max": 3, "idle_s": 2.0, "mailbox_len_max": 3, "policy": POLICY, "close_s": 5.0}
    async with stage.serve(drain_s=0.5, opens=storm.open, **bounds) as directory:
        with trio.fail_after(1e6):
            async with trio.open_nursery() as nursery:
                for _ in range(ASKERS):
                    nursery.start_soon(storm.asker, directory)
                await trio.sleep(stop_at_s)
                directory.stop()
    assert sum(storm.heard.values()) == ASKERS * ASKS
    assert storm.heard["answer"] > 0
    assert storm.heard["stopped"] > 0
    assert not [reason for reason in storm.reasons if "two live actors" in reason]
    assert stage.most_open <= 3
    statistics = directory.statistics()
    assert (statistics.live, statistics.closing) == (0, 0)
    assert statistics.failures_remembered <= 3
