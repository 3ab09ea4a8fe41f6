"""Servers under load: where they are, and what they can do."""

import secrets
import select
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Any
from urllib.parse import quote, urlsplit

import attrs

from bench.connection import Broken
from bench.contention import asks
from bench.contention.jobs import Place
from bench.contention.links import BROKEN, Address, Ask, HttpLink, Reply, lacking
from bench.contention.sockets import SocketLink
from bench.websocket import WebSocket
from intermute.cli.wording import plain

PROBE_TIMEOUT_S = 10.0
_KEY_HINT = "; a key is given with --api-key-file, see --help"

WHAT_IT_IS = {
    "send": "send a message",
    "inbox": "read a page of an inbox",
    "waiting": "let a call wait for a reservation (`wait_seconds`)",
    "sets": "reserve several patterns at once",
    "renew": "renew a reservation",
    "order": "say where a decision stands in the project's order",
    "websocket": "push events over a WebSocket",
    "resume": "resume a feed at a cursor",
    "rpc": "take commands over a WebSocket (JSON-RPC)",
}


class Unreachable(Exception):
    """Nothing that speaks this wire is at the address."""


@attrs.frozen
class Named:
    """A target as the command line names it."""

    name: str
    url: str
    address: Address


def parse_target(text: str) -> Named:
    """A target out of `name=URL` or a bare URL, whose host and port are its name then.

    Raises:
        ValueError: It is none, or not plain HTTP at the root of a host.
    """
    name, separator, url = text.partition("=")
    if not separator or "://" in name:
        name, url = "", text
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{url!r} is no base URL: http://HOST:PORT is needed")
    if parts.path.strip("/") or parts.query or parts.username:
        raise ValueError(f"{url!r} has more than a host and a port")
    address = Address(parts.hostname, parts.port or 80)
    return Named(name or parts.netloc, f"http://{parts.netloc}", address)


def probe(target: Named, pid: int | None = None) -> Place:
    """Find out what a target can do, in a project of its own or in that of the key.

    A capability is there when the target does what it means, and not when it says that it does: a
    server that passes over a member that it does not know answers as if nothing had been asked.

    Raises:
        Unreachable: It does not do the least that every workload needs.
    """
    address = target.address
    link = HttpLink(address)
    try:
        asking = _Asking(link)
        held = _least(asking, target)
        project = held["project"]
        found = {name for name, has in _CHECKS.items() if has(asking, project, held)}
        asking(asks.release(held["agent_id"], held["id"]))
    except TimeoutError as error:
        raise Unreachable(
            f"{target.name} ({target.url}) did not answer within {PROBE_TIMEOUT_S:g} s"
        ) from error
    except BROKEN as error:
        raise Unreachable(f"{target.name} ({target.url}): {plain(str(error))}") from error
    finally:
        link.close()
    found |= _feeds(target, project)
    return Place(
        target.name,
        address.host,
        address.port,
        frozenset(found),
        pid,
        key=address.key,
        project=project if address.key else "",
    )


class _Asking:
    """One call after the other, waiting for each answer."""

    def __init__(self, link: HttpLink) -> None:
        self._link = link

    def __call__(self, ask: Ask) -> Reply:
        end_s = perf_counter() + PROBE_TIMEOUT_S
        self._link.open()
        self._link.settle(PROBE_TIMEOUT_S)
        self._link.send(ask)
        while (left_s := end_s - perf_counter()) > 0:
            self._link.settle(left_s)
            reply = self._link.receive()
            if reply is not None:
                return reply
        raise Broken(f"no whole answer within {PROBE_TIMEOUT_S:g} s")


def _least(asking: _Asking, target: Named) -> dict[str, Any]:
    """A reservation, with the project that it is in: with a key, the one that the key is for."""
    mark = secrets.token_hex(4)
    project, agent = f"probe-{mark}", f"holder-{mark}"
    ask = asks.reserve(project, agent, _path(mark))
    if target.address.key:
        assert ask.body is not None
        del ask.body["project"]
    reply = asking(ask)
    members = reply.members()
    if reply.status != 201 or lacking(ask, reply):
        said = f"{reply.status} {plain(reply.body[:200].decode(errors='replace').strip())}"
        hint = _KEY_HINT if reply.status in (401, 403) else ""
        raise Unreachable(f"{target.name} ({target.url}) does not reserve: {said}{hint}")
    if target.address.key:
        project = str(members.get("project", ""))
        if not project:
            raise Unreachable(
                f"{target.name} ({target.url}) does not say which project the key is for"
            )
    return {**members, "place": reply.place(), "project": project, "agent_id": agent, "mark": mark}


def _path(mark: str, name: str = "held") -> str:
    """A path that nobody else has in a project that is not ours alone."""
    return f"probe-{mark}/{name}.py"


def _waiting(asking: _Asking, project: str, held: dict[str, Any]) -> bool:
    reply = asking(asks.reserve(project, "other", _path(held["mark"]), wait_seconds=0.02))
    return reply.status == 409 and "waited_seconds" in reply.members()


def _sets(asking: _Asking, project: str, held: dict[str, Any]) -> bool:
    wanted = [_path(held["mark"], name) for name in ("a", "b")]
    ask = asks.reserve(project, "setter", wanted)
    reply = asking(ask)
    if reply.status != 201 or lacking(ask, reply):
        return False
    members = reply.members()
    asking(asks.release("setter", members["id"]))
    patterns = members.get("patterns")
    return isinstance(patterns, list) and sorted(map(str, patterns)) == wanted


def _renew(asking: _Asking, _: str, held: dict[str, Any]) -> bool:
    return asking(asks.renew(held["agent_id"], held["id"])).status == 200


def _send(asking: _Asking, project: str, held: dict[str, Any]) -> bool:
    return _sent(asking, project, held) is not None


def _sent(asking: _Asking, project: str, held: dict[str, Any]) -> int | None:
    """The cursor of a message to an agent of our own; None where none is taken."""
    ask = asks.send(project, held["agent_id"], [_reader(held)], "probe")
    reply = asking(ask)
    if reply.status != ask.wanted or lacking(ask, reply):
        return None
    cursor: int = reply.members()["cursor"]
    return cursor


def _inbox(asking: _Asking, project: str, held: dict[str, Any]) -> bool:
    cursor = _sent(asking, project, held)
    if cursor is None:
        return False
    reply = asking(asks.inbox(project, _reader(held), after=cursor - 1, limit=1))
    messages = reply.members().get("messages")
    return reply.status == 200 and isinstance(messages, list) and len(messages) == 1


def _reader(held: dict[str, Any]) -> str:
    return f"reader-{held['mark']}"


_CHECKS: dict[str, Callable[[_Asking, str, dict[str, Any]], bool]] = {
    "send": _send,
    "inbox": _inbox,
    "order": lambda _asking, _project, held: held["place"] is not None,
    "waiting": _waiting,
    "sets": _sets,
    "renew": _renew,
}


def _feeds(target: Named, project: str) -> set[str]:
    """Which sockets open, and whether one takes up at a cursor."""
    found = set()
    query = f"?project={quote(project, safe='')}"
    if _opens(target.address, f"/ws/agents/probe{query}"):
        found.add("websocket")
    # Whoever knows cursors refuses one that is of the future.
    ahead = f"/ws/events{query}&since_cursor=999999999"
    if not _opens(target.address, f"/ws/events{query}"):
        return found
    if not _opens(target.address, ahead):
        found.add("resume")
    if _takes_commands(target.address, project):
        found.add("rpc")
    return found


def _takes_commands(address: Address, project: str) -> bool:
    link = SocketLink(address, project)
    try:
        link.open()
        link.send(asks.check(project, "probe.py"))
        end_s = perf_counter() + PROBE_TIMEOUT_S
        while (left_s := end_s - perf_counter()) > 0:
            if not select.select([link], [], [], left_s)[0]:
                break
            reply = link.receive()
            if reply is not None:
                return reply.status == 200
    except BROKEN:
        pass
    finally:
        link.close()
    return False


def _opens(address: Address, path: str) -> bool:
    with suppress(Broken, OSError):
        WebSocket(address.port, path, host=address.host, headers=address.headers).close()
        return True
    return False
