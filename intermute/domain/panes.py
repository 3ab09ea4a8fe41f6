"""The live windows of a project, as its state holds them."""

import attrs


@attrs.define
class Window:
    """A terminal window in which an agent works.

    Attributes:
        tmux_target: Empty when nothing can be typed into it.
        cursor: Of the last event about it: the highest is the most recently active one.
        pane_hash: SHA-256 of the token by which its pane shows itself.
    """

    window_id: str
    window_uuid: str
    agent_id: str
    display_name: str
    tmux_target: str
    created_at_us: int
    last_active_at_us: int
    cursor: int
    pane_hash: bytes = b""


class Windows:
    """The windows that are not expired, found by their UUID and by their agent."""

    def __init__(self) -> None:
        self.by_uuid: dict[str, Window] = {}
        self.by_agent: dict[str, dict[str, Window]] = {}

    def __len__(self) -> int:
        return len(self.by_uuid)

    def put(self, window: Window) -> None:
        """Add it, or have it take the place of the one with its UUID."""
        self.remove(window.window_uuid)
        self.by_uuid[window.window_uuid] = window
        self.by_agent.setdefault(window.agent_id, {})[window.window_uuid] = window

    def remove(self, window_uuid: str) -> None:
        """Take it away, if it is there."""
        window = self.by_uuid.pop(window_uuid, None)
        if window is not None:
            own = self.by_agent[window.agent_id]
            del own[window_uuid]
            if not own:
                del self.by_agent[window.agent_id]

    def of(self, agent_id: str) -> list[Window]:
        """An agent's windows, the most recently active one first."""
        own = self.by_agent.get(agent_id, {}).values()
        return sorted(own, key=lambda window: window.cursor, reverse=True)

    def by_id(self, window_id: str, window_uuid: str) -> Window | None:
        """The window of that UUID, if it still is the one with that id."""
        window = self.by_uuid.get(window_uuid)
        return window if window is not None and window.window_id == window_id else None
