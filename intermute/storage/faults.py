"""What can go wrong with a file, told apart once.

A fault is the disk's or the file's business. Refusals of clients never come this way, so a
circuit breaker that counts only these cannot be opened by anything a client sends.
"""

from typing import Final

import apsw
import attrs

# Nothing was written; the lock may be gone in a moment.
BUSY: Final = (apsw.BusyError, apsw.LockedError)

# Everything that a client can do nothing about.
FAULTS: Final = (
    *BUSY,
    apsw.IOError,
    apsw.FullError,
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.NoMemError,
    apsw.InterruptError,
    apsw.ProtocolError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.PermissionsError,
    apsw.AuthError,
)


class StorageError(Exception):
    """A project's file cannot be used; the text says why, for operators. Holds no client data."""


class NewerSchema(StorageError):
    """The file was written by a later version of this program. It was not touched."""


class MigrationDrift(StorageError):
    """A migration recorded in the file is not the one this program carries."""


class WrongFile(StorageError):
    """The file is not the one its name says, or not a regular file."""


class InUse(StorageError):
    """Another server has the data directory."""


@attrs.frozen
class Fault:
    """One storage fault.

    Attributes:
        kind: `busy`, `full`, `io_error`, `cannot_open`, `corrupt` or `other`.
        detail: SQLite's own words.
    """

    kind: str
    detail: str


_KINDS: Final[tuple[tuple[tuple[type[BaseException], ...], str], ...]] = (
    (BUSY, "busy"),
    ((apsw.FullError,), "full"),
    ((apsw.IOError,), "io_error"),
    ((apsw.CantOpenError, apsw.PermissionsError, apsw.ReadOnlyError), "cannot_open"),
    ((apsw.CorruptError, apsw.NotADBError), "corrupt"),
)


def describe(error: BaseException) -> Fault:
    """The fault that an exception of `FAULTS` stands for."""
    for types, kind in _KINDS:
        if isinstance(error, types):
            return Fault(kind, str(error))
    return Fault("other", str(error))
