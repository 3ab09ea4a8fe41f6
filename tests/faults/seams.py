"""Named points of the product at which a test can have it stop, fail or die.

The product knows nothing of them: a server that a test starts has the functions at its seams
wrapped, in its own process, before it begins. One point is planted at a time, and does what it was
told at its n-th passing: `die` as by kill -9, `raise` an exception that nothing foresees, or
`stall`, which holds the whole process up.
"""

import os
import signal
import time

import apsw

from actors.reply import Reply
from intermute.project import directory, feeds
from intermute.project.actor import ProjectActor
from intermute.storage import connections, migrations, writer

# Said on standard error when a point was passed and did what it was told.
PASSED = b"the seam was passed\n"
STALL_S = 0.05


class Planted(Exception):
    """What a point raises."""


class Seam:
    """A point, and when it is its turn."""

    def __init__(self, act, nth):
        self.act = act
        self.left = nth

    def __call__(self):
        self.left -= 1
        if self.left:
            return
        os.write(2, PASSED)
        if self.act == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.act == "raise":
            raise Planted("by order of a test")
        else:
            time.sleep(STALL_S)


def before(owner, name):
    """A planter of a point right before a call of that function."""

    def plant(seam):
        original = getattr(owner, name)

        def wrapped(*args, **options):
            seam()
            return original(*args, **options)

        setattr(owner, name, wrapped)

    return plant


def after(owner, name):
    """A planter of a point right after such a call has succeeded."""

    def plant(seam):
        original = getattr(owner, name)

        def wrapped(*args, **options):
            found = original(*args, **options)
            seam()
            return found

        setattr(owner, name, wrapped)

    return plant


def _in_the_sweep(seam):
    """While the sweeper's command forgets what is old, which it is asked to do soon and often."""
    as_set = directory.ProjectsSettings.__init__
    original = ProjectActor.sweep

    def settings(self, *args, **options):
        as_set(self, *args, **{"sweep_interval_ms": 10, **options})

    def sweep(actor):
        actor._purge_at_us = 0
        return original(actor)

    directory.ProjectsSettings.__init__ = settings
    ProjectActor.sweep = sweep
    before(ProjectActor, "_purge")(seam)


def _in_a_migration(seam):
    """When a migration has been run and its number is not written yet."""

    class Passing:
        def __init__(self, connection):
            self._connection = connection

        def __getattr__(self, name):
            return getattr(self._connection, name)

        def pragma(self, name, *value):
            if name == "user_version" and value:
                seam()
            return self._connection.pragma(name, *value)

    original = migrations._run
    migrations._run = lambda connection, *args, **options: original(
        Passing(connection), *args, **options
    )


def _on_the_disk(kind, **also):
    """In the middle of the writes to a kind of file, one of which is done by half."""

    def plant(seam):
        for name, value in also.items():
            setattr(connections, name, value)
        below = apsw.vfs_names()[0]

        class File(apsw.VFSFile):
            def __init__(self, name, flags):
                super().__init__(below, name, flags)
                self._watched = bool(flags[0] & kind)

            def xWrite(self, data, offset):
                if self._watched:
                    super().xWrite(data[: len(data) // 2], offset)
                    seam()
                super().xWrite(data, offset)

        class Disk(apsw.VFS):
            def __init__(self):
                super().__init__("intermute-seams", below)

            def xOpen(self, name, flags):
                return File(name, flags)

            def excepthook(self, *_):
                """SQLite passes over some failures, and so does this."""

        # It is used for as long as the process lives.
        _kept.append(Disk())
        apsw.set_default_vfs("intermute-seams")

    return plant


_kept = []
SEAMS = {
    "while a file is taken over": before(writer.Writer, "take_over"),
    "before the leases are resumed": before(ProjectActor, "start"),
    "in a migration": _in_a_migration,
    "before begin": before(writer.Writer, "begin"),
    "after begin": after(writer.Writer, "begin"),
    "between two events": after(writer.Writer, "append"),
    "before an answer is remembered": before(writer.Writer, "remember"),
    "before commit": before(writer.Writer, "commit"),
    "after commit": after(writer.Writer, "commit"),
    "before fan-out": before(feeds.Feeds, "publish"),
    "after fan-out": after(feeds.Feeds, "publish"),
    "before an answer": before(Reply, "resolve"),
    "after an answer": after(Reply, "resolve"),
    "in the sweep": _in_the_sweep,
    "in a write of the log": _on_the_disk(apsw.SQLITE_OPEN_WAL),
    "in a checkpoint": _on_the_disk(apsw.SQLITE_OPEN_MAIN_DB, _WAL_PAGES=20),
    "before a file is closed": before(writer.Writer, "close"),
}


def plant(name, act, *, nth):
    """Plant the point in this process.

    Args:
        act: `die`, `raise` or `stall`.
        nth: The passing at which it does so, from 1.
    """
    SEAMS[name](Seam(act, nth))
