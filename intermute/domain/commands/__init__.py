"""Commands: what somebody asks a project to do. Imperative names, plain values, units last.

`acting` is the agent in whose name a command acts (None: nobody's); it is what a caller's
credentials are held against. A command says nothing about time or ids: those are the stamp's.
"""

from intermute.domain.commands.agents import (
    AddContact,
    Heartbeat,
    MergeMetadata,
    RegisterAgent,
    RemoveContact,
    RetireAgent,
    SetPolicy,
)
from intermute.domain.commands.base import (
    NOBODY,
    AgentCommand,
    Caller,
    Command,
)
from intermute.domain.commands.entities import (
    AssignTask,
    CreateEntity,
    DeleteEntity,
    EntityCommand,
    LinkCuj,
    LinkInsight,
    ReplaceEntity,
    UnlinkCuj,
    UpdateEntity,
)
from intermute.domain.commands.messages import (
    Broadcast,
    MarkMessage,
    MarkMessages,
    SendMessage,
)
from intermute.domain.commands.pokes import (
    PokeOutcome,
    ResumePokes,
    SettlePokes,
    SurfacePoke,
)
from intermute.domain.commands.preflight import (
    PlannedStep,
    PreflightPlan,
)
from intermute.domain.commands.reservations import (
    CancelTicket,
    CheckFence,
    CheckPaths,
    ConfirmGrant,
    DescribeTicket,
    ExpireLeases,
    ForceRelease,
    HandOver,
    HangUp,
    NarrowReservation,
    QueuePaths,
    ReleaseReservation,
    RenewReservation,
    ReservePaths,
    ResumeLeases,
    TicketCommand,
)
from intermute.domain.commands.settings import (
    ConfigureProject,
)
from intermute.domain.commands.windows import (
    ExpireWindow,
    RegisterWindow,
)

__all__ = [
    "NOBODY",
    "AddContact",
    "AgentCommand",
    "AssignTask",
    "Broadcast",
    "Caller",
    "CancelTicket",
    "CheckFence",
    "CheckPaths",
    "Command",
    "ConfigureProject",
    "ConfirmGrant",
    "CreateEntity",
    "DeleteEntity",
    "DescribeTicket",
    "EntityCommand",
    "ExpireLeases",
    "ExpireWindow",
    "ForceRelease",
    "HandOver",
    "HangUp",
    "Heartbeat",
    "LinkCuj",
    "LinkInsight",
    "MarkMessage",
    "MarkMessages",
    "MergeMetadata",
    "NarrowReservation",
    "PlannedStep",
    "PokeOutcome",
    "PreflightPlan",
    "QueuePaths",
    "RegisterAgent",
    "RegisterWindow",
    "ReleaseReservation",
    "RemoveContact",
    "RenewReservation",
    "ReplaceEntity",
    "ReservePaths",
    "ResumeLeases",
    "ResumePokes",
    "RetireAgent",
    "SendMessage",
    "SetPolicy",
    "SettlePokes",
    "SurfacePoke",
    "TicketCommand",
    "UnlinkCuj",
    "UpdateEntity",
]
