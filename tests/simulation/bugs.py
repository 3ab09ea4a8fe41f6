"""Bugs, planted one at a time, for the simulation to find.

Each is a context in which the product has it. They are those that servers of this kind are known
for, and each breaks another of the promises that the simulation looks at.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

import attrs

from actors import Reply
from intermute.domain import calls, decide, leases, reservations, transitions, waiting
from intermute.domain.commands import ExpireLeases, HangUp
from intermute.domain.events import ReservationCancelled
from intermute.domain.holdings import Holdings
from intermute.domain.stamp import Stamp
from intermute.project.actor import ProjectActor
from intermute.project.clock import SystemClock
from intermute.project.committing import CommitMode, Committer
from intermute.project.directory import Projects
from intermute.project.feeds import Feeds
from intermute.project.waiting import OpenCalls
from intermute.storage import faults, loading
from intermute.storage.projections import messages
from intermute.storage.writer import Writer

from .network import Conditions
from .town import Plan
from .virtual import WALL_S
from .weather import DiskConditions

Planted = AbstractContextManager[Any]


def overlap_test_skipped() -> Planted:
    """Patterns that have both a wildcard are taken never to meet."""
    real = Holdings.meeting

    def meeting(self: Any, patterns: Any, mode: Any, work: Any = None) -> Iterator[Any]:
        for claim, held, place in real(self, patterns, mode, work):
            if patterns[place].is_literal or held.is_literal:
                yield claim, held, place

    return patch.object(Holdings, "meeting", meeting)


def event_before_commit() -> Planted:
    """Feeds are told of events that may still be undone."""
    real = ProjectActor._write

    def write(self: Any, accepted: Any) -> None:
        before = len(self._unpublished)
        real(self, accepted)
        new = self._unpublished[before:]
        if new:
            self._publish(new)

    def speak(self: Any) -> None:
        self._unpublished = []

    return patch.multiple(ProjectActor, _write=write, _speak=speak)


def answer_before_commit() -> Planted:
    """A commit that fails is taken for one that did not."""
    real = Committer.commit

    async def commit(self: Any, writer: Any) -> None:
        try:
            await real(self, writer)
        except faults.FAULTS:
            writer.rollback()

    return patch.object(Committer, "commit", commit)


def commit_put_off() -> Planted:
    """What was answered is written down a little later, as if nothing could happen until then."""
    real_begin, real_commit = Writer.begin, Writer.commit
    commits = iter(range(10**9))

    def begin(self: Writer) -> None:
        if not self.in_transaction:
            real_begin(self)

    def commit(self: Writer) -> None:
        if next(commits) % 4 == 0:
            real_commit(self)

    return patch.multiple(Writer, begin=begin, commit=commit)


def token_reused() -> Planted:
    """Grants soon after each other have one fencing token."""
    real = reservations.view

    def view(*args: Any, **kwargs: Any) -> Any:
        found = real(*args, **kwargs)
        return attrs.evolve(found, cursor=found.cursor - found.cursor % 16)

    return patch.object(reservations, "view", view)


def resume_off_by_one() -> Planted:
    """A feed that is resumed leaves out one event."""
    return _resumed(1)


def resume_repeats() -> Planted:
    """A feed that is resumed begins with what its reader had."""
    return _resumed(-1)


def _resumed(by: int) -> Planted:
    real = Projects.subscribe

    def subscribe(self: Any, project: str, *, agent_id: Any, after: int | None) -> Any:
        moved = after + by if after else after
        return real(self, project, agent_id=agent_id, after=moved)

    return patch.object(Projects, "subscribe", subscribe)


def retry_not_remembered() -> Planted:
    """The answer to a request with a key is forgotten."""
    return patch.object(Writer, "remember", lambda *_: None)


def waiter_lost_on_cancel() -> Planted:
    """Who waited behind a ticket that was given up is not looked at."""

    def left_line(state: Any, event: Any, data: Any) -> None:
        if data.ticket_id in state.line.by_id:
            state.touched[data.ticket_id] = None
            state.line.remove(data.ticket_id)

    return patch.dict(transitions._EVENTS, {ReservationCancelled: left_line})


def expiry_on_the_wall_clock() -> Planted:
    """Leases are counted on a clock that somebody may set."""
    real = SystemClock.stamp

    def stamp(self: Any) -> Stamp:
        found = real(self)
        return Stamp(found.at_us, found.at_us - WALL_S * 1_000_000, found.entropy)

    return patch.object(SystemClock, "stamp", stamp)


def leases_lost_at_start() -> Planted:
    """A new actor does not know what is held."""
    return patch.object(loading, "_load_reservations", lambda *_: None)


def line_overtaken() -> Planted:
    """A ticket is served without a look at those before it."""
    real = waiting.blockers

    def blockers(state: Any, wanted: Any, mode: Any, own: Any, before: int) -> Any:
        return real(state, wanted, mode, own, 0)

    return patch.object(waiting, "blockers", blockers)


def wait_without_end() -> Planted:
    """Whoever waits does so beyond its time."""
    real = leases.expire

    def expire(state: Any, *args: Any) -> Any:
        accepted = real(state, *args)
        kept = tuple(e for e in accepted.events if getattr(e, "cause", "") != "timeout")
        return attrs.evolve(accepted, events=kept)

    return patch.dict(decide._DECISIONS, {ExpireLeases: expire})


def hang_up_for_all() -> Planted:
    """A call that ends gives up what another call of its agent has asked for since."""
    real = calls.hang_up

    def hang_up(state: Any, command: Any, stamp: Any, caller: Any) -> Any:
        claim = calls._asked_for(state, command.ticket_id)
        if claim is not None and not command.keeps_grant:
            claim.calls = frozenset({command.call})
        return real(state, command, stamp, caller)

    return patch.dict(decide._DECISIONS, {HangUp: hang_up})


def grant_told_late() -> Planted:
    """Whoever is on the line is not told of its turn."""
    return patch.object(OpenCalls, "publish", lambda *_: None)


def feeds_of_all_in_one() -> Planted:
    """What happens in a project is told to those who listen to another."""

    def publish(self: Feeds, _: str, batch: Any) -> None:
        for feed in self._by_tag.values():
            feed.publish(batch)

    return patch.object(Feeds, "publish", publish)


def recipient_left_out() -> Planted:
    """A message to many does not reach the last of them."""
    real = messages._deliver

    def deliver(execute: Any, agent_ids: Any, *args: Any, **kwargs: Any) -> None:
        real(execute, agent_ids[:3], *args, **kwargs)

    return patch.object(messages, "_deliver", deliver)


def answer_lost() -> Planted:
    """Now and then nobody is told what became of a request."""
    real = Reply.resolve
    answers = iter(range(1, 10**9))

    def resolve(self: Any, value: Any) -> None:
        if next(answers) % 50:
            real(self, value)
        else:
            self._done = True

    return patch.object(Reply, "resolve", resolve)


def epoch_kept() -> Planted:
    """A new actor does not say that it is another one."""
    return patch.object(Writer, "take_over", lambda self: 1)


@contextmanager
def file_left_open() -> Iterator[None]:
    """An actor that stops leaves a descriptor behind."""
    left: list[int] = []
    real = Writer.close

    def close(self: Any) -> None:
        left.append(os.open(self._connection.filename, os.O_RDONLY))
        real(self)

    try:
        with patch.object(Writer, "close", close):
            yield
    finally:
        for descriptor in left:
            os.close(descriptor)


GOOD = Plan(
    life_s=150.0,
    agents=12,
    projects=1,
    network=Conditions(),
    disk=DiskConditions(),
    commit=CommitMode.INLINE,
    mailbox_len_max=1_024,
    batch_len_max=256,
    live_max=256,
    idle_ms=600_000,
    crash_mean_s=1e9,
    restart_mean_s=1e9,
    jump_mean_s=1e9,
)
AT_ONCE = attrs.evolve(GOOD, network=Conditions(latency_s=0.0))
LOSSY = attrs.evolve(GOOD, network=Conditions(latency_s=0.05, cut_p=0.1))
FAULTY = attrs.evolve(GOOD, disk=DiskConditions(fault_p=0.01))
CRASHING = attrs.evolve(GOOD, crash_mean_s=20.0)
RESTARTING = attrs.evolve(GOOD, restart_mean_s=20.0)
JUMPY = attrs.evolve(GOOD, jump_mean_s=20.0)
SEVERAL = attrs.evolve(GOOD, projects=3)

# Each with the kind of town in which it comes to light.
BUGS: dict[Callable[[], Planted], Plan] = {
    overlap_test_skipped: GOOD,
    event_before_commit: FAULTY,
    answer_before_commit: FAULTY,
    commit_put_off: CRASHING,
    token_reused: GOOD,
    resume_off_by_one: LOSSY,
    resume_repeats: LOSSY,
    retry_not_remembered: LOSSY,
    waiter_lost_on_cancel: GOOD,
    expiry_on_the_wall_clock: JUMPY,
    leases_lost_at_start: RESTARTING,
    line_overtaken: GOOD,
    wait_without_end: GOOD,
    hang_up_for_all: AT_ONCE,
    grant_told_late: GOOD,
    feeds_of_all_in_one: SEVERAL,
    recipient_left_out: GOOD,
    answer_lost: GOOD,
    epoch_kept: RESTARTING,
    file_left_open: GOOD,
}
