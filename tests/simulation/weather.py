"""The disk of a simulated machine: it fails, it is slow, and it keeps what a crash leaves."""

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import attrs

_CRASH_KEEPS = (".sqlite3", ".sqlite3-wal")
_NAME = "intermute-simulated"
# How much of a change that fails is done all the same.
_NOTHING, _PART, _ALL = 0, 1, 2


@attrs.frozen
class DiskConditions:
    """How good the disk is. Probabilities are for one step: a write, a sync, a truncation, a read.

    Attributes:
        fault_p: A step fails.
        burst_p: A step fails, and so do those that follow it for `burst_s`.
        slow_p: A sync takes up to `slow_s`, during which nothing else in the process runs.
    """

    fault_p: float = 0.0
    burst_p: float = 0.0
    burst_s: float = 20.0
    slow_p: float = 0.0
    slow_s: float = 0.5


class SimulatedDisk(apsw.VFS):
    """Faults by chance rather than by count, and a crash in the middle of a step.

    Attributes:
        calm: Nothing fails, because it is a test that looks.
        dead: The process that had it open is gone; whatever it still tries fails.
        crash_in: After how many changes the process crashes, None for never.
        failed: How many steps have failed.
        failed_at_s: When the last one did.
    """

    def __init__(
        self,
        below: str,
        dice: random.Random,
        conditions: DiskConditions,
        *,
        now_s: Callable[[], float],
        block: Callable[[float], object],
    ) -> None:
        self._dice = dice
        self.conditions = conditions
        self._now_s = now_s
        self._block = block
        self._bad_until_s = 0.0
        self.below = below
        self.failed = 0
        self.failed_at_s = float("-inf")
        self.calm = False
        self.dead = False
        self.crash_in: int | None = None
        self.on_crash: Callable[[], object] = lambda: None
        super().__init__(_NAME, below)

    def read(self, act: Callable[[], bytes]) -> bytes:
        if not self.calm and (self.dead or self._befalls("read")):
            raise self._error("read")
        return act()

    def change(self, kind: str, *acts: Callable[[], object]) -> None:
        """A change of a file: part of it, then all of it. It may be the last of the process."""
        if self.calm:
            acts[-1]()
            return
        if not self.dead and self.crash_in is not None:
            self.crash_in -= 1
            if self.crash_in <= 0:
                self.on_crash()
        if self.dead:
            raise self._error(kind)
        if not self._befalls(kind):
            acts[-1]()
            return
        done = self._dice.choice((_NOTHING, _PART, _ALL))
        if done != _NOTHING:
            acts[0 if done == _PART else -1]()
        raise self._error(kind)

    def _error(self, kind: str) -> apsw.Error:
        full = kind == "write" and self._dice.random() < 0.3
        return (apsw.FullError if full else apsw.IOError)(f"{kind} fails by order of a test")

    def _befalls(self, kind: str) -> bool:
        dice, conditions, now_s = self._dice, self.conditions, self._now_s()
        if kind == "sync" and dice.random() < conditions.slow_p:
            self._block(dice.uniform(0, conditions.slow_s))
        thrown = dice.random()
        if thrown < conditions.burst_p:
            self._bad_until_s = now_s + dice.uniform(0, conditions.burst_s)
        fails = now_s < self._bad_until_s or thrown < conditions.burst_p + conditions.fault_p
        if fails:
            self.failed += 1
            self.failed_at_s = now_s
        return fails

    def excepthook(self, *_: Any) -> None:
        """SQLite passes over some failures (a truncation, a checkpoint) and so does this."""

    def xOpen(self, name: Any, flags: list[int]) -> "SimulatedFile":
        return SimulatedFile(self, name, flags)


class SimulatedFile(apsw.VFSFile):
    def __init__(self, disk: SimulatedDisk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        super().__init__(disk.below, name, flags)

    def excepthook(self, *_: Any) -> None:
        """As above."""

    def xRead(self, amount: int, offset: int) -> bytes:
        return self._disk.read(lambda: super(SimulatedFile, self).xRead(amount, offset))

    def xWrite(self, data: bytes, offset: int) -> None:
        write = super().xWrite
        part = data[: len(data) // 2]
        self._disk.change("write", lambda: write(part, offset), lambda: write(data, offset))

    def xSync(self, flags: int) -> None:
        sync = super().xSync
        self._disk.change("sync", lambda: sync(flags))

    def xTruncate(self, size: int) -> None:
        truncate = super().xTruncate
        self._disk.change("truncate", lambda: truncate(size))

    def xLock(self, level: int) -> None:
        """The last reader of a file tries to lock it as only a writer can, and SQLite passes over
        that it cannot. Below Python it has to be told so with another error."""
        try:
            super().xLock(level)
        except apsw.IOError as error:
            raise apsw.BusyError("read only") from error


@contextmanager
def simulated_disk(*args: Any, **kwargs: Any) -> Iterator[SimulatedDisk]:
    """Whatever is opened inside is on a `SimulatedDisk`. All must be closed before this ends."""
    before = apsw.vfs_names()[0]
    disk = SimulatedDisk(before, *args, **kwargs)
    apsw.set_default_vfs(_NAME)
    try:
        yield disk
    finally:
        apsw.set_default_vfs(before)
        disk.unregister()


def leave_behind(folder: Path, other: Path) -> None:
    """What a process that ends at this moment leaves in its folder, put into another one."""
    other.mkdir(mode=0o700)
    for path in sorted(folder.iterdir()):
        if path.name.endswith(_CRASH_KEEPS):
            shutil.copy(path, other / path.name)
