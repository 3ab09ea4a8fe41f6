"""A generator process: `python -m bench.contention.worker PART [HISTORY]`.

It is told on stdin what to do, and answers on stdout: once when it is ready for a job, once when
the job is done, and every few seconds in between that it lives.
"""

import gc
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter, process_time
from typing import IO

import msgspec

from bench.contention.jobs import BEAT_S, Job, Report, Said, Word, decode_word, put, take
from bench.contention.links import BROKEN
from bench.contention.recording import Recording
from bench.contention.stage import Stage
from bench.contention.workloads import WORKLOADS
from bench.contention.workloads.base import LeftOut
from bench.linearizability.history import Header, Recorder
from bench.machine import schedule

# What comes of an answer that a workload did not reckon with. It is the end of the workload on that
# target, and the others go on.
_FAILURES = (
    LeftOut,
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    msgspec.MsgspecError,
    *BROKEN,
)


Say = Callable[[Said], None]


class ParentGone(Exception):
    """Nobody tells us anything any more."""


def main(arguments: list[str]) -> None:
    """Do jobs until told that all is over."""
    source = sys.stdin.buffer
    say = _mouth(sys.stdout.buffer)
    recorder = None
    if len(arguments) > 1:
        recorder = Recorder(Header(server="a part of a run"), Path(arguments[1]))
    # What a collection stops for would be counted as the target's.
    gc.freeze()
    try:
        while (word := _next(source)).job is not None:
            with _beating(say):
                report = _run(word.job, source, say, recorder)
                if recorder is not None:
                    recorder.flush()
            say(Said(report))
    finally:
        if recorder is not None:
            recorder.close()


def _next(source: IO[bytes]) -> Word:
    data = take(source)
    return Word() if data is None else decode_word(data)


def _mouth(sink: IO[bytes]) -> Say:
    """One message after the other, whoever says it."""
    lock = threading.Lock()

    def say(said: Said) -> None:
        with lock:
            put(sink, said)

    return say


@contextmanager
def _beating(say: Say) -> Iterator[None]:
    """Say every few seconds that this process lives, until the block ends.

    A job takes as long as the target needs for it; only who is silent meanwhile is lost.
    """
    is_done = threading.Event()

    def beat() -> None:
        # Nobody listens any more: whoever waits for a word finds that out.
        with suppress(OSError):
            while not is_done.wait(BEAT_S):
                say(Said(is_alive=True))

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_done.set()
        thread.join()


def _run(job: Job, source: IO[bytes], say: Say, recorder: Recorder | None) -> Report:
    recording = None
    if recorder is not None and job.keeps_history:
        recording = Recording(recorder, f"{job.place.name}/bench-{job.run_id}-{job.workload}")
    cpu_s, before = 0.0, None

    def agree() -> float:
        nonlocal cpu_s, before
        say(Said())
        word = _next(source)
        if word.go_s is None:
            raise ParentGone
        time.sleep(max(0.0, word.go_s - perf_counter()))
        cpu_s, before = process_time(), schedule(os.getpid())
        return word.go_s

    stage = Stage(job, agree, recording)
    gc.disable()
    try:
        failed = _play(job, stage)
        took_s = perf_counter() - stage.start_s
        after = schedule(os.getpid())
    finally:
        stage.close()
        gc.enable()
    return Report(
        series=list(stage.series.values()),
        took_s=took_s,
        cpu_s=process_time() - cpu_s,
        starved_s=None if before is None or after is None else after[1] - before[1],
        late=stage.loop.late,
        lag=stage.loop.lag,
        unexpected=dict(stage.unexpected),
        counts=dict(stage.counts),
        values=stage.values,
        violations=stage.violations,
        answered=stage.answered,
        failed=stage.gave_up or failed,
        waited=stage.waited,
        due=stage.due,
    )


def _play(job: Job, stage: Stage) -> str:
    """Do a job; why it could not be done to its end, empty if it was."""
    workload = WORKLOADS[job.workload]
    failed = ""
    try:
        if job.prepared is None:
            workload.prepare(stage)
        else:
            workload.run(stage)
    except* _FAILURES as errors:
        failed = _told(errors)
    if failed and not stage.start_s:
        # The others wait for everybody to be ready.
        stage.begin()
    return failed


def _told(errors: BaseExceptionGroup[BaseException]) -> str:
    """The first error of a group, which is what Trio raises too, in words for the report."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, LeftOut):
        return str(error)
    traceback.print_exception(error)
    said = f"{type(error).__name__}: {error}"
    for where in traceback.extract_tb(error.__traceback__)[-1:]:
        said += f" ({Path(where.filename).name}, line {where.lineno})"
    return said


if __name__ == "__main__":
    main(sys.argv[1:])
