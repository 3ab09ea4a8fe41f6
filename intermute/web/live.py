"""What follows a message that is to be typed into windows, once it is durable."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from intermute.domain.commands import SendMessage
from intermute.domain.decision import Accepted
from intermute.domain.envelope import wrap
from intermute.domain.events import PeerWindowPoke
from intermute.domain.limits import POKE_BUSY_RETRY_MS
from intermute.domain.pokes import ASYNC, DEFERRED, FAILED, INJECTED, LIVE, PENDING
from intermute.domain.refusals import Code, Refusal
from intermute.domain.views import PokeView, SentView
from intermute.project.delivery import Injection
from intermute.project.messages import StorageUnavailable, Told
from intermute.web.calls import Call
from intermute.web.outcome import Outcome, refusal_outcome
from intermute.wire import messages as wire

NO_POKES: dict[str, PokeView] = {}


def follow_up(
    call: Call, project: str, command: SendMessage
) -> Callable[[Told], Awaitable[Outcome]] | None:
    """What is left to do for the message once it is durable, None where it waits in the inbox."""
    if command.transport in ("", ASYNC):
        return None
    return partial(_deliver, call, project, command.transport)


async def _deliver(call: Call, project: str, transport: str, told: Told) -> Outcome:
    """Type what this very decision planned; of what was planned before, say what came of it."""
    decision = told.decision
    assert isinstance(decision, Accepted)
    sent: SentView = decision.answer
    if sent.delivery is None:
        return Outcome(200, wire.sent(sent))
    delivery, reasons = dict(sent.delivery), {}
    planned = [
        event
        for event in decision.events
        if isinstance(event, PeerWindowPoke) and event.result == PENDING
    ]
    if planned:
        injections = [_injection(call, project, poke) for poke in planned]
        outcomes = await call.projects.deliveries.deliver(project, sent.message_id, injections)
        for agent_id, outcome in outcomes.items():
            missed = FAILED if transport == LIVE else DEFERRED
            delivery[agent_id] = INJECTED if outcome.injected else missed
            reasons[agent_id] = outcome.reason
    else:
        await call.projects.deliveries.settled(project, sent.message_id)
    for agent_id, poke in _kept(call, project, sent.message_id).items():
        if agent_id in delivery and agent_id not in reasons:
            delivery[agent_id], reasons[agent_id] = poke.result, poke.reason
    sent = SentView(sent.message_id, sent.cursor, sent.denied, delivery)
    if transport == LIVE and any(result in (FAILED, PENDING) for result in delivery.values()):
        return _failed(sent, {name: reason for name, reason in reasons.items() if reason})
    return Outcome(200, wire.sent(sent, live=transport == LIVE))


def _injection(call: Call, project: str, poke: PeerWindowPoke) -> Injection:
    """Without the hash, because the file cannot be read, the pane cannot prove itself."""
    pane_hash = None
    with suppress(StorageUnavailable):
        pane_hash = call.projects.read(
            project,
            lambda reader: reader.pane_hash(poke.window_uuid, poke.agent_id),
            empty=None,
        )
    text = wrap(sender=poke.sender, thread_id=poke.thread_id, body=poke.body)
    return Injection(poke.agent_id, poke.tmux_target, pane_hash, text)


def _kept(call: Call, project: str, message_id: str) -> dict[str, PokeView]:
    with suppress(StorageUnavailable):
        return call.projects.read(
            project, lambda reader: reader.pokes_of(message_id), empty=NO_POKES
        )
    return NO_POKES


def _failed(sent: SentView, reasons: dict[str, str]) -> Outcome:
    """The whole request failed, although some recipients may have it: `delivery` says which."""
    members = wire.sent(sent)
    members["reasons"] = reasons
    members["retry_after_seconds"] = POKE_BUSY_RETRY_MS // 1000
    detail = (
        "not every recipient could be reached in a window; those marked injected have it. Send it "
        "again with the same id to reach the others, or with the transport both"
    )
    return refusal_outcome(Refusal(Code.DELIVERY_FAILED, detail, members))
