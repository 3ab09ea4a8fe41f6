"""A generator process: `python -m bench.contention.worker PART [HISTORY]`.

It is told on stdin what to do, and answers on stdout: once when it is ready for a job, once when
the job is done.
"""

import gc
import os
import sys
import time
from pathlib import Path
from time import perf_counter, process_time
from typing import IO

from bench.contention.jobs import Job, Report, Said, Word, decode_word, put, take
from bench.contention.recording import Recording
from bench.contention.stage import Stage
from bench.contention.workloads import WORKLOADS
from bench.linearizability.history import Header, Recorder
from bench.machine import schedule


class ParentGone(Exception):
    """Nobody tells us anything any more."""


def main(arguments: list[str]) -> None:
    """Do jobs until told that all is over."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    recorder = None
    if len(arguments) > 1:
        recorder = Recorder(Header(server="a part of a run"), Path(arguments[1]))
    # What a collection stops for would be counted as the target's.
    gc.freeze()
    try:
        while (word := _next(source)).job is not None:
            report = _run(word.job, source, sink, recorder)
            if recorder is not None:
                recorder.flush()
            put(sink, Said(report))
    finally:
        if recorder is not None:
            recorder.close()


def _next(source: IO[bytes]) -> Word:
    data = take(source)
    return Word() if data is None else decode_word(data)


def _run(job: Job, source: IO[bytes], sink: IO[bytes], recorder: Recorder | None) -> Report:
    recording = None
    if recorder is not None and job.keeps_history:
        recording = Recording(recorder, f"{job.place.name}/bench-{job.run_id}-{job.workload}")
    cpu_s, before = 0.0, None

    def agree() -> float:
        nonlocal cpu_s, before
        put(sink, Said())
        word = _next(source)
        if word.go_s is None:
            raise ParentGone
        time.sleep(max(0.0, word.go_s - perf_counter()))
        cpu_s, before = process_time(), schedule(os.getpid())
        return word.go_s

    stage = Stage(job, agree, recording)
    gc.disable()
    try:
        workload = WORKLOADS[job.workload]
        if job.prepared is None:
            workload.prepare(stage)
        else:
            workload.run(stage)
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
    )


if __name__ == "__main__":
    main(sys.argv[1:])
