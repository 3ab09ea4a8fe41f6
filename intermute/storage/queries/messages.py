"""Queries on the messages: one of them, an inbox, a topic."""

from collections.abc import Iterable
from typing import Any

from intermute.domain.limits import MESSAGES_PAGE_LEN_MAX
from intermute.domain.views import (
    DeliveryView,
    MailboxView,
    MessageHead,
    MessagePage,
    MessageView,
)
from intermute.storage.queries.base import Queries, decode_strings

COLUMNS = """
m.cursor, m.message_id, m.thread_id, m.topic, m.sender, m.to_agents, m.cc_agents, m.bcc_agents,
m.importance, m.ack_required, m.broadcast, m.created_at_us, m.edited_at_us, m.subject, m.body
"""
_ONE = f"SELECT {COLUMNS} FROM messages AS m WHERE message_id = ?"
_INBOX = f"""
SELECT {COLUMNS}, d.kind, d.read_at_us, d.ack_at_us
FROM deliveries AS d {{index}} JOIN messages AS m ON m.cursor = d.cursor
WHERE d.agent_id = ? AND d.cursor > ? {{unread}} ORDER BY d.cursor
"""
_INBOX_ALL = _INBOX.format(index="", unread="")
_INBOX_UNREAD = _INBOX.format(
    index="INDEXED BY deliveries_unread", unread="AND d.read_at_us IS NULL"
)
_ACKS_DUE = f"""
SELECT {COLUMNS}, d.kind, d.read_at_us, d.ack_at_us
FROM deliveries AS d INDEXED BY deliveries_ack_due JOIN messages AS m ON m.cursor = d.cursor
WHERE d.agent_id = ? AND d.ack_due = 1 ORDER BY d.cursor
"""
_TOPIC = f"""
SELECT {COLUMNS} FROM messages AS m
WHERE m.topic = ?1 AND m.topic <> '' AND m.cursor > ?2 ORDER BY m.cursor
"""
_NOBODY: tuple[str, ...] = ()


class MessageQueries(Queries):
    """Queries on the messages."""

    def message(self, message_id: str) -> MessageView | None:
        """One message, None when there is none."""
        row = self._execute(_ONE, (message_id,)).get
        return None if row is None else self._message(row)

    def head(self, message_id: str) -> MessageHead | None:
        """The same without reading its content."""
        row = self._execute(
            "SELECT cursor, sender, to_agents, cc_agents FROM messages WHERE message_id = ?",
            (message_id,),
        ).get
        if row is None:
            return None
        recipients = tuple(agent_id for text in row[2:] for agent_id in decode_strings(text))
        return MessageHead(message_id, row[0], row[1], recipients)

    def delivery(self, cursor: int, agent_id: str) -> DeliveryView | None:
        """The message of that cursor as the agent has it, None when it was not sent to it."""
        row = self._execute(
            "SELECT kind, read_at_us, ack_at_us FROM deliveries WHERE agent_id = ? AND cursor = ?",
            (agent_id, cursor),
        ).get
        return None if row is None else DeliveryView(agent_id, *row)

    def recipients(self, message_id: str) -> tuple[MessageView, list[DeliveryView]] | None:
        """A message, and how each recipient has it, in the order in which they were named."""
        with self._snapshot():
            message = self.message(message_id)
            if message is None:
                return None
            named = (*message.to, *message.cc, *message.bcc)
            found = [self.delivery(message.cursor, agent_id) for agent_id in named]
            return message, [each for each in found if each is not None]

    def inbox(
        self, agent_id: str, *, after: int, limit: int, unread_only: bool = False
    ) -> MessagePage:
        """What the agent was sent, oldest first, from the message after cursor `after`."""
        query = _INBOX_UNREAD if unread_only else _INBOX_ALL
        return self.page(self._execute(query, (agent_id, after)), limit, agent_id)

    def mailbox(self, agent_id: str) -> MailboxView:
        """How much the agent was sent, whatever it is."""
        row = self._execute(
            "SELECT total, unread FROM mailboxes WHERE agent_id = ?", (agent_id,)
        ).get
        return MailboxView(0, 0) if row is None else MailboxView(*row)

    def acks_due(self, agent_id: str, *, sent_until_us: int, limit: int) -> MessagePage:
        """Messages of no later than then that the agent is still to acknowledge, oldest first."""
        rows = self._execute(_ACKS_DUE, (agent_id,))
        # Times never go backwards along the cursor, so nothing that is old follows what is young.
        return self.page(_until(rows, sent_until_us), limit, agent_id)

    def topic(self, topic: str, *, after: int, limit: int) -> MessagePage:
        """The messages of a topic, oldest first, from the one after cursor `after`."""
        return self.page(self._execute(_TOPIC, (topic, after)), limit)

    def page(
        self, rows: Iterable[tuple[Any, ...]], limit: int, agent_id: str | None = None
    ) -> MessagePage:
        """The first rows as messages: at most so many, and no more text than a page may hold."""
        found: list[MessageView] = []
        length = 0
        for row in rows:
            length += len(row[14]) + len(row[5])
            if len(found) == limit or (found and length > MESSAGES_PAGE_LEN_MAX):
                return MessagePage(tuple(found), more=True)
            found.append(self._message(row, agent_id))
        return MessagePage(tuple(found))

    def _message(self, row: tuple[Any, ...], agent_id: str | None = None) -> MessageView:
        # By position, because a page has many and names cost as much as all the rest.
        return MessageView(
            row[1],
            row[0],
            self.project,
            row[2],
            row[4],
            decode_strings(row[5]),
            _NOBODY if row[6] == "[]" else decode_strings(row[6]),
            _NOBODY if row[7] == "[]" else decode_strings(row[7]),
            row[13],
            row[3],
            row[14],
            row[8],
            row[9] == 1,
            row[10] == 1,
            row[11],
            row[12],
            None if agent_id is None else DeliveryView(agent_id, row[15], row[16], row[17]),
        )


def _until(rows: Iterable[tuple[Any, ...]], until_us: int) -> Iterable[tuple[Any, ...]]:
    for row in rows:
        if row[11] > until_us:
            return
        yield row
