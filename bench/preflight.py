"""`preflight`: how long it takes to look at a plan, from plans that people mean to the worst.

The decision alone is timed, since a request of this size spends little elsewhere: 1,000 steps of 50
agents, each of which comes after an earlier one now and then, against what 10,000 patterns hold.
Worst plans are as large as they can be without being refused; refused ones must be so early.
"""

import itertools
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from bench.globs_index import hostile_texts, pattern_texts
from bench.report import Bound, Figure, Result, Scale
from intermute.domain.commands import Caller, PlannedStep, PreflightPlan
from intermute.domain.decide import advance, decide
from intermute.domain.decision import Accepted
from intermute.domain.events import Event, ReservationCreated
from intermute.domain.modes import Mode
from intermute.domain.stamp import Stamp
from intermute.domain.state import State
from intermute.domain.transitions import apply

TARGET_MS = 1_000.0
AGENTS = 50
STAMP = Stamp(1_700_000_000_000_000, 5_000_000_000, 7)

Texts = Sequence[tuple[str, ...]]


@attrs.frozen
class Sizes:
    """The numbers of a run: steps of a plan, patterns that others hold, how often each is timed."""

    steps: int
    held: int
    times: int


SIZES = {
    Scale.FULL: Sizes(steps=1_000, held=10_000, times=5),
    Scale.QUICK: Sizes(steps=1_000, held=10_000, times=2),
    Scale.TINY: Sizes(steps=30, held=100, times=1),
}


def everyday(steps: int) -> Texts:
    """Seven in ten steps change one to three files, two a directory, one what a pattern says."""
    random_source = random.Random(steps)
    made = []
    for number in range(steps):
        package = f"pkg{random_source.randrange(200)}/src/mod{random_source.randrange(40)}"
        sort = number % 10
        if sort < 7:
            count = random_source.randrange(1, 4)
            made.append(tuple(f"{package}/file{number}_{each}.py" for each in range(count)))
        elif sort < 9:
            made.append((f"{package}/**",))
        else:
            made.append((f"{package}/**/test_{number % 50}_*.py", f"docs/{number}*.md"))
    return made


def same(shape: str) -> Callable[[int], Texts]:
    return lambda steps: [(shape.format(number),) for number in range(steps)]


def nested(steps: int) -> Texts:
    """Each path lies below the one before, as deep as a path can go."""
    texts = ["/".join(letter * depth) for letter in "abcd" for depth in range(1, 500)]
    return [(text,) for text in texts[:steps]]


def hostile(steps: int) -> Texts:
    return [(text,) for text in itertools.islice(hostile_texts().values(), steps)]


def many(shape: str) -> Callable[[int], Texts]:
    """As many steps like this as are looked at, in tens."""

    def largest(steps: int) -> Texts:
        return same(shape)(largest_admitted(same(shape), steps))

    return largest


PLANS: dict[str, Callable[[int], Texts]] = {
    "everyday": everyday,
    "paths": lambda steps: [(text,) for text in pattern_texts(2 * steps) if "*" not in text][
        :steps
    ],
    "directories": same("services/s{}/**"),
    "tests below directories": same("pkg{}/tests/**/test_*.py"),
    "one path, all conflict": lambda steps: [("src/a.py",)] * steps,
    "everything, all conflict": lambda steps: [("**",)] * steps,
    "paths below paths": nested,
    "names with an end": same("lib/*_{}.py"),
}
# Alone these come close to the bound, so they are looked at where nothing is held.
WORST: dict[str, Callable[[int], Texts]] = {
    "patterns made to be slow": hostile,
    "as many as admitted of *17*": many("*{}*"),
    "as many as admitted of **/file17.py": many("**/file{}.py"),
    "as many as admitted of many braces": many("{{a/,b}}{{c/,d}}{{e/,f}}{{g/,h}}{{i/,j}}{}*"),
}
REFUSED = {
    "refused, *17*": same("*{}*"),
    "refused, src/**/name17/*.py": same("src/**/name{}/*.py"),
    "refused, many braces": same("{{a/,b}}{{c/,d}}{{e/,f}}{{g/,h}}{{i/,j}}{}*"),
}


def plan(texts: Texts) -> PreflightPlan:
    random_source = random.Random(len(texts))
    return PreflightPlan(
        tuple(
            PlannedStep(
                step_id=f"s{number}",
                agent_id=f"agent{number % AGENTS}",
                patterns=patterns,
                after=(f"s{random_source.randrange(number)}",) if number % 3 == 2 else (),
            )
            for number, patterns in enumerate(texts)
        )
    )


def nothing_held() -> State:
    state = State("a" * 12, "bench")
    advance(state, STAMP)
    return state


def holding(patterns: int) -> State:
    """A project in which others hold so many patterns, one in ten with wildcards."""
    state = nothing_held()
    for number, text in enumerate(pattern_texts(patterns)):
        data = ReservationCreated(
            reservation_id=f"rsv_{number}",
            agent_id=f"holder{number // 100}",
            patterns=(text,),
            mode=Mode.EXCLUSIVE,
            reason="",
            ttl_ms=3_600_000,
            expires_at_us=STAMP.at_us + 3_600_000_000,
        )
        apply(state, Event(state.cursor + 1, STAMP.at_us, data.agent_id, data))
    return state


def time_ms(state: State, command: PreflightPlan, times: int) -> tuple[list[float], bool]:
    """How long the decision takes, and whether it was one for the plan."""
    taken = []
    accepted = False
    for _ in range(times):
        started = time.perf_counter()
        decision = decide(state, command, STAMP, Caller())
        taken.append((time.perf_counter() - started) * 1e3)
        accepted = isinstance(decision, Accepted)
    return taken, accepted


def largest_admitted(texts: Callable[[int], Texts], steps: int) -> int:
    state = nothing_held()
    found = 10
    for count in range(20, steps + 1, 10):
        if not time_ms(state, plan(texts(count)), 1)[1]:
            break
        found = count
    return found


def measure(scale: Scale, scratch: Path, *, profile: bool = False) -> Result:
    """Run it."""
    sizes = SIZES[scale]
    state = holding(sizes.held)
    figures = []
    for plans, looked_at in ((PLANS, state), (WORST, nothing_held())):
        for name, texts in plans.items():
            command = plan(texts(sizes.steps))
            taken, accepted = time_ms(looked_at, command, sizes.times)
            assert accepted, name
            figures.append(_figure(f"{name}, {len(command.steps)} steps", taken))
    if scale is not Scale.TINY:
        for name, texts in REFUSED.items():
            taken, accepted = time_ms(state, plan(texts(sizes.steps)), sizes.times)
            assert not accepted, name
            figures.append(_figure(name, taken))
    return Result(tuple(figures), attrs.asdict(sizes))


def _figure(name: str, taken: Sequence[float]) -> Figure:
    return Figure(
        name,
        statistics.median(taken),
        "ms",
        spread=(min(taken), max(taken)),
        target=TARGET_MS,
        bound=Bound.AT_MOST,
    )
