"""Many requests in one: commands of a project share a commit, each has an answer of its own."""

import hashlib
from typing import Any

import msgspec
from quart import Blueprint, Response

from intermute.web.calls import KEY_HEADER
from intermute.web.edge import JSON, Edge
from intermute.web.rpc import Methods, RpcCall, finish_all, place_of
from intermute.wire.bodies import idempotency_key
from intermute.wire.rpc import Request, read_batch


def batch_blueprint(edge: Edge, methods: Methods) -> Blueprint:
    """`POST /api/batch`."""
    routes = Blueprint("batch", __name__)

    @routes.post("/api/batch")
    async def run() -> Response:
        call = edge.call({})
        call.verify_agent()
        batch = read_batch(call.members())
        project = None if batch.project is None else call.project(batch.project)
        key = idempotency_key(call.idempotency_key, KEY_HEADER)
        requests = [_with_key(request, key, at) for at, request in enumerate(batch.requests)]
        works = methods.start(
            [
                (request.method, RpcCall(edge.projects, call.caller, request, project=project))
                for request in requests
            ]
        )
        results = [
            _result(request, named, outcome.status, body, place_of(outcome))
            for request, named, (outcome, body) in zip(
                requests, batch.answered, await finish_all(works), strict=True
            )
        ]
        return Response(msgspec.json.encode({"results": results}), content_type=JSON)

    return routes


def _result(
    request: Request, named: bool, status: int, body: bytes, place: dict[str, Any]
) -> dict[str, Any]:
    members: dict[str, Any] = {"id": request.request_id} if named else {}
    return {**members, "status": status, "body": msgspec.Raw(body), **place}


def _with_key(request: Request, key: str | None, at: int) -> Request:
    """The request with a key of its own, where the batch has one for all that have none."""
    if key is None or request.idempotency_key is not None:
        return request
    digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=16)
    own = f"{digest.hexdigest()}-{at}"
    return Request(request.request_id, request.method, request.params, own)
