"""Ten bugs that a server like this one is likely to have, each planted from outside of the product.

`plant` puts one into the process that calls it, for good; so do that in a process of its own.
"""

from actors.mailbox import Mailbox
from intermute.domain import transitions
from intermute.domain.events import ReservationCancelled, ReservationCreated
from intermute.domain.holdings import Holdings
from intermute.domain.modes import CONFLICTING
from intermute.domain.stamp import Stamp
from intermute.project import actor
from intermute.project.actor import ProjectActor
from intermute.project.committing import Committer
from intermute.project.feeds import Feeds
from intermute.storage import writer
from intermute.storage.writer import Writer

PLANTS = {}


def plants(name):
    def keep(function):
        PLANTS[name] = function
        return function

    return keep


def plant(name):
    PLANTS[name]()


@plants("commit without sync")
def _():
    original = writer.open_writer

    def opened(path):
        connection = original(path)
        connection.pragma("synchronous", "OFF")
        return connection

    writer.open_writer = opened


@plants("answer before commit")
def _():
    original = ProjectActor._handle_lot

    async def late(self, lot):
        commit, Committer.commit = Committer.commit, _no_commit
        try:
            found = await original(self, lot)
        finally:
            Committer.commit = commit
        if self._writer.in_transaction:
            await commit(self._committer, self._writer)
        return found

    ProjectActor._handle_lot = late


async def _no_commit(self, writer):
    """It is put off."""


@plants("overlap test skipped")
def _():
    def same_text(self, patterns, mode, work=None):
        texts = [pattern.normalised for pattern in patterns]
        for claim in self.by_id.values():
            for other in claim.parsed:
                if other.normalised in texts and claim.mode in CONFLICTING[mode]:
                    yield claim, other, texts.index(other.normalised)

    Holdings.meeting = same_text


@plants("token reused")
def _():
    original = transitions._EVENTS[ReservationCreated]
    tokens = {}

    def created(state, event, data):
        original(state, event, data)
        # The paths keep their token, whoever gets them.
        granted = state.holdings.by_id[data.reservation_id]
        granted.cursor = tokens.setdefault((id(state), data.patterns), granted.cursor)

    transitions._EVENTS[ReservationCreated] = created


@plants("event before commit")
def _():
    original = ProjectActor._write

    def write(self, accepted):
        known = len(self._unpublished)
        original(self, accepted)
        if len(self._unpublished) > known:
            self._publish(self._unpublished[known:])

    ProjectActor._write = write


@plants("unbounded queue")
def _():
    original = Mailbox.__init__
    Mailbox.__init__ = lambda self, len_max: original(self, 10**9)


@plants("expiry on the wall clock")
def _():
    original, first_us = actor.advance, []

    def advance(state, stamp):
        first_us.append(stamp.at_us - stamp.mono_us)
        original(state, Stamp(stamp.at_us, stamp.at_us - first_us[0], stamp.entropy))

    actor.advance = advance


@plants("resume off by one")
def _():
    original = Feeds.subscribe

    def subscribe(self, tag, *, agent_id, read, head, after):
        after = None if after is None else after + 1
        return original(self, tag, agent_id=agent_id, read=read, head=head, after=after)

    Feeds.subscribe = subscribe


@plants("retry not remembered")
def _():
    Writer.remember = lambda self, request_key, fingerprint, answer, at_us: None


@plants("waiter lost on cancel")
def _():
    original = transitions._EVENTS[ReservationCancelled]

    def left(state, event, data):
        freed = list(state.freed)
        original(state, event, data)
        state.freed[:] = freed

    transitions._EVENTS[ReservationCancelled] = left
