"""Facts that are kept but are not history.

They are no events, are never published, and are left out when a rebuilt file is compared with the
live one.
"""

from intermute.domain.values import Value


class Mark(Value):
    """Base of the facts that are kept as plain rows."""


class Seen(Mark):
    """An agent showed itself. `focus_state` None keeps the focus known before."""

    agent_id: str
    at_us: int
    mono_us: int
    focus_state: str | None = None


class TokenSet(Mark):
    """The agent's token is now the one with this SHA-256; any earlier one has ended."""

    agent_id: str
    token_hash: bytes


class TokenBound(Mark):
    """The agent has shown that it keeps its token, so from now on it must present it."""

    agent_id: str


class CallOpened(Mark):
    """An open call asks for a ticket, see `intermute.domain.calls`. Known to the process only."""

    ticket_id: str
    call: int


class CallsClosed(Mark):
    """Open calls are not going to give up what they have asked for: a ticket or a reservation.

    Known to the process only.
    """

    claim_id: str
    calls: tuple[int, ...]


class PaneTokenSet(Mark):
    """A window's pane proves itself by the token with this SHA-256; any earlier one has ended."""

    window_id: str
    window_uuid: str
    token_hash: bytes
