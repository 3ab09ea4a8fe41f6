"""Events of the pokes: what was typed into whose window, or was not, and why."""

from typing import ClassVar

from intermute.domain.events.base import EventData


class PokeEvent(EventData):
    """Something happened to the poke of one recipient."""

    message_id: str
    agent_id: str

    @property
    def entity_id(self) -> str:
        return self.message_id

    @property
    def audience(self) -> tuple[str, ...] | None:
        return (self.agent_id,)


class PeerWindowPoke(PokeEvent):
    """A message is to be typed into a recipient's window.

    Attributes:
        body: What is typed, cut where it is too long.
        transport: `live`, or `both` where it is in the inbox as well.
        window_uuid, tmux_target: Where; empty where there is no such window.
        result: `pending` until it is known, or `deferred` because of `reason`.
    """

    type: ClassVar[str] = "peer.window_poke"
    sender: str
    thread_id: str
    body: str
    transport: str
    window_uuid: str
    tmux_target: str
    result: str
    reason: str

    @property
    def audience(self) -> tuple[str, ...] | None:
        return tuple(dict.fromkeys((self.agent_id, self.sender)))


class PeerWindowPokeSettled(PokeEvent):
    """What came of it: `injected`, or for `reason` `deferred` or `failed`."""

    type: ClassVar[str] = "peer.window_poke_settled"
    sender: str
    result: str
    reason: str

    @property
    def audience(self) -> tuple[str, ...] | None:
        return tuple(dict.fromkeys((self.agent_id, self.sender)))


class PokeSurfaced(PokeEvent):
    """The recipient was shown what could not be typed."""

    type: ClassVar[str] = "poke.surfaced"
