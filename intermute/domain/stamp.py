"""The stamp: all that a command takes from the outside world, fixed once at the edge.

A decision may use nothing else that differs between two runs, so the same commands with the
same stamps in the same order give the same events, byte for byte.
"""

import hashlib
import re
import uuid

from intermute.domain.values import Value


class Stamp(Value):
    """When a command arrived and the randomness it may use.

    Attributes:
        at_us: Wall clock, microseconds since the epoch, UTC. Shown to people, never compared
            with a lease's deadline.
        mono_us: Monotonic clock of this process, microseconds. Leases are counted on it.
        entropy: 128 random bits, from which ids, names and session ids are derived.
    """

    at_us: int
    mono_us: int
    entropy: int

    def unique(self) -> str:
        """The time-ordered unique part of an id. A command makes one id at most."""
        return f"{self.at_us // 1000:012x}{self.entropy & 0xFFFF_FFFF_FFFF_FFFF:016x}"

    def session_uuid(self) -> str:
        """A random (version 4) UUID for an agent that brought no session of its own."""
        digest = hashlib.blake2b(
            self.entropy.to_bytes(16, "big"), digest_size=16, person=b"session"
        )
        return str(uuid.UUID(bytes=digest.digest(), version=4))


def make_id(kind: str, tag: str, unique: str) -> str:
    """`<kind>_<tag>_<unique>`: an id that names its project's tag."""
    return f"{kind}_{tag}_{unique}"


def tag_of(identifier: str) -> str | None:
    """The project tag inside an id or agent token made by this server, None for any other text.

    Clients may choose ids of their own, which may look as if they had a tag without meaning it.
    """
    made = _MADE.fullmatch(identifier)
    return None if made is None else made[1]


TAG_LEN = 12
TAG_ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyz234567")
TAG_PATTERN = rf"[a-z2-7]{{{TAG_LEN}}}"
_MADE = re.compile(rf"[a-z]+_({TAG_PATTERN})_(?:[0-9a-f]{{28}}|[A-Za-z0-9_-]{{43}})")
