"""Numbered schema changes: an older file is brought up to date, any other stays untouched."""

import json
from importlib.resources import files

import apsw
import attrs
import pytest

from intermute.domain.modes import Mode
from intermute.storage.connections import open_writer
from intermute.storage.faults import MigrationDrift, NewerSchema, StorageError, WrongFile
from intermute.storage.migrations import Migration, migrate, packaged
from intermute.storage.writer import Writer

from ..project.harness import PROJECT, TAG, WALL, Desk, assert_consistent, log_of, opened, reserve

PACKAGED = packaged()


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "x.sqlite3"
    found.touch(mode=0o600)
    return found


def open_project(path):
    return Writer.open(path, project=PROJECT, tag=TAG, at_us=WALL)


def schema_of(path):
    with opened(path) as connection:
        rows = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name")
        return list(rows)


def version_of(path):
    with opened(path) as connection:
        return connection.pragma("user_version")


def run_first(path, count):
    connection = open_writer(path)
    migrate(connection, PACKAGED[:count], at_us=1)
    connection.close()


def test_migrations_are_numbered_without_gaps():
    names = sorted(
        entry.name
        for entry in (files("intermute.storage") / "migrations").iterdir()
        if entry.name.endswith(".sql")
    )
    assert [migration.name + ".sql" for migration in PACKAGED] == names
    assert [migration.number for migration in PACKAGED] == list(range(1, len(names) + 1))


@pytest.mark.parametrize("count", range(len(PACKAGED) + 1))
def test_b11_an_older_file_opens_and_migrates(path, tmp_path, count):
    """B11: a file on which only the first few migrations ran walks the rest of the path."""
    run_first(path, count)
    assert version_of(path) == count
    fresh = tmp_path / "fresh.sqlite3"
    fresh.touch(mode=0o600)
    open_project(fresh).close()
    open_project(path).close()
    assert version_of(path) == len(PACKAGED)
    assert schema_of(path) == schema_of(fresh), "an old file and a new one end up the same"
    desk = Desk(path)
    desk.one(reserve(desk.register("alice"), "src"))
    desk.close()
    assert_consistent(path, tmp_path / "scratch.sqlite3")


def test_the_rows_of_an_older_file_are_kept(path):
    run_first(path, 1)
    with opened(path) as connection:
        connection.execute("INSERT INTO meta VALUES ('project', ?), ('epoch', 7)", (PROJECT,))
        connection.execute("INSERT INTO requests VALUES (x'01', x'02', '{}', 5)")
    writer = open_project(path)
    assert writer.take_over() == 8
    assert writer.recall(b"\x01", b"\x02", dict) == (True, {})
    writer.close()


# What the product wrote before reservations had modes and events of a grant its token.
_OLD_EVENTS = (
    (
        "reservation.created",
        '{"reservation_id":"r1","agent_id":"ada","patterns":["a"],"exclusive":true,"reason":"",'
        '"ttl_ms":60000,"expires_at_us":9}',
    ),
    (
        "reservation.created",
        '{"reservation_id":"r2","agent_id":"ada","patterns":["b"],"exclusive":false,"reason":"",'
        '"ttl_ms":60000,"expires_at_us":9}',
    ),
    (
        "reservation.renewed",
        '{"reservation_id":"r2","agent_id":"ada","ttl_ms":60000,"expires_at_us":99,'
        '"cause":"holder"}',
    ),
    ("reservation.released", '{"reservation_id":"r1","agent_id":"ada","cause":"holder"}'),
    ("reservation.expired", '{"reservation_id":"r2","agent_id":"ada","patterns":["b"]}'),
)


def test_the_history_of_an_older_file_can_be_read_as_that_of_a_new_one(path, tmp_path):
    run_first(path, 6)
    with opened(path) as connection:
        connection.execute(
            "INSERT INTO meta VALUES ('project', ?), ('tag', ?), ('epoch', 1)", (PROJECT, TAG)
        )
        for cursor, (kind, data) in enumerate(_OLD_EVENTS, 1):
            connection.execute(
                "INSERT INTO events VALUES (?, ?, 'ada', ?, ?, ?, 1)",
                (cursor, kind, "r1" if '"r1"' in data else "r2", data, cursor),
            )
        rows = "INSERT INTO reservations VALUES (?, ?, 'ada', ?, ?, '', 60000, ?, ?, ?, ?)"
        connection.execute(rows, (1, "r1", '["a"]', 1, 1, 9, "released", 4))
        connection.execute(rows, (2, "r2", '["b"]', 0, 2, 99, "expired", 5))
    open_project(path).close()
    created, shared, renewed, released, expired = (event.data for event in log_of(path))
    assert (created.mode, shared.mode) == (Mode.EXCLUSIVE, Mode.SHARED)
    assert [each.fencing_token for each in (renewed, released, expired)] == [2, 1, 2]
    assert_consistent(path, tmp_path / "scratch.sqlite3")


@pytest.mark.parametrize(
    ("rules", "changed"),
    [((), None), ((True,), None), ((False,), 2), ((False, False), 2), ((True, False, True), 4)],
)
def test_when_the_rule_for_case_changed_is_found_in_the_log(path, rules, changed):
    run_first(path, 7)
    with opened(path) as connection:
        rows = [("agent.contact_added", "{}")]
        for rule in rules:
            data = {"case_sensitive": rule, "live_transport": None}
            rows.append(("project.configured", json.dumps(data)))
        for cursor, (kind, data) in enumerate(rows, 1):
            connection.execute(
                "INSERT INTO events VALUES (?, ?, NULL, '', ?, 1, 1)", (cursor, kind, data)
            )
    run_first(path, 8)
    with opened(path) as connection:
        found = connection.execute("SELECT value FROM meta WHERE name = 'case_changed'").get
    assert found == changed


def test_each_migration_is_recorded_with_its_checksum(path):
    connection = open_writer(path)
    assert migrate(connection, PACKAGED, at_us=WALL) == [m.name for m in PACKAGED]
    assert migrate(connection, PACKAGED, at_us=WALL + 1) == [], "and is run once"
    rows = list(connection.execute("SELECT * FROM migrations ORDER BY number"))
    connection.close()
    assert rows == [(m.number, m.name, m.checksum, WALL) for m in PACKAGED]


@pytest.mark.parametrize("drifted", range(len(PACKAGED)))
def test_drift_is_refused_and_names_the_migration(path, drifted):
    run_first(path, len(PACKAGED))
    before = path.read_bytes()
    changed = list(PACKAGED)
    changed[drifted] = attrs.evolve(changed[drifted], sql=changed[drifted].sql + "-- touched")
    connection = open_writer(path)
    with pytest.raises(MigrationDrift, match=PACKAGED[drifted].name):
        migrate(connection, changed, at_us=WALL)
    connection.close()
    assert path.read_bytes() == before


def test_a_migration_that_is_not_recorded_is_drift(path):
    run_first(path, len(PACKAGED))
    with opened(path) as connection:
        connection.execute("DELETE FROM migrations WHERE number = 2")
    with pytest.raises(MigrationDrift, match=PACKAGED[1].name):
        open_project(path)


def make_newer(path, *, journal_mode):
    run_first(path, len(PACKAGED))
    with opened(path) as connection:
        connection.execute("INSERT INTO meta VALUES ('project', ?)", (PROJECT,))
        connection.execute("CREATE TABLE of_tomorrow (x)")
        connection.pragma("user_version", len(PACKAGED) + 1)
        assert connection.pragma("journal_mode", journal_mode) == journal_mode


def test_a_newer_file_is_refused_untouched(path):
    make_newer(path, journal_mode="wal")
    before = path.read_bytes()
    with pytest.raises(NewerSchema, match=f"schema {len(PACKAGED) + 1}"):
        open_project(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_newer_file_made_by_a_backup_is_refused_untouched(path):
    """`VACUUM INTO` and the backup of some tools leave the journal mode at `delete`."""
    make_newer(path, journal_mode="delete")
    before = path.read_bytes()
    with pytest.raises(NewerSchema):
        open_project(path)
    assert path.read_bytes() == before


BROKEN = [
    "CREATE TABLE half (x); INSERT INTO half VALUES (1); SELECT * FROM nowhere;",
    "CREATE TABLE half (x); CREATE TABLE half (x);",
    "CREATE TABLE half (x); this is no SQL",
    "CREATE TABLE half (x); INSERT INTO meta VALUES ('k', NULL);",
]


@pytest.mark.parametrize("sql", BROKEN)
def test_a_migration_that_fails_leaves_nothing_half_done(path, sql):
    run_first(path, len(PACKAGED))
    before = schema_of(path)
    broken = Migration(len(PACKAGED) + 1, "0099_broken", sql)
    connection = open_writer(path)
    with pytest.raises(apsw.Error):
        migrate(connection, (*PACKAGED, broken), at_us=WALL)
    assert not connection.in_transaction
    connection.close()
    assert schema_of(path) == before
    assert version_of(path) == len(PACKAGED)
    open_project(path).close()


def test_the_migrations_before_a_broken_one_are_kept(path):
    broken = Migration(2, "0002_broken", "nonsense")
    connection = open_writer(path)
    with pytest.raises(apsw.SQLError):
        migrate(connection, (PACKAGED[0], broken), at_us=WALL)
    connection.close()
    assert version_of(path) == 1
    open_project(path).close()


def test_a_file_of_another_project_is_refused(path):
    open_project(path).close()
    with pytest.raises(WrongFile, match="another project"):
        Writer.open(path, project="elsewhere", tag=TAG, at_us=WALL)
    open_project(path).close()


@pytest.mark.parametrize("content", [b"this is no database, " * 300, b"SQLite format 3\x00" * 200])
def test_what_is_no_database_is_a_fault(path, content):
    path.write_bytes(content)
    with pytest.raises((apsw.NotADBError, apsw.CorruptError)):
        open_project(path)
    assert path.read_bytes() == content


def test_a_refusal_to_open_leaves_no_connection_behind(path):
    """A connection left open would hold its locks until the garbage collector comes by."""
    make_newer(path, journal_mode="wal")
    with pytest.raises(StorageError):
        open_project(path)
    with opened(path) as connection:
        connection.execute("PRAGMA locking_mode = exclusive").fetchall()
        connection.execute("BEGIN EXCLUSIVE; COMMIT")
