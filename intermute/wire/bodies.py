"""What request bodies hold, before it is known what they ask for."""

import re
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

import msgspec

from intermute.domain.limits import CURSOR_MAX, IDEMPOTENCY_KEY_LEN_MAX
from intermute.wire.strict_json import BadJson, decode

T = TypeVar("T")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class BadRequest(Exception):
    """The request is not of the shape it should be; the text says what and where."""


def read_members(body: bytes, *, optional: bool = False, nulls: bool = False) -> dict[str, Any]:
    """The members of the body's object; `null`, or no body where it is `optional`, has none.

    Members whose value is null are as if they were not there, unless `nulls` are asked for.

    Raises:
        BadRequest: It is no JSON object.
    """
    if optional and not body.strip():
        return {}
    try:
        value = decode(body)
    except BadJson as bad:
        raise BadRequest(f"the body cannot be read as JSON: {bad}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object")
    return {name: member for name, member in value.items() if nulls or member is not None}


def convert(members: dict[str, Any], shape: type[T]) -> T:
    """The members as `shape`, a struct.

    Names match in any case; unknown ones are ignored. Where a list or an object must hold texts,
    null is an empty one.

    Raises:
        BadRequest: A member has the wrong type or is too long.
    """
    known = _names(shape)  # type: ignore[arg-type]  # Every class can be hashed.
    if not members.keys() <= known:
        members = _fold(members, known)
    try:
        return msgspec.convert(members, shape)
    except msgspec.ValidationError as error:
        wrong = str(error)
    # Null means nothing given, which among texts is an empty one; few bodies have it there.
    emptied = {name: _without_nulls(member) for name, member in members.items()}
    if emptied != members:
        with suppress(msgspec.ValidationError):
            return msgspec.convert(emptied, shape)
    raise BadRequest(wrong)


def _without_nulls(member: Any) -> Any:
    """A list or an object whose values are texts where they were null; else what it was."""
    if isinstance(member, list):
        return ["" if inner is None else inner for inner in member]
    if isinstance(member, dict):
        return {name: "" if inner is None else inner for name, inner in member.items()}
    return member


def convert_from(members: dict[str, Any], shape: type[T]) -> T:
    """As `convert`, where the member `from`, which is no name in Python, is `sender` in the shape.

    Raises:
        BadRequest: It names the member as the client does.
    """
    try:
        return convert(_with_sender(members), shape)
    except BadRequest as bad:
        raise BadRequest(str(bad).replace("`$.sender`", "`$.from`")) from None


def _with_sender(members: dict[str, Any]) -> dict[str, Any]:
    if "from" in members:
        names = ["from"]
    else:
        names = [name for name in members if name.lower() == "from"]
    if not names:
        return members
    if "sender" in members or len(names) > 1:
        raise BadRequest("the member from is there twice")
    if not isinstance(members[names[0]], str):
        raise BadRequest("Expected `str` - at `$.from`")
    renamed = dict(members)
    renamed["sender"] = renamed.pop(names[0])
    return renamed


def _fold(members: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    folded: dict[str, Any] = {}
    for name, member in members.items():
        plain = name if name in known else name.lower()
        if plain in folded and plain in known:
            raise BadRequest(f"the member {plain} is there twice, in different case")
        folded[plain] = member
    return folded


@cache
def _names(shape: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(shape.__struct_fields__)


def line(text: str, name: str) -> str:
    """`text` trimmed; it must be free of control characters, line breaks included."""
    plain = text.isascii() and text.isprintable()
    if not plain and CONTROL.search(text):
        raise BadRequest(f"control characters are not allowed - at `$.{name}`")
    return text.strip()


def idempotency_key(key: object, name: str) -> str | None:
    """The key under which a request may be asked again, from the header or member `name`.

    Raises:
        BadRequest: It is there and no such text.
    """
    if key is None:
        return None
    if not isinstance(key, str) or not 0 < len(key) <= IDEMPOTENCY_KEY_LEN_MAX:
        raise BadRequest(f"{name} is a string of 1 to {IDEMPOTENCY_KEY_LEN_MAX} characters")
    return key


_DECIMAL = re.compile(r"\+?[0-9]{1,19}")


def decimal(text: str | None, *, default: int, most: int, least: int = 1) -> int:
    """A number of at least `least` from a query string; whatever is none is the default."""
    if text is None or _DECIMAL.fullmatch(text) is None or int(text) < least:
        return default
    return min(int(text), most)


_CURSOR = re.compile(r"[0-9]{1,40}")


def cursor(text: str | None, *, default: int) -> int:
    """A place in a project's history from a query string; whatever is none, and 0, is the default.

    One beyond the last that there can be is that one: nothing comes after it.
    """
    if text is None or _CURSOR.fullmatch(text) is None:
        return default
    return min(int(text), CURSOR_MAX) or default


def flag(text: str | None, *, default: bool) -> bool:
    """A flag from a query string: only the exact text `false` is false."""
    return default if text is None else text != "false"
