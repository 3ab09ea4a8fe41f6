"""Pokes on the wire: those that could not be typed, and how a live message went."""

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from intermute.domain.envelope import wrap
from intermute.domain.views import PokePage, PokeView, SurfacedView


def poke(view: PokeView) -> dict[str, Any]:
    """One poke. Its body is in the envelope in which it would have been typed."""
    created_at = datetime.fromtimestamp(view.created_at_us // 1_000_000, UTC)
    return {
        "message_id": view.message_id,
        "sender": view.sender,
        "thread_id": view.thread_id,
        "body": wrap(sender=view.sender, thread_id=view.thread_id, body=view.body),
        "reason": view.reason,
        "created_at": format_datetime(created_at, usegmt=True),
        "cursor": view.cursor,
    }


def pokes(page: PokePage, *, after: int) -> dict[str, Any]:
    return {
        "pokes": [poke(view) for view in page.pokes],
        "cursor": page.pokes[-1].cursor if page.pokes else after,
        "more": page.more,
    }


def surfaced(view: SurfacedView) -> dict[str, Any]:
    return {"status": "ok", "message_id": view.message_id}
