"""Project files with a past, written through the product's own storage code, events and all."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.texts import texts
from intermute.domain.events import (
    Event,
    EventData,
    MessageCreated,
    ReservationCreated,
    ReservationReleased,
)
from intermute.domain.limits import TTL_MAX_MS
from intermute.domain.modes import Mode
from intermute.domain.stamp import Stamp, make_id
from intermute.storage.files import DataDirectory, project_tag
from intermute.storage.writer import Writer

HOLDERS = 100
_COMMIT_EVERY = 10_000
_PACKAGES = 500
_TEXTS = 10_000
_TEXT_LEN = 200


def pattern(ordinal: int) -> str:
    """The pattern of the reservation with this number; no two of them overlap.

    One in ten has wildcards, in the shapes that people write: generated files of one directory,
    one kind of file anywhere below a directory, either of two trees.
    """
    package = f"pkg{ordinal % _PACKAGES}"
    module = f"mod{ordinal // _PACKAGES % 20}"
    shape = ordinal // 10 % 3
    if ordinal % 10 != 9:
        return f"{package}/src/{module}/file{ordinal}.py"
    if shape == 0:
        return f"{package}/src/{module}/gen{ordinal}_*.py"
    if shape == 1:
        return f"{package}/src/{module}/area{ordinal}/**/*.ts"
    return f"{package}/{{src,tests}}/{module}/case{ordinal}_?.py"


def write_project(
    directory: Path, project: str, *, active: int, ended: int = 0, past_us: int = 3_600_000_000
) -> None:
    """A data directory with one project that has a history.

    Args:
        active: Reservations that are held, exclusively, by `HOLDERS` agents, for a day.
        ended: Reservations that were granted and released before; two events each.
        past_us: How long before now the history begins.
    """
    now_us = time.time_ns() // 1000
    at_us, step_us = now_us - past_us, past_us // (2 * (active + ended) + 1)
    happened = _happened(project_tag(project), active=active, ended=ended, at_us=now_us)
    _write(directory, project, happened, at_us=at_us, step_us=step_us)


def write_messages(directory: Path, project: str, *, reader: str, count: int) -> None:
    """A project in a data directory, new or not, in which `reader` was sent so many messages."""
    now_us, step_us = time.time_ns() // 1000, 1_000
    _write(
        directory,
        project,
        _sent(project_tag(project), reader=reader, count=count, at_us=now_us),
        at_us=now_us - count * step_us,
        step_us=step_us,
    )


def _write(
    directory: Path,
    project: str,
    happened: Iterable[tuple[str, EventData]],
    *,
    at_us: int,
    step_us: int,
) -> None:
    """Write what happened, as (actor, data), one thing every `step_us` from `at_us` on."""
    data = DataDirectory(directory)
    try:
        path = data.create(project)
        writer = Writer.open(path, project=project, tag=project_tag(project), at_us=at_us)
        try:
            writer.begin()
            for cursor, (actor, what) in enumerate(happened, 1):
                writer.append(Event(cursor, at_us + cursor * step_us, actor, what))
                if cursor % _COMMIT_EVERY == 0:
                    writer.commit()
                    writer.begin()
            writer.commit()
        finally:
            writer.close()
    finally:
        data.close()


def _sent(tag: str, *, reader: str, count: int, at_us: int) -> Iterator[tuple[str, EventData]]:
    bodies = list(texts(min(count, _TEXTS), _TEXT_LEN, seed=0))
    for ordinal in range(count):
        sender = f"sender-{ordinal % HOLDERS:03}"
        yield (
            sender,
            MessageCreated(
                message_id=make_id("msg", tag, Stamp(at_us, 0, ordinal).unique()),
                thread_id="",
                sender=sender,
                to=(reader,),
                cc=(),
                bcc=(),
                subject="",
                topic="",
                body=bodies[ordinal % len(bodies)],
                importance="",
                ack_required=False,
            ),
        )


def _happened(tag: str, *, active: int, ended: int, at_us: int) -> Iterator[tuple[str, EventData]]:
    for ordinal in range(ended + active):
        agent_id = f"holder-{ordinal % HOLDERS:03}"
        reservation_id = make_id("rsv", tag, Stamp(at_us, 0, ordinal).unique())
        yield (
            agent_id,
            ReservationCreated(
                reservation_id=reservation_id,
                agent_id=agent_id,
                patterns=(pattern(ordinal),),
                mode=Mode.EXCLUSIVE,
                reason="bench",
                ttl_ms=TTL_MAX_MS,
                expires_at_us=at_us + TTL_MAX_MS * 1000,
            ),
        )
        if ordinal < ended:
            # The cursor of its grant, which each one before it moved by two events.
            token = 2 * ordinal + 1
            yield (
                agent_id,
                ReservationReleased(reservation_id, agent_id, "holder", fencing_token=token),
            )
