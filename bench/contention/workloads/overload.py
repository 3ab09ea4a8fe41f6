"""The overload curve: more and more is asked, up to three times what the target can do."""

from collections.abc import Sequence
from statistics import median

from bench.contention.jobs import Variant
from bench.contention.loop import Script
from bench.contention.results import Axis, Curve, Point
from bench.contention.stage import Afterwards, Stage
from bench.contention.workloads.base import Findings, Judged, LeftOut, Load, Part, Workload
from bench.contention.workloads.plain import message
from bench.load import percentile
from bench.report import Bound, Figure
from bench.texts import texts

_FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
_AFTER = 0.5
_AFTER_S = 3.0
_LINKS = 1_500
_PROBES = 32
_PATIENCE_S = 1.0
_WINDOW_S = 0.1
_TEXT_LEN = 200
# After the overload a window is as before it when its median is at most so many times that.
_AS_BEFORE = 3.0
_CALM_WINDOWS = 5
_NOT_DONE = -1.0
GOODPUT_MIN = 0.80
REFUSAL_MS_MAX = 50.0
RECOVERY_S_MAX = 1.0
# As many connections are open under little load, and what is kept of a message is on the disk. What
# comes on top is as many calls under way as are let in, which a server that has just begun has not
# had room for before; whoever keeps what it cannot do needs many times that.
MEMORY_GROWTH_MAX = 1.25


class Overload(Workload):
    """Messages in open loop. What the target can do is measured in closed loop before.

    A client without a free connection for a second has given up: it was never sent and counts as
    failed. After the highest rate comes half of the saturation, to see how soon all is well again.
    """

    name = "overload"
    title = "overload curve: open loop up to three times saturation"
    needs = frozenset({"send"})
    over_sockets = False
    measures_first = True

    def variants(self, load: Load) -> list[Variant]:
        links = load.clients or load.pick(full=_LINKS, quick=_LINKS, tiny=64)
        factors = load.pick(full=_FACTORS, quick=(0.5, 1.0, 2.0, 3.0), tiny=(0.5, 3.0))
        after_s = load.pick(full=_AFTER_S, quick=2.0, tiny=0.3)
        return [
            Variant(
                f"{factor:g} x",
                links,
                {"factor": factor, "after_s": after_s if factor == max(factors) else 0.0},
                least_s=load.pick(full=6.0, quick=4.0, tiny=0.2),
                turns_most=load.pick(full=3, quick=1, tiny=1),
            )
            for factor in factors
        ]

    def loop(self, load: Load) -> str:
        factors = [variant.numbers["factor"] for variant in self.variants(load)]
        return f"open, {min(factors):g} to {max(factors):g} times the saturation"

    def prepare(self, stage: Stage) -> None:
        """What the target can do now, in sends a second.

        Raises:
            LeftOut: Nothing, so that there are no three times of it.
        """
        bodies = list(texts(64, _TEXT_LEN, seed=1))
        stage.play({f"probe-{at}": _probing(stage, at, bodies) for at in range(_PROBES)})
        done = stage.tally("probe").ok
        if not done:
            raise LeftOut("it did not one of the sends by which its saturation is found")
        stage.add("saturation", done / stage.job.seconds)

    def run(self, stage: Stage) -> None:
        numbers = stage.job.variant.numbers
        saturation = stage.prepared["saturation"][0]
        bodies = list(texts(64, _TEXT_LEN, seed=stage.job.part))
        begun = iter(range(1 << 40))
        stage.add("saturation", saturation)
        stage.add("seconds", stage.job.seconds / stage.job.parts)

        def make(due_s: float) -> Script:
            sending = _sending if due_s < stage.end_s else _sending_after
            return sending(stage, next(begun), bodies, due_s)

        given_up = stage.play_open(
            "send",
            saturation * numbers["factor"],
            make,
            links_first=stage.job.variant.clients,
            patience_s=_PATIENCE_S,
            then=Afterwards("afterwards", saturation * _AFTER, numbers["after_s"])
            if numbers["after_s"]
            else None,
        )
        after = [due_s for due_s in given_up if due_s >= stage.end_s]
        for due_s in after:
            stage.add("after", (due_s - stage.end_s, _NOT_DONE))
        stage.tally("send").failed += len(given_up) - len(after)
        stage.counts["given up"] += len(given_up) - len(after)

    def judge(self, parts: Sequence[Part]) -> Judged:
        goodput = [(_offered(part), _goodput(part)) for part in parts]
        peak = max(good for _, good in goodput)
        last = parts[-1]
        # How long a refusal took from when it was sent: what the target is answerable for.
        refusals_s = sorted(each for part in parts for each in part.values.get("refused after", []))
        without = sum(part.counts["503 without Retry-After"] for part in parts)
        answered = sum(part.answered for part in parts) + len(refusals_s)
        share = Figure(
            f"goodput at {last.variant.label}, as a share of the peak",
            goodput[-1][1] / max(peak, 1e-9),
            "",
            target=GOODPUT_MIN,
        )
        at_most = Bound.AT_MOST
        found = Findings()
        saturation = Figure("saturation, closed loop", median(last.values["saturation"]), "sends/s")
        found.add(saturation, of=saturation.value)
        found.add(Figure("peak goodput", peak, "sends/s"), of=peak)
        found.add(share, of=peak)
        found.add(Figure("refused", len(refusals_s), ""), of=answered)
        given_up = sum(part.counts["given up"] for part in parts)
        found.add(Figure("given up for want of a connection", given_up, ""), of=answered)
        found.add(
            Figure("503 without Retry-After", without, "", target=0, bound=at_most), of=answered
        )
        if refusals_s:
            p99_ms = percentile(refusals_s, 0.99) * 1e3
            found.add(
                Figure("p99 of a refusal", p99_ms, "ms", target=REFUSAL_MS_MAX, bound=at_most),
                of=len(refusals_s),
            )
        warnings = _add_memory(found, parts)
        before, after = parts[0].of("send").latency, last.values.get("after", [])
        recovered_s = recovery_s(after, before.quantile(0.5))
        found.add(
            Figure("recovered after", recovered_s, "s", target=RECOVERY_S_MAX, bound=at_most),
            of=min(before.count, len(after)),
        )
        latency = [
            Point(_offered(part), part.of("send").latency.quantile(0.99) / 1e3) for part in parts
        ]
        offered = Axis("sends due", "1/s")
        curves = (
            Curve(
                "goodput", offered, Axis("sends done", "1/s"), tuple(Point(*at) for at in goodput)
            ),
            Curve("latency under overload", offered, Axis("p99", "ms"), tuple(latency)),
        )
        return found.judged(curves=curves if peak else (), warnings=warnings)


def recovery_s(after: Sequence[Sequence[float]], before_us: float) -> float:
    """When all was as before, in seconds after the overload ended.

    That is after the last call that was not done, and when calls are as fast as before for half a
    second: a slow moment later on is what the machine does in any second.

    Args:
        after: Of each call that was due after it: (due, seconds after the end; latency in
            microseconds, negative when it was not done).
        before_us: The median latency under little load.
    """
    windows: dict[int, list[float]] = {}
    for due_s, latency_us in after:
        windows.setdefault(int(due_s / _WINDOW_S), []).append(latency_us)
    if not windows:
        return 0.0
    end = max(windows) + 1
    undone = [number for number, found in windows.items() if min(found) < 0]
    slow = {number for number, found in windows.items() if median(found) > _AS_BEFORE * before_us}
    first = max(undone, default=-1) + 1
    while first < end and not slow.isdisjoint(range(first, first + _CALM_WINDOWS)):
        first += 1
    return first * _WINDOW_S


def _probing(stage: Stage, ordinal: int, bodies: list[str]) -> Script:
    number = ordinal
    while not stage.is_over():
        yield message(stage, number, bodies, operation="probe")
        number += _PROBES


def _sending(stage: Stage, number: int, bodies: list[str], due_s: float) -> Script:
    reply = yield message(stage, number, bodies, due_s=due_s)
    assert reply is not None
    stage.counts["in time"] += reply.status == 200 and reply.answered_s <= stage.end_s
    if reply.status == 503:
        stage.add("refused after", reply.answered_s - reply.asked_s)


def _sending_after(stage: Stage, number: int, bodies: list[str], due_s: float) -> Script:
    reply = yield message(stage, number, bodies, operation="afterwards", due_s=due_s)
    assert reply is not None
    latency_us = (reply.answered_s - due_s) * 1e6 if reply.status == 200 else _NOT_DONE
    stage.add("after", (due_s - stage.end_s, latency_us))


def _offered(part: Part) -> float:
    return part.of("send").count / float(sum(part.values["seconds"]))


def _goodput(part: Part) -> float:
    return part.counts["in time"] / float(sum(part.values["seconds"]))


def _add_memory(found: Findings, parts: Sequence[Part]) -> list[str]:
    """What the server process held at the least and at the greatest rate; what there is to say."""
    little = max((held for _, held in parts[0].memory), default=0)
    much = max((held for _, held in parts[-1].memory), default=0)
    seen = min(little, much)
    found.add(Figure("memory of the server, little load", little / 1e6, "MB"), of=seen)
    found.add(Figure("memory of the server, overload", much / 1e6, "MB"), of=seen)
    found.add(
        Figure(
            "memory under overload, as a multiple of that under little load",
            much / max(1, little),
            "",
            target=MEMORY_GROWTH_MAX,
            bound=Bound.AT_MOST,
        ),
        of=seen,
    )
    return [] if seen else ["the memory of a server that was not started here is not known"]
