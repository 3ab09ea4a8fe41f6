"""The feeds: over a WebSocket, as an event stream, and as pages of JSON."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, cast

import attrs
import msgspec
import trio
from quart import Blueprint, Request, Response, Websocket, request, websocket
from quart.wrappers.response import ResponseBody

from intermute.domain import agents as domain_agents
from intermute.domain import limits
from intermute.domain.commands import Heartbeat
from intermute.domain.refusals import Code, Refusal
from intermute.project.directory import NO_EVENTS, Reader
from intermute.project.feeds import FeedEnded, Published, Subscriber, TooSlow, TypeFilter
from intermute.project.messages import StorageUnavailable
from intermute.web.access import Identified
from intermute.web.calls import Call, HttpCall
from intermute.web.conversation import Conversation
from intermute.web.edge import Edge, respond
from intermute.web.errors import Refused
from intermute.web.operations import Operations
from intermute.web.outcome import Outcome
from intermute.web.rpc import Methods
from intermute.web.trust import Trust
from intermute.web.websocket import Socket
from intermute.wire import frames
from intermute.wire.agents import read_agent_id
from intermute.wire.bodies import decimal, line

STREAM = "text/event-stream"
operations = Operations()


@attrs.define
class Feed:
    """What a call may listen to.

    Attributes:
        agent_id: Whose feed it is, None for the one of the whole project.
        viewer: Whose eyes look at it, None for nobody in particular.
        after: The cursor to go on after, None for what comes.
        head: The cursor of the last event.
    """

    call: Call
    project: str
    agent_id: str | None
    viewer: str | None
    after: int | None
    head: int
    types: list[str]

    def render(self, published: Published, *, short: bool = True) -> bytes:
        """What an event looks like here: shortened where it is pushed, whole on pages."""
        return frames.frame_for(
            published.event,
            self.project,
            published.frames,
            viewer=self.viewer,
            addressee=self.agent_id,
            short=short,
        )

    @property
    def is_own(self) -> bool:
        """Whether it is the agent that listens, and says so: others may look on as well."""
        return self.agent_id is not None and self.call.agent_id == self.agent_id

    def subscribe(self) -> Subscriber:
        """Listen. Nothing may be waited for between `open_feed` and this."""
        subscriber = self.call.projects.subscribe(
            self.project, agent_id=self.agent_id, after=self.after
        )
        if self.types:
            subscriber.types.subscribe(self.types)
        return subscriber

    def show_life(self) -> None:
        """An agent that keeps a socket open on its own feed lives."""
        if self.agent_id is not None and self.call.projects.exists(self.project):
            self.call.tell(self.project, Heartbeat(self.agent_id))


async def open_feed(call: Call, agent_id: str | None, *, after: str | None, name: str) -> Feed:
    """Look at everything that may be wrong with wanting to listen.

    Args:
        agent_id: Whose feed is asked for, None for that of the whole project.
        after: The cursor as text, and the `name` of where it stands.

    Raises:
        BadRequest, Refused, StorageUnavailable.
    """
    cursor = None if not after else frames.read_cursor(after, name)
    types = frames.read_types(call.query("types") or "")
    if agent_id is None:
        project = call.project(call.query("project"))
    else:
        agent_id = read_agent_id(line(agent_id, "agent").strip("/"))
        project = call.project_for(call.query("project"), agent_id, domain_agents.not_found)
    # First of all whether it may, because waking a project is not for everybody.
    _head(call, project, agent_id)
    await call.projects.wake(project)
    head = _head(call, project, agent_id)
    if cursor is not None and cursor > head:
        raise Refused(
            Refusal(
                Code.CURSOR_GONE,
                f"the project has no event {cursor}; its last one is {head}. Read what is there "
                "now, and go on from its cursor",
                {"cursor": head},
            )
        )
    viewer = call.agent_id if agent_id is None else agent_id
    return Feed(call, project, agent_id, viewer, cursor, head, types)


def _head(call: Call, project: str, agent_id: str | None) -> int:
    """The cursor of the last event, for who may see the feed."""
    if agent_id is None:
        return call.look(project, Reader.last_cursor, empty=0)
    return call.read_as(project, agent_id, Reader.last_cursor, empty=0)


@operations.query("events.list", "/api/events")
async def list_events(call: Call) -> Outcome:
    """A page of the log, as far as a bounded number of its rows goes."""
    agent_id = call.query("agent") or None
    feed = await open_feed(call, agent_id, after=call.query("since_cursor"), name="since_cursor")
    limit = decimal(call.query("limit"), default=limits.EVENTS_PAGE_DEFAULT, most=limits.PAGE_MAX)
    wanted = _Wanted(feed, limit)
    scanned = 0
    while scanned < limits.EVENTS_SCANNED_MAX and not wanted.full:
        page = call.projects.read(
            feed.project,
            lambda reader: reader.events(
                after=wanted.cursor,
                limit=limits.FEED_PAGE_MAX,
                data_len_max=limits.FEED_QUEUE_DATA_LEN_MAX,
            ),
            empty=NO_EVENTS,
        )
        if not page:
            break
        scanned += len(page)
        wanted.take(page)
        await trio.lowlevel.checkpoint()
    return Outcome(
        200,
        {
            "events": wanted.found,
            "cursor": wanted.cursor,
            "more": wanted.cursor < _head(call, feed.project, feed.agent_id),
        },
    )


class _Wanted:
    """The frames of a page, and how far the log was looked through for them."""

    def __init__(self, feed: Feed, limit: int) -> None:
        self._feed = feed
        self._limit = limit
        self._types = TypeFilter()
        if feed.types:
            self._types.subscribe(feed.types)
        self._len = 0
        self.cursor = feed.after or 0
        self.found: list[msgspec.Raw] = []

    @property
    def full(self) -> bool:
        return len(self.found) >= self._limit or self._len >= limits.EVENTS_PAGE_LEN_MAX

    def take(self, events: Iterable[Any]) -> None:
        agent_id = self._feed.agent_id
        for event in events:
            if self.full:
                return
            self.cursor = event.cursor
            audience = None if agent_id is None else event.data.audience
            if self._types.passes(event.type) and (audience is None or agent_id in audience):
                frame = self._feed.render(Published(event), short=False)
                self._len += len(frame)
                self.found.append(msgspec.Raw(frame))


class EventStream(ResponseBody):
    """Server-Sent Events, from the first to the last.

    Leaves at once what there is, says something now and then while there is nothing, and ends when
    the subscriber is too slow or the server stops; the client comes back with the last cursor.
    """

    def __init__(self, feed: Feed, subscriber: Subscriber, trust: Trust) -> None:
        self._feed = feed
        self._subscriber = subscriber
        self._trust = trust
        self._began = False
        self._ended = False

    async def __aenter__(self) -> "EventStream":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._subscriber.close()

    def __aiter__(self) -> "EventStream":
        return self

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        if not self._began:
            self._began = True
            return b": the feed of %b\n\n" % _one_line(self._feed.project)
        try:
            with trio.move_on_after(limits.FEED_COMMENT_MS / 1000):
                batch = await self._subscriber.next()
                if not self._trust.holds():
                    raise StopAsyncIteration
                return b"".join(map(self._event, batch))
        except TooSlow as slow:
            self._ended = True
            return b"event: feed.lagged\ndata: %b\n\n" % frames.lagged_frame(slow.cursor)
        except (FeedEnded, StorageUnavailable):
            raise StopAsyncIteration from None
        return b": \n\n"

    def _event(self, published: Published) -> bytes:
        event_type = published.event.type.encode()
        frame = self._feed.render(published)
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (published.cursor, event_type, frame)


def _one_line(text: str) -> bytes:
    return msgspec.json.encode(text)


def feeds_blueprint(edge: Edge, methods: Methods) -> Blueprint:
    """`/ws/agents/<agent_id>`, `/ws/events` and `/api/events`."""
    routes = Blueprint("feeds", __name__)
    (list_operation,) = operations

    @routes.websocket("/ws/agents/<path:agent_id>")
    async def agent_feed(agent_id: str) -> None:
        await _converse(edge, methods, agent_id)

    @routes.websocket("/ws/events")
    async def project_feed() -> None:
        await _converse(edge, methods, None)

    @routes.get("/api/events")
    async def events() -> Response:
        call = edge.call({})
        accept = request.headers.get("Accept", "")
        if STREAM not in accept.lower():
            return respond(await edge.run(list_operation, call))
        return await _stream(edge, call)

    return routes


async def _stream(edge: Edge, call: HttpCall) -> Response:
    last_id = request.headers.get("Last-Event-ID")
    after, name = (
        (last_id, "Last-Event-ID") if last_id else (call.query("since_cursor"), "since_cursor")
    )
    feed = await open_feed(call, call.query("agent") or None, after=after, name=name)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    response = Response(b"", headers=headers, content_type=STREAM)
    if request.method != "HEAD":
        current: Request = request._get_current_object()  # type: ignore[attr-defined]
        response.response = EventStream(feed, feed.subscribe(), _trust(edge, feed, current))
        response.headers.pop("Content-Length", None)
    return response


async def _converse(edge: Edge, methods: Methods, agent_id: str | None) -> None:
    """One WebSocket, from its handshake to its end."""
    current: Websocket = websocket._get_current_object()  # type: ignore[attr-defined]
    call = _handshake(edge, current)
    after = call.query("since_cursor")
    feed = await open_feed(call, agent_id, after=after, name="since_cursor")
    subscriber = feed.subscribe()
    try:
        await current.accept()
        await Conversation(
            Socket(current),
            subscriber,
            methods,
            trust=_trust(edge, feed, current),
            project=feed.project,
            render=feed.render,
            show_life=feed.show_life if feed.is_own else None,
        ).run()
    finally:
        subscriber.close()


def _handshake(edge: Edge, current: Request | Websocket) -> HttpCall:
    caller = edge.identify(cast(Any, current.scope))
    return HttpCall(
        edge.projects, caller, path={}, request=current, members=lambda optional, nulls: {}
    )


def _trust(edge: Edge, feed: Feed, current: Request | Websocket) -> Trust:
    def look_again() -> Identified:
        again = _handshake(edge, current)
        with suppress(StorageUnavailable):
            _head(again, feed.project, feed.agent_id)
        return again.caller

    return Trust(feed.call.caller, look_again)
