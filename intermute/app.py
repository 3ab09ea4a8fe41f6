"""The composition root: everything built from one settings object, and nowhere else.

Tests build the same app with the same function.
"""

import socket
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any, ParamSpec, cast

import attrs
import trio
from quart.routing import QuartRule
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioRequest

from intermute.domain import limits
from intermute.domain.projects import INVALID_NAME, normalise_project
from intermute.project.actor import ProjectRules
from intermute.project.clock import Clock
from intermute.project.committing import CommitMode
from intermute.project.delivery import Tmux
from intermute.project.directory import Projects, ProjectsSettings
from intermute.storage.faults import StorageError
from intermute.web import (
    agents,
    asking,
    entities,
    feeds,
    messages,
    preflight,
    reservations,
    threads,
    waiting,
    windows,
)
from intermute.web import settings as project_settings
from intermute.web.access import Proxies
from intermute.web.batch import batch_blueprint
from intermute.web.calls import OPERATOR
from intermute.web.collector import settle as settle_collector
from intermute.web.edge import Edge
from intermute.web.errors import handle_errors
from intermute.web.guard import ASGIApp, Guard, HostPolicy
from intermute.web.health import health_blueprint
from intermute.web.inline import InlineConnection
from intermute.web.keys import KeysFileError, KeyStore, add_key, ensure
from intermute.web.listeners import (
    ListenError,
    address_of,
    close_listeners,
    connections_within,
    names_of_host,
    open_tcp_listeners,
    open_unix_listener,
    raise_descriptor_limit,
)
from intermute.web.paths import use_encoded_slashes
from intermute.web.rpc import Methods
from intermute.web.server import ServerLimits
from intermute.web.server import serve as serve_sockets
from intermute.web.websocket import use_inline_websockets

__all__ = [
    "START_ERRORS",
    "Application",
    "CommitMode",
    "Settings",
    "connections_that_fit",
    "make_key",
    "serve",
    "settle_collector",
]


@attrs.frozen(kw_only=True)
class Settings:
    """Everything that can be set.

    Attributes:
        data: The data directory.
        host, port: Where to listen; port 0 is any free one.
        socket: Path of a Unix socket to listen on as well, or None.
        keys_file: The keys file; made when missing.
        allowed_hosts: Names beside the loopback ones under which the server may be addressed.
        trusted_proxies: Addresses or networks of proxies whose forwarding headers are believed.
        live_transport: Messages are typed into windows, where a project does not say otherwise.
        live_tmux_socket: The socket of the tmux server with those windows, None for the default.
    """

    data: Path
    keys_file: Path
    host: str = "127.0.0.1"
    port: int = 7338
    socket: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    commit: CommitMode = CommitMode.AUTO
    patterns_per_agent_max: int = limits.PATTERNS_PER_AGENT_DEFAULT
    tokens_required: bool = False
    live_transport: bool = False
    live_tmux_socket: Path | None = None
    actor_idle_ms: int = limits.ACTOR_IDLE_MS
    actors_live_max: int = limits.ACTORS_LIVE_MAX
    connections_max: int = limits.CONNECTIONS_MAX


P = ParamSpec("P")
START_ERRORS = (ListenError, StorageError, KeysFileError, ValueError)


class Application:
    """The app of one server: its projects, its keys, and the ASGI app over them.

    Raises:
        intermute.storage.faults.StorageError: The data directory cannot be used.
        intermute.web.keys.KeysFileError: The keys file cannot be used.
        ValueError: A setting is not valid.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        proxies = Proxies.parse(settings.trusted_proxies)
        hosts = HostPolicy(settings.allowed_hosts, own=names_of_host(settings.host))
        ensure(settings.keys_file)
        self.settings = settings
        self.keys = KeyStore(settings.keys_file)
        self.projects = Projects(
            ProjectsSettings(
                path=settings.data,
                rules=ProjectRules(
                    patterns_per_agent_max=settings.patterns_per_agent_max,
                    tokens_required=settings.tokens_required,
                    live_transport=settings.live_transport,
                ),
                tmux=Tmux(socket=settings.live_tmux_socket),
                commit=settings.commit,
                idle_ms=settings.actor_idle_ms,
                live_max=settings.actors_live_max,
            ),
            clock=clock,
        )
        self.quart = _build_quart(Edge(self.projects, self.keys, proxies), settings)
        self.asgi = Guard(
            cast(ASGIApp, self.quart),
            hosts=hosts,
            body_len_max=limits.BODY_LEN_MAX,
            body_timeout_s=limits.BODY_WAIT_MS / 1000,
        )


_NOUNS = {
    "agents": agents.operations,
    "asking": asking.operations,
    "entities": entities.operations,
    "messages": messages.operations,
    "preflight": preflight.operations,
    "reservations": reservations.operations,
    "settings": project_settings.operations,
    "threads": threads.operations,
    "tickets": waiting.operations,
    "windows": windows.operations,
}


class _Request(TrioRequest):
    """A request that is asked for its blueprints in vain.

    Quart asks several times for each request, to find hooks and error handlers of blueprints. Here
    all of those are the app's, and to tell the blueprints costs an eighth of an empty request.
    """

    @property
    def blueprints(self) -> list[str]:
        return []


class _Rule(QuartRule):
    """A route whose path is matched and never put together.

    Werkzeug compiles two functions for each to put it together with, most of what a start costs.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        return _put_together


def _put_together(*_: object) -> tuple[str, str]:
    raise NotImplementedError("paths are written where they are used")


class _Quart(QuartTrio):
    """Quart-Trio, told once that every function it is given is async."""

    request_class = _Request
    url_rule_class: Any = _Rule

    def ensure_async(self, func: Callable[P, Any]) -> Callable[P, Awaitable[Any]]:
        return func


def _build_quart(edge: Edge, settings: Settings) -> QuartTrio:
    app = _Quart("intermute", static_folder=None, template_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    use_encoded_slashes(app)
    use_inline_websockets(app)
    app.asgi_http_class = InlineConnection
    handle_errors(app)
    app.register_blueprint(health_blueprint(edge, settings.data))
    for noun, operations in _NOUNS.items():
        app.register_blueprint(edge.blueprint(noun, operations))
    methods = Methods(edge.projects, (*_NOUNS.values(), feeds.operations))
    app.register_blueprint(feeds.feeds_blueprint(edge, methods))
    app.register_blueprint(batch_blueprint(edge, methods))
    return app


def connections_that_fit() -> int:
    """How many connections this process may have, once it may open all the descriptors it can."""
    return connections_within(raise_descriptor_limit())


async def serve(
    settings: Settings,
    *,
    shutdown: Callable[[], Awaitable[object]],
    on_reload: Callable[[Callable[[], None]], object] = lambda _: None,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen, serve until `shutdown` returns, then drain, checkpoint and close everything.

    Args:
        on_reload: Is given the function that reads the keys file again.
        task_status: Told the addresses once connections are accepted.

    Raises:
        intermute.web.listeners.ListenError: An address cannot be listened on.
        StorageError, KeysFileError, ValueError: See `Application`.
    """
    sockets = _open_listeners(settings)
    try:
        application = Application(settings)
    except BaseException:
        close_listeners(sockets)
        raise
    on_reload(application.keys.reload)
    addresses = [_shown_address(sock) for sock in sockets]
    async with trio.open_nursery() as nursery:
        await nursery.start(application.projects.serve)
        await nursery.start(application.projects.deliveries.serve)

        async def hang_up() -> None:
            await shutdown()
            application.projects.open_calls.hang_up()
            application.projects.end_feeds()

        await serve_sockets(
            application.asgi,
            sockets,
            limits=ServerLimits(connections_max=settings.connections_max),
            shutdown=hang_up,
            on_ready=lambda: task_status.started(addresses),
        )
        await application.projects.deliveries.drain()
        application.projects.stop()


def make_key(keys_file: Path, project: str, *, operator: bool, expires_at: datetime | None) -> str:
    """Make a key for a project and keep its hash in the keys file. It is not to be had again.

    Raises:
        ValueError: The project is no name.
        KeysFileError: The file cannot be used.
    """
    name = normalise_project(project)
    if name is None:
        raise ValueError(INVALID_NAME)
    return add_key(keys_file, name, rights=(OPERATOR,) if operator else (), expires_at=expires_at)


def _open_listeners(settings: Settings) -> list[socket.socket]:
    """The listening sockets of the settings, TCP first."""
    sockets = open_tcp_listeners(
        settings.host, settings.port, user_timeout_ms=limits.SOCKET_USER_TIMEOUT_MS
    )
    if settings.socket is not None:
        try:
            sockets.append(open_unix_listener(settings.socket))
        except BaseException:
            close_listeners(sockets)
            raise
    return sockets


def _shown_address(sock: socket.socket) -> str:
    """Where a listener can be reached, as a URL or the path of a Unix socket."""
    host, port = address_of(sock)
    if port is None:
        return f"unix:{host}"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
