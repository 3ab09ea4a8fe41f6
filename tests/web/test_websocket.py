import pytest
import trio
from quart import websocket
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioWebsocket

from intermute.web.websocket import (
    INBOUND_LEN_MAX,
    BoundedWebsocketConnection,
    use_bounded_websockets,
)

SCOPE = {
    "type": "websocket",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "scheme": "ws",
    "path": "/ws",
    "raw_path": b"/ws",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"localhost")],
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 2),
    "subprotocols": [],
    "extensions": {},
    "state": {},
}


def make_app(handler) -> QuartTrio:
    app = QuartTrio("sockets")
    use_bounded_websockets(app)
    app.websocket("/ws")(handler)
    return app


async def drive(app, messages) -> tuple[list[dict], int]:
    """Feed messages until the app stands still or ends; what it sent, how many it took."""
    sent: list[dict] = []
    taken = 0

    async def receive():
        nonlocal taken
        await trio.lowlevel.checkpoint()
        if taken == len(messages):
            await trio.sleep_forever()
        taken += 1
        return messages[taken - 1]

    async def send(message) -> None:
        sent.append(message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(app, SCOPE, receive, send)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return sent, taken


async def test_no_more_than_the_bound_is_taken_from_the_server():
    async def deaf() -> None:
        await websocket.accept()
        await trio.sleep_forever()

    message = {"type": "websocket.receive", "text": "x", "bytes": None}
    connect = {"type": "websocket.connect"}
    _, taken = await drive(make_app(deaf), [connect, *[message] * 100])
    # The one beyond the bound is in the hands of the task that waits for room.
    assert taken == 1 + INBOUND_LEN_MAX + 1


async def test_text_and_binary_arrive_as_they_are_empty_ones_too():
    seen = []

    async def listen() -> None:
        while True:
            seen.append(await websocket.receive())

    pairs = [("a", None), (None, b"b"), ("", None), (None, b"")]
    messages = [{"type": "websocket.receive", "text": t, "bytes": b} for t, b in pairs]
    await drive(make_app(listen), messages)
    assert seen == ["a", b"b", "", b""]


async def test_disconnecting_cancels_the_handler():
    ended = trio.Event()

    async def listen() -> None:
        try:
            await websocket.receive()
        finally:
            ended.set()

    await drive(make_app(listen), [{"type": "websocket.disconnect", "code": 1006}])
    assert ended.is_set()


def test_the_app_uses_the_bounded_connection():
    app = QuartTrio("sockets")
    use_bounded_websockets(app)
    assert app.asgi_websocket_class is BoundedWebsocketConnection


def test_a_library_that_queues_elsewhere_is_refused(monkeypatch):
    monkeypatch.setattr(TrioWebsocket, "buffer_class", object, raising=False)
    with pytest.raises(RuntimeError, match="not bounded"):
        use_bounded_websockets(QuartTrio("sockets"))
