"""What the parent process and the generator processes tell each other, as MessagePack."""

from typing import IO, Any

import attrs
import msgspec

from bench.contention.histogram import Histogram
from bench.contention.links import Address
from bench.contention.results import Series
from bench.contention.sockets import TRIO_WEBSOCKET

_HEAD_LEN = 4
# How often a generator at work says that it lives.
BEAT_S = 5.0


@attrs.frozen
class Place:
    """A target as a generator needs to know it.

    Attributes:
        pid: Of the server process, when it is ours; None otherwise.
        key: That it wants to be shown; empty for none. It is not part of what is printed or stored.
        project: The one that the key is for; empty where projects can be made at will.
    """

    name: str
    host: str
    port: int
    capabilities: frozenset[str]
    pid: int | None = None
    key: str = attrs.field(default="", repr=False)
    project: str = ""

    @property
    def address(self) -> Address:
        """Where it listens."""
        return Address(self.host, self.port, self.key)


@attrs.frozen
class Variant:
    """One of the settings that a workload is run with.

    Attributes:
        label: Tells it from the others of its workload; empty for a single one.
        clients: How many there are, over all processes.
        numbers: Whatever else the workload needs to know.
        alone: All its clients have to be in one process.
        least_s: What a slice has to last at least, to say anything.
        turns_most: How many turns are enough, its slices being long.
    """

    label: str
    clients: int
    numbers: dict[str, float] = attrs.field(factory=dict)
    alone: bool = False
    least_s: float = 0.0
    turns_most: int = 1_000


@attrs.frozen
class Job:
    """One slice of a workload on one target, or what has to be done before the first one.

    Attributes:
        prepared: What the preparation of this workload on this target left, None for a job that
            is the preparation.
        part, parts: Which of how many generator processes this is.
        began_s: When the workload began, on `time.perf_counter`, which is one clock for all
            processes of a machine.
        rate: Calls a second of all processes in open loop; None in closed loop.
        driver: `http` or `websocket`, for what is asked.
        websocket: Which of `sockets.DRIVERS` any WebSocket is made with, those of feeds too.
        run_id: In names that no other run may have used in the same project.
    """

    workload: str
    variant: Variant
    place: Place
    project: str
    prepared: dict[str, Any] | None
    turn: int
    part: int
    parts: int
    seconds: float
    began_s: float
    seed: int
    rate: float | None = None
    driver: str = "http"
    websocket: str = TRIO_WEBSOCKET
    run_id: str = ""
    keeps_history: bool = False


@attrs.define
class Due:
    """When the calls of a series were to be made in open loop, of one process; `perf_counter`.

    Attributes:
        in_time: How many had the wanted answer until the end.
        after: How long after the end the others had it.
        last_s: When the last answer came, which may be after the end.
    """

    since_s: float
    until_s: float
    in_time: int = 0
    after: Histogram = attrs.field(factory=Histogram)
    last_s: float = 0.0


@attrs.frozen
class Report:
    """What came of a job.

    Attributes:
        took_s: From the agreed beginning to the end of the last client.
        cpu_s: Processor time of this generator process.
        starved_s: How long it was ready to run and had no processor; None if unknown.
        waited: How long calls of an open loop waited because all connections were in use.
        unexpected: Answers that no client should get, as text to count.
        counts: Whatever the workload counts.
        values: Whatever else the workload has to say, for its judge.
        due: Of an open loop, by the name of the series.
        answered: How many calls had the wanted answer.
        failed: Why the workload could not go on on this target; empty when it did.
    """

    series: list[Series]
    took_s: float
    cpu_s: float
    starved_s: float | None
    late: Histogram
    lag: Histogram
    unexpected: dict[str, int]
    counts: dict[str, int]
    values: dict[str, list[Any]]
    violations: list[str]
    answered: int = 0
    failed: str = ""
    waited: Histogram = attrs.field(factory=Histogram)
    due: dict[str, Due] = attrs.field(factory=dict)


@attrs.frozen
class Word:
    """From the parent: a job, when to begin with the one before, or (neither) that all is over."""

    job: Job | None = None
    go_s: float | None = None


@attrs.frozen
class Said:
    """From a generator: that it is ready to begin, what came of the job, or only that it lives."""

    report: Report | None = None
    is_alive: bool = False


def put(sink: IO[bytes], thing: Word | Said) -> None:
    """Write one message."""
    data = msgspec.msgpack.encode(thing)
    sink.write(len(data).to_bytes(_HEAD_LEN, "big") + data)
    sink.flush()


def take(source: IO[bytes]) -> bytes | None:
    """The bytes of the next message; None when the other side has ended."""
    head = _whole(source, _HEAD_LEN)
    return None if head is None else _whole(source, int.from_bytes(head, "big"))


def _whole(source: IO[bytes], length: int) -> bytes | None:
    """So many bytes, in as many pieces as a pipe gives them in; None when it ends before."""
    data = bytearray()
    while len(data) < length:
        piece = source.read(length - len(data))
        if not piece:
            return None
        data += piece
    return bytes(data)


decode_word = msgspec.msgpack.Decoder(Word).decode
decode_said = msgspec.msgpack.Decoder(Said).decode
