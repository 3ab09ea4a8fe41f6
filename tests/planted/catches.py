"""Which test catches which planted bug, and what it says when it does.

The cheapest test is named; others fail as well. What it says is part of the assertion that fails,
so that a test which fails because it could not even run is not taken for one that has caught a bug.
"""

CATCHES = {
    "commit without sync": (
        "project/test_batches.py::test_a_failed_commit_is_never_a_success",
        "isinstance(one, StorageUnavailable) for one in told",
    ),
    "answer before commit": (
        "project/test_batches.py::test_nobody_is_answered_before_the_commit",
        "assert ['answer', 'a...er', 'commit']",
    ),
    "overlap test skipped": (
        "domain/test_reservations.py::test_a_conflict_names_its_holder_and_a_path",
        "assert isinstance(",
    ),
    "token reused": (
        "project/test_tokens.py::test_whoever_takes_the_paths_later_has_a_greater_token",
        "a token was given twice, or did not grow",
    ),
    "event before commit": (
        "project/test_speaking.py::test_a_feed_hears_of_nothing_before_its_commit",
        "what was committed together is told together",
    ),
    "unbounded queue": (
        "actors/test_mailbox.py::test_a_full_mailbox_refuses_and_queues_nothing",
        "DID NOT RAISE Overloaded",
    ),
    "expiry on the wall clock": (
        "project/test_restart.py::test_a_wall_clock_that_jumps_moves_no_deadline",
        "assert left_s(desk, held) == TTL_S - 1",
    ),
    "resume off by one": (
        "project/test_feeds.py::test_the_backlog_then_what_comes",
        "assert [3, 4, 5] == [2, 3, 4]",
    ),
    "retry not remembered": (
        "project/test_idempotency.py::test_the_same_key_gives_the_same_answer",
        "assert outcome(again) == outcome(first)",
    ),
    "waiter lost on cancel": (
        "domain/test_waiting.py::test_whoever_leaves_the_line_lets_the_next_go_on",
        "assert [] == ['t2']",
    ),
}
