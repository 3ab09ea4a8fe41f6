"""Pokes: messages that are typed into a recipient's window, and what becomes of them.

What is typed cannot be taken back, so a poke is in the log before anything is typed, and what came
of it afterwards. One of which that is not known is never typed again.
"""

from collections.abc import Mapping
from typing import Final

from intermute.domain import limits
from intermute.domain.commands import (
    Caller,
    PokeOutcome,
    ResumePokes,
    SendMessage,
    SettlePokes,
    SurfacePoke,
)
from intermute.domain.decision import Accepted, Decision, Decisions
from intermute.domain.envelope import shorten
from intermute.domain.events import PeerWindowPoke, PeerWindowPokeSettled, PokeSurfaced
from intermute.domain.panes import Window
from intermute.domain.refusals import Code, Refusal, quoted
from intermute.domain.stamp import Stamp
from intermute.domain.state import FOCUS_UNKNOWN, State
from intermute.domain.times import seconds_up
from intermute.domain.values import Value
from intermute.domain.views import PokeView, SettledView, SurfacedView

ASYNC, LIVE, BOTH = "async", "live", "both"
PENDING, INJECTED, DEFERRED, FAILED = "pending", "injected", "deferred", "failed"
AT_PROMPT: Final = "at-prompt"
NO_WINDOW: Final = "recipient_has_no_window"
RATE_LIMITED: Final = "rate_limited"
INTERRUPTED: Final = "interrupted"


class Plan(Value):
    """What is to be typed for a message.

    Attributes:
        pokes: The events that say so.
        delivery: By recipient how it stands, those that were poked before included.
        cursor: Of the first poke, the new ones' or a former one's.
    """

    pokes: tuple[PeerWindowPoke, ...]
    delivery: dict[str, str]
    cursor: int


def transport_of(state: State, command: SendMessage) -> str | Refusal:
    """How a message travels. While live delivery is off, everything waits in the inbox."""
    if command.transport in ("", ASYNC) or not state.is_live_on:
        return ASYNC
    if command.transport not in (LIVE, BOTH):
        return Refusal(
            Code.INVALID_REQUEST, "invalid transport: must be async, live or both, or left out"
        )
    if len(set(command.to)) > limits.POKE_RECIPIENTS_MAX:
        return Refusal(
            Code.INVALID_REQUEST,
            f"at most {limits.POKE_RECIPIENTS_MAX} recipients can be reached in their windows",
        )
    if command.transport == LIVE and len(command.body) > limits.ENVELOPE_BODY_LEN_MAX:
        return Refusal(
            Code.INVALID_REQUEST,
            f"a body of at most {limits.ENVELOPE_BODY_LEN_MAX} characters can be sent live only, "
            "because it is kept nowhere else: send it with the transport both",
        )
    return command.transport


def plan(
    state: State,
    command: SendMessage,
    *,
    transport: str,
    message_id: str,
    to: tuple[str, ...],
    before: Mapping[str, PokeView],
    cursor: int,
) -> Plan | Refusal:
    """Which of the recipients a message is typed to, and what becomes of the others.

    Args:
        transport: `LIVE`, where each recipient must be reached or nobody is; or `BOTH`.
        to: The recipients that let the message in.
        before: The pokes of the same message id by recipient: a message that is sent again is not
            typed again, except to whom it could not be delivered.
        cursor: The cursor that the first new poke gets.
    """
    known = {
        agent_id: before[agent_id].result
        for agent_id in to
        if agent_id in before and before[agent_id].result != FAILED
    }
    asked = tuple(agent_id for agent_id in to if agent_id not in known)
    if transport == LIVE:
        if not to:
            return Refusal(
                Code.DELIVERY_FAILED,
                "no recipient in `to` takes live messages from this sender; nothing was sent",
                {"delivery": {}, "retry_after_seconds": limits.POKE_BUSY_RETRY_MS // 1000},
            )
        refusal = _refuse_live(state, command, asked)
        if refusal is not None:
            return refusal
    body = shorten(command.body)
    pokes = []
    for agent_id in asked:
        window, reason = _reach(state, command, agent_id)
        pokes.append(
            PeerWindowPoke(
                message_id=message_id,
                agent_id=agent_id,
                sender=command.sender,
                thread_id=command.thread_id,
                body=body,
                transport=transport,
                window_uuid="" if window is None else window.window_uuid,
                tmux_target="" if window is None else window.tmux_target,
                result=DEFERRED if reason else PENDING,
                reason=reason,
            )
        )
    first = min((before[agent_id].cursor for agent_id in known), default=cursor)
    new = {poke.agent_id: poke.result for poke in pokes}
    delivery = {agent_id: known.get(agent_id) or new[agent_id] for agent_id in to}
    return Plan(tuple(pokes), delivery, cursor if pokes else first)


def _refuse_live(state: State, command: SendMessage, to: tuple[str, ...]) -> Refusal | None:
    """Why a message that is only sent live is sent to nobody: one of them cannot be reached."""
    for agent_id in to:
        wait_us = state.poke_rates.wait_us((command.sender, agent_id), state.mono_us)
        if wait_us > 0:
            wait_s = seconds_up(wait_us)
            return Refusal(
                Code.RATE_LIMIT,
                f"{quoted(agent_id)} has had {limits.POKES_PER_PAIR_MAX} live messages from this "
                f"sender in {limits.RATE_WINDOW_MS // 1000} s; nothing was sent; again in "
                f"{wait_s} s",
                {"agent": agent_id, "retry_after_seconds": wait_s},
            )
    for agent_id in to:
        _, reason = _reach(state, command, agent_id)
        if reason:
            return Refusal(
                Code.RECIPIENT_BUSY,
                f"{quoted(agent_id)} cannot be reached in a window now ({reason}); nothing was "
                "sent; ask again, or send it with the transport both",
                {
                    "agent": agent_id,
                    "focus_state": _focus(state, agent_id),
                    "reason": reason,
                    "retry_after_seconds": limits.POKE_BUSY_RETRY_MS // 1000,
                },
            )
    return None


def _reach(state: State, command: SendMessage, agent_id: str) -> tuple[Window | None, str]:
    """The window where an agent can be reached, and why it cannot be; empty when it can."""
    window = _window(state, agent_id, command.target_window_uuid)
    if state.poke_rates.wait_us((command.sender, agent_id), state.mono_us) > 0:
        return window, RATE_LIMITED
    focus = _focus(state, agent_id)
    if focus != AT_PROMPT:
        return window, f"recipient_{focus}"
    return window, "" if window is not None else NO_WINDOW


def _focus(state: State, agent_id: str) -> str:
    agent = state.agents.get(agent_id)
    return FOCUS_UNKNOWN if agent is None else state.focus_of(agent)


def _window(state: State, agent_id: str, window_uuid: str) -> Window | None:
    """The window that is asked for, or the last active one that something can be typed into."""
    for window in state.windows.of(agent_id):
        if window.tmux_target and window_uuid in ("", window.window_uuid):
            return window
    return None


def settle(state: State, command: SettlePokes, stamp: Stamp, caller: Caller) -> Decision:
    """Each poke is settled once; what comes later about the same one is left out."""
    return _settle(state, command.message_id, command.outcomes)


def _settle(state: State, message_id: str, outcomes: tuple[PokeOutcome, ...]) -> Accepted:
    events = []
    for outcome in outcomes:
        known = state.pokes.get((message_id, outcome.agent_id))
        if known is None:
            continue
        transport, sender = known
        result = INJECTED if outcome.injected else _not_injected(transport)
        events.append(
            PeerWindowPokeSettled(message_id, outcome.agent_id, sender, result, outcome.reason)
        )
    return Accepted(SettledView(len(events)), events=tuple(events))


def _not_injected(transport: str) -> str:
    return DEFERRED if transport == BOTH else FAILED


def resume(state: State, command: ResumePokes, stamp: Stamp, caller: Caller) -> Decision:
    events = tuple(
        PeerWindowPokeSettled(message_id, agent_id, sender, _not_injected(transport), INTERRUPTED)
        for (message_id, agent_id), (transport, sender) in state.pokes.items()
    )
    return Accepted(SettledView(len(events)), events=events)


def surface(state: State, command: SurfacePoke, stamp: Stamp, caller: Caller) -> Decision:
    """Once is enough: any further time changes nothing."""
    poke = state.rows.poke(command.message_id, command.agent_id)
    if poke is None or poke.result != DEFERRED:
        return poke_not_found(command.message_id)
    events = () if poke.surfaced_at_us else (PokeSurfaced(command.message_id, command.agent_id),)
    answer = SurfacedView(command.message_id, command.agent_id)
    return Accepted(answer, events=events, actor=command.agent_id)


def poke_not_found(message_id: str) -> Refusal:
    return Refusal(
        Code.POKE_NOT_FOUND, f"no deferred poke of message {quoted(message_id)} is kept here"
    )


DECISIONS: Decisions = {
    SettlePokes: settle,
    ResumePokes: resume,
    SurfacePoke: surface,
}
