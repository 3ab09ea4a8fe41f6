"""What stands before the app: requests no honest client sends end here, in one error shape.

It looks at the request line and the headers once, reads a body within its bounds, and only then
lets the app see anything. It knows nothing of callers, projects or routes.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import attrs
import trio

from intermute.domain.limits import (
    BODIES_UNFINISHED_LEN_MAX,
    BODY_SMALL_LEN_MAX,
    BODY_WAIT_MS,
    HEADERS_LEN_MAX,
    HEADERS_MAX,
    TARGET_LEN_MAX,
)
from intermute.web.peers import is_unix_peer
from intermute.web.problem import problem, problem_headers

__all__ = ["BODY", "LOOPBACK_NAMES", "ASGIApp", "Guard", "HostPolicy", "Receive", "Scope", "Send"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")

# Where the app finds the body that was read already, without reading it again.
BODY = "intermute.body"

# The length of a body that comes in chunks.
UNANNOUNCED = -1

_WATCHED = frozenset(
    {
        b"host",
        b"origin",
        b"content-length",
        b"transfer-encoding",
        b"content-type",
        b"content-encoding",
        b"sec-fetch-site",
        b"sec-fetch-mode",
        b"sec-fetch-dest",
    }
)
_WITH_JSON = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._~-]{1,253})(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"(https?)://(\S+)")
_ABSOLUTE = re.compile(rb"http://([^/?#]*)(/.*)?", re.IGNORECASE | re.DOTALL)
_JSON_TYPE = re.compile(
    r"application/(?:json|[a-z0-9][a-z0-9.!#$&^_-]{0,100}\+json)"
    r"((?:[ \t]*;(?:[ \t]*[a-z0-9!#$&^_.+-]+=(?:[^\s\";,]+|\"[^\"\\]*\"))?)*)[ \t]*"
)
_CHARSET = re.compile(r";[ \t]*charset=\"?([^\s\";]*)")


def _folded(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.strip().lower() for name in names)


@attrs.frozen
class HostPolicy:
    """Which names this server answers to.

    `localhost`, `127.0.0.1` and `[::1]` always, at any port. `names` adds others: `name` for any
    port, `name:port` for that one only; case does not matter, IPv6 addresses take brackets. `own`
    are the names of the address it listens on, for which the same holds as for the first three.
    """

    names: frozenset[str] = attrs.field(factory=frozenset, converter=_folded)
    own: frozenset[str] = attrs.field(factory=frozenset, converter=_folded)

    def __attrs_post_init__(self) -> None:
        for name in self.names:
            if _AUTHORITY.fullmatch(name) is None:
                raise ValueError(f"{name!r} is not a host name, with or without a port")

    def allows_host(self, host: str) -> bool:
        """Whether a `Host` value names this server."""
        found = _AUTHORITY.fullmatch(host.lower())
        return found is not None and self._is_ours(found[1], found[0])

    def allows_origin(self, origin: str, host: str) -> bool:
        """Whether a page from `origin` may call the server it reached as `host`.

        A page of its own address must come from the same port: another port is another program's.
        A configured name is trusted as configured, because a proxy may have changed the port.
        """
        split = _ORIGIN.fullmatch(origin.lower())
        found = _AUTHORITY.fullmatch(split[2]) if split is not None else None
        if split is None or found is None:
            return False
        if found[1] in self.names or found[0] in self.names:
            return True
        own = _AUTHORITY.fullmatch(host.lower())
        default_port = "443" if split[1] == "https" else "80"
        return (
            (found[1] in LOOPBACK_NAMES or found[1] in self.own)
            and own is not None
            and (found[2] or default_port) == (own[2] or default_port)
        )

    def _is_ours(self, name: str, authority: str) -> bool:
        known = name in LOOPBACK_NAMES or name in self.own
        return known or name in self.names or authority in self.names


@attrs.frozen
class _Refusal:
    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]]


def _refusal(
    status: int, code: str, title: str, detail: str, *more: tuple[bytes, bytes], **extra: object
) -> _Refusal:
    body = problem(status, code, title, detail, **extra)
    # What is left of a refused request is not read, so the connection cannot be used again.
    return _Refusal(status, body, problem_headers(body, (b"connection", b"close"), *more))


_BAD = "The request is malformed"
_AMBIGUOUS_BODY = _refusal(
    400,
    "bad_request",
    _BAD,
    "It has both Content-Length and Transfer-Encoding, so its end is ambiguous; send one of them.",
)
_BAD_TARGET = _refusal(
    400,
    "bad_request",
    _BAD,
    "The request target must be a path that starts with a slash and decodes to UTF-8 without NUL, "
    "alone or behind http:// and the name of this server.",
)
_NO_HOST = _refusal(400, "bad_request", _BAD, "The Host header is missing.")
_REPEATED = _refusal(
    400, "bad_request", _BAD, "A header that may stand only once is there more than once."
)
_BAD_LENGTH = _refusal(400, "bad_request", _BAD, "Content-Length is not a number.")
_BAD_VERSION = _refusal(
    505, "http_version_not_supported", "Only HTTP/1.1 is spoken here", "Use HTTP/1.1 or HTTP/1.0."
)
_UNKNOWN_HOST = _refusal(
    421,
    "unknown_host",
    "This server does not answer to that name",
    "The Host header names another server. Use localhost, or have the name added to the settings.",
)
_FOREIGN_ORIGIN = _refusal(
    403,
    "foreign_origin",
    "Pages of other origins may not call this server",
    "The request was made by a web page that this server did not serve.",
)
_LONG_TARGET = _refusal(
    414, "uri_too_long", "The request target is too long", "Shorten the path or the query."
)
_LARGE_HEADERS = _refusal(
    431, "headers_too_large", "The headers are too large", "Send fewer or shorter headers."
)
_ENCODED = _refusal(
    415,
    "unsupported_media_type",
    "The body cannot be read",
    "Content-Encoding is not supported; send the body as it is.",
)
_NOT_JSON = _refusal(
    415,
    "unsupported_media_type",
    "The body cannot be read",
    "A request body must be sent with Content-Type: application/json.",
)


_CRUMBS = _refusal(
    400, "bad_request", _BAD, "The body arrives in too many small pieces; send larger chunks."
)

_CROWDED = _refusal(
    503,
    "overloaded",
    "Too much is asked at once",
    "Too many request bodies are under way; nothing was done. Ask again after a moment.",
    (b"retry-after", b"1"),
    retry_after_seconds=1,
)

# A chunk of one byte costs as much as one of a thousand, so that many of them are an attack.
_PIECES_LEN_MAX = 1024
_PIECE_LEN_MIN = 64


class Guard:
    """An ASGI app around another: checks HTTP requests and WebSocket handshakes, bounds bodies.

    The app gets every body whole, in one `http.request` message, and is not called before the
    body has ended. `lifespan` and unknown scopes pass through untouched. An HTTP refusal closes
    its connection; a WebSocket is refused before it is accepted.

    Args:
        app: What is guarded.
        hosts: The names this server answers to. Peers of a Unix socket (`client` is None and
            `server` has no port) may name any host or none: no browser can reach one.
        body_len_max: Bytes of one request body; more is answered 413 as soon as it is known.
        body_timeout_s: From the headers to the end of the body; 408 after that.
        unfinished_len_max: Bytes of all bodies together of which only a part has come; whose next
            piece is beyond that is answered 503, unless its body is small until then.
        small_len_max: Bytes of such a body.
        target_len_max: Bytes of path and query together; more is 414.
        headers_len_max: Bytes of all header names and values, or 100 headers; more is 431.

    Cancellation: ends the request; nothing is kept between requests.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: HostPolicy,
        body_len_max: int,
        body_timeout_s: float = BODY_WAIT_MS / 1000,
        unfinished_len_max: int = BODIES_UNFINISHED_LEN_MAX,
        small_len_max: int = BODY_SMALL_LEN_MAX,
        target_len_max: int = TARGET_LEN_MAX,
        headers_len_max: int = HEADERS_LEN_MAX,
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._body_len_max = body_len_max
        self._body_timeout_s = body_timeout_s
        self._unfinished_len = 0
        self._unfinished_len_max = unfinished_len_max
        self._small_len_max = small_len_max
        self._target_len_max = target_len_max
        self._headers_len_max = headers_len_max
        self._too_large = _refusal(
            413,
            "body_too_large",
            "The request body is too large",
            f"A request body may have at most {body_len_max} bytes.",
        )
        self._too_slow = _refusal(
            408,
            "body_timeout",
            "The request body took too long",
            f"The whole body must arrive within {body_timeout_s:g} seconds.",
        )
        self._allows_host = lru_cache(maxsize=256)(hosts.allows_host)
        self._allows_origin = lru_cache(maxsize=256)(hosts.allows_origin)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "websocket":
            refusal, _ = self._judge(scope)
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                await _refuse_websocket(refusal, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal, announced_len = self._judge(scope)
        if refusal is None and announced_len:
            body = await self._read_body(receive, announced_len)
            if body is None:
                return
            if not isinstance(body, bytes):
                refusal = body
            elif body and announced_len == UNANNOUNCED and not _is_json_request(scope):
                refusal = _NOT_JSON
            else:
                scope[BODY] = body
                receive = _replay(body, receive)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await _refuse(refusal, receive, send)

    async def _read_body(self, receive: Receive, announced_len: int) -> bytes | _Refusal | None:
        """The whole body, the refusal it has earned, or None when the client went away.

        Nearly every body comes whole with its head, and what ends it then waits behind it: such
        a one needs no deadline, which would cost more than reading it. The server bounds the time
        until the first of a body; this bounds what is left.
        """
        message = await receive()
        if message["type"] == "http.request" and len(message.get("body", b"")) == announced_len:
            whole: bytes = message["body"]
            if message.get("more_body", False):
                message = await receive()
            return whole if message["type"] == "http.request" else None
        with trio.move_on_after(self._body_timeout_s):
            return await self._collect(message, receive)
        return self._too_slow

    async def _collect(self, message: Message, receive: Receive) -> bytes | _Refusal | None:
        """The rest of a body that comes in pieces, after `message`, its first."""
        chunks: list[bytes] = []
        received_len = 0
        try:
            while message["type"] == "http.request":
                chunk: bytes = message.get("body", b"")
                if chunk:
                    received_len += len(chunk)
                    self._unfinished_len += len(chunk)
                    chunks.append(chunk)
                    if received_len > self._body_len_max:
                        return self._too_large
                    crowded = self._unfinished_len > self._unfinished_len_max
                    if crowded and received_len > self._small_len_max:
                        return _CROWDED
                    few = received_len // _PIECE_LEN_MIN
                    if len(chunks) > max(few, _PIECES_LEN_MAX):
                        return _CRUMBS
                if not message.get("more_body", False):
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
                message = await receive()
            return None
        finally:
            self._unfinished_len -= received_len

    def _judge(self, scope: Scope) -> tuple[_Refusal | None, int]:
        """What is wrong with the head of a request, if anything, and how long a body follows."""
        if scope["http_version"] not in ("1.1", "1.0"):
            return _BAD_VERSION, 0
        target: bytes = scope["raw_path"]
        if not target.startswith(b"/"):
            target = _use_absolute(scope)
        path: str = scope["path"]
        if not target.startswith(b"/") or "\x00" in path or "\ufffd" in path:
            return _BAD_TARGET, 0
        if len(target) + len(scope["query_string"]) > self._target_len_max:
            return _LONG_TARGET, 0
        heads: dict[bytes, bytes] = {}
        headers_len = 0
        for name, value in scope["headers"]:
            headers_len += len(name) + len(value)
            if name in _WATCHED:
                if name in heads:
                    return _REPEATED, 0
                heads[name] = value
        if headers_len > self._headers_len_max or len(scope["headers"]) > HEADERS_MAX:
            return _LARGE_HEADERS, 0
        return self._judge_source(scope, heads) or self._judge_body(scope, heads)

    def _judge_source(self, scope: Scope, heads: dict[bytes, bytes]) -> tuple[_Refusal, int] | None:
        """Whether a browser could have been made to send this by somebody else's page."""
        raw_host = heads.get(b"host")
        host = "" if raw_host is None else raw_host.decode("latin-1")
        if not is_unix_peer(scope):
            if not host:
                return _NO_HOST, 0
            if not self._allows_host(host):
                return _UNKNOWN_HOST, 0
        origin = heads.get(b"origin")
        if origin is not None and not self._allows_origin(origin.decode("latin-1"), host):
            return _FOREIGN_ORIGIN, 0
        if heads.get(b"sec-fetch-site") == b"cross-site" and not (
            scope.get("method") == "GET"
            and heads.get(b"sec-fetch-mode") == b"navigate"
            and heads.get(b"sec-fetch-dest") == b"document"
        ):
            return _FOREIGN_ORIGIN, 0
        return None

    def _judge_body(self, scope: Scope, heads: dict[bytes, bytes]) -> tuple[_Refusal | None, int]:
        raw_length = heads.get(b"content-length")
        chunked = b"transfer-encoding" in heads
        if raw_length is not None:
            if chunked:
                return _AMBIGUOUS_BODY, 0
            if not raw_length.isdigit():
                return _BAD_LENGTH, 0
            if len(raw_length) > 15 or int(raw_length) > self._body_len_max:
                return self._too_large, 0
        announced_len = UNANNOUNCED if chunked else int(raw_length or 0)
        if announced_len:
            if heads.get(b"content-encoding", b"identity").lower() != b"identity":
                return _ENCODED, 0
            # What comes in chunks may turn out to be no body at all.
            if not chunked and not _has_json(scope, heads.get(b"content-type", b"")):
                return _NOT_JSON, 0
        return None, announced_len


def _use_absolute(scope: Scope) -> bytes:
    """Take a target of the form `http://authority/path` apart, as its sender means it.

    The authority stands for the Host header from then on. Anything else stays what it was.
    """
    target: bytes = scope["raw_path"]
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        return target
    path = found[2] or b"/"
    scope["raw_path"], scope["path"] = path, unquote(path.decode("latin-1"))
    scope["headers"] = [
        (name, found[1] if name == b"host" else value) for name, value in scope["headers"]
    ]
    return path


def _has_json(scope: Scope, content_type: bytes) -> bool:
    """Whether the body is JSON, where it must be."""
    return scope.get("method") not in _WITH_JSON or _is_json(content_type)


def _is_json_request(scope: Scope) -> bool:
    return _has_json(scope, dict(scope["headers"]).get(b"content-type", b""))


@lru_cache(maxsize=64)
def _is_json(content_type: bytes) -> bool:
    found = _JSON_TYPE.fullmatch(content_type.decode("latin-1").lower())
    return found is not None and {"utf-8", "utf8"}.issuperset(_CHARSET.findall(found[1]))


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read already, then what follows it."""
    pending: Iterable[Message] = iter(({"type": "http.request", "body": body, "more_body": False},))

    async def replay() -> Message:
        for message in pending:
            return message
        return await receive()

    return replay


async def _refuse(refusal: _Refusal, receive: Receive, send: Send) -> None:
    """Answer, throwing away meanwhile what the client still sends.

    Why drain: Hypercorn hands body chunks over through a bounded queue and ends a response
    through the same queue, so an app that answers without reading would wait for itself.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_drain, receive)
        await send(
            {
                "type": "http.response.start",
                "status": refusal.status,
                "headers": list(refusal.headers),
            }
        )
        await send({"type": "http.response.body", "body": refusal.body, "more_body": False})
        nursery.cancel_scope.cancel()


async def _drain(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse_websocket(refusal: _Refusal, send: Send) -> None:
    start = {"type": "websocket.http.response.start", "status": refusal.status}
    await send({**start, "headers": list(refusal.headers)})
    await send({"type": "websocket.http.response.body", "body": refusal.body, "more_body": False})
