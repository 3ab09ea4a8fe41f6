"""What all commands have in common."""

from typing import ClassVar, Final

from intermute.domain.values import Value


class Caller(Value):
    """Whom a command comes from, as far as the edge could tell.

    Attributes:
        agent_id: The agent the caller says it is (`X-Agent-ID`), or None.
        token_hash: SHA-256 of the agent token it presented, or None.
        operator: It may retire any agent, end anybody's reservation, and switch live delivery (a
            local caller, or a key with the right).
    """

    agent_id: str | None = None
    token_hash: bytes | None = None
    operator: bool = False


# Whom the server's own commands come from.
NOBODY: Final = Caller()


class Command(Value):
    """Base of all commands."""

    kind: ClassVar[str] = ""
    # Only commands that change something may be remembered under an idempotency key, create
    # a project's file, or be refused while the breaker is open.
    changes: ClassVar[bool] = True
    # The shape of the answer, so that one that was kept can be read again.
    answer: ClassVar[type] = object

    @property
    def acting(self) -> str | None:
        return None


class AgentCommand(Command):
    """A command in the name of one agent."""

    agent_id: str

    @property
    def acting(self) -> str | None:
        return self.agent_id
