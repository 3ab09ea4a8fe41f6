"""The rows that decisions ask for, read on the connection that writes."""

from intermute.storage.queries.agents import AgentQueries
from intermute.storage.queries.entities import EntityQueries
from intermute.storage.queries.pokes import PokeQueries
from intermute.storage.queries.reservations import ReservationQueries
from intermute.storage.queries.threads import ThreadQueries
from intermute.storage.queries.waiting import WaitingQueries

__all__ = ["FileArchive"]


class FileArchive(
    AgentQueries,
    EntityQueries,
    PokeQueries,
    ReservationQueries,
    ThreadQueries,
    WaitingQueries,
):
    """The queries that `intermute.domain.archive.Archive` names, inside the writer's batch."""
