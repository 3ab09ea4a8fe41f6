"""The edge of HTTP: from a request to a call, and from its outcome to a response."""

import time
from collections.abc import Iterable
from typing import Any, cast

import msgspec
import trio
from quart import Blueprint, Request, Response, request

from intermute.project.directory import Projects
from intermute.web.access import Denied, Identified, Proxies, identify, is_local
from intermute.web.calls import HttpCall
from intermute.web.errors import CallerDenied, response_of
from intermute.web.guard import BODY, Scope
from intermute.web.keys import KeyStore
from intermute.web.operations import Asking, Operation
from intermute.web.outcome import Outcome
from intermute.wire.bodies import read_members

JSON = "application/json"


class Edge:
    """What routes are made of. One for each app."""

    def __init__(self, projects: Projects, keys: KeyStore, proxies: Proxies) -> None:
        self.projects = projects
        self._keys = keys
        self._proxies = proxies

    def identify(self, scope: Scope) -> Identified:
        """Who is calling.

        Raises:
            CallerDenied: Nobody that may.
        """
        keyring = self._keys.current(trio.current_time())
        found = identify(scope, keyring, self._proxies, now_s=time.time())
        if isinstance(found, Denied):
            raise CallerDenied(found)
        return found

    def is_local(self) -> bool:
        """Whether the request comes from this machine, whoever makes it."""
        return is_local(cast(Scope, request.scope), self._proxies)

    def call(self, path: dict[str, str]) -> HttpCall:
        """The present HTTP request as a call.

        Raises:
            CallerDenied: Nobody that may is calling.
        """
        # Reaching the request once is cheaper than through Quart's proxies each time.
        current: Request = request._get_current_object()  # type: ignore[attr-defined]
        scope = cast(Scope, current.scope)

        def members(optional: bool, nulls: bool) -> dict[str, Any]:
            body = scope.get(BODY, b"")
            assert isinstance(body, bytes)
            return read_members(body, optional=optional, nulls=nulls)

        return HttpCall(
            self.projects, self.identify(scope), path=path, request=current, members=members
        )

    async def run(self, operation: Operation, call: HttpCall) -> Outcome:
        """Run an operation for a call that came by itself."""
        result = operation.handler(call)
        if not isinstance(result, Asking):
            return await result
        asked = call.asked(result.command)
        return await result.run(
            self.projects.ask(result.project, asked.command, asked.caller, asked.idempotency)
        )

    def blueprint(self, noun: str, operations: Iterable[Operation]) -> Blueprint:
        """The HTTP routes of a noun's operations."""
        routes = Blueprint(noun, __name__)
        for operation in operations:
            self._add_route(routes, operation)
        return routes

    def _add_route(self, routes: Blueprint, operation: Operation) -> None:
        async def view(**path: str) -> Response:
            return respond(await self.run(operation, self.call(path)))

        routes.add_url_rule(
            operation.rule,
            operation.name.replace(".", "_"),
            view,
            methods=list(operation.methods),
        )


def json_response(members: Any, *, status: int = 200) -> Response:
    """A JSON value as an answer."""
    return Response(msgspec.json.encode(members), status, content_type=JSON)


def respond(outcome: Outcome) -> Response:
    """An outcome as an HTTP response."""
    if outcome.is_error:
        return response_of(outcome)
    if outcome.body is None:
        return Response(b"", outcome.status, outcome.headers)
    response = json_response(outcome.body, status=outcome.status)
    response.headers.update(outcome.headers)
    return response
