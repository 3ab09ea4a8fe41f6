"""The command line of the benchmarks."""

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from bench import (
    actor_rate,
    commit_path,
    fan_out,
    http_rate,
    inbox_page,
    index_figures,
    machine,
    path_race,
    pipeline_rate,
    preflight,
    push_time,
    report,
    resuming,
    send_rate,
    slow_disk,
    start_time,
    waiting,
)
from bench.outputs import COULD_NOT, output_file, written
from bench.report import Result, Scale


class Measure(Protocol):
    """What each benchmark's module offers."""

    def __call__(self, scale: Scale, scratch: Path, *, profile: bool = False) -> Result: ...


BENCHMARKS: dict[str, Measure] = {
    "http": http_rate.measure,
    "actor": actor_rate.measure,
    "index": index_figures.measure,
    "start": start_time.measure,
    "preflight": preflight.measure,
    "race": path_race.measure,
    "commit": commit_path.measure,
    "send": send_rate.measure,
    "inbox": inbox_page.measure,
    "pipeline": pipeline_rate.measure,
    "push": push_time.measure,
    "fanout": fan_out.measure,
    "resume": resuming.measure,
    "waiting": waiting.measure,
    "slowdisk": slow_disk.measure,
}
# Commands with options of their own, each as module and function; loaded when they are called.
COMMANDS = {
    "contention": "bench.contention.main:main",
    "verify": "bench.linearizability.verify:main",
}
# Names for several at once.
GROUPS = {"messages": ("send", "inbox", "pipeline", "push", "fanout", "resume")}


def run(
    names: Sequence[str],
    scale: Scale,
    *,
    profile: bool = False,
    show: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Run benchmarks one after the other and answer what goes into the JSON."""
    found: dict[str, Any] = {}
    with machine.scratch_directory() as scratch:
        members: dict[str, Any] = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "scale": scale.value,
            "machine": machine.facts(scratch),
            "benchmarks": found,
        }
        show(machine.line(members["machine"]))
        for name in names:
            place = scratch / name
            place.mkdir()
            started_s = time.perf_counter()
            result = BENCHMARKS[name](scale, place, profile=profile)
            took_s = time.perf_counter() - started_s
            found[name] = {"seconds": took_s, **result.members()}
            for line in report.lines(f"{name} ({took_s:.0f} s)", result):
                show(line)
    if len(found) > 1:
        for line in report.summary(found):
            show(line)
    return members


def benchmarks_of(names: Sequence[str]) -> list[str]:
    """The benchmarks that are meant, each once, with those of the groups; all when none is named.

    Raises:
        ValueError: There is none of that name.
    """
    meant: dict[str, None] = {}
    for name in names or BENCHMARKS:
        if name not in BENCHMARKS and name not in GROUPS:
            known = ", ".join((*BENCHMARKS, *GROUPS))
            raise ValueError(f"no such benchmark: {name}; there are {known}")
        meant.update(dict.fromkeys(GROUPS.get(name, (name,))))
    return list(meant)


def main(arguments: Sequence[str]) -> int:
    """The command: 0 when every target was reached, 1 when one was missed, 3 without its file."""
    if arguments and arguments[0] in COMMANDS:
        module, _, function = COMMANDS[arguments[0]].partition(":")
        return int(getattr(importlib.import_module(module), function)(arguments[1:]))
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog="contention drives one or several servers, verify checks a recorded history: "
        "each has options of its own, see `python -m bench contention --help`.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join((*BENCHMARKS, *GROUPS)))
    parser.add_argument("--quick", action="store_true", help="smaller numbers, rougher figures")
    parser.add_argument("--profile", action="store_true", help="show where the time goes as well")
    parser.add_argument("--json", type=output_file, metavar="FILE", help="write the result here")
    options = parser.parse_args(arguments)
    try:
        names = benchmarks_of(options.names)
    except ValueError as error:
        parser.error(str(error))
    scale = Scale.QUICK if options.quick else Scale.FULL
    members = run(names, scale, profile=options.profile)
    text = json.dumps(members, indent=2) + "\n"
    unwritten = written(options.json, lambda path: path.write_text(text))
    if unwritten:
        sys.stderr.write(f"{unwritten}\n")
        return COULD_NOT
    missed = [
        figure["name"]
        for result in members["benchmarks"].values()
        for figure in result["figures"]
        if figure["reached"] is False
    ]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
