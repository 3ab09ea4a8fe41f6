"""Settings of a project that change what its decisions mean."""

from intermute.domain.commands import Caller, ConfigureProject
from intermute.domain.decision import Accepted, Decision, Decisions
from intermute.domain.events import ProjectConfigured
from intermute.domain.refusals import Code, Refusal
from intermute.domain.stamp import Stamp
from intermute.domain.state import State
from intermute.domain.views import ProjectView


def configure(state: State, command: ConfigureProject, stamp: Stamp, caller: Caller) -> Decision:
    """Case sensitivity changes which patterns overlap, so it changes only while nothing is held."""
    wanted = state.case_sensitive if command.case_sensitive is None else command.case_sensitive
    answer = ProjectView(state.project, wanted)
    if wanted == state.case_sensitive:
        return Accepted(answer)
    if len(state.holdings):
        return Refusal(
            Code.SETTING_IN_USE,
            f"case sensitivity decides which paths are the same, and {len(state.holdings)} "
            "reservations are held under the present setting: change it when none is",
        )
    return Accepted(answer, events=(ProjectConfigured(wanted),))


DECISIONS: Decisions = {ConfigureProject: configure}
