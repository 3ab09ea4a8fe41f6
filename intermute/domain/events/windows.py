"""Events of the windows."""

from typing import ClassVar

from intermute.domain.events.base import EventData


class WindowEvent(EventData):
    """Something happened to a window."""

    window_id: str
    agent_id: str
    window_uuid: str

    @property
    def entity_id(self) -> str:
        return self.window_id

    @property
    def audience(self) -> tuple[str, ...] | None:
        return (self.agent_id,)


class WindowRegistered(WindowEvent):
    """An agent works in this window, newly or still. The fields hold what is true from now on."""

    type: ClassVar[str] = "window.registered"
    display_name: str
    tmux_target: str


class WindowExpired(WindowEvent):
    """`cause` is `closed`, or `retired` when the retirement of its agent ended it."""

    type: ClassVar[str] = "window.expired"
    cause: str
