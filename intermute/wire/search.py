"""Searches on the wire: the terms in what somebody typed, and what was found."""

import re
from typing import Any

from intermute.domain.limits import SEARCH_LEN_MAX, SEARCH_WORDS_MAX
from intermute.domain.views import FoundPage, FoundView, SearchTerm
from intermute.wire.bodies import CONTROL, BadRequest
from intermute.wire.messages import Message, message

_TERM = re.compile(r'"([^"]*)"(\*?)|([^\s"]+)')


def terms(text: str) -> tuple[SearchTerm, ...]:
    """The terms of a search: words, phrases in double quotes; a `*` behind one means a beginning.

    What holds no letter and no digit is left out.

    Raises:
        BadRequest: Nothing is left, or it is too much.
    """
    if len(text) > SEARCH_LEN_MAX:
        raise BadRequest(f"q has at most {SEARCH_LEN_MAX} characters")
    found = []
    text = CONTROL.sub(" ", text)
    for phrase, star, word in _TERM.findall(text):
        plain = word.rstrip("*") if word else phrase
        if any(character.isalnum() for character in plain):
            found.append(SearchTerm(plain, is_prefix=bool(star) or word != word.rstrip("*")))
    if not found:
        raise BadRequest("q required: words to search for")
    if len(found) > SEARCH_WORDS_MAX:
        raise BadRequest(f"q has at most {SEARCH_WORDS_MAX} words and phrases")
    return tuple(found)


def found(page: FoundPage, viewer: str | None, *, before: int) -> dict[str, Any]:
    """A page, and the cursor with which the next one is asked for."""
    return {
        "messages": [_found(each, viewer) for each in page.found],
        "cursor": page.found[-1].message.cursor if page.found else before,
        "more": page.more,
    }


def _found(view: FoundView, viewer: str | None) -> Message:
    shown = message(view.message, viewer)
    shown.snippet = view.snippet
    return shown
