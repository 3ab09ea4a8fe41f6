"""Queries on the threads: those of an agent, the messages of one, who shares one."""

from collections.abc import Collection

from intermute.domain.limits import THREAD_LOOKBACK_MAX, THREAD_LOOKUPS_MAX
from intermute.domain.views import MessagePage, ThreadView
from intermute.storage.projections import as_json
from intermute.storage.queries.messages import COLUMNS, MessageQueries

_THREADS = """
SELECT t.thread_id, t.last_cursor, t.message_count, m.sender, coalesce(m.preview, m.body),
       m.created_at_us
FROM thread_members AS t JOIN messages AS m ON m.cursor = t.last_cursor
WHERE t.agent_id = ? AND t.last_cursor < ? ORDER BY t.last_cursor DESC LIMIT ?
"""
_THREAD = f"""
SELECT {COLUMNS} FROM messages AS m
WHERE m.thread_id = ?1 AND m.thread_id <> '' AND m.cursor > ?2 ORDER BY m.cursor
"""
_SHARING = """
WITH own AS MATERIALIZED (
    SELECT cursor FROM thread_messages WHERE agent_id = ?1 AND thread_id = ?2
    ORDER BY cursor DESC LIMIT ?4
)
SELECT value FROM json_each(?3) WHERE EXISTS (
    SELECT 1 FROM own CROSS JOIN thread_messages AS theirs
    CROSS JOIN messages AS m ON m.cursor = own.cursor
    WHERE theirs.agent_id = value AND theirs.thread_id = ?2 AND theirs.cursor = own.cursor
        AND {known}
)
"""
# Who has a blind copy is known to the sender alone, so it is no answer to anybody else.
_SHARED = _SHARING.format(
    known="""(m.sender IN (value, ?1) OR NOT EXISTS (
        SELECT 1 FROM deliveries AS d
        WHERE d.agent_id = value AND d.cursor = own.cursor AND d.kind = 'bcc'
    ))"""
)
_WRITTEN = _SHARING.format(known="m.sender = value")


class ThreadQueries(MessageQueries):
    """Queries on the threads."""

    def threads(self, agent_id: str, *, before: int, limit: int) -> list[ThreadView]:
        """The threads that the agent takes part in, the latest first, before cursor `before`."""
        rows = self._execute(_THREADS, (agent_id, before, limit))
        return [ThreadView(*row) for row in rows]

    def thread(self, thread_id: str, *, after: int, limit: int) -> MessagePage:
        """The messages of a thread, oldest first, from the one after cursor `after`."""
        return self.page(self._execute(_THREAD, (thread_id, after)), limit)

    def share_thread(
        self, thread_id: str, agent_id: str, among: Collection[str], *, written: bool = False
    ) -> set[str]:
        """Those `among` others who have a message of the thread in common with the agent.

        Only as far as the agent may know of it, or with `written` only what they wrote to it. Of
        the agent's messages there, the newest `limits.THREAD_LOOKBACK_MAX` are looked at, fewer
        when there are many others: `limits.THREAD_LOOKUPS_MAX` for all of them together.
        """
        newest = min(THREAD_LOOKBACK_MAX, THREAD_LOOKUPS_MAX // max(1, len(among)))
        rows = self._execute(
            _WRITTEN if written else _SHARED,
            (agent_id, thread_id, as_json(tuple(among)), newest),
        )
        return {row[0] for row in rows}
