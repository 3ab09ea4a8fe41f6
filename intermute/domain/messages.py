"""Messages: who gets them, sending them again, marks of reading and acknowledgement, broadcasts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter

from intermute.domain import pokes
from intermute.domain.commands import Broadcast, Caller, MarkMessage, MarkMessages, SendMessage
from intermute.domain.decision import Accepted, Decision, Decisions
from intermute.domain.events import (
    EventData,
    MessageAcked,
    MessageContent,
    MessageCreated,
    MessageMarked,
    MessageRead,
    MessageUpdated,
)
from intermute.domain.identity import refuse_caller
from intermute.domain.pokes import ASYNC, LIVE
from intermute.domain.refusals import Code, Refusal, quoted
from intermute.domain.stamp import Stamp, make_id
from intermute.domain.state import Agent, State
from intermute.domain.times import seconds_up
from intermute.domain.values import Value
from intermute.domain.views import (
    BroadcastView,
    MarkedManyView,
    MarkedView,
    MessageHead,
    MessageView,
    PokeView,
    SentView,
)

TO, CC, BCC = "to", "cc", "bcc"
READ, ACK = "read", "ack"

_MARKS: dict[str, type[MessageMarked]] = {READ: MessageRead, ACK: MessageAcked}
_content_of = attrgetter("thread_id", "subject", "topic", "body", "importance", "ack_required")
_ordinary_policy: Callable[[Agent], str] = attrgetter("policy")
_live_policy: Callable[[Agent], str] = attrgetter("live_contact_policy")


class Recipients(Value):
    """Whom a message goes to, nobody twice."""

    to: tuple[str, ...]
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()

    @property
    def everybody(self) -> tuple[str, ...]:
        return (*self.to, *self.cc, *self.bcc)

    def without(self, left_out: set[str]) -> "Recipients":
        if not left_out:
            return self
        kept = [
            tuple(agent_id for agent_id in agent_ids if agent_id not in left_out)
            for agent_ids in (self.to, self.cc, self.bcc)
        ]
        return Recipients(*kept)


def recipients_of(command: SendMessage) -> Recipients:
    """The recipients as they were named; who stands in several lists is in the first of them."""
    if len(command.to) == 1 and not command.cc and not command.bcc:
        return Recipients(command.to)
    known: set[str] = set()
    lists = []
    for named in (command.to, command.cc, command.bcc):
        new = tuple(dict.fromkeys(agent_id for agent_id in named if agent_id not in known))
        known.update(new)
        lists.append(new)
    return Recipients(*lists)


def visible_bcc(message: MessageView | MessageContent, viewer: str | None) -> tuple[str, ...]:
    """The blind recipients that a viewer may know of: the sender all, one of them itself."""
    if not message.bcc or viewer is None:
        return ()
    if viewer == message.sender:
        return message.bcc
    return (viewer,) if viewer in message.bcc else ()


def not_found(message_id: str) -> Refusal:
    return Refusal(Code.MESSAGE_NOT_FOUND, f"no message {quoted(message_id)} is kept here")


def send(state: State, command: SendMessage, stamp: Stamp, caller: Caller) -> Decision:
    """A new message, or new content for the one of that id."""
    wanted = recipients_of(command)
    transport = pokes.transport_of(state, command)
    if isinstance(transport, Refusal):
        return transport
    before: Mapping[str, PokeView] = {}
    if command.message_id is not None:
        known = state.rows.message(command.message_id)
        if known is not None:
            return _send_again(state, command, known, wanted, transport)
        before = state.rows.pokes_of(command.message_id)
        if any(poke.sender != command.sender for poke in before.values()):
            return _not_the_sender(command.message_id)
    denied = _denied(state, command, wanted, transport)
    reached = wanted.without(denied)
    in_order = tuple(agent_id for agent_id in wanted.everybody if agent_id in denied)
    if not reached.everybody:
        return _all_denied(in_order)
    message_id = command.message_id or make_id("msg", state.tag, stamp.unique())
    event = MessageCreated(
        message_id=message_id,
        thread_id=command.thread_id,
        sender=command.sender,
        to=reached.to,
        cc=reached.cc,
        bcc=reached.bcc,
        subject=command.subject,
        topic=command.topic,
        body=command.body,
        importance=command.importance,
        ack_required=command.ack_required,
    )
    if transport == ASYNC:
        return Accepted(
            SentView(message_id, state.cursor + 1, in_order), events=(event,), actor=command.sender
        )
    kept = () if transport == LIVE else (event,)
    plan = pokes.plan(
        state,
        command,
        transport=transport,
        message_id=message_id,
        to=reached.to,
        before=before,
        cursor=state.cursor + 1 + len(kept),
    )
    if isinstance(plan, Refusal):
        return plan
    cursor = state.cursor + 1 if kept else plan.cursor
    answer = SentView(message_id, cursor, in_order, plan.delivery)
    return Accepted(answer, events=(*kept, *plan.pokes), actor=command.sender)


def _denied(state: State, command: SendMessage, wanted: Recipients, transport: str) -> set[str]:
    """What is typed into a window is let in by the recipient's policy for that, and by no other."""
    sender, thread_id = command.sender, command.thread_id
    if transport == ASYNC:
        return denying(state, sender, wanted.everybody, thread_id)
    denied = denying(state, sender, wanted.to, thread_id, live=True)
    return denied | denying(state, sender, (*wanted.cc, *wanted.bcc), thread_id)


def denying(
    state: State,
    sender: str,
    recipients: Iterable[str],
    thread_id: str,
    *,
    live: bool = False,
) -> set[str]:
    """The recipients whose policy keeps the sender's messages out.

    Only registered agents have a policy, and nobody keeps itself out. `contacts_only` lets in the
    contacts, and who already has a message of the thread in common with the recipient: to join a
    thread by oneself is no consent of anybody in it. `auto` is the same: granted reservations
    of different agents never conflict, and to share a path is no consent either.

    Args:
        live: The policy for what is typed into a window counts. To have let a message into the
            inbox is no consent to that, but to have written in the thread is.
    """
    policy_of = _live_policy if live else _ordinary_policy
    denied: set[str] = set()
    strangers_to = []
    for agent_id in recipients:
        agent = state.agents.get(agent_id)
        if agent is None or agent_id == sender:
            continue
        policy = policy_of(agent)
        if policy == "open":
            continue
        if policy == "block_all":
            denied.add(agent_id)
        elif sender not in agent.contacts:
            denied.add(agent_id)
            strangers_to.append(agent_id)
    if strangers_to and thread_id:
        denied -= state.rows.share_thread(thread_id, sender, strangers_to, written=live)
    return denied


def _all_denied(denied: Sequence[str]) -> Refusal:
    return Refusal(
        Code.POLICY_DENIED,
        "no recipient takes messages from this sender; nothing was sent",
        {"denied": list(denied)},
    )


def _not_the_sender(message_id: str) -> Refusal:
    return Refusal(
        Code.NOT_THE_SENDER,
        f"message {quoted(message_id)} was sent by another agent; only that one may send it again",
    )


def _send_again(
    state: State, command: SendMessage, known: MessageView, wanted: Recipients, transport: str
) -> Decision:
    """The same id once more: the content is replaced, and who has it stays.

    All who have it see the same, so nothing is replaced when one of them takes nothing at all from
    the sender by then, or would not in a new thread, which lets in who takes part in it.
    Nothing is typed into windows again.
    """
    if known.sender != command.sender:
        return _not_the_sender(known.message_id)
    reached = {*known.to, *known.cc, *known.bcc}
    denied = tuple(agent_id for agent_id in wanted.everybody if agent_id not in reached)
    delivery = None
    if transport != ASYNC:
        before = state.rows.pokes_of(known.message_id)
        delivery = {to: before[to].result if to in before else ASYNC for to in known.to}
    answer = SentView(known.message_id, known.cursor, denied, delivery)
    if _content_of(command) == _content_of(known):
        return Accepted(answer)
    everybody = (*known.to, *known.cc, *known.bcc)
    if command.thread_id not in ("", known.thread_id):
        kept_out = denying(state, command.sender, everybody, command.thread_id)
    else:
        kept_out = {each for each in everybody if _blocks_all(state, each, command.sender)}
    if kept_out:
        return _no_edit([each for each in everybody if each in kept_out])
    event = MessageUpdated(
        message_id=known.message_id,
        thread_id=command.thread_id,
        sender=known.sender,
        to=known.to,
        cc=known.cc,
        bcc=known.bcc,
        subject=command.subject,
        topic=command.topic,
        body=command.body,
        importance=command.importance,
        ack_required=command.ack_required,
        created_cursor=known.cursor,
        created_at_us=known.created_at_us,
    )
    return Accepted(answer, events=(event,), actor=command.sender)


def _blocks_all(state: State, agent_id: str, sender: str) -> bool:
    agent = state.agents.get(agent_id)
    return agent is not None and agent_id != sender and _ordinary_policy(agent) == "block_all"


def _no_edit(denied: Sequence[str]) -> Refusal:
    return Refusal(
        Code.POLICY_DENIED,
        "the message cannot be edited or moved like this, because some of its recipients take "
        "nothing from this sender in that thread; nothing was changed",
        {"denied": list(denied)},
    )


def broadcast(state: State, command: Broadcast, stamp: Stamp, caller: Caller) -> Decision:
    """One message to everybody else who lives. Only one that is sent counts toward the limit."""
    sender = command.sender
    wanted = tuple(
        agent.agent_id
        for agent in state.agents.values()
        if agent.agent_id != sender and (command.include_stale or state.is_live(agent))
    )
    if not wanted:
        return Accepted(BroadcastView("", 0, 0))
    wait_us = state.broadcasts.wait_us(sender, state.mono_us)
    if wait_us > 0:
        return _too_many(wait_us)
    denied = denying(state, sender, wanted, "")
    in_order = tuple(agent_id for agent_id in wanted if agent_id in denied)
    reached = Recipients(wanted).without(denied)
    if not reached.to:
        return _all_denied(in_order)
    message_id = make_id("msg", state.tag, stamp.unique())
    event = MessageCreated(
        message_id=message_id,
        thread_id="",
        sender=sender,
        to=reached.to,
        cc=(),
        bcc=(),
        subject=command.subject,
        topic=command.topic,
        body=command.body,
        importance="",
        ack_required=False,
        broadcast=True,
    )
    answer = BroadcastView(message_id, state.cursor + 1, len(reached.to), in_order)
    return Accepted(answer, events=(event,), actor=sender)


def _too_many(wait_us: int) -> Refusal:
    wait_s = seconds_up(wait_us)
    return Refusal(
        Code.RATE_LIMIT,
        f"the sender has sent as much as is allowed in a short time; again in {wait_s} s",
        {"retry_after_seconds": wait_s},
    )


def mark_one(state: State, command: MarkMessage, stamp: Stamp, caller: Caller) -> Decision:
    """The first mark of its kind is an event; any further one changes nothing."""
    head = state.rows.head(command.message_id)
    if head is None:
        return not_found(command.message_id)
    agent_id = command.agent_id
    if agent_id is None:
        if len(head.recipients) != 1:
            nobody = MarkedView(command.message_id, None, command.mark, None, changed=False)
            return Accepted(nobody)
        agent_id = head.recipients[0]
        refusal = refuse_caller(state, caller, agent_id)
        if refusal is not None:
            return refusal
    marked = _mark(state, head, agent_id, command.mark)
    if marked is None:
        return Refusal(
            Code.NOT_A_RECIPIENT,
            f"message {quoted(command.message_id)} was not sent to {quoted(agent_id)}",
        )
    answer, events = marked
    return Accepted(answer, events=events, actor=agent_id)


def mark_many(state: State, command: MarkMessages, stamp: Stamp, caller: Caller) -> Decision:
    """Each message for itself: one that cannot be marked does not touch the others."""
    answers: list[MarkedView] = []
    events: list[EventData] = []
    for message_id in dict.fromkeys(command.message_ids):
        head = state.rows.head(message_id)
        marked = None
        error = Code.MESSAGE_NOT_FOUND
        if head is not None:
            marked = _mark(state, head, command.agent_id, command.mark)
            error = Code.NOT_A_RECIPIENT
        if marked is None:
            answers.append(
                MarkedView(message_id, command.agent_id, command.mark, None, False, error.value)
            )
            continue
        answers.append(marked[0])
        events.extend(marked[1])
    answer = MarkedManyView(command.agent_id, tuple(answers))
    return Accepted(answer, events=tuple(events), actor=command.agent_id)


def _mark(
    state: State, head: MessageHead, agent_id: str, kind: str
) -> tuple[MarkedView, tuple[EventData, ...]] | None:
    """The answer and what happens, None when the agent is no recipient."""
    delivery = state.rows.delivery(head.cursor, agent_id)
    if delivery is None:
        return None
    at_us = delivery.read_at_us if kind == READ else delivery.ack_at_us
    if at_us is not None:
        return MarkedView(head.message_id, agent_id, kind, at_us, changed=False), ()
    event = _MARKS[kind](head.message_id, agent_id, sender=head.sender, blind=delivery.kind == BCC)
    answer = MarkedView(head.message_id, agent_id, kind, state.at_us, changed=True)
    return answer, (event,)


DECISIONS: Decisions = {
    SendMessage: send,
    Broadcast: broadcast,
    MarkMessage: mark_one,
    MarkMessages: mark_many,
}
