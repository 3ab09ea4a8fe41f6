"""How much a test does: enough for each change, or all that a long run has time for."""

import os

# `make proof` sets it.
LONG = os.environ.get("INTERMUTE_PROOF") == "1"


def effort(each_change: int, long_run: int) -> int:
    """The count that fits this run."""
    return long_run if LONG else each_change
