"""Commands of the windows."""

from typing import ClassVar

from intermute.domain import views
from intermute.domain.commands.base import Command


class RegisterWindow(Command):
    """Say in which terminal window an agent works.

    Attributes:
        token_hash: SHA-256 of the agent token in the request's body, which proves whose it is.
        pane_hash: SHA-256 of the token by which the pane will show itself; that of a window
            without a target is for nothing.
        display_name: Empty for the agent's id.
        tmux_target: Of the right shape already; empty for none.
    """

    kind: ClassVar[str] = "register_window"
    answer: ClassVar[type] = views.WindowView
    window_uuid: str
    agent_id: str
    token_hash: bytes
    pane_hash: bytes
    display_name: str = ""
    tmux_target: str = ""

    def __repr__(self) -> str:
        """Without what proves anything."""
        return f"RegisterWindow({self.window_uuid!r}, {self.agent_id!r}, {self.tmux_target!r})"


class ExpireWindow(Command):
    """Say that a window is gone. In whose name follows from whose window it is."""

    kind: ClassVar[str] = "expire_window"
    answer: ClassVar[type] = views.WindowExpiredView
    window_uuid: str
