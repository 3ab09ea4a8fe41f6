"""Opening connections: the pragmas that durability rests on, set and then asserted."""

from contextlib import suppress
from pathlib import Path

import apsw

from intermute.storage.faults import BUSY, FAULTS, StorageError, WrongFile
from intermute.storage.files import require_regular
from intermute.storage.migrations import packaged, refuse_newer

# Kibibytes of page cache a connection may keep; negative is SQLite's way to say kibibytes.
_WRITER_CACHE = -8_192
_READER_CACHE = -2_048
# Pages in the WAL before a commit also checkpoints: 16 MiB. A page that is written by many commits
# in between goes to the file once.
_WAL_PAGES = 4_096


def open_writer(path: Path) -> apsw.Connection:
    """The project's one connection that writes.

    With WAL and `synchronous=FULL` a commit is on the disk when it returns. The busy timeout
    is zero: who waits, and how long, is decided by the actor and never inside SQLite.

    Raises:
        intermute.storage.faults.WrongFile, NewerSchema, and the errors in `faults.FAULTS`.
    """
    require_regular(path)
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW
    connection = apsw.Connection(str(path.resolve().parent / path.name), flags=flags)
    try:
        connection.set_busy_timeout(0)
        # Before anything else: switching the journal mode would already change a newer file, and
        # so would the checkpoint that closing the last connection makes.
        has_wal = path.with_name(path.name + "-wal").exists()
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(has_wal))
        refuse_newer(connection, packaged())
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        assert connection.pragma("journal_mode", "wal") == "wal"
        connection.pragma("synchronous", "FULL")
        connection.pragma("cache_size", _WRITER_CACHE)
        connection.pragma("wal_autocheckpoint", _WAL_PAGES)
        connection.pragma("temp_store", "MEMORY")
        _keep_plans(connection)
        connection.pragma("trusted_schema", False)
        assert connection.pragma("synchronous") == 2, "an answer must survive a power cut"
        if has_wal:
            _make_certain(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_certain(connection: apsw.Connection) -> None:
    """Put what a `-wal` was found to hold into the file, and begin the `-wal` anew.

    What the former process failed to sync can be read here and yet be on no disk, and no later sync
    would tell. Whatever is committed behind it would be lost with it when the power fails.
    """
    # A reader that is in the middle of something keeps the `-wal` as it is.
    with suppress(*BUSY):
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


def open_reader(path: Path) -> apsw.Connection:
    """A connection that can only read, on committed data.

    Raises:
        intermute.storage.faults.WrongFile, and the errors in `faults.FAULTS`.
    """
    require_regular(path)
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_NOFOLLOW
    connection = apsw.Connection(str(path.resolve().parent / path.name), flags=flags)
    try:
        connection.set_busy_timeout(0)
        connection.pragma("query_only", True)
        connection.pragma("cache_size", _READER_CACHE)
        _keep_plans(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _keep_plans(connection: apsw.Connection) -> None:
    """Plan each statement once, whatever is bound to it.

    Otherwise SQLite plans a join anew whenever a value is bound that a partial index might turn
    out to hold, which is nearly half of what reading a page of an inbox takes.
    """
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)


def stored_project(connection: apsw.Connection, name: str) -> str | None:
    """The project that the file says it is, None while nothing has been written.

    Raises:
        WrongFile: It is a database of something else.
    """
    try:
        project = connection.execute("SELECT value FROM meta WHERE name = 'project'").get
    except apsw.SQLError as error:
        raise WrongFile(f"{name} is a database, but not one of intermute") from error
    if project is not None and not isinstance(project, str):
        raise WrongFile(f"{name} does not say which project it belongs to")
    return project


def settle(path: Path) -> None:
    """Put a file's `-wal` into it and remove what stands beside it, if nobody else has it open.

    Only a connection that can write does so when it closes, and a project that was only read had
    none. A fault leaves everything as it is: the next writer will do the same.
    """
    if not path.with_name(path.name + "-wal").exists():
        return
    with suppress(*FAULTS, StorageError):
        open_writer(path).close()
