"""The tables that show the log's meaning, and the one function that writes them.

`apply` serves live traffic and rebuilds alike. It looks at the event, and at what earlier events
have left in the tables.
"""

import apsw

from intermute.domain.events import Event, Mark
from intermute.storage.projections import (
    agents,
    entities,
    messages,
    pokes,
    reservations,
    settings,
    waiting,
    windows,
)
from intermute.storage.projections.base import Projections, as_json

__all__ = ["apply", "as_json", "mark"]


def apply(connection: apsw.Connection | apsw.Cursor, event: Event) -> None:
    """Write what `event` means into the tables, inside the caller's transaction."""
    _EVENTS[type(event.data)](connection.execute, event, event.data)


def mark(connection: apsw.Connection | apsw.Cursor, note: Mark) -> None:
    """Write a fact that is no history, inside the caller's transaction."""
    _MARKS[type(note)](connection.execute, note)


_EVENTS: Projections = {
    **agents.PROJECTIONS,
    **entities.PROJECTIONS,
    **messages.PROJECTIONS,
    **pokes.PROJECTIONS,
    **reservations.PROJECTIONS,
    **settings.PROJECTIONS,
    **windows.PROJECTIONS,
    **waiting.PROJECTIONS,
}
_MARKS = {**agents.MARKS, **waiting.MARKS, **windows.MARKS}
