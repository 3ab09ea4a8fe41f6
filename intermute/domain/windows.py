"""Windows: in which terminal window an agent works, and who may say so.

A window belongs to the agent whose token came with it, for as long as it lives. A pane is typed
into only when it shows the token that its window was given last.
"""

import re
from typing import Final

from intermute.domain import limits
from intermute.domain.commands import Caller, ExpireWindow, RegisterWindow
from intermute.domain.decision import Accepted, Decision, Decisions
from intermute.domain.events import PaneTokenSet, Seen, WindowExpired, WindowRegistered
from intermute.domain.identity import (
    IDENTITY_MISMATCH,
    has_token,
    refuse_caller,
)
from intermute.domain.panes import Window
from intermute.domain.refusals import Code, Refusal, quoted
from intermute.domain.stamp import Stamp, make_id
from intermute.domain.state import State
from intermute.domain.views import WindowExpiredView, WindowView

# A session, a window of it, and the number of a pane. The whole text must match.
TMUX_TARGET: Final = re.compile(r"[A-Za-z0-9_.-]+(?::[A-Za-z0-9_.-]+)?(?:\.[0-9]+)?")

TOKEN_MISMATCH = Refusal(
    Code.AGENT_TOKEN_MISMATCH,
    "agent_token_mismatch: registration_token must be the token of agent_id, which must be "
    "registered in this project",
)


def is_tmux_target(text: str) -> bool:
    """Whether it is of the shape `session:window.pane`, the parts from the end left out or not."""
    return len(text) <= limits.TMUX_TARGET_LEN_MAX and TMUX_TARGET.fullmatch(text) is not None


def not_found(window_uuid: str) -> Refusal:
    return Refusal(Code.WINDOW_NOT_FOUND, f"no live window {quoted(window_uuid)} is known here")


def register(state: State, command: RegisterWindow, stamp: Stamp, caller: Caller) -> Decision:
    """A new window, or the agent's own one as it is now. Each time its pane gets a new token."""
    if caller.agent_id is not None and caller.agent_id != command.agent_id:
        return IDENTITY_MISMATCH
    agent = state.agents.get(command.agent_id)
    if not has_token(agent, command.token_hash):
        return TOKEN_MISMATCH
    window = state.windows.by_uuid.get(command.window_uuid)
    if window is not None and window.agent_id != command.agent_id:
        return Refusal(
            Code.WINDOW_TAKEN,
            f"window {quoted(command.window_uuid)} is another agent's until that one ends it",
        )
    if window is None:
        refusal = _refuse_more(state, command.agent_id)
        if refusal is not None:
            return refusal
    view = WindowView(
        window_id=window.window_id if window else make_id("win", state.tag, stamp.unique()),
        project=state.project,
        window_uuid=command.window_uuid,
        agent_id=command.agent_id,
        display_name=command.display_name or command.agent_id,
        tmux_target=command.tmux_target,
        created_at_us=window.created_at_us if window else state.at_us,
        last_active_at_us=state.at_us,
        cursor=state.cursor + 1,
    )
    event = WindowRegistered(
        window_id=view.window_id,
        agent_id=view.agent_id,
        window_uuid=view.window_uuid,
        display_name=view.display_name,
        tmux_target=view.tmux_target,
    )
    return Accepted(
        answer=view,
        events=(event,),
        marks=(
            PaneTokenSet(view.window_id, view.window_uuid, command.pane_hash),
            Seen(view.agent_id, state.at_us, state.mono_us),
        ),
        actor=view.agent_id,
    )


def _refuse_more(state: State, agent_id: str) -> Refusal | None:
    if len(state.windows.by_agent.get(agent_id, ())) >= limits.WINDOWS_PER_AGENT_MAX:
        most = f"an agent has at most {limits.WINDOWS_PER_AGENT_MAX} windows"
    elif len(state.windows) >= limits.WINDOWS_MAX:
        most = f"the project has at most {limits.WINDOWS_MAX} windows"
    else:
        return None
    return Refusal(
        Code.LIMIT_REACHED, f"{most}; end those that are gone (DELETE /api/windows/{{window_uuid}})"
    )


def expire(state: State, command: ExpireWindow, stamp: Stamp, caller: Caller) -> Decision:
    """The window's agent says that it is gone, so the caller must be able to speak for it."""
    window = state.windows.by_uuid.get(command.window_uuid)
    if window is None:
        return not_found(command.window_uuid)
    refusal = refuse_caller(state, caller, window.agent_id)
    if refusal is not None:
        return refusal
    return Accepted(
        answer=WindowExpiredView(window.window_uuid, state.at_us),
        events=(_expired(window, "closed"),),
        actor=window.agent_id,
    )


def retired(state: State, agent_id: str) -> tuple[WindowExpired, ...]:
    """What the retirement of an agent does to its windows."""
    return tuple(_expired(window, "retired") for window in reversed(state.windows.of(agent_id)))


def _expired(window: Window, cause: str) -> WindowExpired:
    return WindowExpired(window.window_id, window.agent_id, window.window_uuid, cause)


DECISIONS: Decisions = {
    RegisterWindow: register,
    ExpireWindow: expire,
}
