"""The proof: did two agents ever hold the same file? Pure functions from evidence to findings.

Each check returns the counterexamples it found, as sentences; no sentence is a pass. The
checks lean on different clocks: the log's own order, the history's order, and the time that
agents wrote down, so that no single clock can hide a collision.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import attrs

from bench.demo.evidence import Commit, Conflict, Edit, Evidence, Hold
from bench.demo.matching import covers, expand
from intermute.domain.events import (
    AgentRegistered,
    Event,
    ReservationCreated,
    ReservationExpired,
    ReservationReleased,
    ReservationRenewed,
)
from intermute.domain.modes import Mode


@attrs.frozen
class Check:
    """One claim, what it was checked on, and what speaks against it."""

    claim: str
    extent: str
    findings: tuple[str, ...]


@attrs.frozen
class Span:
    """The life of one reservation as the log tells it. `until_us` None is still held."""

    agent: str
    patterns: tuple[str, ...]
    exclusive: bool
    created: int
    periods: tuple[tuple[int, int | None], ...]


def prove(evidence: Evidence) -> tuple[Check, ...]:
    """All checks; the run is good when none has findings."""
    holds = holds_of(evidence.events)
    spans = spans_of(evidence.events)
    names = names_of(evidence.events)
    commits, edits = evidence.commits, evidence.edits
    return (
        Check(
            "the event log is whole and in order",
            counted(len(evidence.events), "event"),
            tuple(log_gaps(evidence.events)),
        ),
        Check(
            "the log holds exactly the grants that agents were given",
            counted(len(spans), "grant"),
            tuple(unknown_grants(spans, evidence.own_holds)),
        ),
        Check(
            "by the log's order, no file had two holders",
            f"{counted(len(holds), 'hold')} over {counted(len(evidence.files), 'file')}",
            tuple(shared_holds(holds, evidence.files, names, clock="event")),
        ),
        Check(
            "by the agents' own clocks, no file had two holders",
            counted(len(evidence.own_holds), "hold"),
            tuple(shared_holds(evidence.own_holds, evidence.files, names, clock="nanosecond")),
        ),
        Check(
            "every commit was made while its agent held its path",
            counted(len(commits), "commit"),
            tuple(commits_outside(commits, edits, spans)),
        ),
        Check(
            "each file's commits follow the order of the grants",
            counted(len({commit.path for commit in commits}), "file"),
            tuple(commits_out_of_order(commits, spans)),
        ),
        Check(
            "every commit touched exactly its path",
            counted(len(commits), "commit"),
            tuple(commits_elsewhere(commits)),
        ),
        Check(
            "no edit was lost",
            counted(len(edits), "edit"),
            tuple(lost_edits(commits, edits, evidence.kept)),
        ),
        Check(
            "every refusal named somebody who was in the way",
            counted(len(evidence.conflicts), "named holder"),
            tuple(baseless_conflicts(evidence.conflicts, spans)),
        ),
    )


def counted(number: int, noun: str) -> str:
    """`1 file`, `2,000 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def names_of(events: Iterable[Event]) -> dict[str, str]:
    """Agents' ids to their names."""
    return {
        event.data.agent_id: event.data.name
        for event in events
        if isinstance(event.data, AgentRegistered)
    }


def holds_of(events: Iterable[Event]) -> list[Hold]:
    """Every interval of the log in which a reservation was held, in cursors."""
    created: dict[str, ReservationCreated] = {}
    since: dict[str, int] = {}
    holds: list[Hold] = []

    def close(reservation: str, end: int | None) -> None:
        start = since.pop(reservation, None)
        if start is not None:
            data = created[reservation]
            holds.append(
                Hold(
                    data.agent_id,
                    reservation,
                    data.patterns,
                    data.mode is Mode.EXCLUSIVE,
                    start,
                    end,
                )
            )

    for event in events:
        data = event.data
        if isinstance(data, ReservationCreated):
            created[data.reservation_id] = data
            since[data.reservation_id] = event.cursor
        elif isinstance(data, ReservationReleased | ReservationExpired):
            close(data.reservation_id, event.cursor)
        elif isinstance(data, ReservationRenewed) and data.reservation_id in created:
            # A lapsed lease that was taken back is held again from here.
            since.setdefault(data.reservation_id, event.cursor)
    for reservation in list(since):
        close(reservation, None)
    return sorted(holds, key=lambda hold: hold.start)


def spans_of(events: Sequence[Event]) -> dict[str, Span]:
    """Reservations by id, with the times between which each was held."""
    at_us = {event.cursor: event.at_us for event in events}
    periods: dict[str, list[Hold]] = defaultdict(list)
    for hold in holds_of(events):
        periods[hold.reservation].append(hold)
    return {
        reservation: Span(
            held[0].agent,
            held[0].patterns,
            held[0].exclusive,
            held[0].start,
            tuple(
                (at_us[hold.start], None if hold.end is None else at_us[hold.end]) for hold in held
            ),
        )
        for reservation, held in periods.items()
    }


def log_gaps(events: Sequence[Event]) -> Iterable[str]:
    """Cursors count from 1 without a gap, and times do not go backwards along them."""
    before_us = 0
    for expected, event in enumerate(events, 1):
        if event.cursor != expected:
            yield f"the log has cursor {event.cursor} where {expected} should stand"
            return
        if event.at_us < before_us:
            yield f"event {event.cursor} is {before_us - event.at_us} us older than the one before"
        before_us = event.at_us


def shared_holds(
    holds: Iterable[Hold], files: Sequence[str], names: Mapping[str, str], *, clock: str
) -> Iterable[str]:
    """Files that one agent held exclusively while another held them in any mode.

    Args:
        clock: What `start` and `end` count, for the sentence.
    """
    expanded: dict[tuple[str, ...], tuple[str, ...]] = {}
    active: dict[str, list[Hold]] = defaultdict(list)
    for hold in sorted(holds, key=lambda hold: hold.start):
        if hold.patterns not in expanded:
            expanded[hold.patterns] = expand(hold.patterns, files)
        for path in expanded[hold.patterns]:
            others = [
                other for other in active[path] if other.end is None or other.end > hold.start
            ]
            for other in others:
                if other.agent != hold.agent and (other.exclusive or hold.exclusive):
                    yield (
                        f"{path}: {_told(other, names, clock)},\n"
                        f"and at the same time {_told(hold, names, clock)}"
                    )
            active[path] = [*others, hold]


def unknown_grants(spans: Mapping[str, Span], own_holds: Sequence[Hold]) -> Iterable[str]:
    """Grants that only the log or only an agent knows, or that they tell differently."""
    told = {hold.reservation: hold for hold in own_holds}
    if len(told) != len(own_holds):
        yield "an agent was given the same reservation twice"
    for reservation in spans.keys() - told.keys():
        yield f"{reservation} is in the log, but no agent was given it"
    for reservation, hold in told.items():
        span = spans.get(reservation)
        if span is None:
            yield f"{reservation} was given to {hold.agent}, but is not in the log"
        elif (span.agent, span.patterns, span.exclusive) != (
            hold.agent,
            hold.patterns,
            hold.exclusive,
        ):
            yield f"{reservation} is not in the log as it was given to {hold.agent}"


def commits_outside(
    commits: Iterable[Commit], edits: Iterable[Edit], spans: Mapping[str, Span]
) -> Iterable[str]:
    """Commits that their agent had no right to make at the time."""
    journal = {edit.edit: edit for edit in edits}
    for commit in commits:
        reason = _why_outside(commit, journal.get(commit.edit), spans.get(commit.reservation))
        if reason:
            yield f"commit {commit.sha[:12]} of {commit.path or 'no path'}: {reason}"


def _why_outside(commit: Commit, edit: Edit | None, span: Span | None) -> str:
    if not (commit.agent and commit.reservation and commit.path and commit.edit):
        return "it lacks the trailers that a commit of the demo has"
    if span is None:
        return f"its reservation {commit.reservation} is not in the log"
    if span.agent != commit.agent:
        return f"its reservation belongs to {span.agent} and not to {commit.agent}"
    if not span.exclusive:
        return f"its reservation {commit.reservation} is shared"
    if not covers(span.patterns, commit.path):
        return f"its reservation covers {', '.join(span.patterns)}, which does not hold the path"
    if edit is None:
        return f"no journal knows its edit {commit.edit}"
    if (edit.agent, edit.reservation, edit.path) != (
        commit.agent,
        commit.reservation,
        commit.path,
    ):
        return f"the journal tells its edit {commit.edit} differently"
    if any(
        start_us <= edit.started_us and (end_us is None or edit.finished_us <= end_us)
        for start_us, end_us in span.periods
    ):
        return ""
    held = ", ".join(f"{start} to {end or 'the end'}" for start, end in span.periods)
    return (
        f"edited from {edit.started_us} to {edit.finished_us}, "
        f"but {commit.agent} held it from {held} (microseconds)"
    )


def commits_out_of_order(commits: Iterable[Commit], spans: Mapping[str, Span]) -> Iterable[str]:
    """Where a later grant of a file was committed before an earlier one. Needs no clock."""
    last: dict[str, tuple[int, Commit]] = {}
    for commit in commits:
        span = spans.get(commit.reservation)
        if span is None:
            continue
        granted, before = last.get(commit.path, (0, commit))
        if span.created < granted:
            yield (
                f"{commit.path}: commit {commit.sha[:12]} (granted at event {span.created}) "
                f"follows {before.sha[:12]} (granted at event {granted})"
            )
        last[commit.path] = (span.created, commit)


def commits_elsewhere(commits: Iterable[Commit]) -> Iterable[str]:
    """Commits that changed anything but the one path their trailer names."""
    for commit in commits:
        if commit.touched != (commit.path,):
            touched = ", ".join(commit.touched) or "nothing"
            yield f"commit {commit.sha[:12]} says {commit.path!r} and touches {touched}"


def lost_edits(
    commits: Sequence[Commit], edits: Sequence[Edit], kept: frozenset[str]
) -> Iterable[str]:
    """Edits without exactly one commit, or whose line is gone from its file at the end."""
    times: dict[str, int] = defaultdict(int)
    for commit in commits:
        times[commit.edit] += 1
    for edit in edits:
        if times[edit.edit] != 1:
            yield f"edit {edit.edit} of {edit.path} has {times[edit.edit]} commits"
        if edit.edit not in kept:
            yield f"edit {edit.edit} is gone from {edit.path}: somebody wrote over it"


def baseless_conflicts(conflicts: Iterable[Conflict], spans: Mapping[str, Span]) -> Iterable[str]:
    """Refusals whose named holder could not have been in the way."""
    for conflict in conflicts:
        span = spans.get(conflict.reservation)
        who = f"{conflict.agent} was refused for {conflict.reservation}"
        if span is None:
            yield f"{who}, which is not in the log"
        elif span.agent != conflict.holder or span.agent == conflict.agent:
            yield f"{who} of {conflict.holder}, but it belongs to {span.agent}"
        elif not (span.exclusive or conflict.exclusive):
            yield f"{who}, but both are shared"
        elif not covers(span.patterns, conflict.witness):
            yield f"{who} at {conflict.witness!r}, which that does not cover"
        elif not any(
            start_us <= conflict.answered_us and (end_us is None or end_us >= conflict.asked_us)
            for start_us, end_us in span.periods
        ):
            yield f"{who}, but it was not held at that time"


def _told(hold: Hold, names: Mapping[str, str], clock: str) -> str:
    end = "the end" if hold.end is None else f"{clock} {hold.end}"
    mode = "exclusively" if hold.exclusive else "shared"
    return (
        f"{names.get(hold.agent, hold.agent)} held it {mode} from {clock} {hold.start} to {end} "
        f"({hold.reservation}: {', '.join(hold.patterns)})"
    )
