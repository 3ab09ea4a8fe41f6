"""Queries on the reservations."""

from typing import Any

from intermute.domain.views import ReservationView
from intermute.storage.queries.base import Queries, decode_strings

_RESERVATION = """
SELECT cursor, reservation_id, agent_id, patterns, exclusive, reason, ttl_ms, created_at_us,
       expires_at_us, ended, ended_at_us
FROM reservations
"""


class ReservationQueries(Queries):
    """Queries on the reservations."""

    def reservation(self, reservation_id: str) -> ReservationView | None:
        """One reservation, ended ones included."""
        row = self._execute(_RESERVATION + "WHERE reservation_id = ?", (reservation_id,)).get
        return None if row is None else self._reservation(row)

    def reservations(
        self, *, agent_id: str | None, active_at_us: int | None, before: int, limit: int
    ) -> list[ReservationView]:
        """Newest first, those granted before cursor `before`.

        `active_at_us` leaves only what is granted and has not run out by then.
        """
        conditions = ["cursor < ?1"]
        if active_at_us is not None:
            conditions.append("ended IS NULL AND expires_at_us > ?2")
        if agent_id is not None:
            conditions.append("agent_id = ?3")
        rows = self._execute(
            f"{_RESERVATION} WHERE {' AND '.join(conditions)} ORDER BY cursor DESC LIMIT ?4",
            (before, active_at_us, agent_id, limit),
        )
        return [self._reservation(row) for row in rows]

    def _reservation(self, row: tuple[Any, ...]) -> ReservationView:
        return ReservationView(
            reservation_id=row[1],
            agent_id=row[2],
            project=self.project,
            patterns=decode_strings(row[3]),
            exclusive=bool(row[4]),
            reason=row[5],
            ttl_ms=row[6],
            created_at_us=row[7],
            expires_at_us=row[8],
            cursor=row[0],
            ended=row[9],
            ended_at_us=row[10],
        )
