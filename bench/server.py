"""A real server in a process of its own, started and ended by us."""

import ctypes
import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from bench.connection import LOOPBACK
from bench.machine import ROOT, rss_bytes

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
_POLL_S = 0.002
# Of <sys/prctl.h>.
_PR_SET_PDEATHSIG = 1
_ADDRESS = re.compile(r"listens on http://127\.0\.0\.1:(\d+)")


class ServerFailed(Exception):
    """The server did not start, or ended by itself; the text holds its log."""


@attrs.frozen
class Server:
    """A running server."""

    pid: int
    port: int
    start_s: float
    """From the start of the process to the first answer of `/health`, seconds."""
    host: str = LOOPBACK

    def rss_bytes(self) -> int:
        """What the process holds in memory now."""
        return rss_bytes(self.pid)


def _command() -> list[str]:
    """The installed command, as anybody would start it."""
    script = Path(sys.executable).with_name("intermute")
    if script.exists():
        return [str(script)]
    return [sys.executable, "-c", "from intermute.cli.main import main; main()"]


@contextmanager
def running_server(
    data: Path,
    *,
    options: Sequence[str] = (),
    profile: Path | None = None,
    module: str | None = None,
) -> Iterator[Server]:
    """`intermute serve` over a data directory, until the block ends.

    It ends as well when this process ends without getting that far, as by SIGKILL: the kernel sends
    it SIGTERM then. That is when the thread that started it ends, so one that lives as long as the
    block has to be the one that enters it.

    Args:
        data: The data directory; log and keys are kept beside it.
        options: Further options of `serve`.
        profile: Where to leave a profile of the whole process, None for no profiling.
        module: Run this module as the command instead of the installed one.

    Raises:
        ServerFailed: It did not answer in time, or ended badly.
    """
    log = data.with_name(f"{data.name}.log")
    command = _command() if module is None else [sys.executable, "-m", module]
    if profile is not None:
        command = [sys.executable, "-m", "bench.profiled", str(profile)]
    arguments = ["serve", "--port", "0", "--db", str(data), "--log-level", "info"]
    arguments += ["--keys-file", str(data.with_name(f"{data.name}.keys.yaml")), *options]
    started_s = time.perf_counter()
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            preexec_fn=_end_with(os.getpid()),
        )
    try:
        port = _wait_for_port(process, log, started_s)
        get(port, "/health")
        yield Server(process.pid, port, time.perf_counter() - started_s)
    finally:
        ended = _stop(process)
    if ended != 0:
        raise ServerFailed(f"the server ended with {ended}: {log.read_text()[-2000:]}")


def _end_with(parent: int) -> Callable[[], None]:
    """What a new process does to be ended when its parent ends; Linux knows how."""
    prctl = ctypes.CDLL(None).prctl

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            # It has ended already.
            os._exit(1)

    return arrange


def get(port: int, target: str) -> bytes:
    """The body of one successful answer, over a connection of its own.

    Raises:
        ServerFailed: The status is not 200.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_TIMEOUT_S)
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise ServerFailed(f"{target} answered {answer.status}: {body[:500]!r}")
    return body


def _wait_for_port(process: "subprocess.Popen[bytes]", log: Path, started_s: float) -> int:
    while time.perf_counter() - started_s < START_TIMEOUT_S:
        found = _ADDRESS.search(log.read_text())
        if found is not None:
            return int(found[1])
        if process.poll() is not None:
            break
        time.sleep(_POLL_S)
    raise ServerFailed(f"the server did not start: {log.read_text()[-2000:]}")


def _stop(process: "subprocess.Popen[bytes]") -> int:
    """End our process: politely, then not. Answers its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
