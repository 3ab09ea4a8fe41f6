"""What durability and privacy rest on, asked of the connections themselves."""

import apsw
import pytest

from intermute.domain.commands import AddContact, Heartbeat, RegisterAgent
from intermute.storage.connections import open_reader, open_writer
from intermute.storage.faults import FAULTS, StorageError, describe
from intermute.storage.reader import AgentFilter, Reader
from intermute.storage.writer import Writer, decode_event
from intermute.web.calls import hash_token, make_token

from ..project.harness import PROJECT, TAG, WALL, Desk, reserve

EVERYBODY = AgentFilter()


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path / "x.sqlite3")
    yield desk
    desk.close()


def test_a_commit_is_synced(desk):
    """`synchronous=FULL` with WAL: an acknowledged answer survives a power cut."""
    connection = open_writer(desk.path)
    assert connection.pragma("synchronous") == 2
    assert connection.pragma("journal_mode") == "wal"
    connection.close()


@pytest.mark.parametrize("opens", [open_writer, open_reader])
def test_a_statement_is_planned_once(desk, opens):
    """SQLite asks for leave whenever it plans: not again because another value is bound."""
    connection = opens(desk.path)
    asked = []
    connection.authorizer = lambda *what: asked.append(what) or apsw.SQLITE_OK
    inbox = """
        SELECT subject FROM deliveries AS d JOIN messages AS m ON m.cursor = d.cursor
        WHERE d.agent_id = ? AND d.cursor > ?
    """
    connection.execute(inbox, ("alice", 1)).fetchall()
    planned = len(asked)
    connection.execute(inbox, ("bob", 2)).fetchall()
    assert len(asked) == planned > 0
    connection.close()


def test_nothing_waits_inside_sqlite(desk):
    """Who waits, and how long, is the actor's to decide: B8."""
    one, other = open_writer(desk.path), open_writer(desk.path)
    one.execute("BEGIN IMMEDIATE")
    with pytest.raises(apsw.BusyError):
        other.execute("BEGIN IMMEDIATE")
    one.close()
    other.close()


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM events",
        "INSERT INTO meta VALUES ('x', 1)",
        "CREATE TABLE x (y)",
        "PRAGMA user_version = 9",
        "PRAGMA query_only = 0; DELETE FROM events",
        "VACUUM",
    ],
)
def test_a_reader_cannot_write(desk, sql):
    desk.register("alice")
    connection = open_reader(desk.path)
    with pytest.raises((apsw.ReadOnlyError, apsw.SQLError)):
        connection.execute(sql).fetchall()
    connection.close()
    assert len(desk.events()) == 1


def test_a_reader_sees_what_is_committed_and_nothing_else(desk):
    desk.register("alice")
    reader = Reader.open(desk.path)
    desk.writer.begin()
    desk.writer._execute("DELETE FROM agents")
    assert len(reader.agents(EVERYBODY, limit=10)) == 1
    desk.writer.rollback()
    reader.close()


def test_a_file_that_holds_nothing_yet_has_no_reader(tmp_path):
    path = tmp_path / "x.sqlite3"
    path.touch()
    assert Reader.open(path) is None
    connection = open_writer(path)
    connection.execute("CREATE TABLE meta (name, value)")
    connection.pragma("user_version", 1)
    connection.close()
    assert Reader.open(path) is None, "migrated, but not yet anybody's"


def test_closing_leaves_one_file(tmp_path):
    desk = Desk(tmp_path / "x.sqlite3")
    for i in range(20):
        desk.one(reserve("alice", f"f{i}"))
    assert (tmp_path / "x.sqlite3-wal").stat().st_size > 0
    desk.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.sqlite3"]
    again = Desk(desk.path)
    assert len(again.state.holdings) == 20
    again.close()


def test_closing_beside_a_reader_loses_nothing(tmp_path):
    desk = Desk(tmp_path / "x.sqlite3")
    desk.register("alice")
    reader = Reader.open(desk.path)
    reader._execute("BEGIN")
    assert len(reader.agents(EVERYBODY, limit=10)) == 1
    desk.register("bob")
    desk.close()
    assert len(reader.agents(EVERYBODY, limit=10)) == 1, "its snapshot stays"
    reader._execute("COMMIT")
    reader.close()
    again = Desk(desk.path)
    assert len(again.state.agents) == 2
    again.close()


def test_closing_inside_a_transaction_forgets_it(tmp_path):
    desk = Desk(tmp_path / "x.sqlite3")
    desk.register("alice")
    desk.writer.begin()
    desk.writer._execute("DELETE FROM events")
    desk.close()
    again = Desk(desk.path)
    assert len(again.events()) == 1
    again.close()


def test_the_epoch_rises_each_time_a_file_is_taken_over(tmp_path):
    path = tmp_path / "x.sqlite3"
    path.touch()
    for expected in (1, 2, 3):
        writer = Writer.open(path, project=PROJECT, tag=TAG, at_us=WALL)
        assert writer.take_over() == expected
        writer.close()


def test_tokens_are_kept_as_hashes_only(tmp_path):
    """B28, over the actor's own path: the command holds the hash, and so does the file."""
    token = make_token(TAG)
    secret = token.split("_", 2)[2].encode()
    assert len(secret) >= 20
    desk = Desk(tmp_path / "x.sqlite3")
    ask = desk.ask(RegisterAgent(hash_token(token)), key="retry")
    desk.tell(ask)
    agent_id = next(iter(desk.state.agents))
    desk.one(Heartbeat(agent_id))
    desk.one(AddContact(agent_id, "bob"))
    wal = (tmp_path / "x.sqlite3-wal").read_bytes()
    assert agent_id.encode() in wal, "the search would find what is there"
    assert secret not in wal
    reader = Reader.open(desk.path)
    credential = reader.credential(agent_id)
    assert credential is not None
    assert credential.token_hash == hash_token(token)
    reader.close()
    desk.close()
    content = desk.path.read_bytes()
    assert agent_id.encode() in content
    assert secret not in content
    assert token.encode() not in content


def test_an_event_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"event 7 of type 'no\.such'"):
        decode_event((7, "no.such", None, "{}", 0))
    with pytest.raises(StorageError, match="event 8"):
        decode_event((8, "agent.retired", None, "{}", 0))
    with pytest.raises(StorageError, match="event 9"):
        decode_event((9, "agent.retired", None, "{", 0))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (apsw.BusyError("x"), "busy"),
        (apsw.LockedError("x"), "busy"),
        (apsw.FullError("x"), "full"),
        (apsw.IOError("x"), "io_error"),
        (apsw.CantOpenError("x"), "cannot_open"),
        (apsw.ReadOnlyError("x"), "cannot_open"),
        (apsw.PermissionsError("x"), "cannot_open"),
        (apsw.CorruptError("x"), "corrupt"),
        (apsw.NotADBError("x"), "corrupt"),
        (apsw.NoMemError("x"), "other"),
    ],
)
def test_faults_are_told_apart(error, kind):
    assert isinstance(error, FAULTS)
    fault = describe(error)
    assert (fault.kind, fault.detail) == (kind, "x")


@pytest.mark.parametrize("error", [apsw.SQLError, apsw.ConstraintError, apsw.MisuseError])
def test_a_bug_is_no_fault(error):
    """What the program did wrong must never open a breaker."""
    assert not issubclass(error, FAULTS)
