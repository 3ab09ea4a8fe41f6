"""`index`: the index of active patterns; the figures themselves are `bench.globs_index`'s."""

from pathlib import Path

import attrs

from bench import globs_index
from bench.report import Bound, Figure, Result, Scale

# What was promised of an index of 100,000 patterns; anything below that scale proves nothing.
TARGETS = {
    "literal, free path, us p50": 50.0,
    "literal, held path, first conflict, us p50": 50.0,
    "pkg7/**, first 100, us p50": 1_000.0,
    "memory, bytes a pattern": 2_048.0,
}


@attrs.frozen
class Sizes:
    """The numbers of a run. `hostile` adds the crowds and the patterns made to be slow."""

    patterns: int
    hostile: bool


SIZES = {
    Scale.FULL: Sizes(patterns=100_000, hostile=True),
    Scale.QUICK: Sizes(patterns=100_000, hostile=False),
    Scale.TINY: Sizes(patterns=3_000, hostile=False),
}


def measure(scale: Scale, scratch: Path, *, profile: bool = False) -> Result:
    """Run it."""
    sizes = SIZES[scale]
    texts = globs_index.pattern_texts(sizes.patterns)
    index, found = globs_index.measure_memory(texts)
    found |= globs_index.measure_searches(index, texts)
    del index
    if sizes.hostile:
        found |= globs_index.measure_load()
        found |= globs_index.measure_crowd()
        found |= globs_index.measure_hostile()
        found |= globs_index.measure_together()
    missing = TARGETS.keys() - found.keys()
    assert not missing, f"bench.globs_index no longer measures {missing}"
    figures = tuple(
        Figure(name, value, "", target=TARGETS.get(name), bound=Bound.AT_MOST)
        for name, value in found.items()
        if not isinstance(value, str)
    )
    texts_found = {name: value for name, value in found.items() if isinstance(value, str)}
    return Result(figures, attrs.asdict(sizes), details=texts_found)
