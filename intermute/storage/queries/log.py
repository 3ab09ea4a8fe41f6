"""Queries on the log and on the project's settings."""

from intermute.domain.events import Event
from intermute.domain.views import ProjectView
from intermute.storage.queries.base import Queries
from intermute.storage.writer import decode_event


class LogQueries(Queries):
    """Queries on the log and on the project's settings."""

    def settings(self) -> ProjectView:
        setting = self._execute("SELECT value FROM meta WHERE name = 'case_sensitive'").get
        return ProjectView(self.project, setting is None or bool(setting))

    def last_cursor(self) -> int:
        """The cursor of the last event, 0 when nothing has happened."""
        cursor = self._execute("SELECT coalesce(max(cursor), 0) FROM events").get
        assert isinstance(cursor, int)
        return cursor

    def events(self, *, after: int, limit: int) -> list[Event]:
        """The log in order, from the one after cursor `after`."""
        rows = self._execute(
            "SELECT cursor, type, actor, data, at_us FROM events WHERE cursor > ? "
            "ORDER BY cursor LIMIT ?",
            (after, limit),
        )
        return [decode_event(row) for row in rows]
