"""What reads of messages cost: the same, however many there are."""

import apsw

from intermute.storage.migrations import migrate, packaged
from intermute.storage.reader import Reader

from ..project.harness import PROJECT
from .test_messages_queries import NEWEST, inbox, thread, threads


def steps(connection, call):
    """How many times the machine of SQLite was asked about progress, once for each of its steps."""
    count = [0]

    def one_more():
        count[0] += 1
        return False

    connection.set_progress_handler(one_more, 1)
    try:
        call()
    finally:
        connection.set_progress_handler(None)
    return count[0]


def test_no_read_costs_more_because_there_is_more():
    """Pages, counts and marks walk an index, however many messages there are."""
    connection = apsw.Connection(":memory:")
    migrate(connection, packaged(), at_us=0)
    reader = Reader(connection, PROJECT)
    reads = {
        "inbox": lambda: inbox(reader, "b", limit=20),
        "inbox, later": lambda: inbox(reader, "b", after=50, limit=20),
        "unread": lambda: inbox(reader, "b", limit=20, unread_only=True),
        "counts": lambda: reader.mailbox("b"),
        "owed": lambda: reader.acks_due("b", sent_until_us=NEWEST, limit=20),
        "thread": lambda: thread(reader, "t", limit=20),
        "threads": lambda: threads(reader, "b", limit=20),
        "topic": lambda: reader.topic("x", after=0, limit=20),
        "one": lambda: reader.message("m50"),
        "shared": lambda: reader.share_thread("t", "b", ["a"]),
    }
    fill(connection, 1, 2_100)
    few = {name: steps(connection, read) for name, read in reads.items()}
    fill(connection, 2_101, 20_000)
    many = {name: steps(connection, read) for name, read in reads.items()}
    # A few steps more or less are those of finding a place in a longer index.
    assert all(many[name] <= few[name] + 10 for name in reads), (few, many)
    assert all(0 < cost < 5_000 for cost in few.values()), few


def fill(connection, first, last):
    """Messages from a to b, every hundredth of them unread and owed."""
    connection.execute(
        """
        WITH RECURSIVE numbers(n) AS (SELECT ?1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?2)
        INSERT INTO messages
        SELECT n, 'm' || n, 't', 'x', 'a', '["b"]', '[]', '[]', '', 1, 0, n, NULL, NULL, '', NULL,
               'body' FROM numbers
        """,
        (first, last),
    )
    connection.execute(
        "INSERT INTO deliveries SELECT 'b', cursor, 'to', cursor % 100 = 0, "
        "iif(cursor % 100 = 0, NULL, 1), NULL FROM messages WHERE cursor >= ?",
        (first,),
    )
    connection.execute(
        "INSERT INTO thread_messages SELECT column1, 't', cursor "
        "FROM messages, (VALUES ('a'), ('b')) WHERE cursor >= ?",
        (first,),
    )
    connection.execute(
        "INSERT OR REPLACE INTO thread_members VALUES ('b', 't', ?, ?)", (last, last)
    )
    connection.execute("INSERT OR REPLACE INTO mailboxes VALUES ('b', ?, ?)", (last, last // 100))


def test_many_recipients_are_no_more_work_than_a_few():
    """A thousand recipients and a long thread: what is looked at is bounded for all together."""
    connection = apsw.Connection(":memory:")
    migrate(connection, packaged(), at_us=0)
    reader = Reader(connection, PROJECT)
    fill(connection, 1, 2_100)

    def cost(count, *, written):
        among = [f"stranger{n}" for n in range(count)]
        return steps(connection, lambda: reader.share_thread("t", "b", among, written=written))

    for written in (False, True):
        assert cost(1_000, written=written) < 1.5 * cost(40, written=written)
