"""The connections that read the projects' files, a bounded number of them kept open."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from intermute.domain import limits
from intermute.project.messages import StorageUnavailable, WriteOutcome
from intermute.storage import faults
from intermute.storage.reader import Reader

_log = logging.getLogger(__name__)


class Readers:
    """One reader for each project that was read lately; of too many the longest unused is closed.

    Args:
        find: Where the file of the project with a tag is, None when there is none.
    """

    def __init__(self, find: Callable[[str], Path | None]) -> None:
        self._find = find
        self._open: OrderedDict[str, Reader] = OrderedDict()

    def get(self, tag: str) -> Reader | None:
        """The reader of a project, None when there is nothing to read yet.

        Raises:
            StorageUnavailable: The file cannot be read.
        """
        reader = self._open.get(tag)
        if reader is not None:
            self._open.move_to_end(tag)
            return reader
        path = self._find(tag)
        if path is None:
            return None
        try:
            reader = Reader.open(path)
        except faults.FAULTS as error:
            raise unreadable(error) from error
        except faults.StorageError as error:
            _log.error("project %s: %s", tag, error)
            raise unreadable(error) from error
        if reader is not None:
            self._open[tag] = reader
            if len(self._open) > limits.READERS_OPEN_MAX:
                self._open.popitem(last=False)[1].close()
        return reader

    def drop(self, tag: str) -> None:
        """Close the reader of a project; the next to read opens another one."""
        reader = self._open.pop(tag, None)
        if reader is not None:
            reader.close()

    def close(self) -> None:
        for tag in tuple(self._open):
            self.drop(tag)


def unreadable(error: Exception) -> StorageUnavailable:
    """What an error of a read means for whoever asked."""
    kind = faults.describe(error).kind
    return StorageUnavailable(
        kind, outcome=WriteOutcome.NOT_DONE, retry_after_s=limits.RETRY_SOON_MS / 1000
    )
