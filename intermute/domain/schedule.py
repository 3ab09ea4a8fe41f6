"""Schedules: the order of steps that depend on one another, and which may go on together.

Steps are numbered from 0 in the order of the plan; a set of steps is an int with a bit for each.
"""

from collections.abc import Sequence


def find_cycle(after: Sequence[set[int]]) -> list[int]:
    """Steps of which each waits for the next and the last for the first; empty when none do."""
    left = _without_what_can_be_done(after)
    if not left:
        return []
    # Whatever is left waits for something that is left, so this way comes back to itself.
    way: list[int] = []
    step = min(left)
    while step not in way:
        way.append(step)
        step = min(needed for needed in after[step] if needed in left)
    return way[way.index(step) :]


def _without_what_can_be_done(after: Sequence[set[int]]) -> set[int]:
    unmet = [len(needed) for needed in after]
    dependents = dependents_of(after)
    ready = [step for step, count in enumerate(unmet) if not count]
    left = set(range(len(after)))
    while ready:
        step = ready.pop()
        left.discard(step)
        for dependent in dependents[step]:
            unmet[dependent] -= 1
            if not unmet[dependent]:
                ready.append(dependent)
    return left


def dependents_of(after: Sequence[set[int]]) -> list[list[int]]:
    """Per step, the steps that wait for it, in the order of the plan."""
    dependents: list[list[int]] = [[] for _ in after]
    for step, needed in enumerate(after):
        for each in needed:
            dependents[each].append(step)
    return dependents


def chain_lens(after: Sequence[set[int]]) -> list[int]:
    """Per step, how many steps a longest chain that begins with it has. There is no cycle."""
    dependents = dependents_of(after)
    unserved = [len(waiting) for waiting in dependents]
    lens = [1] * len(after)
    last = [step for step, count in enumerate(unserved) if not count]
    while last:
        step = last.pop()
        for needed in after[step]:
            lens[needed] = max(lens[needed], lens[step] + 1)
            unserved[needed] -= 1
            if not unserved[needed]:
                last.append(needed)
    return lens


def critical_path(after: Sequence[set[int]]) -> list[int]:
    """A longest chain of steps, each of which waits for the one before it.

    Among equals, at each place the one that comes first in the plan.
    """
    lens = chain_lens(after)
    dependents = dependents_of(after)
    step = lens.index(max(lens))
    path = [step]
    while lens[step] > 1:
        step = next(each for each in dependents[step] if lens[each] == lens[step] - 1)
        path.append(step)
    return path


def waves(after: Sequence[set[int]], conflicting: Sequence[int]) -> list[list[int]]:
    """The steps in waves: whatever a step waits for is in an earlier one, and no two of a wave
    conflict.

    Greedy list scheduling (R. L. Graham, "Bounds on Multiprocessing Timing Anomalies", 1969):
    each wave takes what it can, those first on which the longest chain rests, then those that
    come first in the plan. A least number of waves is not promised: to find one is as hard as to
    colour a graph.

    Args:
        after: Per step, the steps that it waits for. There is no cycle.
        conflicting: Per step, the set of steps that it conflicts with.
    """
    lens = chain_lens(after)
    dependents = dependents_of(after)
    unmet = [len(needed) for needed in after]
    ready = [step for step, count in enumerate(unmet) if not count]
    found: list[list[int]] = []
    while ready:
        ready.sort(key=lambda step: (-lens[step], step))
        together, wave, left = 0, [], []
        for step in ready:
            if conflicting[step] & together:
                left.append(step)
            else:
                together |= 1 << step
                wave.append(step)
        for step in wave:
            for dependent in dependents[step]:
                unmet[dependent] -= 1
                if not unmet[dependent]:
                    left.append(dependent)
        wave.sort()
        found.append(wave)
        ready = left
    return found
