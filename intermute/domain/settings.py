"""Settings of a project that change what its decisions mean."""

from intermute.domain.commands import Caller, ConfigureProject
from intermute.domain.decision import Accepted, Decision, Decisions
from intermute.domain.events import ProjectConfigured
from intermute.domain.refusals import Code, Refusal
from intermute.domain.stamp import Stamp
from intermute.domain.state import State
from intermute.domain.views import ProjectView

LIVE_WORDS = {"on": True, "off": False, "default": None}


def configure(state: State, command: ConfigureProject, stamp: Stamp, caller: Caller) -> Decision:
    """Case sensitivity changes which patterns overlap, so nothing may be held or waited for.

    What is typed into terminals is an operator's decision.
    """
    case_sensitive, live = state.case_sensitive, state.live_transport
    if command.case_sensitive is not None:
        case_sensitive = command.case_sensitive
    if command.live_transport is not None:
        if not caller.operator:
            return Refusal(
                Code.OPERATOR_REQUIRED,
                "live_transport is changed by an operator: a local caller, or a key with that "
                "right",
            )
        live = LIVE_WORDS[command.live_transport]
    answer = ProjectView(state.project, case_sensitive, live)
    if case_sensitive != state.case_sensitive and (len(state.holdings) or len(state.line)):
        return Refusal(
            Code.SETTING_IN_USE,
            f"case sensitivity decides which paths are the same, and {len(state.holdings)} "
            f"reservations are held and {len(state.line)} waited for under the present setting: "
            "change it when there are none",
        )
    if (case_sensitive, live) == (state.case_sensitive, state.live_transport):
        return Accepted(answer)
    return Accepted(answer, events=(ProjectConfigured(case_sensitive, live),))


DECISIONS: Decisions = {ConfigureProject: configure}
