"""Numbered schema changes, each in one transaction, recorded in the file with its checksum.

There is no schema apart from them: a new file and an old one walk the same path, so nothing can
be created for new files that an old one lacks.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import apsw
import attrs

from intermute.storage.faults import MigrationDrift, NewerSchema


@attrs.frozen
class Migration:
    """One numbered schema change; `checksum` is the SHA-256 of its text."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


@cache
def packaged() -> tuple[Migration, ...]:
    """The migrations of this version, in order."""
    folder = files("intermute.storage") / "migrations"
    found = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    migrations = tuple(
        Migration(int(name[:4]), name.removesuffix(".sql"), (folder / name).read_text("utf-8"))
        for name in found
    )
    assert [m.number for m in migrations] == list(range(1, len(migrations) + 1))
    return migrations


def migrate(
    connection: apsw.Connection, migrations: Sequence[Migration], *, at_us: int
) -> list[str]:
    """Bring the file to the last of `migrations`; answers the names of those that were run.

    Raises:
        NewerSchema: The file knows more migrations than there are. It is left untouched.
        MigrationDrift: One that the file has run differs from the one given.
    """
    version = refuse_newer(connection, migrations)
    if version:
        _verify(connection, migrations[:version])
    for migration in migrations[version:]:
        _run(connection, migration, at_us=at_us)
    return [migration.name for migration in migrations[version:]]


def refuse_newer(connection: apsw.Connection, migrations: Sequence[Migration]) -> int:
    """The number of migrations that the file has run.

    Raises:
        NewerSchema: There are more of them than there are `migrations`.
    """
    version = connection.pragma("user_version")
    assert isinstance(version, int)
    if version > len(migrations):
        raise NewerSchema(
            f"the file has schema {version}, this version of intermute knows {len(migrations)}: "
            "use the version that wrote it, or a later one"
        )
    return version


def _verify(connection: apsw.Connection, expected: Sequence[Migration]) -> None:
    rows = connection.execute("SELECT number, name, checksum FROM migrations ORDER BY number")
    recorded = {number: (name, checksum) for number, name, checksum in rows}
    for migration in expected:
        name, checksum = recorded.get(migration.number, ("nothing", ""))
        if checksum != migration.checksum:
            raise MigrationDrift(
                f"migration {migration.name} differs from what the file has run ({name}): "
                "the file belongs to another build"
            )


def _run(connection: apsw.Connection, migration: Migration, *, at_us: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, "
            "name TEXT NOT NULL, checksum TEXT NOT NULL, at_us INTEGER NOT NULL) STRICT"
        )
        connection.execute(migration.sql)
        connection.execute(
            "INSERT INTO migrations VALUES (?, ?, ?, ?)",
            (migration.number, migration.name, migration.checksum, at_us),
        )
        connection.pragma("user_version", migration.number)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
