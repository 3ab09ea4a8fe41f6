"""Fixed windows: so many times, then none until the window is over."""

from hypothesis import given
from hypothesis import strategies as st

from intermute.domain.rates import RateWindows

WINDOW = 60


def windows(most: int = 2) -> RateWindows:
    return RateWindows(most=most, window_us=WINDOW)


def test_so_many_times_are_allowed_in_a_window():
    rates = windows()
    for at in (100, 130):
        assert rates.wait_us("a", at) == 0
        rates.count("a", at)
    assert rates.wait_us("a", 130) == 30
    assert rates.wait_us("a", 159) == 1
    assert rates.wait_us("a", 160) == 0


def test_a_window_that_is_over_does_not_count():
    rates = windows()
    rates.count("a", 100)
    rates.count("a", 150)
    rates.count("a", 160)
    assert rates.wait_us("a", 161) == 0
    rates.count("a", 161)
    assert rates.wait_us("a", 161) == 59


def test_keys_have_windows_of_their_own():
    rates = windows(most=1)
    rates.count("a", 100)
    assert rates.wait_us("a", 100) == WINDOW
    assert rates.wait_us("b", 100) == 0


def test_b07_windows_that_are_over_are_forgotten():
    """B7: the counts of an earlier service were kept for ever, by names that anybody could make
    up."""
    rates = windows()
    for number in range(1_000):
        rates.count(f"name {number}", number)
    assert len(rates) == WINDOW
    rates.count("a", 5_000)
    assert len(rates) == 1


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40)), max_size=60))
def test_no_window_lets_more_through(steps):
    rates = windows()
    done: dict[str, list[int]] = {"a": [], "b": []}
    now = 0
    for key, later in steps:
        now += later
        if rates.wait_us(key, now) == 0:
            rates.count(key, now)
            done[key].append(now)
    for times in done.values():
        while times:
            inside = [at for at in times if at < times[0] + WINDOW]
            assert len(inside) <= 2
            times = times[len(inside) :]
