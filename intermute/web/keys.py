"""The keys file: which key belongs to which project, read, watched and written.

A key is shown once, when it is made; the file holds its SHA-256. Keys in clear text from older
files work on. No error, log line or repr of this module ever holds key text.
"""

import datetime as dt
import fcntl
import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import yaml

from intermute.domain import limits
from intermute.domain.projects import INVALID_NAME, normalise_project
from intermute.web.keys_yaml import NameTwiceError, parse

_log = logging.getLogger(__name__)

__all__ = [
    "KeyMatch",
    "KeyStore",
    "Keyring",
    "KeysFileError",
    "add_key",
    "ensure",
    "load",
]

_KEY = re.compile(r"imk_([A-Za-z0-9]{8,12})_[A-Za-z0-9_-]{43}")
_KEY_ID = re.compile(r"[A-Za-z0-9]{1,64}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_RIGHT = re.compile(r"[a-z][a-z0-9_.:-]{0,63}")
_NOBODY = bytes(32)


class KeysFileError(Exception):
    """The keys file cannot be used. The message names the file and the place, never a key."""


@attrs.frozen
class KeyMatch:
    """What a right key stands for: its project, its public id, the rights it carries."""

    project: str
    key_id: str
    rights: frozenset[str]


@attrs.frozen
class _Entry:
    match: KeyMatch
    digest: bytes = attrs.field(repr=False)
    expires_at_s: float | None


@attrs.frozen
class Keyring:
    """The keys of all projects at one moment; immutable.

    Attributes:
        allow_localhost_without_auth: Whether a local caller needs no key.
    """

    allow_localhost_without_auth: bool = True
    _by_id: dict[str, _Entry] = attrs.field(factory=dict, repr=False)
    _by_digest: dict[bytes, _Entry] = attrs.field(factory=dict, repr=False)

    def __len__(self) -> int:
        """How many keys there are, expired ones included."""
        return len(self._by_digest)

    def find(self, presented: str, now_s: float) -> KeyMatch | None:
        """The project of a key, or None when it is unknown or expired at `now_s` (Unix time).

        The comparison takes the same time whatever the key; only its public id decides where
        to look. A key without one is looked up by its digest, which a guesser cannot steer.
        """
        digest = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()
        found = _KEY.fullmatch(presented)
        entry = self._by_id.get(found[1]) if found is not None else None
        if entry is None:
            entry = self._by_digest.get(digest)
        right = hmac.compare_digest(digest, _NOBODY if entry is None else entry.digest)
        if entry is None or not right:
            return None
        if entry.expires_at_s is not None and now_s >= entry.expires_at_s:
            return None
        return entry.match


class KeyStore:
    """A keys file that is read again when it changes.

    A file that breaks after it was read once leaves the last good keys in force, and the log says
    what is wrong each time that it has changed and is no better.

    Raises:
        KeysFileError: On construction, when the file cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._mark = _mark(self._path)
        self._keyring = load(self._path)
        self._looked_at_s: float | None = None

    def current(self, now_s: float) -> Keyring:
        """The keys as of now, at most a second old.

        Args:
            now_s: Any monotonic clock, in seconds; the same one each time.
        """
        if self._looked_at_s is None or now_s - self._looked_at_s >= limits.KEYS_LOOK_MS / 1000:
            self._looked_at_s = now_s
            if _mark(self._path) != self._mark:
                self.reload()
        return self._keyring

    def reload(self) -> None:
        """Read the file now. Never raises for a bad file: the log says what is wrong with it."""
        # Marked before reading, so that a change during the read is seen the next time.
        self._mark = _mark(self._path)
        try:
            self._keyring = load(self._path)
        except KeysFileError as error:
            _log.warning("the keys file was not read, the keys from before stay: %s", error)


def load(path: str | os.PathLike[str]) -> Keyring:
    """Read a keys file.

    Raises:
        KeysFileError: It is missing, larger than `KEYS_FILE_LEN_MAX` bytes, not YAML, not of the
            expected form, has a name twice in a mapping, or lists one key under two projects.
    """
    return _to_keyring(_read(Path(path)), Path(path))


def ensure(path: str | os.PathLike[str]) -> bool:
    """Create a keys file that allows local callers and holds no key, unless there is one.

    Returns:
        Whether it was created, with mode 0600.

    Raises:
        KeysFileError: It cannot be created.
    """
    created = False

    def fill(document: dict[str, Any] | None) -> dict[str, Any] | None:
        nonlocal created
        if document is not None:
            return None
        created = True
        return {"default_policy": {"allow_localhost_without_auth": True}, "projects": {}}

    _rewrite(Path(path), fill, reads=False)
    return created


def add_key(
    path: str | os.PathLike[str],
    project: str,
    *,
    rights: Collection[str] = (),
    expires_at: dt.datetime | None = None,
) -> str:
    """Make a key for a project and store its digest; the file is created when missing.

    Everything else in the file stays, unknown members included; comments do not. The new file
    replaces the old one at once, with mode 0600. Callers in several processes take turns.

    Args:
        project: 1 to 200 characters once trimmed and NFC-normalised.
        rights: What the key allows beyond its project.
        expires_at: With a time zone; None for never.

    Returns:
        The key, which is not to be had again.

    Raises:
        ValueError: The project, a right or the expiry is not of that form.
        KeysFileError: The file is unusable, in which case it stays untouched.
    """
    name = normalise_project(project)
    if name is None:
        raise ValueError(INVALID_NAME)
    if not all(_RIGHT.fullmatch(right) for right in rights):
        raise ValueError("a right is lower-case letters, digits and _ . : -")
    if expires_at is not None and expires_at.tzinfo is None:
        raise ValueError("expires_at needs a time zone")
    key_id = secrets.token_hex(5)
    key = f"imk_{key_id}_{secrets.token_urlsafe(32)}"
    entry: dict[str, Any] = {
        "id": key_id,
        "sha256": hashlib.sha256(key.encode()).hexdigest(),
        "created_at": _iso(dt.datetime.now(dt.UTC)),
    }
    if expires_at is not None:
        entry["expires_at"] = _iso(expires_at)
    if rights:
        entry["rights"] = sorted(rights)

    def insert(document: dict[str, Any] | None) -> dict[str, Any]:
        document = {} if document is None else document
        policy = _section(document, "default_policy")
        policy.setdefault("allow_localhost_without_auth", True)
        projects = _section(document, "projects")
        known = next((n for n in projects if normalise_project(n) == name), name)
        keys = _section(projects, known).setdefault("keys", None)
        projects[known]["keys"] = [*(keys or []), entry]
        return document

    _rewrite(Path(path), insert, reads=True)
    return key


def _section(parent: dict[str, Any], name: str) -> dict[str, Any]:
    """The mapping under a name, made when it is missing or empty."""
    if parent.get(name) is None:
        parent[name] = {}
    section: dict[str, Any] = parent[name]
    return section


def _iso(moment: dt.datetime) -> str:
    utc = moment.astimezone(dt.UTC).replace(microsecond=0, tzinfo=None)
    return utc.isoformat() + "Z"


def _mark(path: Path) -> tuple[int, ...] | None:
    try:
        seen = path.stat()
    except OSError:
        return None
    return (seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise KeysFileError(f"{path}: not a regular file")
            raw = file.read(limits.KEYS_FILE_LEN_MAX + 1)
    except OSError as error:
        raise KeysFileError(f"{path}: {error.strerror}") from None
    if len(raw) > limits.KEYS_FILE_LEN_MAX:
        raise KeysFileError(f"{path}: larger than {limits.KEYS_FILE_LEN_MAX} bytes")
    problem: str | None = None
    document: Any = None
    try:
        document = parse(raw)
    except yaml.MarkedYAMLError as error:
        # The parser's own message quotes the line, and with it perhaps a key.
        at = error.problem_mark
        problem = "not valid YAML"
        if isinstance(error, NameTwiceError):
            problem = "a name stands twice in its mapping, the second time"
        problem += "" if at is None else f" at line {at.line + 1}"
    except (yaml.YAMLError, ValueError, RecursionError):
        problem = "not valid YAML"
    # Raised out here, so that no context carries what the parser saw.
    if problem is not None:
        raise KeysFileError(f"{path}: {problem}")
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise KeysFileError(f"{path}: the file must be a mapping")
    return document


def _to_keyring(document: dict[str, Any], path: Path) -> Keyring:
    policy = _mapping(document.get("default_policy"), f"{path}: default_policy")
    allow = policy.get("allow_localhost_without_auth")
    if allow is None:
        allow = True
    if not isinstance(allow, bool):
        raise KeysFileError(
            f"{path}: default_policy.allow_localhost_without_auth must be true or false"
        )
    by_id: dict[str, _Entry] = {}
    by_digest: dict[bytes, _Entry] = {}
    projects = _mapping(document.get("projects"), f"{path}: projects")
    for name, section in projects.items():
        if not isinstance(name, str):
            raise KeysFileError(f"{path}: the name of a project must be text, in quotes")
        place = f"{path}: projects.{name}"
        project = normalise_project(name)
        if project is None:
            raise KeysFileError(f"{path}: {INVALID_NAME}")
        for entry, key_id in _entries(_mapping(section, place), project, place):
            known = by_digest.setdefault(entry.digest, entry)
            if known.match.project != project:
                raise KeysFileError(
                    f"{path}: one key is listed under two projects, "
                    f"{known.match.project!r} and {project!r}"
                )
            if key_id is not None and by_id.setdefault(key_id, entry).digest != entry.digest:
                raise KeysFileError(f"{place}: two keys have the same id")
    return Keyring(allow_localhost_without_auth=allow, by_id=by_id, by_digest=by_digest)


def _mapping(value: object, place: str) -> dict[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise KeysFileError(f"{place} must be a mapping")
    return value


def _entries(
    section: dict[Any, Any], project: str, place: str
) -> Iterator[tuple[_Entry, str | None]]:
    """The keys of one project, each with its public id if it has one."""
    keys = section.get("keys")
    if keys is None:
        return
    if not isinstance(keys, list):
        raise KeysFileError(f"{place}.keys must be a list")
    for index, item in enumerate(keys):
        at = f"{place}.keys[{index}]"
        if isinstance(item, str):
            if item.strip():
                yield _clear_entry(item.strip(), project)
        elif isinstance(item, dict):
            yield _hashed_entry(item, project, at)
        elif item is not None:
            raise KeysFileError(f"{at} must be text (in quotes) or a mapping")


def _clear_entry(key: str, project: str) -> tuple[_Entry, str | None]:
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    found = _KEY.fullmatch(key)
    key_id = found[1] if found is not None else f"legacy-{digest.hex()[:8]}"
    match = KeyMatch(project=project, key_id=key_id, rights=frozenset())
    entry = _Entry(match=match, digest=digest, expires_at_s=None)
    return entry, key_id if found is not None else None


def _hashed_entry(item: dict[Any, Any], project: str, at: str) -> tuple[_Entry, str]:
    key_id = item.get("id")
    if not isinstance(key_id, str) or _KEY_ID.fullmatch(key_id) is None:
        raise KeysFileError(f"{at}.id must be letters and digits, in quotes")
    sha256 = item.get("sha256")
    if not isinstance(sha256, str) or _SHA256.fullmatch(sha256) is None:
        raise KeysFileError(f"{at}.sha256 must be 64 hexadecimal digits, in quotes")
    rights = item.get("rights")
    rights = [] if rights is None else rights
    if not isinstance(rights, list) or not all(
        isinstance(right, str) and _RIGHT.fullmatch(right) for right in rights
    ):
        raise KeysFileError(f"{at}.rights must be a list of words")
    match = KeyMatch(project=project, key_id=key_id, rights=frozenset(rights))
    expires_at_s = _to_unix(item.get("expires_at"), f"{at}.expires_at")
    return _Entry(match=match, digest=bytes.fromhex(sha256), expires_at_s=expires_at_s), key_id


def _to_unix(value: object, place: str) -> float | None:
    """Unix seconds of a time in the file; one without a zone is UTC."""
    if value is None:
        return None
    moment = value
    if isinstance(value, str):
        with suppress(ValueError):
            moment = dt.datetime.fromisoformat(value.strip())
    if isinstance(moment, dt.date) and not isinstance(moment, dt.datetime):
        moment = dt.datetime(moment.year, moment.month, moment.day, tzinfo=dt.UTC)
    if not isinstance(moment, dt.datetime):
        raise KeysFileError(f"{place} must be a time such as 2030-01-31T12:00:00Z")
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)).timestamp()


@contextmanager
def _only_writer(folder: Path) -> Iterator[int]:
    """Hold the folder's lock, so that two writers do not lose each other's keys."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def _rewrite(
    path: Path, change: Callable[[dict[str, Any] | None], dict[str, Any] | None], *, reads: bool
) -> None:
    """Replace the file by what `change` makes of it (None: of no file); None changes nothing."""
    # A symbolic link stays one: what is replaced is the file that it leads to.
    target = Path(os.path.realpath(path))
    try:
        with _only_writer(target.parent) as folder:
            document: dict[str, Any] | None = None
            owner: os.stat_result | None = None
            if target.exists():
                owner = target.stat()
                document = _read(target) if reads else {}
                _to_keyring(document, path)
            changed = change(document)
            if changed is not None:
                text = yaml.safe_dump(changed, sort_keys=False, allow_unicode=True)
                _replace(target, text.encode("utf-8"), owner)
                os.fsync(folder)
    except OSError as error:
        raise KeysFileError(f"{path}: {error.strerror}") from None


def _replace(target: Path, content: bytes, owner: os.stat_result | None) -> None:
    """Write beside the file, then take its place; nobody else can read it at any moment."""
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            if owner is not None and (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
