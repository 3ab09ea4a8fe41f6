"""What every error answer must look like, and requests that no HTTP library would send."""

import json
from typing import Any

import attrs
import h11
import httpx
import trio

TYPES = "https://intermute.dev/errors/"
SEND_S = 60.0


def refused(response: "httpx.Response | RawAnswer", status: int, code: str) -> dict[str, Any]:
    """The members of an error answer, once its shape has been looked at."""
    assert response.status_code == status, (response.status_code, response.text)
    assert response.headers["content-type"] == "application/problem+json"
    members = response.json()
    assert members["error"] == code, members
    assert members["status"] == status, members
    assert members["type"] == TYPES + code.replace("_", "-"), members
    for name in ("title", "detail"):
        assert isinstance(members[name], str), (name, members)
        assert members[name], (name, members)
    return members


def place(response: httpx.Response) -> tuple[int, int]:
    """Where a decision stands in its project's order."""
    return int(response.headers["Intermute-Epoch"]), int(response.headers["Intermute-Seq"])


@attrs.frozen
class RawAnswer:
    """An answer read byte by byte."""

    status_code: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


async def read_answer(stream: trio.abc.ReceiveStream, method: str = "GET") -> RawAnswer:
    """The final answer to the one request that was sent on this connection."""
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method=method, target="/", headers=[("Host", "x"), *_NO_BODY]))
    peer.send(h11.EndOfMessage())
    status, headers, body = 0, {}, b""
    with trio.fail_after(SEND_S):
        while True:
            event = peer.next_event()
            if event is h11.NEED_DATA:
                peer.receive_data(bytes(await stream.receive_some(65536)))
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode(): value.decode() for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return RawAnswer(status, headers, body)
            elif isinstance(event, h11.ConnectionClosed):
                raise AssertionError("the connection ended without an answer")


_NO_BODY = [("Connection", "close")]


def request_bytes(
    method: str, target: str, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()
) -> bytes:
    """A request as it stands on the wire, the target untouched."""
    given = {"Host": "localhost", "Connection": "close"}
    if body:
        given |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [f"{name}: {value}" for name, value in (given | dict(headers)).items()]
    return (
        f"{method} {target} HTTP/1.1\r\n".encode() + "\r\n".join([*lines, "", ""]).encode() + body
    )


async def raw(
    port: int,
    method: str,
    target: str,
    body: bytes = b"",
    headers: tuple[tuple[str, str], ...] = (),
) -> RawAnswer:
    """Send one request over a connection of its own, exactly as written."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(request_bytes(method, target, body, headers))
        return await read_answer(stream, method)
