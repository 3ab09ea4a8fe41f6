"""Times as text: ISO 8601 in UTC with `Z`. Everywhere else a time is a whole number."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

# Of the times that can be written: the years 1970 to 9999.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST_US = 253_402_300_799_999_999


def iso(at_us: int) -> str:
    """`2026-01-31T12:00:00.25Z`: zeros at the end of the fraction are cut."""
    at_us = at_us if 0 <= at_us <= LATEST_US else min(max(at_us, 0), LATEST_US)
    second, rest_us = _second(at_us // 1_000_000), at_us % 1_000_000
    if not rest_us:
        return second + "Z"
    # A page of messages holds dozens of times, and a format that fills up with zeros costs twice
    # as much.
    fraction = str(1_000_000 + rest_us)[1:].rstrip("0")
    return f"{second}.{fraction}Z"


@lru_cache(maxsize=1_024)
def _second(at_s: int) -> str:
    return (EPOCH + timedelta(seconds=at_s)).replace(tzinfo=None).isoformat()


def seconds_up(us: int) -> int:
    """Microseconds as whole seconds, rounded up, so that nobody who waits so long comes early."""
    return -(-us // 1_000_000)


def iso_seconds(at_us: int) -> str:
    """The same in whole seconds, as agents' times are shown."""
    return iso(at_us - at_us % 1_000_000)
