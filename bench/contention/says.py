"""What a server says of itself: what runs in it is for it to tell, and is not known otherwise."""

from contextlib import suppress
from time import perf_counter
from typing import Any

from bench.contention.links import BROKEN, Address, Ask, HttpLink, Reply

TIMEOUT_S = 5.0
_MEMBERS_MAX = 12
_TEXT_LEN_MAX = 200


def said_by(address: Address) -> dict[str, Any]:
    """The `Server` header, and the members of `/health` and `/ready` that are a text or a number.

    A server need not have any of these: then there is less of it, or nothing.
    """
    said: dict[str, Any] = {}
    for path in ("/health", "/ready"):
        reply = _asked(address, path)
        if reply is None:
            continue
        server = reply.header("server")
        if server:
            said["server"] = server[:_TEXT_LEN_MAX]
        if reply.status in (200, 503):
            said |= {
                f"{path[1:]} {name}"[:_TEXT_LEN_MAX]: _short(value)
                for name, value in list(reply.members().items())[:_MEMBERS_MAX]
                if isinstance(value, str | int | float)
            }
    # A key that a server repeats is not kept.
    return {name: value for name, value in said.items() if not _shows(value, address.key)}


def _shows(value: Any, key: str) -> bool:
    return bool(key) and key in str(value)


def _short(value: Any) -> Any:
    return value[:_TEXT_LEN_MAX] if isinstance(value, str) else value


def _asked(address: Address, path: str) -> Reply | None:
    """The answer, if there is one in time."""
    link = HttpLink(address)
    end_s = perf_counter() + TIMEOUT_S
    with suppress(*BROKEN):
        try:
            link.open()
            link.send(Ask("", "GET", path))
            while (left_s := end_s - perf_counter()) > 0:
                link.settle(left_s)
                reply = link.receive()
                if reply is not None:
                    return reply
        finally:
            link.close()
    return None
