"""What all projections are written with."""

from collections.abc import Callable
from typing import Any

import msgspec

from intermute.domain.events import Event, EventData

# Runs one statement inside the caller's transaction, like `apsw.Connection.execute`.
Execute = Callable[..., Any]
Projection = Callable[[Execute, Event, Any], None]
Projections = dict[type[EventData], Projection]

_encode = msgspec.json.Encoder().encode


def as_json(value: object) -> str:
    """The value as compact JSON text, as it is kept in columns."""
    return _encode(value).decode()
