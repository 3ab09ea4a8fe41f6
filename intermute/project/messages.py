"""What goes into a project's mailbox and what comes back."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import attrs

from actors import Reply
from intermute.domain.commands import Caller, Command
from intermute.domain.decision import Decision
from intermute.domain.stamp import Stamp
from intermute.domain.values import Value


class Idempotency(Value):
    """A request that may be asked again.

    Attributes:
        key: 16 bytes, from the client's key and whom it acts for.
        fingerprint: 16 bytes of the whole request, so that a key used for something else is seen.
    """

    key: bytes
    fingerprint: bytes


class Ask(Value):
    """A command with all that belongs to it."""

    command: Command
    stamp: Stamp
    caller: Caller
    idempotency: Idempotency | None = None


class Together(Value):
    """Several commands that are decided one after another and become durable as one.

    Each has its own answer: a refusal of one does not touch the others.
    """

    asks: tuple[Ask, ...]


class Told(Value):
    """A decision and where it stands in the project's order.

    Attributes:
        epoch: Rises each time an actor takes the project's file over.
        seq: Rises with every decided command of an epoch, from 1.
        replayed: The answer is the one that was given to the same request before.
    """

    epoch: int
    seq: int
    decision: Decision
    replayed: bool = False


Message = Ask | Together


class WriteOutcome(StrEnum):
    """What is known of a command that a storage fault met."""

    NOT_DONE = "not_done"
    UNKNOWN = "unknown"


class StorageUnavailable(Exception):
    """The project's storage failed or is given time to recover. Asking again is safe.

    Attributes:
        outcome: Whether the command certainly had no effect.
        retry_after_s: Seconds after which asking again is sensible.
        kind: The kind of the fault, see `intermute.storage.faults.Fault`.
    """

    def __init__(self, kind: str, *, outcome: WriteOutcome, retry_after_s: float) -> None:
        super().__init__(f"storage: {kind}")
        self.kind = kind
        self.outcome = outcome
        self.retry_after_s = retry_after_s

    def again(self) -> "StorageUnavailable":
        """The same, as an exception of its own."""
        return StorageUnavailable(self.kind, outcome=self.outcome, retry_after_s=self.retry_after_s)


class ProjectUnusable(Exception):
    """A project's file cannot be opened; the text is fit for clients.

    The runtime passes on only the text, so its beginning tells it from the words of a bug.
    """

    PREFIX = "its file cannot be used: "

    def __init__(self, reason: str, *, lasts: bool = False) -> None:
        super().__init__(f"{self.PREFIX}{reason}")
        # It is something about the file itself, which will not pass.
        self.lasts = lasts


class CommandFailed(Exception):
    """A bug met this one command. It had no effect; all others are untouched."""


@attrs.frozen
class Asked:
    """A command that is sent along with others, and in whose name."""

    command: Command
    caller: Caller
    idempotency: Idempotency | None = None


@attrs.define
class Sending:
    """Commands on their way, in the order in which they were sent."""

    _reply: list[Told] | Reply[Any]

    @property
    def done(self) -> bool:
        """Whether they have been answered."""
        return isinstance(self._reply, list) or self._reply.done

    async def wait(self) -> Sequence[Told | CommandFailed]:
        """Their answers, once they are durable; may be called once.

        Raises:
            actors.ActorStopped, StorageUnavailable: The same fault met all of them.

        Cancellation: they may be decided all the same.
        """
        if isinstance(self._reply, list):
            return self._reply
        told = await self._reply.wait()
        assert isinstance(told, tuple)
        return told
