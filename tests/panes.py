"""A tmux server of a test's own, with panes whose programs tell the test what was typed."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import trio

WAIT_S = 60.0

# Hands on all that is typed, byte for byte, once it has said that it is there.
_READER = """
import os, sys, termios, tty
out = os.open(sys.argv[1], os.O_WRONLY)
tty.setraw(0)
if sys.argv[2] == "brackets":
    os.write(1, b"\\x1b[?2004h")
os.write(out, b"READY;")
while data := os.read(0, 65536):
    os.write(out, data)
"""


@attrs.define
class Pane:
    """A pane, and what its reader hands on."""

    server: "TmuxServer"
    pane_id: str
    target: str
    stream: trio.lowlevel.FdStream | None = None
    typed: bytes = b""

    def show(self, token: str) -> None:
        """What an agent does to prove that the pane is its own."""
        self.server.tmux("set-option", "-p", "-t", self.pane_id, "@intermute_pane_token", token)

    async def until(self, end: bytes) -> bytes:
        """What was typed up to here, `end` included."""
        assert self.stream is not None
        with trio.fail_after(WAIT_S):
            while end not in self.typed:
                chunk = await self.stream.receive_some(65536)
                assert chunk, f"the reader ended after {self.typed!r}"
                self.typed += chunk
        found, self.typed = self.typed.split(end, 1)
        return found + end

    async def nothing(self) -> None:
        """Fails if anything was typed since the last look: what comes now comes first."""
        self.server.tmux("send-keys", "-t", self.pane_id, "-l", "<end>")
        assert await self.until(b"<end>") == b"<end>"


@attrs.define
class TmuxServer:
    """A tmux server on a socket that nobody else knows."""

    folder: Path

    @property
    def socket(self) -> Path:
        return self.folder / "tmux"

    def tmux(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self.socket), "-f", "/dev/null", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_S,
        )
        assert not check or done.returncode == 0, (arguments, done.stderr)
        return done.stdout.strip()

    @property
    def pid(self) -> int:
        return int(self.tmux("display-message", "-p", "#{pid}"))

    def pane(self, session: str, *command: str) -> Pane:
        """A session with one pane in which the command runs."""
        size = ("-x", "200", "-y", "50")
        pane_id = self.tmux(
            "new-session", "-d", "-s", session, *size, "-P", "-F", "#{pane_id}", *command
        )
        return Pane(self, pane_id, session)

    async def reader(self, session: str, *, brackets: bool = True) -> Pane:
        """A pane with a reader, which is ready."""
        pipe = self.folder / f"{session}.pipe"
        os.mkfifo(pipe)
        descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        script = self.folder / "reader.py"
        script.write_text(_READER)
        words = "brackets" if brackets else "plain"
        pane = self.pane(session, sys.executable, str(script), str(pipe), words)
        pane.stream = trio.lowlevel.FdStream(descriptor)
        with trio.fail_after(WAIT_S):
            while not pane.typed:
                # Until the reader has opened its end, there is nobody and so nothing to read.
                chunk = await pane.stream.receive_some(65536)
                pane.typed += chunk
                if not chunk:
                    await trio.lowlevel.checkpoint()
        await pane.until(b"READY;")
        return pane


@contextmanager
def tmux_server() -> Iterator[TmuxServer]:
    """A server that is gone afterwards, and its folder with it."""
    assert shutil.which("tmux"), "these tests need tmux: apt-get install tmux, or make test"
    # A socket's path must be short, which a test's own folder need not be.
    folder = Path(tempfile.mkdtemp(prefix="panes-"))
    server = TmuxServer(folder)
    try:
        server.tmux("new-session", "-d", "-s", "idle", "-x", "80", "-y", "24", "cat")
        pid = server.pid
        try:
            yield server
        finally:
            # A test may have stopped it, or ended it itself.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            server.tmux("kill-server", check=False)
    finally:
        shutil.rmtree(folder)
