"""Every way in which a request can end badly, mapped once to the one error shape."""

import logging
import secrets
from typing import Any

from quart import Response
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from actors import ActorStopped, Overloaded
from intermute.domain.limits import PROBLEM_DETAIL_LEN_MAX
from intermute.domain.refusals import Refusal
from intermute.project.messages import CommandFailed, Outcome, ProjectUnusable, StorageUnavailable
from intermute.web.access import Denied
from intermute.web.problem import MEDIA_TYPE, problem
from intermute.wire.bodies import BadRequest
from intermute.wire.problems import STATUSES, refusal_members

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


def error_response(status: int, code: str, title: str, detail: str, **extra: object) -> Response:
    """An answer in the one error shape."""
    body = problem(status, code, title, detail[:PROBLEM_DETAIL_LEN_MAX], **extra)
    return Response(body, status, {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"})


def refusal_response(refusal: Refusal) -> Response:
    """A refusal as an answer."""
    status, title = STATUSES[refusal.code]
    response = error_response(
        status, refusal.code.value, title, refusal.detail, **refusal_members(refusal)
    )
    wait_s = refusal.data.get("retry_after_seconds")
    if wait_s is not None:
        response.headers["Retry-After"] = str(wait_s)
    return response


def _unavailable(code: str, detail: str, retry_after_s: float | None, **extra: object) -> Response:
    response = error_response(503, code, "Not available now", detail, **extra)
    response.headers["Retry-After"] = str(max(1, round(retry_after_s or 1.0)))
    return response


async def _denied(error: CallerDenied) -> Response:
    denied = error.denied
    response = Response(denied.body(), denied.status)
    for name, value in denied.headers():
        response.headers[name.decode()] = value.decode()
    return response


async def _refused(error: Refused) -> Response:
    return refusal_response(error.refusal)


async def _bad_request(error: BadRequest) -> Response:
    return error_response(400, "invalid_request", "The request is not valid", str(error))


async def _overloaded(error: Overloaded) -> Response:
    detail = f"too much is asked at once: {error.reason}; nothing was done, ask again"
    return _unavailable("overloaded", detail, error.retry_after_s)


async def _stopped(error: ActorStopped) -> Response:
    # Only words that were written for clients reach them; those of a bug stay in the log.
    said = error.reason.startswith(ProjectUnusable.PREFIX)
    reason = error.reason if said else "its actor stopped"
    detail = f"the project cannot answer now: {reason}; it is safe to ask again"
    return _unavailable("project_unavailable", detail, error.retry_after_s)


async def _storage(error: StorageUnavailable) -> Response:
    what = (
        "nothing was done"
        if error.outcome is Outcome.NOT_DONE
        else "whether it was done is unknown"
    )
    detail = f"the project's storage failed ({error.kind}); {what}; it is safe to ask again"
    return _unavailable(
        "storage_unavailable", detail, error.retry_after_s, outcome=error.outcome.value
    )


async def _http(error: HTTPException) -> Response:
    status = error.code or 500
    if status < 400:
        return error.get_response()  # type: ignore[return-value]
    code = _HTTP_CODES.get(status, "http_error")
    response = error_response(status, code, error.name, error.description or error.name)
    valid = getattr(error, "valid_methods", None)
    if valid:
        response.headers["Allow"] = ", ".join(sorted(valid))
    return response


_HTTP_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}


async def _bug(error: Exception) -> Response:
    """What nobody foresaw: told apart by a number, explained in the log and nowhere else."""
    incident = secrets.token_hex(8)
    cause: Any = error.__cause__ if isinstance(error, CommandFailed) else error
    _log.error("incident %s", incident, exc_info=cause)
    return error_response(
        500,
        "internal_error",
        "A bug",
        f"this is a bug of the server, logged as incident {incident}",
        incident=incident,
    )


def handle_errors(app: QuartTrio) -> None:
    """Have the app answer every error in the one shape."""
    app.register_error_handler(CallerDenied, _denied)
    app.register_error_handler(Refused, _refused)
    app.register_error_handler(BadRequest, _bad_request)
    app.register_error_handler(Overloaded, _overloaded)
    app.register_error_handler(ActorStopped, _stopped)
    app.register_error_handler(StorageUnavailable, _storage)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _bug)
