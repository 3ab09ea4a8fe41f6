"""Who may act in whose name.

A token, once presented, must be the right one. An agent that has presented its token once is
held to it from then on; until then its name alone is enough, because clients that never kept
their token exist. A project may be set to require tokens of every registered agent.
"""

import hmac
from collections.abc import Callable

from intermute.domain.archive import Credential
from intermute.domain.commands import Caller, Command, RegisterAgent, RetireAgent
from intermute.domain.events import Mark, Seen, TokenBound
from intermute.domain.limits import PRESENCE_GRAIN_MS
from intermute.domain.refusals import Code, Refusal
from intermute.domain.stamp import tag_of
from intermute.domain.state import State

IDENTITY_MISMATCH = Refusal(
    Code.AGENT_IDENTITY_MISMATCH,
    "agent identity mismatch: the agent id and the agent token presented do not belong to "
    "the agent that this request acts for",
)


def refuse_caller(state: State, caller: Caller, acting: str | None) -> Refusal | None:
    """Why `caller` may not act as `acting`, or None when it may."""
    refusal = refuse_identity(
        caller, acting, state.agents.get, tokens_required=state.tokens_required
    )
    if refusal is None and acting is not None and acting not in state.agents:
        return _refuse_retired(state, acting)
    return refusal


def _refuse_retired(state: State, acting: str) -> Refusal | None:
    """The name of an agent that was held to its token is nobody's once the token has ended."""
    if state.archive is None or tag_of(acting) != state.tag:
        return None
    credential = state.archive.credential(acting)
    if credential is None or not credential.token_bound:
        return None
    return Refusal(
        Code.AGENT_TOKEN_REQUIRED,
        f"agent {acting} acted with its token and has retired: nobody acts in its name any more",
    )


def refuse_identity(
    caller: Caller,
    acting: str | None,
    find: Callable[[str], Credential | None],
    *,
    tokens_required: bool,
) -> Refusal | None:
    """Why `caller` may not act, or look, as `acting`; `find` knows the registered agents.

    An unknown agent and a wrong token are told apart by nobody: both are the same mismatch.
    """
    shown = caller.token_hash
    if shown is not None and not has_token(find(caller.agent_id or ""), shown):
        return IDENTITY_MISMATCH
    if acting is None:
        return None
    if caller.agent_id is not None and caller.agent_id != acting:
        return IDENTITY_MISMATCH
    agent = find(acting)
    if agent is None or shown is not None:
        return None
    if agent.token_bound or tokens_required:
        return Refusal(
            Code.AGENT_TOKEN_REQUIRED,
            f"agent {acting} acts with its token: send X-Agent-ID and X-Agent-Token, or register "
            "again with the agent's session_id once it has been silent long enough",
        )
    return None


def has_token(agent: Credential | None, token_hash: bytes) -> bool:
    """Whether it is the hash of the agent's token. No agent has none, and takes as long to tell."""
    known = bytes(len(token_hash)) if agent is None else agent.token_hash
    return hmac.compare_digest(known, token_hash) and agent is not None


def ends_token(command: Command) -> bool:
    """Whether it may end the token it was sent with. A retry cannot prove that one again, so it
    must be part of what makes the retry the same request."""
    return isinstance(command, RegisterAgent | RetireAgent)


def proven_by_request(command: Command, caller: Caller) -> bool:
    """Whether whoever sends the same request again shows by that alone that it may."""
    if isinstance(command, RetireAgent):
        return caller.token_hash is not None and caller.agent_id == command.agent_id
    return ends_token(command)


def refuse_unproven(caller: Caller, agent_id: str, what: str) -> Refusal | None:
    """Why a caller that may act for an agent by its name may yet not do `what` without its token.

    That the token is the agent's is judged where the caller is.
    """
    if caller.token_hash is not None:
        return None
    return Refusal(
        Code.AGENT_TOKEN_REQUIRED,
        f"agent {agent_id} has a window, which was registered with its token: {what} takes that "
        "token too, as X-Agent-Token beside X-Agent-ID",
    )


def caller_marks(state: State, caller: Caller, acting: str | None) -> tuple[Mark, ...]:
    """What an accepted command shows of the agent: that it lives, that it has its token."""
    agent = state.agents.get(acting or "")
    if agent is None:
        return ()
    marks: tuple[Mark, ...] = ()
    if state.mono_us - agent.last_seen_mono_us >= PRESENCE_GRAIN_MS * 1000:
        marks = (Seen(agent.agent_id, state.at_us, state.mono_us),)
    if caller.token_hash is not None and not agent.token_bound:
        marks = (*marks, TokenBound(agent.agent_id))
    return marks
