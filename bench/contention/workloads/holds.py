"""Whether two were ever granted the same: from what the clients know alone, for any server.

A client holds its paths for certain from when it had the answer until just before it gave them
back. If two such times of conflicting reservations overlap, the server granted both.
"""

from collections.abc import Iterable
from functools import lru_cache

import attrs

from intermute.globs import overlap, parse


@attrs.frozen
class Hold:
    """A time in which somebody held something for certain, in nanoseconds of one clock."""

    agent: str
    pattern: str
    exclusive: bool
    since_ns: int
    until_ns: int


def two_at_once(holds: Iterable[Hold]) -> list[str]:
    """The pairs of holds that conflict."""
    found: list[str] = []
    live: list[Hold] = []
    for hold in sorted(holds, key=lambda each: each.since_ns):
        live = [each for each in live if each.until_ns > hold.since_ns]
        found += [
            f"{other.agent} held {other.pattern!r} and {hold.agent} was granted "
            f"{hold.pattern!r}, {(hold.since_ns - other.since_ns) / 1e6:.3f} ms later"
            for other in live
            if _conflict(hold, other)
        ]
        live.append(hold)
    return found


def _conflict(one: Hold, other: Hold) -> bool:
    if one.agent == other.agent or not (one.exclusive or other.exclusive):
        return False
    return one.pattern == other.pattern or _overlap(one.pattern, other.pattern)


@lru_cache(maxsize=65_536)
def _overlap(one: str, other: str) -> bool:
    return overlap(parse(one), parse(other))
