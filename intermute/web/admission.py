"""Which requests are let in: as many as can be answered within a bounded time.

Everything is read, decided and answered by one loop, so a request waits for all that were let in
before it. By Little's law that wait is their number divided by the rate at which requests are
answered; the rate is measured while the server is busy, and the number follows from it. What is
above it is refused before it is parsed, for a small part of what answering it would cost.
"""

import logging
import re
from collections import deque
from collections.abc import Callable

import attrs
import trio

from actors import Overloaded
from intermute.domain import limits
from intermute.web.errors import describe
from intermute.web.problem import problem_headers
from intermute.wire.strict_json import encode

__all__ = ["REFUSAL", "Admission", "is_refusable"]

_log = logging.getLogger(__name__)

# Answers come in batches, so a rate is that of many of them and of some time.
_BUSY_MIN = 64
_ANSWERS_MEASURED_MIN = 64
_MEASURED_S_MIN = 0.25

# A head of which nothing is missing and in which nothing is unusual.
_HEAD = re.compile(
    rb"(?:GET|POST|PUT|DELETE|PATCH) (/[!-~]*) HTTP/1\.1\r\n((?:[!-9;-~]+:[ -~]*\r\n)+)\r\n"
)
# The headers that say where a request ends and what becomes of its connection.
_BOUNDS = re.compile(
    rb"^(content-length|transfer-encoding|expect|upgrade|connection):[ ]*([^\r]*?)[ ]*\r$",
    re.IGNORECASE | re.MULTILINE,
)
# Whoever keeps the server running asks these, and must not take a busy server for a dead one.
_ALWAYS_LET_IN = (b"/health", b"/ready")


@attrs.define(eq=False)
class Admitted:
    """A request that was let in."""

    since_s: float
    under_way: bool = True


class Admission:
    """How many requests are under way, and whether one more would wait for too long.

    A request is under way from when all of it was read until its answer begins, unless it waits
    for something other than this loop: for a reservation, or, as is concluded from how long it
    takes, for a disk. What has fallen out of the count is not a reason to refuse anybody else.

    Args:
        now_s: A clock that never goes back, in seconds.
    """

    def __init__(self, now_s: Callable[[], float] = trio.current_time) -> None:
        self._now_s = now_s
        self._admitted: deque[Admitted] = deque()
        self._under_way = 0
        self._most = limits.REQUESTS_ADMITTED_FIRST
        self._answered = 0
        self._busy_since_s: float | None = None
        self._refused = 0
        self._logged_s = float("-inf")

    def is_full(self) -> bool:
        """Whether one more is to be refused."""
        if self._under_way < self._most:
            return False
        self._forget_stalled(self._now_s())
        return self._under_way >= self._most

    def enter(self) -> Admitted:
        """Count one more, whether or not it should have been refused."""
        now_s = self._now_s()
        self._forget_stalled(now_s)
        admitted = Admitted(now_s)
        self._admitted.append(admitted)
        self._under_way += 1
        return admitted

    def leave(self, admitted: Admitted) -> None:
        """It is answered, or is not going to be, or waits for something else."""
        if not admitted.under_way:
            return
        admitted.under_way = False
        self._under_way -= 1
        self._answered += 1
        # The rate of a server that has little to do says nothing of what it can do.
        if self._under_way < _BUSY_MIN:
            self._busy_since_s = None
        elif self._busy_since_s is None:
            self._busy_since_s, self._answered = self._now_s(), 0
        elif self._answered >= _ANSWERS_MEASURED_MIN:
            self._measure(self._busy_since_s)

    def refuse(self) -> None:
        """One was refused. The log says so, but not of each."""
        self._refused += 1
        now_s = self._now_s()
        if now_s - self._logged_s >= limits.OVERLOAD_LOGGED_MS / 1000:
            self._logged_s = now_s
            _log.warning(
                "overloaded: %d requests under way, %d refused so far",
                self._under_way,
                self._refused,
            )

    def _measure(self, since_s: float) -> None:
        """Let in as many as were answered, at the rate since then, in the time one may wait."""
        now_s = self._now_s()
        if now_s - since_s < _MEASURED_S_MIN:
            return
        in_time = round(self._answered / (now_s - since_s) * limits.ADMITTED_WAIT_MS / 1000)
        self._most = min(max(in_time, limits.REQUESTS_ADMITTED_MIN), limits.REQUESTS_ADMITTED_MAX)
        self._busy_since_s, self._answered = now_s, 0

    def _forget_stalled(self, now_s: float) -> None:
        before_s = now_s - limits.ADMITTED_STALLED_MS / 1000
        while self._admitted:
            oldest = self._admitted[0]
            if oldest.under_way:
                if oldest.since_s > before_s:
                    return
                oldest.under_way = False
                self._under_way -= 1
            self._admitted.popleft()


def is_refusable(data: bytes | bytearray) -> bool:
    """Whether these bytes are one whole request and nothing else, which `REFUSAL` may answer.

    Whatever is unusual goes the ordinary way, which knows all there is to know about HTTP.
    """
    head = _HEAD.match(data)
    if head is None or head[1].startswith(_ALWAYS_LET_IN):
        return False
    found = _BOUNDS.findall(head[2])
    bounds = {name.lower(): value for name, value in found}
    if len(bounds) < len(found):
        return False
    body_len = 0
    if bounds.pop(b"connection", b"keep-alive").lower() != b"keep-alive":
        return False
    if length := bounds.pop(b"content-length", b""):
        if not length.isdigit() or len(length) > len(str(limits.BODY_LEN_MAX)):
            return False
        body_len = int(length)
    return not bounds and len(data) == head.end() + body_len


def _refusal() -> bytes:
    reason = "all that was let in before has to be answered first"
    outcome = describe(Overloaded(reason))
    body = encode(outcome.body)
    told = [(name.lower().encode(), value.encode()) for name, value in outcome.headers.items()]
    heads = b"".join(b"%s: %s\r\n" % head for head in problem_headers(body, *told))
    return b"HTTP/1.1 %d \r\n%s\r\n%s" % (outcome.status, heads, body)


REFUSAL = _refusal()
