"""Queries on the windows."""

from intermute.domain.views import WindowView
from intermute.storage.queries.base import Queries


class WindowQueries(Queries):
    """Queries on the windows."""

    def windows(self, *, before: int, limit: int) -> list[WindowView]:
        """The live ones, last active first, those before cursor `before`."""
        rows = self._execute(
            "SELECT window_id, window_uuid, agent_id, display_name, tmux_target, created_at_us, "
            "last_active_at_us, cursor FROM windows "
            "WHERE expired_at_us IS NULL AND cursor < ? ORDER BY cursor DESC LIMIT ?",
            (before, limit),
        )
        return [WindowView(row[0], self.project, *row[1:]) for row in rows]

    def pane_hash(self, window_uuid: str, agent_id: str) -> bytes | None:
        """The SHA-256 of the token by which the pane of the agent's window shows itself.

        None when the agent has no such window.
        """
        found = self._execute(
            "SELECT token_hash FROM windows JOIN pane_tokens USING (window_id) "
            "WHERE window_uuid = ? AND agent_id = ? AND expired_at_us IS NULL",
            (window_uuid, agent_id),
        ).get
        return None if found is None else bytes(found)
