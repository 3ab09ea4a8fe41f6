"""Operations: all that can be asked of a project, each written once, whichever way it is asked.

A noun's module has an `Operations` with one entry for each. A command says which `Asking` follows
from a call, without waiting; a query looks and answers. Who runs them decides how they travel:
`intermute.web.edge` over HTTP, `intermute.web.rpc` in batches and on sockets.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import attrs
import trio

from intermute.domain.commands import Command
from intermute.domain.decision import Accepted
from intermute.project.messages import Told
from intermute.web.calls import Call
from intermute.web.outcome import Outcome, refusal_outcome


def _shown_by_follow(_: object) -> None:
    raise AssertionError("what follows answers")


@attrs.frozen
class Asking:
    """A command, the project that is to decide it, and how its answer is shown.

    Attributes:
        render: From the answer of an accepted command to a JSON value, where nothing follows.
        status: Of an accepted command.
        follow: What is left to do once the command is durable, if anything; it may wait, and
            answers instead. Only called for accepted commands.
        held: `follow` has to run, if only to be cancelled at once, even when whoever asked has
            left before the command was durable: it undoes what is of no use to anybody.
    """

    project: str
    command: Command
    render: Callable[[Any], Any] = _shown_by_follow
    status: int = 200
    follow: Callable[[Told], Awaitable[Outcome]] | None = None
    held: bool = False

    def outcome(self, told: Told) -> Outcome:
        """The decision as an answer, with its place in the project's order."""
        decision = told.decision
        if isinstance(decision, Accepted):
            outcome = Outcome(self.status, self.render(decision.answer))
        else:
            outcome = refusal_outcome(decision)
        return place(outcome, told)

    async def run(self, telling: Awaitable[Told]) -> Outcome:
        """The answer, after what is left to do was done.

        Args:
            telling: Waits for what became of the command.
        """
        if self.held:
            with trio.CancelScope(shield=True):
                told = await telling
        else:
            told = await telling
        return await self._finish(told)

    async def _finish(self, told: Told) -> Outcome:
        if self.follow is None or not isinstance(told.decision, Accepted):
            return self.outcome(told)
        outcome = await self.follow(told)
        return outcome if outcome.told is not None else place(outcome, told)


def place(outcome: Outcome, told: Told) -> Outcome:
    """The outcome with the decision's place in the project's order."""
    outcome.told = told
    outcome.headers["Intermute-Epoch"] = str(told.epoch)
    outcome.headers["Intermute-Seq"] = str(told.seq)
    if told.replayed:
        outcome.headers["Idempotency-Replayed"] = "true"
    return outcome


Handler = Callable[[Call], Asking | Awaitable[Outcome]]


@attrs.frozen
class Operation:
    """One thing that can be asked.

    Attributes:
        name: `noun.verb`, its name in batches and on sockets.
        methods, rule: Where it stands in HTTP.
    """

    name: str
    methods: tuple[str, ...]
    rule: str
    handler: Handler


class Operations:
    """The operations of one noun, in the order in which they are written."""

    def __init__(self) -> None:
        self._all: list[Operation] = []

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._all)

    def command(
        self, name: str, methods: str, rule: str
    ) -> Callable[[Callable[[Call], Asking]], Callable[[Call], Asking]]:
        """Register a function that says what is to be decided. `methods` are split at spaces."""

        def register(handler: Callable[[Call], Asking]) -> Callable[[Call], Asking]:
            self._all.append(Operation(name, tuple(methods.split()), rule, handler))
            return handler

        return register

    def query(
        self, name: str, rule: str
    ) -> Callable[[Callable[[Call], Awaitable[Outcome]]], Callable[[Call], Awaitable[Outcome]]]:
        """Register a function that looks; over HTTP it is a GET."""

        def register(
            handler: Callable[[Call], Awaitable[Outcome]],
        ) -> Callable[[Call], Awaitable[Outcome]]:
            self._all.append(Operation(name, ("GET",), rule, handler))
            return handler

        return register
