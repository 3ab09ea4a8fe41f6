"""A stage for actors: behaviours whose faults the test chooses, and a record of what they did."""

from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from actors import Directory


class Player:
    """Runs a message that is a function with its envelope; answers any other with itself."""

    def __init__(self, stage, key):
        self.stage = stage
        self.key = key

    async def handle(self, batch):
        self.stage.batches.append([envelope.message for envelope in batch])
        for envelope in batch:
            if callable(envelope.message):
                await envelope.message(envelope)
            else:
                envelope.reply.resolve(envelope.message)

    def may_stop(self):
        self.stage.asked_to_stop.append(self.key)
        if self.key in self.stage.may_stop_errors:
            raise self.stage.may_stop_errors[self.key]
        return self.key not in self.stage.vetoes


class Stage:
    """Opens players; the most that were open at once, and any key open twice, are noticed."""

    def __init__(self):
        self.opened = []
        self.closed = []
        self.batches = []
        self.asked_to_stop = []
        self.most_open = 0
        self.vetoes = set()
        self.open_errors = {}
        self.close_errors = {}
        self.may_stop_errors = {}
        self.open_gates = {}
        self.close_gates = {}
        self._is_open = set()

    @asynccontextmanager
    async def open(self, key):
        assert key not in self._is_open, f"two live actors of {key}"
        if key in self.open_gates:
            await self.open_gates[key].wait()
        if self.open_errors.get(key):
            raise self.open_errors[key].pop(0)
        self._is_open.add(key)
        self.opened.append(key)
        self.most_open = max(self.most_open, len(self._is_open))
        try:
            yield Player(self, key)
        finally:
            try:
                if key in self.close_gates:
                    await self.close_gates[key].wait()
                self.closed.append(key)
                if key in self.close_errors:
                    raise self.close_errors.pop(key)
            finally:
                self._is_open.remove(key)

    @asynccontextmanager
    async def serve(self, *, drain_s=5.0, opens=None, **options):
        bounds = {"live_max": 4, "idle_s": 600.0, "mailbox_len_max": 8, "batch_len_max": 4}
        directory = Directory(opens or self.open, **{**bounds, **options})
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(directory.serve, drain_s=drain_s))
            yield directory
            directory.stop()


@pytest.fixture
def stage():
    return Stage()


@pytest.fixture
def outcome():
    """Await a call and note what came of it, so that a task can end without taking its nursery."""

    async def run(into, call, *arguments):
        try:
            into.append(await call(*arguments))
        except Exception as error:
            into.append(error)

    return run
