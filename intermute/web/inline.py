"""HTTP requests handled in the one task that the server runs for each."""

from typing import Any

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope
from quart.utils import encode_headers
from quart.wrappers.response import DataBody
from quart_trio.asgi import TrioASGIHTTPConnection

from intermute.web.paths import use_path


class InlineConnection(TrioASGIHTTPConnection):
    """One request, from its whole body to its answer, without tasks of its own.

    Quart starts two tasks for a request, one of which waits for the client to go away. Here the
    guard hands over whole bodies and the server ends the task of a client that has gone, so
    neither is needed; together they cost a quarter of a request that does nothing.

    Cancellation: when the client goes away or the server stops; commands asked for go on.
    """

    def __init__(self, app: Any, scope: HTTPScope) -> None:
        use_path(scope)
        super().__init__(app, scope)

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        request = self._create_request_from_scope(send)
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            request.body.append(message.get("body", b""))
            if not message.get("more_body", False):
                break
        request.body.set_complete()
        response = await self.app.handle_request(request)
        body = getattr(response, "response", None)
        if not isinstance(body, DataBody):
            await self._send_response(send, response)
            return
        headers = encode_headers(response.headers)
        await send(
            {
                "type": "http.response.start",
                "status": response.status_code,
                "headers": headers,
            }
        )
        await send({"type": "http.response.body", "body": body.data, "more_body": False})
