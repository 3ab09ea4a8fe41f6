import json
import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intermute.domain.limits import JSON_DEPTH_MAX, JSON_VALUES_MAX
from intermute.wire.strict_json import (
    INTEGER_MAX,
    INTEGER_MIN,
    BadJson,
    decode,
    encode,
)

_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
_plain = (
    st.none()
    | st.booleans()
    | st.integers(INTEGER_MIN, INTEGER_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _text
)
_values = st.recursive(
    _plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)


def _reason(body: bytes) -> str:
    with pytest.raises(BadJson) as caught:
        decode(body)
    return caught.value.reason


@given(_values, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_whatever_can_be_written_is_read_back(value, ascii_only, indent):
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert decode(body) == value


@given(_values)
def test_encode_is_read_back(value):
    assert decode(encode(value)) == value


def _reference(body: bytes) -> object:
    """The same rules by another parser: slow, but with nothing to count."""

    def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        assert len(found) == len(pairs)
        return found

    def number(text: str) -> float:
        value = float(text)
        assert math.isfinite(value)
        assert len(text.lstrip("-")) <= 40
        return value

    def integer(text: str) -> int:
        assert INTEGER_MIN <= int(text) <= INTEGER_MAX
        return int(text)

    def constant(text: str) -> object:
        raise AssertionError(text)

    text = body.decode("utf-8")
    value = json.loads(
        text,
        object_pairs_hook=members,
        parse_float=number,
        parse_int=integer,
        parse_constant=constant,
    )
    for string in _strings(value):
        assert "\x00" not in string
        string.encode("utf-8")
    return value


def _strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _strings(inner)


_scraps = st.sampled_from(
    b"""
    "a" "b" "\\"" "\\\\" ":," "\\u0000" "\\\\u0000" "\\ud83d" "\\ud83d\\ude00"
    1 -0 1.5 1e400 9223372036854775808 null NaN \\ { } [ ] : , \xc3\xa9 \xff
    """.split()
)


@given(st.lists(_scraps, max_size=14).map(b"".join))
def test_scraps_are_judged_as_a_second_parser_judges_them(body):
    try:
        expected = _reference(body)
    except (AssertionError, ValueError):
        with pytest.raises(BadJson):
            decode(body)
    else:
        assert decode(body) == expected


@given(st.binary(max_size=64))
def test_no_bytes_raise_anything_else(body):
    with suppress(BadJson):
        decode(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body is empty"),
        (b" \n", "the body is empty"),
        (b"{} x", "something follows the JSON value"),
        (b"NaN", "it is not valid JSON"),
        (b"-Infinity", "it is not valid JSON"),
        (b"[1,]", "it is not valid JSON"),
        (b'"\x01"', "it is not valid JSON"),
        (b'{"a":1', "it ends too early"),
        (b'{"a":1,"a":1}', "a member name appears twice in one object"),
        (b'{"a":1,"\\u0061":1}', "a member name appears twice in one object"),
        (b'{"x":{"a":":","a":1}}', "a member name appears twice in one object"),
        (b'[{"a":1,"b":2},{"a":1,"a":2}]', "a member name appears twice in one object"),
        (b'{"a":"\xff"}', "it is not valid UTF-8"),
        (b'"\xed\xa0\x80"', "it is not valid UTF-8"),
        (b"\xef\xbb\xbf{}", "it must be UTF-8 without a byte order mark"),
        ("{}".encode("utf-16"), "it must be UTF-8 without a byte order mark"),
        ("{}".encode("utf-16-be"), "it must be UTF-8 without a byte order mark"),
        ("{}".encode("utf-32-le"), "it must be UTF-8 without a byte order mark"),
        (rb'"\ud800 and more"', "a string holds half of a surrogate pair"),
        (rb'"\udc00 and more"', "a string holds half of a surrogate pair"),
        (rb'{"\u0000":1}', "a string holds a NUL character"),
        (rb'"\\\u0000"', "a string holds a NUL character"),
        (b"1e999", "a number is out of range"),
        (b"1" * 60_000, "a number is out of range"),
        (b"9223372036854775808", "an integer does not fit 64 bits"),
        (b"[-9223372036854775809]", "an integer does not fit 64 bits"),
        (b"123456789012345678901234567890", "an integer does not fit 64 bits"),
        (b"1." + b"1" * 60_000, "a number is longer than 40 characters"),
    ],
)
def test_what_is_refused_and_how(body, reason):
    assert _reason(body) == reason


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (rb'"\\u0000"', "\\u0000"),
        (b'{"a:b":"c:d"}', {"a:b": "c:d"}),
        (b'{"a":{"a":1}}', {"a": {"a": 1}}),
        (b'"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["', "[" * 38),
        (b'"12345678901234567890123"', "12345678901234567890123"),
        (b"9223372036854775807", INTEGER_MAX),
        (b"-9223372036854775808", INTEGER_MIN),
        (b" null\r\n", None),
    ],
)
def test_what_only_looks_wrong_is_read(body, value):
    assert decode(body) == value


def test_positions_are_byte_offsets():
    with pytest.raises(BadJson) as caught:
        decode(b'{"ab":"c\xff"}')
    assert caught.value.position == 8
    with pytest.raises(BadJson) as caught:
        decode(b"[1] x")
    assert caught.value.position == 5
    assert str(caught.value) == "something follows the JSON value (byte 5)"


def test_reasons_quote_nothing_of_the_body():
    for body in (b'{"secret":1,"secret":2}', b'{"secret":', b'["secret" secret]', b'"secret\xff"'):
        assert "secret" not in _reason(body)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth_is_bounded_exactly(opening, closing):
    decode(opening * JSON_DEPTH_MAX + b"1" + closing * JSON_DEPTH_MAX)
    deeper = opening * (JSON_DEPTH_MAX + 1) + b"1" + closing * (JSON_DEPTH_MAX + 1)
    assert _reason(deeper) == f"it is nested more than {JSON_DEPTH_MAX} levels deep"


def test_many_shallow_values_are_not_deep():
    assert decode(b"[" + b"[],{}," * 100 + b"1]") == [*([[], {}] * 100), 1]


@pytest.mark.parametrize("piece", [b"1", b'""', b"[]", b"{}", b'{"a":1}', b"1e308"])
def test_number_of_values_is_bounded(piece):
    assert decode(b"[" + b"1," * 10_000 + b"1]")
    many = b"[" + (piece + b",") * JSON_VALUES_MAX + b"1]"
    assert _reason(many) == f"it holds more than {JSON_VALUES_MAX} values"


def test_text_with_many_commas_and_quotes_is_one_value():
    text = 'a,"b:c[{e1' * 60_000
    assert decode(json.dumps(text).encode()) == text


def test_numbers_with_exponents_are_bounded_in_number():
    """Those near the end of the range take the parser two hundred times as long as others."""
    assert "with an exponent" in _reason(b"[" + b"1e308," * 2_000 + b"1]")
    assert decode(b"[" + b"true,false," * 2_000 + b"1e308]")


@pytest.mark.parametrize("piece", [b"[", b'{"a":', b"]", b"[{", b"[]", b"[}"])
def test_brackets_alone_never_recurse(piece):
    assert _reason(piece * 20_000)
    assert _reason(piece * 200)


def test_encode_refuses_what_has_no_form():
    assert encode({"é": [1, None, 2.5]}) == '{"é":[1,null,2.5]}'.encode()
    with pytest.raises(TypeError):
        encode(object())
