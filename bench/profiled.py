"""The `intermute` command under cProfile: `python -m bench.profiled FILE serve ...`.

The profile is written when the command ends, so the server must be ended with SIGTERM.
"""

import cProfile
import io
import pstats
import sys
from pathlib import Path

from intermute import app  # noqa: F401  (its import is not what is measured)
from intermute.cli.main import main


def table(profile: Path | cProfile.Profile, *, rows: int, requests: int) -> str:
    """The costliest functions by their own time, in microseconds of each request."""
    source = str(profile) if isinstance(profile, Path) else profile
    found = pstats.Stats(source, stream=io.StringIO())
    entries = found.stats.items()  # type: ignore[attr-defined]
    total_s = sum(own_s for _, (_, _, own_s, _, _) in entries)
    shown = [f"  {total_s * 1e6 / requests:8.1f} us a request under the profiler, of these:"]
    by_own_time = sorted(entries, key=lambda entry: -entry[1][2])[:rows]
    for (file, line, name), (_, calls, own_s, cumulative_s, _) in by_own_time:
        where = name if file == "~" else f"{'/'.join(Path(file).parts[-3:])}:{line} {name}"
        shown.append(
            f"  {own_s * 1e6 / requests:8.2f} own {cumulative_s * 1e6 / requests:9.2f} in all "
            f"{calls / requests:7.2f} calls  {where}"
        )
    return "\n".join(shown)


if __name__ == "__main__":
    target = sys.argv.pop(1)
    profiler = cProfile.Profile()
    try:
        profiler.runcall(main)
    finally:
        profiler.dump_stats(target)
