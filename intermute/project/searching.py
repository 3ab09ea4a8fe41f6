"""Searches over everything a project holds: slow work, away from those who wait for quick answers.

Each runs in a thread, on a connection of its own. So many run at once, so many more wait, and each
has so much time; whatever is more is refused.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from actors import Overloaded
from intermute.domain import limits
from intermute.domain.projects import normalise_project
from intermute.project.messages import StorageUnavailable, WriteOutcome
from intermute.storage import faults
from intermute.storage.files import project_tag
from intermute.storage.queries.search import TookTooLong
from intermute.storage.reader import Reader

__all__ = ["Searches", "TookTooLong"]

T = TypeVar("T")


class Searches:
    """The searches of a server.

    Args:
        find: The file of the project with a tag, None when there is none.
    """

    def __init__(self, find: Callable[[str], Path | None]) -> None:
        self._find = find
        self._limiter = trio.CapacityLimiter(limits.SEARCHES_RUNNING_MAX)

    async def search(self, project: str, query: Callable[[Reader], T], *, empty: T) -> T:
        """The result of a query on committed data, `empty` when the project has no data.

        Raises:
            actors.Overloaded: Too many wait already.
            TookTooLong: It was given up.
            StorageUnavailable: The file cannot be read.

        Cancellation: while it waits; a search that runs is waited for, because its time is bounded.
        """
        name = normalise_project(project)
        path = None if name is None else self._find(project_tag(name))
        if path is None:
            return empty
        if self._limiter.statistics().tasks_waiting >= limits.SEARCHES_WAITING_MAX:
            raise Overloaded("too many searches wait", retry_after_s=limits.RETRY_SOON_MS / 1000)
        work = partial(_search, path, query, empty)
        return await trio.to_thread.run_sync(work, limiter=self._limiter)


def _search(path: Path, query: Callable[[Reader], T], empty: T) -> T:
    try:
        reader = Reader.open(path)
        if reader is None:
            return empty
        try:
            return reader.within(limits.SEARCH_TIME_MAX_MS, query)
        finally:
            reader.close()
    except (*faults.FAULTS, faults.StorageError) as error:
        kind = faults.describe(error).kind
        raise StorageUnavailable(
            kind, outcome=WriteOutcome.NOT_DONE, retry_after_s=limits.RETRY_SOON_MS / 1000
        ) from error
