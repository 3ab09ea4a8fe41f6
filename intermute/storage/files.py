"""The data directory: which file is whose, and that no other server has it.

A file's name starts with its project's tag, a short hash of the full name, and goes on with a
readable slug. The name itself never reaches the file system; it is stored inside the file.
"""

import base64
import fcntl
import hashlib
import os
import re
import stat
import unicodedata
from functools import lru_cache
from pathlib import Path

from intermute.domain.stamp import TAG_ALPHABET, TAG_LEN, TAG_PATTERN
from intermute.storage.faults import InUse, WrongFile

_SUFFIX = ".sqlite3"
_SLUG_LEN_MAX = 40
_FILE_NAME = re.compile(rf"{TAG_PATTERN}(?:-[a-z0-9-]+)?\.sqlite3")


@lru_cache(maxsize=4096)
def project_tag(project: str) -> str:
    """Twelve characters of base32, 60 bits of a hash of the normalised name."""
    digest = hashlib.blake2b(project.encode(), digest_size=8, person=b"project").digest()
    tag = base64.b32encode(digest).decode().lower()[:TAG_LEN]
    assert all(character in TAG_ALPHABET for character in tag)
    return tag


def file_name(project: str) -> str:
    """`<tag>-<slug>.sqlite3`."""
    plain = unicodedata.normalize("NFKD", project).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[-_SLUG_LEN_MAX:].strip("-")
    return f"{project_tag(project)}{'-' if slug else ''}{slug}{_SUFFIX}"


class DataDirectory:
    """The directory of all projects' files, held by one server at a time.

    Raises:
        InUse: From the constructor, when another server has it.
        WrongFile: When the path is there but no directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            missing = [each for each in (path, *path.parents) if not each.exists()]
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for each in missing:
                _sync_folder(each.parent)
            path.chmod(0o700)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._lock = os.open(path / "server.lock", flags, 0o600)
        except FileExistsError:
            raise WrongFile(f"{path} is a file; the data directory must be a directory") from None
        except OSError as error:
            raise WrongFile(
                f"{path} cannot be used as the data directory: {error.strerror}"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise InUse(
                f"another intermute server has {path}; stop it, or give this one its own --db"
            ) from None
        # A directory listing at start is the whole lookup table from tag to file. Of two files
        # with one tag the shorter name is the project's: the other is somebody's copy of it.
        self._by_tag: dict[str, Path] = {}
        for entry in sorted(path.iterdir(), key=lambda entry: (len(entry.name), entry.name)):
            if _FILE_NAME.fullmatch(entry.name):
                self._by_tag.setdefault(entry.name[:TAG_LEN], entry)

    def close(self) -> None:
        os.close(self._lock)

    def __len__(self) -> int:
        return len(self._by_tag)

    def paths(self) -> list[Path]:
        return list(self._by_tag.values())

    def tags(self) -> list[str]:
        return list(self._by_tag)

    def find(self, tag: str) -> Path | None:
        """The file of the project with this tag, None when there is no such project."""
        return self._by_tag.get(tag)

    def create(self, project: str) -> Path:
        """The file of `project`, made empty and private (0600) when there is none."""
        tag = project_tag(project)
        found = self._by_tag.get(tag)
        if found is not None:
            return found
        path = self.path / file_name(project)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        os.close(os.open(path, flags, 0o600))
        self._by_tag[tag] = path
        return path


def _sync_folder(path: Path) -> None:
    """Have the disk keep the names in a folder. SQLite does so for those of its own files."""
    folder = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def require_regular(path: Path) -> None:
    """Refuse to open anything but a plain file: a planted link must not lead outside.

    Raises:
        WrongFile: It is a link, a directory, a device or missing.
    """
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        raise WrongFile(f"{path.name}: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise WrongFile(f"{path.name} is not a regular file")
    if stat.S_IMODE(mode) & 0o077:
        path.chmod(0o600)
