"""Commands of the reservations."""

from typing import ClassVar

from intermute.domain import views
from intermute.domain.commands.base import AgentCommand, Command
from intermute.domain.values import value


@value
class ReservePaths(AgentCommand):
    """Take a set of patterns, all or none. `ttl_ms` is within the limits already."""

    kind: ClassVar[str] = "reserve_paths"
    answer: ClassVar[type] = views.ReservationView
    patterns: tuple[str, ...] = ()
    exclusive: bool = True
    reason: str = ""
    ttl_ms: int = 0


@value
class RenewReservation(Command):
    """Count a lease anew from now. `ttl_ms` None means the length it was granted for."""

    kind: ClassVar[str] = "renew_reservation"
    answer: ClassVar[type] = views.ReservationView
    reservation_id: str
    agent_id: str | None = None
    ttl_ms: int | None = None

    @property
    def acting(self) -> str | None:
        return self.agent_id


@value
class ReleaseReservation(Command):
    """Give a reservation back."""

    kind: ClassVar[str] = "release_reservation"
    answer: ClassVar[type] = views.ReservationView
    reservation_id: str
    agent_id: str | None = None

    @property
    def acting(self) -> str | None:
        return self.agent_id


@value
class CheckPaths(Command):
    """Ask what a reservation of these patterns would meet; `agent_id`'s own are left out."""

    kind: ClassVar[str] = "check_paths"
    answer: ClassVar[type] = views.CheckedView
    changes: ClassVar[bool] = False
    patterns: tuple[str, ...]
    exclusive: bool = True
    agent_id: str | None = None


@value
class ExpireLeases(Command):
    """Let every lease lapse whose deadline has passed. The sweeper's; nobody else may send it."""

    kind: ClassVar[str] = "expire_leases"
    answer: ClassVar[type] = views.ExpiredView


@value
class ResumeLeases(Command):
    """Settle the leases found in the file when an actor takes it over.

    What lapsed longer than the grace ago ends; whatever is left gets at least the grace from
    now, because its holder could not renew while nobody was there to ask.
    """

    kind: ClassVar[str] = "resume_leases"
    answer: ClassVar[type] = views.ExpiredView
