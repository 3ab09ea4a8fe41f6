"""Searching the words of all messages."""

import time
from collections.abc import Callable, Sequence
from typing import Self, TypeVar

import apsw

from intermute.domain.limits import MESSAGES_PAGE_LEN_MAX
from intermute.domain.views import FoundPage, FoundView, SearchTerm
from intermute.storage.queries.messages import COLUMNS, MessageQueries

T = TypeVar("T")
# SQLite looks at the time once in so many steps of its machine.
_STEPS = 10_000
_SEARCH = f"""
SELECT {COLUMNS}, snippet(message_words, -1, '[', ']', '…', 16)
FROM message_words JOIN messages AS m ON m.cursor = message_words.rowid
WHERE message_words MATCH ?1 AND message_words.rowid < ?2
ORDER BY message_words.rowid DESC
"""


class TookTooLong(Exception):
    """A query was given up, because its time was over."""


class SearchQueries(MessageQueries):
    """Searching the words of all messages."""

    def within(self, time_ms: int, query: Callable[[Self], T]) -> T:
        """The result of a query that may take so long.

        Raises:
            TookTooLong: It took longer.
        """
        deadline_s = time.monotonic() + time_ms / 1000
        self._connection.set_progress_handler(lambda: time.monotonic() > deadline_s, _STEPS)
        try:
            return query(self)
        except apsw.InterruptError as error:
            raise TookTooLong from error
        finally:
            self._connection.set_progress_handler(None)

    def search(self, terms: Sequence[SearchTerm], *, before: int, limit: int) -> FoundPage:
        """Messages that hold all of the terms, newest first, of those before cursor `before`."""
        found: list[FoundView] = []
        length = 0
        for row in self._execute(_SEARCH, (_expression(terms), before)):
            length += len(row[14]) + len(row[5])
            if len(found) == limit or (found and length > MESSAGES_PAGE_LEN_MAX):
                return FoundPage(tuple(found), more=True)
            found.append(FoundView(self._message(row), row[15]))
        return FoundPage(tuple(found))


def _expression(terms: Sequence[SearchTerm]) -> str:
    """The terms in the language of FTS5: each is a string of it, so that none is an operator."""
    return " ".join(
        '"{}"{}'.format(term.text.replace('"', '""'), "*" if term.is_prefix else "")
        for term in terms
    )
