"""One WebSocket: the feed that goes out over it, and the commands that come in.

Three tasks share it. One reads and sends commands on without waiting for them; one answers, in the
order of the requests; one pushes what the feed brings. Each lot of frames leaves whole, and nobody
waits for this socket but these tasks. A request that waits in a line has a task of its own, so that
its answer comes when there is one and keeps no other back.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import msgspec
import trio

from intermute.domain import limits
from intermute.project.feeds import FeedEnded, Published, Subscriber, TooSlow
from intermute.project.messages import StorageUnavailable
from intermute.web.errors import describe
from intermute.web.outcome import Outcome, error_outcome
from intermute.web.rpc import Methods, RpcCall, Work, finish_all, place_of, problem_of
from intermute.web.trust import Trust
from intermute.web.websocket import Socket
from intermute.wire import frames, rpc
from intermute.wire.bodies import BadRequest
from intermute.wire.rpc import Malformed, Request
from intermute.wire.strict_json import BadJson, decode, encode

__all__ = ["Conversation"]

GOING_AWAY = 1001
INVALID_DATA = 1007
MESSAGE_TOO_BIG = 1009
TRY_AGAIN_LATER = 1013
NO_LONGER_ALLOWED = 4003
TOO_SLOW = 4008
REASON_LEN_MAX = 123

_FILTERS = ("subscribe", "unsubscribe")
_OWN_METHODS = ("feed.subscribe", "feed.unsubscribe")


@attrs.frozen
class _Ending:
    """Why the server closes the socket. `last` is sent just before."""

    code: int
    reason: str
    last: bytes | None = None


@attrs.define
class _Item:
    """One request: under way, or with the outcome that it has already."""

    request: Request | Malformed
    outcome: Outcome | None = None
    work: Work | None = None


@attrs.define
class _Asked:
    """One message of the client and what it asks for.

    Attributes:
        size: How long it was, bytes.
        is_array: It is answered by an array.
        said: What it is answered by when it asks for nothing.
    """

    size: int
    items: list[_Item] = attrs.field(factory=list)
    is_array: bool = False
    said: bytes | None = None

    @property
    def held(self) -> bool:
        return any(item.work is not None and item.work.held for item in self.items)

    @property
    def ready(self) -> bool:
        return all(item.work is None or item.work.ready for item in self.items)


class Conversation:
    """The life of one accepted socket.

    Args:
        project: What is asked for without naming a project is asked in this one.
        render: What an event looks like here.
        show_life: Said now and then for as long as the socket is open, if anybody lives by it.
    """

    def __init__(
        self,
        socket: Socket,
        subscriber: Subscriber,
        methods: Methods,
        *,
        trust: Trust,
        project: str,
        render: Callable[[Published], bytes],
        show_life: Callable[[], object] | None = None,
    ) -> None:
        self._socket = socket
        self._subscriber = subscriber
        self._methods = methods
        self._trust = trust
        self._project = project
        self._render = render
        self._show_life = show_life
        self._asked: deque[_Asked] = deque()
        self._in_flight = 0
        self._in_flight_len = 0
        self._arrived = trio.lowlevel.ParkingLot()
        self._moved = trio.lowlevel.ParkingLot()
        self._listening = trio.CancelScope()
        self._waiting: trio.Nursery
        self._ending: _Ending | None = None

    async def run(self) -> None:
        """Talk until either side ends it. What was asked is answered before the server closes."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._push)
            nursery.start_soon(self._answer)
            if self._show_life is not None:
                nursery.start_soon(self._live, self._show_life)
            async with trio.open_nursery() as self._waiting:
                with self._listening:
                    await self._listen()
                self._waiting.cancel_scope.cancel()
            while self._in_flight:
                await self._moved.park()
            nursery.cancel_scope.cancel()
        if self._ending is not None:
            if self._ending.last is not None:
                await self._socket.send([self._ending.last])
            await self._socket.close(self._ending.code, self._ending.reason)

    def _end(self, code: int, reason: str, last: bytes | None = None) -> None:
        """Take nothing more in, and close once everything is answered."""
        self._ending = self._ending or _Ending(code, reason, last)
        self._listening.cancel()

    def _ends(self) -> bool:
        return self._ending is not None

    async def _live(self, show_life: Callable[[], object]) -> None:
        while self._is_believed():
            show_life()
            await trio.sleep(limits.LINE_HEARTBEAT_MS / 1000)

    def _is_believed(self) -> bool:
        """Whether the client still may; else the socket ends."""
        if self._trust.holds():
            return True
        self._end(NO_LONGER_ALLOWED, "the key or the agent's token is not valid any more")
        return False

    # -- Out: the feed ----------------------------------------------------------------------

    async def _push(self) -> None:
        try:
            while True:
                batch = await self._subscriber.next()
                if not self._is_believed():
                    return
                await self._socket.send(map(self._render, batch))
        except TooSlow as slow:
            last = frames.lagged_frame(slow.cursor)
            self._end(TOO_SLOW, encode({"cursor": slow.cursor}).decode(), last)
        except FeedEnded as ended:
            self._end(GOING_AWAY, encode({"cursor": ended.cursor}).decode())
        except StorageUnavailable:
            cursor = self._subscriber.cursor
            self._end(TRY_AGAIN_LATER, encode({"cursor": cursor}).decode())

    # -- In ---------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Read messages until the client goes, or one of them cannot be read."""
        while not self._ends():
            payloads = await self._socket.receive()
            if not self._is_believed():
                return
            group: list[_Asked] = []
            for payload in payloads:
                asked = self._read(payload)
                if asked is not None:
                    if not self._has_room(asked):
                        self._start(group)
                        group = []
                    while not self._has_room(asked):
                        await self._moved.park()
                    self._in_flight += max(1, len(asked.items))
                    self._in_flight_len += asked.size
                    group.append(asked)
                if self._ends():
                    break
            self._start(group)

    def _has_room(self, asked: _Asked) -> bool:
        """Whether it may come in; alone it always may."""
        return not self._in_flight or (
            self._in_flight + len(asked.items) <= limits.REQUESTS_IN_FLIGHT_MAX
            and self._in_flight_len + asked.size <= limits.REQUESTS_IN_FLIGHT_LEN_MAX
        )

    def _start(self, group: Sequence[_Asked]) -> None:
        """Send on what arrived together, so that it shares commits, and have it answered."""
        items = []
        calls = []
        for asked in group:
            for item in asked.items:
                if item.outcome is None:
                    items.append(item)
                    calls.append(self._call(item.request, alone=not asked.is_array))
        for item, work in zip(items, self._methods.start(calls), strict=True):
            item.work = work
        for asked in group:
            if asked.held:
                self._waiting.start_soon(self._answer_later, asked)
            else:
                self._asked.append(asked)
        self._arrived.unpark()

    def _call(self, request: Request | Malformed, *, alone: bool) -> tuple[str, RpcCall]:
        assert isinstance(request, Request), "what is malformed has its outcome"
        caller = self._trust.caller
        call = RpcCall(self._methods.projects, caller, request, project=self._project, alone=alone)
        return request.method, call

    def _read(self, payload: bytes) -> _Asked | None:
        """What a message asks for; None for one that asks for nothing, which is ignored."""
        size = len(payload)
        if size > limits.SOCKET_MESSAGE_LEN_MAX:
            self._end(MESSAGE_TOO_BIG, "the message is too long")
            return None
        try:
            message = decode(payload)
        except BadJson as bad:
            self._end(INVALID_DATA, f"failed to read JSON: {bad}"[:REASON_LEN_MAX])
            return _Asked(size, [_malformed(Malformed(None, rpc.PARSE_ERROR, str(bad)))])
        if isinstance(message, list):
            if not 0 < len(message) <= limits.BATCH_COMMANDS_MAX:
                detail = f"a batch has 1 to {limits.BATCH_COMMANDS_MAX} requests"
                return _Asked(size, [_malformed(Malformed(None, rpc.INVALID_REQUEST, detail))])
            return _Asked(size, [self._item(each) for each in message], is_array=True)
        if rpc.is_request(message):
            return _Asked(size, [self._item(message)])
        if isinstance(message, dict) and message.get("type") in _FILTERS:
            return self._filter_frame(message, size)
        return None

    def _item(self, message: object) -> _Item:
        request = rpc.read_request(message)
        if isinstance(request, Malformed):
            return _malformed(request)
        if request.method == "rpc.discover":
            return _Item(request, Outcome(200, {"methods": [*_OWN_METHODS, *self._methods.names]}))
        if request.method in _OWN_METHODS:
            try:
                kind = request.method.removeprefix("feed.")
                return _Item(request, self._filter(kind, request.params.get("event_types")))
            except BadRequest as error:
                return _Item(request, describe(error))
        return _Item(request)

    def _filter_frame(self, message: dict[str, Any], size: int) -> _Asked | None:
        """Do as a frame of a client that knows no JSON-RPC says; it is answered only by errors."""
        try:
            self._filter(message["type"], message.get("event_types"))
        except BadRequest as error:
            return _Asked(size, said=encode({**describe(error).body, "type": "error"}))
        return None

    def _filter(self, kind: str, event_types: object) -> Outcome:
        """Change what is pushed, from the event after the cursor that is answered.

        Raises:
            BadRequest: There are no such types, or too many.
        """
        types = frames.check_types(event_types)
        changed = self._subscriber.types.copy()
        (changed.subscribe if kind == "subscribe" else changed.unsubscribe)(types)
        if len(changed) > limits.FEED_TYPES_MAX:
            raise BadRequest(f"a filter has at most {limits.FEED_TYPES_MAX} event types")
        self._subscriber.types = changed
        return Outcome(200, {"cursor": self._subscriber.position})

    # -- Out: the answers -------------------------------------------------------------------

    async def _answer(self) -> None:
        """Answer in the order of the requests, several in one go where they are ready."""
        while True:
            while not self._asked:
                await self._arrived.park()
            answers: list[bytes] = []
            size = count = asked_len = 0
            while self._asked and size <= limits.SOCKET_PIECE_LEN_MAX:
                asked = self._asked[0]
                if answers and not asked.ready:
                    break
                answer = await _answer_to(asked)
                self._asked.popleft()
                count += max(1, len(asked.items))
                asked_len += asked.size
                if answer is not None:
                    answers.append(answer)
                    size += len(answer)
            if not self._is_believed():
                answers = []
            await self._socket.send(answers)
            self._in_flight -= count
            self._in_flight_len -= asked_len
            self._moved.unpark_all()

    async def _answer_later(self, asked: _Asked) -> None:
        """Answer one that may wait for long, whenever that is."""
        try:
            answer = await _answer_to(asked)
            if answer is not None and self._is_believed():
                await self._socket.send([answer])
        finally:
            self._in_flight -= 1
            self._in_flight_len -= asked.size
            self._moved.unpark_all()


async def _answer_to(asked: _Asked) -> bytes | None:
    """The answer to a message, None where none is wanted."""
    if asked.said is not None:
        return asked.said
    if not asked.is_array:
        (item,) = asked.items
        if item.work is None:
            assert item.outcome is not None, "it was started or has its outcome"
            return _told(item.request, item.outcome)
        return _told(item.request, await item.work.outcome())
    done = iter(await finish_all([item.work for item in asked.items if item.work is not None]))
    told = []
    for item in asked.items:
        if item.outcome is not None:
            told.append(_told(item.request, item.outcome))
        else:
            told.append(_told(item.request, *next(done)))
    wanted = [each for each in told if each is not None]
    return b"[%b]" % b",".join(wanted) if wanted else None


def _told(
    request: Request | Malformed, outcome: Outcome, body: bytes | None = None
) -> bytes | None:
    """An outcome as the answer to its request; `body` is its body, if it was written already."""
    if not request.wants_answer:
        return None
    place = place_of(outcome)
    if not outcome.is_error:
        shown = outcome.body if body is None else msgspec.Raw(body)
        assert isinstance(request, Request), "what is malformed does not go well"
        return encode(rpc.result(request, shown, place))
    problem = problem_of(outcome)
    if isinstance(request, Malformed):
        code = request.code
    else:
        code = rpc.error_code(outcome.status, problem["code"])
    return encode(rpc.error(request.request_id, code, problem["title"], problem, place))


def _malformed(wrong: Malformed) -> _Item:
    outcome = error_outcome(400, "invalid_request", "The request is not valid", wrong.detail)
    return _Item(wrong, outcome)
