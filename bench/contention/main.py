"""The contention harness: load on one or several servers side by side, and what came of it."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import attrs
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import machine
from bench.contention import html, results, summary
from bench.contention.crew import Crew, crew_of
from bench.contention.jobs import Place
from bench.contention.options import parser, with_keys
from bench.contention.run import Setting, Step, measure, slices_of
from bench.contention.says import said_by
from bench.contention.sockets import TRIO_WEBSOCKET
from bench.contention.targets import Named, Unreachable, parse_target, probe
from bench.contention.workloads import WORKLOADS
from bench.contention.workloads.base import Load, Workload
from bench.linearizability import history
from bench.outputs import COULD_NOT, written
from bench.report import Scale
from bench.server import running_server
from intermute.cli.wording import plain

OURS = "ours"
_OURS_SAYS = {"started": "by the harness, with the versions of the harness"}
INCOMPLETE = COULD_NOT
_WIDTH = 140
_SECONDS = {Scale.FULL: 8.0, Scale.QUICK: 1.5, Scale.TINY: 0.2}
_TURNS = {Scale.FULL: 8, Scale.QUICK: 3, Scale.TINY: 1}


def main(arguments: Sequence[str]) -> int:
    """The command: 0 when no violation was seen, 1 when there was one, 3 when it is incomplete.

    It is incomplete as well when a target did not answer as a workload needs it, or when a file
    could not be written.
    """
    options_of = parser()
    options = options_of.parse_args(arguments)
    # A table that is cut to eighty columns is of no use in a file.
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    try:
        workloads = workloads_of(options.workloads)
        load = _load(options)
        _refuse_without_meaning(workloads, load)
        targets = [parse_target(text) for text in options.target]
        if len({target.name for target in targets}) < len(targets):
            raise ValueError("two targets have one name")
        targets = with_keys(targets, options.api_key_file, os.environ)
    except ValueError as error:
        options_of.error(str(error))
    try:
        run = drive(
            workloads,
            load,
            targets,
            driver=options.driver,
            websocket=options.websocket,
            processes=options.processes,
            seed=options.seed,
            history_file=options.history,
            console=console,
        )
    except Unreachable as error:
        options_of.error(str(error))
    except KeyboardInterrupt:
        console.print("stopped before anything was measured, or for the second time")
        return INCOMPLETE
    # Files first: nobody may be left who reads what is shown.
    unwritten = [
        written(options.json, lambda path: results.save(run, path)),
        written(options.html, lambda path: html.write(run, path)),
    ]
    summary.show(run, console)
    for text in filter(None, unwritten):
        console.print(f"[bold red]{escape(plain(text))}[/]")
    if any(workload.violations for workload in run.workloads):
        return 1
    lost = any(workload.unmeasured for workload in run.workloads)
    return INCOMPLETE if run.incomplete or lost or any(unwritten) else 0


def _load(options: argparse.Namespace) -> Load:
    return load_of(
        Scale.QUICK if options.quick else Scale.FULL,
        seconds=options.seconds,
        clients=options.clients,
        rate=options.rate,
        skew=options.skew,
    )


def _refuse_without_meaning(workloads: Sequence[Workload], load: Load) -> None:
    """Refuse what somebody asked for that means nothing to any of the workloads.

    Raises:
        ValueError: There is such an option.
    """
    without = [set(workload.passed_over(load)) for workload in workloads]
    for name in sorted(set.intersection(*without)):
        names = ", ".join(workload.name for workload in workloads)
        raise ValueError(f"--{name} has no meaning in {names}")


def load_of(
    scale: Scale,
    *,
    seconds: float | None = None,
    clients: int | None = None,
    rate: float | None = None,
    skew: float | None = None,
) -> Load:
    """What a scale means, but for what is said otherwise."""
    asked = {"seconds": seconds, "clients": clients, "rate": rate, "skew": skew}
    return Load(
        scale=scale,
        turns=_TURNS[scale],
        seconds=seconds or _SECONDS[scale],
        clients=clients,
        rate=rate,
        skew=1.0 if skew is None else skew,
        given=frozenset(name for name, value in asked.items() if value is not None),
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
    websocket: str = TRIO_WEBSOCKET,
    processes: int = 2,
    seed: int = 1,
    history_file: Path | None = None,
    console: Console | None = None,
) -> results.Run:
    """A whole run, or what there is of it when a generator is lost or a signal comes.

    Args:
        targets: None: a server of our own is started, and ended afterwards.
        history_file: Where to keep the calls of the workloads that can be checked.
        console: Where progress is shown; None: nowhere.

    Raises:
        Unreachable: A target does not speak this wire.
    """
    began_s = perf_counter()
    with machine.scratch_directory() as scratch, ExitStack() as stack:
        places = [_probed(target, console) for target in targets]
        places = places or [stack.enter_context(_own(scratch))]
        setting = Setting(
            load,
            places,
            driver=driver,
            websocket=websocket,
            keeps_history=history_file is not None,
            seed=seed,
        )
        parts = [scratch / f"history-{part}" for part in range(processes)]
        run = results.begun(
            load.scale,
            machine.facts(scratch),
            settings=_settings(setting, processes),
            targets=[_target_of(place) for place in places],
        )
        if console is not None:
            console.print(machine.line({**run.machine, **run.versions}))
        with (
            crew_of(processes, parts if history_file is not None else ()) as crew,
            _progress(console, sum(slices_of(each, setting) for each in workloads)) as step,
        ):
            found = _measured(workloads, setting, crew, step, history_file)
        run = attrs.evolve(
            run,
            workloads=tuple(found),
            seconds=perf_counter() - began_s,
            incomplete=_incomplete(workloads, found),
        )
        unkept = written(history_file, lambda path: keep_history(parts, path, run, setting.run_id))
        if unkept:
            without = tuple(attrs.evolve(each, history=None) for each in run.workloads)
            said = "; ".join(filter(None, [run.incomplete, unkept]))
            run = attrs.evolve(run, workloads=without, incomplete=said)
    return run


def _settings(setting: Setting, processes: int) -> dict[str, Any]:
    load = attrs.asdict(setting.load, filter=attrs.filters.exclude("given"))
    return {
        **load,
        "driver": setting.driver,
        "websocket": setting.websocket,
        "seed": setting.seed,
        "processes": processes,
        "shown a key": [place.name for place in setting.places if place.key],
    }


def _measured(
    workloads: Sequence[Workload],
    setting: Setting,
    crew: Crew,
    step: Step,
    history_file: Path | None,
) -> list[results.Workload]:
    """The workloads one after the other, as far as there is a crew for them."""
    found: list[results.Workload] = []
    for workload in workloads:
        if not crew.is_whole:
            break
        one = measure(workload, setting, crew, step)
        if history_file is not None and workload.is_recorded and not one.incomplete:
            one = attrs.evolve(one, history=str(history_file))
        found.append(one)
    return found


def _incomplete(workloads: Sequence[Workload], found: Sequence[results.Workload]) -> str:
    """Why not everything was measured, and what was not."""
    said = [each.incomplete for each in found if each.incomplete]
    left = [workload.name for workload in workloads[len(found) :]]
    if left and not said:
        said = ["stopped between two workloads"]
    return "; ".join([*said, *([f"not begun: {', '.join(left)}"] if left else [])])


def keep_history(parts: Sequence[Path], file: Path, run: results.Run, run_id: str) -> None:
    """Put what each generator process recorded into one file.

    Of a workload that was stopped there is nothing in it: a call that its generator took with it
    may have had an effect that nobody could explain.
    """
    if run.incomplete:
        for part in parts:
            _end_with_a_line(part)
    begun = [history.read(part) for part in parts if part.exists() and part.stat().st_size]
    merged = history.merge(begun or [history.History(history.Header(server=""), ())])
    stopped = {f"bench-{run_id}-{each.name}" for each in run.workloads if each.incomplete}
    header = attrs.evolve(
        merged.header,
        server=", ".join(f"{target.name} ({target.url})" for target in run.targets),
        started_at=run.at,
        settings={"harness": run.commit, **run.settings},
    )
    kept = tuple(call for call in merged.calls if call.project.split("/")[-1] not in stopped)
    history.write(file, history.History(header, kept))


def _end_with_a_line(part: Path) -> None:
    """Take away what a generator that was killed has not written to its end."""
    if part.exists():
        data = part.read_bytes()
        part.write_bytes(data[: data.rfind(b"\n") + 1])


def _probed(target: Named, console: Console | None) -> Place:
    if console is not None:
        console.print(f"looking at what {plain(target.name)} ({plain(target.url)}) can do")
    return probe(target)


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
        says=_OURS_SAYS if place.pid is not None else said_by(place.address),
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
