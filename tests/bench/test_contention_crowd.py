"""What the harness showed of crowds: whoever comes while the server is busy is taken at once."""

import socket

import trio

from intermute.web.listeners import address_of, open_tcp_listeners
from intermute.web.server import serve

COMING = 50
# Every turn of the scheduler is one of every other task as well. One connection in two turns would
# not do; all at once, and then a dozen turns to read and to begin what they ask.
TURNS = 60


async def test_whoever_is_in_the_backlog_is_taken_together():
    asked = []

    async def app(scope, receive, send):
        while scope["type"] == "lifespan":
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
        asked.append(scope["path"])
        await trio.sleep_forever()

    listeners = open_tcp_listeners("127.0.0.1", 0, user_timeout_ms=10_000)
    clients = [socket.create_connection(address_of(listeners[0])) for _ in range(COMING)]
    try:
        for number, client in enumerate(clients):
            client.sendall(f"GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        ready = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                lambda: serve(app, listeners, shutdown=trio.sleep_forever, on_ready=ready.set)
            )
            await ready.wait()
            for _ in range(TURNS):
                await trio.lowlevel.checkpoint()
            assert len(asked) == COMING
            nursery.cancel_scope.cancel()
    finally:
        for client in clients:
            client.close()
