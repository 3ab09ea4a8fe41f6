"""The paths of requests: `%2F` is part of a name, `/` stands between names.

ASGI hands over paths that are decoded already, in which both look the same. Here the encoded one
is kept apart until the path has been taken to pieces.
"""

import re
from typing import Any
from urllib.parse import unquote

from quart_trio import QuartTrio
from werkzeug.routing import BaseConverter

# Stands for an encoded slash. It is half a surrogate pair, which no path decodes to, and of those
# it is one that can be written with `surrogateescape`.
_MARK = "\udcaf"
_ENCODED = re.compile(b"%2[Ff]")

# Clients and proxies resolve these before they send, so that they cannot be names.
_NO_DOTS = r"(?!(?:.*/)?\.{1,2}(?:/|\Z))"


def use_path(scope: Any) -> None:
    """Leave the path in a scope as the routes match it.

    Encoded slashes are marked. A slash at the end means nothing and is taken away.
    """
    raw = scope.get("raw_path") or b""
    if b"%2F" in raw or b"%2f" in raw:
        scope["path"] = _MARK.join(unquote(part.decode("ascii")) for part in _ENCODED.split(raw))
    path: str = scope["path"]
    if path[-1:] == "/" and len(path) > 1:
        scope["path"] = path.rstrip("/") or "/"


class _Name(BaseConverter):
    """One part of a path, which may hold encoded slashes."""

    part_isolating = True
    regex = f"{_NO_DOTS}[^/]+"

    def to_python(self, value: str) -> str:
        return value.replace(_MARK, "/")


class _Names(_Name):
    """Any number of parts of a path."""

    part_isolating = False
    regex = f"{_NO_DOTS}[^/].*?"
    weight = 200


class _Inbox(_Names):
    """Whose inbox it is. What stands below `pokes` is about a poke."""

    regex = f"(?!pokes/){_Names.regex}"


def use_encoded_slashes(app: QuartTrio) -> None:
    """Let every part of every route hold encoded slashes. Before any route is added.

    Of two slashes in a row neither is left out: Werkzeug would answer them, and one at the end of
    a path, with a redirect, which no client of an API asks for.
    """
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.converters = {
        **app.url_map.converters,
        "default": _Name,
        "string": _Name,
        "path": _Names,
        "inbox": _Inbox,
    }
