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
from intermute.domain.views.entities import (
    LinkView,
    RemovedView,
)
from intermute.domain.views.messages import (
    BroadcastView,
    DeliveryView,
    FoundPage,
    FoundView,
    MailboxView,
    MarkedManyView,
    MarkedView,
    MessageHead,
    MessagePage,
    MessageView,
    SearchTerm,
    SentView,
    ThreadView,
)
from intermute.domain.views.pokes import (
    PokePage,
    PokeView,
    SettledView,
    SurfacedView,
)
from intermute.domain.views.preflight import (
    HeldConflictView,
    PlanView,
    StepConflictView,
)
from intermute.domain.views.reservations import (
    CheckedView,
    ConflictView,
    ExpiredView,
    FenceView,
    QueuedView,
    ReservationView,
    SupersededView,
    TicketView,
)
from intermute.domain.views.settings import (
    ProjectView,
)
from intermute.domain.views.windows import (
    WindowExpiredView,
    WindowView,
)

__all__ = [
    "AgentView",
    "BroadcastView",
    "CheckedView",
    "ConflictView",
    "ContactsView",
    "DeliveryView",
    "ExpiredView",
    "FenceView",
    "FoundPage",
    "FoundView",
    "HeartbeatView",
    "HeldConflictView",
    "LinkView",
    "MailboxView",
    "MarkedManyView",
    "MarkedView",
    "MessageHead",
    "MessagePage",
    "MessageView",
    "PlanView",
    "PokePage",
    "PokeView",
    "PolicyView",
    "ProjectView",
    "QueuedView",
    "RegisteredView",
    "RemovedView",
    "ReservationView",
    "RetiredView",
    "SearchTerm",
    "SentView",
    "SettledView",
    "StepConflictView",
    "SupersededView",
    "SurfacedView",
    "ThreadView",
    "TicketView",
    "WindowExpiredView",
    "WindowView",
]
