"""The one table from refusal codes to HTTP, and refusals as members of an error answer."""

from typing import Any, Final

from intermute.domain.refusals import Code, Refusal
from intermute.domain.times import iso
from intermute.domain.views import ConflictView

STATUSES: Final[dict[Code, tuple[int, str]]] = {
    Code.INVALID_REQUEST: (400, "The request is not valid"),
    Code.INVALID_SESSION_ID: (400, "The session id is not a UUID"),
    Code.INVALID_PATTERN: (400, "The pattern is not valid"),
    Code.INVALID_PROJECT: (400, "The project name is not valid"),
    Code.AGENT_IDENTITY_MISMATCH: (403, "Another agent's identity"),
    Code.AGENT_TOKEN_REQUIRED: (403, "The agent's token is required"),
    Code.NOT_THE_OWNER: (403, "The reservation is another agent's"),
    Code.PROJECT_MISMATCH: (403, "Another project"),
    Code.AGENT_NOT_FOUND: (404, "No such agent"),
    Code.RESERVATION_NOT_FOUND: (404, "No such reservation"),
    Code.CONTACT_NOT_FOUND: (404, "No such contact"),
    Code.ACTIVE_SESSION_CONFLICT: (409, "The session is in use"),
    Code.RESERVATION_CONFLICT: (409, "Somebody else holds the path"),
    Code.RESERVATION_LAPSED: (409, "The lease has lapsed"),
    Code.SETTING_IN_USE: (409, "The setting is in use"),
    Code.IDEMPOTENCY_KEY_REUSED: (422, "The idempotency key belongs to another request"),
    Code.LIMIT_REACHED: (429, "A limit is reached"),
}
assert set(STATUSES) == set(Code)


def refusal_members(refusal: Refusal) -> dict[str, Any]:
    """The members that a refusal adds to those of every error answer."""
    members = dict(refusal.data)
    if refusal.code is Code.RESERVATION_CONFLICT:
        members["conflicts"] = [conflict(found) for found in refusal.data["conflicts"]]
    return members


def conflict(found: ConflictView) -> dict[str, Any]:
    """One conflict. `held_by` is the holder's name, or its id when it is not registered."""
    members: dict[str, Any] = {
        "reservation_id": found.reservation_id,
        "agent_id": found.agent_id,
        "held_by": found.held_by,
        "pattern": found.pattern,
        "expires_at": iso(found.expires_at_us),
        "since": iso(found.since_us),
        "exclusive": found.exclusive,
        "mode": "exclusive" if found.exclusive else "shared",
        "holder": found.holder,
        "holder_alive": found.holder == "live",
        "requested": found.requested,
        "witness": found.witness,
    }
    if found.reason:
        members["reason"] = found.reason
    return members
