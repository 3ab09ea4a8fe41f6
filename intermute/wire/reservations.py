"""Reservations on the wire, under all the names that clients use for them."""

import math
from typing import Annotated, Any

from msgspec import Meta, field

from intermute.domain import limits
from intermute.domain.commands import (
    CheckPaths,
    HandOver,
    NarrowReservation,
    QueuePaths,
    RenewReservation,
    ReservePaths,
)
from intermute.domain.modes import ABBREVIATIONS, Mode, parse_mode
from intermute.domain.times import iso
from intermute.domain.values import Value
from intermute.domain.views import CheckedView, FenceView, ReservationView
from intermute.wire.agents import AgentId, Project
from intermute.wire.bodies import BadRequest, convert, decimal, line
from intermute.wire.problems import conflict, superseded

PatternText = Annotated[str, Meta(max_length=limits.PATTERN_TEXT_LEN_MAX)]
Patterns = Annotated[list[PatternText], Meta(max_length=limits.PATTERNS_PER_REQUEST_MAX)]
Reason = Annotated[str, Meta(max_length=limits.REASON_LEN_MAX)]
ModeText = Annotated[str, Meta(max_length=limits.MODE_LEN_MAX)]


class ReserveBody(Value):
    project: Project = ""
    agent_id: AgentId = ""
    agent: AgentId = ""
    path_pattern: PatternText = ""
    path: PatternText = ""
    patterns: Patterns = field(default_factory=list)
    glob_patterns: Patterns = field(default_factory=list)
    exclusive: bool | None = None
    shared: bool | None = None
    mode: ModeText = ""
    reason: Reason = ""
    ttl_minutes: int = 0
    ttl_seconds: int = 0
    renew_on_heartbeat: bool = False
    wait_seconds: float = 0.0
    queue: bool = False
    queue_seconds: int = 0


class _HoldersBody(Value):
    """What the holder of a reservation may say of it; each request takes some of this."""

    agent_id: AgentId = ""
    agent: AgentId = ""
    fencing_token: int | None = None


class _RenewBody(_HoldersBody):
    ttl_minutes: int = 0
    ttl_seconds: int = 0


class _NarrowBody(_HoldersBody):
    patterns: Patterns = field(default_factory=list)
    path_pattern: PatternText = ""


class _HandoverBody(_HoldersBody):
    to: AgentId = ""


class _ForceBody(Value):
    reason: Reason = ""


def ttl_ms(*, minutes: int, seconds: int) -> int | None:
    """A lease's length from its two members, None when neither gives one.

    Zero and less mean not given. What is above the cap is cut to it.

    Raises:
        BadRequest: Both are given, or the number is one that nobody can mean.
    """
    if minutes > 0 and seconds > 0:
        raise BadRequest("give ttl_minutes or ttl_seconds, not both")
    wanted_ms = minutes * 60_000 if minutes > 0 else seconds * 1000
    if max(wanted_ms, -60_000 * minutes, -1000 * seconds) > limits.TTL_ABSURD_MS:
        raise BadRequest(
            f"a lease of more than {limits.TTL_ABSURD_MS // 86_400_000} days is asked for; "
            f"the longest is {limits.TTL_MAX_MS // 3_600_000} hours"
        )
    return min(wanted_ms, limits.TTL_MAX_MS) if wanted_ms > 0 else None


def read_reserve(members: dict[str, Any]) -> ReserveBody:
    return convert(members, ReserveBody)


def reserve(body: ReserveBody) -> ReservePaths:
    """Exclusive unless the body says otherwise; a `QueuePaths` when it asks to wait."""
    agent_id = line(body.agent_id or body.agent, "agent_id")
    if not agent_id:
        raise BadRequest("agent_id required")
    wanted = [text for text in (body.path_pattern, body.path) if text]
    patterns = tuple(dict.fromkeys((*wanted, *body.patterns, *body.glob_patterns)))
    if not patterns:
        raise BadRequest("path_pattern required: one in path_pattern, or several in patterns")
    if len(patterns) > limits.PATTERNS_PER_REQUEST_MAX:
        raise BadRequest(f"at most {limits.PATTERNS_PER_REQUEST_MAX} patterns in one request")
    asked_ms = ttl_ms(minutes=body.ttl_minutes, seconds=body.ttl_seconds)
    command = ReservePaths(
        agent_id=agent_id,
        patterns=patterns,
        mode=_mode(body),
        reason=body.reason,
        ttl_ms=asked_ms or limits.TTL_DEFAULT_MS,
        renew_on_heartbeat=body.renew_on_heartbeat,
    )
    wait = _wait(body)
    if wait is None:
        return command
    wait_ms, held_open = wait
    return queued(command, wait_ms=wait_ms, held_open=held_open)


def queued(command: ReservePaths, *, wait_ms: int, held_open: bool) -> QueuePaths:
    """The same request, ready to wait."""
    return QueuePaths(
        agent_id=command.agent_id,
        patterns=command.patterns,
        mode=command.mode,
        reason=command.reason,
        ttl_ms=command.ttl_ms,
        renew_on_heartbeat=command.renew_on_heartbeat,
        wait_ms=wait_ms,
        held_open=held_open,
    )


def _wait(body: ReserveBody) -> tuple[int, bool] | None:
    """For how long it waits, and whether on the line; None when it does not wait."""
    if body.wait_seconds:
        if body.queue or body.queue_seconds:
            raise BadRequest("give wait_seconds or queue, not both")
        if not 0 < body.wait_seconds * 1000 <= limits.WAIT_MAX_MS:
            raise BadRequest(
                f"wait_seconds is more than 0 and at most {limits.WAIT_MAX_MS // 1000}: to wait "
                "longer, ask again or use queue"
            )
        return math.ceil(body.wait_seconds * 1000), True
    if body.queue_seconds and not body.queue:
        raise BadRequest("queue_seconds is for requests with queue: true")
    if not body.queue:
        return None
    wait_ms = body.queue_seconds * 1000 if body.queue_seconds > 0 else limits.QUEUE_DEFAULT_MS
    return min(wait_ms, limits.QUEUE_MAX_MS), False


def _mode(body: ReserveBody) -> Mode:
    """The mode that `mode`, `exclusive` and `shared` agree on."""
    if body.exclusive is not None and body.exclusive == body.shared:
        raise BadRequest("exclusive and shared contradict each other")
    flagged: Mode | None = None
    if body.exclusive is not None or body.shared is not None:
        flagged = Mode.EXCLUSIVE if body.exclusive or body.shared is False else Mode.SHARED
    named = read_mode(body.mode) if body.mode else None
    if named is not None and flagged is not None and named is not flagged:
        raise BadRequest("mode contradicts exclusive or shared: give one of them")
    return named or flagged or Mode.EXCLUSIVE


def read_mode(text: str) -> Mode:
    """Raises BadRequest for a word that is no mode."""
    mode = parse_mode(text.strip())
    if mode is None:
        raise BadRequest(f"invalid mode: must be one of {', '.join((*Mode, *ABBREVIATIONS))}")
    return mode


def renew(
    reservation_id: str, members: dict[str, Any], *, agent_id: str | None
) -> RenewReservation:
    """`agent_id` is the caller's, from its header; the body may name it instead."""
    body = convert(members, _RenewBody)
    return RenewReservation(
        reservation_id,
        agent_id=_holder(body, agent_id),
        ttl_ms=ttl_ms(minutes=body.ttl_minutes, seconds=body.ttl_seconds),
        fencing_token=body.fencing_token,
    )


def narrow(
    reservation_id: str, members: dict[str, Any], *, agent_id: str | None
) -> NarrowReservation:
    """`agent_id` is the caller's, as for a renewal."""
    body = convert(members, _NarrowBody)
    first = [body.path_pattern] if body.path_pattern else []
    patterns = tuple(dict.fromkeys((*first, *body.patterns)))
    if not patterns:
        raise BadRequest("patterns required: what of the reservation is kept")
    return NarrowReservation(
        reservation_id,
        patterns,
        agent_id=_holder(body, agent_id),
        fencing_token=body.fencing_token,
    )


def hand_over(reservation_id: str, members: dict[str, Any], *, agent_id: str | None) -> HandOver:
    """`agent_id` is the caller's, as for a renewal."""
    body = convert(members, _HandoverBody)
    to = line(body.to, "to")
    if not to:
        raise BadRequest("to required: the id of the agent that waits and is to go on")
    return HandOver(reservation_id, to, agent_id=_holder(body, agent_id))


def _holder(body: _HoldersBody, agent_id: str | None) -> str | None:
    return line(body.agent_id or body.agent, "agent_id") or agent_id


def force_reason(members: dict[str, Any]) -> str:
    """Raises BadRequest when no reason is given: the former holder has to be told one."""
    reason = convert(members, _ForceBody).reason.strip()
    if not reason:
        raise BadRequest("reason required: the holder is told why its reservation was ended")
    return reason


def read_token(text: str) -> int:
    """Raises BadRequest for what is no fencing token."""
    token = decimal(text.strip(), default=0, most=limits.CURSOR_MAX)
    if not token:
        raise BadRequest("a fencing token is a positive number")
    return token


def check(
    patterns: list[str], *, mode: Mode, agent_id: str, fencing_token: int | None = None
) -> CheckPaths:
    """Raises BadRequest when there is no pattern, or too many."""
    wanted = tuple(dict.fromkeys(text for text in patterns if text))
    if not wanted:
        raise BadRequest("pattern required")
    if len(wanted) > limits.PATTERNS_PER_REQUEST_MAX:
        raise BadRequest(f"at most {limits.PATTERNS_PER_REQUEST_MAX} patterns in one request")
    return CheckPaths(
        wanted, mode=mode, agent_id=agent_id.strip() or None, fencing_token=fencing_token
    )


def reservation(view: ReservationView, *, now_us: int | None = None) -> dict[str, Any]:
    """A reservation. `path_pattern` is its first pattern, for clients that know only one.

    Args:
        now_us: The wall clock, for an answer that may have been remembered for longer than the
            lease; None when it was looked up, as what has not ended is then active.
    """
    members: dict[str, Any] = {
        "id": view.reservation_id,
        "agent_id": view.agent_id,
        "project": view.project,
        "path_pattern": view.patterns[0],
        "patterns": view.patterns,
        "exclusive": view.mode is Mode.EXCLUSIVE,
        "mode": view.mode.value,
    }
    if view.reason:
        members["reason"] = view.reason
    members["ttl_seconds"] = view.ttl_ms // 1000
    if view.renew_on_heartbeat:
        members["renew_on_heartbeat"] = True
    members["created_at"] = iso(view.created_at_us)
    members["expires_at"] = iso(view.expires_at_us)
    if view.ended == "released" and view.ended_at_us is not None:
        members["released_at"] = iso(view.ended_at_us)
    if view.ended == "expired" and view.ended_at_us is not None:
        members["expired_at"] = iso(view.ended_at_us)
    ran_out = now_us is not None and view.expires_at_us <= now_us
    members["is_active"] = view.ended is None and not ran_out
    if view.ticket_id is not None and view.ended is None:
        members["ticket_id"] = view.ticket_id
        members["confirm_by"] = iso(view.expires_at_us)
    members["fencing_token"] = view.cursor
    members["cursor"] = view.cursor
    return members


def checked(view: CheckedView) -> dict[str, Any]:
    return {
        "conflicts": [conflict(found) for found in view.conflicts],
        "free": not view.conflicts,
        "total": view.total,
        "more": view.more,
    }


def fence(view: FenceView) -> dict[str, Any]:
    """How a fencing token stands."""
    members: dict[str, Any] = {
        "fencing_token": view.fencing_token,
        "newest": view.newest,
        "status": view.status,
        "reservation_id": view.reservation_id,
        "agent_id": view.agent_id,
        "project": view.project,
    }
    if view.ended_at_us is not None:
        members["ended_at"] = iso(view.ended_at_us)
    if view.superseded_by is not None:
        members["superseded_by"] = superseded(view.superseded_by)
    return members
