"""Workloads of calls that have nothing to do with each other: reserve and release, send, inbox."""

from collections.abc import Sequence

from bench.contention import asks
from bench.contention.jobs import Variant
from bench.contention.links import Ask, Reply
from bench.contention.loop import Script
from bench.contention.stage import Stage
from bench.contention.workloads.base import LeftOut, Load, Workload
from bench.texts import texts

_CLIENTS = 32
_TEXT_LEN = 512
_TEXTS = 64
_READERS = 8
_PAGE = 50
# Whoever fills an inbox and was turned down so often in a row has no more hope.
_FAILED_MAX = 20


class Reserve(Workload):
    """Every client has a path of its own."""

    name = "reserve"
    title = "reserve and release without conflict"
    is_recorded = True
    has_rate = True

    def variants(self, load: Load) -> list[Variant]:
        return [Variant("", load.clients_or(_CLIENTS))]

    def run(self, stage: Stage) -> None:
        if stage.job.rate is None:
            stage.play({f"worker-{at:03}": _reserving(stage, at) for at in stage.own})
            return
        # Every client begins with a path that nobody has had before.
        begun = iter(range(stage.job.part, 1 << 40, stage.job.parts))
        turn = stage.job.turn
        stage.play_open(
            "reserve",
            stage.job.rate / 2,
            lambda due_s: _reserving_once(stage, f"t{turn}n{next(begun)}", due_s),
        )


def _reserving(stage: Stage, ordinal: int) -> Script:
    agent, path = f"worker-{ordinal:03}", stage.path(f"pkg{ordinal}/src/w{ordinal}.py")
    while not stage.is_over():
        yield from _pair(stage, agent, path, None)


def _reserving_once(stage: Stage, name: str, due_s: float) -> Script:
    yield from _pair(stage, f"worker-{name}", stage.path(f"once/{name}.py"), due_s)


def _pair(stage: Stage, agent: str, path: str, due_s: float | None) -> Script:
    ask = asks.reserve(stage.job.project, agent, path)
    ask.due_s = due_s
    granted = yield ask
    assert granted is not None
    if granted.status == ask.wanted:
        yield asks.release(agent, granted.members()["id"])


class Send(Workload):
    """Messages of 512 bytes, to a few readers."""

    name = "send"
    title = "send messages of 512 bytes"
    needs = frozenset({"send"})
    has_rate = True

    def variants(self, load: Load) -> list[Variant]:
        return [Variant("", load.clients_or(_CLIENTS))]

    def run(self, stage: Stage) -> None:
        if stage.job.rate is None:
            stage.play({f"sender-{at:03}": _sending(stage, at) for at in stage.own})
            return
        begun = iter(range(1 << 40))
        bodies = list(texts(_TEXTS, _TEXT_LEN, seed=stage.job.part))
        stage.play_open(
            "send", stage.job.rate, lambda due_s: _sending_once(stage, next(begun), bodies, due_s)
        )


def _sending(stage: Stage, ordinal: int) -> Script:
    bodies = list(texts(_TEXTS, _TEXT_LEN, seed=ordinal))
    sender, reader = f"sender-{ordinal:03}", f"reader-{ordinal % _READERS}"
    number = 0
    while not stage.is_over():
        yield asks.send(stage.job.project, sender, [reader], bodies[number % _TEXTS])
        number += 1


def _sending_once(stage: Stage, number: int, bodies: list[str], due_s: float) -> Script:
    yield message(stage, number, bodies, due_s=due_s)


def message(
    stage: Stage,
    number: int,
    bodies: Sequence[str],
    *,
    operation: str = "send",
    due_s: float | None = None,
) -> Ask:
    """One of very many messages, among a few senders and readers."""
    sender, reader = f"sender-{number % 64:03}", f"reader-{number % _READERS}"
    ask = asks.send(stage.job.project, sender, [reader], bodies[number % len(bodies)])
    ask.due_s, ask.operation = due_s, operation
    return ask


class InboxPage(Workload):
    """Pages of 50 messages, anywhere in an inbox."""

    name = "inbox"
    title = "read a page of 50 messages of an inbox"
    has_rate = True
    needs = frozenset({"send", "inbox"})

    def variants(self, load: Load) -> list[Variant]:
        held = load.pick(full=5_000, quick=600, tiny=60)
        return [Variant("", load.clients_or(_CLIENTS), {"messages": held})]

    def prepare(self, stage: Stage) -> None:
        """Fill the inboxes; the cursors of all messages of the first reader are kept.

        Raises:
            LeftOut: Not one message was taken.
        """
        wanted = int(stage.job.variant.numbers["messages"])
        stage.play({f"filler-{at}": self._filling(stage, at, wanted) for at in range(_READERS)})
        cursors = sorted(stage.values.get("cursors", ()))
        if not cursors:
            raise LeftOut("not one message was taken to fill its inboxes with")
        stage.values["cursors"] = cursors

    def _filling(self, stage: Stage, ordinal: int, wanted: int) -> Script:
        readers = [f"reader-{at}" for at in range(_READERS)]
        failed = 0
        for text in texts(wanted // _READERS + 1, _TEXT_LEN, seed=ordinal):
            # One message to all of them fills every inbox at the cost of one.
            sent = yield asks.send(stage.job.project, f"filler-{ordinal}", readers, text)
            assert sent is not None
            if sent.status == 200:
                failed = 0
                stage.add("cursors", sent.members()["cursor"])
                continue
            failed += 1
            if failed == _FAILED_MAX:
                return

    def run(self, stage: Stage) -> None:
        if stage.job.rate is None:
            stage.play({f"reader-{at:03}": self._reading(stage, at) for at in stage.own})
            return
        begun = iter(range(1 << 40))
        stage.play_open("page", stage.job.rate, lambda due_s: self._page(stage, next(begun), due_s))

    def _reading(self, stage: Stage, ordinal: int) -> Script:
        while not stage.is_over():
            yield from self._page(stage, ordinal, None)

    def _page(self, stage: Stage, number: int, due_s: float | None) -> Script:
        cursors = stage.prepared["cursors"]
        newest = max(1, len(cursors) - _PAGE)
        after = cursors[stage.chance.randrange(newest)] - 1
        ask = asks.inbox(stage.job.project, f"reader-{number % _READERS}", after=after, limit=_PAGE)
        ask.due_s, ask.operation = due_s, "page"
        reply = yield ask
        assert reply is not None
        check_page(stage, reply, min(_PAGE, len(cursors)))


def check_page(stage: Stage, reply: Reply, wanted: int) -> None:
    """Note a page that has not so many messages."""
    if reply.status == 200 and reply.body.count(b'"created_at"') != wanted:
        stage.unexpected[f"a page that has not {wanted} messages"] += 1
