"""A made-up run of two servers, one of them worse, with something of everything."""

import random
from math import exp

import msgspec

from bench.contention.jobs import Job, Place, Variant
from bench.contention.results import (
    Axis,
    Curve,
    Generator,
    Measured,
    Point,
    Run,
    Series,
    Skipped,
    Slice,
    Target,
    Workload,
    slice_of,
)
from bench.report import Bound, Figure, Scale

HOSTILE = "<script>alert('&\x1b')</script>"
JOB = Job(
    workload="reserve",
    variant=Variant("", 2),
    place=Place("nobody", "127.0.0.1", 9, frozenset()),
    project="p",
    prepared={},
    turn=0,
    part=0,
    parts=1,
    seconds=0.0,
    began_s=0.0,
    seed=1,
)
HELD = (100, 1_000, 10_000, 100_000)


def loaded(path):
    """A run as it was written, or what is wrong with the file."""
    return msgspec.json.decode(path.read_bytes(), type=Run)


def _turns(rng, target, name, median_us, *, rate, turns=4, turn_s=6, others=1, intended=None):
    """The calls of one series in turns that alternate with those of other targets."""
    parts: list[Series] = []
    slices: list[Slice] = []
    for turn in range(turns):
        part = Series(name, intended_rate=intended)
        started_s = (turn * (others + 1) + target) * turn_s
        at_s = started_s
        while (at_s := at_s + rng.expovariate(rate)) < started_s + turn_s:
            slow = 12 if rng.random() < 0.01 else 1
            latency_us = median_us * exp(rng.gauss(0, 0.35)) * slow
            if intended is not None and rng.random() < 0.15:
                part.record_refused(503, latency_us / 4, at_s)
            elif rng.random() < 0.002 * target:
                part.record_unknown(at_s)
            else:
                part.record_ok(latency_us, at_s)
        parts.append(part)
        slices.append(slice_of(part, turn=turn, started_s=started_s, took_s=turn_s))
    whole = Series(name)
    for part in parts:
        whole.merge(part)
    whole.intended_rate = intended
    return whole, slices


def _measured(rng, target, names, median_us, *, intended=None, rate=200, **more):
    made = [
        _turns(rng, target, name, median_us * (1 + at), rate=rate, intended=intended)
        for at, name in enumerate(names)
    ]
    return Measured(
        more.pop("name"),
        series=tuple(series for series, _ in made),
        slices=tuple(each for _, slices in made for each in slices),
        **more,
    )


def _generator(rng, *, limited=False):
    generator = Generator(
        processes=2,
        cpu_share=0.97 if limited else 0.41,
        starved_share=0.02,
        limited=limited,
        verdict="a client process was busy 97 % of the time" if limited else "",
    )
    for _ in range(300):
        generator.lag_us.record(rng.expovariate(1 / 300))
        generator.late_us.record(rng.expovariate(1 / 500))
    return generator


def _held_curve(rng, factor):
    points = []
    for held in HELD:
        cost = 2.0 + factor * held**0.4
        points.append(Point(held, cost, cost * 0.85, cost * rng.uniform(1.1, 1.3)))
    x = Axis("reservations held", log=True)
    return Curve("cost against number held", x, Axis("median", "ms", log=True), tuple(points))


def _goodput_curve(peak, fall):
    points = []
    for step in range(1, 13):
        offered = step * 250.0
        goodput = min(offered, peak) - max(0.0, offered - peak) * fall
        points.append(Point(offered, goodput))
    x, y = Axis("offered", "calls/s"), Axis("goodput", "calls/s")
    return Curve("goodput against offered rate", x, y, tuple(points))


def _mix(rng, names):
    return Workload(
        "mix",
        "contended mix with skewed paths",
        settings={"zipf": 1.1, "paths": 1000, "clients": 8},
        measured=tuple(
            _measured(
                rng,
                at,
                ("reserve", "release"),
                (2_100, 3_400)[at],
                name=name,
                generator=_generator(rng),
                figures=(
                    Figure("grants a second", 412.5 - 90 * at, "/s", (401.0 - 90 * at, 420.0), 300),
                    Figure("oldest wait", 12.5 + 40 * at, "ms", None, 50, Bound.AT_MOST),
                ),
            )
            for at, name in enumerate(names)
        ),
        violations=(
            f"{names[1]}: two exclusive grants of src/a.py overlap in (1, 17) and (1, 21)",
        ),
        seconds=48.2,
    )


def _big_set(rng, names):
    return Workload(
        "big-set",
        "50 patterns against many held",
        settings={"patterns": 50},
        measured=tuple(
            Measured(name, curves=(_held_curve(rng, (0.05, 0.4)[at]),))
            for at, name in enumerate(names)
        ),
        seconds=31.0,
    )


def _overload(rng, names):
    return Workload(
        "overload",
        "open loop up to three times saturation",
        settings={"rate": 200},
        measured=(
            _measured(
                rng,
                0,
                ("reserve",),
                2_500,
                intended=200.0,
                name=names[0],
                curves=(_goodput_curve(1_000.0, 0.05),),
                generator=_generator(rng, limited=True),
            ),
        ),
        skipped=(Skipped(names[1], "it cannot be driven in open loop"),),
        warnings=("the machine was busy with something else",),
        seconds=60.0,
    )


def sample(*, other="old build", seed=1):
    """A whole run; `other` is the name of the second target."""
    rng = random.Random(seed)
    names = ("intermute", other)
    targets = (
        Target(names[0], "http://127.0.0.1:7338", ("reserve", "messages", "push"), {"version": 1}),
        Target(names[1], "http://127.0.0.1:7400", ("reserve",), {"server": HOSTILE}),
    )
    return Run(
        at="2026-01-02T03:04:05+00:00",
        scale=Scale.QUICK,
        machine={"cpus": 2, "cpu_model": "A processor", "load_average": 0.4, "file_system": "ext4"},
        versions={"python": "CPython 3.11.9", "sqlite": "3.50.1", "trio": "0.35.0", "h2": None},
        settings={"seed": seed, "processes": 2},
        commit="0123456789abcdef0123456789abcdef01234567",
        changed=True,
        targets=targets,
        workloads=(_mix(rng, names), _big_set(rng, names), _overload(rng, names)),
        warnings=("one run only",),
        seconds=139.2,
    )
