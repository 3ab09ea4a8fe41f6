"""A project's settings, kept in `meta`."""

from intermute.domain import events
from intermute.domain.events import Event
from intermute.storage.projections.base import Execute, Projections

_CASE_CHANGED = """
INSERT INTO meta SELECT 'case_changed', ?
WHERE ? <> coalesce((SELECT value FROM meta WHERE name = 'case_sensitive'), 1)
ON CONFLICT DO UPDATE SET value = excluded.value
"""


def _configured(execute: Execute, event: Event, data: events.ProjectConfigured) -> None:
    execute(_CASE_CHANGED, (event.cursor, int(data.case_sensitive)))
    execute(
        "INSERT INTO meta VALUES ('case_sensitive', ?) "
        "ON CONFLICT DO UPDATE SET value = excluded.value",
        (int(data.case_sensitive),),
    )
    if data.live_transport is None:
        execute("DELETE FROM meta WHERE name = 'live_transport'")
        return
    execute(
        "INSERT INTO meta VALUES ('live_transport', ?) "
        "ON CONFLICT DO UPDATE SET value = excluded.value",
        (int(data.live_transport),),
    )


PROJECTIONS: Projections = {events.ProjectConfigured: _configured}
