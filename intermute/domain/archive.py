"""What decisions ask of the rows that are not kept in memory.

The answers come from the connection that writes, so they hold what earlier commands of the same
batch have written, and the same commands in the same order get the same answers.
"""

from collections.abc import Collection, Iterable
from typing import Protocol

from intermute.domain.entities.kinds import Entity
from intermute.domain.modes import Mode
from intermute.domain.views import (
    DeliveryView,
    LinkView,
    MessageHead,
    MessageView,
    PokeView,
    ReservationView,
)


class Credential(Protocol):
    """What is known of a registered agent's token: its SHA-256, and whether it must be shown."""

    @property
    def token_hash(self) -> bytes: ...

    @property
    def token_bound(self) -> bool: ...


class Archive(Protocol):
    """The rows of one project, as of the last event."""

    def credential(self, agent_id: str) -> Credential | None:
        """What is known of the token of an agent, of a retired one too."""

    def message(self, message_id: str) -> MessageView | None:
        """One message, None when there is none."""

    def head(self, message_id: str) -> MessageHead | None:
        """The same without reading its content."""

    def delivery(self, cursor: int, agent_id: str) -> DeliveryView | None:
        """The message of that cursor as the agent has it, None when it was not sent to it."""

    def share_thread(
        self, thread_id: str, agent_id: str, among: Collection[str], *, written: bool = False
    ) -> set[str]:
        """Those `among` others who have a message of the thread in common with the agent.

        Only as far as the agent may know of it, or with `written` only what they wrote to it. Of
        the agent's messages there, the newest `limits.THREAD_LOOKBACK_MAX` are looked at, fewer
        when there are many others: `limits.THREAD_LOOKUPS_MAX` for all of them together.
        """

    def poke(self, message_id: str, agent_id: str) -> PokeView | None:
        """The poke of one recipient, None when there is none."""

    def pokes_of(self, message_id: str) -> dict[str, PokeView]:
        """All pokes of a message, by recipient."""

    def entity(self, kind: str, entity_id: str) -> Entity | None:
        """One entity, None when there is none."""

    def has_entity(self, kind: str, entity_id: str) -> bool:
        """Whether there is such an entity."""

    def cuj_link(self, cuj_id: str, feature_id: str) -> LinkView | None:
        """The link of a user journey to a feature, None when there is none."""

    def cuj_links_len(self, cuj_id: str) -> int:
        """How many features a user journey is linked to."""

    def granted_to(self, ticket_id: str) -> str | None:
        """The reservation that a ticket has become, None when it became none."""

    def grant(self, fencing_token: int) -> ReservationView | None:
        """The reservation that was granted with this token, as it is now."""

    def grants_since(
        self, fencing_token: int, *, but_to: str, modes: Iterable[Mode], most: int
    ) -> Iterable[ReservationView]:
        """Among the next `most` grants after the token, those to other agents in these modes,
        oldest first, each with the patterns that were granted."""

    def case_changed(self) -> int:
        """The cursor of the last change of the rule that paths are compared by, 0 for none."""

    def more_grants_since(self, fencing_token: int, most: int) -> bool:
        """Whether more than `most` grants came after the token."""
