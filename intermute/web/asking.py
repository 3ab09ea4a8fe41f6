"""Operations that ask a holder for its paths, and that answer for it."""

from contextlib import suppress
from functools import partial
from typing import Any

from actors import ActorStopped, Overloaded
from intermute.domain import messages as domain_messages
from intermute.domain import reservations as domain
from intermute.domain.commands import Command, NarrowReservation, ReleaseReservation, SendMessage
from intermute.domain.conflicts import parse_all
from intermute.domain.decision import Accepted
from intermute.domain.limits import PATTERN_READ_WORK_MAX
from intermute.domain.refusals import Code, Refusal
from intermute.domain.views import MessageView, ReservationView, SentView
from intermute.globs import TooMuchWork, Work
from intermute.project.messages import StorageUnavailable, Told
from intermute.web.calls import Call
from intermute.web.errors import Refused
from intermute.web.operations import Asking, Operations
from intermute.web.outcome import Outcome
from intermute.wire import asking as wire
from intermute.wire import reservations as wire_reservations
from intermute.wire.bodies import BadRequest

operations = Operations()

_TOO_MUCH = Refusal(
    Code.LIMIT_REACHED,
    "to read the patterns of all that is asked for in this request would take too long: send this "
    "by itself, with fewer of them",
)


@operations.command("reservations.request", "POST", "/api/reservations/<reservation_id>/request")
def request(call: Call) -> Asking:
    reservation_id = call.path("reservation_id")
    wanted = wire.read_wanted(call.members(), agent_id=call.agent_id)
    _refuse_patterns(call, wanted.patterns)
    project = call.project_of(reservation_id, domain.not_found)
    held = _reservation(call, project, reservation_id, active=True)
    if held.agent_id == wanted.sender:
        raise BadRequest("the reservation is the asker's own")

    def render(sent: SentView) -> dict[str, Any]:
        return {
            "request_id": sent.message_id,
            "reservation_id": reservation_id,
            "holder": held.agent_id,
            "cursor": sent.cursor,
        }

    command = wire.request_message(wanted, reservation_id, held.agent_id)
    return Asking(project, command, render, status=201)


def _refuse_patterns(call: Call, patterns: tuple[str, ...]) -> None:
    """Patterns that cannot be read are refused before anybody is asked for them."""
    reading = call.reading or Work(PATTERN_READ_WORK_MAX)
    try:
        parsed = parse_all(patterns, case_sensitive=True, work=reading)
    except TooMuchWork:
        raise Refused(_TOO_MUCH) from None
    if isinstance(parsed, Refusal):
        raise Refused(parsed)


@operations.command("reservations.answer", "POST", "/api/reservations/<reservation_id>/answer")
def answer(call: Call) -> Asking:
    reservation_id = call.path("reservation_id")
    said = wire.read_answer(call.members(), agent_id=call.agent_id)
    project = call.project_of(reservation_id, domain.not_found)
    # Whether a lease that has lapsed may still be given back is the project's to say.
    _reservation(call, project, reservation_id, active=said.answer == wire.KEEP)
    asked = _asked(call, project, reservation_id, said)
    message = wire.answer_message(said, reservation_id, asked)
    if said.answer == wire.KEEP:
        return Asking(project, message, partial(_kept, said.answer))
    follow = partial(_tell_asker, call, project, said.answer, message)
    return Asking(project, _command(said, reservation_id), follow=follow)


def _command(said: wire.Answer, reservation_id: str) -> Command:
    if said.answer == wire.RELEASE:
        return ReleaseReservation(
            reservation_id, agent_id=said.holder, fencing_token=said.fencing_token
        )
    return NarrowReservation(
        reservation_id, said.patterns, agent_id=said.holder, fencing_token=said.fencing_token
    )


def _kept(word: str, sent: SentView) -> dict[str, Any]:
    return {"answer": word, "message_id": sent.message_id}


async def _tell_asker(
    call: Call, project: str, word: str, message: SendMessage, told: Told
) -> Outcome:
    """What was done is done whether or not the asker takes messages; it also hears the event."""
    assert isinstance(told.decision, Accepted)
    sent: object = None
    with suppress(ActorStopped, Overloaded, StorageUnavailable):
        (sent,) = await call.projects.send(project, [call.also(message)]).wait()
    message_id = None
    if isinstance(sent, Told) and isinstance(sent.decision, Accepted):
        message_id = sent.decision.answer.message_id
    reservation = wire_reservations.reservation(told.decision.answer, now_us=call.now_us())
    return Outcome(200, {"answer": word, "message_id": message_id, "reservation": reservation})


def _reservation(call: Call, project: str, reservation_id: str, *, active: bool) -> ReservationView:
    view: ReservationView | None = call.read(
        project, lambda reader: reader.reservation(reservation_id), empty=None
    )
    if view is None or (active and view.ended is not None):
        raise Refused(domain.not_found(reservation_id))
    return view


def _asked(call: Call, project: str, reservation_id: str, said: wire.Answer) -> MessageView:
    """The message that asked, which only the one who was asked may answer."""
    found: MessageView | None = call.read_as(
        project, said.holder, lambda reader: reader.message(said.request_id), empty=None
    )
    about = found is not None and found.thread_id == reservation_id and said.holder in found.to
    if found is None or not about:
        raise Refused(domain_messages.not_found(said.request_id))
    return found
