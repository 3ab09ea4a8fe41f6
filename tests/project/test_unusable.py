"""Files that cannot be opened: told as long as that is so, and nothing kept of what never began."""

import errno
import os
from pathlib import Path

import pytest

from actors import ActorStopped, Overloaded
from intermute.domain import limits
from intermute.domain.commands import RegisterAgent
from intermute.project.directory import Projects
from intermute.project.messages import ProjectUnusable
from intermute.project.unusable import UnusableFiles
from intermute.storage.files import DataDirectory
from intermute.storage.writer import Writer

from .harness import NOBODY, TAG, HandClock, file_of, reserve, running
from .test_projects import SPOILT

BELIEVED_S = limits.UNUSABLE_BELIEVED_MS // 1000
# What is spoilt by another way fails in the actor, and is its breaker's to tell.
TOLD = sorted(set(SPOILT) - {"foreign"})
FULL, ODD = ProjectUnusable("full"), ProjectUnusable("odd", lasts=True)


async def begin(folder: Path) -> None:
    async with running(folder) as projects:
        await projects.ask("house", RegisterAgent(b"t" * 32, name="alice"), NOBODY)


def troubled(projects: Projects) -> list[str]:
    return [health.tag for health in projects.health() if not health.ready]


def names(projects: Projects) -> int:
    return len(projects._names)


@pytest.mark.parametrize("how", TOLD)
async def test_a_file_that_cannot_be_used_stays_in_health(tmp_path, how):
    await begin(tmp_path)
    SPOILT[how][0](file_of(tmp_path))
    clock = HandClock()
    async with running(tmp_path, clock=clock) as projects:
        with pytest.raises(ActorStopped):
            await projects.ask("house", reserve("alice", "src"), NOBODY)
        for _ in range(3):
            assert troubled(projects) == [TAG]
            clock.later(BELIEVED_S)


def out_of_descriptors(*_: object, **__: object) -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def test_trouble_that_has_passed_is_forgotten(tmp_path, monkeypatch):
    await begin(tmp_path)
    clock = HandClock()
    async with running(tmp_path, clock=clock) as projects:
        monkeypatch.setattr(Writer, "open", out_of_descriptors)
        with pytest.raises(ActorStopped):
            await projects.ask("house", reserve("alice", "src"), NOBODY)
        monkeypatch.undo()
        assert troubled(projects) == [TAG]
        clock.later(BELIEVED_S - 1)
        assert troubled(projects) == [TAG]
        clock.later(1)
        assert troubled(projects) == []


async def test_projects_that_could_not_be_begun_leave_nothing(tmp_path, monkeypatch):
    async with running(tmp_path) as projects:
        monkeypatch.setattr(DataDirectory, "create", out_of_descriptors)
        for number in range(20):
            with pytest.raises(ActorStopped):
                await projects.ask(f"p{number}", reserve("alice", "src"), NOBODY)
        monkeypatch.undo()
        assert troubled(projects) == []
        assert names(projects) == 0
        await projects.ask("p20", reserve("alice", "src"), NOBODY)
        assert names(projects) == 1


async def test_projects_that_were_turned_away_leave_no_name(tmp_path):
    async with running(tmp_path, live_max=1) as projects:
        await projects.ask("house", reserve("alice", "src"), NOBODY)
        for number in range(20):
            with pytest.raises(Overloaded):
                await projects.ask(f"p{number}", reserve("alice", "src"), NOBODY)
        assert names(projects) == 1


def test_so_many_files_are_known(monkeypatch):
    monkeypatch.setattr(limits, "UNUSABLE_MAX", 3)
    files = UnusableFiles(lambda _: False)
    for number in range(10):
        files.add(f"tag{number}", FULL, number)
    files.add("tag8", ODD, 10)
    assert files.reasons(10) == {"tag7": str(FULL), "tag9": str(FULL), "tag8": str(ODD)}
    files.forget("tag9")
    assert list(files.reasons(10)) == ["tag7", "tag8"]


def test_a_file_is_not_looked_at_each_time():
    looked: list[str] = []
    files = UnusableFiles(lambda tag: bool(looked.append(tag)))
    files.add("tag", FULL, 0)
    second_us = 1_000_000
    for now_us in range(0, 100 * second_us, second_us):
        assert files.reasons(now_us) == {"tag": str(FULL)}
    assert len(looked) == 99 // BELIEVED_S


def test_what_will_not_pass_stays_until_the_file_was_opened():
    files = UnusableFiles(lambda _: True)
    files.add("tag", ODD, 0)
    assert files.reasons(10**12) == {"tag": str(ODD)}
    files.forget("tag")
    assert files.reasons(10**12) == {}
