"""Commands of the pokes: messages that are to be typed into a recipient's window."""

from typing import ClassVar

from intermute.domain import views
from intermute.domain.commands.base import AgentCommand, Command
from intermute.domain.values import Value


class PokeOutcome(Value):
    """What came of one poke: `injected`, or not and for which reason."""

    agent_id: str
    injected: bool
    reason: str = ""


class SettlePokes(Command):
    """Record what came of a message's pokes. The server's own; nobody else may send it."""

    kind: ClassVar[str] = "settle_pokes"
    answer: ClassVar[type] = views.SettledView
    message_id: str
    outcomes: tuple[PokeOutcome, ...]


class ResumePokes(Command):
    """Settle the pokes of which a former process said that it would type them, and no more.

    Whether it did is not known, so nothing is typed a second time.
    """

    kind: ClassVar[str] = "resume_pokes"
    answer: ClassVar[type] = views.SettledView


class SurfacePoke(AgentCommand):
    """Note that an agent was shown a poke that could not be typed into its window."""

    kind: ClassVar[str] = "surface_poke"
    answer: ClassVar[type] = views.SurfacedView
    message_id: str = ""
