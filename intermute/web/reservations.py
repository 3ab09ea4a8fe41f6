"""Operations on the reservations: create, list, check, get, renew, release."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from actors import ActorStopped, Overloaded
from intermute.domain import reservations as domain
from intermute.domain.commands import (
    NOBODY,
    CheckFence,
    ExpireLeases,
    ForceRelease,
    QueuePaths,
    ReleaseReservation,
)
from intermute.domain.limits import CURSOR_MAX, PAGE_MAX
from intermute.domain.modes import Mode
from intermute.domain.views import ReservationView
from intermute.project.messages import CommandFailed, StorageUnavailable
from intermute.web.calls import Call
from intermute.web.errors import Refused
from intermute.web.operations import Asking, Operations
from intermute.web.outcome import Outcome
from intermute.web.waiting import waiting
from intermute.wire import reservations as wire
from intermute.wire import waiting as wire_waiting
from intermute.wire.bodies import decimal, flag, line

NO_RESERVATIONS: list[ReservationView] = []
operations = Operations()


@operations.command("reservations.create", "POST", "/api/reservations")
def reserve(call: Call) -> Asking:
    body = wire.read_reserve(call.members())
    command = wire.reserve(body)
    project = call.project_of_agent(body.project, command.agent_id)
    if isinstance(command, QueuePaths):
        return waiting(call, project, command)
    render = partial(wire.reservation, now_us=call.now_us())
    return Asking(project, command, render, status=201)


@operations.query("reservations.list", "/api/reservations")
async def list_reservations(call: Call) -> Outcome:
    agent_id = line(call.query("agent") or "", "agent") or None
    active = flag(call.query("active"), default=agent_id is None)
    limit = decimal(call.query("limit"), default=PAGE_MAX, most=PAGE_MAX)
    before = decimal(call.query("cursor"), default=CURSOR_MAX, most=CURSOR_MAX)
    project = call.project_of_agent(call.query("project"), agent_id)
    look = partial(
        call.read,
        project,
        lambda reader: reader.reservations(
            agent_id=agent_id, active=active, before=before, limit=limit + 1
        ),
        empty=NO_RESERVATIONS,
    )
    found = await _settled(call, project, look)
    page = found[:limit]
    return Outcome(
        200,
        {
            "reservations": [wire.reservation(view) for view in page],
            "cursor": page[-1].cursor if page else before % CURSOR_MAX,
            "more": len(found) > limit,
        },
    )


@operations.command("reservations.check", "GET", "/api/reservations/check")
def check(call: Call) -> Asking:
    command = wire.check(
        call.queries("pattern"),
        mode=_checked_mode(call),
        agent_id=call.query("agent") or call.query("agent_id") or "",
        fencing_token=_token(call),
    )
    project = call.project_of_agent(call.query("project"), command.agent_id)
    return Asking(project, command, wire.checked)


@operations.query("reservations.get", "/api/reservations/<reservation_id>")
async def get_reservation(call: Call) -> Outcome:
    reservation_id = call.path("reservation_id")
    project = call.project_of(reservation_id, domain.not_found)

    def look() -> list[ReservationView]:
        view = call.read(project, lambda reader: reader.reservation(reservation_id), empty=None)
        return NO_RESERVATIONS if view is None else [view]

    found = await _settled(call, project, look)
    if not found:
        raise Refused(domain.not_found(reservation_id))
    return Outcome(200, wire.reservation(found[0]))


async def _settled(
    call: Call, project: str, look: Callable[[], list[ReservationView]]
) -> list[ReservationView]:
    """What is found once the leases that are due have ended.

    Leases are kept by a clock of their own, and only their actor can tell whether one is over. The
    wall clock may be ahead of that one, so it says no more than whether to ask.
    """
    await call.projects.wake(project)
    found = look()
    now_us = call.now_us()
    if any(view.ended is None and view.expires_at_us <= now_us for view in found):
        # What cannot be settled stands as it is for every decision too.
        with suppress(Overloaded, ActorStopped, StorageUnavailable, CommandFailed):
            await call.projects.ask(project, ExpireLeases(), NOBODY)
        found = look()
    return found


@operations.command("reservations.renew", "POST", "/api/reservations/<reservation_id>/renew")
def renew(call: Call) -> Asking:
    reservation_id = call.path("reservation_id")
    command = wire.renew(reservation_id, call.members(optional=True), agent_id=call.agent_id)
    project = call.project_of(reservation_id, domain.not_found)
    return Asking(project, command, partial(wire.reservation, now_us=call.now_us()))


@operations.command("reservations.release", "DELETE", "/api/reservations/<reservation_id>")
def release(call: Call) -> Asking:
    reservation_id = call.path("reservation_id")
    project = call.project_of(reservation_id, domain.not_found)
    command = ReleaseReservation(reservation_id, agent_id=call.agent_id, fencing_token=_token(call))
    return Asking(project, command, partial(wire.reservation, now_us=call.now_us()))


@operations.command("reservations.narrow", "PATCH", "/api/reservations/<reservation_id>")
def narrow(call: Call) -> Asking:
    reservation_id = call.path("reservation_id")
    command = wire.narrow(reservation_id, call.members(), agent_id=call.agent_id)
    project = call.project_of(reservation_id, domain.not_found)
    return Asking(project, command, partial(wire.reservation, now_us=call.now_us()))


@operations.command(
    "reservations.force_release", "POST", "/api/reservations/<reservation_id>/force-release"
)
def force_release(call: Call) -> Asking:
    reservation_id = call.path("reservation_id")
    reason = wire.force_reason(call.members())
    project = call.project_of(reservation_id, domain.not_found)
    command = ForceRelease(reservation_id, reason, by=_operator(call), agent_id=call.agent_id)
    return Asking(project, command, partial(wire.reservation, now_us=call.now_us()))


@operations.command("reservations.handover", "POST", "/api/reservations/<reservation_id>/handover")
def hand_over(call: Call) -> Asking:
    reservation_id = call.path("reservation_id")
    command = wire.hand_over(reservation_id, call.members(), agent_id=call.agent_id)
    project = call.project_of(reservation_id, domain.not_found)
    return Asking(project, command, wire_waiting.handed_over)


@operations.command("reservations.fence", "GET", "/api/reservations/fence")
def fence(call: Call) -> Asking:
    token = wire.read_token(call.query("token") or "")
    return Asking(call.project(call.query("project")), CheckFence(token), wire.fence)


def _token(call: Call) -> int | None:
    """The fencing token that the caller shows, None when it shows none."""
    shown = call.query("fencing_token") or call.fencing_token
    return wire.read_token(shown) if shown else None


def _operator(call: Call) -> str:
    """Who forces something, for whoever is told of it."""
    caller = call.caller
    if call.agent_id is not None:
        return call.agent_id
    return "a local operator" if caller.key_id is None else f"key {caller.key_id}"


def _checked_mode(call: Call) -> Mode:
    named = call.query("mode")
    if named:
        return wire.read_mode(named)
    exclusive = flag(call.query("exclusive"), default=True)
    return Mode.EXCLUSIVE if exclusive else Mode.SHARED
