"""Slashes inside of names: `%2F` in a path is part of a name, `/` stands between names.

ASGI hands over paths that are decoded already, in which both look the same. Here the encoded one
is kept apart until the path has been taken to pieces.
"""

from typing import Any
from urllib.parse import unquote

from quart_trio import QuartTrio
from werkzeug.routing import BaseConverter

# A character of the private use area, which no client has a reason to send.
_MARK = "\ue02f"


def keep_encoded_slashes(scope: Any) -> None:
    """Mark the encoded slashes in the scope's path, if it has any."""
    raw = scope.get("raw_path") or b""
    if b"%2F" in raw or b"%2f" in raw:
        marked = raw.replace(b"%2F", b"%EE%80%AF").replace(b"%2f", b"%EE%80%AF")
        scope["path"] = unquote(marked.decode("ascii"))


class _Name(BaseConverter):
    """One part of a path, which may hold encoded slashes."""

    part_isolating = True
    regex = "[^/]+"

    def to_python(self, value: str) -> str:
        return value.replace(_MARK, "/")


class _Names(_Name):
    """Any number of parts of a path."""

    part_isolating = False
    regex = "[^/].*?"
    weight = 200

    def to_python(self, value: str) -> str:
        return super().to_python(value.rstrip("/"))


def use_encoded_slashes(app: QuartTrio) -> None:
    """Let every part of every route hold encoded slashes. Before any route is added.

    A slash at the end of a path means nothing, and of two in a row neither is left out: Werkzeug
    would answer those with a redirect, which no client of an API asks for.
    """
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.converters = {
        **app.url_map.converters,
        "default": _Name,
        "string": _Name,
        "path": _Names,
    }
