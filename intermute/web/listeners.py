"""Sockets to listen on, TCP and Unix, opened before anything is served and closed after."""

import errno
import os
import re
import resource
import socket
import stat
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from intermute.domain.limits import (
    BACKLOG_MAX,
    CONNECTIONS_MAX,
    DESCRIPTORS_RESERVED,
    SOCKET_BUFFER_LEN,
)

__all__ = [
    "ListenError",
    "address_of",
    "close_listeners",
    "connections_within",
    "names_of_host",
    "open_tcp_listeners",
    "open_unix_listener",
    "raise_descriptor_limit",
]

_HOST_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")
_ABSENT = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class ListenError(Exception):
    """An address cannot be listened on; the message names it and says why."""


def open_tcp_listeners(host: str, port: int, *, user_timeout_ms: int) -> list[socket.socket]:
    """Listen on every address of a host.

    Args:
        host: A name or an address; IPv6 with or without brackets; blank for every interface.
        port: 0 for any free one, the same for all addresses; `address_of` says which.
        user_timeout_ms: After this long without an acknowledgement the kernel drops a peer.

    Returns:
        Listening, non-blocking sockets, at least one.

    Raises:
        ListenError: The host is unknown or an address is taken; nothing stays open.
    """
    name = _plain(host)
    shown = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    opened: list[socket.socket] = []
    absent: OSError | None = None
    try:
        found = socket.getaddrinfo(
            name or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, _, _, _, address in dict.fromkeys(found):
            chosen = port or (address_of(opened[0])[1] if opened else 0)
            try:
                opened.append(
                    _listen_on(family, (address[0], chosen, *address[2:]), user_timeout_ms)
                )
            except OSError as error:
                # A name may stand for an address this machine does not have, ::1 for example.
                absent = error
                if error.errno not in _ABSENT:
                    raise
        if absent is not None and not opened:
            raise absent
    except OSError as error:
        for sock in opened:
            sock.close()
        raise ListenError(f"cannot listen on {shown}: {error.strerror or error}") from error
    return opened


def names_of_host(host: str) -> tuple[str, ...]:
    """How clients address a server that was told to listen on `host`: as that host, if it is one.

    Every interface at once is no name; who listens on all has to say what the names are.
    """
    name = _plain(host)
    try:
        address = ip_address(name)
    except ValueError:
        return (name,) if _HOST_NAME.fullmatch(name) else ()
    if address.is_unspecified:
        return ()
    return (str(address),) if address.version == 4 else (f"[{address.compressed.split('%')[0]}]",)


def _plain(host: str) -> str:
    return host.strip().removeprefix("[").removesuffix("]")


def _listen_on(family: int, address: tuple[Any, ...], user_timeout_ms: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit these; the buffers must be set before listen for that.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout_ms)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_LEN)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_LEN)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG_MAX)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def open_unix_listener(path: str | os.PathLike[str], mode: int = 0o660) -> socket.socket:
    """Listen on a Unix socket; `serve` removes the file when it ends.

    A socket file that nobody answers on is replaced. The file never has more rights than `mode`.

    Raises:
        ListenError: A server answers there, or it is no socket, or the file cannot be made.
    """
    name = os.fspath(path)
    try:
        _remove_dead_socket(name)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Linux makes the file with the rights of the socket itself, less the umask.
            os.fchmod(sock.fileno(), mode)
            sock.bind(name)
            os.chmod(name, mode)
            sock.listen(BACKLOG_MAX)
            sock.setblocking(False)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise ListenError(f"cannot listen on {name}: {error.strerror or error}") from error
    return sock


def address_of(sock: socket.socket) -> tuple[str, int | None]:
    """Where a listener listens: (address, port), or (path, None) for a Unix socket."""
    name: Any = sock.getsockname()
    return (str(name), None) if sock.family == socket.AF_UNIX else (str(name[0]), int(name[1]))


def _remove_dead_socket(path: str) -> None:
    """Remove a socket file that nobody answers on; no file is fine."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ListenError(f"cannot listen on {path}: there is something that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # Its backlog is full, which is an answer too.
    raise ListenError(f"another server is listening on {path}")


def close_listeners(sockets: Iterable[socket.socket]) -> None:
    """Close listeners, those closed already included, and remove Unix socket files."""
    for sock in sockets:
        if sock.fileno() < 0:
            continue
        path = address_of(sock)[0] if sock.family == socket.AF_UNIX else None
        sock.close()
        if path is not None:
            # Another server's by now, or gone: then it is not ours to remove.
            with suppress(ListenError, OSError):
                _remove_dead_socket(path)


def raise_descriptor_limit() -> int:
    """Let the process open all the descriptors that it has a use for; answers how many it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + DESCRIPTORS_RESERVED
    if resource.RLIM_INFINITY in (soft, hard):
        allowed = wanted
    else:
        allowed = max(soft, min(hard, wanted))
    if soft not in (allowed, resource.RLIM_INFINITY):
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


def connections_within(descriptors: int) -> int:
    """How many connections there may be, files of projects needing their part.

    Where there are few descriptors at all, half of them are for connections.
    """
    left = max(descriptors - DESCRIPTORS_RESERVED, descriptors // 2)
    return min(left, CONNECTIONS_MAX)
