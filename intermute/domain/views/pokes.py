"""What is shown of pokes."""

from intermute.domain.values import Value


class PokeView(Value):
    """A message that was to be typed into a recipient's window.

    Attributes:
        result: `pending`, `injected`, `deferred` or `failed`.
        reason: Why it was not typed; empty otherwise.
        cursor: Of the event that planned it.
    """

    message_id: str
    agent_id: str
    sender: str
    thread_id: str
    body: str
    result: str
    reason: str
    cursor: int
    created_at_us: int
    surfaced_at_us: int | None = None


class PokePage(Value):
    """Pokes in order. `more`: further ones follow."""

    pokes: tuple[PokeView, ...] = ()
    more: bool = False


class SettledView(Value):
    """How many pokes were settled; those that were settled before are not counted."""

    count: int


class SurfacedView(Value):
    message_id: str
    agent_id: str
