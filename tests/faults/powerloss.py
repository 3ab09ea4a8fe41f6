"""A disk that forgets: what may be left of files when the power fails at any moment.

A `Recorder` is an APSW VFS over the default one that writes down whatever SQLite does to files. A
`Platter` goes through the record and knows what a disk must keep, and of all else what it may.

The model is the usual one of file systems (Pillai and others, "All File Systems Are Not Created
Equal", OSDI 2014), without any order that a real one may give on top:

- What was written before a sync of the file has been kept. A later write may be there or not, for
  each sector by itself; sectors have 512 or 4,096 bytes. What was being written to a sector may be
  garbage, and the bytes beside it are as they were (SQLite's "powersafe overwrite").
- The length of a file is kept by itself, like one more sector. What lies between is zero.
- Names, made or deleted, are kept once their folder was synced, which SQLite does when it first
  syncs a new journal or `-wal`.
- A sync that fails forgets (as Linux does: Rebello and others, "Can Applications Recover from fsync
  Failures?", ATC 2020). What it should have kept is seen by everybody and is on no disk, and the
  next sync, which has nothing to do with it, succeeds.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import attrs

_NAME = "intermute-powerloss"
SECTORS = (512, 4096)


@attrs.frozen
class Write:
    name: str
    offset: int
    data: bytes


@attrs.frozen
class Truncate:
    name: str
    size: int


@attrs.frozen
class Sync:
    """`folder`: the names of the folder were synced as well. `failed`: it forgot instead."""

    name: str
    folder: bool = False
    failed: bool = False


@attrs.frozen
class Create:
    name: str


@attrs.frozen
class Delete:
    name: str


Step = Write | Truncate | Sync | Create | Delete


class Recorder(apsw.VFS):
    """Writes down what is done to files, each known by its name without the folder.

    Attributes:
        folder: Only what happens in here counts.
        steps: All of it, in order.
        fail_sync: Says, for the name of a file, whether its sync fails.
    """

    def __init__(self, below: str, folder: Path) -> None:
        self.below = below
        self.folder = folder
        self.steps: list[Step] = []
        self.fail_sync: Callable[[str], bool] = lambda _: False
        super().__init__(_NAME, below)

    def excepthook(self, *_: Any) -> None:
        """SQLite passes over some failures (of a checkpoint) and so does this."""

    def add(self, path: Path, step: Step) -> None:
        if path.parent == self.folder:
            self.steps.append(step)

    def xOpen(self, name: Any, flags: list[int]) -> "File":
        path = Path(name if isinstance(name, str) else name.filename())
        asked, new = flags[0], not path.exists()
        file = File(self, name, flags, path)
        if new:
            self.add(path, Create(path.name))
        # SQLite's own rule for when it syncs the folder as well.
        journals = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL
        file.syncs_folder = bool(asked & apsw.SQLITE_OPEN_CREATE and asked & journals)
        return file

    def xDelete(self, name: str, sync_folder: bool) -> None:
        super().xDelete(name, sync_folder)
        path = Path(name)
        self.add(path, Delete(path.name))
        if sync_folder:
            self.add(path, Sync(path.name, folder=True))


class File(apsw.VFSFile):
    def __init__(self, recorder: Recorder, name: Any, flags: list[int], path: Path) -> None:
        self._recorder = recorder
        self._path = path
        self.syncs_folder = False
        super().__init__(recorder.below, name, flags)

    def excepthook(self, *_: Any) -> None:
        """As above."""

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._recorder.add(self._path, Write(self._path.name, offset, bytes(data)))

    def xTruncate(self, size: int) -> None:
        super().xTruncate(size)
        self._recorder.add(self._path, Truncate(self._path.name, size))

    def xSync(self, flags: int) -> None:
        """The record is what counts as the disk here; a real sync would only take time."""
        name = self._path.name
        failed = self._recorder.fail_sync(name)
        self._recorder.add(self._path, Sync(name, self.syncs_folder and not failed, failed))
        if failed:
            raise apsw.IOError("a sync fails by order of a test")
        self.syncs_folder = False


@contextmanager
def recording(folder: Path) -> Iterator[Recorder]:
    """Whatever is opened inside is recorded. All of it must be closed before this ends."""
    before = apsw.vfs_names()[0]
    recorder = Recorder(before, folder)
    apsw.set_default_vfs(_NAME)
    try:
        yield recorder
    finally:
        apsw.set_default_vfs(before)
        recorder.unregister()


@attrs.define(eq=False)
class Content:
    """One file's bytes: those that the disk keeps for certain, and what was done since."""

    kept: bytearray = attrs.field(factory=bytearray)
    since: list[Write | Truncate] = attrs.field(factory=list)

    def sync(self, *, failed: bool) -> None:
        if failed:
            # Lengths are the file system's own business, and outlive what was to be in them.
            size = _size(len(self.kept), self.since)
            self.kept = self.kept[:size].ljust(size, b"\0")
        else:
            for step in self.since:
                _apply(self.kept, step)
        self.since.clear()


@attrs.frozen
class Loss:
    """How a disk loses what it need not keep.

    Attributes:
        kind: `all` of it, `none`, whatever comes `later` than some moment, `torn`: the same, and
            the write of that moment is done in part, or `any`: each sector goes its own way.
        sector: Bytes that are written together or not at all.
        garbage: How often what was being written is nonsense.
        spares: What lies beside it in the sector is left alone.
    """

    kind: str
    sector: int = 4096
    garbage: float = 0.0
    spares: bool = True

    @classmethod
    def draw(cls, dice: random.Random) -> "Loss":
        kind = dice.choice(("all", "none", "later", "torn", "torn", "any", "any", "any"))
        return cls(kind, dice.choice(SECTORS), dice.choice((0.0, 0.2)))


class Platter:
    """What a disk must keep and what it may, after the first so many steps of a record."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._names = {name: Content(bytearray(data)) for name, data in files.items()}
        self._kept_names = dict(self._names)
        # For each name since the last sync of the folder, all that it stood for in between.
        self._between: dict[str, list[Content | None]] = {}

    def step(self, step: Step) -> None:
        if isinstance(step, Create):
            self._rename(step.name, Content())
        elif isinstance(step, Delete):
            self._rename(step.name, None)
        elif isinstance(step, Sync):
            if step.name in self._names:
                self._names[step.name].sync(failed=step.failed)
            if step.folder:
                self._kept_names = dict(self._names)
                self._between.clear()
        else:
            self._names[step.name].since.append(step)

    def _rename(self, name: str, content: Content | None) -> None:
        self._between.setdefault(name, [self._kept_names.get(name)]).append(content)
        if content is None:
            self._names.pop(name, None)
        else:
            self._names[name] = content

    def image(self, loss: Loss, dice: random.Random) -> dict[str, bytes]:
        """The files that are left, one way it can go."""
        names: dict[str, Content | None] = dict(self._kept_names)
        for name, between in self._between.items():
            names[name] = self._outcome(between, loss, dice)
        return {
            name: _left_of(content, loss, dice)
            for name, content in names.items()
            if content is not None
        }

    def _outcome(
        self, between: list[Content | None], loss: Loss, dice: random.Random
    ) -> Content | None:
        if loss.kind == "all":
            return between[0]
        return between[-1] if loss.kind == "none" else dice.choice(between)


def _left_of(content: Content, loss: Loss, dice: random.Random) -> bytes:
    since = content.since
    left = bytearray(content.kept)
    if loss.kind == "all" or not since:
        return bytes(left)
    if loss.kind == "any":
        return _any_of(left, since, loss, dice)
    done = len(since) if loss.kind == "none" else dice.randrange(len(since) + 1)
    for step in since[:done]:
        _apply(left, step)
    if loss.kind == "torn" and done < len(since):
        torn = since[done]
        if isinstance(torn, Write):
            _tear(left, torn, loss, dice)
    return bytes(left)


def _tear(left: bytearray, torn: Write, loss: Loss, dice: random.Random) -> None:
    """The first sectors of a write are there, and what comes after may be nonsense."""
    pieces = list(_pieces(torn, loss.sector))
    done = dice.randrange(len(pieces))
    for piece in pieces[:done]:
        _apply(left, piece)
    if dice.random() < loss.garbage:
        _apply(left, _nonsense(pieces[done], loss, dice))


def _any_of(
    left: bytearray, since: list[Write | Truncate], loss: Loss, dice: random.Random
) -> bytes:
    """Each sector stopped at a moment of its own, and so did the length."""
    end = len(since)
    length_stop = dice.randrange(end + 1)
    size = _size(len(left), since[:length_stop])
    stops: dict[int, int] = {}
    spoilt: list[Write] = []
    for moment, step in enumerate(since):
        if isinstance(step, Truncate):
            if moment < length_stop:
                del left[step.size :]
            continue
        for piece in _pieces(step, loss.sector):
            stop = stops.setdefault(piece.offset // loss.sector, dice.randrange(end + 1))
            if moment < stop:
                _apply(left, piece)
            elif moment == stop and dice.random() < loss.garbage:
                spoilt.append(_nonsense(piece, loss, dice))
    for piece in spoilt:
        _apply(left, piece)
    return bytes(left[:size].ljust(size, b"\0"))


def _pieces(step: Write, sector: int) -> Iterator[Write]:
    """A write, cut at the borders of sectors."""
    at, end = step.offset, step.offset + len(step.data)
    while at < end:
        stop = min(end, (at // sector + 1) * sector)
        yield Write(step.name, at, step.data[at - step.offset : stop - step.offset])
        at = stop


def _nonsense(piece: Write, loss: Loss, dice: random.Random) -> Write:
    if loss.spares:
        return Write(piece.name, piece.offset, dice.randbytes(len(piece.data)))
    start = piece.offset // loss.sector * loss.sector
    return Write(piece.name, start, dice.randbytes(loss.sector))


def _apply(content: bytearray, step: Write | Truncate) -> None:
    if isinstance(step, Truncate):
        del content[step.size :]
        content.extend(bytes(step.size - len(content)))
        return
    if len(content) < step.offset:
        content.extend(bytes(step.offset - len(content)))
    content[step.offset : step.offset + len(step.data)] = step.data


def _size(size: int, steps: list[Write | Truncate]) -> int:
    for step in steps:
        if isinstance(step, Truncate):
            size = step.size
        else:
            size = max(size, step.offset + len(step.data))
    return size
