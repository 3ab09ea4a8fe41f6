"""Bodies and query strings before it is known what they ask for."""

from typing import Annotated

import pytest
from msgspec import Meta

from intermute.domain.values import Value
from intermute.wire.bodies import BadRequest, convert, decimal, flag, line, read_members


class Shape(Value):
    name: Annotated[str, Meta(max_length=3)] = ""
    count: int = 0


@pytest.mark.parametrize(
    ("body", "members"),
    [
        (b"{}", {}),
        (b" null ", {}),
        (b'{"a": 1, "b": null}', {"a": 1}),
        (b'{"a": {"b": null}}', {"a": {"b": None}}),
    ],
)
def test_members_that_are_null_are_not_there(body, members):
    assert read_members(body) == members


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"1", b"true", b"", b" ", b"{", b'{"a":1,"a":2}'])
def test_a_body_is_an_object(body):
    with pytest.raises(BadRequest):
        read_members(body)


@pytest.mark.parametrize("body", [b"", b" \n", b"null", b"{}"])
def test_an_optional_body_may_be_missing(body):
    assert read_members(body, optional=True) == {}


def test_an_optional_body_that_is_there_is_read():
    assert read_members(b'{"a": 1}', optional=True) == {"a": 1}
    with pytest.raises(BadRequest, match="JSON"):
        read_members(b"{", optional=True)


def test_nulls_are_read_when_they_are_asked_for():
    body = b'{"a": null, "b": {"c": null}, "d": 1}'
    assert read_members(body) == {"b": {"c": None}, "d": 1}
    assert read_members(body, nulls=True) == {"a": None, "b": {"c": None}, "d": 1}


def test_nesting_has_a_bound():
    assert read_members(b'{"a":' + b"[" * 30 + b"]" * 30 + b"}")
    with pytest.raises(BadRequest):
        read_members(b'{"a":' + b"[" * 100 + b"]" * 100 + b"}")


@pytest.mark.parametrize(
    "members",
    [{"name": "x", "count": 2}, {"Name": "x", "COUNT": 2}, {"name": "x", "count": 2, "z": 1}],
)
def test_names_match_in_any_case_and_unknown_ones_are_ignored(members):
    assert convert(members, Shape) == Shape("x", 2)


@pytest.mark.parametrize(
    ("members", "where"),
    [
        ({"name": 1}, "name"),
        ({"name": "long"}, "name"),
        ({"count": "1"}, "count"),
        ({"count": 1.5}, "count"),
        ({"count": 1.0}, "count"),
        ({"count": True}, "count"),
    ],
)
def test_a_member_of_the_wrong_shape_is_named(members, where):
    with pytest.raises(BadRequest, match=where):
        convert(members, Shape)


@pytest.mark.parametrize("members", [{"name": "a", "NAME": "b"}, {"Name": "a", "NAME": "b"}])
def test_a_member_is_there_once_in_whatever_case(members):
    with pytest.raises(BadRequest, match="name is there twice"):
        convert(members, Shape)


def test_unknown_members_may_differ_in_case_only():
    assert convert({"name": "x", "Z": 1, "z": 2}, Shape) == Shape("x", 0)


@pytest.mark.parametrize(("text", "trimmed"), [(" a b ", "a b"), ("", ""), ("\u00e9", "\u00e9")])
def test_a_line_is_trimmed(text, trimmed):
    assert line(text, "name") == trimmed


@pytest.mark.parametrize("text", ["a\nb", "a\x00", "\x1b[31m", "a\x7f", "a\x85", "tab\t", "\n"])
def test_a_line_has_no_control_characters(text):
    with pytest.raises(BadRequest, match=r"\$\.name"):
        line(text, "name")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (None, 7),
        ("", 7),
        ("0", 7),
        ("000", 7),
        ("-1", 7),
        ("1.5", 7),
        ("x", 7),
        (" 5", 7),
        ("5\n", 7),
        ("\u0665", 7),
        ("5", 5),
        ("+5", 5),
        ("005", 5),
        ("99", 50),
        ("9" * 19, 50),
        ("9" * 20, 7),
        (str(2**63), 50),
        (str(2**64), 7),
        ("9" * 60_000, 7),
    ],
)
def test_numbers_of_a_query_are_positive_and_bounded(text, number):
    """B13: no number in a query makes an error or a number that fits nowhere."""
    assert decimal(text, default=7, most=50) == number


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, None), ("false", False), ("true", True), ("", True), ("0", True), ("False", True)],
)
@pytest.mark.parametrize("default", [True, False])
def test_only_the_text_false_is_false(text, expected, default):
    assert flag(text, default=default) is (default if expected is None else expected)
