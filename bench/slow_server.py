"""The `intermute` command with one project on a slow disk: `python -m bench.slow_server serve ...`.

Each sync of a file of the project `slow` takes 50 ms, as on a disk that turns or a full network
volume. The process really sleeps: inside the event loop where the commit runs there.
"""

import time
from typing import Any

import apsw

from intermute.cli.main import main
from intermute.storage.files import project_tag

SLOW = "slow"
SYNC_S = 0.05
_NAME = "bench-slow"


class _Disk(apsw.VFS):
    def __init__(self, below: str) -> None:
        self.below = below
        self.slow = project_tag(SLOW)
        super().__init__(_NAME, below)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        path = name if isinstance(name, str) else name.filename()
        kind = _SlowFile if self.slow in path else apsw.VFSFile
        return kind(self.below, name, flags)


class _SlowFile(apsw.VFSFile):
    def xSync(self, flags: int) -> None:
        time.sleep(SYNC_S)
        super().xSync(flags)


if __name__ == "__main__":
    disk = _Disk(apsw.vfs_names()[0])
    apsw.set_default_vfs(_NAME)
    main()
