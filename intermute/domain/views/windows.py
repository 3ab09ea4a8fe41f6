"""What is shown of windows."""

from intermute.domain.values import Value


class WindowView(Value):
    """A terminal window in which an agent works. `cursor` is of the last event about it."""

    window_id: str
    project: str
    window_uuid: str
    agent_id: str
    display_name: str
    tmux_target: str
    created_at_us: int
    last_active_at_us: int
    cursor: int


class WindowExpiredView(Value):
    window_uuid: str
    expired_at_us: int
