"""Windows on the wire."""

from typing import Annotated, Any

from msgspec import Meta

from intermute.domain import limits
from intermute.domain.commands import RegisterWindow
from intermute.domain.times import iso
from intermute.domain.values import Value
from intermute.domain.views import WindowExpiredView, WindowView
from intermute.domain.windows import is_tmux_target
from intermute.wire.agents import AgentId, Project
from intermute.wire.bodies import BadRequest, convert, line

WindowUuid = Annotated[str, Meta(max_length=limits.WINDOW_UUID_LEN_MAX)]
DisplayName = Annotated[str, Meta(max_length=limits.DISPLAY_NAME_LEN_MAX)]
Target = Annotated[str, Meta(max_length=limits.TMUX_TARGET_LEN_MAX)]
Token = Annotated[str, Meta(max_length=limits.AGENT_TOKEN_LEN_MAX)]


class WindowBody(Value):
    project: Project = ""
    window_uuid: WindowUuid = ""
    agent_id: AgentId = ""
    display_name: DisplayName = ""
    tmux_target: Target = ""
    registration_token: Token = ""


def read_window(members: dict[str, Any]) -> WindowBody:
    return convert(members, WindowBody)


def register(body: WindowBody, *, token_hash: bytes, pane_hash: bytes) -> RegisterWindow:
    window_uuid = line(body.window_uuid, "window_uuid")
    agent_id = line(body.agent_id, "agent_id")
    if not window_uuid or not agent_id:
        raise BadRequest("project, window_uuid, and agent_id are required")
    if body.tmux_target and not is_tmux_target(body.tmux_target):
        raise BadRequest(
            "invalid tmux_target: session:window.pane, in letters, digits, `_`, `.` and `-`"
        )
    return RegisterWindow(
        window_uuid=window_uuid,
        agent_id=agent_id,
        token_hash=token_hash,
        pane_hash=pane_hash,
        display_name=line(body.display_name, "display_name"),
        tmux_target=body.tmux_target,
    )


def window(view: WindowView) -> dict[str, Any]:
    members: dict[str, Any] = {
        "id": view.window_id,
        "project": view.project,
        "window_uuid": view.window_uuid,
        "agent_id": view.agent_id,
        "display_name": view.display_name,
    }
    if view.tmux_target:
        members["tmux_target"] = view.tmux_target
    members["created_at"] = iso(view.created_at_us)
    members["last_active_at"] = iso(view.last_active_at_us)
    members["cursor"] = view.cursor
    return members


def registered(view: WindowView, *, pane_token: str, pane_option: str) -> dict[str, Any]:
    """The answer to whose window it is: with the token that its pane has to show, and how."""
    members = window(view)
    if view.tmux_target:
        members["pane_token"] = pane_token
        show = f'tmux set-option -p -t "$TMUX_PANE" {pane_option} {pane_token}'
        members["pane_command"] = show
    return members


def expired(view: WindowExpiredView) -> dict[str, Any]:
    return {
        "status": "expired",
        "window_uuid": view.window_uuid,
        "expired_at": iso(view.expired_at_us),
    }
