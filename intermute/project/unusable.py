"""Projects whose files could not be opened, as long as that is so."""

from collections import OrderedDict
from collections.abc import Callable

import attrs

from intermute.domain import limits
from intermute.project.messages import ProjectUnusable, StorageUnavailable
from intermute.storage import faults


@attrs.frozen
class _Entry:
    """Why, and until when it is believed without a look at the file."""

    error: ProjectUnusable
    until_us: int


class UnusableFiles:
    """Which files could not be opened when somebody last asked for them.

    A file may have been refused for something that has passed: no descriptors left, a full disk. So
    when nobody has met such a fault again for a while, the file is looked at, and forgotten here if
    it can be read. One that cannot stays, and is looked at again after as long; one that was
    refused for what it holds stays until it has been opened.

    Args:
        can_read: Whether the file of the project with a tag can be read.
    """

    def __init__(self, can_read: Callable[[str], bool]) -> None:
        self._can_read = can_read
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, tag: str, error: ProjectUnusable, mono_us: int) -> None:
        """The file could not be opened. Beyond the bound, those of longest ago are forgotten."""
        self._entries[tag] = _Entry(error, mono_us + limits.UNUSABLE_BELIEVED_MS * 1000)
        self._entries.move_to_end(tag)
        if len(self._entries) > limits.UNUSABLE_MAX:
            self._entries.popitem(last=False)

    def forget(self, tag: str) -> None:
        """The file was opened."""
        self._entries.pop(tag, None)

    def reasons(self, mono_us: int) -> dict[str, str]:
        """Why each file cannot be used, by tag."""
        for tag, entry in tuple(self._entries.items()):
            if entry.until_us <= mono_us and not entry.error.lasts:
                if self._can_read(tag):
                    del self._entries[tag]
                else:
                    self.add(tag, entry.error, mono_us)
        return {tag: str(entry.error) for tag, entry in self._entries.items()}


def unusable(error: Exception) -> ProjectUnusable:
    """What an error at the opening of a file means for its project."""
    if isinstance(error, faults.FAULTS):
        kind = faults.describe(error).kind
        return ProjectUnusable(kind, lasts=kind == "corrupt")
    if isinstance(error, StorageUnavailable):
        return ProjectUnusable(str(error))
    if isinstance(error, OSError):
        return ProjectUnusable(error.strerror or "the file system refuses")
    return ProjectUnusable(str(error), lasts=True)
