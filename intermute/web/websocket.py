"""WebSockets whose inbound queue has a bound that we chose."""

import trio
from hypercorn.typing import ASGIReceiveCallable, WebsocketScope
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIWebsocketConnection
from quart_trio.wrappers import TrioWebsocket

from intermute.web.paths import keep_encoded_slashes

__all__ = ["INBOUND_LEN_MAX", "BoundedWebsocketConnection", "use_bounded_websockets"]

INBOUND_LEN_MAX = 8


class BoundedWebsocketConnection(TrioASGIWebsocketConnection):
    """One WebSocket: at most `INBOUND_LEN_MAX` messages wait for the handler.

    When they do, nothing more is taken from the server, which then stops reading, so that the
    client is stopped by its own socket. A handler that never receives costs at most this queue,
    the server's and the kernel's, whatever the client sends.
    """

    def __init__(self, app: QuartTrio, scope: WebsocketScope) -> None:
        keep_encoded_slashes(scope)
        super().__init__(app, scope)
        self.send_channel, self.receive_channel = trio.open_memory_channel[bytes | str](
            INBOUND_LEN_MAX
        )

    async def handle_messages(  # type: ignore[override]
        self, nursery: trio.Nursery, receive: ASGIReceiveCallable
    ) -> None:
        """Pass messages to the handler until the client goes, then cancel the handler.

        Why not the library's: it turns an empty binary message into None.
        """
        while True:
            event = await receive()
            if event["type"] == "websocket.receive":
                text = event.get("text")
                await self.send_channel.send(event["bytes"] or b"" if text is None else text)
            elif event["type"] == "websocket.disconnect":
                break
        nursery.cancel_scope.cancel()


def use_bounded_websockets(app: QuartTrio) -> None:
    """Make the app serve its WebSockets through `BoundedWebsocketConnection`.

    Raises:
        RuntimeError: This Quart-Trio keeps inbound messages somewhere else, where the bound
            would not hold.
    """
    if hasattr(TrioWebsocket, "buffer_class"):
        raise RuntimeError("this Quart-Trio has its own inbound buffer, which is not bounded yet")
    app.asgi_websocket_class = BoundedWebsocketConnection
