"""A run: workloads one after the other, and in each of them the targets in turns."""

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import attrs

from bench.contention import results
from bench.contention.crew import Crew, Done, Interrupted
from bench.contention.fared import generator_of
from bench.contention.histogram import merged
from bench.contention.jobs import Job, Place, Variant
from bench.contention.results import Measured, Series, Skipped, Slice, slice_of
from bench.contention.sockets import TRIO_WEBSOCKET
from bench.contention.targets import WHAT_IT_IS
from bench.contention.workloads.base import Judged, Load, Part, Workload

_SHOWN_MAX = 50

Step = Callable[[str], object]


@attrs.frozen
class Setting:
    """What all workloads of a run share."""

    load: Load
    places: Sequence[Place]
    driver: str = "http"
    websocket: str = TRIO_WEBSOCKET
    keeps_history: bool = False
    seed: int = 1
    run_id: str = attrs.field(factory=lambda: secrets.token_hex(3))


@attrs.define
class _Seen:
    """What was found on one target so far.

    Attributes:
        first: The preparations, where they measure something.
        failed: Why the workload does not go on on it; empty while it does.
    """

    parts: list[Part] = attrs.field(factory=list)
    done: list[Done] = attrs.field(factory=list)
    first: list[Done] = attrs.field(factory=list)
    violations: list[str] = attrs.field(factory=list)
    unexpected: Counter[str] = attrs.field(factory=Counter)
    failed: str = ""


def slices_of(workload: Workload, setting: Setting) -> int:
    """How many steps a workload takes, preparations included."""
    able = sum(lacks(workload, place, setting) is None for place in setting.places)
    load = setting.load
    return able * sum(1 + _turns(variant, load) for variant in workload.variants(load))


def _turns(variant: Variant, load: Load) -> int:
    return min(load.turns, variant.turns_most)


def _slice_seconds(variant: Variant, load: Load) -> float:
    return max(load.seconds / load.turns, variant.least_s)


def measure(workload: Workload, setting: Setting, crew: Crew, step: Step) -> results.Workload:
    """Run one workload on all targets that can do it, or as much of it as there is a crew for.

    In every round each target has one turn, every other round backwards, so that whatever changes
    on the machine meanwhile meets all of them.

    Args:
        step: Called before each slice, with what it is.
    """
    began_s = perf_counter()
    reasons = {place.name: lacks(workload, place, setting) for place in setting.places}
    places = [place for place in setting.places if reasons[place.name] is None]
    seen = {place.name: _Seen() for place in places}
    variants = workload.variants(setting.load) if places else []
    incomplete = ""
    try:
        for at, variant in enumerate(variants):
            jobs = {each.name: _job(workload, variant, each, setting, began_s) for each in places}
            # With one turn of each variant the order changes all the same.
            order = places if at % 2 == 0 else places[::-1]
            _measure(workload, jobs, order, setting, crew, seen, step)
    except _Stopped as error:
        incomplete = str(error)
    judged = {name: _judged(workload, found, len(variants)) for name, found in seen.items()}
    unmeasured = () if incomplete else _unmeasured(seen)
    violations = _violations(seen, judged)
    return results.Workload(
        name=workload.name,
        title=workload.title,
        settings=_settings(workload, setting),
        measured=tuple(
            _measured(name, found, judged[name])
            for name, found in seen.items()
            if found.done or not found.failed
        ),
        skipped=tuple(Skipped(name, why) for name, why in reasons.items() if why is not None),
        violations=tuple(violations[:_SHOWN_MAX]),
        violations_more=max(0, len(violations) - _SHOWN_MAX),
        warnings=(
            *_passed_over(workload, setting.load),
            *_one_turn(variants, places, setting.load),
            *_warnings(seen, judged, unmeasured),
        ),
        seconds=perf_counter() - began_s,
        incomplete=incomplete,
        unmeasured=unmeasured,
    )


class _Stopped(Exception):
    """No more can be measured; the text says in what it was stopped, and why."""


def _measure(
    workload: Workload,
    jobs: dict[str, Job],
    places: Sequence[Place],
    setting: Setting,
    crew: Crew,
    seen: dict[str, _Seen],
    step: Step,
) -> None:
    """All turns of one variant, on the targets on which the workload has not failed.

    Raises:
        _Stopped: A generator is lost, whose part of the last slice is missing, or a signal came.
    """
    for place in _going_on(places, seen):
        job, found = jobs[place.name], seen[place.name]
        what = f"{job.workload} {job.variant.label} on {place.name}".replace("  ", " ")
        step(f"{what}: prepare")
        done = _do(crew, job, f"preparing {what}")
        for report in done.reports:
            found.unexpected.update(report.unexpected)
            found.violations += report.violations
        _raise_if_lost(done, f"preparing {what}")
        if workload.measures_first:
            found.first.append(done)
        report = done.reports[0]
        found.failed = report.failed
        if not found.failed:
            variant = workload.settled(job.variant, report.values, found.parts)
            jobs[place.name] = attrs.evolve(job, prepared=report.values, variant=variant)
            found.parts.append(Part(variant))
    for turn in range(_turns(next(iter(jobs.values())).variant, setting.load)):
        for place in _going_on(places if turn % 2 == 0 else places[::-1], seen):
            job = attrs.evolve(jobs[place.name], turn=turn)
            what = f"{job.workload} {job.variant.label} on {place.name}".replace("  ", " ")
            step(what)
            done = _do(crew, job, what)
            _add(done, job, seen[place.name])
            _raise_if_lost(done, what)


def _going_on(places: Sequence[Place], seen: dict[str, _Seen]) -> list[Place]:
    return [place for place in places if not seen[place.name].failed]


def _do(crew: Crew, job: Job, what: str) -> Done:
    try:
        return crew.do(job)
    except Interrupted as error:
        raise _Stopped(f"in {what}: {error}") from error


def _raise_if_lost(done: Done, what: str) -> None:
    if done.lost:
        raise _Stopped(f"in {what}: {done.lost}")


def _judged(workload: Workload, seen: _Seen, variants: int) -> Judged:
    """What the workload makes of it, if there is something of each of its variants."""
    if seen.failed:
        return Judged()
    if len(seen.parts) == variants and all(part.took_s for part in seen.parts):
        return workload.judge(seen.parts)
    return Judged(warnings=("its figures are left out: not everything was measured",))


def lacks(workload: Workload, place: Place, setting: Setting) -> str | None:
    """Why a target is left out of a workload; None when it takes part."""
    needs = set(workload.needs)
    if place.project and workload.makes_projects:
        return "its key is for one project, and this workload needs many"
    if setting.driver == "websocket":
        if not workload.over_sockets:
            return "this workload makes its calls over HTTP only"
        needs.add("rpc")
    missing = sorted(needs - place.capabilities)
    if not missing:
        return None
    return "cannot " + ", and cannot ".join(WHAT_IT_IS[each] for each in missing)


def _job(
    workload: Workload, variant: Variant, place: Place, setting: Setting, began_s: float
) -> Job:
    load = setting.load
    return Job(
        workload=workload.name,
        variant=variant,
        place=place,
        project=place.project or f"bench-{setting.run_id}-{workload.name}",
        prepared=None,
        turn=0,
        part=0,
        parts=1,
        seconds=_slice_seconds(variant, load),
        began_s=began_s,
        seed=setting.seed,
        rate=load.rate if workload.has_rate else None,
        driver=setting.driver,
        websocket=setting.websocket,
        run_id=setting.run_id,
        keeps_history=setting.keeps_history and workload.is_recorded,
    )


def _add(done: Done, job: Job, seen: _Seen) -> None:
    """Merge what came of a slice into what was found before."""
    part = seen.parts[-1]
    seen.done.append(done)
    of_turn: dict[str, Series] = {}
    for report in done.reports:
        seen.unexpected.update(report.unexpected)
        seen.violations += report.violations
        seen.failed = seen.failed or report.failed
        part.answered += report.answered
        part.counts.update(report.counts)
        for name, found in report.values.items():
            part.values.setdefault(name, []).extend(found)
        for series in report.series:
            of_turn.setdefault(series.name, Series(series.name)).merge(series)
    for name, series in of_turn.items():
        part.slices.append(_slice(series, done, job))
        rate = series.intended_rate
        whole = part.series.setdefault(name, Series(name))
        whole.merge(series)
        # The rates of processes add up, and those of turns do not.
        whole.intended_rate = rate
    part.memory += [(at_s - job.began_s, held) for at_s, held in done.memory]
    part.took_s += done.took_s


def _slice(series: Series, done: Done, job: Job) -> Slice:
    """The turn that a series is of: the whole slice, or in open loop what its calls were due in."""
    due = [report.due[series.name] for report in done.reports if series.name in report.due]
    if not due:
        return slice_of(
            series, turn=job.turn, started_s=done.started_s - job.began_s, took_s=done.took_s
        )
    until_s = due[0].until_s
    # Nobody is answered at once: what was asked last is as much of the slice as what was asked
    # first if its answer is as late after the end as the first one was after the beginning.
    after = merged([each.after for each in due]).up_to(series.latency.least_us)
    return slice_of(
        series,
        turn=job.turn,
        started_s=due[0].since_s - job.began_s,
        took_s=until_s - due[0].since_s,
        ok=sum(each.in_time for each in due) + after,
        drained_s=max(0.0, max(each.last_s for each in due) - until_s),
    )


def _slices(part: Part) -> list[Slice]:
    """The turns of all series, those among them in which there was no such call."""
    turns = {each.turn: each for each in part.slices}
    there = {(each.series, each.turn) for each in part.slices}
    return part.slices + [
        slice_of(Series(name), turn=turn, started_s=each.started_s, took_s=each.took_s)
        for name in part.series
        for turn, each in turns.items()
        if (name, turn) not in there
    ]


def _settings(workload: Workload, setting: Setting) -> dict[str, Any]:
    variants = workload.variants(setting.load)
    load = setting.load
    is_open = load.rate is not None and workload.has_rate
    turns = max((_turns(each, load) for each in variants), default=load.turns)
    seconds = max((turns * _slice_seconds(each, load) for each in variants), default=0.0)
    return {
        "driver": setting.driver,
        **({"websocket": setting.websocket} if _uses_sockets(workload, setting) else {}),
        **({} if "seconds" in workload.passes_over else {"seconds": seconds}),
        "turns": turns,
        "loop": workload.loop(load),
        "connections at most" if is_open else "clients": [variant.clients for variant in variants],
        **{
            name: [variant.numbers[name] for variant in variants]
            for name in (variants[0].numbers if variants else ())
        },
    }


def _uses_sockets(workload: Workload, setting: Setting) -> bool:
    return setting.driver == "websocket" or "websocket" in workload.needs


def _measured(name: str, seen: _Seen, judged: Judged) -> Measured:
    return Measured(
        target=name,
        series=tuple(series for part in seen.parts for series in part.series.values()),
        slices=tuple(at for part in seen.parts for at in _slices(part)),
        figures=judged.figures,
        curves=judged.curves,
        generator=generator_of(seen.done),
        unmeasured=judged.unmeasured,
    )


def _unmeasured(seen: dict[str, _Seen]) -> tuple[Skipped, ...]:
    """The targets on which the workload failed, or that gave it not one wanted answer."""
    found = []
    for name, each in seen.items():
        why = each.failed
        if not why and not any(part.answered for part in each.parts):
            why = "it did nothing of what it was asked"
            if each.unexpected:
                why += f"; most often: {each.unexpected.most_common(1)[0][0]}"
        if why:
            found.append(Skipped(name, why))
    return tuple(found)


def _violations(seen: dict[str, _Seen], judged: dict[str, Judged]) -> list[str]:
    return [
        f"{name}: {text}"
        for name in seen
        for text in (*seen[name].violations, *judged[name].violations)
    ]


def _passed_over(workload: Workload, load: Load) -> list[str]:
    options = [f"--{name}" for name in workload.passed_over(load)]
    return [f"{', '.join(options)}: of no meaning in this workload"] if options else []


def _one_turn(variants: Sequence[Variant], places: Sequence[Place], load: Load) -> list[str]:
    """What cannot be said of targets that came in one order only."""
    if len(places) < 2 or sum(_turns(variant, load) for variant in variants) != 1:
        return []
    return ["one turn only: what changed on the machine meanwhile met one target and not another"]


def _warnings(
    seen: dict[str, _Seen], judged: dict[str, Judged], unmeasured: Sequence[Skipped]
) -> tuple[str, ...]:
    said = [f"{each.target}: not measured: {each.reason}" for each in unmeasured]
    for name in seen:
        said += [f"{name}: {text}" for text in judged[name].warnings]
        first = generator_of(seen[name].first)
        if first.limited:
            said.append(f"{name}: while the saturation was measured, {first.verdict}")
        said += [
            f"{name}: unexpected, {count} times: {text}"
            for text, count in seen[name].unexpected.most_common(5)
        ]
    return tuple(said)
