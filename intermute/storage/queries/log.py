"""Queries on the log and on the project's settings."""

from intermute.domain.events import Event
from intermute.domain.views import ProjectView
from intermute.storage.queries.base import Queries
from intermute.storage.writer import decode_event


class LogQueries(Queries):
    """Queries on the log and on the project's settings."""

    def settings(self) -> ProjectView:
        rows = self._execute(
            "SELECT name, value FROM meta WHERE name IN ('case_sensitive', 'live_transport')"
        )
        found = {name: bool(setting) for name, setting in rows}
        return ProjectView(
            self.project, found.get("case_sensitive", True), found.get("live_transport")
        )

    def last_cursor(self) -> int:
        """The cursor of the last event, 0 when nothing has happened."""
        cursor = self._execute("SELECT coalesce(max(cursor), 0) FROM events").get
        assert isinstance(cursor, int)
        return cursor

    def events(self, *, after: int, limit: int, data_len_max: int | None = None) -> list[Event]:
        """The log in order, from the one after cursor `after`.

        Args:
            data_len_max: Stop after the event with which their data has more characters than
                this together.
        """
        rows = self._execute(
            "SELECT cursor, type, actor, data, at_us FROM events WHERE cursor > ? "
            "ORDER BY cursor LIMIT ?",
            (after, limit),
        )
        found = []
        data_len = 0
        for row in rows:
            found.append(decode_event(row))
            data_len += len(row[3])
            if data_len_max is not None and data_len > data_len_max:
                rows.close()
                break
        return found
