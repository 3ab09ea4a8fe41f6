"""What is slow to decide is decided in several transactions, with turns of others in between."""

import pytest
import trio

from actors import Envelope
from intermute.domain import limits
from intermute.domain.commands import Caller, HandOver, PlannedStep, PreflightPlan, QueuePaths
from intermute.domain.decision import Accepted
from intermute.domain.leases import next_due_us
from intermute.domain.modes import Mode
from intermute.domain.refusals import Code
from intermute.domain.views import ReservationView
from intermute.project.directory import Asked
from intermute.project.messages import CommandFailed, Together, Told

from .harness import NOBODY, TTL_S, Desk, Slip, check, outcome, release, reserve, running
from .test_batches import break_deciding

# One check of this spends some of a million on what is held below.
WILD = "?_{}_?"
CHECKS = 12


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path / "x.sqlite3")
    desk.tell(*(reserve(f"a{n}", WILD.format(n), exclusive=False) for n in range(5)))
    yield desk
    desk.close()


def looks(count, first=5_000):
    return [check(WILD.format(first + n)) for n in range(count)]


def cost(desk):
    """What one such check spends."""
    desk.tell(*looks(1))
    return desk.state.allowance.spent


async def turns_meanwhile(work):
    """What came of it, and how many turns somebody else had."""
    turns = 0

    async def take_turns():
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        await trio.lowlevel.checkpoint()
        before = turns
        told = await work
        seen = turns - before
        nursery.cancel_scope.cancel()
    return told, seen


@pytest.fixture
def lots(desk, monkeypatch):
    """How many requests were decided in each transaction."""
    found = []
    decide_all = desk.actor._decide_all

    def noting(*given, **more):
        told, spent = decide_all(*given, **more)
        found.append(len(told))
        return told, spent

    monkeypatch.setattr(desk.actor, "_decide_all", noting)
    return found


async def test_a_transaction_ends_with_the_request_that_has_cost_enough(desk, lots, monkeypatch):
    each = cost(desk)
    lots.clear()
    monkeypatch.setattr(limits, "TRANSACTION_WORK_MAX", 3 * each - 1)
    monkeypatch.setattr(limits, "TURN_PER_WORK", each)
    asked = [*looks(CHECKS - 1), reserve("zoe", "src/x")]
    seq = desk.actor.seq
    told, turns = await turns_meanwhile(desk.tell_waiting(*asked))
    assert lots == [3, 3, 3, 3]
    assert [one.seq for one in told] == list(range(seq + 1, seq + 1 + CHECKS))
    assert outcome(told[-1]).agent_id == "zoe"
    # A turn for each so much, of which the first and the last may be before or after.
    assert CHECKS - 2 <= turns <= CHECKS + 2


async def test_plain_paths_share_a_transaction_and_leave_no_more_turns(desk, lots):
    asks = [reserve(f"p{n}", f"src/{n}") for n in range(limits.TRANSACTION_INLINE_LEN_MAX)]
    _, turns = await turns_meanwhile(desk.tell_waiting(*asks))
    assert lots == [limits.TRANSACTION_INLINE_LEN_MAX]
    assert turns <= 1


async def test_what_was_asked_together_becomes_durable_together(desk, lots, monkeypatch):
    monkeypatch.setattr(limits, "TRANSACTION_WORK_MAX", 1)
    commits = desk.committer.inline_commits
    asks = [desk.ask(reserve(f"b{n}", WILD.format(5_000 + n))) for n in range(3)]
    slips = [Slip(), Slip()]
    one = desk.ask(reserve("zoe", WILD.format(6_000)))
    await desk.actor.handle(
        [Envelope(Together(tuple(asks)), slips[0]), Envelope(one, slips[1])]  # type: ignore[arg-type]
    )
    assert lots == [1, 1]
    assert desk.committer.inline_commits == commits + 2
    assert [outcome(told).agent_id for told in slips[0].answer] == ["b0", "b1", "b2"]
    assert outcome(slips[1].answer).agent_id == "zoe"


async def test_what_is_asked_together_shares_what_one_may_spend(desk, monkeypatch):
    each = cost(desk)
    monkeypatch.setattr(limits, "PATTERN_WORK_MAX", 3 * each)
    slip = Slip()
    asks = [desk.ask(command) for command in looks(CHECKS)]
    asks.append(desk.ask(release(next(iter(desk.state.holdings.by_id)), "a0")))
    await desk.actor.handle([Envelope(Together(tuple(asks)), slip)])  # type: ignore[arg-type]
    *checks, released = slip.answer
    codes = [getattr(told.decision, "code", None) for told in checks]
    granted = codes.index(Code.LIMIT_REACHED)
    assert 2 <= granted <= 4
    assert set(codes[granted:]) == {Code.LIMIT_REACHED}
    assert isinstance(outcome(released), ReservationView), "what frees is never refused"
    # By themselves each of them is answered.
    told = await desk.tell_waiting(*looks(CHECKS))
    assert all(isinstance(one.decision, Accepted) for one in told)


def in_line(agent_id, *patterns):
    return QueuePaths(
        agent_id=agent_id,
        patterns=patterns,
        mode=Mode.SHARED,
        reason="",
        ttl_ms=TTL_S * 1000,
        wait_ms=TTL_S * 1000,
        held_open=True,
    )


async def test_turns_that_cost_too_much_are_left_for_the_next_request(desk, monkeypatch):
    held = [outcome(told).reservation_id for told in desk.tell(*holds(4))]
    desk.tell(*(in_line(f"w{n}", f"src/{n}", WILD.format(7_000 + n)) for n in range(4)))
    monkeypatch.setattr(limits, "PATTERN_TURN_WORK_MAX", 400_000)
    slip = Slip()
    asks = tuple(desk.ask(release(key, "zoe")) for key in held)
    await desk.actor.handle([Envelope(Together(asks), slip)])  # type: ignore[arg-type]
    assert all(isinstance(told.decision, Accepted) for told in slip.answer)
    looked_at = 4 - len(desk.state.line)
    assert 0 < looked_at < 4, "some had their turn, and some are left"
    assert next_due_us(desk.state) == desk.state.mono_us, "the sweeper looks at once"
    monkeypatch.undo()
    await desk.tell_waiting(desk.actor.sweep())
    assert len(desk.state.line) == 0


def holds(count):
    return [reserve("zoe", f"src/{n}") for n in range(count)]


async def test_a_bug_among_slow_commands_costs_that_command(desk, lots, monkeypatch):
    each = cost(desk)
    lots.clear()
    break_deciding(monkeypatch, HandOver)
    monkeypatch.setattr(limits, "TRANSACTION_WORK_MAX", 2 * each - 1)
    asked = looks(6)
    asked.insert(3, HandOver("none", "a0", "a1"))
    told = await desk.tell_waiting(*asked)
    assert [isinstance(one, CommandFailed) for one in told] == [n == 3 for n in range(7)]
    assert all(isinstance(one, Told) for n, one in enumerate(told) if n != 3)
    assert sum(lots) == 7


async def test_a_project_of_which_nothing_is_kept_is_no_way_around(tmp_path, monkeypatch):
    plan = PreflightPlan(
        tuple(PlannedStep(f"s{n}", "zoe", (WILD.format(n),)) for n in range(10)),
    )
    async with running(tmp_path) as projects:
        (told,) = await projects.send("nothing", [Asked(plan, Caller())]).wait()
        assert isinstance(told.decision, Accepted)
        monkeypatch.setattr(limits, "PLAN_WORK_MAX", 10_000_000)
        monkeypatch.setattr(limits, "PATTERN_WORK_MAX", 10_000_000)
        told = await projects.send("nothing", [Asked(plan, NOBODY)] * 20).wait()
    codes = [getattr(one.decision, "code", None) for one in told]
    assert codes[0] is None
    assert codes[-1] is Code.LIMIT_REACHED
