"""The rows that decisions ask for, read on the connection that writes."""

from intermute.storage.queries.base import Queries

__all__ = ["FileArchive"]


class FileArchive(Queries):
    """The queries that `intermute.domain.archive.Archive` names, inside the writer's batch."""
