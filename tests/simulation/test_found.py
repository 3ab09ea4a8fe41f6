"""What the simulation has found, in the smallest form in which it happens."""

import shutil

from intermute.domain.commands import SendMessage
from intermute.storage.faults import FAULTS

from ..faults.disk import faulty_disk
from ..faults.lives import later_desk
from ..project.harness import Desk, assert_consistent, quick_folder

READS_MAX = 200


def mail(name):
    return SendMessage(name, "alice", ("bob",), subject=f"{name} of many words")


def test_a_read_that_fails_does_not_spoil_the_index_of_words(tmp_path):
    """Had SQLite failed to read how many words there are, it went on counting from nothing."""
    with quick_folder() as name:
        base, path = tmp_path / "base.sqlite3", tmp_path.__class__(name) / "x.sqlite3"
        desk = Desk(base)
        for n in range(9):
            desk.one(mail(f"m{n}"))
        desk.close()
        for n in range(1, READS_MAX):
            shutil.copy(base, path)
            with faulty_disk() as disk:
                desk = later_desk(path, 30)
                desk.writer._connection.release_memory()
                disk.arm(n, only=("read",))
                try:
                    desk.tell(mail("lost"))
                    failed = disk.failed
                    disk.disarm()
                    desk.one(mail("later"))
                except FAULTS:
                    failed = disk.failed
                    disk.disarm()
                desk.close()
            assert_consistent(path, path.with_name("scratch.sqlite3"))
            if not failed:
                return
    raise AssertionError("the script never ends")
