"""One agent: a process that reserves, edits, commits and releases, and knows no other agent.

`python -m bench.demo.agent PLAN` runs it; PLAN is a JSON file that the demo writes.
"""

import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import attrs
import msgspec

from bench.demo import repository
from bench.demo.client import Client, Grant, Refusal
from bench.demo.failure import DemoError
from bench.demo.journal import Journal
from bench.demo.matching import escape, expand

ATTEMPTS_PER_ROUND_MAX = 6
EDITS_PER_ROUND_MAX = 3
DIRECTORY_FILES_MAX = 200
_HOT_SHARE = 0.5
_PERSEVERANCE = 0.5


@attrs.frozen(kw_only=True)
class Plan:
    """What one agent is told. `until_s` is the monotonic time after which no round begins."""

    name: str
    seed: int
    url: str
    project: str
    clone: str
    journal: str
    files: list[str]
    hot: list[str]
    rounds: int
    pace_s: float
    until_s: float


@attrs.frozen
class Wish:
    """What an agent wants to hold, and which files it will edit then."""

    patterns: tuple[str, ...]
    exclusive: bool
    edits: tuple[str, ...]


class Agent:
    """Works through its rounds."""

    def __init__(self, plan: Plan, client: Client, journal: Journal) -> None:
        self._plan = plan
        self._client = client
        self._journal = journal
        self._random = random.Random(plan.seed)
        self._clone = Path(plan.clone)
        self._edits = 0

    def work(self) -> None:
        """Register, do the rounds while there is time, retire."""
        self._journal.agent = self._client.register(self._plan.name)
        self._journal.note("registered")
        for ordinal in range(1, self._plan.rounds + 1):
            if time.monotonic() >= self._plan.until_s:
                break
            self._client.heartbeat("thinking")
            self._journal.note("round", ordinal=ordinal)
            self._round()
            self._pause(0.3)
        self._client.retire()
        self._journal.note("done")

    def _round(self) -> None:
        """One thing done: asked for, waited for or swapped for another, done, given back."""
        wish = self._wish()
        for _ in range(ATTEMPTS_PER_ROUND_MAX):
            grant = self._ask(wish)
            if grant is not None:
                self._use(grant, wish)
                return
            if time.monotonic() >= self._plan.until_s:
                break
            self._pause(0.5)
            if self._random.random() > _PERSEVERANCE:
                wish = self._wish()
        self._journal.note("without")

    def _ask(self, wish: Wish) -> Grant | None:
        asked = self._journal.note("asking", patterns=wish.patterns)
        answer = self._client.reserve(
            wish.patterns, exclusive=wish.exclusive, reason=f"demo of {self._plan.name}"
        )
        if isinstance(answer, Refusal):
            self._journal.note(
                "refused",
                patterns=wish.patterns,
                exclusive=wish.exclusive,
                asked_us=asked.at_us,
                conflicts=answer.conflicts,
            )
            return None
        self._journal.note(
            "granted",
            reservation=answer.reservation,
            patterns=answer.patterns,
            exclusive=answer.exclusive,
        )
        return answer

    def _use(self, grant: Grant, wish: Wish) -> None:
        self._client.heartbeat("tool-use")
        for ordinal, path in enumerate(wish.edits):
            if ordinal:
                self._client.renew(grant.reservation)
            self._edit(grant, path)
        if not wish.edits:
            self._pause(1)
        self._journal.note("releasing", reservation=grant.reservation)
        self._client.release(grant.reservation)
        self._journal.note("released", reservation=grant.reservation)

    def _edit(self, grant: Grant, path: str) -> None:
        """Read the file, think, write it whole with a line more, commit it.

        Written whole as an editor would, so that two agents in one file would lose a line.
        """
        self._edits += 1
        edit = f"{self._client.agent}.{self._edits}"
        self._journal.note("editing", edit=edit, path=path, reservation=grant.reservation)
        file = self._clone / path
        before = file.read_bytes()
        self._pause(1)
        newline = b"" if not before or before.endswith(b"\n") else b"\n"
        file.write_bytes(before + newline + line_of(edit).encode() + b"\n")
        message = (
            f"{self._plan.name} edits {path[:60]}\n\n"
            f"Agent: {self._client.agent}\n"
            f"Reservation: {grant.reservation}\n"
            f"Path: {path}\n"
            f"Edit: {edit}\n"
        )
        tries, said = repository.commit_path(
            self._clone, path, message, name=self._plan.name, random=self._random
        )
        if said:
            file.write_bytes(before)
            raise DemoError(f"git commit of {path} failed: {said}")
        self._journal.note("committed", edit=edit, tries=tries)

    def _wish(self) -> Wish:
        """Often something that others want too, sometimes several things or a whole directory."""
        dice = self._random.random()
        path = self._pick()
        if dice < 0.15:
            return Wish(self._around(path), exclusive=False, edits=())
        if dice < 0.35:
            patterns = self._around(path)
            inside = expand(patterns, self._plan.files)
            others = self._random.sample(inside, min(len(inside), EDITS_PER_ROUND_MAX - 1))
            return Wish(patterns, exclusive=True, edits=tuple(others))
        if dice < 0.6:
            several = tuple(
                dict.fromkeys((path, *(self._pick() for _ in range(EDITS_PER_ROUND_MAX - 1))))
            )
            return Wish(tuple(escape(each) for each in several), exclusive=True, edits=several)
        return Wish((escape(path),), exclusive=True, edits=(path,))

    def _pick(self) -> str:
        from_hot = self._random.random() < _HOT_SHARE
        return self._random.choice(self._plan.hot if from_hot else self._plan.files)

    def _around(self, path: str) -> tuple[str, ...]:
        """The path's directory, or the path alone where that would be nearly everything."""
        directory = path.rpartition("/")[0]
        if directory:
            pattern = escape(directory) + "/**"
            inside = len(expand((pattern,), self._plan.files))
            if inside <= min(DIRECTORY_FILES_MAX, len(self._plan.files) // 2):
                return (pattern,)
        return (escape(path),)

    def _pause(self, share: float) -> None:
        time.sleep(self._random.uniform(0.3, 1.7) * share * self._plan.pace_s)


def line_of(edit: str) -> str:
    """The line that an edit leaves in its file."""
    return f"# intermute demo: edit {edit}"


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 when the agent could not go on; its journal says why."""
    plan = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=Plan)
    journal = Journal(Path(plan.journal))
    client = Client(plan.url, project=plan.project)
    try:
        Agent(plan, client, journal).work()
    except (DemoError, OSError) as error:
        journal.note("failed", reason=str(error))
        return 1
    finally:
        client.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
