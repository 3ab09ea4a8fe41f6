"""The contention harness: load on one or several servers side by side, and what came of it."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter

import attrs
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import machine
from bench.contention import html, results, summary
from bench.contention.crew import Crew, GeneratorFailed, crew_of, processes_default
from bench.contention.jobs import Place
from bench.contention.run import Setting, Step, measure, slices_of
from bench.contention.targets import Named, Unreachable, parse_target, probe
from bench.contention.workloads import WORKLOADS
from bench.contention.workloads.base import Load, Workload
from bench.linearizability import history
from bench.report import Scale
from bench.server import running_server

OURS = "ours"
_WIDTH = 140
_SECONDS = {Scale.FULL: 8.0, Scale.QUICK: 1.5, Scale.TINY: 0.2}
_TURNS = {Scale.FULL: 8, Scale.QUICK: 3, Scale.TINY: 1}


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    found = argparse.ArgumentParser(
        prog="python -m bench contention",
        description=__doc__,
        epilog="Exit code 1: a server did what none may, such as granting one path to two.",
    )
    found.add_argument(
        "workloads", nargs="*", metavar="WORKLOAD", help=f"all if none: {', '.join(WORKLOADS)}"
    )
    found.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="NAME=URL",
        help="a server, such as go=http://127.0.0.1:7338; may be repeated, and the targets take "
        "turns. None: a server of our own on an empty directory",
    )
    found.add_argument("--driver", choices=("http", "websocket"), default="http")
    found.add_argument("--quick", action="store_true", help="smaller numbers, rougher figures")
    found.add_argument(
        "--seconds", type=_positive, help="of measuring each setting of a workload on each target"
    )
    found.add_argument("--clients", type=_count, help="instead of a workload's own number")
    found.add_argument(
        "--rate", type=_positive, help="calls a second: an open loop, for reserve and send"
    )
    found.add_argument(
        "--skew", type=_skew, default=1.0, help="of the paths of the contended mix; 0: all alike"
    )
    found.add_argument("--processes", type=_count, default=processes_default())
    found.add_argument("--seed", type=int, default=1)
    found.add_argument("--json", type=Path, metavar="FILE", help="write the result here")
    found.add_argument("--html", type=Path, metavar="FILE", help="write a report with plots here")
    found.add_argument(
        "--history",
        type=Path,
        metavar="FILE",
        help="keep every call of reserve, race and contended here, for `python -m bench verify`",
    )
    return found


def main(arguments: Sequence[str]) -> int:
    """The command: 0 when no violation was seen, 1 when there was one."""
    options_of = parser()
    options = options_of.parse_args(arguments)
    # A table that is cut to eighty columns is of no use in a file.
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    try:
        workloads = workloads_of(options.workloads)
        targets = [parse_target(text) for text in options.target]
        if len({target.name for target in targets}) < len(targets):
            raise ValueError("two targets have one name")
    except ValueError as error:
        options_of.error(str(error))
    scale = Scale.QUICK if options.quick else Scale.FULL
    load = load_of(
        scale,
        seconds=options.seconds,
        clients=options.clients,
        rate=options.rate,
        skew=options.skew,
    )
    try:
        run = drive(
            workloads,
            load,
            targets,
            driver=options.driver,
            processes=options.processes,
            seed=options.seed,
            history_file=options.history,
            console=console,
        )
    except (Unreachable, GeneratorFailed) as error:
        options_of.error(str(error))
    summary.show(run, console)
    if options.json is not None:
        results.save(run, options.json)
    if options.html is not None:
        html.write(run, options.html)
    return 1 if any(workload.violations for workload in run.workloads) else 0


def load_of(
    scale: Scale,
    *,
    seconds: float | None = None,
    clients: int | None = None,
    rate: float | None = None,
    skew: float = 1.0,
) -> Load:
    """What a scale means, but for what is said otherwise."""
    return Load(
        scale=scale,
        turns=_TURNS[scale],
        seconds=seconds or _SECONDS[scale],
        clients=clients,
        rate=rate,
        skew=skew,
    )


def workloads_of(names: Sequence[str]) -> list[Workload]:
    """The workloads that are meant, each once; all when none is named.

    Raises:
        ValueError: There is none of that name.
    """
    unknown = [name for name in names if name not in WORKLOADS]
    if unknown:
        raise ValueError(f"no such workload: {unknown[0]}; there are {', '.join(WORKLOADS)}")
    return [WORKLOADS[name] for name in dict.fromkeys(names or WORKLOADS)]


def drive(
    workloads: Sequence[Workload],
    load: Load,
    targets: Sequence[Named],
    *,
    driver: str = "http",
    processes: int = 2,
    seed: int = 1,
    history_file: Path | None = None,
    console: Console | None = None,
) -> results.Run:
    """A whole run.

    Args:
        targets: None: a server of our own is started, and ended afterwards.
        history_file: Where to keep the calls of the workloads that can be checked.
        console: Where progress is shown; None: nowhere.

    Raises:
        Unreachable: A target does not speak this wire.
    """
    began_s = perf_counter()
    with machine.scratch_directory() as scratch, ExitStack() as stack:
        places = [probe(target) for target in targets] or [stack.enter_context(_own(scratch))]
        setting = Setting(
            load, places, driver=driver, keeps_history=history_file is not None, seed=seed
        )
        parts = [scratch / f"history-{part}" for part in range(processes)]
        run = results.begun(
            load.scale,
            machine.facts(scratch),
            settings={**attrs.asdict(load), "driver": driver, "seed": seed, "processes": processes},
            targets=[_target_of(place) for place in places],
        )
        if console is not None:
            console.print(machine.line({**run.machine, **run.versions}))
        found: list[results.Workload] = []
        with (
            crew_of(processes, parts if history_file is not None else ()) as crew,
            _progress(console, sum(slices_of(each, setting) for each in workloads)) as step,
        ):
            found += [_measured(each, setting, crew, step, history_file) for each in workloads]
        if history_file is not None:
            keep_history(parts, history_file, run)
    return attrs.evolve(run, workloads=tuple(found), seconds=perf_counter() - began_s)


def _measured(
    workload: Workload, setting: Setting, crew: Crew, step: Step, history_file: Path | None
) -> results.Workload:
    found = measure(workload, setting, crew, step)
    if history_file is None or not workload.is_recorded:
        return found
    return attrs.evolve(found, history=str(history_file))


def keep_history(parts: Sequence[Path], file: Path, run: results.Run) -> None:
    """Put what each generator process recorded into one file."""
    merged = history.merge(history.read(part) for part in parts)
    header = attrs.evolve(
        merged.header,
        server=", ".join(f"{target.name} ({target.url})" for target in run.targets),
        started_at=run.at,
        settings={"harness": run.commit, **run.settings},
    )
    history.write(file, history.History(header, merged.calls))


@contextmanager
def _own(scratch: Path) -> Iterator[Place]:
    with running_server(scratch / OURS) as server:
        target = parse_target(f"{OURS}=http://{server.host}:{server.port}")
        yield probe(target, server.pid)


def _target_of(place: Place) -> results.Target:
    return results.Target(
        place.name,
        f"http://{place.host}:{place.port}",
        capabilities=tuple(sorted(place.capabilities)),
    )


@contextmanager
def _progress(console: Console | None, total: int) -> Iterator[Step]:
    if console is None:
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        begun = False

        def step(description: str) -> None:
            nonlocal begun
            progress.update(task, description=description, advance=1 if begun else 0)
            begun = True

        yield step


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
