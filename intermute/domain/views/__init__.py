"""What is shown of a project's state: the values that decisions and reads answer with.

They are plain values in the domain's own units (microseconds, milliseconds); `intermute.wire`
turns them into JSON. A decision's answer can be stored and given again, so each is made of
JSON types only.
"""

from intermute.domain.views.agents import (
    AgentView,
    ContactsView,
    HeartbeatView,
    PolicyView,
    RegisteredView,
    RetiredView,
)
from intermute.domain.views.reservations import (
    CheckedView,
    ConflictView,
    ExpiredView,
    ReservationView,
)
from intermute.domain.views.settings import (
    ProjectView,
)

__all__ = [
    "AgentView",
    "CheckedView",
    "ConflictView",
    "ContactsView",
    "ExpiredView",
    "HeartbeatView",
    "PolicyView",
    "ProjectView",
    "RegisteredView",
    "ReservationView",
    "RetiredView",
]
