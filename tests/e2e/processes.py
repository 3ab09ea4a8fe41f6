"""`intermute` as a process of its own, started and ended by the test that needs it."""

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import httpx
import trio

from .answers import SEND_S

START_S = 120.0
_ADDRESS = re.compile(r"listens on http://127\.0\.0\.1:(\d+)")
# The installed command; what it stands for when the package is not installed.
SCRIPT = Path(sys.executable).with_name("intermute")
COMMAND = (
    (str(SCRIPT),)
    if SCRIPT.exists()
    else (sys.executable, "-c", "from intermute.cli.main import main; main()")
)


@attrs.define
class Process:
    """A running `intermute` and what it has said so far."""

    process: trio.Process
    lines: list[str] = attrs.field(factory=list)
    _said: trio.Condition = attrs.field(factory=trio.Condition)
    _ended: bool = False

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    async def read(self) -> None:
        """Collect what it says, line by line, until it says no more."""
        assert self.process.stderr is not None
        rest = b""
        async for chunk in self.process.stderr:
            *whole, rest = (rest + chunk).split(b"\n")
            await self._add([line.decode() for line in whole])
        await self._add([rest.decode()] if rest else [], ended=True)

    async def _add(self, lines: list[str], *, ended: bool = False) -> None:
        async with self._said:
            self.lines += lines
            self._ended = self._ended or ended
            self._said.notify_all()

    async def wait_for(self, words: str) -> re.Match[str]:
        """Wait until it says something that matches."""
        with trio.fail_after(START_S):
            async with self._said:
                while True:
                    found = re.search(words, self.text)
                    if found is not None:
                        return found
                    assert not self._ended, f"it ended without saying {words!r}:\n{self.text}"
                    await self._said.wait()

    async def port(self) -> int:
        return int((await self.wait_for(_ADDRESS.pattern))[1])

    async def end(self, signal_number: int) -> int:
        """Send a signal and wait for the end; its exit code, negative for a signal."""
        self.process.send_signal(signal_number)
        return await self.exit_code()

    async def exit_code(self) -> int:
        with trio.fail_after(START_S):
            code = await self.process.wait()
            async with self._said:
                while not self._ended:
                    await self._said.wait()
            return code


def client(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=SEND_S, verify=False)


def serve_options(folder: Path, *more: str) -> list[str]:
    """Options of `serve` for a server that keeps everything in a folder."""
    keys = ["--keys-file", str(folder / "keys.yaml")]
    return ["serve", "--port", "0", "--db", str(folder / "data"), *keys, *more]


@asynccontextmanager
async def started(
    options: Sequence[str],
    *,
    command: Sequence[str] = COMMAND,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
) -> AsyncIterator[Process]:
    """A process, killed at the end when it still runs."""
    environment = {name: text for name, text in os.environ.items() if "INTERMUTE" not in name}
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process,
            [*command, *options],
            stdin=b"",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
            cwd=cwd,
            env=environment | (env or {}),
        )
        process = Process(await nursery.start(start))
        nursery.start_soon(process.read)
        try:
            yield process
        finally:
            if process.process.returncode is None:
                process.process.kill()
