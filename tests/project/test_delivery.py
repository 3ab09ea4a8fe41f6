"""Live delivery: its bounds, what it records, and what ends it. No tmux: only its seam."""

from collections.abc import Sequence
from typing import Any

import pytest
import trio

from actors import Overloaded
from intermute.domain import limits
from intermute.domain.commands import (
    Heartbeat,
    PokeOutcome,
    RegisterWindow,
    SendMessage,
    SetPolicy,
    SettlePokes,
)
from intermute.domain.decision import Accepted
from intermute.domain.views import SettledView
from intermute.project.actor import ProjectRules
from intermute.project.delivery import Deliveries, Injection
from intermute.project.messages import CommandFailed, StorageUnavailable, Told, WriteOutcome

from .harness import Desk, HandClock, assert_consistent

TEXT = "text"


class Screen:
    """In place of tmux: every text waits until it is let through."""

    def __init__(self, *, open_: bool = True) -> None:
        self.gate = trio.Event()
        if open_:
            self.gate.set()
        self.answers: dict[str, str] = {}
        self.begun: list[str] = []
        self.typed: list[str] = []
        self.at_once = 0
        self.most_at_once = 0

    async def inject(self, target: str, *, pane_hash: bytes | None, text: str) -> str:
        self.begun.append(target)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.gate.wait()
        finally:
            self.at_once -= 1
        reason = self.answers.get(target, "")
        if not reason:
            self.typed.append(target)
        return reason


class Book:
    """In place of the project: takes note of what is recorded, or fails so many times."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.asked = 0
        self.settled: list[SettlePokes] = []

    async def ask(self, project: str, command: object, caller: object) -> Told:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        if self.faults:
            raise self.faults.pop(0)
        assert isinstance(command, SettlePokes)
        self.settled.append(command)
        return Told(1, 1, Accepted(SettledView(len(command.outcomes))))


def injections(*targets: str) -> list[Injection]:
    return [Injection(f"to-{target}", target, b"hash", TEXT) for target in targets]


class House:
    """Deliveries that run, with everything around them."""

    def __init__(self, nursery: trio.Nursery, screen: Screen, book: Book) -> None:
        self.nursery = nursery
        self.screen = screen
        self.book = book
        self.deliveries = Deliveries(book.ask, screen)  # type: ignore[arg-type]
        self.told: dict[str, dict[str, PokeOutcome]] = {}

    async def deliver(self, message_id: str, targets: Sequence[str]) -> None:
        self.told[message_id] = await self.deliveries.deliver(
            "house", message_id, injections(*targets)
        )

    def start(self, message_id: str, *targets: str) -> trio.CancelScope:
        """Deliver in a task of its own, which can be cancelled."""
        scope = trio.CancelScope()

        async def run() -> None:
            with scope:
                await self.deliver(message_id, targets)

        self.nursery.start_soon(run)
        return scope


@pytest.fixture
async def house(nursery: trio.Nursery) -> House:
    found = House(nursery, Screen(), Book())
    await nursery.start(found.deliveries.serve)
    return found


@pytest.fixture
async def shut(nursery: trio.Nursery) -> House:
    """One where nothing that is typed comes to its end before the gate opens."""
    found = House(nursery, Screen(open_=False), Book())
    await nursery.start(found.deliveries.serve)
    return found


async def test_outcomes_are_told_and_recorded(house: House):
    house.screen.answers["b"] = "pane_dead"
    await house.deliver("m", "ab")
    outcomes = {
        "to-a": PokeOutcome("to-a", True),
        "to-b": PokeOutcome("to-b", False, "pane_dead"),
    }
    assert house.told["m"] == outcomes
    (recorded,) = house.book.settled
    assert recorded.message_id == "m"
    assert set(map(repr, recorded.outcomes)) == set(map(repr, outcomes.values()))
    assert house.deliveries.waiting == 0


async def test_what_came_of_it_is_recorded_before_it_is_told(shut: House):
    shut.start("m", "a")
    await trio.testing.wait_all_tasks_blocked()
    assert shut.book.settled == []
    shut.screen.gate.set()
    await shut.deliveries.settled("house", "m")
    assert len(shut.book.settled) == 1


async def test_a_client_that_goes_away_ends_nothing(shut: House):
    scope = shut.start("m", "a")
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert shut.screen.begun == ["a"]
    shut.screen.gate.set()
    await shut.deliveries.settled("house", "m")
    assert shut.screen.typed == ["a"]
    assert len(shut.book.settled) == 1
    assert shut.told == {}


async def test_only_so_many_are_typed_at_once(shut: House):
    targets = [str(n) for n in range(3 * limits.DELIVERIES_AT_ONCE_MAX)]
    shut.start("m", *targets)
    await trio.testing.wait_all_tasks_blocked()
    assert len(shut.screen.begun) == limits.DELIVERIES_AT_ONCE_MAX
    shut.screen.gate.set()
    await shut.deliveries.settled("house", "m")
    assert sorted(shut.screen.typed) == sorted(targets)
    assert shut.screen.most_at_once == limits.DELIVERIES_AT_ONCE_MAX


async def test_what_does_not_fit_into_the_queue_is_put_off_at_once(shut: House):
    shut.start("m1", *(str(n) for n in range(limits.DELIVERY_QUEUE_LEN_MAX - 1)))
    await trio.testing.wait_all_tasks_blocked()
    await shut.deliver("m2", "ab")
    assert [o.reason for o in shut.told["m2"].values()] == ["queue_full", "queue_full"]
    (recorded,) = shut.book.settled
    assert recorded.message_id == "m2"
    shut.start("m3", "c")
    await trio.testing.wait_all_tasks_blocked()
    shut.screen.gate.set()
    await shut.deliveries.settled("house", "m1")
    await shut.deliveries.settled("house", "m3")
    await trio.testing.wait_all_tasks_blocked()
    assert shut.told["m3"]["to-c"].injected
    assert shut.deliveries.waiting == 0


async def test_what_waits_too_long_is_not_typed_any_more(
    autojump_clock: trio.testing.MockClock, shut: House
):
    targets = [str(n) for n in range(limits.DELIVERIES_AT_ONCE_MAX + 2)]
    shut.start("m", *targets)
    await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(limits.DELIVERY_WAIT_MS / 1000 + 1)
    shut.screen.gate.set()
    await shut.deliveries.settled("house", "m")
    await trio.testing.wait_all_tasks_blocked()
    reasons = sorted(outcome.reason for outcome in shut.told["m"].values())
    assert reasons == [""] * limits.DELIVERIES_AT_ONCE_MAX + ["too_late"] * 2


async def test_without_a_task_to_run_in_nothing_is_typed_and_it_says_so():
    book, screen = Book(), Screen()
    deliveries = Deliveries(book.ask, screen)  # type: ignore[arg-type]
    told = await deliveries.deliver("house", "m", injections("a"))
    assert told["to-a"] == PokeOutcome("to-a", False, "not_delivering")
    assert screen.begun == []
    assert len(book.settled) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Overloaded("full", retry_after_s=1.0),
        StorageUnavailable("disk", outcome=WriteOutcome.UNKNOWN, retry_after_s=1.0),
        CommandFailed("settle_pokes"),
    ],
)
async def test_a_record_that_fails_is_tried_again_after_the_answer(
    autojump_clock: trio.testing.MockClock, house: House, fault: Exception
):
    house.book.faults = [fault, fault]
    await house.deliver("m", "a")
    assert house.told["m"]["to-a"].injected
    assert house.book.asked == 1
    await trio.sleep(limits.DELIVERY_SETTLE_TRIES_MAX**2)
    assert house.book.asked == 3
    assert len(house.book.settled) == 1


async def test_a_record_that_always_fails_is_given_up(
    autojump_clock: trio.testing.MockClock, house: House
):
    house.book.faults = [CommandFailed("settle_pokes")] * 100
    await house.deliver("m", "a")
    await trio.sleep(limits.DELIVERY_SETTLE_TRIES_MAX**2)
    assert house.book.asked == limits.DELIVERY_SETTLE_TRIES_MAX


async def test_draining_waits_for_what_is_under_way(shut: House, nursery: trio.Nursery):
    shut.start("m", "a")
    await trio.testing.wait_all_tasks_blocked()
    drained = trio.Event()

    async def drain() -> None:
        await shut.deliveries.drain()
        drained.set()

    nursery.start_soon(drain)
    await trio.testing.wait_all_tasks_blocked()
    assert not drained.is_set()
    await shut.deliver("late", "b")
    assert shut.told["late"]["to-b"].reason == "not_delivering"
    shut.screen.gate.set()
    await drained.wait()
    assert shut.screen.typed == ["a"]
    assert [command.message_id for command in shut.book.settled] == ["late", "m"]


async def test_draining_does_not_wait_for_ever(autojump_clock: trio.testing.MockClock, shut: House):
    shut.start("m", "a")
    await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(limits.SHUTDOWN_DRAIN_MS / 1000 + 1):
        await shut.deliveries.drain()
    await trio.testing.wait_all_tasks_blocked()
    assert shut.screen.at_once == 0
    assert shut.book.settled == [], "it stays pending, and the next process interrupts it"


# -- A process that ends in between


def poked_desk(path, transport: str) -> tuple[Desk, str]:
    """A project where a message to bob was decided and nobody has typed it yet."""
    desk = Desk(path, HandClock(), rules=ProjectRules(live_transport=True))
    bob = desk.register("bob")
    desk.one(SetPolicy(bob, None, "open"))
    token = b"bob".ljust(32)
    desk.one(RegisterWindow("w1", bob, token, b"pane".ljust(32), "", "work"))
    desk.one(Heartbeat(bob, "at-prompt"))
    sent = desk.one(SendMessage("alice", (bob,), transport=transport, message_id="m", body="hi"))
    assert sent.delivery == {bob: "pending"}
    return desk, bob


@pytest.mark.parametrize(("transport", "result"), [("live", "failed"), ("both", "deferred")])
def test_b38_what_was_not_settled_is_interrupted_at_the_next_start(
    tmp_path, transport: str, result: str
):
    desk, bob = poked_desk(tmp_path / "x.sqlite3", transport)
    assert not desk.actor.may_stop(), "it is still to be recorded"
    desk.reopen()
    last = desk.events()[-1].data
    assert (last.type, last.agent_id) == ("peer.window_poke_settled", bob)
    assert (last.result, last.reason) == (result, "interrupted")
    assert desk.state.pokes == {}
    assert desk.actor.may_stop()
    count = len(desk.events())
    desk.reopen()
    assert len(desk.events()) == count, "once"
    late = desk.one(SettlePokes("m", (PokeOutcome(bob, True),)))
    assert late.count == 0
    desk.close()
    assert_consistent(desk.path, tmp_path / "scratch.sqlite3", desk.state)


def test_windows_pokes_and_their_limit_survive_a_restart(tmp_path):
    desk, bob = poked_desk(tmp_path / "x.sqlite3", "both")
    desk.one(SettlePokes("m", (PokeOutcome(bob, True),)))
    before = desk.state.windows.by_uuid["w1"]
    desk.reopen()
    after = desk.state.windows.by_uuid["w1"]
    assert after == before
    assert after.pane_hash == b"pane".ljust(32)
    assert len(desk.state.poke_rates) == 1
    assert desk.state.focus_of(desk.state.agents[bob]) == "unknown", "who knows what it does now"
    desk.close()


def test_a_focus_outlives_a_fault_of_the_storage(tmp_path):
    desk, bob = poked_desk(tmp_path / "x.sqlite3", "both")
    continuity = desk.actor._continuity
    state = desk.actor._load(desk.clock.stamp(), continuity)
    assert state.focus_of(state.agents[bob]) == "at-prompt"
    assert state.pokes == desk.state.pokes
    desk.close()


async def test_a_bug_in_typing_costs_that_text_alone(house: House, caplog):
    """Whatever it was, the text may have been typed before it."""
    inject = house.screen.inject

    async def broken(target: str, **more: Any) -> str:
        await trio.lowlevel.checkpoint()
        if target == "b":
            raise ValueError("embedded null byte")
        return await inject(target, **more)

    house.screen.inject = broken  # type: ignore[method-assign]
    await house.deliver("m", "abc")
    told = house.told["m"]
    assert {key: outcome.reason for key, outcome in told.items()} == {
        "to-a": "",
        "to-b": "tmux_failed",
        "to-c": "",
    }
    assert [set(each.outcomes) for each in house.book.settled] == [set(told.values())]
    assert "typing into a window failed" in caplog.text
    assert house.deliveries.waiting == 0


async def test_a_bug_in_recording_ends_no_other_delivery(house: House, caplog):
    house.book.faults.append(ZeroDivisionError("a bug, by order of a test"))
    await house.deliver("m", "a")
    assert house.told["m"]["to-a"].injected
    assert "a delivery failed" in caplog.text
    await house.deliver("n", "b")
    assert [each.message_id for each in house.book.settled] == ["n"]
    assert house.deliveries.waiting == 0
