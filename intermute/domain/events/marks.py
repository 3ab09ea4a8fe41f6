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


class PaneTokenSet(Mark):
    """A window's pane proves itself by the token with this SHA-256; any earlier one has ended."""

    window_id: str
    window_uuid: str
    token_hash: bytes
