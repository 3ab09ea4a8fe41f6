"""Which paths are meant: from arguments, from standard input, from what is staged in Git.

All of them are named from the top of the repository, so that everybody means the same file by the
same name, whichever folder they stand in.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import attrs
import click

_SPECIAL = re.compile(r"([*?\[\]{}\\])")


@attrs.frozen
class Place:
    """Where the command runs.

    Attributes:
        here: The working directory.
        top: The top of the repository; the working directory where there is none.
    """

    here: str
    top: str

    @classmethod
    def find(cls) -> "Place":
        here = os.getcwd()
        for folder in (Path(here), *Path(here).parents):
            if (folder / ".git").exists():
                return cls(here, str(folder))
        return cls(here, here)

    def pattern(self, text: str) -> str:
        """The pattern that an argument means: a file that is there, or else a pattern.

        Raises:
            click.UsageError: It lies outside the repository.
        """
        if os.path.lexists(os.path.join(self.here, text)):
            return self.path(text)
        if os.path.isabs(text):
            return _keep_slash(self._from_top(text, text), text)
        # What stands before it are names of folders, whatever characters they are made of.
        folder = escape(os.path.relpath(self.here, self.top))
        found = os.path.normpath(os.path.join(folder, text))
        if found == ".." or found.startswith("../"):
            raise _outside(text, self.top)
        return _keep_slash("" if found == "." else found, text)

    def path(self, text: str) -> str:
        """The pattern that means just this path, and what lies below it.

        Raises:
            click.UsageError: It lies outside the repository.
        """
        return _keep_slash(escape(self._from_top(os.path.join(self.here, text), text)), text)

    def _from_top(self, absolute: str, text: str) -> str:
        for candidate in (os.path.normpath(absolute), _without_links(absolute)):
            if candidate == self.top:
                return ""
            if candidate.startswith(self.top.rstrip("/") + "/"):
                return candidate[len(self.top.rstrip("/")) + 1 :]
        raise _outside(text, self.top)


def _without_links(absolute: str) -> str:
    """The path with links on the way to it followed; it may be a link itself."""
    folder, name = os.path.split(os.path.normpath(absolute))
    return os.path.join(os.path.realpath(folder), name)


def _keep_slash(pattern: str, text: str) -> str:
    """A slash at the end means what lies strictly below; the top is everything."""
    if not pattern:
        return "**"
    return pattern + "/" if text.endswith("/") else pattern


def _outside(text: str, top: str) -> click.UsageError:
    return click.UsageError(f"{text!r} lies outside of {top}")


def escape(path: str) -> str:
    """The pattern that means a path by that very name."""
    return _SPECIAL.sub(r"\\\1", path)


def read_names(stream: BinaryIO, *, nul: bool) -> list[str]:
    """Names separated by NUL, if there is one or `nul` says so, else by line ends.

    Raises:
        click.UsageError: A name is not UTF-8.
    """
    data = stream.read()
    if nul or b"\0" in data:
        names = data.split(b"\0")
    else:
        names = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    return [_decode(name) for name in names if name]


def staged_names() -> list[str]:
    """What the next commit changes, named from the top: a renamed file by both of its names.

    Raises:
        click.UsageError: This is no repository.
        click.ClickException: There is no Git.
    """
    command = ("git", "diff", "--cached", "--name-only", "--no-renames", "--no-relative", "-z")
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise click.ClickException(f"git cannot be run: {error}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise click.UsageError(f"git cannot tell what is staged: {said[0]}")
    return [_decode(name) for name in done.stdout.split(b"\0") if name]


def _decode(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise _no_text(name) from None


def _no_text(name: bytes) -> click.UsageError:
    return click.UsageError(f"the name {name!r} is not UTF-8, so it cannot be asked for")


def is_utf8(text: str) -> bool:
    """Whether it can be sent. Bytes that are no UTF-8 stand in an argument as half characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def collect(arguments: Iterable[str], *, stdin: bool, nul: bool, staged: bool) -> tuple[str, ...]:
    """The patterns that are meant, each once, in the order in which they were named.

    An argument that names something that is there means just that, whatever characters it has;
    any other is a pattern. Names from elsewhere are never patterns.

    Raises:
        click.UsageError: A name lies outside of the repository, or is not UTF-8.
    """
    place = Place.find()
    given = list(arguments)
    found: dict[str, None] = dict.fromkeys(place.pattern(text) for text in given if text != "-")
    if stdin or "-" in given:
        names = read_names(sys.stdin.buffer, nul=nul)
        found.update((place.path(name), None) for name in names)
    if staged:
        found.update((escape(name), None) for name in staged_names())
    for pattern in found:
        if not is_utf8(pattern):
            raise _no_text(os.fsencode(pattern))
    return tuple(found)
