"""The actor of one project: stamp, decide, commit, speak.

It is the only one that decides, and it owns the only connection that writes. Everything that a
batch decides becomes durable in one transaction; only then does anybody hear of it.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import attrs
import trio

from actors import Envelope
from intermute.domain import commands, limits
from intermute.domain.commands import Caller, Command
from intermute.domain.continuity import Continuity
from intermute.domain.decide import advance, decide, refuse, replay_marks
from intermute.domain.decision import Accepted, Decision
from intermute.domain.events import Event, ReservationGranted
from intermute.domain.leases import next_due_us
from intermute.domain.refusals import Code, Refusal
from intermute.domain.stamp import Stamp
from intermute.domain.state import State
from intermute.domain.transitions import apply, mark
from intermute.domain.waiting import admissions, confirm
from intermute.project.breaker import Breaker, BreakerState
from intermute.project.clock import Clock
from intermute.project.committing import Committer
from intermute.project.feeds import Published
from intermute.project.messages import (
    Ask,
    CommandFailed,
    Idempotency,
    Message,
    Outcome,
    StorageUnavailable,
    Together,
    Told,
)
from intermute.storage import faults
from intermute.storage.writer import Writer

_log = logging.getLogger(__name__)
_NOBODY = Caller()


class _Spoilt(Exception):
    """A batch holds half of a command."""


@attrs.frozen
class ProjectRules:
    """Settings of the server that bear on decisions."""

    patterns_per_agent_max: int = limits.PATTERNS_PER_AGENT_DEFAULT
    tokens_required: bool = False
    live_transport: bool = False


class ProjectActor:
    """Decides the commands of one project, in the order of its mailbox.

    An `actors.Behaviour`. Made by `intermute.project.directory`, which opens the file.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        tag: str,
        rules: ProjectRules,
        clock: Clock,
        breaker: Breaker,
        committer: Committer,
        publish: Callable[[Sequence[Published]], None] = lambda _: None,
        on_line: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._writer = writer
        self._tag = tag
        self._rules = rules
        self._clock = clock
        self._committer = committer
        self._publish = publish
        self._on_line = on_line
        self._unpublished: list[Published] = []
        self.breaker = breaker
        self.epoch = writer.take_over()
        self.seq = 0
        self._writing = False
        self._purge_at_us: int | None = 0
        self._state = self._load(clock.stamp(), Continuity())
        self._continuity = Continuity.since(self._state)

    async def start(self) -> None:
        """Settle what the former actor left behind, before anything is decided."""
        left = [self._own(commands.ResumeLeases())]
        if self._state.pokes:
            left.append(self._own(commands.ResumePokes()))
        await self._run_batch(left)

    def may_stop(self) -> bool:
        """A project with leases or somebody who waits has something to watch, pokes to record."""
        left = len(self._state.holdings) + len(self._state.line) + len(self._state.pokes)
        return left == 0

    def sweep(self) -> Ask | None:
        """What the sweeper has to ask for now, None when nothing is due."""
        stamp = self._clock.stamp()
        deadline_us = next_due_us(self._state)
        due = deadline_us is not None and deadline_us <= stamp.mono_us
        purge = self._purge_at_us is not None and self._purge_at_us <= stamp.at_us
        if not due and not purge:
            return None
        return Ask(commands.ExpireLeases(), stamp, _NOBODY)

    async def handle(self, batch: Sequence[Envelope[Message, Any]]) -> None:
        """Answer every envelope: a decision once it is durable, or the fault that met it.

        Cancellation: before the batch is begun. Once begun it runs to its end.
        """
        for ordinal, lot in enumerate(_lots(batch, self._committer.transaction_len_max)):
            if ordinal:
                # Whatever else this loop does has a turn between two transactions.
                await trio.lowlevel.cancel_shielded_checkpoint()
            now_us = self._clock.stamp().mono_us
            if self.breaker.state(now_us) is BreakerState.OPEN:
                lot = self._refuse_changes(lot, now_us)
            if lot:
                await self._handle_lot(lot)

    async def _handle_lot(self, lot: Sequence[Envelope[Message, Any]]) -> None:
        """Answer envelopes whose commands become durable in one transaction."""
        asks: list[Ask] = []
        for envelope in lot:
            if isinstance(envelope.message, Together):
                asks += envelope.message.asks
            else:
                asks.append(envelope.message)
        try:
            told = iter(await self._run_batch(asks))
        except StorageUnavailable as fault:
            for envelope in lot:
                # Each asker raises an error of its own, or their tracebacks would mix.
                envelope.reply.fail(fault.again())
            return
        for envelope in lot:
            if isinstance(envelope.message, Together):
                envelope.reply.resolve(tuple(islice(told, len(envelope.message.asks))))
                continue
            answer = next(told)
            if isinstance(answer, Told):
                envelope.reply.resolve(answer)
            else:
                envelope.reply.fail(answer)

    def _refuse_changes(
        self, batch: Sequence[Envelope[Message, Any]], now_us: int
    ) -> list[Envelope[Message, Any]]:
        """Turn away what would write while the breaker is open; checks go on."""
        left = []
        for envelope in batch:
            if any(ask.command.changes for ask in _asks(envelope.message)):
                envelope.reply.fail(
                    StorageUnavailable(
                        self.breaker.last_fault,
                        outcome=Outcome.NOT_DONE,
                        retry_after_s=self.breaker.retry_after_s(now_us),
                    )
                )
            else:
                left.append(envelope)
        return left

    async def _run_batch(self, batch: Sequence[Ask]) -> list[Told | CommandFailed]:
        """Decide the batch in order and make it durable as one.

        Raises:
            StorageUnavailable: A fault met it; the state is again what the file holds.
        """
        writes = any(ask.command.changes for ask in batch) or self._lease_due(batch[-1].stamp)
        continuity = self._continuity
        began = False
        seq_before = self.seq
        try:
            if writes:
                await self._begin()
                began = True
            try:
                told = self._decide_all(batch, writes=writes, guard=None)
            except _Spoilt:
                self._writer.rollback()
                self._state = self._load(batch[0].stamp, continuity)
                self.seq = seq_before
                continuity = continuity.copy()
                await self._begin()
                told = self._decide_all(batch, writes=writes, guard=continuity)
            if writes:
                await self._committer.commit(self._writer)
        except faults.FAULTS as error:
            raise self._fault(error, began=began) from error
        if writes:
            self.breaker.succeeded()
            continuity.keep(self._state)
            self._continuity = continuity
            self._speak()
        return told

    def _lease_due(self, stamp: Stamp) -> bool:
        """Whether a batch of checks has leases to expire first; not while the breaker is open."""
        deadline_us = next_due_us(self._state)
        if deadline_us is None or deadline_us > stamp.mono_us:
            return False
        return self.breaker.state(stamp.mono_us) is not BreakerState.OPEN

    async def _begin(self) -> None:
        """Begin the transaction, trying again a few times while somebody else has the lock."""
        wait_ms = limits.STORAGE_RETRY_FIRST_MS
        for _ in range(limits.STORAGE_RETRIES_MAX):
            try:
                self._writer.begin()
            except faults.BUSY:
                await trio.sleep(wait_ms / 1000)
                wait_ms = min(2 * wait_ms, limits.STORAGE_RETRY_LAST_MS)
            else:
                return
        self._writer.begin()

    def _decide_all(
        self, batch: Sequence[Ask], *, writes: bool, guard: Continuity | None
    ) -> list[Told | CommandFailed]:
        """Decide the batch in order. With a `guard`, each command can be undone by itself.

        Raises:
            _Spoilt: A bug met a command while it was being written and it cannot be undone alone.
        """
        told: list[Told | CommandFailed] = []
        for ask in batch:
            advance(self._state, ask.stamp)
            if writes:
                self._expire_due()
                if guard is not None:
                    guard.keep(self._state)
            self.seq += 1
            told.append(self._decide(ask, guard))
        return told

    def _decide(self, ask: Ask, guard: Continuity | None) -> Told | CommandFailed:
        """One command: its refusal, or its events written and applied.

        Why the broad except: an error nobody foresaw must cost the one who met it, not the batch.
        Why a batch is not always guarded: a savepoint costs as much as everything else that a
        command writes, so it is only paid for when a batch is run again because of such an error.
        """
        cursor_before = self._state.cursor
        if guard is not None:
            self._writer.savepoint()
        try:
            told = self._answer(ask)
        except faults.FAULTS:
            raise
        except Exception as error:
            if self._writing and guard is None:
                raise _Spoilt from error
            _log.exception("command %s failed", ask.command.kind)
            if guard is not None:
                self._writer.undo_savepoint()
                self._state = self._load(ask.stamp, guard)
            assert self._state.cursor == cursor_before, "a failed command left nothing behind"
            failed = CommandFailed(ask.command.kind)
            failed.__cause__ = error
            return failed
        if guard is not None:
            self._writer.keep_savepoint()
            guard.keep(self._state)
        return told

    def _answer(self, ask: Ask) -> Told:
        """Decide one command, or give the answer that the same request had before."""
        self._writing = False
        seq = self.seq
        if ask.idempotency is not None:
            known = self._recall(ask, ask.idempotency)
            if known is not None:
                replayed = isinstance(known, Accepted)
                return Told(self.epoch, seq, known, replayed=replayed)
        decision = decide(self._state, ask.command, ask.stamp, ask.caller)
        if isinstance(decision, Accepted):
            self._write(decision)
            self._take_up(decision)
            self._admit()
            if ask.idempotency is not None:
                if self._purge_at_us is None:
                    self._purge_at_us = self._state.at_us + limits.IDEMPOTENCY_KEPT_MS * 1000
                self._writer.remember(
                    ask.idempotency.key,
                    ask.idempotency.fingerprint,
                    decision.answer,
                    self._state.at_us,
                )
        if isinstance(ask.command, commands.ExpireLeases):
            self._purge()
        return Told(self.epoch, seq, decision)

    def _recall(self, ask: Ask, idempotency: Idempotency) -> Decision | None:
        known = self._writer.recall(idempotency.key, idempotency.fingerprint, ask.command.answer)
        if known is None:
            return None
        same, answer = known
        # The token presented is part of a registration's fingerprint, and the registration has
        # ended it: whoever lost the answer has no other.
        if not (same and isinstance(ask.command, commands.RegisterAgent)):
            refusal = refuse(self._state, ask.command, ask.caller)
            if refusal is not None:
                return refusal
        if not same:
            return Refusal(
                Code.IDEMPOTENCY_KEY_REUSED,
                "this Idempotency-Key was used for another request; a key belongs to one request "
                "and its retries",
            )
        accepted = Accepted(answer, marks=replay_marks(ask.command, answer))
        self._write(accepted)
        return accepted

    def _write(self, accepted: Accepted) -> None:
        """Append the events, file and memory in step."""
        self._writing = True
        for data in accepted.events:
            event = Event(self._state.cursor + 1, self._state.at_us, accepted.actor, data)
            data_len = self._writer.append(event)
            apply(self._state, event)
            self._unpublished.append(Published(event, data_len))
        for note in accepted.marks:
            self._writer.note(note)
            mark(self._state, note)

    def _admit(self) -> None:
        """Let those go on who waited for what was just freed."""
        if self._state.freed or self._state.unlooked:
            for admitted in admissions(self._state):
                self._write(admitted)
                self._take_up(admitted)
            self._state.freed.clear()

    def _take_up(self, accepted: Accepted) -> None:
        """Confirm a grant for the open call that waits for it, which saves it a commit.

        A decision of its own, so the call's answer has a place of its own in the order.
        """
        for data in accepted.events:
            if isinstance(data, ReservationGranted) and self._on_line(data.ticket_id):
                granted = self._unpublished[-1]
                assert granted.event.data is data, "a grant is the last that happens"
                command = commands.ConfirmGrant(data.ticket_id, agent_id=data.agent_id)
                stamp = Stamp(self._state.at_us, self._state.mono_us, 0)
                decision = confirm(self._state, command, stamp, _NOBODY)
                assert isinstance(decision, Accepted), "what was just granted can be taken up"
                self._write(decision)
                self.seq += 1
                granted.taken_up = Told(self.epoch, self.seq, decision)

    def _speak(self) -> None:
        """Let the feeds have what has just become durable."""
        published, self._unpublished = self._unpublished, []
        if published:
            self._publish(published)

    def _expire_due(self) -> None:
        """Before a command is decided, whatever has lapsed by its stamp has lapsed."""
        deadline_us = next_due_us(self._state)
        if deadline_us is not None and deadline_us <= self._state.mono_us:
            stamp = Stamp(self._state.at_us, self._state.mono_us, 0)
            decision = decide(self._state, commands.ExpireLeases(), stamp, _NOBODY)
            assert isinstance(decision, Accepted)
            self._write(decision)
            self._admit()

    def _purge(self) -> None:
        """Forget some remembered answers that are old enough, and learn when to do it again."""
        kept_us = limits.IDEMPOTENCY_KEPT_MS * 1000
        oldest_us = self._writer.purge_requests(self._state.at_us - kept_us)
        self._purge_at_us = None if oldest_us is None else oldest_us + kept_us

    def _fault(self, error: BaseException, *, began: bool) -> StorageUnavailable:
        """Count the fault and go back to what the file holds."""
        fault = faults.describe(error)
        now_us = self._clock.stamp().mono_us
        self.breaker.failed(fault.kind, now_us)
        _log.error("project %s: storage fault: %s: %s", self._tag, fault.kind, fault.detail)
        if began:
            self._writer.rollback()
            self._state = self._load(self._clock.stamp(), self._continuity)
        return StorageUnavailable(
            fault.kind,
            outcome=Outcome.UNKNOWN if began else Outcome.NOT_DONE,
            retry_after_s=max(1.0, self.breaker.retry_after_s(now_us)),
        )

    def _load(self, stamp: Stamp, continuity: Continuity) -> State:
        """What the file holds, and what this process knows beside it."""
        state = State(
            tag=self._tag,
            project=self._writer.project,
            patterns_per_agent_max=self._rules.patterns_per_agent_max,
            tokens_required=self._rules.tokens_required,
            live_default=self._rules.live_transport,
            archive=self._writer.archive,
            at_us=stamp.at_us,
            mono_us=stamp.mono_us,
        )
        self._writer.load(state)
        continuity.restore(state)
        # What was written after the event that the file ends with is not going to be.
        self._unpublished = [each for each in self._unpublished if each.cursor <= state.cursor]
        return state

    def _own(self, command: Command) -> Ask:
        return Ask(command, self._clock.stamp(), _NOBODY)


def _asks(message: Message) -> tuple[Ask, ...]:
    return message.asks if isinstance(message, Together) else (message,)


def _lots(
    batch: Sequence[Envelope[Message, Any]], len_max: int
) -> Iterator[Sequence[Envelope[Message, Any]]]:
    """The batch in parts that become durable one by one, none of them much too long.

    What was asked together stays together, so a part may be longer than the bound by that.
    """
    lot: list[Envelope[Message, Any]] = []
    waiting = 0
    for envelope in batch:
        lot.append(envelope)
        waiting += len(envelope.message.asks) if isinstance(envelope.message, Together) else 1
        if waiting >= len_max:
            yield lot
            lot, waiting = [], 0
    if lot:
        yield lot
