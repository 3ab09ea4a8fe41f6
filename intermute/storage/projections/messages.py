"""The tables of the messages: the messages, who has them, their threads, their words."""

import msgspec

from intermute.domain import events
from intermute.domain.events import Event
from intermute.domain.limits import PREVIEW_LEN_MAX
from intermute.storage.projections.base import Execute, Projections, as_json

_NOBODY = "[]"
_MESSAGE = """
INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?, ?, ?)
"""
_WORDS = "INSERT INTO message_words (rowid, subject, body) VALUES (?, ?, ?)"
_FORGET_WORDS = """
INSERT INTO message_words (message_words, rowid, subject, body) VALUES ('delete', ?, ?, ?)
"""
# Each statement for one agent has its like for many: most messages have one recipient, and a
# broadcast has thousands.
_DELIVERY = "INSERT INTO deliveries VALUES (?1, ?2, ?3, ?4, NULL, NULL)"
_DELIVERIES = """
INSERT INTO deliveries SELECT value, ?2, ?3, ?4, NULL, NULL FROM json_each(?1)
"""
_MAIL = """
INSERT INTO mailboxes VALUES (?, 1, 1)
ON CONFLICT DO UPDATE SET total = total + 1, unread = unread + 1
"""
_MAILS = """
INSERT INTO mailboxes SELECT value, 1, 1 FROM json_each(?) WHERE true
ON CONFLICT DO UPDATE SET total = total + 1, unread = unread + 1
"""
_JOIN = """
INSERT INTO thread_members SELECT value, ?2, ?3, 1 FROM json_each(?1) WHERE true
ON CONFLICT DO UPDATE SET
    last_cursor = max(last_cursor, excluded.last_cursor), message_count = message_count + 1
"""
_SHARE = "INSERT INTO thread_messages SELECT value, ?2, ?3 FROM json_each(?1)"
_UNSHARE = """
DELETE FROM thread_messages
WHERE agent_id IN (SELECT value FROM json_each(?1)) AND thread_id = ?2 AND cursor = ?3
"""
_LEAVE = """
UPDATE thread_members SET
    message_count = message_count - 1,
    last_cursor = coalesce((
        SELECT max(cursor) FROM thread_messages AS own
        WHERE own.agent_id = thread_members.agent_id AND own.thread_id = ?2
    ), 0)
WHERE agent_id IN (SELECT value FROM json_each(?1)) AND thread_id = ?2
"""
_LEFT = """
DELETE FROM thread_members
WHERE agent_id IN (SELECT value FROM json_each(?1)) AND thread_id = ?2 AND message_count = 0
"""
_EDIT = """
UPDATE messages SET
    thread_id = ?2, topic = ?3, importance = ?4, ack_required = ?5, edited_at_us = ?6,
    edited_cursor = ?7, subject = ?8, preview = ?9, body = ?10
WHERE cursor = ?1
"""
_ACK_DUE = """
UPDATE deliveries SET ack_due = (?3 AND ack_at_us IS NULL)
WHERE agent_id IN (SELECT value FROM json_each(?1)) AND cursor = ?2
"""
_decode_strings = msgspec.json.Decoder(tuple[str, ...]).decode


def _created(execute: Execute, event: Event, data: events.MessageCreated) -> None:
    execute(
        _MESSAGE,
        (
            event.cursor,
            data.message_id,
            data.thread_id,
            data.topic,
            data.sender,
            as_json(data.to),
            as_json(data.cc) if data.cc else _NOBODY,
            as_json(data.bcc) if data.bcc else _NOBODY,
            data.importance,
            int(data.ack_required),
            int(data.broadcast),
            event.at_us,
            data.subject,
            _preview(data.body),
            data.body,
        ),
    )
    for kind, agent_ids in (("to", data.to), ("cc", data.cc), ("bcc", data.bcc)):
        _deliver(execute, agent_ids, event.cursor, kind, ack_due=data.ack_required)
    if data.thread_id:
        _join(execute, as_json(_participants(data)), data.thread_id, event.cursor)
    execute(_WORDS, (event.cursor, data.subject, data.body))


def _deliver(
    execute: Execute, agent_ids: tuple[str, ...], cursor: int, kind: str, *, ack_due: bool
) -> None:
    if len(agent_ids) == 1:
        execute(_DELIVERY, (agent_ids[0], cursor, kind, int(ack_due)))
        execute(_MAIL, agent_ids)
    elif agent_ids:
        listed = as_json(agent_ids)
        execute(_DELIVERIES, (listed, cursor, kind, int(ack_due)))
        execute(_MAILS, (listed,))


def _updated(execute: Execute, event: Event, data: events.MessageUpdated) -> None:
    cursor = data.created_cursor
    (old,) = execute(
        "SELECT thread_id, ack_required, subject, body FROM messages WHERE cursor = ?", (cursor,)
    ).fetchall()
    old_thread_id, old_ack_required, old_subject, old_body = old
    execute(_FORGET_WORDS, (cursor, old_subject, old_body))
    execute(
        _EDIT,
        (
            cursor,
            data.thread_id,
            data.topic,
            data.importance,
            int(data.ack_required),
            event.at_us,
            event.cursor,
            data.subject,
            _preview(data.body),
            data.body,
        ),
    )
    execute(_WORDS, (cursor, data.subject, data.body))
    if bool(old_ack_required) != data.ack_required:
        listed = as_json((*data.to, *data.cc, *data.bcc))
        execute(_ACK_DUE, (listed, cursor, int(data.ack_required)))
    if old_thread_id != data.thread_id:
        listed = as_json(_participants(data))
        if old_thread_id:
            _leave(execute, listed, old_thread_id, cursor)
        if data.thread_id:
            _join(execute, listed, data.thread_id, cursor)


def _participants(data: events.MessageContent) -> tuple[str, ...]:
    return tuple(dict.fromkeys((data.sender, *data.to, *data.cc, *data.bcc)))


def _join(execute: Execute, listed: str, thread_id: str, cursor: int) -> None:
    execute(_JOIN, (listed, thread_id, cursor))
    execute(_SHARE, (listed, thread_id, cursor))


def _leave(execute: Execute, listed: str, thread_id: str, cursor: int) -> None:
    execute(_UNSHARE, (listed, thread_id, cursor))
    execute(_LEAVE, (listed, thread_id))
    execute(_LEFT, (listed, thread_id))


def _preview(body: str) -> str | None:
    return body[:PREVIEW_LEN_MAX] if len(body) > PREVIEW_LEN_MAX else None


def _read(execute: Execute, event: Event, data: events.MessageRead) -> None:
    execute(
        "UPDATE deliveries SET read_at_us = ? WHERE agent_id = ? "
        "AND cursor = (SELECT cursor FROM messages WHERE message_id = ?)",
        (event.at_us, data.agent_id, data.message_id),
    )
    execute("UPDATE mailboxes SET unread = unread - 1 WHERE agent_id = ?", (data.agent_id,))


def _acked(execute: Execute, event: Event, data: events.MessageAcked) -> None:
    execute(
        "UPDATE deliveries SET ack_at_us = ?, ack_due = 0 WHERE agent_id = ? "
        "AND cursor = (SELECT cursor FROM messages WHERE message_id = ?)",
        (event.at_us, data.agent_id, data.message_id),
    )


PROJECTIONS: Projections = {
    events.MessageCreated: _created,
    events.MessageUpdated: _updated,
    events.MessageRead: _read,
    events.MessageAcked: _acked,
}
