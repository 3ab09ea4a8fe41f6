"""How often and how fast to try again after a failure. Pure: time is passed in.

All times are seconds on one monotonic clock, in practice `trio.current_time()`.
"""

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

import attrs
from attrs import validators

from actors.errors import ActorStopped

__all__ = ["Failure", "FailureMemory", "RestartPolicy", "RestartWindow"]

K = TypeVar("K", bound=Hashable)

_DOUBLINGS_MAX = 60


@attrs.frozen
class RestartPolicy:
    """When a failed actor is started again.

    Raises:
        ValueError: A number is negative.
    """

    restarts_max: int = attrs.field(default=5, validator=validators.ge(0))
    """An actor that fails once more than this within `window_s` ends."""

    window_s: float = attrs.field(default=60.0, validator=validators.ge(0.0))
    """How long a failure is held against an actor."""

    backoff_initial_s: float = attrs.field(default=0.05, validator=validators.ge(0.0))
    """The wait after a first failure; each further one doubles it."""

    backoff_max_s: float = attrs.field(default=2.0, validator=validators.ge(0.0))
    """The longest wait."""

    def backoff_s(self, failures: int) -> float:
        """Return the wait after this many failures in a row, which is at least 1."""
        assert failures >= 1, failures
        doubled_s = self.backoff_initial_s * 2.0 ** min(failures - 1, _DOUBLINGS_MAX)
        return min(doubled_s, self.backoff_max_s)


class RestartWindow:
    """The recent failures of one actor; remembers at most `restarts_max + 1` of them."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self._failed_at_s: deque[float] = deque(maxlen=policy.restarts_max + 1)

    def next_delay_s(self, now_s: float) -> float | None:
        """Return the wait that a failure now would earn, or None if it would be one too many."""
        start_s = now_s - self._policy.window_s
        failures = 1 + sum(at_s > start_s for at_s in self._failed_at_s)
        if failures > self._policy.restarts_max:
            return None
        return self._policy.backoff_s(failures)

    def record(self, now_s: float) -> float | None:
        """Count a failure now and return what `next_delay_s` says of it."""
        delay_s = self.next_delay_s(now_s)
        self._failed_at_s.append(now_s)
        return delay_s


@attrs.frozen
class Failure:
    """Why an actor ended, and how long to leave its key alone."""

    reason: str
    failures: int
    """Failures in a row without a successful start between them."""

    delay_s: float


class FailureMemory(Generic[K]):
    """The keys whose actors ended in failure, so that asks for them are refused while it is fresh.

    Holds text and numbers only, never an exception, whose frames would stay alive with it.

    Args:
        len_max: How many keys are remembered; beyond it the failure recorded longest ago is
            forgotten, and its key merely tries again sooner and counts from one.
    """

    def __init__(self, len_max: int) -> None:
        self._len_max = len_max
        self._failures: dict[K, tuple[Failure, float]] = {}

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return len(self._failures)

    def record(self, key: K, failure: Failure, now_s: float) -> None:
        """Remember that an actor of this key ended in failure now."""
        self._failures.pop(key, None)
        self._failures[key] = (failure, now_s + failure.delay_s)
        if len(self._failures) > self._len_max:
            del self._failures[next(iter(self._failures))]

    def forget(self, key: K) -> None:
        """Hold nothing against this key any more."""
        self._failures.pop(key, None)

    def check(self, key: K, now_s: float) -> int:
        """Return the failures in a row that are held against a key which may be tried now.

        Raises:
            ActorStopped: It failed so recently that it may not; `retry_after_s` is what is left.
        """
        if key not in self._failures:
            return 0
        failure, until_s = self._failures[key]
        if now_s < until_s:
            raise ActorStopped(failure.reason, until_s - now_s)
        return failure.failures
