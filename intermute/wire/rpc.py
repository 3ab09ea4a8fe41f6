"""JSON-RPC 2.0 messages, and the envelope of a batch over HTTP."""

from typing import Annotated, Any, TypeGuard

from msgspec import Meta, field

from intermute.domain.limits import (
    BATCH_COMMANDS_MAX,
    CURSOR_MAX,
    METHOD_LEN_MAX,
    REQUEST_ID_LEN_MAX,
)
from intermute.domain.values import Value
from intermute.wire.agents import Project
from intermute.wire.bodies import BadRequest, convert, idempotency_key

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
KEY_MEMBER = "idempotency_key"
_VERSION = "2.0"

RequestId = str | int | None
Method = Annotated[str, Meta(max_length=METHOD_LEN_MAX)]


class Request(Value):
    """One thing that is asked for.

    Attributes:
        request_id: What its answer is told by.
        method: The name of an operation.
        params: All words of it, in one object.
        idempotency_key: As in the header of that name.
        wants_answer: False for a notification.
    """

    request_id: RequestId
    method: str
    params: dict[str, Any]
    idempotency_key: str | None = None
    wants_answer: bool = True


class Malformed(Value):
    """What is no request, and what is wrong with it."""

    request_id: RequestId
    code: int
    detail: str
    wants_answer: bool = True


class Batch(Value):
    """The commands of a batch over HTTP, and the project of those that name none.

    Attributes:
        answered: For each command whether its result names its id.
    """

    requests: list[Request]
    answered: list[bool] = field(default_factory=list)
    project: str | None = None


class _BatchBody(Value):
    commands: list[dict[str, Any]] = field(default_factory=list)
    project: Project = ""


class _CommandBody(Value):
    method: Method = ""
    params: dict[str, Any] | None = None
    id: Annotated[str, Meta(max_length=REQUEST_ID_LEN_MAX)] | int | None = None
    idempotency_key: str | None = None


def is_request(message: object) -> bool:
    """Whether an object means to be a JSON-RPC request, be it well made or not."""
    return isinstance(message, dict) and ("jsonrpc" in message or "method" in message)


def read_request(message: object) -> Request | Malformed:
    """A JSON value as a request."""
    if not isinstance(message, dict):
        return Malformed(None, INVALID_REQUEST, "a request is an object")
    request_id = message.get("id")
    if not _is_id(request_id):
        detail = f"id is a string of at most {REQUEST_ID_LEN_MAX} characters, an integer or null"
        return Malformed(None, INVALID_REQUEST, detail)
    method = message.get("method")
    if message.get("jsonrpc") != _VERSION or not _is_method(method):
        detail = 'a request has "jsonrpc": "2.0" and a method, a string'
        return Malformed(request_id, INVALID_REQUEST, detail)
    params = message.get("params", {})
    if not isinstance(params, dict):
        detail = "params is an object: every parameter has a name"
        if not isinstance(params, list):
            return Malformed(request_id, INVALID_REQUEST, detail)
        return Malformed(request_id, INVALID_PARAMS, detail, wants_answer="id" in message)
    try:
        key = idempotency_key(params.get(KEY_MEMBER), KEY_MEMBER)
    except BadRequest as wrong:
        return Malformed(request_id, INVALID_PARAMS, str(wrong), wants_answer="id" in message)
    params = {name: member for name, member in params.items() if name != KEY_MEMBER}
    return Request(request_id, method, params, key, wants_answer="id" in message)


def result(request: Request, body: object, place: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request that went well; `place` is where its decision stands."""
    return {"jsonrpc": _VERSION, "id": request.request_id, "result": body, **place}


def error(
    request_id: RequestId, code: int, message: str, problem: object, place: dict[str, Any]
) -> dict[str, Any]:
    """The answer to one that did not. `problem` has the members that HTTP answers with."""
    told = {"code": code, "message": message, "data": problem}
    return {"jsonrpc": _VERSION, "id": request_id, "error": told, **place}


def error_code(status: int, problem_code: str) -> int:
    """The number of an error: that of JSON-RPC where it has one, else the status of HTTP."""
    return {"invalid_request": INVALID_PARAMS, "method_not_found": METHOD_NOT_FOUND}.get(
        problem_code, status
    )


def read_batch(members: dict[str, Any]) -> Batch:
    """The members of a batch.

    Raises:
        BadRequest: It is not of the shape it should be; nothing of it is done.
    """
    body = convert(members, _BatchBody)
    if not 0 < len(body.commands) <= BATCH_COMMANDS_MAX:
        raise BadRequest(f"commands required: an array of 1 to {BATCH_COMMANDS_MAX} objects")
    requests = []
    for at, command in enumerate(body.commands):
        try:
            requests.append(_read_command(convert(command, _CommandBody)))
        except BadRequest as wrong:
            raise BadRequest(f"{wrong} - in `$.commands[{at}]`") from None
    answered = [any(name.lower() == "id" for name in command) for command in body.commands]
    return Batch(requests, answered, body.project or None)


def _read_command(command: _CommandBody) -> Request:
    if not command.method:
        raise BadRequest("method required: the name of an operation")
    params = dict(command.params or {})
    key = params.pop(KEY_MEMBER, None)
    if command.idempotency_key is not None:
        key = command.idempotency_key
    return Request(command.id, command.method, params, idempotency_key(key, KEY_MEMBER))


def _is_method(method: object) -> TypeGuard[str]:
    return isinstance(method, str) and 0 < len(method) <= METHOD_LEN_MAX


def _is_id(request_id: object) -> bool:
    if isinstance(request_id, str):
        return len(request_id) <= REQUEST_ID_LEN_MAX
    if isinstance(request_id, bool):
        return False
    return request_id is None or isinstance(request_id, int)


def word(params: dict[str, Any], name: str) -> str | None:
    """A parameter as a word of a query string: a number or a flag as text, a list with commas.

    Raises:
        BadRequest: It is an object, or a list of something else than text.
    """
    found = params.get(name)
    if isinstance(found, list):
        return ",".join(words(params, name))
    return None if found is None else _word(found, name)


def words(params: dict[str, Any], name: str) -> list[str]:
    """A parameter as a word that may stand more than once: a list, or one by itself."""
    found = params.get(name)
    if found is None:
        return []
    return [_word(each, name) for each in (found if isinstance(found, list) else [found])]


def _word(found: object, name: str) -> str:
    if isinstance(found, str):
        return found
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, int) and abs(found) <= CURSOR_MAX:
        return str(found)
    raise BadRequest(f"Expected `str` - at `$.{name}`")
