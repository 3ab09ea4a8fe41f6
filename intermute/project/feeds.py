"""The live feeds of all projects: what was committed, to whoever listens, at nobody's expense.

A subscriber reads its backlog from the table and then goes on with what is published. Both are
one stream, told apart by cursors, so there is neither gap nor duplicate. Publishing never waits:
what a subscriber has not taken stands in a bounded queue, and one whose queue is full goes back to
reading the table. One that stays behind, or whose socket takes nothing, is told that it is too
slow; it has lost nothing, because it knows its cursor.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import attrs
import trio

from intermute.domain import limits
from intermute.domain.events import Event
from intermute.project.messages import Told

# The log after a cursor, in pages that are bounded in events and in characters; empty at its end.
ReadLog = Callable[[int], list[Event]]


@attrs.define
class Published:
    """An event that many subscribers share.

    Attributes:
        data_len: How long its data is, in characters of JSON.
        taken_up: Of a grant that was taken up at once for an open call, the decision that did it.
        frames: What it looks like to its readers, made once for those who see the same.
    """

    event: Event
    data_len: int = 0
    taken_up: Told | None = None
    frames: dict[Any, bytes] = attrs.field(factory=dict)

    @property
    def cursor(self) -> int:
        return self.event.cursor


class FeedEnded(Exception):
    """Nothing more comes. `cursor` is what to resume after."""

    def __init__(self, cursor: int) -> None:
        super().__init__(f"ended: resume after cursor {cursor}")
        self.cursor = cursor


class TooSlow(FeedEnded):
    """The subscriber does not keep up. It has lost nothing: it resumes after `cursor`."""


class TypeFilter:
    """Which event types a subscriber wants: everything, until it says otherwise.

    A type is a whole name (`message.created`) or a family (`message.*`). What was said of a name
    counts for more than what was said of its family.
    """

    def __init__(self) -> None:
        self._others = True
        self._said: dict[str, bool] = {}

    def subscribe(self, types: Sequence[str]) -> None:
        """Want these as well; the first time these alone. With none named, want everything."""
        if not types or (self._others and not self._said):
            self._said.clear()
            self._others = not types
        self._say(types, wanted=True)

    def unsubscribe(self, types: Sequence[str]) -> None:
        """Want these no more; with none named, want nothing."""
        if not types:
            self._said.clear()
            self._others = False
        self._say(types, wanted=False)

    def copy(self) -> "TypeFilter":
        same = TypeFilter()
        same._others, same._said = self._others, dict(self._said)
        return same

    def __len__(self) -> int:
        return len(self._said)

    def passes(self, event_type: str) -> bool:
        if not self._said:
            return self._others
        said = self._said.get(event_type)
        if said is None:
            said = self._said.get(event_type.partition(".")[0] + ".*")
        return self._others if said is None else said

    def _say(self, types: Sequence[str], *, wanted: bool) -> None:
        for name in types:
            if name.endswith(".*"):
                family = name[:-1]
                self._said = {k: v for k, v in self._said.items() if not k.startswith(family)}
            self._said[name] = wanted


class Subscriber:
    """One reader of a project's feed.

    Made by `Feeds.subscribe`, and used by one task at a time.

    Attributes:
        cursor: What to resume after: everything up to it was handed out or is not wanted.
    """

    def __init__(
        self, feed: "_Feed", agent_id: str | None, read: ReadLog, *, head: int, after: int | None
    ) -> None:
        self.agent_id = agent_id
        self.types = TypeFilter()
        self._feed = feed
        self._read = read
        self._queue: deque[Published] = deque()
        self._queue_len = 0
        self._behind = after is not None
        self._was_live = after is None
        # Every event up to this cursor was looked at, in the table or as it was published.
        self._scanned = head if after is None else after
        self._handed_s = 0.0
        self._sending = False
        self._end: type[FeedEnded] | None = None
        self._waiter: trio.lowlevel.Task | None = None
        self.cursor = self._scanned

    @property
    def position(self) -> int:
        """The cursor up to which the filter has already decided what is wanted."""
        return self._scanned if self._behind else max(self._scanned, self._feed.head)

    def wants(self, event: Event) -> bool:
        """Whether the event concerns this subscriber and passes its filter."""
        if not self.types.passes(event.data.type):
            return False
        audience = None if self.agent_id is None else event.data.audience
        return audience is None or self.agent_id in audience

    async def next(self) -> list[Published]:
        """The next events in order, at least one. Calling again means that these were sent.

        Raises:
            TooSlow: The subscriber has fallen behind for good.
            FeedEnded: The server stops.
            intermute.project.messages.StorageUnavailable: The backlog cannot be read.

        Cancellation: nothing is taken unless this returns.
        """
        self._sending = False
        while True:
            if self._end is not None:
                raise self._end(self.cursor)
            if self._behind:
                # Before the page is read and not after, or a cancellation would lose it.
                await trio.lowlevel.checkpoint()
                found = self._catch_up()
            elif self._queue:
                await trio.lowlevel.checkpoint_if_cancelled()
                found = self._take()
            else:
                self.cursor = self.position
                self._waiter = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._forget_waiter)
                continue
            if self._end is None:
                self.cursor = self.position
            if found:
                self._sending = True
                self._handed_s = trio.current_time()
                return found

    def offer(self, published: Published) -> None:
        """Take note of an event of its own that was just committed. Never waits."""
        if self._behind or self._end is not None or published.cursor <= self._scanned:
            return
        if not self.types.passes(published.event.data.type):
            return
        full = len(self._queue) >= limits.FEED_QUEUE_LEN_MAX
        if full or (self._queue and self._queue_len >= limits.FEED_QUEUE_DATA_LEN_MAX):
            self._overflow()
            return
        self._scanned = published.cursor
        self._queue.append(published)
        self._queue_len += published.data_len
        self._wake()

    def fall_behind(self) -> None:
        """Go on from the table: something was committed that was not offered."""
        if self._behind:
            return
        self._scanned = self._queue[0].cursor - 1 if self._queue else self.position
        self._forget_queue()
        self._behind = True
        self._wake()

    def end(self, kind: type[FeedEnded]) -> None:
        """Have `next` raise this from now on."""
        self._forget_queue()
        self._end = self._end or kind
        self._wake()

    def close(self) -> None:
        """Stop listening. May be called again."""
        self._forget_queue()
        self._feed.remove(self)

    def _take(self) -> list[Published]:
        """All that waits. The filter may have changed since it was queued."""
        found = [each for each in self._queue if self.types.passes(each.event.data.type)]
        self._forget_queue()
        return found

    def _catch_up(self) -> list[Published]:
        """One page of the backlog, of which the subscriber may want nothing.

        Between an empty page and the end of being behind nothing else runs, so that whatever is
        committed later is offered.
        """
        page = self._read(self._scanned)
        if not page:
            self._behind = False
            self._was_live = True
            return []
        self._scanned = page[-1].cursor
        if self._was_live and self._feed.head - self._scanned > limits.FEED_LAG_MAX:
            self._end = self._end or TooSlow
            return []
        return [Published(event) for event in page if self.wants(event)]

    def _overflow(self) -> None:
        stuck_s = trio.current_time() - self._handed_s
        if self._sending and stuck_s * 1000 > limits.FEED_STUCK_MS:
            self.end(TooSlow)
        else:
            self.fall_behind()

    def _forget_queue(self) -> None:
        self._queue.clear()
        self._queue_len = 0

    def _wake(self) -> None:
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            trio.lowlevel.reschedule(waiter)

    def _forget_waiter(self, _: object) -> trio.lowlevel.Abort:
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED


class _Feed:
    """The subscribers of one project: those who hear everything, and those of each agent."""

    def __init__(self, head: int, on_empty: Callable[["_Feed"], None]) -> None:
        self.head = head
        self._everything: dict[Subscriber, None] = {}
        self._by_agent: dict[str, dict[Subscriber, None]] = {}
        self._on_empty = on_empty

    def __len__(self) -> int:
        return len(self._everything) + sum(len(own) for own in self._by_agent.values())

    def __iter__(self) -> Iterator[Subscriber]:
        yield from self._everything
        for own in self._by_agent.values():
            yield from own

    def add(self, subscriber: Subscriber) -> None:
        if subscriber.agent_id is None:
            self._everything[subscriber] = None
        else:
            self._by_agent.setdefault(subscriber.agent_id, {})[subscriber] = None

    def remove(self, subscriber: Subscriber) -> None:
        if subscriber.agent_id is None:
            self._everything.pop(subscriber, None)
        else:
            own = self._by_agent.get(subscriber.agent_id, {})
            own.pop(subscriber, None)
            if not own:
                self._by_agent.pop(subscriber.agent_id, None)
        if not self._everything and not self._by_agent:
            self._on_empty(self)

    def publish(self, batch: Sequence[Published]) -> None:
        if batch[0].cursor > self.head + 1:
            # An actor ended between a commit and its word of it.
            for subscriber in self:
                subscriber.fall_behind()
        self.head = max(self.head, batch[-1].cursor)
        for published in batch:
            for subscriber in self._everything:
                subscriber.offer(published)
            if not self._by_agent:
                continue
            audience = published.event.data.audience
            for own in self._by_agent.values() if audience is None else self._of(audience):
                for subscriber in own:
                    subscriber.offer(published)

    def _of(self, audience: Sequence[str]) -> Iterator[dict[Subscriber, None]]:
        for agent_id in audience:
            own = self._by_agent.get(agent_id)
            if own is not None:
                yield own


class Feeds:
    """The feeds of all projects that somebody listens to."""

    def __init__(self) -> None:
        self._by_tag: dict[str, _Feed] = {}
        self._stopped = False

    def subscribe(
        self, tag: str, *, agent_id: str | None, read: ReadLog, head: int, after: int | None
    ) -> Subscriber:
        """Listen to a project.

        Args:
            agent_id: Hear what concerns this agent, None for everything.
            read: The log, page by page.
            head: The cursor of the last committed event.
            after: Begin with the event after this cursor; None begins with what comes.
        """
        feed = self._by_tag.get(tag)
        if feed is None:
            feed = self._by_tag[tag] = _Feed(head, partial(self._forget, tag))
        subscriber = Subscriber(feed, agent_id, read, head=head, after=after)
        feed.add(subscriber)
        if self._stopped:
            subscriber.end(FeedEnded)
        return subscriber

    def publish(self, tag: str, batch: Sequence[Published]) -> None:
        """Tell everybody who listens to the project. Never waits and never fails."""
        feed = self._by_tag.get(tag)
        if feed is not None:
            feed.publish(batch)

    def stop(self) -> None:
        """End every feed, those that are subscribed to from now on included."""
        self._stopped = True
        for feed in self._by_tag.values():
            for subscriber in feed:
                subscriber.end(FeedEnded)

    def subscribers(self) -> int:
        """How many listen now, over all projects."""
        return sum(len(feed) for feed in self._by_tag.values())

    def _forget(self, tag: str, feed: _Feed) -> None:
        # Another one may have taken its place since.
        if self._by_tag.get(tag) is feed:
            del self._by_tag[tag]
