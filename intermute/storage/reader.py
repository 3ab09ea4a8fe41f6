"""Reads that only look: a connection that cannot write, on committed data, bounded in rows."""

from pathlib import Path

from intermute.storage.connections import open_reader, stored_project
from intermute.storage.migrations import packaged, refuse_newer
from intermute.storage.queries.agents import AgentFilter, AgentQueries
from intermute.storage.queries.entities import EntityQueries
from intermute.storage.queries.log import LogQueries
from intermute.storage.queries.pokes import PokeQueries
from intermute.storage.queries.reservations import ReservationQueries
from intermute.storage.queries.search import SearchQueries
from intermute.storage.queries.threads import ThreadQueries
from intermute.storage.queries.waiting import WaitingQueries
from intermute.storage.queries.windows import WindowQueries

__all__ = ["AgentFilter", "Reader"]


class Reader(
    AgentQueries,
    EntityQueries,
    PokeQueries,
    ReservationQueries,
    SearchQueries,
    ThreadQueries,
    WaitingQueries,
    WindowQueries,
    LogQueries,
):
    """Queries on one project's file. Each sees one consistent state of it.

    Every method may raise the errors in `intermute.storage.faults.FAULTS`.
    """

    @classmethod
    def open(cls, path: Path) -> "Reader | None":
        """A reader of the file, None while it is too new to hold anything."""
        connection = open_reader(path)
        try:
            if not refuse_newer(connection, packaged()):
                connection.close()
                return None
            project = stored_project(connection, path.name)
        except BaseException:
            connection.close()
            raise
        if project is None:
            connection.close()
            return None
        return cls(connection, project)

    def close(self) -> None:
        self._connection.close()
