"""WebSockets as the app's handlers have them: nothing is taken before they receive it."""

import pytest
import trio
from quart import websocket
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioWebsocket

from intermute.web.websocket import InlineWebsocket, Socket, use_inline_websockets

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
    "extensions": {"websocket.http.response": {}},
    "state": {},
}


def make_app(handler) -> QuartTrio:
    app = QuartTrio("sockets")
    use_inline_websockets(app)
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


CONNECT = {"type": "websocket.connect"}


async def test_nothing_is_taken_from_the_server_before_the_handler_receives():
    async def deaf() -> None:
        await websocket.accept()
        await trio.sleep_forever()

    message = {"type": "websocket.receive", "text": "x", "bytes": None}
    _, taken = await drive(make_app(deaf), [CONNECT, *[message] * 100])
    assert taken == 0


async def test_a_socket_without_our_server_does_as_asgi_says():
    async def talk() -> None:
        socket = Socket(websocket._get_current_object())
        await websocket.accept()
        assert await socket.receive() == ["é".encode()]
        await socket.send([b"one", "zwei é".encode()])
        await socket.close(4000, "why")

    message = {"type": "websocket.receive", "text": "é", "bytes": None}
    sent, _ = await drive(make_app(talk), [CONNECT, message])
    assert [each.get("text") for each in sent[1:3]] == ["one", "zwei é"]
    assert sent[3:] == [{"type": "websocket.close", "code": 4000, "reason": "why"}]


async def test_a_bug_after_the_handshake_closes_with_1011():
    async def broken() -> None:
        await websocket.accept()
        raise KeyError("bug")

    app = make_app(broken)
    app.register_error_handler(Exception, _answer)
    sent, _ = await drive(app, [CONNECT])
    assert [each["type"] for each in sent] == ["websocket.accept", "websocket.close"]
    assert sent[1]["code"] == 1011


async def _answer(error: Exception) -> tuple[str, int]:
    return "a bug", 500


async def test_an_error_before_the_handshake_is_answered_as_one():
    async def broken() -> None:
        raise KeyError("bug")

    app = make_app(broken)
    app.register_error_handler(Exception, _answer)
    sent, _ = await drive(app, [CONNECT])
    assert [each.get("status", each.get("body")) for each in sent] == [500, b"a bug"]


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
    use_inline_websockets(app)
    assert app.asgi_websocket_class is InlineWebsocket


def test_a_library_that_queues_elsewhere_is_refused(monkeypatch):
    monkeypatch.setattr(TrioWebsocket, "buffer_class", object, raising=False)
    with pytest.raises(RuntimeError, match="not bounded"):
        use_inline_websockets(QuartTrio("sockets"))
