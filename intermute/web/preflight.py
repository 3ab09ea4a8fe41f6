"""Operations that look before one leaps: at a set of paths, at a plan."""

from intermute.web.calls import Call
from intermute.web.operations import Asking, Operations
from intermute.wire import preflight as wire
from intermute.wire.reservations import checked

operations = Operations()


@operations.command("reservations.check_set", "POST", "/api/reservations/check")
def check_set(call: Call) -> Asking:
    body = wire.read_check(call.members())
    command = wire.check_paths(body)
    return Asking(call.project_of_agent(body.project, command.agent_id), command, checked)


@operations.command("reservations.preflight", "POST", "/api/reservations/preflight")
def preflight(call: Call) -> Asking:
    body = wire.read_plan(call.members())
    command = wire.preflight(body)
    project = call.project_of_agent(body.project, command.steps[0].agent_id)
    return Asking(project, command, wire.plan)
