"""What request bodies hold, before it is known what they ask for."""

import re
from typing import Any, TypeVar

import msgspec

from intermute.wire.strict_json import BadJson, decode

T = TypeVar("T")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class BadRequest(Exception):
    """The request is not of the shape it should be; the text says what and where."""


def read_members(body: bytes, *, optional: bool = False) -> dict[str, Any]:
    """The members of the body's object; `null`, or no body where it is `optional`, has none.

    Members whose value is null are as if they were not there.

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
    return {name: member for name, member in value.items() if member is not None}


def convert(members: dict[str, Any], shape: type[T]) -> T:
    """The members as `shape`, an attrs class. Names match in any case; unknown ones are ignored.

    Raises:
        BadRequest: A member has the wrong type or is too long.
    """
    known = _names(shape)
    if not members.keys() <= known:
        members = _fold(members, known)
    try:
        return msgspec.convert(members, shape)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error)) from None


def _fold(members: dict[str, Any], known: set[str]) -> dict[str, Any]:
    folded: dict[str, Any] = {}
    for name, member in members.items():
        plain = name if name in known else name.lower()
        if plain in folded and plain in known:
            raise BadRequest(f"the member {plain} is there twice, in different case")
        folded[plain] = member
    return folded


def _names(shape: type[Any]) -> set[str]:
    return {field.name for field in shape.__attrs_attrs__}


def line(text: str, name: str) -> str:
    """`text` trimmed; it must be free of control characters, line breaks included."""
    if _CONTROL.search(text):
        raise BadRequest(f"control characters are not allowed - at `$.{name}`")
    return text.strip()


_DECIMAL = re.compile(r"\+?[0-9]{1,19}")


def decimal(text: str | None, *, default: int, most: int) -> int:
    """A positive number from a query string; whatever is none is the default."""
    if text is None or _DECIMAL.fullmatch(text) is None or int(text) == 0:
        return default
    return min(int(text), most)


def flag(text: str | None, *, default: bool) -> bool:
    """A flag from a query string: only the exact text `false` is false."""
    return default if text is None else text != "false"
