"""The `intermute` command with one route more: `python -m bench.echoing serve ...`.

`/bench/echo` is a WebSocket that sends back what it is sent, through Quart-Trio on the same server:
what a command on a WebSocket is compared with.
"""

from typing import Any

from quart import websocket

from intermute import app
from intermute.cli.main import main

ECHO = "/bench/echo"


class _Echoing(app.Application):
    def __init__(self, settings: app.Settings, **others: Any) -> None:
        super().__init__(settings, **others)
        self.quart.add_websocket(ECHO, "bench_echo", _echo)


async def _echo() -> None:
    while True:
        await websocket.send(await websocket.receive())


if __name__ == "__main__":
    vars(app)["Application"] = _Echoing
    main()
