"""Below SQLite's own files: the system calls of its Unix VFS, made to fail or to do less.

SQLite asks for these by name and lets them be replaced, which reaches what an APSW VFS cannot: the
locks in the memory that connections share (`-shm`), and reads and writes that are done in part.
"""

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import apsw

_NAME = "intermute-system"
_Control = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p, use_errno=True
)
_Transfer = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t,
    *(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64),
    use_errno=True,
)
_READS = ("read", "pread", "pread64")
_WRITES = ("write", "pwrite", "pwrite64")
_LOCKS = frozenset({fcntl.F_SETLK, fcntl.F_SETLKW})


class System(apsw.VFS):
    """The default VFS, whose n-th system call of a kind can be made to fail.

    Attributes:
        calls: Calls of the armed kind since it was armed.
        failed: How many of them failed, or did less.
    """

    def __init__(self, below: str) -> None:
        super().__init__(_NAME, below)
        self.calls = self.failed = 0
        self._kind: str | None = None
        self._number = 0
        self._fail_at = 0
        self._for_good = False
        self._replaced: dict[str, tuple[int, Any]] = {}
        self._replace("fcntl", _Control, self._control)
        for names, kind in ((_READS, "read"), (_WRITES, "write")):
            for name in names:
                self._replace(name, _Transfer, self._transfer(kind))

    def arm(self, kind: str, fail_at: int, *, number: int = 0, for_good: bool = False) -> None:
        """Fail the `fail_at`-th call from now (from 1), and each later one if `for_good`.

        Args:
            kind: `lock` of the shared memory, `read` or `write`.
            number: What it fails with; 0 for a transfer of one byte at most.
        """
        self.calls = self.failed = 0
        self._kind, self._fail_at, self._number, self._for_good = kind, fail_at, number, for_good

    def disarm(self) -> None:
        self._kind = None

    def xSleep(self, us: int) -> int:
        """SQLite waits a little between attempts at some locks; here no time passes."""
        return us

    def excepthook(self, *_: Any) -> None:
        """Nothing here raises."""

    def restore(self) -> None:
        for name, (pointer, _) in self._replaced.items():
            self.xSetSystemCall(name, pointer)

    def _replace(self, name: str, shape: Any, make: Callable[[Any], Any]) -> None:
        pointer = self.xGetSystemCall(name)
        if pointer:
            instead = shape(make(shape(pointer)))
            self._replaced[name] = (pointer, instead)
            self.xSetSystemCall(name, ctypes.cast(instead, ctypes.c_void_p).value)

    def _due(self, kind: str) -> bool:
        if kind != self._kind:
            return False
        self.calls += 1
        due = self.calls >= self._fail_at if self._for_good else self.calls == self._fail_at
        self.failed += due
        return due

    def _control(self, real: Any) -> Any:
        def control(descriptor: int, operation: int, argument: int) -> int:
            taken = operation in _LOCKS and _is_shared_memory(descriptor)
            if taken and self._due("lock"):
                ctypes.set_errno(self._number or errno.EAGAIN)
                return -1
            return real(descriptor, operation, argument)

        return control

    def _transfer(self, kind: str) -> Callable[[Any], Any]:
        def make(real: Any) -> Any:
            def transfer(descriptor: int, buffer: int, length: int, offset: int) -> int:
                if self._due(kind):
                    if self._number:
                        ctypes.set_errno(self._number)
                        return -1
                    length = min(length, 1)
                return real(descriptor, buffer, length, offset)

            return transfer

        return make


def _is_shared_memory(descriptor: int) -> bool:
    return os.readlink(f"/proc/self/fd/{descriptor}").endswith("-shm")


@contextmanager
def failing_system() -> Iterator[System]:
    """Whatever is opened inside is on such a system. All of it must be closed before this ends."""
    before = apsw.vfs_names()[0]
    system = System(before)
    apsw.set_default_vfs(_NAME)
    try:
        yield system
    finally:
        system.restore()
        apsw.set_default_vfs(before)
        system.unregister()
