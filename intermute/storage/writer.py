"""The single writer of a project's file."""

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import msgspec

from intermute.domain import limits
from intermute.domain.events import EVENT_SCHEMA_VERSION, EVENT_TYPES, Event, Mark
from intermute.domain.state import State
from intermute.storage import projections
from intermute.storage.archive import FileArchive
from intermute.storage.connections import open_writer, stored_project
from intermute.storage.faults import BUSY, StorageError, WrongFile
from intermute.storage.loading import load_state
from intermute.storage.migrations import migrate, packaged

if TYPE_CHECKING:
    from collections.abc import Callable

_APPEND = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)"
_encode = msgspec.json.Encoder().encode


class Writer:
    """A project's file, open for writing; there is one at a time.

    A batch is `begin`, then `append` and `note` for each command, then `commit`; `savepoint` and
    `keep_savepoint`/`undo_savepoint` stand around a command that may be undone alone. Nothing here
    waits or retries: a fault is raised as it comes, and after one the caller rolls back and loads
    the state anew.
    """

    def __init__(self, connection: apsw.Connection, project: str) -> None:
        self._connection = connection
        # One cursor for all that it writes: making one for each costs a quarter of the statement.
        self._cursor = connection.cursor()
        self._execute: Callable[..., Any] = self._cursor.execute
        self.project = project
        self.archive = FileArchive(connection, project)

    @classmethod
    def open(cls, path: Path, *, project: str, tag: str, at_us: int) -> "Writer":
        """Open the file, migrate it and make sure that it is the project's.

        Raises:
            StorageError: The file is not usable, see its subclasses.
            The errors in `intermute.storage.faults.FAULTS`.
        """
        connection = open_writer(path)
        try:
            migrate(connection, packaged(), at_us=at_us)
            stored_project(connection, path.name)
            execute = connection.execute
            execute("BEGIN IMMEDIATE")
            execute("INSERT OR IGNORE INTO meta VALUES ('project', ?)", (project,))
            execute("INSERT OR IGNORE INTO meta VALUES ('tag', ?)", (tag,))
            execute("INSERT OR IGNORE INTO meta VALUES ('epoch', 0)")
            execute("COMMIT")
            if stored_project(connection, path.name) != project:
                raise WrongFile(
                    f"{path.name} belongs to another project; its name or content was changed"
                )
        except BaseException:
            connection.close()
            raise
        return cls(connection, project)

    def take_over(self) -> int:
        """Raise the epoch by one, durably, and return it: from now on this writer owns the file."""
        self._execute("BEGIN IMMEDIATE")
        self._execute("UPDATE meta SET value = value + 1 WHERE name = 'epoch'")
        epoch = self._execute("SELECT value FROM meta WHERE name = 'epoch'").get
        self._execute("COMMIT")
        assert isinstance(epoch, int)
        return epoch

    def load(self, state: State) -> None:
        """Fill a new state with what the file holds. The state's clocks must be set."""
        # All that is made here stays: looking for garbage in between is a quarter of the time.
        collects = gc.isenabled()
        gc.disable()
        try:
            load_state(self._connection.execute, state)
        finally:
            if collects:
                gc.enable()

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def begin(self) -> None:
        """Take the write lock. Nothing has been written when this raises."""
        self._execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make the batch durable: when this returns, it survives a power cut."""
        self._execute("COMMIT")

    def rollback(self) -> None:
        """Forget the batch, also when SQLite has done so by itself after a fault.

        Raises:
            apsw.Error: A storage fault met even that. Only a new connection is of use then.
        """
        if self._connection.in_transaction:
            self._execute("ROLLBACK")
            return
        # SQLite has undone it, and its index of words may go on with a count of them that it has
        # failed to read. To undo something that it was given makes it read the count again.
        self._execute("BEGIN IMMEDIATE")
        self._execute("INSERT INTO message_words (rowid, subject, body) VALUES (0, '', '')")
        self._execute("ROLLBACK")

    def savepoint(self) -> None:
        self._execute("SAVEPOINT command")

    def keep_savepoint(self) -> None:
        self._execute("RELEASE command")

    def undo_savepoint(self) -> None:
        self._execute("ROLLBACK TO command")
        self._execute("RELEASE command")

    def append(self, event: Event) -> int:
        """Write the event and what it means to the tables; answers how long its data is."""
        data = _encode(event.data).decode()
        self._execute(
            _APPEND,
            (
                event.cursor,
                event.data.type,
                event.actor,
                event.data.entity_id,
                data,
                event.at_us,
                EVENT_SCHEMA_VERSION,
            ),
        )
        projections.apply(self._cursor, event)
        return len(data)

    def note(self, mark: Mark) -> None:
        """Write a fact that is no history."""
        projections.mark(self._cursor, mark)

    def recall(
        self, request_key: bytes, fingerprint: bytes, answer_type: type[Any]
    ) -> tuple[bool, Any] | None:
        """Whether the request remembered under a key is the one with this fingerprint, and if so
        its answer; None when there is none. Only of the same request is the type of answer known.
        """
        row = self._execute(
            "SELECT fingerprint, answer FROM requests WHERE request_key = ?", (request_key,)
        ).get
        if row is None:
            return None
        if row[0] != fingerprint:
            return False, None
        return True, msgspec.json.decode(row[1], type=answer_type)

    def remember(self, request_key: bytes, fingerprint: bytes, answer: object, at_us: int) -> None:
        """Keep the answer to a request for those that ask again with the same key."""
        self._execute(
            "INSERT INTO requests VALUES (?, ?, ?, ?)",
            (request_key, fingerprint, projections.as_json(answer), at_us),
        )

    def purge_requests(self, before_us: int) -> int | None:
        """Forget some of the answers given before then; answers when the oldest left was given."""
        self._execute(
            "DELETE FROM requests WHERE request_key IN "
            "(SELECT request_key FROM requests WHERE at_us <= ? ORDER BY at_us LIMIT ?)",
            (before_us, limits.IDEMPOTENCY_PURGE_ROWS_MAX),
        )
        oldest_us = self._execute("SELECT min(at_us) FROM requests").get
        assert oldest_us is None or isinstance(oldest_us, int)
        return oldest_us

    def close(self) -> None:
        """Checkpoint and close. The file is then complete by itself, with no `-wal` beside it,
        unless somebody still reads it."""
        try:
            if not self._connection.in_transaction:
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except BUSY:
            # A reader holds an old snapshot; the next writer will checkpoint.
            pass
        finally:
            self._connection.close()


def decode_event(row: tuple[int, str, str | None, str, int]) -> Event:
    """An event from its row `(cursor, type, actor, data, at_us)`.

    Raises:
        StorageError: The type is unknown or the data is not of its shape.
    """
    cursor, kind, actor, data, at_us = row
    try:
        return Event(cursor, at_us, actor, msgspec.json.decode(data, type=EVENT_TYPES[kind]))
    except (KeyError, msgspec.MsgspecError) as error:
        raise StorageError(f"event {cursor} of type {kind!r} cannot be read: {error}") from error
