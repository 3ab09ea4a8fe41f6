"""Asking a holder for its paths, and its answer, on the wire."""

from typing import Annotated, Any

from msgspec import Meta, field

from intermute.domain import limits
from intermute.domain.commands import SendMessage
from intermute.domain.values import Value
from intermute.domain.views import MessageView
from intermute.wire.agents import AgentId
from intermute.wire.bodies import BadRequest, convert, convert_from, line
from intermute.wire.reservations import Patterns

RELEASE, NARROW, KEEP = "release", "narrow", "keep"
ANSWERS = (RELEASE, NARROW, KEEP)
TOPIC = "reservations"
# What is left of a message's id for that of its answer.
_ASKED_ID_LEN_MAX = limits.MESSAGE_ID_LEN_MAX - 1 - max(map(len, ANSWERS))

Note = Annotated[str, Meta(max_length=limits.REASON_LEN_MAX)]


class _RequestBody(Value):
    """`sender` is the member `from`, which is no name in Python."""

    sender: AgentId = ""
    agent_id: AgentId = ""
    agent: AgentId = ""
    patterns: Patterns = field(default_factory=list)
    note: Note = ""


class _AnswerBody(Value):
    agent_id: AgentId = ""
    agent: AgentId = ""
    request_id: Annotated[str, Meta(max_length=limits.MESSAGE_ID_LEN_MAX)] = ""
    answer: Annotated[str, Meta(max_length=limits.ANSWER_WORD_LEN_MAX)] = ""
    patterns: Patterns = field(default_factory=list)
    note: Note = ""
    fencing_token: int | None = None


class Wanted(Value):
    """What somebody asks a holder for."""

    sender: str
    patterns: tuple[str, ...]
    note: str


class Answer(Value):
    """What a holder answers. `patterns` is what it keeps, when it narrows."""

    holder: str
    request_id: str
    answer: str
    patterns: tuple[str, ...]
    note: str
    fencing_token: int | None


def read_wanted(members: dict[str, Any], *, agent_id: str | None) -> Wanted:
    """Raises BadRequest when it does not say who asks, or for what."""
    body = convert_from(members, _RequestBody)
    sender = line(body.sender or body.agent_id or body.agent, "from") or agent_id or ""
    if not sender:
        raise BadRequest("from required: the id of the agent that asks")
    patterns = tuple(dict.fromkeys(text for text in body.patterns if text))
    if not patterns:
        raise BadRequest("patterns required: the paths that are wanted")
    return Wanted(sender, patterns, body.note.strip())


def read_answer(members: dict[str, Any], *, agent_id: str | None) -> Answer:
    """Raises BadRequest when it does not say who answers what, and how."""
    body = convert(members, _AnswerBody)
    holder = line(body.agent_id or body.agent, "agent_id") or agent_id or ""
    if not holder:
        raise BadRequest("agent_id required: the holder's, or X-Agent-ID")
    request_id = line(body.request_id, "request_id")
    if not request_id:
        raise BadRequest("request_id required: the id of the message that asked")
    answer = body.answer.strip().lower()
    if answer not in ANSWERS:
        raise BadRequest(f"invalid answer: must be one of {', '.join(ANSWERS)}")
    patterns = tuple(dict.fromkeys(text for text in body.patterns if text))
    if bool(patterns) is not (answer == NARROW):
        raise BadRequest("patterns say what is kept of the reservation, with narrow and only there")
    return Answer(holder, request_id, answer, patterns, body.note.strip(), body.fencing_token)


def request_message(wanted: Wanted, reservation_id: str, holder: str) -> SendMessage:
    """The message that asks."""
    paths = "\n".join(wanted.patterns)
    note = f"{wanted.note}\n\n" if wanted.note else ""
    return SendMessage(
        sender=wanted.sender,
        to=(holder,),
        thread_id=reservation_id,
        subject=f"Asks for paths of {reservation_id}",
        topic=TOPIC,
        body=f"{note}Wanted:\n{paths}\n\n"
        f"Answer with POST /api/reservations/{reservation_id}/answer: release, narrow or keep. "
        "The request_id is the id of this message.",
        ack_required=True,
    )


def answer_message(answer: Answer, reservation_id: str, asked: MessageView) -> SendMessage:
    """The message that answers; the same once more when the request is answered so again."""
    said = {
        RELEASE: f"{reservation_id} was released.",
        NARROW: f"{reservation_id} was narrowed. Kept:\n" + "\n".join(answer.patterns),
        KEEP: f"{reservation_id} is kept as it is.",
    }[answer.answer]
    note = f"\n\n{answer.note}" if answer.note else ""
    return SendMessage(
        sender=answer.holder,
        to=(asked.sender,),
        message_id=f"{asked.message_id[:_ASKED_ID_LEN_MAX]}-{answer.answer}",
        thread_id=asked.thread_id,
        subject=f"Answer to {answer.request_id}: {answer.answer}",
        topic=TOPIC,
        body=said + note,
    )
