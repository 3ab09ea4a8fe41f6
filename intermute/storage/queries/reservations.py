"""Queries on the reservations."""

from collections.abc import Iterable, Iterator
from typing import Any

from intermute.domain.modes import Mode
from intermute.domain.views import ReservationView
from intermute.storage.projections import as_json
from intermute.storage.queries.base import Queries, decode_strings

_RESERVATION = """
SELECT cursor, reservation_id, agent_id, coalesce(kept, patterns), mode, reason, ttl_ms,
       created_at_us, expires_at_us, ended, ended_at_us, renew_on_heartbeat, ticket_id
FROM reservations
"""
# The patterns are those that were granted: what was given up later had been taken all the same.
_GRANTS_SINCE = """
SELECT cursor, reservation_id, agent_id, patterns, mode, reason, ttl_ms,
       created_at_us, expires_at_us, ended, ended_at_us, renew_on_heartbeat, ticket_id
FROM (SELECT * FROM reservations WHERE cursor > ?1 ORDER BY cursor LIMIT ?4)
WHERE agent_id <> ?2 AND mode IN (SELECT value FROM json_each(?3)) ORDER BY cursor
"""


class ReservationQueries(Queries):
    """Queries on the reservations."""

    def reservation(self, reservation_id: str) -> ReservationView | None:
        """One reservation, ended ones included."""
        row = self._execute(_RESERVATION + "WHERE reservation_id = ?", (reservation_id,)).get
        return None if row is None else self._reservation(row)

    def grant(self, fencing_token: int) -> ReservationView | None:
        """The reservation with that token, as it is now."""
        row = self._execute(_RESERVATION + "WHERE cursor = ?", (fencing_token,)).get
        return None if row is None else self._reservation(row)

    def grants_since(
        self, fencing_token: int, *, but_to: str, modes: Iterable[Mode], most: int
    ) -> Iterator[ReservationView]:
        """Among the next `most` grants after the token, those to others in these modes."""
        wanted = as_json([mode.value for mode in modes])
        for row in self._execute(_GRANTS_SINCE, (fencing_token, but_to, wanted, most)):
            yield self._reservation(row)

    def more_grants_since(self, fencing_token: int, most: int) -> bool:
        """Whether more than `most` grants came after the token."""
        found = self._execute(
            "SELECT 1 FROM reservations WHERE cursor > ? ORDER BY cursor LIMIT 1 OFFSET ?",
            (fencing_token, most),
        ).get
        return found is not None

    def case_changed(self) -> int:
        """The cursor of the last change of the rule that paths are compared by, 0 for none."""
        cursor = self._execute("SELECT value FROM meta WHERE name = 'case_changed'").get
        return 0 if cursor is None else int(cursor)

    def reservations(
        self, *, agent_id: str | None, active: bool, before: int, limit: int
    ) -> list[ReservationView]:
        """Newest first, those granted before cursor `before`; with `active`, only those that have
        not ended."""
        conditions = ["cursor < ?1"]
        if active:
            conditions.append("ended IS NULL")
        if agent_id is not None:
            conditions.append("agent_id = ?2")
        rows = self._execute(
            f"{_RESERVATION} WHERE {' AND '.join(conditions)} ORDER BY cursor DESC LIMIT ?3",
            (before, agent_id, limit),
        )
        return [self._reservation(row) for row in rows]

    def _reservation(self, row: tuple[Any, ...]) -> ReservationView:
        return ReservationView(
            reservation_id=row[1],
            agent_id=row[2],
            project=self.project,
            patterns=decode_strings(row[3]),
            mode=Mode(row[4]),
            reason=row[5],
            ttl_ms=row[6],
            created_at_us=row[7],
            expires_at_us=row[8],
            cursor=row[0],
            ended=row[9],
            ended_at_us=row[10],
            renew_on_heartbeat=bool(row[11]),
            ticket_id=row[12],
        )
