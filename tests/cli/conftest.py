"""The commands run for real: a server on the loopback, a repository, and processes between them."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from ..e2e.answers import place
from ..e2e.conftest import Server, running_server

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "from intermute.cli.main import main; main(prog_name='intermute')"
CLEAN = {
    name: text
    for name, text in os.environ.items()
    if not name.startswith(("INTERMUTE", "GIT_", "LC_", "LANG"))
}


@attrs.frozen
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def members(self) -> Any:
        return json.loads(self.out)


@attrs.frozen
class Shell:
    """A repository, a server, and the command between them."""

    server: Server
    repository: Path

    async def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        here: str = ".",
        code: int = 0,
        **variables: str,
    ) -> Done:
        """Run `intermute` in a folder of the repository; it has to end with `code`."""
        environment = {
            **CLEAN,
            "PYTHONPATH": str(ROOT),
            "INTERMUTE_URL": self.server.url,
            **{f"INTERMUTE_{name.upper()}": text for name, text in variables.items()},
        }
        done = await trio.run_process(
            [sys.executable, "-c", SCRIPT, *arguments],
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=self.repository / here,
            env=environment,
        )
        found = Done(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert found.code == code, found
        assert "Traceback" not in found.err, found
        return found

    def write(self, *names: str) -> None:
        for name in names:
            path = self.repository / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)

    def git(self, *arguments: str) -> None:
        command = ["git", "-c", "user.name=n", "-c", "user.email=e@x", *arguments]
        subprocess.run(
            command,
            cwd=self.repository,
            check=True,
            capture_output=True,
            env={**CLEAN, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
        )

    async def tickets(self) -> list[Any]:
        return (await self.server.client.get("/api/reservations/tickets")).json()["tickets"]

    async def in_line(self) -> None:
        """Until somebody waits."""
        with trio.fail_after(60):
            while not await self.tickets():
                await trio.lowlevel.checkpoint()

    async def decided(self) -> int:
        """How many commands the project has decided, this look not included."""
        response = await self.server.client.get("/api/reservations/check", params={"pattern": "x"})
        return place(response)[1] - 1


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    repository = tmp_path / "repository"
    repository.mkdir()
    async with running_server(tmp_path) as server:
        made = Shell(server, repository)
        made.git("init", "-q")
        yield made
