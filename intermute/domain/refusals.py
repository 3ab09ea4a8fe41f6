"""The closed vocabulary of refusals: what a client can be told no for.

A refusal is a value and changes nothing. It is the client's business, so it never counts
toward a circuit breaker and never says how to get round what it refuses. Which HTTP status
belongs to each code is decided in one table, `intermute.wire.problems`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import attrs

from intermute.domain.values import value


class Code(StrEnum):
    """Machine-readable names of all refusals."""

    INVALID_REQUEST = "invalid_request"
    INVALID_SESSION_ID = "invalid_session_id"
    INVALID_PATTERN = "invalid_pattern"
    INVALID_PROJECT = "invalid_project"
    AGENT_NOT_FOUND = "agent_not_found"
    RESERVATION_NOT_FOUND = "reservation_not_found"
    CONTACT_NOT_FOUND = "contact_not_found"
    AGENT_IDENTITY_MISMATCH = "agent_identity_mismatch"
    AGENT_TOKEN_REQUIRED = "agent_token_required"
    NOT_THE_OWNER = "not_the_owner"
    PROJECT_MISMATCH = "project_mismatch"
    ACTIVE_SESSION_CONFLICT = "active_session_conflict"
    RESERVATION_CONFLICT = "reservation_conflict"
    RESERVATION_LAPSED = "reservation_lapsed"
    SETTING_IN_USE = "setting_in_use"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    LIMIT_REACHED = "limit_reached"


@value
class Refusal:
    """No, and why.

    Attributes:
        code: What is wrong, for programs.
        detail: What is wrong and what to do next, for people.
        data: Further members of the answer, already in wire form (JSON values).
    """

    code: Code
    detail: str
    data: Mapping[str, Any] = attrs.field(factory=dict)
