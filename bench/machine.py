"""What the figures were measured on: the machine, the versions, the commit, the file system."""

import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

import apsw

ROOT = Path(__file__).resolve().parents[1]

End = tuple[str, int]
"""An end of a TCP connection: its IP address and its port."""

_IPV4_LEN = 4

_PACKAGES = (
    "intermute",
    "trio",
    "trio-websocket",
    "quart-trio",
    "quart",
    "hypercorn",
    "h11",
    "wsproto",
    "apsw",
    "msgspec",
)
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})


def facts(scratch: Path) -> dict[str, Any]:
    """Everything about the surroundings that bears on a figure."""
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "cpu_model": _cpu_model(),
        "load_average": os.getloadavg()[0],
        "loop_ns": _loop_ns(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "file_system": file_system(scratch),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": apsw.sqlite_lib_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
    }


def line(found: dict[str, Any]) -> str:
    """The most telling of the facts, for a terminal."""
    return (
        f"{found['cpus']} processors, load {found['load_average']:.1f}, "
        f"an empty loop takes {found['loop_ns']:.0f} ns a turn, {found['python']}, "
        f"SQLite {found['sqlite']}, {found['file_system']}"
    )


def file_system(path: Path) -> str:
    """The kind of file system that a path is on, empty where the system does not say."""
    best, kind = "", ""
    try:
        text = Path("/proc/self/mountinfo").read_text()
    except OSError:
        return kind
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        mounted = before.split()[4]
        inside = path.is_relative_to(mounted)
        if inside and len(mounted) >= len(best):
            best, kind = mounted, after.split()[0]
    return kind


def schedule(pid: int) -> tuple[float, float] | None:
    """Seconds that a process ran, and that it was ready and had no processor; None if unknown."""
    ran_ns = waited_ns = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            ran, waited, _ = (task / "schedstat").read_text().split()
            ran_ns += int(ran)
            waited_ns += int(waited)
    except (OSError, ValueError):
        return None
    return ran_ns / 1e9, waited_ns / 1e9


def rss_bytes(pid: int) -> int:
    """What a process holds in memory now."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None, "every process has a resident set"
    return int(found[1]) * 1024


def is_connected(end: End, peer: End) -> bool:
    """Whether the owner of an end of a connection, a process of this machine, still has it.

    A connection that was closed with something left to send stays with the kernel for a while.
    """
    for table, is_wide in (("tcp", False), ("tcp6", True)):
        with suppress(FileNotFoundError):
            # Local address, remote address, state; established is 01.
            wanted = [_kernels(end, wide=is_wide), _kernels(peer, wide=is_wide), "01"]
            lines = Path(f"/proc/net/{table}").read_text().splitlines()
            if any(line.split()[1:4] == wanted for line in lines[1:]):
                return True
    return False


def _kernels(end: End, *, wide: bool) -> str:
    """An end as the kernel lists it: its address in words of the machine's byte order, its port.

    Args:
        wide: In the list of IPv6, in which an address of IPv4 is there as one of IPv6.
    """
    address = ip_address(end[0].partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    packed = address.packed
    if wide and len(packed) == _IPV4_LEN:
        packed = b"\0" * 10 + b"\xff\xff" + packed
    words = (packed[at : at + _IPV4_LEN] for at in range(0, len(packed), _IPV4_LEN))
    listed = "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
    return f"{listed}:{end[1]:04X}"


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A directory of our own on a real disk, gone at the end.

    Raises:
        RuntimeError: Every candidate is held in memory, where a commit costs nothing.
    """
    for candidate in (Path(tempfile.gettempdir()), Path("/var/tmp"), ROOT):
        if candidate.is_dir() and file_system(candidate.resolve()) not in _IN_MEMORY:
            with tempfile.TemporaryDirectory(prefix="intermute-bench-", dir=candidate) as name:
                yield Path(name).resolve()
            return
    raise RuntimeError("there is no directory on a real disk; set TMPDIR to one")


def _loop_ns() -> float:
    """One turn of a trivial loop, the best of some: how fast this machine is just now.

    Absolute figures of two runs may be compared once they are divided by it.
    """
    turns, best_s = 100_000, float("inf")
    for _ in range(5):
        started_s = time.perf_counter()
        for _ in range(turns):
            pass
        best_s = min(best_s, time.perf_counter() - started_s)
    return best_s * 1e9 / turns


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    for line in text.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the source, marked when files differ from it; None outside a repository."""
    head = _git("rev-parse", "HEAD")
    if not head:
        return None
    return f"{head} and changes" if _git("status", "--porcelain") else head


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
