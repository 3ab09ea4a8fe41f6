"""When what connections left behind is collected: often enough, and never all the time."""

import pytest

from intermute.web import collector
from intermute.web.collector import Collector


class Garbage:
    """Counts collections, each of which takes a second of a clock that stands still otherwise."""

    def __init__(self) -> None:
        self.at_s = 100.0
        self.collected = 0

    def collect(self) -> None:
        self.collected += 1
        self.at_s += 1

    def perf_counter(self) -> float:
        return self.at_s


@pytest.fixture
def garbage(monkeypatch: pytest.MonkeyPatch) -> Garbage:
    found = Garbage()
    monkeypatch.setattr(collector, "gc", found)
    monkeypatch.setattr(collector, "time", found)
    return found


def end(connections: Collector, count: int, *, live: int) -> None:
    for _ in range(count):
        connections.connection_ended(live)


def test_a_crowd_that_goes_is_collected(garbage: Garbage):
    connections = Collector()
    end(connections, 999, live=0)
    assert garbage.collected == 0
    end(connections, 1, live=0)
    assert garbage.collected == 1


def test_as_many_have_to_go_as_stay(garbage: Garbage):
    connections = Collector()
    end(connections, 4_999, live=5_000)
    assert garbage.collected == 0
    end(connections, 1, live=5_000)
    assert garbage.collected == 1


def test_a_collection_that_took_long_is_followed_by_a_long_rest(garbage: Garbage):
    connections = Collector()
    end(connections, 100_000, live=0)
    assert garbage.collected == 1
    garbage.at_s += 9
    end(connections, 1, live=0)
    assert garbage.collected == 2, "and then by what was due meanwhile"
