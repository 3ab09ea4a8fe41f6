"""The feeds by themselves: a log in a list, and subscribers whose tasks the test drives."""

import random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from intermute.domain import limits
from intermute.domain.events import Event, MessageCreated, MessageRead, ReservationReleased
from intermute.project.feeds import FeedEnded, Feeds, Published, Subscriber, TooSlow, TypeFilter
from intermute.project.messages import StorageUnavailable, WriteOutcome

TAG = "t"
# On the clock that jumps; nothing takes long on it.
END_S = 100


def released(cursor: int, holder: str = "ada") -> Event:
    return Event(
        cursor, cursor, holder, ReservationReleased(f"r{cursor}", holder, "holder", fencing_token=1)
    )


def message(cursor: int, *to: str, bcc: tuple[str, ...] = ()) -> Event:
    data = MessageCreated(f"m{cursor}", "", "zoe", to, (), bcc, "", "", "hi", "", False)
    return Event(cursor, cursor, "zoe", data)


class Log:
    """A project's log, and the feeds that tell of it."""

    def __init__(self) -> None:
        self.feeds = Feeds()
        self.events: list[Event] = []
        self.page_max = 3
        self.pages = 0
        self.broken = False

    @property
    def head(self) -> int:
        return len(self.events)

    def read(self, after: int) -> list[Event]:
        if self.broken:
            raise StorageUnavailable("busy", outcome=WriteOutcome.NOT_DONE, retry_after_s=1.0)
        self.pages += 1
        return self.events[after : after + self.page_max]

    def commit(self, *events: Event) -> None:
        self.events += events

    def tell(self, *events: Event, data_len: int = 10) -> None:
        self.feeds.publish(TAG, [Published(event, data_len) for event in events])

    def happen(self, count: int = 1, data_len: int = 10) -> None:
        """Commit events of everybody's concern and tell of them, in one batch."""
        events = [released(self.head + 1 + at) for at in range(count)]
        self.commit(*events)
        self.tell(*events, data_len=data_len)

    def subscribe(self, after: int | None = None, agent_id: str | None = None) -> Subscriber:
        return self.feeds.subscribe(
            TAG, agent_id=agent_id, read=self.read, head=self.head, after=after
        )


@pytest.fixture
def log() -> Log:
    return Log()


async def cursors(subscriber: Subscriber) -> list[int]:
    return [published.cursor for published in await subscriber.next()]


async def nothing(subscriber: Subscriber) -> bool:
    """Whether nothing comes; on the virtual clock."""
    with trio.move_on_after(1) as scope:
        await subscriber.next()
    return scope.cancelled_caught


async def all_cursors(subscriber: Subscriber, count: int) -> list[int]:
    """So many cursors, over as many calls as it takes."""
    found: list[int] = []
    while len(found) < count:
        found += await cursors(subscriber)
    return found


# -- Backlog and live, one stream


async def test_from_now_on_only_what_comes(log):
    log.happen(5)
    subscriber = log.subscribe()
    assert subscriber.cursor == 5
    log.happen(2)
    assert await cursors(subscriber) == [6, 7]


async def test_the_backlog_then_what_comes(log):
    log.happen(8)
    subscriber = log.subscribe(after=1)
    assert await cursors(subscriber) == [2, 3, 4]
    log.happen(2)
    assert await all_cursors(subscriber, 6) == [5, 6, 7, 8, 9, 10]
    log.happen()
    assert await cursors(subscriber) == [11]


async def test_what_was_read_and_is_told_late_comes_once(log):
    """A commit in a thread can be read before the actor speaks of it."""
    log.commit(released(1), released(2))
    early, live = log.subscribe(after=0), log.subscribe()
    assert await cursors(early) == [1, 2]
    log.tell(released(1), released(2))
    log.happen()
    assert await cursors(early) == [3]
    assert await cursors(live) == [3], "it began after the second"


async def test_a_word_that_was_never_said_is_read(log):
    """An actor that ends between a commit and its word of it leaves a hole in what is told."""
    live, filtered = log.subscribe(), log.subscribe()
    filtered.types.subscribe(["agent.*"])
    log.happen(2)
    assert await cursors(live) == [1, 2]
    log.commit(released(3), released(4))
    log.happen()
    assert await all_cursors(live, 3) == [3, 4, 5]
    log.pages = 0
    assert filtered.position == 2, "what it does not want was decided all the same"


async def test_an_agent_hears_what_is_for_it_and_what_is_for_all(log, autojump_clock):
    log.commit(message(1, "ada"), message(2, "bob"), released(3), message(4, "bob", bcc=("ada",)))
    ada, bob, everything = log.subscribe(0, "ada"), log.subscribe(0, "bob"), log.subscribe(0)
    assert await all_cursors(ada, 3) == [1, 3, 4]
    assert await all_cursors(bob, 3) == [2, 3, 4]
    assert await all_cursors(everything, 4) == [1, 2, 3, 4]
    for subscriber in (ada, bob, everything):
        assert await nothing(subscriber)
    live = (message(5, "ada"), message(6, "bob", "ada"), released(7))
    log.commit(*live)
    log.tell(*live)
    assert await cursors(ada) == [5, 6, 7]
    assert await cursors(bob) == [6, 7]
    assert await cursors(everything) == [5, 6, 7]


async def test_an_agent_that_is_named_twice_hears_it_once(log, autojump_clock):
    subscriber = log.subscribe(agent_id="ada")
    blind = Event(1, 1, "ada", MessageRead("m", "ada", "ada", blind=True))
    log.tell(blind)
    assert await cursors(subscriber) == [1]
    assert await nothing(subscriber)


async def test_cancelling_loses_nothing(log):
    """Neither a page of the backlog nor what was published."""
    log.happen(7)
    subscriber = log.subscribe(after=0)
    found: list[int] = []
    for _ in range(5):
        with trio.CancelScope() as scope:
            scope.cancel()
            found += await cursors(subscriber)
        if len(found) < 7:
            found += await cursors(subscriber)
    assert found == list(range(1, 8))
    log.happen(2)
    with trio.CancelScope() as scope:
        scope.cancel()
        found += await cursors(subscriber)
    assert await all_cursors(subscriber, 2) == [8, 9]


async def test_a_cancelled_wait_leaves_the_subscriber_usable(log):
    subscriber = log.subscribe()
    with trio.move_on_after(0):
        await subscriber.next()
    log.happen()
    assert await cursors(subscriber) == [1]


async def test_each_waiter_is_woken_by_its_own_events_only(log):
    woken: list[str] = []

    async def wait(name: str, agent_id: str) -> None:
        await log.subscribe(agent_id=agent_id).next()
        woken.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, "first", "ada")
        nursery.start_soon(wait, "second", "bob")
        await wait_all_tasks_blocked()
        log.tell(message(1, "bob"))
        await wait_all_tasks_blocked()
        assert woken == ["second"]
        nursery.cancel_scope.cancel()


# -- Slow ones


async def test_a_full_queue_is_given_up_for_the_table(log, autojump_clock):
    subscriber = log.subscribe()
    log.happen(3)
    assert await cursors(subscriber) == [1, 2, 3]
    log.happen(limits.FEED_QUEUE_LEN_MAX + 1)
    rest = await all_cursors(subscriber, limits.FEED_QUEUE_LEN_MAX + 1)
    assert rest == list(range(4, log.head + 1))
    log.happen()
    assert await cursors(subscriber) == [log.head], "and it is live again"


async def test_a_queue_is_bounded_in_characters_too(log):
    subscriber = log.subscribe()
    log.happen(3, data_len=limits.FEED_QUEUE_DATA_LEN_MAX)
    assert len(subscriber._queue) == 0
    assert await all_cursors(subscriber, 3) == [1, 2, 3]


async def test_one_event_is_never_too_long(log):
    subscriber = log.subscribe()
    log.happen(1, data_len=10 * limits.FEED_QUEUE_DATA_LEN_MAX)
    log.pages = 0
    assert await cursors(subscriber) == [1]
    assert log.pages == 0


async def test_one_that_stays_behind_is_too_slow_and_says_where(log):
    subscriber = log.subscribe()
    log.happen()
    assert await cursors(subscriber) == [1]
    log.happen(limits.FEED_LAG_MAX + 100)
    with pytest.raises(TooSlow) as caught:
        await all_cursors(subscriber, log.head)
    assert caught.value.cursor == 1
    again = log.subscribe(after=caught.value.cursor)
    assert (await cursors(again))[0] == 2


async def test_a_long_backlog_is_not_slowness(log):
    log.page_max = 256
    log.happen(limits.FEED_LAG_MAX + 1_000)
    subscriber = log.subscribe(after=0)
    assert len(await all_cursors(subscriber, log.head)) == log.head


async def test_one_who_wants_little_is_not_behind_for_that(log):
    """A queue that overflows makes it read again from where it was, not from what it last got."""
    subscriber = log.subscribe()
    subscriber.types.subscribe(["message.*"])
    log.happen(limits.FEED_LAG_MAX + 100)
    log.commit(message(log.head + 1, "ada"))
    log.tell(log.events[-1])
    last = log.head
    subscriber.fall_behind()
    log.pages = 0
    assert await cursors(subscriber) == [last]
    assert log.pages == 1


async def test_a_subscriber_whose_socket_is_stuck_is_too_slow(log, autojump_clock):
    subscriber = log.subscribe()
    log.happen()
    assert await cursors(subscriber) == [1]
    await trio.sleep(limits.FEED_STUCK_MS / 1000 + 1)
    log.happen(limits.FEED_QUEUE_LEN_MAX + 1)
    assert len(subscriber._queue) == 0, "nothing is kept for it any more"
    with pytest.raises(TooSlow) as caught:
        await subscriber.next()
    assert caught.value.cursor == 1


async def test_one_that_waits_long_for_events_is_not_stuck(log, autojump_clock):
    subscriber = log.subscribe()
    log.happen()
    assert await cursors(subscriber) == [1]
    with trio.move_on_after(100):
        await subscriber.next()
    log.happen(limits.FEED_QUEUE_LEN_MAX + 1)
    assert (await cursors(subscriber))[0] == 2


async def test_a_backlog_that_cannot_be_read_is_said_and_loses_nothing(log):
    log.happen(2)
    subscriber = log.subscribe(after=0)
    log.broken = True
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            await subscriber.next()
    log.broken = False
    assert await cursors(subscriber) == [1, 2]


# -- Ends


async def test_stopping_ends_those_that_wait_and_those_that_come(log):
    told: list[int] = []

    async def wait() -> None:
        with pytest.raises(FeedEnded) as caught:
            await log.subscribe().next()
        told.append(caught.value.cursor)

    log.happen(4)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        log.feeds.stop()
    assert told == [4]
    with pytest.raises(FeedEnded):
        await log.subscribe(after=0).next()


async def test_closing_twice_leaves_others_alone(log):
    first = log.subscribe()
    first.close()
    second = log.subscribe()
    first.close()
    assert log.feeds.subscribers() == 1
    log.happen()
    assert await cursors(second) == [1]
    second.close()
    assert log.feeds.subscribers() == 0
    log.happen()


# -- Filters


@pytest.mark.parametrize(
    ("said", "passes", "drops"),
    [
        ([], ["a.b", "c.d"], []),
        (["+a.b"], ["a.b"], ["a.c", "c.d"]),
        (["+a.*"], ["a.b", "a.c"], ["c.d"]),
        (["+a.b", "+c.*"], ["a.b", "c.d"], ["a.c"]),
        (["-a.b"], ["a.c", "c.d"], ["a.b"]),
        (["-a.*"], ["c.d"], ["a.b", "a.c"]),
        (["-a.*", "+a.b"], ["a.b", "c.d"], ["a.c"]),
        (["+a.*", "-a.b"], ["a.c"], ["a.b", "c.d"]),
        (["+a.b", "-a.*"], [], ["a.b", "a.c", "c.d"]),
        (["+a.b", "+"], ["a.b", "c.d"], []),
        (["-"], [], ["a.b", "c.d"]),
        (["-", "+a.b"], ["a.b"], ["c.d"]),
        (["-a.b", "+a.b"], ["a.b", "c.d"], []),
    ],
)
def test_filters(said, passes, drops):
    wanted = TypeFilter()
    for word in said:
        types = [word[1:]] if word[1:] else []
        (wanted.subscribe if word[0] == "+" else wanted.unsubscribe)(types)
    assert [name for name in (*passes, *drops) if wanted.passes(name)] == passes


async def test_a_filter_holds_from_the_position_that_is_told(log, autojump_clock):
    subscriber = log.subscribe()
    log.happen(2)
    subscriber.types.unsubscribe([])
    assert subscriber.position == 2
    assert await nothing(subscriber), "what waited is not wanted any more either"
    log.happen()
    subscriber.types.subscribe([])
    position = subscriber.position
    log.happen()
    assert await cursors(subscriber) == [position + 1]


# -- By chance


@pytest.mark.parametrize("seed", range(20))
async def test_no_gap_and_no_duplicate_whatever_happens(seed, autojump_clock):
    """Commits, words that come late or never, slow readers, cancellations, resumptions."""
    chance = random.Random(seed)
    log = Log()
    subscriber = log.subscribe(after=0)
    found: list[int] = []
    untold: list[Event] = []
    for _ in range(400):
        act = chance.random()
        if act < 0.35:
            event = released(log.head + 1)
            log.commit(event)
            untold.append(event)
        elif act < 0.55:
            if untold and chance.random() < 0.9:
                log.tell(*untold)
            untold = []
        elif act < 0.6:
            subscriber.fall_behind()
        elif act < 0.65:
            after = found[-1] if found else 0
            subscriber.close()
            subscriber = log.subscribe(after=after)
        else:
            with trio.move_on_after(chance.choice((0, 1))):
                found += await cursors(subscriber)
    log.happen()
    # What is lost never comes, so that waiting for it has to end.
    with trio.move_on_after(END_S):
        while found[-1:] != [log.head]:
            found += await cursors(subscriber)
    assert found == list(range(1, log.head + 1))
