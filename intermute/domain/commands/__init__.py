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
    AgentCommand,
    Caller,
    Command,
)
from intermute.domain.commands.reservations import (
    CheckPaths,
    ExpireLeases,
    ReleaseReservation,
    RenewReservation,
    ReservePaths,
    ResumeLeases,
)
from intermute.domain.commands.settings import (
    ConfigureProject,
)

__all__ = [
    "AddContact",
    "AgentCommand",
    "Caller",
    "CheckPaths",
    "Command",
    "ConfigureProject",
    "ExpireLeases",
    "Heartbeat",
    "MergeMetadata",
    "RegisterAgent",
    "ReleaseReservation",
    "RemoveContact",
    "RenewReservation",
    "ReservePaths",
    "ResumeLeases",
    "RetireAgent",
    "SetPolicy",
]
