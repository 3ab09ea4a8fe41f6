"""What decisions ask of the rows that are not kept in memory.

The answers come from the connection that writes, so they hold what earlier commands of the same
batch have written, and the same commands in the same order get the same answers.
"""

from typing import Protocol


class Archive(Protocol):
    """The rows of one project, as of the last event."""
