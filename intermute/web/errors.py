"""Every way in which a request can end badly, mapped once to the one error shape."""

import logging
import secrets
from collections.abc import Callable
from typing import Any

from quart import Response, has_websocket_context, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing.exceptions import WebsocketMismatch

from actors import ActorStopped, Overloaded
from intermute.domain.limits import RETRY_SOON_MS
from intermute.domain.refusals import Refusal
from intermute.project.messages import (
    CommandFailed,
    ProjectUnusable,
    StorageUnavailable,
    WriteOutcome,
)
from intermute.web.access import Denied
from intermute.web.outcome import Outcome, error_outcome, refusal_outcome
from intermute.web.problem import MEDIA_TYPE
from intermute.wire.bodies import BadRequest
from intermute.wire.strict_json import encode

_log = logging.getLogger(__name__)


class CallerDenied(Exception):
    """Nobody was identified; carries the answer."""

    def __init__(self, denied: Denied) -> None:
        super().__init__(denied.code)
        self.denied = denied


class Refused(Exception):
    """A refusal that was found at the edge, before any project was asked."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def response_of(outcome: Outcome) -> Response:
    """An error as an HTTP response."""
    headers = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store", **outcome.headers}
    return Response(encode(outcome.body), outcome.status, headers)


def describe(error: Exception) -> Outcome:
    """Any error that can end a request, in the one shape."""
    for kind, mapping in _MAPPINGS:
        if isinstance(error, kind):
            return mapping(error)
    return _bug(error)


def _unavailable(code: str, detail: str, retry_after_s: float | None, **extra: object) -> Outcome:
    outcome = error_outcome(503, code, "Not available now", detail, **extra)
    outcome.headers["Retry-After"] = str(max(1, round(retry_after_s or RETRY_SOON_MS / 1000)))
    return outcome


def _denied(error: CallerDenied) -> Outcome:
    denied = error.denied
    outcome = error_outcome(denied.status, denied.code, denied.title, denied.detail)
    if denied.challenge:
        outcome.headers["WWW-Authenticate"] = "Bearer"
    return outcome


def _refused(error: Refused) -> Outcome:
    return refusal_outcome(error.refusal)


def _bad_request(error: BadRequest) -> Outcome:
    return error_outcome(400, "invalid_request", "The request is not valid", str(error))


def _overloaded(error: Overloaded) -> Outcome:
    detail = f"too much is asked at once: {error.reason}; nothing was done, ask again"
    return _unavailable("overloaded", detail, error.retry_after_s)


def _stopped(error: ActorStopped) -> Outcome:
    # Only words that were written for clients reach them; those of a bug stay in the log.
    said = error.reason.startswith(ProjectUnusable.PREFIX)
    reason = error.reason if said else "its actor stopped"
    detail = f"the project cannot answer now: {reason}; it is safe to ask again"
    return _unavailable("project_unavailable", detail, error.retry_after_s)


def _storage(error: StorageUnavailable) -> Outcome:
    what = (
        "nothing was done"
        if error.outcome is WriteOutcome.NOT_DONE
        else "whether it was done is unknown"
    )
    detail = f"the project's storage failed ({error.kind}); {what}; it is safe to ask again"
    return _unavailable(
        "storage_unavailable", detail, error.retry_after_s, outcome=error.outcome.value
    )


def _http(error: HTTPException) -> Outcome:
    status = error.code or 500
    if status in (404, 405) and has_websocket_context():
        return error_outcome(404, "not_found", "Not Found", "there is no WebSocket at this path")
    code = _HTTP_CODES.get(status, "http_error")
    outcome = error_outcome(status, code, error.name, error.description or error.name)
    valid = getattr(error, "valid_methods", None)
    if valid:
        outcome.headers["Allow"] = ", ".join(sorted(valid))
    return outcome


def _mismatch(error: WebsocketMismatch) -> Outcome:
    """A request where there is only a WebSocket, or the other way round."""
    if has_websocket_context():
        return _http(NotFound())
    if request.method not in ("GET", "HEAD"):
        return _http(MethodNotAllowed(["GET"]))
    detail = "there is only a WebSocket at this path; open one"
    outcome = error_outcome(426, "upgrade_required", "A WebSocket is needed", detail)
    outcome.headers |= {"Upgrade": "websocket", "Connection": "Upgrade"}
    return outcome


_HTTP_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}


def _bug(error: Exception) -> Outcome:
    """What nobody foresaw: told apart by a number, explained in the log and nowhere else."""
    incident = secrets.token_hex(8)
    cause: Any = error.__cause__ if isinstance(error, CommandFailed) else error
    _log.error("incident %s", incident, exc_info=cause)
    return error_outcome(
        500,
        "internal_error",
        "A bug",
        f"this is a bug of the server, logged as incident {incident}",
        incident=incident,
    )


_MAPPINGS: tuple[tuple[type[Exception], Callable[[Any], Outcome]], ...] = (
    (CallerDenied, _denied),
    (Refused, _refused),
    (BadRequest, _bad_request),
    (Overloaded, _overloaded),
    (ActorStopped, _stopped),
    (StorageUnavailable, _storage),
    (WebsocketMismatch, _mismatch),
    (HTTPException, _http),
)


async def _answer(error: Exception) -> Response:
    return response_of(describe(error))


async def _answer_http(error: HTTPException) -> Response:
    if (error.code or 500) < 400:
        return error.get_response()  # type: ignore[return-value]
    return response_of(describe(error))


def handle_errors(app: QuartTrio) -> None:
    """Have the app answer every error in the one shape."""
    for kind, _ in _MAPPINGS:
        app.register_error_handler(kind, _answer)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer)
