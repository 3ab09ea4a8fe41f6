"""Searches: of files that hold nothing, of files that cannot be read, and when nobody waits."""

from pathlib import Path

import pytest

from intermute.project.messages import StorageUnavailable, WriteOutcome
from intermute.project.searching import Searches
from intermute.storage.files import project_tag

from .harness import PROJECT, Desk


def searches(path: Path | None) -> Searches:
    files = {} if path is None else {project_tag(PROJECT): path}
    return Searches(files.get)


async def cursor_of(found: Searches, project: str = PROJECT) -> int:
    return await found.search(project, lambda reader: reader.last_cursor(), empty=-1)


async def test_a_search_sees_what_is_committed(tmp_path: Path):
    desk = Desk(tmp_path / "x.sqlite3")
    desk.register("somebody")
    assert await cursor_of(searches(desk.path)) == 1
    desk.close()


async def test_what_holds_nothing_has_nothing_to_find(tmp_path: Path):
    empty = tmp_path / "empty.sqlite3"
    empty.touch()
    assert await cursor_of(searches(empty)) == -1
    assert await cursor_of(searches(None)) == -1
    assert await cursor_of(searches(empty), "\x00") == -1


async def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path):
    broken = tmp_path / "broken.sqlite3"
    broken.write_bytes(b"no database" * 500)
    with pytest.raises(StorageUnavailable) as caught:
        await cursor_of(searches(broken))
    assert caught.value.outcome is WriteOutcome.NOT_DONE
