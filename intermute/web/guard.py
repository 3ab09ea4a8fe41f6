"""What stands before the app: requests no honest client sends end here, in one error shape.

It looks at the request line and the headers once, reads a body within its bounds, and only then
lets the app see anything. It knows nothing of callers, projects or routes.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import lru_cache
from typing import Any

import attrs
import trio

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
_JSON_TYPE = re.compile(
    r"application/(?:json|[a-z0-9][a-z0-9.!#$&^_-]{0,100}\+json)"
    r"(?:[ \t]*;[ \t]*charset=\"?utf-8\"?)?[ \t]*"
)


def _folded(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.strip().lower() for name in names)


@attrs.frozen
class HostPolicy:
    """Which names this server answers to.

    `localhost`, `127.0.0.1` and `[::1]` always, at any port. `names` adds others: `name` for any
    port, `name:port` for that one only; case does not matter, IPv6 addresses take brackets.
    """

    names: frozenset[str] = attrs.field(factory=frozenset, converter=_folded)

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

        A loopback page must come from the same port: another port is another program's page.
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
            found[1] in LOOPBACK_NAMES
            and own is not None
            and (found[2] or default_port) == (own[2] or default_port)
        )

    def _is_ours(self, name: str, authority: str) -> bool:
        return name in LOOPBACK_NAMES or name in self.names or authority in self.names


@attrs.frozen
class _Refusal:
    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]]


def _refusal(status: int, code: str, title: str, detail: str) -> _Refusal:
    body = problem(status, code, title, detail)
    # What is left of a refused request is not read, so the connection cannot be used again.
    return _Refusal(status, body, problem_headers(body, (b"connection", b"close")))


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
    "The request target must be a path that starts with a slash and decodes to UTF-8 without NUL.",
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

# A chunk of one byte costs as much as one of a thousand, so that many of them are an attack.
_PIECES_LEN_MAX = 1024
_HEADERS_LEN_MAX = 100
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
        body_timeout_s: float = 30.0,
        target_len_max: int = 8192,
        headers_len_max: int = 32 * 1024,
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._body_len_max = body_len_max
        self._body_timeout_s = body_timeout_s
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
            if isinstance(body, bytes):
                scope[BODY] = body
                receive = _replay(body, receive)
            else:
                refusal = body
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
        pieces_len = 0
        while message["type"] == "http.request":
            chunk: bytes = message.get("body", b"")
            if chunk:
                received_len += len(chunk)
                if received_len > self._body_len_max:
                    return self._too_large
                chunks.append(chunk)
                pieces_len += 1
                if pieces_len > _PIECES_LEN_MAX and pieces_len * _PIECE_LEN_MIN > received_len:
                    return _CRUMBS
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)
            message = await receive()
        return None

    def _judge(self, scope: Scope) -> tuple[_Refusal | None, int]:
        """What is wrong with the head of a request, if anything, and how long a body follows."""
        if scope["http_version"] not in ("1.1", "1.0"):
            return _BAD_VERSION, 0
        target: bytes = scope["raw_path"]
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
        if headers_len > self._headers_len_max or len(scope["headers"]) > _HEADERS_LEN_MAX:
            return _LARGE_HEADERS, 0
        return self._judge_source(scope, heads) or self._judge_body(scope, heads)

    def _judge_source(self, scope: Scope, heads: dict[bytes, bytes]) -> tuple[_Refusal, int] | None:
        """Whether a browser could have been made to send this by somebody else's page."""
        raw_host = heads.get(b"host")
        host = "" if raw_host is None else raw_host.decode("latin-1")
        if not _is_unix_peer(scope):
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
            if scope.get("method") in _WITH_JSON and not _is_json(heads.get(b"content-type", b"")):
                return _NOT_JSON, 0
        return None, announced_len


@lru_cache(maxsize=64)
def _is_json(content_type: bytes) -> bool:
    return _JSON_TYPE.fullmatch(content_type.decode("latin-1").lower()) is not None


def _is_unix_peer(scope: Scope) -> bool:
    server = scope.get("server")
    return scope.get("client") is None and server is not None and server[1] is None


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
