"""Preflight: what a plan would meet, before anybody has begun with it. Changes nothing.

A plan is a list of steps, each with an agent, patterns, a mode and the steps that it comes after.
The answer tells what others hold or wait for in the way of each step, which steps are in each
other's way, and an order in which all of them can be done.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from intermute.domain import limits, schedule
from intermute.domain.commands import Caller, PlannedStep, PreflightPlan
from intermute.domain.conflicts import Meeting, conflict_view, meet, parse_all
from intermute.domain.decision import Accepted, Decision, Decisions
from intermute.domain.holdings import Reservation, wild_len
from intermute.domain.modes import CONFLICTING, Mode
from intermute.domain.overlaps import can_show, charge_searches, overlapping_pairs
from intermute.domain.refusals import Code, Refusal
from intermute.domain.stamp import Stamp
from intermute.domain.state import State
from intermute.domain.views import HeldConflictView, PlanView, StepConflictView
from intermute.globs import Pattern, TooMuchWork, Work, witness

Steps = Sequence[PlannedStep]
Parsed = Sequence[tuple[Pattern, ...]]


def preflight(state: State, command: PreflightPlan, stamp: Stamp, caller: Caller) -> Decision:
    """Look at the plan. Nothing is taken, and nothing is promised.

    Raises:
        TooMuchWork: Because of what came before it in the same request.
    """
    steps = command.steps
    after = _read_order(steps)
    if isinstance(after, Refusal):
        return after
    work = state.allowance.to_find(limits.PLAN_WORK_MAX)
    try:
        parsed = _parse(state, steps, work)
        if isinstance(parsed, Refusal):
            return parsed
        among = _Among(steps, parsed, work)
        charge_searches(among.patterns, _all_claimed(state), work)
    except TooMuchWork:
        if state.allowance.short:
            raise
        return _TOO_MUCH
    met = [
        meet(
            state,
            wanted,
            step.mode,
            own=step.agent_id,
            counted_max=limits.PLAN_CONFLICTS_PER_STEP_MAX,
        )
        for step, wanted in zip(steps, parsed, strict=True)
    ]
    found = [meetings for meetings, _ in met]
    counted = sum(map(len, found))
    listed = _list_held(state, steps, found, work)
    ids = [step.step_id for step in steps]
    answer = PlanView(
        waves=tuple(
            tuple(ids[step] for step in wave) for wave in schedule.waves(after, among.conflicting)
        ),
        critical_path=tuple(ids[step] for step in schedule.critical_path(after)),
        blocked=tuple(
            ids[step]
            for step, meetings in enumerate(found)
            if any(isinstance(meeting.claim, Reservation) for meeting in meetings)
        ),
        conflicts=listed,
        conflicts_total=counted,
        conflicts_more=len(listed) < counted or any(more for _, more in met),
        step_conflicts=_list_pairs(steps, parsed, among, work),
        step_conflicts_total=sum(each.bit_count() for each in among.conflicting) // 2,
    )
    return Accepted(answer)


# -- Reading the plan ---------------------------------------------------------------------------


def _read_order(steps: Steps) -> list[set[int]] | Refusal:
    """Per step, the places of the steps that it comes after."""
    places: dict[str, int] = {}
    for place, step in enumerate(steps):
        if places.setdefault(step.step_id, place) != place:
            return _invalid(
                "duplicate_step",
                f"the step id {step.step_id!r} is there twice; each step needs its own",
                [step.step_id],
            )
    after: list[set[int]] = []
    for step in steps:
        unknown = next((each for each in step.after if each not in places), None)
        if unknown is not None:
            return _invalid(
                "unknown_step",
                f"step {step.step_id!r} comes after {unknown!r}, which is no step of the plan",
                [step.step_id, unknown],
            )
        after.append({places[each] for each in step.after})
    cycle = [steps[place].step_id for place in schedule.find_cycle(after)]
    if not cycle:
        return after
    most = limits.PLAN_CYCLE_SHOWN_MAX
    shown = " -> ".join([*cycle[:most], *(("...",) if len(cycle) > most else ()), cycle[0]])
    return _invalid(
        "cycle", f"steps wait for one another: {shown}; leave one of these out of `after`", cycle
    )


def _invalid(reason: str, detail: str, step_ids: list[str]) -> Refusal:
    return Refusal(Code.INVALID_PLAN, detail, {"reason": reason, "steps": step_ids})


def _parse(state: State, steps: Steps, work: Work) -> Parsed | Refusal:
    found = []
    for step in steps:
        parsed = parse_all(step.patterns, case_sensitive=state.case_sensitive, work=work)
        if isinstance(parsed, Refusal):
            data = {**parsed.data, "step": step.step_id}
            return Refusal(parsed.code, f"step {step.step_id!r}: {parsed.detail}", data)
        found.append(parsed)
    distinct = {pattern.normalised: pattern for parsed in found for pattern in parsed}
    length = wild_len(distinct.values())
    if length > limits.PLAN_WILD_LEN_MAX:
        return Refusal(
            Code.LIMIT_REACHED,
            "the different patterns with wildcards of a plan may have "
            f"{limits.PLAN_WILD_LEN_MAX} characters together; these have {length}: name "
            "directories or plain paths instead",
            {"limit": limits.PLAN_WILD_LEN_MAX},
        )
    return found


_TOO_MUCH = Refusal(
    Code.LIMIT_REACHED,
    "too many patterns with wildcards, of the plan and of what is held, could match the same "
    "paths, and to compare them all would take too long: let those of the plan begin with "
    "different directories, or name plain paths",
)


# -- Among the steps ----------------------------------------------------------------------------


class _Use(NamedTuple):
    """A pattern of the plan, and which steps use it in which mode."""

    pattern: Pattern
    by_mode: dict[Mode, int]


class _Among:
    """Which steps of a plan are in each other's way.

    Attributes:
        patterns: The different patterns of all steps.
        conflicting: Per step, the set of steps that it conflicts with, as bits.

    Raises:
        TooMuchWork: To find out would take too long.
    """

    def __init__(self, steps: Steps, parsed: Parsed, work: Work) -> None:
        self._places: dict[str, int] = {}
        self._uses: list[_Use] = []
        for step, wanted in enumerate(parsed):
            for pattern in wanted:
                self._use(step, steps[step].mode, pattern)
        self.patterns = [use.pattern for use in self._uses]
        self._overlapping: list[list[int]] = [[place] for place in range(len(self.patterns))]
        for one, other in overlapping_pairs(self.patterns, work):
            self._overlapping[one].append(other)
            self._overlapping[other].append(one)
        own: dict[str, int] = {}
        for place, step_ in enumerate(steps):
            own[step_.agent_id] = own.get(step_.agent_id, 0) | 1 << place
        met_by: dict[tuple[int, Mode], int] = {}
        self.conflicting: list[int] = []
        for step_, wanted in zip(steps, parsed, strict=True):
            met = 0
            for pattern in wanted:
                key = self._places[pattern.normalised], step_.mode
                if key not in met_by:
                    met_by[key] = self._met_by(*key)
                met |= met_by[key]
            self.conflicting.append(met & ~own[step_.agent_id])

    def _use(self, step: int, mode: Mode, pattern: Pattern) -> None:
        place = self._places.setdefault(pattern.normalised, len(self._uses))
        if place == len(self._uses):
            self._uses.append(_Use(pattern, {}))
        by_mode = self._uses[place].by_mode
        by_mode[mode] = by_mode.get(mode, 0) | 1 << step

    def _met_by(self, place: int, mode: Mode) -> int:
        met = 0
        for other in self._overlapping[place]:
            by_mode = self._uses[other].by_mode
            for each in CONFLICTING[mode]:
                met |= by_mode.get(each, 0)
        return met

    def first_overlap(
        self, one: Sequence[Pattern], other: Sequence[Pattern]
    ) -> tuple[Pattern, Pattern]:
        """A pattern of each such that the two overlap; the first of the first, if there are more.

        There is one.
        """
        theirs = {self._places[pattern.normalised]: pattern for pattern in reversed(other)}
        for pattern in one:
            met = [theirs[each] for each in self._of(pattern) if each in theirs]
            if met:
                return pattern, min(met, key=other.index)
        raise AssertionError("steps that conflict have patterns that overlap")

    def _of(self, pattern: Pattern) -> list[int]:
        return self._overlapping[self._places[pattern.normalised]]


def _list_pairs(
    steps: Steps, parsed: Parsed, among: _Among, work: Work
) -> tuple[StepConflictView, ...]:
    """The first pairs in the order of the plan, as many as may be listed."""
    listed: list[StepConflictView] = []
    for one, other in islice(_pairs(among.conflicting), limits.CONFLICTS_LISTED_MAX):
        ours, theirs = among.first_overlap(parsed[one], parsed[other])
        if not can_show(work, ours, theirs):
            break
        path = witness(ours, theirs)
        assert path is not None, "what overlaps has a witness"
        listed.append(
            StepConflictView(
                steps=(steps[one].step_id, steps[other].step_id),
                patterns=(ours.text, theirs.text),
                witness=path,
            )
        )
    return tuple(listed)


def _pairs(conflicting: Sequence[int]) -> Iterator[tuple[int, int]]:
    for one, met in enumerate(conflicting):
        later = met >> (one + 1) << (one + 1)
        while later:
            lowest = later & -later
            yield one, lowest.bit_length() - 1
            later ^= lowest


# -- Against what is held -----------------------------------------------------------------------


def _all_claimed(state: State) -> Iterator[Pattern]:
    for claims in (state.holdings, state.line):
        for claim in claims.by_id.values():
            yield from claim.parsed


def _list_held(
    state: State, steps: Steps, found: Sequence[Sequence[Meeting]], work: Work
) -> tuple[HeldConflictView, ...]:
    """Conflicts in the order of the plan; of each step the first, before any step has two."""
    ranked = sorted(
        (rank, place) for place, meetings in enumerate(found) for rank in range(len(meetings))
    )
    listed = []
    for rank, place in ranked[: limits.CONFLICTS_LISTED_MAX]:
        meeting = found[place][rank]
        if not can_show(work, meeting.held, meeting.requested):
            break
        view = HeldConflictView(steps[place].step_id, conflict_view(state, meeting))
        listed.append((place, rank, view))
    listed.sort(key=lambda each: each[:2])
    return tuple(view for _, _, view in listed)


DECISIONS: Decisions = {PreflightPlan: preflight}
