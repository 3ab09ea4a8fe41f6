"""Commands of the reservations."""

from typing import ClassVar

from intermute.domain import views
from intermute.domain.commands.base import AgentCommand, Command
from intermute.domain.modes import Mode


class ReservePaths(AgentCommand):
    """Take a set of patterns, all or none. `ttl_ms` is within the limits already."""

    kind: ClassVar[str] = "reserve_paths"
    answer: ClassVar[type] = views.ReservationView
    patterns: tuple[str, ...] = ()
    mode: Mode = Mode.EXCLUSIVE
    reason: str = ""
    ttl_ms: int = 0
    renew_on_heartbeat: bool = False


class QueuePaths(ReservePaths):
    """Take a set of patterns, or wait in line for it for up to `wait_ms`.

    `held_open`: the caller stays on the line, so the ticket needs no other sign of life. `call` is
    then its number, and it hangs up when it ends without an answer; None hangs up never.
    """

    kind: ClassVar[str] = "queue_paths"
    answer: ClassVar[type] = views.QueuedView
    wait_ms: int = 0
    held_open: bool = False
    call: int | None = None


class TicketCommand(Command):
    """A command about a place in the line, in the name of its waiter."""

    ticket_id: str
    agent_id: str | None = None

    @property
    def acting(self) -> str | None:
        return self.agent_id


class ConfirmGrant(TicketCommand):
    """Take up what a ticket was granted: its lease is counted anew, in full.

    `for_call`: it is taken up for an open call, which may yet hang up.
    """

    kind: ClassVar[str] = "confirm_grant"
    answer: ClassVar[type] = views.ReservationView
    for_call: bool = False


class CancelTicket(TicketCommand):
    """Wait no longer. A grant that was not taken up is given back."""

    kind: ClassVar[str] = "cancel_ticket"
    answer: ClassVar[type] = views.TicketView


class HangUp(Command):
    """An open call for a ticket has ended without an answer: what is kept for it alone is given up.

    It is the server's own to say, whoever the agent is by then. `call`: its number, see
    `QueuePaths`. `keeps_grant`: what was granted stays, because the call is answered with it.
    """

    kind: ClassVar[str] = "hang_up"
    ticket_id: str
    call: int
    keeps_grant: bool = False


class DescribeTicket(Command):
    """Ask how somebody who waits stands: the place in the line, and who is in the way."""

    kind: ClassVar[str] = "describe_ticket"
    answer: ClassVar[type] = views.TicketView
    changes: ClassVar[bool] = False
    ticket_id: str


class ForceRelease(Command):
    """End somebody's reservation, for a reason. An operator's.

    `by` says in words who that is; `agent_id` too, where the operator is an agent.
    """

    kind: ClassVar[str] = "force_release"
    answer: ClassVar[type] = views.ReservationView
    reservation_id: str
    reason: str
    by: str = ""
    agent_id: str | None = None

    @property
    def acting(self) -> str | None:
        return self.agent_id


class HandOver(Command):
    """Pass a reservation to an agent that waits for it, past everybody else in the line."""

    kind: ClassVar[str] = "hand_over"
    answer: ClassVar[type] = views.QueuedView
    reservation_id: str
    to_agent_id: str
    agent_id: str | None = None

    @property
    def acting(self) -> str | None:
        return self.agent_id


class RenewReservation(Command):
    """Count a lease anew from now. `ttl_ms` None means the length it was granted for.

    `fencing_token`, when given, must not be stale. The same holds for the other commands with one.
    """

    kind: ClassVar[str] = "renew_reservation"
    answer: ClassVar[type] = views.ReservationView
    reservation_id: str
    agent_id: str | None = None
    ttl_ms: int | None = None
    fencing_token: int | None = None

    @property
    def acting(self) -> str | None:
        return self.agent_id


class ReleaseReservation(Command):
    """Give a reservation back."""

    kind: ClassVar[str] = "release_reservation"
    answer: ClassVar[type] = views.ReservationView
    reservation_id: str
    agent_id: str | None = None
    fencing_token: int | None = None

    @property
    def acting(self) -> str | None:
        return self.agent_id


class NarrowReservation(Command):
    """Keep only these patterns, each of which must lie within what is held; free the rest."""

    kind: ClassVar[str] = "narrow_reservation"
    answer: ClassVar[type] = views.ReservationView
    reservation_id: str
    patterns: tuple[str, ...]
    agent_id: str | None = None
    fencing_token: int | None = None

    @property
    def acting(self) -> str | None:
        return self.agent_id


class CheckPaths(Command):
    """Ask what a reservation of these patterns would meet; `agent_id`'s own are left out."""

    kind: ClassVar[str] = "check_paths"
    answer: ClassVar[type] = views.CheckedView
    changes: ClassVar[bool] = False
    patterns: tuple[str, ...]
    mode: Mode = Mode.EXCLUSIVE
    agent_id: str | None = None
    fencing_token: int | None = None


class CheckFence(Command):
    """Ask whether a fencing token is still the newest for its paths."""

    kind: ClassVar[str] = "check_fence"
    answer: ClassVar[type] = views.FenceView
    changes: ClassVar[bool] = False
    fencing_token: int


class ExpireLeases(Command):
    """Let every lease lapse whose deadline has passed. The sweeper's; nobody else may send it."""

    kind: ClassVar[str] = "expire_leases"
    answer: ClassVar[type] = views.ExpiredView


class ResumeLeases(Command):
    """Settle the leases found in the file when an actor takes it over.

    What lapsed longer than the grace ago ends; whatever is left gets at least the grace from
    now, because its holder could not renew while nobody was there to ask.
    """

    kind: ClassVar[str] = "resume_leases"
    answer: ClassVar[type] = views.ExpiredView
