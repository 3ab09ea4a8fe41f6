"""The one door to all decisions: the caller, then the command."""

from typing import Any

from intermute.domain import (
    agents,
    calls,
    commands,
    fences,
    leases,
    messages,
    narrowing,
    pokes,
    preflight,
    reservations,
    settings,
    waiting,
    windows,
)
from intermute.domain.commands import Caller, Command
from intermute.domain.decision import Accepted, Decision, Decisions
from intermute.domain.entities import decisions as entities
from intermute.domain.events import CallOpened, PaneTokenSet, TokenSet
from intermute.domain.identity import caller_marks, refuse_caller
from intermute.domain.refusals import Code, Refusal
from intermute.domain.stamp import Stamp
from intermute.domain.state import State
from intermute.globs import TooMuchWork


def advance(state: State, stamp: Stamp) -> None:
    """Move the state's clocks to the stamp. Neither ever goes backwards."""
    state.at_us = max(state.at_us, stamp.at_us)
    state.mono_us = max(state.mono_us, stamp.mono_us)


def decide(state: State, command: Command, stamp: Stamp, caller: Caller) -> Decision:
    """What comes of `command`. Looks at the state and changes nothing.

    `advance` was called with the stamp, and every lease due by it has been expired.
    """
    refusal = refuse(state, command, caller)
    if refusal is not None:
        return refusal
    acting = command.acting
    try:
        decision = _DECISIONS[type(command)](state, command, stamp, caller)
    except TooMuchWork:
        return _TOO_MUCH_TOGETHER if state.allowance.short else _TOO_MUCH_WORK
    overridden = _may_override(command, caller)
    if isinstance(decision, Accepted) and acting is not None and not overridden:
        noted = caller_marks(state, caller, acting)
        if noted or decision.actor is None:
            marks = (*noted, *decision.marks)
            actor = decision.actor or acting
            return Accepted(decision.answer, decision.events, marks, actor)
    return decision


_TOO_MUCH_WORK = Refusal(
    Code.LIMIT_REACHED,
    "these patterns with wildcards could match the same paths as too many others that are held or "
    "waited for, and to compare them all would take too long: send fewer of them, let them begin "
    "with different directories, or name plain paths",
)

_TOO_MUCH_TOGETHER = Refusal(
    Code.LIMIT_REACHED,
    "to compare the patterns of all that is asked for in this request would take too long: send "
    "this by itself",
)


def refuse(state: State, command: Command, caller: Caller) -> Refusal | None:
    """Why the caller may not send the command, whatever would come of it; None when it may."""
    if _may_override(command, caller):
        return None
    return refuse_caller(state, caller, command.acting)


def replay(state: State, command: Command, answer: Any) -> Decision:
    """What comes of a command to whose request `answer` was already given before.

    A registration that is asked for again brings a new token, because nobody has the old one:
    only its hash was kept. An agent that has retired gets none, for it has ended for good. A call
    that is asked for again waits on the same ticket.
    """
    if isinstance(command, commands.RegisterAgent):
        if answer.agent_id not in state.agents:
            return agents.retired_since(answer.agent_id)
        return Accepted(answer, marks=(TokenSet(answer.agent_id, command.token_hash),))
    if isinstance(command, commands.RegisterWindow):
        note = PaneTokenSet(answer.window_id, answer.window_uuid, command.pane_hash)
        return Accepted(answer, marks=(note,))
    if isinstance(command, commands.QueuePaths) and command.call is not None:
        ticket = answer.ticket
        if ticket is not None:
            return Accepted(answer, marks=(CallOpened(ticket.ticket_id, command.call),))
    return Accepted(answer)


def _may_override(command: Command, caller: Caller) -> bool:
    """An operator who claims to be no agent may retire any: agents that are gone cannot."""
    operator = caller.operator and caller.agent_id is None and caller.token_hash is None
    return operator and isinstance(command, commands.RetireAgent)


_DECISIONS: Decisions = {
    **agents.DECISIONS,
    **calls.DECISIONS,
    **entities.DECISIONS,
    **fences.DECISIONS,
    **leases.DECISIONS,
    **messages.DECISIONS,
    **narrowing.DECISIONS,
    **pokes.DECISIONS,
    **preflight.DECISIONS,
    **reservations.DECISIONS,
    **settings.DECISIONS,
    **waiting.DECISIONS,
    **windows.DECISIONS,
}
