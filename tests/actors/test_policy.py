"""Backoff, the restart window and the memory of failures, without a clock."""

import pytest

from actors import ActorStopped, RestartPolicy
from actors.policy import Failure, FailureMemory, RestartWindow

POLICY = RestartPolicy(restarts_max=2, window_s=10.0, backoff_initial_s=0.5, backoff_max_s=3.0)


@pytest.mark.parametrize(
    ("failures", "wait_s"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 3.0), (5, 3.0), (10_000, 3.0)]
)
def test_the_wait_doubles_up_to_its_bound(failures, wait_s):
    assert POLICY.backoff_s(failures) == wait_s


@pytest.mark.parametrize("name", ["restarts_max", "window_s", "backoff_initial_s", "backoff_max_s"])
def test_a_negative_number_is_refused(name):
    with pytest.raises(ValueError, match=name):
        RestartPolicy(**{name: -1})


def test_one_failure_too_many_within_the_window_ends_it():
    window = RestartWindow(POLICY)
    assert [window.record(at_s) for at_s in (0.0, 1.0, 2.0)] == [0.5, 1.0, None]


def test_failures_that_left_the_window_do_not_count():
    window = RestartWindow(POLICY)
    assert window.record(0.0) == 0.5
    assert window.record(9.0) == 1.0
    assert window.record(10.0) == 1.0
    assert window.record(30.0) == 0.5


def test_looking_ahead_counts_nothing():
    window = RestartWindow(POLICY)
    assert [window.next_delay_s(0.0) for _ in range(4)] == [0.5] * 4


def test_no_restarts_at_all():
    window = RestartWindow(RestartPolicy(restarts_max=0))
    assert window.record(0.0) is None


def test_a_fresh_failure_refuses_and_an_old_one_only_counts():
    memory = FailureMemory(4)
    assert memory.check("a", 0.0) == 0
    memory.record("a", Failure("broken", 3, 2.0), 10.0)
    with pytest.raises(ActorStopped, match="broken") as caught:
        memory.check("a", 11.5)
    assert caught.value.retry_after_s == 0.5
    assert memory.check("a", 12.0) == 3
    memory.forget("a")
    memory.forget("a")
    assert memory.check("a", 12.0) == 0


def test_the_memory_is_bounded_and_forgets_the_oldest_record():
    memory = FailureMemory(2)
    failure = Failure("broken", 1, 2.0)
    for key in ("a", "b", "a", "c"):
        memory.record(key, failure, 0.0)
    assert len(memory) == 2
    assert [memory.check(key, 9.0) for key in ("a", "b", "c")] == [1, 0, 1]
