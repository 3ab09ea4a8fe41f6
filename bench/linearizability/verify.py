"""The command that checks recorded histories: `python -m bench verify HISTORY`."""

import argparse
import gc
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from bench.linearizability import picture
from bench.linearizability.checker import TIME_LIMIT_S, Checked, check, language_of
from bench.linearizability.counterexample import lines, said
from bench.linearizability.history import (
    History,
    MalformedHistoryError,
    merge,
    read,
    two_at_once,
)
from bench.linearizability.patterns import Language, PlainPaths
from bench.linearizability.search import REMEMBERED_MAX, Verdict
from bench.linearizability.witness import Disorder
from bench.outputs import output_file, written

_CODES: Final = {Verdict.LINEARIZABLE: 0, Verdict.VIOLATION: 1, Verdict.UNKNOWN: 3}
_UNREADABLE: Final = 2
_EPILOG: Final = """\
exit codes: 0 linearizable, 1 violation, 2 a file that cannot be read, or files that are not of one
run, 3 not decided: time or memory was over before the search was, or there is nothing to check. The
format of a history is described in bench/linearizability/history.py. Reading a file and making it
ready take as long as it is big, beside the time limit.
"""


def main(arguments: Sequence[str]) -> int:
    """The command; see `_EPILOG` for what it answers."""
    options = _parser().parse_args(arguments)
    # A history is millions of objects that live until the end: looking for cycles among them again
    # and again takes longer than the check.
    gc.disable()
    try:
        return _verify(options)
    finally:
        gc.enable()


def _verify(options: argparse.Namespace) -> int:
    try:
        history = merge([read(path) for path in options.histories])
        overlapping = two_at_once(history.calls)
        if overlapping is not None:
            raise MalformedHistoryError(f"the files together: {overlapping}; are they of one run?")
        language: Language = PlainPaths() if options.plain else language_of(history)
        checked = check(
            history,
            language=language,
            time_limit_s=options.time_limit,
            remembered_max=options.remembered,
            whole=options.whole,
        )
    except (MalformedHistoryError, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return _UNREADABLE
    except MemoryError:
        sys.stderr.write("not decided: memory is over\n")
        return _CODES[Verdict.UNKNOWN]
    for line in report(history, checked):
        sys.stdout.write(f"{line}\n")
    example = checked.searched.counterexample
    if options.picture is not None:
        if example is None:
            sys.stdout.write("There is no counterexample of which to draw a picture.\n")
        elif unwritten := written(options.picture, partial(picture.draw, example=example)):
            sys.stderr.write(f"{unwritten}\n")
        else:
            sys.stdout.write(f"The picture is in {options.picture}.\n")
    return _CODES[checked.verdict if checked.calls else Verdict.UNKNOWN]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench verify",
        description="Check whether a recorded history of calls could have come from a server that "
        "takes one call at a time.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add: Callable[..., object] = parser.add_argument
    add("histories", nargs="+", type=Path, metavar="HISTORY", help="files of one run")
    add(
        "--time-limit",
        type=_positive,
        default=TIME_LIMIT_S,
        metavar="S",
        help="seconds for the search, and again for each other step (default %(default)g)",
    )
    add(
        "--picture",
        type=output_file,
        metavar="FILE",
        help="draw a counterexample, as .svg or .html",
    )
    add(
        "--remembered",
        type=_count,
        default=REMEMBERED_MAX,
        metavar="N",
        help="configurations to remember for a part before giving up (default %(default)d)",
    )
    add("--whole", action="store_true", help="search each project in one piece; slower, stricter")
    add(
        "--plain",
        action="store_true",
        help="patterns are plain paths; then none of the product's code is relied on",
    )
    return parser


def _positive(text: str) -> float:
    seconds = float(text)
    if not seconds > 0:
        raise argparse.ArgumentTypeError("more than 0 seconds")
    return seconds


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("1 or more")
    return count


def report(history: History, checked: Checked) -> list[str]:
    """What a check found, as lines of text."""
    searched, witnessed = checked.searched, checked.witnessed
    shown = [
        f"{history.header.server}, {history.header.started_at}: {checked.calls:,} calls, "
        f"{checked.unanswered:,} of them without an answer"
    ]
    if checked.left_out:
        left_out = ", ".join(f"{count:,} {name}" for name, count in checked.left_out.items())
        shown.append(f"not in the model, and not looked at: {left_out}")
    shown.append(
        f"search:  {searched.verdict.value}{_why(searched.why)}; {searched.parts:,} parts, the "
        f"largest of {searched.largest:,} calls, {searched.tried:,} configurations tried"
    )
    if witnessed is None:
        shown.append("witness: no answer says where it stands in the order")
    else:
        shown.append(
            f"witness: {witnessed.verdict.value}{_why(witnessed.why)}; {witnessed.placed:,} calls "
            f"say where they stand, {witnessed.unplaced:,} do not"
        )
    if searched.disorder is not None:
        shown += _pair("Tokens contradict real time", searched.disorder)
    if searched.counterexample is not None:
        shown += lines(searched.counterexample)
        shown += picture.timeline(searched.counterexample)
    if witnessed is not None:
        if witnessed.disorder is not None:
            shown += _pair("The witness is contradicted", witnessed.disorder)
        if witnessed.stuck is not None:
            shown.append("In the order of the witness, this cannot come where it stands:")
            shown.append(f"  {said(witnessed.stuck.blocked.call)}")
            shown += [f"  {reason}" for _, reason in witnessed.stuck.reasons]
    if not checked.calls:
        shown.append("not decided: there are no calls to check")
    elif checked.verdict is Verdict.UNKNOWN:
        shown.append("not decided: more may be found with a greater --time-limit or --remembered")
    else:
        shown.append(checked.verdict.value)
    return shown


def _why(why: str) -> str:
    return f" ({why})" if why else ""


def _pair(what: str, disorder: Disorder) -> list[str]:
    shown = [f"{what}: {disorder.why}"]
    for call in (disorder.first, disorder.second):
        end = "?" if call.return_ns is None else call.return_ns
        place = "" if call.epoch is None else f", at ({call.epoch}, {call.seq})"
        shown.append(f"  {call.client}, {call.invoke_ns} .. {end} ns{place}: {said(call)}")
    return shown
