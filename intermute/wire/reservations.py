"""Reservations on the wire, under the names of today's clients and of the requirement document."""

from typing import Annotated, Any

import attrs
from msgspec import Meta

from intermute.domain import limits
from intermute.domain.commands import CheckPaths, RenewReservation, ReservePaths
from intermute.domain.times import iso
from intermute.domain.values import value
from intermute.domain.views import CheckedView, ReservationView
from intermute.wire.agents import AgentId, Project
from intermute.wire.bodies import BadRequest, convert, line
from intermute.wire.problems import conflict

# The pattern language has its own, exact length rule; this one only bounds what is looked at.
PatternText = Annotated[str, Meta(max_length=16_384)]
Patterns = Annotated[list[PatternText], Meta(max_length=limits.PATTERNS_PER_REQUEST_MAX)]
Reason = Annotated[str, Meta(max_length=limits.REASON_LEN_MAX)]


@value
class ReserveBody:
    project: Project = ""
    agent_id: AgentId = ""
    agent: AgentId = ""
    path_pattern: PatternText = ""
    path: PatternText = ""
    patterns: Patterns = attrs.field(factory=list)
    glob_patterns: Patterns = attrs.field(factory=list)
    exclusive: bool | None = None
    shared: bool | None = None
    reason: Reason = ""
    ttl_minutes: int = 0
    ttl_seconds: int = 0


@value
class _RenewBody:
    agent_id: AgentId = ""
    agent: AgentId = ""
    ttl_minutes: int = 0
    ttl_seconds: int = 0


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
    """Exclusive unless the body says `exclusive: false` or `shared: true`."""
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
    return ReservePaths(
        agent_id=agent_id,
        patterns=patterns,
        exclusive=_exclusive(body),
        reason=body.reason,
        ttl_ms=asked_ms or limits.TTL_DEFAULT_MS,
    )


def _exclusive(body: ReserveBody) -> bool:
    if body.exclusive is None:
        return not body.shared
    if body.shared is not None and body.shared == body.exclusive:
        raise BadRequest("exclusive and shared contradict each other")
    return body.exclusive


def renew(
    reservation_id: str, members: dict[str, Any], *, agent_id: str | None
) -> RenewReservation:
    """`agent_id` is the caller's, from its header; the body may name it instead."""
    body = convert(members, _RenewBody)
    named = line(body.agent_id or body.agent, "agent_id")
    return RenewReservation(
        reservation_id,
        agent_id=named or agent_id,
        ttl_ms=ttl_ms(minutes=body.ttl_minutes, seconds=body.ttl_seconds),
    )


def check(patterns: list[str], *, exclusive: bool, agent_id: str) -> CheckPaths:
    """Raises BadRequest when there is no pattern, or too many."""
    wanted = tuple(dict.fromkeys(text for text in patterns if text))
    if not wanted:
        raise BadRequest("pattern required")
    if len(wanted) > limits.PATTERNS_PER_REQUEST_MAX:
        raise BadRequest(f"at most {limits.PATTERNS_PER_REQUEST_MAX} patterns in one request")
    return CheckPaths(wanted, exclusive=exclusive, agent_id=agent_id.strip() or None)


def reservation(view: ReservationView, *, now_us: int) -> dict[str, Any]:
    """A reservation. `path_pattern` is its first pattern, for clients that know only one."""
    members: dict[str, Any] = {
        "id": view.reservation_id,
        "agent_id": view.agent_id,
        "project": view.project,
        "path_pattern": view.patterns[0],
        "patterns": view.patterns,
        "exclusive": view.exclusive,
        "mode": "exclusive" if view.exclusive else "shared",
    }
    if view.reason:
        members["reason"] = view.reason
    members["ttl_seconds"] = view.ttl_ms // 1000
    members["created_at"] = iso(view.created_at_us)
    members["expires_at"] = iso(view.expires_at_us)
    if view.ended == "released" and view.ended_at_us is not None:
        members["released_at"] = iso(view.ended_at_us)
    if view.ended == "expired" and view.ended_at_us is not None:
        members["expired_at"] = iso(view.ended_at_us)
    members["is_active"] = view.ended is None and now_us < view.expires_at_us
    members["cursor"] = view.cursor
    return members


def checked(view: CheckedView) -> dict[str, Any]:
    return {
        "conflicts": [conflict(found) for found in view.conflicts],
        "free": not view.conflicts,
        "more": view.more,
    }
