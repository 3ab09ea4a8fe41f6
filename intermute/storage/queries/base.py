"""What all queries are made of."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import apsw
import msgspec

decode_strings = msgspec.json.Decoder(tuple[str, ...]).decode
decode_map = msgspec.json.Decoder(dict[str, str]).decode


class Queries:
    """Base of the queries of each noun: a connection that cannot write, and whose file it is."""

    def __init__(self, connection: apsw.Connection, project: str) -> None:
        self._connection = connection
        self._execute: Callable[..., Any] = connection.execute
        self.project = project

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        self._execute("BEGIN")
        try:
            yield
        finally:
            self._execute("COMMIT")
