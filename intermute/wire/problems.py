"""The one table from refusal codes to HTTP, and refusals as members of an error answer."""

from typing import Any, Final

from intermute.domain.modes import Mode
from intermute.domain.refusals import Code, Refusal
from intermute.domain.times import iso
from intermute.domain.views import ConflictView, SupersededView

STATUSES: Final[dict[Code, tuple[int, str]]] = {
    Code.INVALID_REQUEST: (400, "The request is not valid"),
    Code.INVALID_SESSION_ID: (400, "The session id is not a UUID"),
    Code.INVALID_PATTERN: (400, "The pattern is not valid"),
    Code.INVALID_PROJECT: (400, "The project name is not valid"),
    Code.INVALID_STATUS: (400, "Not one of the allowed words"),
    Code.INVALID_PLAN: (400, "The plan is not valid"),
    Code.AGENT_IDENTITY_MISMATCH: (403, "Another agent's identity"),
    Code.AGENT_TOKEN_REQUIRED: (403, "The agent's token is required"),
    Code.AGENT_TOKEN_MISMATCH: (403, "Not the agent's token"),
    Code.OPERATOR_REQUIRED: (403, "Only an operator may do this"),
    Code.NOT_THE_OWNER: (403, "The reservation is another agent's"),
    Code.NOT_THE_SENDER: (403, "The message is another agent's"),
    Code.NOT_A_RECIPIENT: (403, "Not a recipient of the message"),
    Code.POLICY_DENIED: (403, "The recipients do not take this message"),
    Code.PROJECT_MISMATCH: (403, "Another project"),
    Code.AGENT_NOT_FOUND: (404, "No such agent"),
    Code.RESERVATION_NOT_FOUND: (404, "No such reservation"),
    Code.CONTACT_NOT_FOUND: (404, "No such contact"),
    Code.MESSAGE_NOT_FOUND: (404, "No such message"),
    Code.ENTITY_NOT_FOUND: (404, "No such entity"),
    Code.REFERENCE_NOT_FOUND: (404, "What is referred to is not there"),
    Code.LINK_NOT_FOUND: (404, "No such link"),
    Code.WINDOW_NOT_FOUND: (404, "No such window"),
    Code.POKE_NOT_FOUND: (404, "No such poke"),
    Code.ACTIVE_SESSION_CONFLICT: (409, "The session is in use"),
    Code.RESERVATION_CONFLICT: (409, "Somebody else holds the path"),
    Code.DEADLOCK: (409, "To wait would be a deadlock"),
    Code.NO_SUCH_WAITER: (409, "Nobody waits for that"),
    Code.STALE_TOKEN: (409, "The fencing token is stale"),
    Code.NOT_COVERED: (409, "The pattern is not within what is held"),
    Code.TICKET_NOT_FOUND: (404, "No such ticket"),
    Code.RESERVATION_LAPSED: (409, "The lease has lapsed"),
    Code.ENTITY_EXISTS: (409, "The entity is there already"),
    Code.VERSION_CONFLICT: (409, "Somebody has changed it since"),
    Code.TASK_CLAIMED: (409, "Somebody else has the task"),
    Code.WINDOW_TAKEN: (409, "The window is another agent's"),
    Code.SETTING_IN_USE: (409, "The setting is in use"),
    Code.CURSOR_GONE: (410, "There is no such cursor"),
    Code.IDEMPOTENCY_KEY_REUSED: (422, "The idempotency key belongs to another request"),
    Code.SEARCH_TOO_BROAD: (422, "The search takes too long"),
    Code.LIMIT_REACHED: (429, "A limit is reached"),
    Code.RATE_LIMIT: (429, "Too many in a short time"),
    Code.RECIPIENT_BUSY: (503, "A recipient cannot be reached now"),
    Code.DELIVERY_FAILED: (503, "The message was not delivered"),
}
assert set(STATUSES) == set(Code)


def refusal_members(refusal: Refusal) -> dict[str, Any]:
    """The members that a refusal adds to those of every error answer."""
    members = dict(refusal.data)
    if refusal.code is Code.RESERVATION_CONFLICT:
        members["conflicts"] = [conflict(found) for found in refusal.data["conflicts"]]
    elif refusal.code is Code.STALE_TOKEN:
        by = refusal.data["superseded_by"]
        members["superseded_by"] = None if by is None else superseded(by)
    return members


def conflict(found: ConflictView) -> dict[str, Any]:
    """One conflict: somebody holds it, or waits for it and came first.

    `held_by` is the holder's or waiter's name, or its id when it is not registered.
    """
    waits = found.standing == "waiting"
    members: dict[str, Any] = {
        "ticket_id" if waits else "reservation_id": found.reservation_id,
        "standing": found.standing,
        "agent_id": found.agent_id,
        "held_by": found.held_by,
        "pattern": found.pattern,
        "expires_at": iso(found.expires_at_us),
        "since": iso(found.since_us),
        "exclusive": found.mode is Mode.EXCLUSIVE,
        "mode": found.mode.value,
        "holder": found.holder,
        "holder_alive": found.holder == "live",
        "requested": found.requested,
        "witness": found.witness,
    }
    if not waits:
        members["fencing_token"] = found.fencing_token
    if found.reason:
        members["reason"] = found.reason
    return members


def superseded(found: SupersededView) -> dict[str, Any]:
    """The grant that made an older token stale."""
    return {
        "reservation_id": found.reservation_id,
        "agent_id": found.agent_id,
        "held_by": found.held_by,
        "fencing_token": found.fencing_token,
        "pattern": found.pattern,
        "witness": found.witness,
        "since": iso(found.since_us),
    }
