"""The closed vocabulary of refusals: what a client can be told no for.

A refusal is a value and changes nothing. It is the client's business, so it never counts
toward a circuit breaker and never says how to get round what it refuses. Which HTTP status
belongs to each code is decided in one table, `intermute.wire.problems`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import field

from intermute.domain.limits import QUOTED_LEN_MAX
from intermute.domain.values import Value


class Code(StrEnum):
    """Machine-readable names of all refusals."""

    INVALID_REQUEST = "invalid_request"
    INVALID_SESSION_ID = "invalid_session_id"
    INVALID_PATTERN = "invalid_pattern"
    INVALID_PROJECT = "invalid_project"
    INVALID_STATUS = "invalid_status"
    INVALID_PLAN = "invalid_plan"
    AGENT_NOT_FOUND = "agent_not_found"
    RESERVATION_NOT_FOUND = "reservation_not_found"
    CONTACT_NOT_FOUND = "contact_not_found"
    MESSAGE_NOT_FOUND = "message_not_found"
    ENTITY_NOT_FOUND = "entity_not_found"
    REFERENCE_NOT_FOUND = "reference_not_found"
    LINK_NOT_FOUND = "link_not_found"
    WINDOW_NOT_FOUND = "window_not_found"
    POKE_NOT_FOUND = "poke_not_found"
    AGENT_IDENTITY_MISMATCH = "agent_identity_mismatch"
    AGENT_TOKEN_REQUIRED = "agent_token_required"
    AGENT_TOKEN_MISMATCH = "agent_token_mismatch"
    OPERATOR_REQUIRED = "operator_required"
    NOT_THE_OWNER = "not_the_owner"
    NOT_THE_SENDER = "not_the_sender"
    NOT_A_RECIPIENT = "not_a_recipient"
    POLICY_DENIED = "policy_denied"
    PROJECT_MISMATCH = "project_mismatch"
    ACTIVE_SESSION_CONFLICT = "active_session_conflict"
    RESERVATION_CONFLICT = "reservation_conflict"
    RESERVATION_LAPSED = "reservation_lapsed"
    ENTITY_EXISTS = "entity_exists"
    VERSION_CONFLICT = "version_conflict"
    TASK_CLAIMED = "task_claimed"
    WINDOW_TAKEN = "window_taken"
    DEADLOCK = "deadlock"
    TICKET_NOT_FOUND = "ticket_not_found"
    NO_SUCH_WAITER = "no_such_waiter"
    STALE_TOKEN = "stale_token"
    NOT_COVERED = "not_covered"
    SETTING_IN_USE = "setting_in_use"
    CURSOR_GONE = "cursor_gone"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    SEARCH_TOO_BROAD = "search_too_broad"
    LIMIT_REACHED = "limit_reached"
    RATE_LIMIT = "rate_limit"
    RECIPIENT_BUSY = "recipient_busy"
    DELIVERY_FAILED = "delivery_failed"


class Refusal(Value):
    """No, and why.

    Attributes:
        code: What is wrong, for programs.
        detail: What is wrong and what to do next, for people.
        data: Further members of the answer: JSON values, and views that are put into wire form
            with the answer (`conflicts`, `superseded_by`).
    """

    code: Code
    detail: str
    data: Mapping[str, Any] = field(default_factory=dict)


def quoted(text: str) -> str:
    """What a client sent, in quotation marks, as far as an error repeats it."""
    return repr(text[:QUOTED_LEN_MAX])
