"""A call as the model takes it."""

from enum import Enum
from typing import Final

import attrs

from bench.linearizability.history import Call

NEVER: Final = 1 << 62


class Action(Enum):
    """What a call did, or may have done if it was not answered."""

    GRANT = "grant"
    RENEW = "renew"
    RELEASE = "release"
    CONFLICT = "conflict"
    FREE = "free"
    LISTED = "listed"
    GONE = "gone"
    NOT_OWNER = "not owner"
    WAITED_FOR = "waited for"
    NOTHING = "nothing"


# What only looks: it is taken as soon as it fits, see `search`.
LOOKS: Final = frozenset(
    {Action.CONFLICT, Action.FREE, Action.LISTED, Action.GONE, Action.NOT_OWNER, Action.NOTHING}
)


@attrs.frozen(eq=False, slots=True, kw_only=True)
class Op:
    """A call as the model takes it.

    Attributes:
        place: Where the call stands in the history.
        return_ns: When it was answered; `NEVER` if it was not.
        terms: What is asked for, numbered by `Terms`; -1 where nothing is.
        agent: Who asks, None for a check that leaves nobody out.
        lease: The id that was granted or is asked about.
        candidates: The ids that a reservation without an answer may have been granted.
        token: The fencing token that came with the grant, None where there is none.
        lapses_ns: When a lease granted or renewed by this call may lapse at the earliest.
        listed: Ids that the answer names; None where a conflict names none.
        partial: Whether there may be more than are listed.
        waiting: Whether a ticket is in the way, which is not in the model.
        key: The idempotency key, if the history has it more than once.
    """

    place: int
    call: Call
    action: Action
    invoke_ns: int
    return_ns: int
    terms: int = -1
    agent: str | None = None
    lease: str = ""
    candidates: tuple[str, ...] = ()
    token: int | None = None
    lapses_ns: int = 0
    ttl_ns: int | None = None
    listed: frozenset[str] | None = frozenset()
    partial: bool = False
    waiting: bool = False
    key: str | None = None

    @property
    def answered(self) -> bool:
        """Whether it has to be taken; what was not answered may have been left undone."""
        return self.return_ns != NEVER
