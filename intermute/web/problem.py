"""The one shape of every error answer: RFC 9457, with the machine code beside it."""

from intermute.wire.strict_json import encode

__all__ = ["MEDIA_TYPE", "TYPE_BASE", "problem", "problem_headers", "problem_members"]

MEDIA_TYPE = "application/problem+json"
TYPE_BASE = "https://intermute.dev/errors/"

_OWN_MEMBERS = frozenset({"type", "title", "status", "detail", "error", "code"})


def problem(status: int, code: str, title: str, detail: str, /, **extra: object) -> bytes:
    """The body of an error answer, as UTF-8 JSON; see `problem_members`."""
    return encode(problem_members(status, code, title, detail, **extra))


def problem_members(
    status: int, code: str, title: str, detail: str, /, **extra: object
) -> dict[str, object]:
    """The members of an error answer.

    Args:
        status: The HTTP status it is sent with, 400 to 599.
        code: The machine code, `lower_case_with_underscores`; `type` is made from it.
        title: The same few words for every error of this code.
        detail: What happened this time and what to do next, for people.
        extra: Further members, after those of the shape; none may repeat one of those.
    """
    assert 400 <= status <= 599, status
    assert not _OWN_MEMBERS & extra.keys(), extra.keys()
    members: dict[str, object] = {
        "type": TYPE_BASE + code.replace("_", "-"),
        "title": title,
        "status": status,
        "detail": detail,
        "error": code,
        "code": code,
    }
    members.update(extra)
    return members


def problem_headers(body: bytes, *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """ASGI headers for a `problem` body: lower-case names, `more` last."""
    return [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        *more,
    ]
