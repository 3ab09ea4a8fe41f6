"""Routes of the reservations."""

from quart import Blueprint, Response

from intermute.domain import reservations as domain
from intermute.domain.commands import ReleaseReservation
from intermute.domain.limits import PAGE_MAX
from intermute.domain.stamp import tag_of
from intermute.domain.views import ReservationView
from intermute.web.edge import Edge, json_response
from intermute.web.errors import Refused
from intermute.wire import reservations as wire
from intermute.wire.bodies import decimal, flag, line

_CURSOR_MAX = 2**63 - 1
NO_RESERVATIONS: list[ReservationView] = []


def reservations_blueprint(edge: Edge) -> Blueprint:
    """Create, list, check, get, renew, release."""
    routes = Blueprint("reservations", __name__, url_prefix="/api/reservations")
    routes.before_request(edge.identify)

    def render(view: ReservationView) -> dict[str, object]:
        return wire.reservation(view, now_us=edge.now_us())

    @routes.post("")
    async def reserve() -> Response:
        body = wire.read_reserve(edge.members())
        command = wire.reserve(body)
        project = edge.project(body.project)
        return edge.answer(await edge.ask(project, command), render, status=201)

    @routes.get("")
    async def list_reservations() -> Response:
        args = edge.request.args
        agent_id = line(args.get("agent", ""), "agent") or None
        active = flag(args.get("active"), default=agent_id is None)
        limit = decimal(args.get("limit"), default=PAGE_MAX, most=PAGE_MAX)
        before = decimal(args.get("cursor"), default=_CURSOR_MAX, most=_CURSOR_MAX)
        project = _listed_project(edge, args.get("project"), agent_id)
        await edge.projects.wake(project)
        now_us = edge.now_us()
        found = edge.read(
            project,
            lambda reader: reader.reservations(
                agent_id=agent_id,
                active_at_us=now_us if active else None,
                before=before,
                limit=limit + 1,
            ),
            empty=NO_RESERVATIONS,
        )
        page = found[:limit]
        return json_response(
            {
                "reservations": [wire.reservation(view, now_us=now_us) for view in page],
                "cursor": page[-1].cursor if page else before % _CURSOR_MAX,
                "more": len(found) > limit,
            }
        )

    @routes.get("/check")
    async def check() -> Response:
        args = edge.request.args
        command = wire.check(
            args.getlist("pattern"),
            exclusive=flag(args.get("exclusive"), default=True),
            agent_id=args.get("agent") or args.get("agent_id", ""),
        )
        project = edge.project(args.get("project"))
        return edge.answer(await edge.ask(project, command), wire.checked)

    @routes.get("/<reservation_id>")
    async def get_reservation(reservation_id: str) -> Response:
        project = edge.project_of(reservation_id, domain.not_found)
        await edge.projects.wake(project)
        view = edge.read(project, lambda reader: reader.reservation(reservation_id), empty=None)
        if view is None:
            raise Refused(domain.not_found(reservation_id))
        return json_response(render(view))

    @routes.post("/<reservation_id>/renew")
    async def renew(reservation_id: str) -> Response:
        command = wire.renew(
            reservation_id,
            edge.members(optional=True),
            agent_id=edge.caller.agent_id,
        )
        project = edge.project_of(reservation_id, domain.not_found)
        return edge.answer(await edge.ask(project, command), render)

    @routes.delete("/<reservation_id>")
    async def release(reservation_id: str) -> Response:
        project = edge.project_of(reservation_id, domain.not_found)
        command = ReleaseReservation(reservation_id, agent_id=edge.caller.agent_id)
        return edge.answer(await edge.ask(project, command), render)

    return routes


def _listed_project(edge: Edge, named: str | None, agent_id: str | None) -> str:
    """The project whose reservations are listed; an agent's id names its project by itself."""
    if agent_id is not None and not (named or "").strip() and edge.caller.project is None:
        tag = tag_of(agent_id)
        found = None if tag is None else edge.projects.name_of(tag)
        if found is not None:
            return found
    return edge.project(named)
