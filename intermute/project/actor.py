"""The actor of one project: stamp, decide, commit, speak.

It is the only one that decides, and it owns the only connection that writes. Everything that a
batch decides becomes durable in one transaction; only then does anybody hear of it.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import trio

from actors import Envelope, RestartPolicy
from intermute.domain import commands, limits
from intermute.domain.commands import NOBODY, Command
from intermute.domain.continuity import Continuity
from intermute.domain.decide import advance, decide, refuse, replay
from intermute.domain.decision import Accepted, Decision
from intermute.domain.events import Event, ReservationGranted
from intermute.domain.identity import proven_by_request
from intermute.domain.leases import next_due_us
from intermute.domain.refusals import Code, Refusal
from intermute.domain.stamp import Stamp
from intermute.domain.state import State
from intermute.domain.transitions import apply, mark
from intermute.domain.waiting import admissions, confirm
from intermute.domain.work import Allowance, RequestAllowance
from intermute.project.breaker import Breaker, BreakerState
from intermute.project.clock import Clock
from intermute.project.committing import Committer
from intermute.project.feeds import Published
from intermute.project.messages import (
    Ask,
    CommandFailed,
    Idempotency,
    Message,
    StorageUnavailable,
    Together,
    Told,
    WriteOutcome,
)
from intermute.storage import faults
from intermute.storage.writer import Writer

_log = logging.getLogger(__name__)

# What is asked in one go, and the answers to it.
Request = tuple[Ask, ...]
Answers = list[Told | CommandFailed]


RESTARTS = RestartPolicy(
    restarts_max=limits.ACTOR_RESTARTS_MAX,
    window_s=limits.ACTOR_RESTARTS_WINDOW_MS / 1000,
    backoff_initial_s=limits.ACTOR_PAUSE_FIRST_MS / 1000,
    backoff_max_s=limits.ACTOR_PAUSE_LAST_MS / 1000,
)


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
        self._allowance = RequestAllowance()
        self._purge_at_us: int | None = 0
        self._state = self._load(clock.stamp(), Continuity())
        self._continuity = Continuity.since(self._state)

    async def start(self) -> None:
        """Settle what the former actor left behind, before anything is decided."""
        left = [self._own(commands.ResumeLeases())]
        if self._state.pokes:
            left.append(self._own(commands.ResumePokes()))
        await self._run_batch([tuple(left)])

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
        return Ask(commands.ExpireLeases(), stamp, NOBODY)

    async def handle(self, batch: Sequence[Envelope[Message, Any]]) -> None:
        """Answer every envelope: a decision once it is durable, or the fault that met it.

        Cancellation: before the batch is begun. Once begun it runs to its end.
        """
        left = deque(batch)
        while left:
            lot = _next_lot(left, self._committer.transaction_len_max)
            now_us = self._clock.stamp().mono_us
            if self.breaker.state(now_us) is BreakerState.OPEN:
                lot = self._refuse_changes(lot, now_us)
            spent = 0
            if lot:
                answered, spent = await self._handle_lot(lot)
                left.extendleft(reversed(lot[answered:]))
            # Whatever else this loop does has a turn between two transactions. What was slow to
            # decide takes as long as many turns of others do, so it leaves them as many.
            for _ in range(max(spent // limits.TURN_PER_WORK, 1 if left else 0)):
                await trio.lowlevel.cancel_shielded_checkpoint()

    async def _handle_lot(self, lot: Sequence[Envelope[Message, Any]]) -> tuple[int, int]:
        """Answer envelopes, from the first on, whose commands become durable in one transaction.

        Returns:
            How many were answered, at least one, and what their commands spent on patterns.
        """
        try:
            told, spent = await self._run_batch([_asks(envelope.message) for envelope in lot])
        except StorageUnavailable as fault:
            for envelope in lot:
                # Each asker raises an error of its own, or their tracebacks would mix.
                envelope.reply.fail(fault.again())
            return len(lot), 0
        for envelope, answers in zip(lot, told, strict=False):
            if isinstance(envelope.message, Together):
                envelope.reply.resolve(tuple(answers))
                continue
            (answer,) = answers
            if isinstance(answer, Told):
                envelope.reply.resolve(answer)
            else:
                envelope.reply.fail(answer)
        return len(told), spent

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
                        outcome=WriteOutcome.NOT_DONE,
                        retry_after_s=self.breaker.retry_after_s(now_us),
                    )
                )
            else:
                left.append(envelope)
        return left

    async def _run_batch(self, batch: Sequence[Request]) -> tuple[list[Answers], int]:
        """Decide the batch in order and make it durable as one.

        Returns:
            The answers to its first requests, as many as `_decide_all` decides, and what was spent.

        Raises:
            StorageUnavailable: A fault met it; the state is again what the file holds.
        """
        first, last = batch[0][0], batch[-1][-1]
        changes = any(ask.command.changes for request in batch for ask in request)
        writes = changes or self._lease_due(last.stamp)
        continuity = self._continuity
        began = False
        seq_before = self.seq
        try:
            if writes:
                await self._begin()
                began = True
            try:
                told, spent = self._decide_all(batch, writes=writes, guard=None)
            except _Spoilt:
                self._writer.rollback()
                self._state = self._load(first.stamp, continuity)
                self.seq = seq_before
                continuity = continuity.copy()
                await self._begin()
                told, spent = self._decide_all(batch, writes=writes, guard=continuity)
            if writes:
                await self._committer.commit(self._writer)
        except faults.FAULTS as error:
            raise self._fault(error, began=began) from error
        if writes:
            self.breaker.succeeded()
            continuity.keep(self._state)
            self._continuity = continuity
            self._speak()
        return told, spent

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
        self, batch: Sequence[Request], *, writes: bool, guard: Continuity | None
    ) -> tuple[list[Answers], int]:
        """Decide the batch in order, up to the request with which it has cost enough.

        With a `guard`, each command can be undone by itself.

        Raises:
            _Spoilt: A bug met a command while it was being written and it cannot be undone alone.
        """
        told: list[Answers] = []
        spent = 0
        for request in batch:
            self._allowance = self._state.allowance = RequestAllowance()
            answers: Answers = []
            for ask in request:
                advance(self._state, ask.stamp)
                if writes:
                    self._expire_due()
                    if guard is not None:
                        guard.keep(self._state)
                self.seq += 1
                self._allowance.begin()
                answers.append(self._decide(ask, guard))
            told.append(answers)
            spent += self._allowance.spent
            if spent >= limits.TRANSACTION_WORK_MAX:
                break
        return told, spent

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
        # Where the command may have ended the token, the same request shows the same token.
        if not (same and proven_by_request(ask.command, ask.caller)):
            refusal = refuse(self._state, ask.command, ask.caller)
            if refusal is not None:
                return refusal
        if not same:
            return Refusal(
                Code.IDEMPOTENCY_KEY_REUSED,
                "this Idempotency-Key was used for another request; a key belongs to one request "
                "and its retries",
            )
        decision = replay(self._state, ask.command, answer)
        if isinstance(decision, Accepted):
            self._write(decision)
        return decision

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
        """Let those go on who waited for what was freed, or leave them for the next request."""
        state = self._state
        if not (state.freed or state.unlooked):
            return
        if self._allowance.turns_are_over:
            state.unlooked = dict.fromkeys(state.line.by_id)
        else:
            for admitted in admissions(state):
                self._write(admitted)
                self._take_up(admitted)
        state.freed.clear()

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
                decision = confirm(self._state, command, stamp, NOBODY)
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
            # What time brings about is not the request's to pay for.
            self._state.allowance = Allowance()
            decision = decide(self._state, commands.ExpireLeases(), stamp, NOBODY)
            assert isinstance(decision, Accepted)
            self._write(decision)
            self._admit()
            self._state.allowance = self._allowance

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
            # A commit of which nothing is known may have been made, and then it is heard of.
            self._speak()
        return StorageUnavailable(
            fault.kind,
            outcome=WriteOutcome.UNKNOWN if began else WriteOutcome.NOT_DONE,
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
            allowance=self._allowance,
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
        return Ask(command, self._clock.stamp(), NOBODY)


def _asks(message: Message) -> Request:
    return message.asks if isinstance(message, Together) else (message,)


def _next_lot(left: deque[Envelope[Message, Any]], len_max: int) -> list[Envelope[Message, Any]]:
    """Take the next of them that may become durable together, not much more than so many commands.

    What was asked together stays together, so there may be more by that.
    """
    lot: list[Envelope[Message, Any]] = []
    taken = 0
    while left and taken < len_max:
        lot.append(left.popleft())
        taken += len(_asks(lot[-1].message))
    return lot
