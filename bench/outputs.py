"""Files that a run writes at its end: whether that can be done is found out at its beginning."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

COULD_NOT = 3
"""The exit code of a run that could not do all that it was to do."""


def output_file(text: str) -> Path:
    """A path that can be written, for `argparse`. Nothing is left behind, nor lost.

    Raises:
        argparse.ArgumentTypeError: It cannot.
    """
    path = Path(text)
    try:
        _try_to_write(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise argparse.ArgumentTypeError(f"{text} cannot be written: {reason}") from None
    return path


def written(path: Path | None, write: Callable[[Path], object]) -> str:
    """Write a file, if one is wanted, whatever became of others.

    Returns:
        Why it could not be written; empty when it was.
    """
    if path is not None:
        try:
            write(path)
        except OSError as error:
            return f"{path} could not be written: {error.strerror or error}"
    return ""


def _try_to_write(path: Path) -> None:
    if path.exists() and not path.is_file() and not path.is_dir():
        # A pipe that is opened to try would make its reader see the end.
        if not os.access(path, os.W_OK):
            raise PermissionError(None, "not allowed")
        return
    is_new = not path.exists() and not path.is_symlink()
    with path.open("ab"):
        pass
    if is_new:
        path.unlink()
