"""A disk that fails when it is told to, at a step and in a way: an APSW VFS over the default one.

The product opens its files on SQLite's default VFS, so the seam is `apsw.set_default_vfs`: for as
long as a `Disk` is in use, whatever is opened is on it. No product code knows of this.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, TypeVar

import apsw

_NAME = "intermute-faulty"
CHANGES = ("write", "sync", "truncate")
LOOKS = ("open", "read", "size", "lock", "access")
T = TypeVar("T")


class How(StrEnum):
    """What a step that fails has done all the same.

    `PART` of a write is its first half. A write that is `UNSAID` is done by half and says that it
    is whole; the next sync of the file is what fails. A read is done or not: SQLite takes one that
    is short for the end of the file, so short ones belong below it (`system_calls`).
    """

    BEFORE = "nothing"
    PART = "a part"
    AFTER = "all of it"
    UNSAID = "a part, unsaid"


class Disk(apsw.VFS):
    """The default VFS, whose n-th step can be made to fail.

    A step is anything that SQLite asks of a file: to `write`, `sync` or `truncate` it, which are
    the changes, to `open`, `read` or `lock` it, its `size`, whether there is one (`access`), and to
    `delete` it.

    Attributes:
        steps: Steps since it was armed, of the kinds that it was armed for.
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
        self._where = ""
        self.how = How.BEFORE
        super().__init__(_NAME, below)

    def arm(
        self,
        fail_at: int,
        *,
        for_good: bool = False,
        error: type[apsw.Error] = apsw.IOError,
        only: tuple[str, ...] = CHANGES,
        how: How = How.BEFORE,
        where: str = "",
    ) -> None:
        """Fail the `fail_at`-th step from now (from 1), and each later one if `for_good`.

        Only steps of files with `where` in their names count.
        """
        self.steps = self.failed = 0
        self._where = where
        self._fail_at, self._for_good, self._error = fail_at, for_good, error
        self._only, self.how = frozenset(only), how

    def disarm(self) -> None:
        self._fail_at = None

    def due(self, kind: str, name: str) -> bool:
        """Count a step; whether it is one that fails."""
        if self._fail_at is None or kind not in self._only or self._where not in name:
            return False
        self.steps += 1
        due = self.steps >= self._fail_at if self._for_good else self.steps == self._fail_at
        self.failed += due
        return due

    def error(self, kind: str) -> apsw.Error:
        return self._error(f"step {self.steps}, {kind}, fails by order of a test")

    def step(self, kind: str, name: str, act: Callable[[], T]) -> T:
        """A step that is done or not, and cannot be done in part."""
        if not self.due(kind, name):
            return act()
        if self.how is not How.BEFORE:
            act()
        raise self.error(kind)

    def excepthook(self, *_: Any) -> None:
        """SQLite passes over some failures (a truncation, a checkpoint) and so does this."""

    def xOpen(self, name: Any, flags: list[int]) -> "File":
        path = name if isinstance(name, str) else name.filename()
        if self.due("open", path):
            raise self.error("open")
        return File(self, name, flags, path)

    def xSleep(self, us: int) -> int:
        """SQLite waits a little between attempts at some locks; here no time passes."""
        return us

    def xDelete(self, name: str, sync_folder: bool) -> None:
        self.step("delete", name, lambda: super(Disk, self).xDelete(name, sync_folder))

    def xAccess(self, name: str, flags: int) -> bool:
        return self.step("access", name, lambda: super(Disk, self).xAccess(name, flags))


class File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int], path: str) -> None:
        self._disk = disk
        self._path = path
        self._unsaid = False
        super().__init__(disk.below, name, flags)

    def excepthook(self, *_: Any) -> None:
        """As above."""

    def xRead(self, amount: int, offset: int) -> bytes:
        if self._disk.due("read", self._path):
            raise self._disk.error("read")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        if not self._disk.due("write", self._path):
            super().xWrite(data, offset)
            return
        how = self._disk.how
        if how is not How.BEFORE:
            super().xWrite(data if how is How.AFTER else data[: len(data) // 2], offset)
        if how is not How.UNSAID:
            raise self._disk.error("write")
        self._unsaid = True

    def xSync(self, flags: int) -> None:
        self._disk.step("sync", self._path, lambda: super(File, self).xSync(flags))
        if self._unsaid:
            self._unsaid = False
            raise self._disk.error("sync")

    def xTruncate(self, size: int) -> None:
        self._disk.step("truncate", self._path, lambda: super(File, self).xTruncate(size))

    def xFileSize(self) -> int:
        return self._disk.step("size", self._path, super().xFileSize)

    def xLock(self, level: int) -> None:
        self._disk.step("lock", self._path, lambda: super(File, self).xLock(level))


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
