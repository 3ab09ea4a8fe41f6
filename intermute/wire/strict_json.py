"""JSON as everybody reads it the same way, and nothing else.

Two parsers that disagree about one body are a way past whoever looked at it first, so whatever
the RFC leaves open (names twice, `NaN`, lone surrogates, numbers that fit nowhere) is refused.
"""

import re
from typing import TYPE_CHECKING

import msgspec

from intermute.domain.limits import (
    JSON_DEPTH_MAX,
    JSON_EXPONENTS_MAX,
    JSON_FLOAT_LEN_MAX,
    JSON_VALUES_MAX,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "INTEGER_MAX",
    "INTEGER_MIN",
    "BadJson",
    "decode",
    "encode",
]

INTEGER_MIN = -(2**63)
INTEGER_MAX = 2**63 - 1

_parse = msgspec.json.Decoder().decode
_write = msgspec.json.Encoder().encode

_BYTE_AT = re.compile(r"\(byte (\d+)\)\Z")
_FLOAT = re.compile(rb"\d[\d.eE+-]*")
_EXPONENT = re.compile(rb"\d[eE]")
_SMALL_LEN_MAX = 4_096
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class BadJson(ValueError):
    """The bytes are not a JSON text that this server reads.

    `reason` is a clause for people that quotes nothing of the text; `position` is the byte
    offset at or just before which it went wrong, or None where the fault has no single place.
    """

    def __init__(self, reason: str, position: int | None = None) -> None:
        super().__init__(reason if position is None else f"{reason} (byte {position})")
        self.reason = reason
        self.position = position


def decode(body: bytes) -> object:
    """Read one JSON text.

    Returns dict, list, str, int, float, bool or None. Every int fits 64 signed bits, every float
    is finite, every string is valid Unicode without NUL, every member name is unique.

    Args:
        body: UTF-8 without a byte order mark, at most one value, JSON whitespace around it.

    Raises:
        BadJson: Anything else, nesting and numbers of any size included; no input makes it
            raise something else or recurse without a bound.

    Why counting: the parser is strict about all but a few things, and the colons outside
    strings are exactly the members. Counting bytes costs a tenth of a second parser.
    """
    if not body:
        raise BadJson("the body is empty")
    opened = body.count(b"[") + body.count(b"{")
    if len(body) > _SMALL_LEN_MAX:
        _check_large(body, opened)
    if opened > JSON_DEPTH_MAX and _is_too_deep(_skeleton(body)):
        raise BadJson(f"it is nested more than {JSON_DEPTH_MAX} levels deep")
    try:
        value = _parse(body)
    except UnicodeDecodeError:
        raise _not_text(body) from None
    except msgspec.DecodeError as error:
        raise _malformed(body, str(error)) from None
    members_len, has_float = _inspect(value)
    # Colons inside strings make the quick count too high; only the exact one convicts.
    if body.count(b":") != members_len and _skeleton(body).count(b":") != members_len:
        raise BadJson("a member name appears twice in one object")
    if has_float:
        _check_floats(_skeleton(body))
    if b"\\u0000" in body and b"\\u0000" in body.replace(b"\\\\", b""):
        raise BadJson("a string holds a NUL character")
    return value


def encode(value: object) -> bytes:
    """Write a value as compact UTF-8 JSON.

    Takes what msgspec takes: plain values, attrs classes, datetimes, enums.

    Raises:
        TypeError: A value of a kind that has no JSON form.
    """
    return _write(value)


def _skeleton(body: bytes) -> bytes:
    """The text without its strings: structure, numbers and literals only."""
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b'"'.join(bare.split(b'"')[::2])


def _is_too_deep(skeleton: bytes) -> bool:
    """Whether peeling innermost brackets `JSON_DEPTH_MAX` times leaves any."""
    brackets = skeleton.translate(None, _NOT_BRACKETS)
    for _ in range(JSON_DEPTH_MAX):
        peeled = _peel(brackets)
        if not peeled:
            return False
        if peeled == brackets:
            # Unbalanced: still bounded, so that the parser can say where it went wrong.
            return len(brackets) > JSON_DEPTH_MAX
        brackets = peeled
    return True


def _peel(brackets: bytes) -> bytes:
    """Take away one level: every pair that holds nothing, siblings at once."""
    return brackets.replace(b"[]", b"").replace(b"{}", b"")


def _inspect(value: object) -> tuple[int, bool]:
    """Count the members that are left and say whether there is a float.

    Large integers are refused on the way.
    """
    inners: Iterable[object] = (value,)
    members_len = 0
    has_float = False
    if isinstance(value, dict):
        inners = value.values()
        members_len = len(value)
    elif isinstance(value, list):
        inners = value
    for inner in inners:
        kind = type(inner)
        if kind is str:
            continue
        if isinstance(inner, int):
            if not INTEGER_MIN <= inner <= INTEGER_MAX:
                raise BadJson("an integer does not fit 64 bits")
        elif kind is dict or kind is list:
            more_len, more_float = _inspect(inner)
            members_len += more_len
            has_float = has_float or more_float
        elif kind is float:
            has_float = True
    return members_len, has_float


def _check_large(body: bytes, opened: int) -> None:
    """Refuse what a parser would take long over: very many values, very many large exponents."""
    # Every string is a value or names one, so half of the strings are values at the least.
    strings_len = (body.count(b'"') - body.count(b'\\"')) // 2
    if strings_len > 2 * JSON_VALUES_MAX:
        raise BadJson(f"it holds more than {JSON_VALUES_MAX} values")
    if max(body.count(b","), opened) >= JSON_VALUES_MAX:
        skeleton = _skeleton(body)
        values_len = max(skeleton.count(b","), skeleton.count(b"[") + skeleton.count(b"{"))
        if values_len >= JSON_VALUES_MAX:
            raise BadJson(f"it holds more than {JSON_VALUES_MAX} values")
    if body.count(b"e") + body.count(b"E") > JSON_EXPONENTS_MAX:
        found = _EXPONENT.findall(_skeleton(body))
        if len(found) > JSON_EXPONENTS_MAX:
            raise BadJson(f"it holds more than {JSON_EXPONENTS_MAX} numbers with an exponent")


def _check_floats(skeleton: bytes) -> None:
    for found in _FLOAT.finditer(skeleton):
        if found.end() - found.start() > JSON_FLOAT_LEN_MAX:
            raise BadJson(f"a number is longer than {JSON_FLOAT_LEN_MAX} characters")


def _not_text(body: bytes) -> BadJson:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        return BadJson("it is not valid UTF-8", error.start)
    return BadJson("it is not valid UTF-8")


def _malformed(body: bytes, message: str) -> BadJson:
    """Our own words for the parser's complaint, with its position."""
    found = _BYTE_AT.search(message)
    position = None if found is None else int(found.group(1))
    if not body.strip(b" \t\r\n"):
        return BadJson("the body is empty")
    if body.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")) or b"\x00" in body[:4]:
        return BadJson("it must be UTF-8 without a byte order mark", 0)
    if "surrogate" in message:
        return BadJson("a string holds half of a surrogate pair", position)
    if "out of range" in message:
        return BadJson("a number is out of range", position)
    if "trailing characters" in message:
        return BadJson("something follows the JSON value", position)
    if "truncated" in message:
        return BadJson("it ends too early", len(body))
    return BadJson("it is not valid JSON", position)
