"""The circuit breaker of one project's storage.

closed -> open: so many storage faults in a row. open -> half-open: after a while. half-open ->
closed or open: by the one attempt that is let through. Every state has a way out that needs
nobody's help, and only storage faults are ever counted.
"""

from enum import StrEnum

import attrs

from intermute.domain import limits


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@attrs.define
class Breaker:
    """Counts storage faults in a row. Times are on the monotonic clock, microseconds."""

    faults_max: int = limits.BREAKER_FAULTS_MAX
    open_us: int = limits.BREAKER_OPEN_MS * 1000
    faults_in_row: int = 0
    opened_at_us: int | None = None
    last_fault: str = ""

    def state(self, now_us: int) -> BreakerState:
        if self.opened_at_us is None:
            return BreakerState.CLOSED
        if now_us - self.opened_at_us >= self.open_us:
            return BreakerState.HALF_OPEN
        return BreakerState.OPEN

    def retry_after_s(self, now_us: int) -> float:
        """Seconds until the next attempt is let through; 0 when one is let through now."""
        if self.state(now_us) is not BreakerState.OPEN:
            return 0.0
        assert self.opened_at_us is not None
        return (self.opened_at_us + self.open_us - now_us) / 1_000_000

    def failed(self, fault: str, now_us: int) -> None:
        """A storage fault happened."""
        self.faults_in_row += 1
        self.last_fault = fault
        half_open = self.state(now_us) is BreakerState.HALF_OPEN
        if half_open or (self.opened_at_us is None and self.faults_in_row >= self.faults_max):
            self.opened_at_us = now_us

    def succeeded(self) -> None:
        """A batch was committed."""
        self.faults_in_row = 0
        self.opened_at_us = None
