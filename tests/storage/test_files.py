"""The data directory: private, held by one server, and no name leads out of it."""

import os
import shutil
import stat
import string
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intermute.domain.projects import normalise_project
from intermute.domain.stamp import TAG_ALPHABET, TAG_LEN
from intermute.storage.connections import open_reader, open_writer
from intermute.storage.faults import InUse, StorageError, WrongFile
from intermute.storage.files import DataDirectory, file_name, project_tag

from ..project.harness import Desk, reserve

PLAIN = frozenset(string.ascii_lowercase + string.digits + "-.")


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def data(tmp_path):
    directory = DataDirectory(tmp_path / "data")
    yield directory
    directory.close()


@pytest.fixture
def wide_umask():
    before = os.umask(0)
    yield
    os.umask(before)


# -- Modes --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("wide_umask")
def test_everything_is_private_whatever_the_umask(tmp_path):
    folder = tmp_path / "deep" / "data"
    directory = DataDirectory(folder)
    desk = Desk(directory.create("house"))
    desk.one(reserve("alice", "src"))
    assert mode(folder) == 0o700
    made = sorted(entry.name for entry in folder.iterdir())
    assert len(made) == 4, "lock, file, -wal and -shm"
    assert {mode(entry) for entry in folder.iterdir()} == {0o600}
    desk.close()
    directory.close()


def test_a_directory_that_was_open_to_others_is_closed(tmp_path):
    tmp_path.chmod(0o777)
    DataDirectory(tmp_path).close()
    assert mode(tmp_path) == 0o700


@pytest.mark.parametrize("opens", [open_writer, open_reader])
def test_a_file_that_was_open_to_others_is_closed(tmp_path, opens):
    desk = Desk(tmp_path / "x.sqlite3")
    desk.close()
    desk.path.chmod(0o644)
    opens(desk.path).close()
    assert mode(desk.path) == 0o600


# -- One server ---------------------------------------------------------------------------------


def test_a_second_server_on_the_same_directory_is_refused(tmp_path):
    first = DataDirectory(tmp_path)
    with pytest.raises(InUse, match="another intermute server has") as refused:
        DataDirectory(tmp_path)
    assert str(tmp_path) in str(refused.value)
    first.close()
    DataDirectory(tmp_path).close()


def test_a_refused_server_leaves_no_descriptor_behind(tmp_path):
    first = DataDirectory(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(InUse):
            DataDirectory(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
    first.close()


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WrongFile, match="is a file"):
        DataDirectory(tmp_path / "file")


def test_what_cannot_be_a_directory_is_a_storage_error(tmp_path):
    """`intermute serve --db` must end with a sentence, not with a traceback."""
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        DataDirectory(tmp_path / "file" / "below")


# -- Links --------------------------------------------------------------------------------------


def test_a_planted_link_leads_nowhere(tmp_path):
    outside = Desk(tmp_path / "outside.sqlite3")
    outside.close()
    before = outside.path.read_bytes()
    folder = tmp_path / "data"
    folder.mkdir()
    link = folder / file_name("house")
    link.symlink_to(outside.path)
    directory = DataDirectory(folder)
    for opens in (open_writer, open_reader):
        with pytest.raises(WrongFile, match="not a regular file"):
            opens(directory.create("house"))
    directory.close()
    assert outside.path.read_bytes() == before


def test_a_link_planted_later_is_not_followed_when_a_file_is_made(tmp_path, data):
    outside = tmp_path / "outside"
    (data.path / file_name("house")).symlink_to(outside)
    with pytest.raises(OSError, match="exists"):
        data.create("house")
    assert not outside.exists()


def test_a_planted_lock_is_not_followed(tmp_path):
    outside = tmp_path / "outside"
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "server.lock").symlink_to(outside)
    with pytest.raises(StorageError):
        DataDirectory(folder)
    assert not outside.exists()


@pytest.mark.parametrize("opens", [open_writer, open_reader])
def test_only_plain_files_are_opened(tmp_path, opens):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe", "missing"):
        with pytest.raises(WrongFile, match=name):
            opens(tmp_path / name)


# -- Names --------------------------------------------------------------------------------------

HOSTILE = [
    "/home/me/repo",
    "../../../etc/passwd",
    "..",
    ".",
    "/",
    "a/../b",
    "con",
    "dots...",
    "-rf",
    "a b",
    "a?mode=memory",
    "file:x",
    "x" * 200,
    "\u65e5\u672c\u8a9e",
    "\u0645\u0634\u0631\u0648\u0639",
    "\U0001f600",
    "%00%2e%2e",
    "a\\b",
    "'; DROP TABLE events; --",
    ":memory:",
]


@pytest.mark.parametrize("project", HOSTILE)
def test_no_name_leads_out_of_the_directory(data, project):
    path = data.create(normalise_project(project))
    assert path.parent == data.path
    assert path.is_file()
    assert not path.is_symlink()
    desk_names = {entry.name for entry in data.path.iterdir()}
    assert desk_names == {"server.lock", path.name}
    open_writer(path).close()


@settings(deadline=None, max_examples=300)
@given(st.text(min_size=1, max_size=200))
def test_a_file_name_is_made_of_few_characters(name):
    project = normalise_project(name)
    if project is None:
        return
    made = file_name(project)
    assert set(made) <= PLAIN
    assert len(made) <= 64
    assert made.startswith(project_tag(project))
    assert made.endswith(".sqlite3")
    assert ".." not in made


def test_a_tag_is_short_and_stable():
    assert project_tag("default") == project_tag("default")
    assert len(project_tag("default")) == TAG_LEN
    assert set(project_tag("\u00e9" * 200)) <= TAG_ALPHABET
    # Ids in files and in clients carry it: it must never change.
    assert file_name("house") == "gjmkinny25xw-house.sqlite3"


def test_two_spellings_of_one_name_are_one_file(data):
    composed = normalise_project(unicodedata.normalize("NFC", "caf\u00e9"))
    decomposed = normalise_project(unicodedata.normalize("NFD", "caf\u00e9"))
    assert data.create(composed) == data.create(decomposed)
    assert data.create(normalise_project(" caf\u00e9 ")) == data.create(composed)
    assert len(data) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("repo", "Repo"),
        ("repo", "repo."),
        ("a/b", "a-b"),
        ("a b", "a-b"),
        ("x" * 199, "x" * 200),
        ("y" + "x" * 199, "z" + "x" * 199),
        ("\u0645", "\u0646"),
        ("fi", "\ufb01"),
    ],
)
def test_different_names_are_different_files(data, one, other):
    assert data.create(normalise_project(one)) != data.create(normalise_project(other))
    assert len(data) == 2


def test_a_directory_is_known_again(tmp_path):
    first = DataDirectory(tmp_path)
    made = {project_tag(name): first.create(name) for name in ("a", "b", "c")}
    first.close()
    again = DataDirectory(tmp_path)
    assert {tag: again.find(tag) for tag in again.tags()} == made
    assert again.find("zzzzzzzzzzzz") is None
    assert again.create("a") == made[project_tag("a")]
    again.close()


@pytest.mark.parametrize("name", ["notes.txt", "x.sqlite3", "server.lock.bak", "y.sqlite3-wal"])
def test_what_is_no_projects_file_is_left_alone(tmp_path, name):
    (tmp_path / name).write_text("mine")
    directory = DataDirectory(tmp_path)
    assert directory.tags() == []
    directory.close()
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize(
    "copied",
    ["{stem}_old.sqlite3", "{stem} copy.sqlite3", "{stem}-2026.sqlite3", "backup-of-it.sqlite3"],
)
def test_a_copy_beside_a_file_does_not_take_its_place(tmp_path, copied):
    """An operator's copy in the folder must not become the project: what was acknowledged since
    would be gone. It is left alone, or the server refuses to start and says so."""
    directory = DataDirectory(tmp_path)
    path = directory.create("house")
    directory.close()
    shutil.copy(path, tmp_path / copied.format(stem=path.stem))
    try:
        directory = DataDirectory(tmp_path)
    except StorageError:
        return
    tags = directory.tags()
    found = directory.find(project_tag("house"))
    directory.close()
    assert found == path
    assert tags == [project_tag("house")]


@pytest.mark.skipif(sys.platform != "linux", reason="lists its descriptors in /proc")
def test_the_lock_is_not_handed_to_children(data):
    assert not os.get_inheritable(data._lock)
