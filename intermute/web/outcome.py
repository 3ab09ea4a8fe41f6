"""What came of a request, before it is known how it travels: over HTTP, in a batch, on a socket."""

from typing import Any

import attrs

from intermute.domain.limits import PROBLEM_DETAIL_LEN_MAX
from intermute.domain.refusals import Refusal
from intermute.project.messages import Told
from intermute.web.problem import problem_members
from intermute.wire.problems import STATUSES, refusal_members


@attrs.define
class Outcome:
    """An answer.

    Attributes:
        status: As HTTP has it; 400 and more is an error, whose body is in the one error shape.
        body: A JSON value, or None where there is nothing to say.
        headers: What HTTP says beside the body.
        told: The decision behind it, with its place in the project's order; None for reads.
    """

    status: int
    body: Any
    headers: dict[str, str] = attrs.field(factory=dict)
    told: Told | None = None

    @property
    def is_error(self) -> bool:
        return self.status >= 400


def error_outcome(status: int, code: str, title: str, detail: str, **extra: object) -> Outcome:
    """An error in the one shape. `retry_after_seconds` is said in a header too."""
    members = problem_members(status, code, title, detail[:PROBLEM_DETAIL_LEN_MAX], **extra)
    wait_s = extra.get("retry_after_seconds")
    headers = {} if wait_s is None else {"Retry-After": str(wait_s)}
    return Outcome(status, members, headers)


def refusal_outcome(refusal: Refusal) -> Outcome:
    """A refusal in the one shape, with the status that belongs to its code."""
    status, title = STATUSES[refusal.code]
    return error_outcome(
        status, refusal.code.value, title, refusal.detail, **refusal_members(refusal)
    )
