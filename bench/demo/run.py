"""One run of the demo, from the clone to the evidence."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs
import msgspec

from bench.demo import journal, repository
from bench.demo.agent import Plan, line_of
from bench.demo.board import Board
from bench.demo.evidence import Evidence
from bench.demo.failure import DemoError
from bench.demo.journal import Follower, Record
from bench.machine import ROOT
from bench.server import get, running_server
from intermute.domain.events import Event
from intermute.storage.files import file_name
from intermute.storage.reader import Reader

PROJECT = "demo"
AGENT_STOP_S = 120.0
_PAGE = 1_000
_FILES_MAX = 2_000
_NAMES = (
    "Ada", "Boris", "Chloe", "Dmitri", "Esi", "Farid", "Grace", "Hiro", "Ines", "Jonas", "Kofi",
    "Lena", "Mei", "Noor", "Omar", "Priya",
)  # fmt: skip


@attrs.frozen(kw_only=True)
class Settings:
    """What a run is made of.

    Attributes:
        pace_s: How long an agent thinks over an edit, on average.
        limit_s: After this no agent begins another round.
        seed: Of the agents' choices; who is quicker is decided elsewhere.
    """

    source: str
    agents: int
    rounds: int
    pace_s: float
    limit_s: float
    seed: int


class Workshop:
    """A clone in scratch space, in which agents are going to work."""

    def __init__(self, settings: Settings, scratch: Path) -> None:
        self.settings = settings
        self.scratch = scratch
        self.clone = scratch / "clone"
        self.base = repository.clone(settings.source, self.clone)
        self.files = repository.tracked_files(self.clone)
        editable = repository.editable_files(self.clone)
        if not editable:
            raise DemoError(f"{settings.source} tracks no file that an agent could edit")
        chance = random.Random(settings.seed)
        self.editable = sorted(chance.sample(editable, min(len(editable), _FILES_MAX)))
        self.hot = chance.sample(self.editable, min(len(self.editable), settings.agents // 2 + 1))
        self.names = [name_of(ordinal) for ordinal in range(settings.agents)]

    def run(self, board: Board, *, on_change: Callable[[], None], period_s: float) -> list[Record]:
        """Start the server and the agents, wait for all to end, stop the server.

        Returns:
            What the agents wrote, each agent's records in their order.

        Raises:
            DemoError: An agent failed, or did not stop in time.
            bench.server.ServerFailed: The server did not start, was not ready, or did not end well.
        """
        with running_server(self.scratch / "data") as server:
            get(server.port, "/ready")
            followers = [Follower(self._journal(each)) for each in range(self.settings.agents)]
            records: list[list[Record]] = [[] for _ in followers]
            url = f"http://127.0.0.1:{server.port}"
            with self._agents(url) as processes:
                until_s = time.monotonic() + self._longest_s()
                running = True
                while running:
                    running = any(process.poll() is None for process in processes)
                    for ordinal, follower in enumerate(followers):
                        added = follower.read()
                        records[ordinal] += added
                        board.apply(ordinal, added)
                    on_change()
                    self._require_success(processes, board)
                    if time.monotonic() > until_s:
                        raise DemoError(f"agents did not stop: {self._running(processes)}")
                    if running:
                        time.sleep(period_s)
            get(server.port, "/ready")
        return [record for each in records for record in each]

    def gather(self, records: Sequence[Record]) -> Evidence:
        """Everything the proof looks at, once the server has stopped."""
        edits = journal.edits_of(records)
        return Evidence(
            files=tuple(self.files),
            events=tuple(read_log(self.scratch / "data" / file_name(PROJECT))),
            commits=tuple(repository.commits_since(self.clone, self.base)),
            edits=tuple(edits),
            own_holds=tuple(journal.holds_of(records)),
            conflicts=tuple(journal.conflicts_of(records)),
            kept=frozenset(
                edit.edit
                for edit in edits
                if line_of(edit.edit).encode() in (self.clone / edit.path).read_bytes().split(b"\n")
            ),
        )

    def _journal(self, ordinal: int) -> Path:
        return self.scratch / f"agent-{ordinal + 1}.jsonl"

    @contextmanager
    def _agents(self, url: str) -> Iterator[list["subprocess.Popen[bytes]"]]:
        processes: list[subprocess.Popen[bytes]] = []
        try:
            processes.extend(self._start(ordinal, url) for ordinal in range(self.settings.agents))
            yield processes
        finally:
            for process in processes:
                if process.poll() is None:
                    # The agent's group, so that a `git commit` under way ends with it.
                    os.killpg(process.pid, signal.SIGTERM)
            for process in processes:
                process.wait()

    def _start(self, ordinal: int, url: str) -> "subprocess.Popen[bytes]":
        settings = self.settings
        plan = Plan(
            name=self.names[ordinal],
            seed=settings.seed * 1_000 + ordinal,
            url=url,
            project=PROJECT,
            clone=str(self.clone),
            journal=str(self._journal(ordinal)),
            files=self.editable,
            hot=self.hot,
            rounds=settings.rounds,
            pace_s=settings.pace_s,
            until_s=time.monotonic() + settings.limit_s,
        )
        path = self.scratch / f"agent-{ordinal + 1}.plan.json"
        path.write_bytes(msgspec.json.encode(plan))
        with path.with_suffix(".log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "bench.demo.agent", str(path)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the demo; it ends its agents in its own order.
                start_new_session=True,
            )

    def _longest_s(self) -> float:
        """Until when the last agent must have ended the round that it was in at the limit."""
        return self.settings.limit_s + AGENT_STOP_S + 10 * self.settings.pace_s

    def _running(self, processes: Sequence["subprocess.Popen[bytes]"]) -> str:
        return ", ".join(
            name
            for name, process in zip(self.names, processes, strict=True)
            if process.poll() is None
        )

    def _require_success(
        self, processes: Sequence["subprocess.Popen[bytes]"], board: Board
    ) -> None:
        for ordinal, process in enumerate(processes):
            if process.returncode in (None, 0):
                continue
            row = board.rows[ordinal]
            log = (self.scratch / f"agent-{ordinal + 1}.plan.log").read_text()[-2_000:].strip()
            reason = row.about if row.state == "failed" else log
            raise DemoError(f"{row.name} failed: {reason or f'exit code {process.returncode}'}")


def name_of(ordinal: int) -> str:
    """A name for an agent, unlike all others: the listed ones, then the same with a number."""
    turn, index = divmod(ordinal, len(_NAMES))
    return _NAMES[index] if not turn else f"{_NAMES[index]} {turn + 1}"


def read_log(path: Path) -> Iterator[Event]:
    """All events of a project's file.

    Raises:
        DemoError: It holds no project.
    """
    reader = Reader.open(path)
    if reader is None:
        raise DemoError("the server left no project behind")
    try:
        after = 0
        while page := reader.events(after=after, limit=_PAGE):
            yield from page
            after = page[-1].cursor
    finally:
        reader.close()
