"""Queries on those who wait."""

from typing import Any

from intermute.domain.modes import Mode
from intermute.domain.views import TicketView
from intermute.storage.queries.base import Queries, decode_strings

# What became of a grant is known by its reservation.
_TICKET = """
SELECT t.cursor, t.ticket_id, t.agent_id, t.patterns, t.mode, t.reason, t.ttl_ms,
       t.renew_on_heartbeat, t.held_open, t.created_at_us, t.wait_until_us,
       CASE WHEN t.ended IS NOT 'granted' THEN t.ended
            WHEN r.ticket_id IS NULL THEN 'confirmed'
            WHEN r.ended = 'released' THEN 'cancelled'
            ELSE t.ended END,
       t.ended_at_us, t.reservation_id
FROM tickets AS t LEFT JOIN reservations AS r USING (reservation_id)
"""


class WaitingQueries(Queries):
    """Queries on those who wait. Their places are the actor's to tell."""

    def granted_to(self, ticket_id: str) -> str | None:
        """The reservation that a ticket has become, None when it became none."""
        found = self._execute(
            "SELECT reservation_id FROM tickets WHERE ticket_id = ?", (ticket_id,)
        ).get
        assert found is None or isinstance(found, str)
        return found

    def ticket(self, ticket_id: str) -> TicketView | None:
        """One ticket, ended ones included."""
        row = self._execute(_TICKET + "WHERE t.ticket_id = ?", (ticket_id,)).get
        return None if row is None else self._ticket(row)

    def tickets(self, *, agent_id: str | None, after: int, limit: int) -> list[TicketView]:
        """Those who wait now, oldest first, after a cursor."""
        rows = self._execute(
            f"{_TICKET} WHERE t.ended IS NULL AND t.cursor > ?1 "
            "AND (?2 IS NULL OR t.agent_id = ?2) ORDER BY t.cursor LIMIT ?3",
            (after, agent_id, limit),
        )
        return [self._ticket(row) for row in rows]

    def _ticket(self, row: tuple[Any, ...]) -> TicketView:
        return TicketView(
            cursor=row[0],
            ticket_id=row[1],
            agent_id=row[2],
            project=self.project,
            patterns=decode_strings(row[3]),
            mode=Mode(row[4]),
            reason=row[5],
            ttl_ms=row[6],
            renew_on_heartbeat=bool(row[7]),
            held_open=bool(row[8]),
            created_at_us=row[9],
            wait_until_us=row[10],
            ended=row[11],
            ended_at_us=row[12],
            reservation_id=row[13],
        )
