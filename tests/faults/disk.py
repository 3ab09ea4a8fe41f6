"""A disk that fails when it is told to: an APSW VFS over the default one.

The product opens its files on SQLite's default VFS, so the seam is `apsw.set_default_vfs`: for as
long as a `Disk` is in use, whatever is opened is on it. No product code knows of this.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import apsw

_NAME = "intermute-faulty"


class Disk(apsw.VFS):
    """The default VFS, whose n-th change of a file can be made to fail.

    Attributes:
        steps: Writes, syncs and truncations since it was armed.
        failed: How many of them failed.
    """

    def __init__(self, below: str) -> None:
        self.below = below
        self.steps = 0
        self.failed = 0
        self._fail_at: int | None = None
        self._for_good = False
        self._error: type[apsw.Error] = apsw.IOError
        self._only: frozenset[str] = frozenset()
        super().__init__(_NAME, below)

    def arm(
        self,
        fail_at: int,
        *,
        for_good: bool = False,
        error: type[apsw.Error] = apsw.IOError,
        only: tuple[str, ...] = ("write", "sync", "truncate"),
    ) -> None:
        """Fail the `fail_at`-th step from now (from 1), and each later one if `for_good`."""
        self.steps = self.failed = 0
        self._fail_at, self._for_good, self._error = fail_at, for_good, error
        self._only = frozenset(only)

    def disarm(self) -> None:
        self._fail_at = None

    def step(self, kind: str) -> None:
        if self._fail_at is None or kind not in self._only:
            return
        self.steps += 1
        due = self.steps >= self._fail_at if self._for_good else self.steps == self._fail_at
        if due:
            self.failed += 1
            raise self._error(f"step {self.steps}, {kind}, fails by order of a test")

    def excepthook(self, *_: Any) -> None:
        """SQLite passes over some failures (a truncation, a checkpoint) and so does this."""

    def xOpen(self, name: Any, flags: list[int]) -> "File":
        return File(self, name, flags)


class File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        super().__init__(disk.below, name, flags)

    def excepthook(self, *_: Any) -> None:
        """As above."""

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.step("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self._disk.step("sync")
        super().xSync(flags)

    def xTruncate(self, size: int) -> None:
        self._disk.step("truncate")
        super().xTruncate(size)


@contextmanager
def faulty_disk() -> Iterator[Disk]:
    """Whatever is opened inside is on a `Disk`. All of it must be closed before this ends."""
    before = apsw.vfs_names()[0]
    disk = Disk(before)
    apsw.set_default_vfs(_NAME)
    try:
        yield disk
    finally:
        apsw.set_default_vfs(before)
        disk.unregister()
