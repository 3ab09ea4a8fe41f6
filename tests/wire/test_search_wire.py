"""Searches on the wire: what somebody typed, taken to pieces."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intermute.domain.views import FoundPage, FoundView, SearchTerm
from intermute.wire import search as wire
from intermute.wire.bodies import BadRequest

from .test_messages_wire import view


def word(text):
    return SearchTerm(text)


def start(text):
    return SearchTerm(text, is_prefix=True)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("foo", (word("foo"),)),
        ("  foo\tbar\n", (word("foo"), word("bar"))),
        ('"foo bar" baz', (word("foo bar"), word("baz"))),
        ("fo*", (start("fo"),)),
        ('"foo ba"*', (start("foo ba"),)),
        ("fo**", (start("fo"),)),
        ("foo OR bar", (word("foo"), word("OR"), word("bar"))),
        ("-foo", (word("-foo"),)),
        ("subject:foo", (word("subject:foo"),)),
        ('foo" bar', (word("foo"), word("bar"))),
        ('foo"bar"', (word("foo"), word("bar"))),
        ("foo ... bar", (word("foo"), word("bar"))),
        ("\U0001f600 foo", (word("foo"),)),
        ("f\x00o", (word("f"), word("o"))),
        ("\u00fcber", (word("\u00fcber"),)),
        ("2026", (word("2026"),)),
    ],
)
def test_terms(text, terms):
    assert wire.terms(text) == terms


@pytest.mark.parametrize("text", ["", "  ", '"', '""', '"""', "*", "...", '"..."', "\x00"])
def test_nothing_to_search_for(text):
    with pytest.raises(BadRequest, match="q required"):
        wire.terms(text)


def test_too_much_to_search_for():
    with pytest.raises(BadRequest, match="at most 500 characters"):
        wire.terms("a" * 501)
    assert len(wire.terms("a " * 32)) == 32
    with pytest.raises(BadRequest, match="at most 32 words"):
        wire.terms("a " * 33)


@given(st.text(max_size=80))
def test_whatever_is_typed_is_terms_or_is_refused(text):
    try:
        found = wire.terms(text)
    except BadRequest:
        return
    assert found
    assert all('"' not in term.text for term in found)
    assert all(any(c.isalnum() for c in term.text) for term in found)


def test_a_page_of_findings():
    page = FoundPage((FoundView(view(bcc=("d",)), "a [hello] b"),), more=True)
    shown = wire.found(page, "b", before=0)
    assert (shown["cursor"], shown["more"]) == (7, True)
    found = msgspec.json.encode(shown["messages"][0])
    assert found.endswith(b'"cursor":7,"snippet":"a [hello] b"}')
    assert wire.found(page, "a", before=0)["messages"][0].bcc == ("d",)
    assert wire.found(FoundPage(), None, before=5) == {
        "messages": [],
        "cursor": 5,
        "more": False,
    }
