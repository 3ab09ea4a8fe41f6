"""The words of messages: what is found, in which order, and for how long it is looked."""

import apsw
import pytest

from intermute.domain.views import SearchTerm
from intermute.storage.queries.search import TookTooLong

from ..project.harness import opened
from .test_messages_queries import NEWEST, desk, reader, send

__all__ = ["desk", "reader"]


def words(text, *, is_prefix=False):
    return SearchTerm(text, is_prefix)


def search(reader, *terms, before=NEWEST, limit=10):
    page = reader.search(terms, before=before, limit=limit)
    return [found.message.message_id for found in page.found]


def test_words_are_found_in_subject_and_body(desk, reader):
    send(desk, "a", "b", message_id="1", subject="Broken build", body="the foo_bar test fails")
    send(desk, "a", "b", message_id="2", body="Foo fighters, a bar none")
    send(desk, "a", "b", message_id="3", body="\u00dcnic\u00f6de text")
    assert search(reader, words("foo")) == ["2", "1"]
    assert search(reader, words("FOO"), words("fails")) == ["1"]
    assert search(reader, words("broken")) == ["1"]
    assert search(reader, words("foo bar")) == ["1"]
    assert search(reader, words("fo")) == []
    assert search(reader, words("fo", is_prefix=True)) == ["2", "1"]
    assert search(reader, words("unicode")) == ["3"]
    assert search(reader, words("foo"), words("...")) == ["2", "1"]
    assert search(reader, words("foo"), before=2) == ["1"]
    assert search(reader, words("foo"), limit=1) == ["2"]
    assert reader.search((words("foo"),), before=NEWEST, limit=1).more is True
    (found,) = reader.search((words("fails"),), before=NEWEST, limit=9).found
    assert found.snippet == "the foo_bar test [fails]"
    assert found.message == reader.message("1")


@pytest.mark.parametrize(
    "text",
    ["OR", "AND", "NOT", "NEAR(a b)", "a OR b", "body: a", "-a", "^a", "a + b", "(", "a'b", 'a"b'],
)
def test_no_text_is_an_operator(desk, reader, text):
    send(desk, "a", "b", message_id="1", body="plain words a b")
    send(desk, "a", "b", message_id="2", body=f"said {text} so")
    assert search(reader, words("said"), words(text)) == ["2"]


def test_an_edit_changes_the_words(desk, reader):
    send(desk, "a", "b", message_id="m", subject="first", body="apples and pears")
    send(desk, "a", "b", message_id="m", subject="second", body="oranges")
    for gone in ("first", "apples"):
        assert search(reader, words(gone)) == []
    assert search(reader, words("second"), words("oranges")) == ["m"]


def test_a_page_of_findings_ends_where_it_holds_enough_text(desk, reader):
    for number in range(3):
        send(desk, "a", "b", message_id=str(number), body="x" * 1_000_000 + " needle")
    assert search(reader, words("needle")) == ["2", "1"]


def test_a_query_that_takes_too_long_is_given_up(desk, reader):
    with pytest.raises(TookTooLong):
        reader.within(0, lambda reader: reader._execute(_ENDLESS).get)
    assert reader.within(1_000, lambda reader: reader.last_cursor()) == 0
    assert reader._execute("SELECT 1").get == 1


_ENDLESS = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers)
SELECT count(*) FROM numbers
"""


def test_words_are_kept_with_the_messages_they_are_of(desk):
    """The check that the tests of replay rest on does notice a difference."""
    send(desk, "a", "b", body="hello")
    check = "INSERT INTO message_words (message_words, rank) VALUES ('integrity-check', 1)"
    with opened(desk.path) as connection:
        connection.execute(check)
        connection.execute("BEGIN")
        connection.execute("UPDATE messages SET body = 'other'")
        with pytest.raises(apsw.CorruptError):
            connection.execute(check)
        connection.execute("ROLLBACK")
