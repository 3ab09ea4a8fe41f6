"""Who is calling: where the request came from, which key it shows, whose agent it speaks for."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import attrs

from intermute.web.keys import Keyring
from intermute.web.peers import is_unix_peer

__all__ = ["UNIX_PROXY", "Denied", "Identified", "Proxies", "identify", "is_local"]

UNIX_PROXY = "unix:"

Headers = Iterable[tuple[bytes, bytes]]
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Headers that carry addresses, and headers that only proxies add and that carry none.
_HOPS = frozenset({b"x-forwarded-for", b"x-real-ip", b"forwarded"})
_TRACES = frozenset({b"via", b"x-forwarded-host", b"x-forwarded-proto"})
_FORWARDING = _HOPS | _TRACES
_IDENTITY = frozenset({b"authorization", b"x-agent-id", b"x-agent-token"})
_READ = _FORWARDING | _IDENTITY

_FORWARDED_FOR = re.compile(
    r'(?:^|;)\s*for="?(\[[0-9a-f:.]+\]|[^\s;",:\[\]]+)(?::\d+)?"?\s*(?=;|$)'
)


@attrs.frozen
class Proxies:
    """The peers whose forwarding headers are believed.

    Built by `Proxies.parse` from addresses, CIDR networks and `unix:` (whoever connects through
    the Unix socket).
    """

    networks: tuple[_Network, ...] = ()
    unix: bool = False

    @classmethod
    def parse(cls, names: Iterable[str]) -> "Proxies":
        """Read the settings' list.

        Raises:
            ValueError: An entry is neither an address, a network nor `unix:`.
        """
        networks: list[_Network] = []
        unix = False
        for name in names:
            if name.strip() == UNIX_PROXY:
                unix = True
            else:
                networks.append(ipaddress.ip_network(name.strip(), strict=False))
        return cls(networks=tuple(networks), unix=unix)

    def trust(self, address: _Address) -> bool:
        """Whether this address is a named proxy."""
        return any(address in network for network in self.networks)


@attrs.frozen
class Identified:
    """Who is calling, as far as the request's own words and its connection show.

    Attributes:
        local: The request comes from this machine, and the keyring lets it in for that.
        project: The project of the key that was shown, None without a key.
        key_id: The public id of that key, None without a key.
        rights: What the key allows beyond its project, `operator` for example.
        agent_id: `X-Agent-ID`, trimmed; None when missing or blank. Not verified here.
        agent_token: `X-Agent-Token`, trimmed; None when missing or blank. Not verified here.
    """

    local: bool
    project: str | None = None
    key_id: str | None = None
    rights: frozenset[str] = frozenset()
    agent_id: str | None = None
    agent_token: str | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Denied:
    """Why nobody was identified, as it is answered.

    Attributes:
        challenge: The answer says with `WWW-Authenticate` that a key would help.
    """

    status: int
    code: str
    title: str
    detail: str
    challenge: bool = False


# One answer for no key, an unknown, an expired and a revoked one: it must not tell them apart.
_UNAUTHORIZED = Denied(
    401,
    "unauthorized",
    "A valid key is needed",
    "Send Authorization: Bearer with a valid key; `intermute init` makes one.",
    challenge=True,
)
_UNBOUND = Denied(
    403,
    "agent_token_unbound",
    "An agent token needs its agent",
    "agent token is bound but X-Agent-ID header is missing; send both or neither.",
)
_REPEATED = Denied(
    400,
    "bad_request",
    "The request is malformed",
    "Authorization, X-Agent-ID and X-Agent-Token may each stand only once.",
)
_NOT_TEXT = Denied(
    400,
    "bad_request",
    "The request is malformed",
    "Authorization, X-Agent-ID and X-Agent-Token must be UTF-8.",
)


def identify(
    scope: Mapping[str, Any], keyring: Keyring, proxies: Proxies, *, now_s: float
) -> Identified | Denied:
    """Say who is calling.

    A key that is shown must be right, by whomever. Without one, only a local caller passes, and
    only while the keyring allows it. An agent token without an agent is refused before any key
    is looked at.

    Args:
        scope: An ASGI `http` or `websocket` scope: `client`, `server`, and `headers` with
            lower-case names.
        keyring: The keys as of now.
        proxies: Whose forwarding headers are believed.
        now_s: Unix time in seconds, for keys that expire.
    """
    shown: dict[bytes, str] = {}
    forwarding: list[tuple[bytes, bytes]] = []
    for name, value in scope["headers"]:
        if name in _READ:
            if name in _FORWARDING:
                forwarding.append((name, value))
                continue
            if name in shown:
                return _REPEATED
            try:
                shown[name] = value.decode("utf-8").strip()
            except UnicodeDecodeError:
                return _NOT_TEXT
    agent_id = shown.get(b"x-agent-id") or None
    agent_token = shown.get(b"x-agent-token") or None
    if agent_token is not None and agent_id is None:
        return _UNBOUND
    local = _is_local(scope, forwarding, proxies)
    authorization = shown.get(b"authorization")
    if authorization is None:
        if local and keyring.allow_localhost_without_auth:
            return Identified(local=True, agent_id=agent_id, agent_token=agent_token)
        return _UNAUTHORIZED
    scheme, _, key = authorization.partition(" ")
    match = keyring.find(key.strip(), now_s) if scheme.lower() == "bearer" else None
    if match is None:
        return _UNAUTHORIZED
    return Identified(
        local=local and keyring.allow_localhost_without_auth,
        project=match.project,
        key_id=match.key_id,
        rights=match.rights,
        agent_id=agent_id,
        agent_token=agent_token,
    )


def is_local(scope: Mapping[str, Any], proxies: Proxies) -> bool:
    """Whether a request comes from this machine.

    The peer must be loopback or a Unix socket (`client` None and `server` without a port).
    Forwarding headers from anybody but a named proxy can only take locality away: every address
    in every line must be loopback. From a named proxy the last hop that is not itself a named
    proxy decides, in each kind of header that is there; without such a header it is not local.
    """
    forwarding = [(name, value) for name, value in scope["headers"] if name in _FORWARDING]
    return _is_local(scope, forwarding, proxies)


def _is_local(
    scope: Mapping[str, Any], forwarding: list[tuple[bytes, bytes]], proxies: Proxies
) -> bool:
    client = scope.get("client")
    if is_unix_peer(scope):
        peer_is_proxy = proxies.unix
        peer_is_local = True
    elif client is None:
        return False
    else:
        address = _parse_address(client[0])
        if address is None:
            return False
        peer_is_proxy = bool(proxies.networks) and proxies.trust(address)
        peer_is_local = address.is_loopback
    if peer_is_proxy:
        return _proxied_is_local(forwarding, proxies)
    if not forwarding:
        return peer_is_local
    return peer_is_local and all(
        name in _HOPS and all(_is_loopback(hop) for hop in _hops(name, value))
        for name, value in forwarding
    )


def _proxied_is_local(forwarding: list[tuple[bytes, bytes]], proxies: Proxies) -> bool:
    """Whether every kind of forwarding header that is there says that the caller is local.

    Why every kind: a proxy appends to the one it knows and passes the others on as the caller
    wrote them.
    """
    chains: dict[bytes, list[str]] = {}
    for name, value in forwarding:
        if name in _HOPS:
            chains.setdefault(name, []).extend(_hops(name, value))
    return bool(chains) and all(_last_stranger_is_local(hops, proxies) for hops in chains.values())


def _last_stranger_is_local(hops: list[str], proxies: Proxies) -> bool:
    for hop in reversed(hops):
        address = _parse_address(hop)
        if address is None:
            return False
        if not proxies.trust(address):
            return address.is_loopback
    # Named proxies all the way: the first of them spoke for itself.
    return _is_loopback(hops[0])


def _hops(name: bytes, value: bytes) -> list[str]:
    """The addresses of one header line, left to right; a hop without an address is blank."""
    elements = [element.strip() for element in value.decode("latin-1").lower().split(",")]
    if name != b"forwarded":
        return elements
    hops: list[str] = []
    for element in elements:
        found = _FORWARDED_FOR.findall(element)
        hops.append(found[0].strip("[]") if len(found) == 1 else "")
    return hops


def _is_loopback(hop: str) -> bool:
    if hop == "localhost":
        return True
    address = _parse_address(hop)
    return address is not None and address.is_loopback


@lru_cache(maxsize=1024)
def _parse_address(text: str) -> _Address | None:
    """An address with IPv4 unwrapped from IPv6, or None; ports and zones are not addresses."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return None
        return address.ipv4_mapped or address
    return address
