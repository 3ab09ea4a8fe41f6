"""The live feeds of all projects: what was committed, to whoever listens, at nobody's expense.

A subscriber reads its backlog from the table and then goes on with what is published. Both are
one stream, told apart by cursors, so there is neither gap nor duplicate. Publishing never waits:
what a subscriber has not taken stands in a bounded queue, and one whose queue is full goes back to
reading the table. One that stays behind, or whose socket takes nothing, is told that it is too
slow; it has lost nothing, because it knows its cursor.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs
import trio

from intermute.domain import limits
from intermute.domain.events import Event

ReadLog = Callable[[int, int], list[Event]]


@attrs.define
class Published:
    """An event that many subscribers share.

    Attributes:
        data_len: How long its data is, in characters of JSON.
        frames: What it looks like to its readers, made once for those who see the same.
    """

    event: Event
    data_len: int = 0
    frames: dict[Any, bytes] = attrs.field(factory=dict)

    @property
    def cursor(self) -> int:
        return self.event.cursor


class TooSlow(Exception):
    """The subscriber does not keep up. `cursor` is what it was given last, to resume from."""

    def __init__(self, cursor: int) -> None:
        super().__init__(f"too slow: resume after cursor {cursor}")
        self.cursor = cursor


class TypeFilter:
    """Which event types a subscriber wants: everything, until it says otherwise.

    A type is a whole name (`message.created`) or a family (`message.*`).
    """

    def __init__(self) -> None:
        self._only: frozenset[str] | None = None
        self._never: frozenset[str] = frozenset()

    def subscribe(self, types: Sequence[str]) -> None:
        """Want these as well; with none named, want everything."""
        if not types:
            self._only, self._never = None, frozenset()
            return
        self._only = (self._only or frozenset()).union(types)
        self._never = self._never.difference(types)

    def unsubscribe(self, types: Sequence[str]) -> None:
        """Want these no more; with none named, want nothing."""
        if not types:
            self._only = frozenset()
        elif self._only is None:
            self._never = self._never.union(types)
        else:
            self._only = self._only.difference(types)

    def __len__(self) -> int:
        return len(self._only or ()) + len(self._never)

    def passes(self, event_type: str) -> bool:
        if self._only is None and not self._never:
            return True
        names = (event_type, event_type.partition(".")[0] + ".*")
        if any(name in self._never for name in names):
            return False
        return self._only is None or any(name in self._only for name in names)


class Subscriber:
    """One reader of a project's feed.

    Made by `Feeds.subscribe`, and used by one task at a time.
    """

    def __init__(
        self, feed: "_Feed", agent_id: str | None, read: ReadLog, after: int | None
    ) -> None:
        self.agent_id = agent_id
        self.types = TypeFilter()
        self._feed = feed
        self._read = read
        self._queue: deque[Published] = deque()
        self._queue_len = 0
        self._behind = after is not None
        self._was_live = after is None
        self._scanned = after or 0
        self._handed_s = 0.0
        self._sending = False
        self._too_slow = False
        self._waiter: trio.lowlevel.Task | None = None
        # The cursor to resume after: everything up to it was handed out or is not wanted.
        self.cursor = after or 0

    def wants(self, event: Event) -> bool:
        """Whether the event concerns this subscriber and passes its filter."""
        if self.agent_id is not None:
            audience = event.data.audience
            if audience is not None and self.agent_id not in audience:
                return False
        return self.types.passes(event.data.type)

    async def next(self) -> list[Published]:
        """The next events in order, at least one. Calling again means that these were sent.

        Raises:
            TooSlow: The subscriber has fallen behind for good.
            intermute.project.messages.StorageUnavailable: The backlog cannot be read.

        Cancellation: nothing is taken unless this returns.
        """
        self._sending = False
        while True:
            if self._too_slow:
                raise TooSlow(self.cursor)
            if self._behind:
                found = self._catch_up()
                await trio.lowlevel.checkpoint()
                if not found:
                    continue
            elif self._queue:
                found = list(self._queue)
                self._queue.clear()
                self._queue_len = 0
            else:
                self._waiter = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._forget_waiter)
                continue
            self.cursor = found[-1].cursor
            self._sending = True
            self._handed_s = trio.current_time()
            return found

    def offer(self, published: Published) -> None:
        """Take note of an event that was just committed. Never waits."""
        if self._behind or self._too_slow or published.cursor <= self._scanned:
            return
        if not self.wants(published.event):
            return
        full = len(self._queue) >= limits.FEED_QUEUE_LEN_MAX
        if full or (self._queue and self._queue_len >= limits.FEED_QUEUE_DATA_LEN_MAX):
            self._overflow()
            return
        self._queue.append(published)
        self._queue_len += published.data_len
        self._wake()

    def fall_behind(self) -> None:
        """Go on from the table: something was committed that was not offered."""
        self._queue.clear()
        self._queue_len = 0
        self._scanned = max(self._scanned, self.cursor)
        self._behind = True
        self._wake()

    def close(self) -> None:
        """Stop listening."""
        self._feed.remove(self)

    def _catch_up(self) -> list[Published]:
        """One page of the backlog, of which the subscriber may want nothing.

        Between a page that is not full and the end of being behind nothing else runs, so that
        whatever is committed later is offered.
        """
        page = self._read(self._scanned, limits.FEED_PAGE_MAX)
        if page:
            self._scanned = page[-1].cursor
        if len(page) < limits.FEED_PAGE_MAX:
            self._behind = False
            self._was_live = True
        elif self._was_live and self._feed.head - self._scanned > limits.FEED_LAG_MAX:
            self._too_slow = True
        return [Published(event) for event in page if self.wants(event)]

    def _overflow(self) -> None:
        stuck_s = trio.current_time() - self._handed_s
        if self._sending and stuck_s * 1000 > limits.FEED_STUCK_MS:
            self._queue.clear()
            self._too_slow = True
            self._wake()
        else:
            self.fall_behind()

    def _wake(self) -> None:
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            trio.lowlevel.reschedule(waiter)

    def _forget_waiter(self, _: object) -> trio.lowlevel.Abort:
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED


class _Feed:
    """The subscribers of one project: those who hear everything, and those of each agent."""

    def __init__(self, head: int, on_empty: Callable[[], None]) -> None:
        self.head = head
        self._everything: dict[Subscriber, None] = {}
        self._by_agent: dict[str, dict[Subscriber, None]] = {}
        self._on_empty = on_empty

    def __len__(self) -> int:
        return len(self._everything) + sum(len(own) for own in self._by_agent.values())

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
            self._on_empty()

    def publish(self, batch: Sequence[Published]) -> None:
        if batch[0].cursor != self.head + 1:
            # An actor ended between a commit and its word of it.
            for subscriber in self._all():
                subscriber.fall_behind()
        self.head = max(self.head, batch[-1].cursor)
        for published in batch:
            audience = published.event.data.audience
            for subscriber in self._everything:
                subscriber.offer(published)
            if audience is None:
                for own in self._by_agent.values():
                    for subscriber in own:
                        subscriber.offer(published)
                continue
            for agent_id in audience:
                for subscriber in self._by_agent.get(agent_id, ()):
                    subscriber.offer(published)

    def _all(self) -> list[Subscriber]:
        return [*self._everything, *(each for own in self._by_agent.values() for each in own)]


class Feeds:
    """The feeds of all projects that somebody listens to."""

    def __init__(self) -> None:
        self._by_tag: dict[str, _Feed] = {}

    def subscribe(
        self, tag: str, *, agent_id: str | None, read: ReadLog, head: int, after: int | None
    ) -> Subscriber:
        """Listen to a project.

        Args:
            agent_id: Hear what concerns this agent, None for everything.
            read: The log: events after a cursor, at most so many.
            head: The cursor of the last committed event.
            after: Begin with the event after this cursor; None begins with what comes.
        """
        feed = self._by_tag.get(tag)
        if feed is None:
            feed = self._by_tag[tag] = _Feed(head, partial(self._forget, tag))
        subscriber = Subscriber(feed, agent_id, read, after)
        if after is None:
            subscriber.cursor = head
        feed.add(subscriber)
        return subscriber

    def publish(self, tag: str, batch: Sequence[Published]) -> None:
        """Tell everybody who listens to the project. Never waits and never fails."""
        feed = self._by_tag.get(tag)
        if feed is not None:
            feed.publish(batch)

    def _forget(self, tag: str) -> None:
        del self._by_tag[tag]

    def subscribers(self) -> int:
        """How many listen now, over all projects."""
        return sum(len(feed) for feed in self._by_tag.values())
