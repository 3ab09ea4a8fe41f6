"""Lives of a project that end with a power cut, and what has to be found after each."""

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from unittest.mock import patch

import apsw
import attrs

from intermute.domain.state import State
from intermute.storage import connections
from intermute.storage.faults import FAULTS, StorageError
from intermute.storage.reader import Reader
from intermute.storage.writer import Writer

from ..project.harness import PROJECT, TAG, WALL, Desk, HandClock, S, assert_consistent
from .lives import close
from .mixed import Mix
from .powerloss import Create, Loss, Platter, Recorder, recording

FILE = "x.sqlite3"
# So few that a short life has many checkpoints.
WAL_PAGES = (8, 40)


def digest(connection: apsw.Connection) -> bytes:
    """All that the tables hold: log, projections, marks and remembered answers.

    Left out are the epoch, which rises with each opening, and the index of words, whose rows are
    made when a transaction ends and which is looked at by itself.
    """
    found = blake2b(digest_size=16)
    names = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'message_words%'"
    )
    for (name,) in sorted(names):
        found.update(name.encode())
        for row in connection.execute(f'SELECT * FROM "{name}"'):
            if row[0] != "epoch":
                found.update(repr(row).encode())
    return found.digest()


@attrs.frozen
class Commit:
    """What a transaction was to make of the tables; `at` is the length of the record before it."""

    at: int
    digest: bytes


@attrs.frozen
class Promise:
    """What somebody was told, at a length of the record.

    Attributes:
        commits: How many transactions there had been up to the last that succeeded.
        cursor: The last event that was acknowledged.
    """

    at: int
    commits: int
    cursor: int
    epoch: int


@attrs.define
class Account:
    """All that is known of one life: what it did to files, meant to do, and said.

    Attributes:
        files: What the disk held before.
        sure: How many transactions there were up to the last that succeeded.
    """

    files: dict[str, bytes]
    recorder: Recorder
    commits: list[Commit] = attrs.field(factory=list)
    promises: list[Promise] = attrs.field(factory=list)
    sure: int = 0

    def found(self, connection: apsw.Connection) -> None:
        """A transaction is about to be made, or the tables to be taken over as they are."""
        self.commits.append(Commit(len(self.recorder.steps), digest(connection)))

    def told(self, desk: Desk) -> None:
        """Answers were given: whatever the desk knows was promised."""
        at = len(self.recorder.steps)
        self.promises.append(Promise(at, self.sure, desk.state.cursor, desk.actor.epoch))

    def promised(self, at: int) -> Promise:
        """What had been promised when the record was so long."""
        kept = Promise(0, 0, 0, 0)
        for promise in self.promises:
            if promise.at > at:
                break
            kept = promise
        return kept


@contextmanager
def observed(account: Account) -> Iterator[None]:
    """Have every transaction of the product noted before it is made."""
    commit, take_over = Writer.commit, Writer.take_over

    def noted_commit(writer: Writer) -> None:
        account.found(writer._connection)
        commit(writer)
        account.sure = len(account.commits)

    def noted_take_over(writer: Writer) -> int:
        account.found(writer._connection)
        account.sure = len(account.commits)
        return take_over(writer)

    with (
        patch.object(Writer, "commit", noted_commit),
        patch.object(Writer, "take_over", noted_take_over),
    ):
        yield


class Life:
    """Mixed commands on a recorded disk, with restarts, readers, and kills or syncs that fail.

    Not both in one life: what a killed process had failed to sync, the next one reads and puts into
    the file when it opens it, and a power cut just then is not survived.

    Args:
        folder: Empty; belongs to this life.
        files: What the disk holds at first.
        dice: Decides everything.
        calm: Nothing goes wrong but that the power fails.
    """

    def __init__(
        self, folder: Path, files: dict[str, bytes], dice: random.Random, *, calm: bool = False
    ) -> None:
        self._folder = folder
        self._dice = dice
        self._killed = not calm and dice.random() < 0.5
        self._failing = not calm and not self._killed
        self._places = 0
        self._readers: list[Reader] = []
        self._left: list[Desk] = []
        self._clock = HandClock(at_us=WALL + dice.randrange(10**9) * 10)
        self._files = files

    def live(self, batches: int) -> Account:
        place = self.new_place(self._files)
        with recording(place) as recorder:
            if FILE not in self._files:
                recorder.steps.append(Create(FILE))
            account = Account(self._files, recorder)
            pages = self._dice.choice(WAL_PAGES)
            with observed(account), patch.object(connections, "_WAL_PAGES", pages):
                self._live(account, place / FILE, batches)
            self.end(recorder)
        return account

    def _live(self, account: Account, path: Path, batches: int) -> None:
        desk = self.open(account, path)
        mix = Mix(desk, self._dice, f"{self._clock.at_us}")
        for _ in range(batches):
            chance = self._dice.random()
            if chance < 0.2:
                self._clock.later(self._dice.choice((1, 15, 61, 400)))
            elif chance < 0.25:
                self._end_readers()
                close(desk)
                desk = self.open(account, desk.path)
            elif chance < 0.3 and self._killed:
                desk = self.kill(account, desk)
            elif chance < 0.35:
                self._read(desk.path)
            elif chance < 0.4:
                self._end_readers()
            elif chance < 0.5 and self._failing:
                account.recorder.fail_sync = lambda _: self._dice.random() < 0.5
            mix.turn_to(desk)
            desk.tell(*mix.batch())
            account.recorder.fail_sync = lambda _: False
            account.told(desk)
        self._end_readers()
        close(desk)

    def open(self, account: Account, path: Path) -> Desk:
        self._clock.restart()
        desk = Desk(path, self._clock)
        account.told(desk)
        return desk

    def _read(self, path: Path) -> None:
        """Somebody reads for long, so that checkpoints have to leave something."""
        reader = Reader.open(path)
        assert reader is not None
        reader._connection.execute("BEGIN")
        reader.last_cursor()
        self._readers.append(reader)

    def _end_readers(self) -> None:
        for reader in self._readers:
            reader.close()
        self._readers.clear()

    def kill(self, account: Account, desk: Desk) -> Desk:
        """The process ends between two steps. The system keeps what was written, synced or not.

        A copy of the files is what the next one finds: the first one's connection cannot be closed
        without a trace.
        """
        self._left.append(desk)
        place = self.new_place(
            {each.name: each.read_bytes() for each in desk.path.parent.glob(f"{FILE}*")}
        )
        account.recorder.folder = place
        account.recorder.fail_sync = lambda _: False
        return self.open(account, place / FILE)

    def new_place(self, files: dict[str, bytes]) -> Path:
        self._places += 1
        place = self._folder / f"place{self._places}"
        place.mkdir()
        lay_out(files, place)
        return place

    def end(self, recorder: Recorder) -> None:
        recorder.folder = Path()
        self._end_readers()
        for desk in self._left:
            close(desk)


def lay_out(files: dict[str, bytes], folder: Path) -> None:
    for name, data in files.items():
        if not name.endswith("-shm"):
            (folder / name).write_bytes(data)
            (folder / name).chmod(0o600)
    path = folder / FILE
    path.touch(mode=0o600)


@attrs.frozen
class Recovered:
    """What a file said of itself when it was opened after a power cut."""

    cursor: int
    epoch: int
    digest: bytes


class Judge:
    """Opens what power cuts leave and says what is wrong with it.

    Attributes:
        images: How many were looked at.
    """

    def __init__(self, folder: Path) -> None:
        self._place = folder / "image"
        self._scratch = folder / "scratch.sqlite3"
        self._known: dict[bytes, Recovered] = {}
        self._consistent: set[bytes] = set()
        self.images = 0

    @property
    def different(self) -> int:
        """How many of the images were opened, since no other was the same to the byte."""
        return len(self._known)

    def judge(
        self, account: Account, dice: random.Random, *, cuts: int, each: int, **loss: object
    ) -> dict[str, bytes]:
        """Cut the power at so many moments, and look at so many outcomes of each.

        `loss`: members of `Loss` that are not left to chance. Answers one of the outcomes.

        Raises:
            AssertionError: Something that was acknowledged is not there, or something by half.
        """
        steps = account.recorder.steps
        platter, done = Platter(account.files), 0
        chosen = account.files
        for moment in sorted(dice.randrange(len(steps) + 1) for _ in range(cuts)):
            for step in steps[done:moment]:
                platter.step(step)
            done = moment
            for _ in range(each):
                files = platter.image(attrs.evolve(Loss.draw(dice), **loss), dice)
                self.look(account, moment, files, dice)
                if dice.random() < 2 / cuts:
                    chosen = files
        return chosen

    def look(self, account: Account, at: int, files: dict[str, bytes], dice: random.Random) -> None:
        """Hold one image, of the moment `at`, to what had been promised by then."""
        self.images += 1
        promise = account.promised(at)
        assert FILE in files or not promise.commits, "a promise was made, and there is no file"
        key = _hash(files)
        if key not in self._known:
            self._known[key] = self._recover(files, dice)
        found = self._known[key]
        lost = f"event {promise.cursor} was acknowledged, and is lost"
        assert found.cursor >= promise.cursor, lost
        assert found.epoch >= promise.epoch, "the epoch went back"
        # The first is what was found at the opening, so that is there from the beginning.
        first, *later = account.commits
        begun = [first.digest, *(each.digest for each in later if each.at <= at)]
        may_be = begun[max(0, promise.commits - 1) :]
        as_new = not promise.commits and found.cursor == 0
        assert found.digest in may_be or as_new, "no whole number of transactions leaves this"

    def _recover(self, files: dict[str, bytes], dice: random.Random) -> Recovered:
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir()
        lay_out(files, self._place)
        if dice.random() < 0.5:
            # What another process shared in memory may be left in a file, and means nothing.
            (self._place / f"{FILE}-shm").write_bytes(dice.randbytes(32_768))
        path = self._place / FILE
        try:
            writer = Writer.open(path, project=PROJECT, tag=TAG, at_us=WALL)
        except (*FAULTS, StorageError) as error:
            raise AssertionError(f"it cannot be opened: {error!r}") from error
        try:
            return self._read(writer, path)
        finally:
            writer.close()

    def _read(self, writer: Writer, path: Path) -> Recovered:
        execute = writer._connection.execute
        found = digest(writer._connection)
        if found not in self._consistent:
            assert_consistent(path, self._scratch)
            self._consistent.add(found)
        assert execute("PRAGMA integrity_check").get == "ok"
        execute("INSERT INTO message_words (message_words, rank) VALUES ('integrity-check', 1)")
        state = State(tag=TAG, project=PROJECT, at_us=WALL, mono_us=S)
        writer.load(state)
        epoch = execute("SELECT value FROM meta WHERE name = 'epoch'").get
        return Recovered(state.cursor, epoch, found)


def _hash(files: dict[str, bytes]) -> bytes:
    found = blake2b(digest_size=16)
    for name in sorted(files):
        found.update(name.encode() + len(files[name]).to_bytes(8, "big") + files[name])
    return found.digest()
