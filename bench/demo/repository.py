"""Git, as far as the demo needs it: clone, list, commit one path, read the history back."""

import os
import random
import re
import subprocess
import time
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.demo.evidence import Commit
from bench.demo.failure import DemoError, NotARepository

CLONE_TIMEOUT_S = 600
GIT_TIMEOUT_S = 60
COMMIT_WAIT_S = 30.0
_BACKOFF_FIRST_S = 0.005
_BACKOFF_LAST_S = 0.25
_PATH_LEN_MAX = 500
_FILE_LEN_MAX = 1_000_000
_TRAILERS = ("Agent", "Reservation", "Path", "Edit")

# Git says one of these when another process was quicker; both leave everything as it was.
_LOST_RACE = ("index.lock'", "HEAD.lock'", "cannot lock ref")


def shown(source: str) -> str:
    """The source for a person to read: in full, but without a password that an address holds."""
    if "://" in source or _is_remote(source):
        return re.sub(r"//[^/@]*@", "//", source)
    return str(Path(source).expanduser().resolve())


def clone(source: str, target: Path) -> str:
    """Clone `source`, a path or a URL, without hooks. Returns the commit it stands at.

    Raises:
        NotARepository: `source` is a path and no Git repository.
        DemoError: It cannot be cloned, or there is nothing in it.
    """
    if "://" not in source and not _is_remote(source):
        source = _top_of(source)
    found = _run(
        ["-c", "core.autocrlf=false", "clone", "--quiet", "--template=", "--", source, str(target)],
        environment=_outer_environment(),
        timeout_s=CLONE_TIMEOUT_S,
    )
    if found.returncode:
        raise DemoError(f"git clone of {shown(source)} failed: {_last_line(found.stderr)}")
    head = _git(target, "rev-parse", "--quiet", "--verify", "HEAD^{commit}")
    if head.returncode:
        raise DemoError(f"{shown(source)} has no commits yet: commit something there first")
    # Whatever goes wrong later, nothing of the demo can find its way back.
    _checked(target, "remote", "remove", "origin")
    return head.stdout.decode().strip()


def tracked_files(clone: Path) -> list[str]:
    """Every tracked path, links and submodules included."""
    paths = _checked(clone, "ls-files", "-z").split(b"\0")
    return [path.decode(errors="surrogateescape") for path in paths if path]


def editable_files(clone: Path) -> list[str]:
    """The tracked regular files that an agent may append a line to, and can name in a trailer."""
    found = []
    for entry in _checked(clone, "ls-files", "-z", "--stage").split(b"\0"):
        mode, _, rest = entry.partition(b" ")
        path = rest.partition(b"\t")[2].decode(errors="surrogateescape")
        if mode in (b"100644", b"100755") and _is_plain(path):
            file = clone / path
            if file.is_file() and file.stat().st_size <= _FILE_LEN_MAX:
                found.append(path)
    return found


def commit_path(
    clone: Path, path: str, message: str, *, name: str, random: random.Random
) -> tuple[int, str]:
    """Commit exactly `path`, and again while another process has Git's locks.

    Returns:
        How often it was tried, and what Git said in the end, "" when it is committed.
    """
    identity = {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": "agent@demo.invalid",
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": "agent@demo.invalid",
    }
    command = ("commit", "--quiet", "--no-status", "--only", "-m", message, "--", path)
    backoff_s = _BACKOFF_FIRST_S
    until_s = time.monotonic() + COMMIT_WAIT_S
    tries = 0
    while time.monotonic() < until_s:
        tries += 1
        done = _git(clone, "--literal-pathspecs", *command, more=identity)
        if not done.returncode:
            return tries, ""
        said = done.stderr.decode(errors="replace")
        if not any(sign in said for sign in _LOST_RACE):
            return tries, _last_line(done.stderr + done.stdout)
        time.sleep(random.uniform(0.5, 1) * backoff_s)
        backoff_s = min(backoff_s * 2, _BACKOFF_LAST_S)
    return tries, "another process kept Git's lock all the time"


def commits_since(clone: Path, base: str) -> list[Commit]:
    """The commits after `base`, oldest first, with their trailers and what they touched."""
    fields = "%x1f".join(
        ["%H"] + [f"%(trailers:key={key},valueonly,unfold,separator=%x1d)" for key in _TRAILERS]
    )
    log = _checked(
        clone,
        "log",
        "-z",
        "--reverse",
        "--topo-order",
        "--no-renames",
        "--name-only",
        f"--format=%x1e{fields}%x1f",
        f"{base}..HEAD",
    ).decode(errors="surrogateescape")
    return [_commit(entry) for entry in log.split("\x1e")[1:]]


def _commit(entry: str) -> Commit:
    sha, *values, names = entry.split("\x1f", len(_TRAILERS) + 1)
    # Two trailers of one kind are as good as none: they cannot both be meant.
    agent, reservation, path, edit = ("" if "\x1d" in value else value for value in values)
    touched = tuple(name.lstrip("\n") for name in names.split("\0") if name.strip("\n"))
    return Commit(sha, touched, agent, reservation, path, edit)


def _top_of(source: str) -> str:
    path = Path(source).expanduser()
    if not path.is_dir():
        raise NotARepository(f"{source} is no directory; give --repo a Git repository")
    environment = _outer_environment()
    top = _run(["-C", str(path), "rev-parse", "--show-toplevel"], environment=environment)
    if top.returncode:
        top = _run(["-C", str(path), "rev-parse", "--absolute-git-dir"], environment=environment)
    if top.returncode:
        said = _last_line(top.stderr)
        raise NotARepository(f"{source} is no Git repository: {said}")
    return top.stdout.decode(errors="surrogateescape").rstrip("\n")


def _is_remote(source: str) -> bool:
    """Whether it is Git's short form `host:path` of an address."""
    host, colon, _ = source.partition(":")
    return bool(colon) and "/" not in host and not Path(source).exists()


def _is_plain(path: str) -> bool:
    """Whether a path survives a trailer line and a pattern unchanged, and is no file of Git's."""
    return (
        0 < len(path) <= _PATH_LEN_MAX
        and path.isprintable()
        and path == path.strip()
        and path == unicodedata.normalize("NFC", path)
        and not any(unicodedata.combining(character) for character in path)
        and not path.rpartition("/")[2].startswith(".git")
    )


def _git(
    clone: Path, *arguments: str, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Git inside the clone: no hooks, no signing, no one's own configuration, no clean-up."""
    settings = ["core.hooksPath=/dev/null", "commit.gpgSign=false", "gc.auto=0"]
    options = [item for setting in settings for item in ("-c", setting)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    return _run(
        ["-C", str(clone), *options, *arguments], environment={**environment, **(more or {})}
    )


def _checked(clone: Path, *arguments: str) -> bytes:
    done = _git(clone, *arguments)
    if done.returncode:
        raise DemoError(f"git {arguments[0]} failed: {_last_line(done.stderr)}")
    return done.stdout


def _outer_environment() -> dict[str, str]:
    """The person's own Git, who may need it to reach the repository, but asking nothing."""
    local = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")
    environment = {key: value for key, value in os.environ.items() if key not in local}
    return environment | {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1", "LC_ALL": "C"}


def _run(
    arguments: Sequence[str], *, environment: Mapping[str, str], timeout_s: float = GIT_TIMEOUT_S
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["git", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
        )
    except FileNotFoundError:
        raise DemoError("git is not installed") from None
    except subprocess.TimeoutExpired:
        raise DemoError(f"git {arguments[0]} did not end within {timeout_s:g} s") from None


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("fatal: ") if lines else "it gave no reason"
