"""Clients on a simulated network: HTTP/1.1, WebSockets and event streams.

Whatever they receive is noted, looked through for the names of other projects, and held to the
time that an answer may take. A call whose connection broke has an unknown outcome: None.
"""

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import attrs
import h11
import msgspec
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Message,
    Ping,
    RejectConnection,
    RejectData,
    Request,
)
from wsproto.utilities import ProtocolError

from .judge import Judge
from .network import Network, Stream

# How long an answer may take where nothing holds it up but the server: what waits in front of it
# is bounded, and so is a stop of the server. Clients on a bad connection give up sooner.
ANSWER_S = 60.0
IMPATIENT_S = 20.0
_LOST = (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError, OSError)


@attrs.frozen
class Answer:
    """What was answered.

    Attributes:
        asked_s: When the request was sent.
        place: Where it stands in the order of its project, where it does.
        attempt: How often it was asked before, in vain.
    """

    status: int
    body: Any
    headers: dict[str, str]
    asked_s: float
    place: tuple[int, int] | None
    attempt: int = 0

    @property
    def replayed(self) -> bool:
        return "idempotency-replayed" in self.headers

    @property
    def error(self) -> str:
        return self.body.get("error", "") if self.status >= 400 else ""


class HttpClient:
    """One client, with one connection at a time."""

    def __init__(self, network: Network, judge: Judge, name: str, project: str) -> None:
        self._network = network
        self._judge = judge
        self.name = name
        self.project = project
        self._stream: Stream | None = None
        self._http = h11.Connection(h11.CLIENT)
        self._lingering: list[Stream] = []
        self._linger_turns = 0

    @property
    def lingers(self) -> bool:
        """Whether a connection is open still on whose answer nobody waits any more."""
        return bool(self._lingering)

    async def call(
        self,
        method: str,
        target: str,
        members: Any = None,
        *,
        headers: Sequence[tuple[str, str]] = (),
        wait_s: float = 0.0,
        leave_s: float | None = None,
        orderly: bool = False,
        linger_turns: int | None = None,
    ) -> Answer | None:
        """Ask once.

        Args:
            wait_s: For how long the request lets the server hold it open.
            leave_s: Go away after so long; `orderly`, by closing the sending side first.
            linger_turns: Do so only after asking again, on a connection of its own, and after so
                many turns of the loop.
        """
        judge, asked_s = self._judge, trio.current_time()
        newest = judge.newest(self.project)
        judge.note(self.name, "asks", method, target, msgspec.json.encode(members))
        answer = None
        with trio.move_on_after(wait_s + ANSWER_S if leave_s is None else leave_s) as staying:
            answer = await self._ask(method, target, members, headers, wait_s)
        if staying.cancelled_caught and leave_s is not None:
            await self._leave(orderly=orderly, linger_turns=linger_turns)
        elif staying.cancelled_caught:
            disturbed = self._stream is None or self._stream.link.disturbed
            judge.hold_to(disturbed, f"{self.name} was not answered: {method} {target} {members}")
        if answer is None:
            self.hang_up()
            judge.note(self.name, "is not answered")
            return None
        status, fields, content = answer
        judge.saw(self.name, self.project, content)
        judge.note(self.name, "hears", status, content)
        place = _place(fields)
        judge.order(self.project, newest, place)
        judge.count(f"{method} {_shape(target)} {status}")
        body = msgspec.json.decode(content) if content else {}
        found = Answer(status, body, fields, asked_s, place)
        judge.hold_to(status < 500 or status == 503, f"{method} {target}: {status} {body}")
        return found

    async def _ask(
        self, method: str, target: str, members: Any, headers: Any, wait_s: float
    ) -> tuple[int, dict[str, str], bytes] | None:
        try:
            stream = await self._connected()
            body = b"" if members is None else msgspec.json.encode(members)
            head = [("Host", "localhost"), ("Content-Length", str(len(body))), *headers]
            if members is not None:
                head.append(("Content-Type", "application/json"))
            data = self._http.send(h11.Request(method=method, target=target, headers=head))
            await stream.send_all(data + self._http.send(h11.Data(data=body)))
            if self.lingers:
                for _ in range(self._linger_turns):
                    await trio.lowlevel.checkpoint()
                self.linger_no_more()
            self._http.send(h11.EndOfMessage())
            with trio.move_on_after(wait_s + IMPATIENT_S) as patience:
                return await self._answer(stream)
            if patience.cancelled_caught and not stream.link.disturbed:
                return await self._answer(stream)
        except _LOST:
            pass
        return None

    async def _answer(self, stream: Stream) -> tuple[int, dict[str, str], bytes]:
        status, fields, content = 0, {}, b""
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Response):
                status = event.status_code
                fields = {name.decode(): value.decode() for name, value in event.headers}
            elif isinstance(event, h11.Data):
                content += event.data
            elif isinstance(event, h11.EndOfMessage):
                if self._http.our_state is h11.MUST_CLOSE or fields.get("connection") == "close":
                    self.hang_up()
                else:
                    self._http.start_next_cycle()
                return status, fields, bytes(content)
            else:
                raise OSError("ended before its time")

    async def _connected(self) -> Stream:
        if self._stream is None:
            self._stream = await self._network.connect()
            self._http = h11.Connection(h11.CLIENT)
        return self._stream

    async def _leave(self, *, orderly: bool, linger_turns: int | None) -> None:
        """Go away in the middle of a call."""
        if linger_turns is not None and self._stream is not None:
            self._lingering.append(self._stream)
            self._linger_turns = linger_turns
            self._stream = None
        if orderly and self._stream is not None:
            await self._stream.send_eof()
            await trio.sleep(1.0)
        self.hang_up()

    def linger_no_more(self) -> None:
        while self._lingering:
            self._lingering.pop().close()

    def hang_up(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _place(headers: dict[str, str]) -> tuple[int, int] | None:
    if "intermute-epoch" not in headers:
        return None
    place = int(headers["intermute-epoch"]), int(headers["intermute-seq"])
    return place if place[0] else None


def _shape(target: str) -> str:
    """The path without the ids and names."""
    path = target.partition("?")[0]
    return re.sub(r"/[^/]*(_|%|\d)[^/]*", "/*", path)


class Ended(Exception):
    """A feed has ended, for a reason that a client can do nothing about but come back."""


async def socket_frames(
    network: Network, judge: Judge, name: str, project: str, target: str
) -> AsyncIterator[dict[str, Any]]:
    """The frames of a WebSocket until it ends.

    Raises:
        Ended: It ended, or was refused for now.
    """
    try:
        stream = await network.connect()
    except OSError as error:
        raise Ended from error
    try:
        socket = WSConnection(ConnectionType.CLIENT)
        await stream.send_all(socket.send(Request(host="localhost", target=target)))
        text = ""
        while True:
            # The server pings, so silence means that the connection is dead.
            with trio.move_on_after(ANSWER_S) as patience:
                data = await stream.receive_some()
            if patience.cancelled_caught:
                judge.hold_to(stream.link.disturbed, f"{name}: {target} went silent")
                raise Ended
            socket.receive_data(data or None)
            for event in socket.events():
                if isinstance(event, Ping):
                    await stream.send_all(socket.send(event.response()))
                elif isinstance(event, RejectConnection):
                    judge.count(f"socket {event.status_code}")
                    judge.hold_to(event.status_code == 503, f"{target}: {event.status_code}")
                elif isinstance(event, CloseConnection):
                    judge.count(f"socket closed {event.code}")
                    judge.hold_to(event.code in (1001, 1006, 1013, 4008), f"closed: {event}")
                    raise Ended
                elif isinstance(event, Message):
                    text += event.data
                    if event.message_finished:
                        judge.saw(name, project, text.encode())
                        judge.note(name, "is told", text)
                        yield msgspec.json.decode(text)
                        text = ""
                elif isinstance(event, RejectData):
                    judge.saw(name, project, event.data)
                    if event.body_finished:
                        raise Ended
                else:
                    assert isinstance(event, AcceptConnection), event
            if not data:
                raise Ended
    except (*_LOST, ProtocolError) as error:
        raise Ended from error
    finally:
        stream.close()


async def stream_frames(
    network: Network, judge: Judge, name: str, project: str, target: str
) -> AsyncIterator[dict[str, Any]]:
    """The frames of an event stream until it ends.

    Raises:
        Ended: It ended, or was refused for now.
    """
    try:
        stream = await network.connect()
    except OSError as error:
        raise Ended from error
    try:
        http = h11.Connection(h11.CLIENT)
        head = [("Host", "localhost"), ("Accept", "text/event-stream")]
        data = http.send(h11.Request(method="GET", target=target, headers=head))
        await stream.send_all(data + http.send(h11.EndOfMessage()))
        text = b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                with trio.move_on_after(ANSWER_S) as patience:
                    http.receive_data(await stream.receive_some())
                if patience.cancelled_caught:
                    judge.hold_to(stream.link.disturbed, f"{name}: {target} went silent")
                    raise Ended
            elif isinstance(event, h11.Response):
                judge.count(f"stream {event.status_code}")
                judge.hold_to(event.status_code in (200, 503), f"{target}: {event.status_code}")
                if event.status_code != 200:
                    raise Ended
            elif isinstance(event, h11.Data):
                text += event.data
                *whole, text = text.split(b"\n\n")
                for block in whole:
                    judge.saw(name, project, block)
                    found = _data_of(block)
                    if found is not None:
                        judge.note(name, "is told", found)
                        yield msgspec.json.decode(found)
            else:
                raise Ended
    except _LOST as error:
        raise Ended from error
    finally:
        stream.close()


def _data_of(block: bytes) -> bytes | None:
    lines = [line[6:] for line in block.split(b"\n") if line.startswith(b"data: ")]
    return b"\n".join(lines) if lines else None
