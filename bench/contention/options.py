"""The options of the command, and what makes no sense among them."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from bench.contention.crew import processes_default
from bench.contention.sockets import DRIVERS, TRIO_WEBSOCKET
from bench.contention.stage import OPEN_LINKS_MAX
from bench.contention.targets import Named
from bench.contention.workloads import WORKLOADS
from bench.outputs import output_file

KEY_VARIABLE = "INTERMUTE_API_KEY"
_KEY_LEN_MAX = 1_000
_EPILOG = (
    "Exit code 1: a server did what none may, such as granting one path to two. 2: the options "
    "make no sense, or a target does not do the least. 3: the run is incomplete, for a generator "
    "process was lost, a signal came (Ctrl-C), a target did nothing of what it was asked, or a "
    "file could not be written; what was measured is shown and written."
)


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    found = argparse.ArgumentParser(
        prog="python -m bench contention",
        description="load on one or several servers side by side, and what came of it",
        epilog=_EPILOG,
    )
    found.add_argument(
        "workloads", nargs="*", metavar="WORKLOAD", help=f"all if none: {', '.join(WORKLOADS)}"
    )
    _add_targets(found)
    found.add_argument("--quick", action="store_true", help="smaller numbers, rougher figures")
    found.add_argument(
        "--seconds", type=_positive, help="of measuring each setting of a workload on each target"
    )
    found.add_argument(
        "--clients",
        type=_count,
        help="instead of a workload's own number; in open loop the most connections, of which one "
        f"opens as many as it needs (at most {OPEN_LINKS_MAX:,} if not said)",
    )
    found.add_argument(
        "--rate",
        type=_positive,
        help="calls a second: an open loop, for "
        + ", ".join(each.name for each in WORKLOADS.values() if each.has_rate)
        + ". Of a round of several calls only the first has an intended time",
    )
    found.add_argument(
        "--skew", type=_skew, help="of the paths of the contended mix: 0 all alike, 1 if not said"
    )
    found.add_argument("--processes", type=_count, default=processes_default())
    found.add_argument("--seed", type=int, default=1)
    found.add_argument("--json", type=output_file, metavar="FILE", help="write the result here")
    found.add_argument(
        "--html", type=output_file, metavar="FILE", help="write a report with plots here"
    )
    found.add_argument(
        "--history",
        type=output_file,
        metavar="FILE",
        help="keep every call of reserve, race and contended here, for `python -m bench verify`",
    )
    return found


def _add_targets(found: argparse.ArgumentParser) -> None:
    found.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="NAME=URL",
        help="a server, such as go=http://127.0.0.1:7338; may be repeated, and the targets take "
        "turns. None: a server of our own on an empty directory",
    )
    found.add_argument(
        "--api-key-file",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="a file with the key that target NAME wants to be shown, and nothing else; for a "
        f"single target without NAME=, or from {KEY_VARIABLE}. All calls are in the key's project "
        "then, so use one that was made for it. Keys are neither stored nor shown",
    )
    found.add_argument(
        "--driver",
        choices=("http", "websocket"),
        default="http",
        help="what calls are made over, where a workload does not say",
    )
    found.add_argument(
        "--websocket",
        choices=DRIVERS,
        default=TRIO_WEBSOCKET,
        help="what WebSockets are made with, those of feeds too. trio-websocket is what a client "
        "is written with. It takes several times the processor time of the lean one, which is "
        "there for when the report says that the generator was the limit, as in fan-out "
        "to hundreds",
    )


def with_keys(
    targets: Sequence[Named], files: Sequence[str], environ: Mapping[str, str]
) -> list[Named]:
    """The targets with the keys that they are to be shown.

    The variable is for a single target, so that no key goes to a server that it is not for.

    Args:
        files: `NAME=FILE`, or only `FILE` for a single target.

    Raises:
        ValueError: A file is for none of the targets, cannot be read, or holds no key. The text
            does not say what the file holds.
    """
    keys: dict[str, str] = {}
    if len(targets) == 1 and environ.get(KEY_VARIABLE):
        keys[targets[0].name] = _key(environ[KEY_VARIABLE], KEY_VARIABLE)
    names = {target.name for target in targets}
    for text in files:
        name, _, file = text.partition("=")
        if name not in names:
            if len(names) != 1:
                raise ValueError(f"{text!r}: NAME=FILE is needed, with the NAME of a --target")
            (name,), file = names, text
        try:
            keys[name] = _key(Path(file).read_text(encoding="utf-8"), file)
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"the key file {file!r} cannot be read: {error}") from None
    return [
        attrs.evolve(each, address=attrs.evolve(each.address, key=keys.get(each.name, "")))
        for each in targets
    ]


def _key(text: str, source: str) -> str:
    key = text.strip()
    if not key.isascii() or not key.isprintable() or " " in key or not 0 < len(key) <= _KEY_LEN_MAX:
        raise ValueError(f"{source} holds no key: one line without spaces is needed")
    return key


def _number(least: float, *, excluded: bool) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text)
        if not least <= value < float("inf") or (excluded and value == least):
            raise argparse.ArgumentTypeError(f"{text} is too small or no number")
        return value

    return parse


_positive = _number(0, excluded=True)
_skew = _number(0, excluded=False)


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value
