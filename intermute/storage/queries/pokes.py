"""Queries on the pokes."""

from intermute.domain.limits import MESSAGES_PAGE_LEN_MAX
from intermute.domain.views import PokePage, PokeView
from intermute.storage.queries.base import Queries

_POKE = """
SELECT message_id, agent_id, sender, thread_id, body, result, reason, cursor, created_at_us,
       surfaced_at_us
FROM pokes
"""


class PokeQueries(Queries):
    """Queries on the pokes."""

    def poke(self, message_id: str, agent_id: str) -> PokeView | None:
        """The poke of one recipient, None when there is none."""
        row = self._execute(
            _POKE + "WHERE message_id = ? AND agent_id = ?", (message_id, agent_id)
        ).get
        return None if row is None else PokeView(*row)

    def pokes_of(self, message_id: str) -> dict[str, PokeView]:
        """All pokes of a message, by recipient."""
        rows = self._execute(_POKE + "WHERE message_id = ? ORDER BY agent_id", (message_id,))
        return {row[1]: PokeView(*row) for row in rows}

    def unsurfaced_pokes(self, agent_id: str, *, after: int, limit: int) -> PokePage:
        """What could not be typed to the agent and was not shown to it either, oldest first.

        A page ends early where its text is long enough.
        """
        rows = self._execute(
            _POKE + "WHERE agent_id = ? AND cursor > ? AND result = 'deferred' "
            "AND surfaced_at_us IS NULL ORDER BY cursor LIMIT ?",
            (agent_id, after, limit + 1),
        )
        found: list[PokeView] = []
        text_len = 0
        for row in rows:
            if len(found) == limit or text_len > MESSAGES_PAGE_LEN_MAX:
                rows.close()
                return PokePage(tuple(found), more=True)
            found.append(PokeView(*row))
            text_len += len(row[4])
        return PokePage(tuple(found))
