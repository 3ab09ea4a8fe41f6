"""Lock modes, and which of them may stand on paths that overlap.

The modes and their compatibility are those of hierarchical locking (J. Gray et al., "Granularity of
Locks and Degrees of Consistency in a Shared Data Base", 1976), applied wherever two patterns have a
path in common.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Mode(StrEnum):
    """What a reservation lets its holder, and others, do with its paths."""

    EXCLUSIVE = "exclusive"
    SHARED = "shared"
    INTENT_EXCLUSIVE = "intent_exclusive"
    INTENT_SHARED = "intent_shared"
    SHARED_INTENT_EXCLUSIVE = "shared_intent_exclusive"


_COMPATIBLE: Final = {
    Mode.INTENT_SHARED: (
        Mode.INTENT_SHARED,
        Mode.INTENT_EXCLUSIVE,
        Mode.SHARED,
        Mode.SHARED_INTENT_EXCLUSIVE,
    ),
    Mode.INTENT_EXCLUSIVE: (Mode.INTENT_SHARED, Mode.INTENT_EXCLUSIVE),
    Mode.SHARED: (Mode.INTENT_SHARED, Mode.SHARED),
    Mode.SHARED_INTENT_EXCLUSIVE: (Mode.INTENT_SHARED,),
    Mode.EXCLUSIVE: (),
}

# The modes that each mode cannot stand beside, exclusive first.
CONFLICTING: Final[dict[Mode, tuple[Mode, ...]]] = {
    mode: tuple(other for other in Mode if other not in compatible)
    for mode, compatible in _COMPATIBLE.items()
}

ABBREVIATIONS: Final = {
    "X": Mode.EXCLUSIVE,
    "S": Mode.SHARED,
    "IX": Mode.INTENT_EXCLUSIVE,
    "IS": Mode.INTENT_SHARED,
    "SIX": Mode.SHARED_INTENT_EXCLUSIVE,
}

# How somebody holds a path, as it follows upon "holds it". By a mode, or by its name.
IN_WORDS: Final[Mapping[str, str]] = {
    Mode.EXCLUSIVE: "exclusively",
    Mode.SHARED: "shared",
    Mode.INTENT_EXCLUSIVE: "with the intent to change parts of it",
    Mode.INTENT_SHARED: "with the intent to read parts of it",
    Mode.SHARED_INTENT_EXCLUSIVE: "shared, with the intent to change parts of it",
}


def parse_mode(text: str) -> Mode | None:
    """The mode of that name or abbreviation, None when there is none."""
    short = ABBREVIATIONS.get(text.upper())
    if short is not None:
        return short
    return Mode(text) if text in Mode._value2member_map_ else None
