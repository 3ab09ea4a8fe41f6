"""Project names: one spelling for each project."""

import unicodedata
from functools import lru_cache

from intermute.domain.limits import PROJECT_NAME_LEN_MAX

DEFAULT_PROJECT = "default"
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))

INVALID_NAME = (
    f"a project's name is text of 1 to {PROJECT_NAME_LEN_MAX} characters without control "
    "or invisible formatting characters"
)


@lru_cache(maxsize=4096)
def normalise_project(name: str) -> str | None:
    """The one spelling of a project's name: trimmed, NFC. None when it cannot be a name.

    Any text of up to 200 characters is a name, slashes included, except that control and
    format characters (which no eye can tell apart) and lone surrogates are not.
    """
    text = unicodedata.normalize("NFC", name.strip())
    if not text or len(text) > PROJECT_NAME_LEN_MAX:
        return None
    if any(unicodedata.category(character) in _UNSEEN for character in text):
        return None
    return text
