"""Faults to put into the product, one for each kind of check that the fuzzer makes."""

from collections.abc import Callable
from typing import Any

import attrs
import msgspec

from intermute.globs import decide
from intermute.globs.segments import WildSegment
from intermute.web import paths
from intermute.wire import bodies, reservations, rpc, strict_json

SetAttribute = Callable[[Any, str, Any], object]


@attrs.frozen
class Planted:
    """A fault, and the target that must find it."""

    target: str
    plant: Callable[[SetAttribute], object]


def _overlap_one_way(put: SetAttribute) -> None:
    right = decide.overlap

    def overlap(a: Any, b: Any) -> bool:
        return "?" not in a.normalised and right(a, b)

    put(decide, "overlap", overlap)


def _missing_both_ways(put: SetAttribute) -> None:
    """Symmetric, and no witness either: only trying paths shows it."""
    right, shown = decide.overlap, decide.witness

    def is_odd(a: Any, b: Any) -> bool:
        return "[" in a.normalised + b.normalised

    put(decide, "overlap", lambda a, b: not is_odd(a, b) and right(a, b))
    from . import targets

    put(targets, "witness", lambda a, b: None if is_odd(a, b) else shown(a, b))
    put(targets.PatternIndex, "overlapping", lambda self, b: [])


def _index_by_equal_ends(put: SetAttribute) -> None:
    put(WildSegment, "can_meet", lambda self, head, tail: (self.head, self.tail) == (head, tail))


def _steps_without_end(put: SetAttribute) -> None:
    right = decide.overlap
    from . import targets

    def overlap(a: Any, b: Any) -> bool:
        if "{" in a.normalised and targets.STEPS:
            targets.STEPS[0].made += targets.STEPS_MAX
        return right(a, b)

    put(decide, "overlap", overlap)


def _names_twice(put: SetAttribute) -> None:
    def decode(data: bytes) -> object:
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise strict_json.BadJson("no JSON") from None

    put(strict_json, "decode", decode)


def _lease_of_no_minutes(put: SetAttribute) -> None:
    put(reservations, "ttl_ms", lambda *, minutes, seconds: 60_000 // minutes)


def _flags_as_words(put: SetAttribute) -> None:
    right = rpc._word

    def word(found: object, name: str) -> str:
        return right(found, name) if found is not False else str(len(found))  # type: ignore

    put(rpc, "_word", word)


def _cursors_of_any_size(put: SetAttribute) -> None:
    put(bodies, "cursor", lambda text, *, default: int(text) if text.isdigit() else default)


def _redirects(put: SetAttribute) -> None:
    right = paths.use_encoded_slashes

    def use(app: Any) -> None:
        right(app)
        app.url_map.merge_slashes = True

    put(paths, "use_encoded_slashes", use)


PLANTED = {
    "overlap is true one way only": Planted("globs", _overlap_one_way),
    "overlap misses classes": Planted("globs", _missing_both_ways),
    "the index compares ends for equality": Planted("globs", _index_by_equal_ends),
    "braces take steps without end": Planted("globs", _steps_without_end),
    "a name may stand twice": Planted("json", _names_twice),
    "a lease of no minutes divides by zero": Planted("body", _lease_of_no_minutes),
    "a flag is no word": Planted("requests", _flags_as_words),
    "a cursor may be of any size": Planted("query", _cursors_of_any_size),
    "two slashes are redirected": Planted("head", _redirects),
}
