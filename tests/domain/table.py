"""The table style of these tests: given events, one command, then events or a refusal.

What is given is a list of events, marks and passages of time. Times are seconds.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import apsw
import attrs

from intermute.domain import events
from intermute.domain.commands import Caller, Command, ExpireLeases, RegisterAgent
from intermute.domain.decide import advance, decide
from intermute.domain.decision import Accepted, Decision
from intermute.domain.events import Event, EventData, Mark, Seen, TokenBound, TokenSet
from intermute.domain.modes import Mode
from intermute.domain.refusals import Code, Refusal
from intermute.domain.stamp import Stamp
from intermute.domain.state import State
from intermute.domain.transitions import apply, mark
from intermute.domain.waiting import admissions
from intermute.storage import projections
from intermute.storage.archive import FileArchive
from intermute.storage.migrations import migrate, packaged

TAG = "a" * 12
PROJECT = "house"
S = 1_000_000
WALL = 1_700_000_000 * S
MONO = 5_000 * S
ENTROPY = 0x0123_4567_89AB_CDEF_0F1E_2D3C_4B5A_6978
ALICE, BOB, CAROL, DAVE = "alice", "bob", "carol", "dave"
SESSIONS = {
    ALICE: "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa",
    BOB: "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb",
    CAROL: "cccccccc-cccc-4ccc-8ccc-cccccccccccc",
    DAVE: "dddddddd-dddd-4ddd-8ddd-dddddddddddd",
}
NOBODY = Caller()
OPERATOR = Caller(operator=True)
GRACE_S = 300
MINUTE = 60


@attrs.frozen
class Later:
    """Time passes: `s` on the monotonic clock, as much and `wall_s` more on the wall clock."""

    s: float
    wall_s: float = 0


def mode_of(exclusive: bool) -> Mode:
    return Mode.EXCLUSIVE if exclusive else Mode.SHARED


Given = EventData | Mark | Later | Callable[[State], EventData]


def registered(agent_id: str, **changes: Any) -> events.AgentRegistered:
    members: dict[str, Any] = {
        "agent_id": agent_id,
        "session_id": SESSIONS.get(agent_id, SESSIONS[CAROL]),
        "name": agent_id.title(),
        "capabilities": (),
        "metadata": {},
        "status": "",
        "policy": "open",
        "live_contact_policy": "contacts_only",
    }
    return events.AgentRegistered(**{**members, **changes})


def held(
    reservation_id: str,
    agent_id: str,
    *patterns: str,
    exclusive: bool = True,
    mode: Mode | None = None,
    ttl_s: int = 30 * MINUTE,
    reason: str = "",
    renew_on_heartbeat: bool = False,
) -> Callable[[State], EventData]:
    """A reservation granted at the moment at which it stands in the list."""

    def granted(state: State) -> EventData:
        return events.ReservationCreated(
            reservation_id=reservation_id,
            agent_id=agent_id,
            patterns=patterns,
            mode=mode or mode_of(exclusive),
            reason=reason,
            ttl_ms=ttl_s * 1000,
            expires_at_us=state.at_us + ttl_s * S,
            renew_on_heartbeat=renew_on_heartbeat,
        )

    return granted


def waits(
    ticket_id: str,
    agent_id: str,
    *patterns: str,
    mode: Mode = Mode.EXCLUSIVE,
    ttl_s: int = 30 * MINUTE,
    wait_s: int = 30 * MINUTE,
    held_open: bool = False,
) -> Callable[[State], EventData]:
    """A ticket drawn at the moment at which it stands in the list."""

    def queued(state: State) -> EventData:
        return events.ReservationQueued(
            ticket_id=ticket_id,
            agent_id=agent_id,
            patterns=patterns,
            mode=mode,
            reason="",
            ttl_ms=ttl_s * 1000,
            renew_on_heartbeat=False,
            held_open=held_open,
            wait_until_us=state.at_us + wait_s * S,
        )

    return queued


def token_hash(text: str) -> bytes:
    """A stand-in of the right length; the domain only ever compares it."""
    return text.encode().ljust(32, b".")


def token_of(agent_id: str, text: str = "token") -> TokenSet:
    return TokenSet(agent_id, token_hash(text))


def bound(agent_id: str) -> TokenBound:
    return TokenBound(agent_id)


def caller(agent_id: str | None = None, token: str | None = None) -> Caller:
    return Caller(agent_id, None if token is None else token_hash(token))


def seen(state: State, agent_id: str, focus_state: str | None = None) -> Seen:
    return Seen(agent_id, state.at_us, state.mono_us, focus_state)


def register_command(token: str = "fresh", **members: Any) -> RegisterAgent:
    return RegisterAgent(token_hash(token), **members)


@cache
def _empty_file() -> bytes:
    connection = apsw.Connection(":memory:")
    migrate(connection, packaged(), at_us=0)
    return connection.serialize("main")


class Rows(FileArchive):
    """The rows of a project that has no file."""

    def __init__(self) -> None:
        connection = apsw.Connection(":memory:")
        connection.deserialize("main", _empty_file())
        super().__init__(connection, PROJECT)

    def append(self, event: Event) -> None:
        projections.apply(self._connection, event)


def write(state: State, data: EventData, actor: str | None = None) -> None:
    event = Event(state.cursor + 1, state.at_us, actor, data)
    if isinstance(state.archive, Rows):
        state.archive.append(event)
    apply(state, event)


def carry_out(state: State, decision: Decision) -> tuple[EventData, ...]:
    """Apply what was decided, and what follows for those who wait, as the actor does; answers
    the events of those who wait."""
    assert isinstance(decision, Accepted), decision
    for data in decision.events:
        write(state, data, decision.actor)
    for note in decision.marks:
        mark(state, note)
    followed: list[EventData] = []
    for admitted in admissions(state) if state.freed or state.unlooked else ():
        for data in admitted.events:
            write(state, data, admitted.actor)
        followed += admitted.events
    state.freed.clear()
    return tuple(followed)


def stamp_of(state: State, entropy: int = ENTROPY) -> Stamp:
    return Stamp(state.at_us, state.mono_us, entropy)


def settle(state: State) -> None:
    """Let lapse what is due, as the actor does before each command."""
    carry_out(state, decide(state, ExpireLeases(), stamp_of(state), NOBODY))


def pass_time(state: State, passage: Later) -> None:
    """The wall clock may go back here; the state must not."""
    advance(
        state,
        Stamp(
            int(state.at_us + (passage.s + passage.wall_s) * S),
            int(state.mono_us + passage.s * S),
            0,
        ),
    )
    settle(state)


def state_of(given: Iterable[Given] = (), **settings: Any) -> State:
    state = State(tag=TAG, project=PROJECT, archive=Rows(), **settings)
    advance(state, Stamp(WALL, MONO, 0))
    for item in given:
        if isinstance(item, Later):
            pass_time(state, item)
        elif isinstance(item, Mark):
            mark(state, item)
        elif isinstance(item, EventData):
            write(state, item)
        else:
            write(state, item(state))
    return state


def ask(state: State, command: Command, who: Caller = NOBODY, entropy: int = ENTROPY) -> Decision:
    return decide(state, command, stamp_of(state, entropy), who)


def check(
    given: Iterable[Given],
    command: Command,
    expected: Code | tuple[EventData, ...],
    *,
    who: Caller = NOBODY,
    answer: Any = None,
    **settings: Any,
) -> tuple[State, Any]:
    """Decide `command` on what is given and compare.

    `expected` is the code of a refusal, or exactly the events. The state is handed back with
    the events applied, together with the answer or the refusal.
    """
    state = state_of(given, **settings)
    before = state.cursor
    decision = ask(state, command, who)
    if isinstance(expected, Code):
        assert isinstance(decision, Refusal), decision
        assert decision.code is expected, decision
        assert decision.detail
        assert state.cursor == before
        return state, decision
    assert isinstance(decision, Accepted), decision
    assert decision.events == expected, decision
    followed = carry_out(state, decision)
    assert state.cursor == before + len(expected) + len(followed)
    if answer is not None:
        assert decision.answer == answer
    return state, decision.answer
