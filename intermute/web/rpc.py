"""Operations by their names: for batches over HTTP and for commands over a WebSocket.

They go through the same handlers as requests over HTTP. Commands are sent on without waiting, those
of one project together, so that they share a commit; reads run when it is their turn.
"""

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from inspect import iscoroutinefunction
from typing import Any, cast

import attrs
import trio

from actors import ActorStopped, Overloaded
from intermute.domain import limits
from intermute.domain.refusals import Code, Refusal, quoted
from intermute.globs import Work as PatternWork
from intermute.project.directory import Asked, Projects
from intermute.project.messages import Sending, StorageUnavailable, Told
from intermute.web.access import Identified
from intermute.web.calls import Call
from intermute.web.errors import describe
from intermute.web.operations import Asking, Operation, Operations
from intermute.web.outcome import Outcome, error_outcome, refusal_outcome
from intermute.wire import rpc as wire
from intermute.wire.bodies import BadRequest
from intermute.wire.rpc import Request
from intermute.wire.strict_json import encode


class RpcCall(Call):
    """A call whose words all stand in one object, `params`.

    Args:
        project: The project of a call that names none.
        alone: Its answer leaves by itself, whenever it is there.
    """

    def __init__(
        self,
        projects: Projects,
        caller: Identified,
        request: Request,
        *,
        project: str | None = None,
        alone: bool = False,
    ) -> None:
        super().__init__(projects, caller)
        self._alone = alone
        self._method = request.method
        self._params = request.params
        if project is not None and self._params.get("project") is None:
            self._params = {**self._params, "project": project}
        self._idempotency_key = request.idempotency_key

    @property
    def may_wait(self) -> bool:
        return self._alone

    def path(self, name: str) -> str:
        found = self._params.get(name)
        if not isinstance(found, str) or not found:
            raise BadRequest(f"{name} required: a string")
        return found

    def query(self, name: str) -> str | None:
        return wire.word(self._params, name)

    def queries(self, name: str) -> list[str]:
        return wire.words(self._params, name)

    def members(self, *, optional: bool = False) -> dict[str, Any]:
        return {name: member for name, member in self._params.items() if member is not None}

    def all_members(self, *, optional: bool = False) -> dict[str, Any]:
        return dict(self._params)

    @property
    def agent_id(self) -> str | None:
        """The connection's agent, else the one that `agent_id` names.

        Not the one that `agent` names: that may be somebody whom the operation is about.
        """
        if self.caller.agent_id is not None:
            return self.caller.agent_id
        named = self._params.get("agent_id")
        return (named.strip() or None) if isinstance(named, str) else None

    @property
    def idempotency_key(self) -> str | None:
        return self._idempotency_key

    def target(self) -> str:
        return f"rpc {self._method}"

    def identifying_members(self) -> dict[str, Any]:
        # A key belongs to the project that decides, which may be named or meant.
        return {name: member for name, member in self._params.items() if name != "project"}


class Lot:
    """Commands that were sent to one project together."""

    def __init__(self, projects: Projects, project: str) -> None:
        self._projects = projects
        self._project = project
        self._asked: list[Asked] = []
        self._sending: Sending | None = None
        self._answers: Sequence[Told | Exception] | None = None

    def add(self, asked: Asked) -> int:
        """Take a command in; answers its place."""
        self._asked.append(asked)
        return len(self._asked) - 1

    @property
    def full(self) -> bool:
        return len(self._asked) >= limits.BATCH_COMMANDS_MAX

    def send(self) -> None:
        """Send them all. They are in the project's mailbox when this returns, or failed."""
        if not self._asked:
            return
        try:
            self._sending = self._projects.send(self._project, self._asked)
        except (ActorStopped, Overloaded, StorageUnavailable) as error:
            self._answers = [error] * len(self._asked)

    async def answer(self, place: int) -> Told:
        """What became of the command at a place, once it is durable. For one task at a time.

        Raises:
            ActorStopped, Overloaded, StorageUnavailable, CommandFailed.
        """
        if self._answers is None:
            assert self._sending is not None, "it was sent"
            try:
                self._answers = await self._sending.wait()
            except (ActorStopped, StorageUnavailable) as error:
                self._answers = [error] * len(self._asked)
        told = self._answers[place]
        if isinstance(told, Exception):
            raise told
        return told

    @property
    def answered(self) -> bool:
        """Whether `answer` does not wait any more."""
        return self._answers is not None or (self._sending is not None and self._sending.done)


@attrs.define
class Work:
    """One request under way: a command that was sent, a read still to be done, or an error."""

    call: RpcCall
    operation: Operation | None = None
    asking: Asking | None = None
    lot: Lot | None = None
    place: int = 0
    failed: Outcome | None = None

    @property
    def is_read(self) -> bool:
        return self.asking is None and self.failed is None

    @property
    def held(self) -> bool:
        """Whether its answer may come only after a while."""
        return self.asking is not None and self.asking.held

    @property
    def ready(self) -> bool:
        """Whether its answer is there already, or nearly so."""
        return self.failed is not None or (self.lot is not None and self.lot.answered)

    async def outcome(self) -> Outcome:
        """Its answer. A read looks now. Called once."""
        return self.failed or await _settled(self._run())

    async def _run(self) -> Outcome:
        if self.asking is not None:
            assert self.lot is not None, "a command is sent in a lot"
            return await self.asking.run(self.lot.answer(self.place))
        assert self.operation is not None, "what is known to fail has failed"
        # Reads need not wait for anything, and others must have their turn in between.
        await trio.lowlevel.checkpoint()
        return await cast(Awaitable[Outcome], self.operation.handler(self.call))


class Methods:
    """All operations by name."""

    def __init__(self, projects: Projects, nouns: Iterable[Operations]) -> None:
        self.projects = projects
        self._all: Mapping[str, Operation] = {
            operation.name: operation for operations in nouns for operation in operations
        }
        self._reads = frozenset(
            name for name, each in self._all.items() if iscoroutinefunction(each.handler)
        )

    @property
    def names(self) -> list[str]:
        return sorted(self._all)

    def start(self, calls: Sequence[tuple[str, RpcCall]]) -> list[Work]:
        """Begin with requests, in their order: commands are on their way when this returns."""
        works: list[Work] = []
        lots: dict[str, Lot] = {}
        every: list[Lot] = []
        reading = PatternWork(limits.PATTERN_READ_WORK_MAX)
        for name, call in calls:
            call.reading = reading
            work = self._begin(name, call)
            works.append(work)
            if work.asking is None:
                continue
            project = work.asking.project
            lot = lots.get(project)
            if lot is None or lot.full or work.held:
                lot = lots[project] = Lot(self.projects, project)
                every.append(lot)
            try:
                work.place = lot.add(call.asked(work.asking.command))
            except BadRequest as error:
                work.asking, work.failed = None, describe(error)
            work.lot = lot
            if work.held:
                # Somebody else waits for its answer, and what comes later is decided later.
                del lots[project]
        for lot in every:
            lot.send()
        return works

    def _begin(self, name: str, call: RpcCall) -> Work:
        """Have the handler say what is to be decided; one that only looks has to wait.

        Why the broad except: an error nobody foresaw must cost the one who met it, not the others.
        """
        operation = self._all.get(name)
        if operation is None:
            return Work(call, failed=_unknown(name))
        if name in self._reads:
            return Work(call, operation)
        try:
            asking = operation.handler(call)
        except Exception as error:
            return Work(call, failed=describe(error))
        assert isinstance(asking, Asking), "a handler that does not wait asks for a decision"
        return Work(call, operation, asking)


async def _settled(running: Awaitable[Outcome]) -> Outcome:
    """What came of it, an error included: here is what Quart does for requests over HTTP."""
    try:
        return await running
    except Exception as error:
        return describe(error)


def _unknown(name: str) -> Outcome:
    detail = f"there is no operation {quoted(name)}; rpc.discover on a WebSocket lists them all"
    return error_outcome(404, "method_not_found", "No such method", detail)


def place_of(outcome: Outcome) -> dict[str, Any]:
    """What HTTP says in headers, as members of an answer: where the decision stands in its
    project's order, and whether anything follows a page."""
    members: dict[str, Any] = {}
    told = outcome.told
    if told is not None:
        members |= {"epoch": told.epoch, "seq": told.seq}
        if told.replayed:
            members["replayed"] = True
    more = outcome.headers.get("Intermute-More")
    if more is not None:
        members["more"] = more == "true"
    return members


def problem_of(outcome: Outcome) -> Any:
    """The body of an error, with the seconds that HTTP says in a header."""
    wait_s = outcome.headers.get("Retry-After")
    if wait_s is None or "retry_after_seconds" in outcome.body:
        return outcome.body
    return {**outcome.body, "retry_after_seconds": int(wait_s)}


class Room:
    """What is left of the length that the answers to one batch may have together."""

    def __init__(self) -> None:
        self._left = limits.BATCH_ANSWER_LEN_MAX

    async def outcome(self, work: Work) -> tuple[Outcome, bytes]:
        """The answer and its body as JSON; reads are not done any more once there is no room."""
        if work.is_read and self._left <= 0:
            outcome = refusal_outcome(_TOO_LONG)
        else:
            outcome = await work.outcome()
        body = encode(problem_of(outcome) if outcome.is_error else outcome.body)
        self._left -= len(body)
        return outcome, body


_TOO_LONG = Refusal(
    Code.LIMIT_REACHED,
    f"the answers to this batch have more than {limits.BATCH_ANSWER_LEN_MAX} bytes together; "
    "ask for the rest in another one",
)


async def finish_all(works: Sequence[Work]) -> list[tuple[Outcome, bytes]]:
    """The answers to a batch, in order. Its reads come after all its commands."""
    room = Room()
    found: dict[int, tuple[Outcome, bytes]] = {}
    for is_read in (False, True):
        for at, work in enumerate(works):
            if work.is_read is is_read:
                found[at] = await room.outcome(work)
    return [found[at] for at in range(len(works))]
