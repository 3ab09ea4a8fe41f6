"""Patterns: made from text by `parse`, compiled when somebody first needs it."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from intermute.globs import limits
from intermute.globs.alphabet import AnyChar, CharSet, fold, is_mark, nfc
from intermute.globs.automaton import Automaton
from intermute.globs.graph import PARENT, compile_pattern
from intermute.globs.product import Product
from intermute.globs.syntax import BadPattern, Group, Items, Star, classes_of, read, render

# Paths and patterns that are their own normal form: most of them, so the test has to be cheap.
_PLAIN: Final = re.compile(
    r"(?!\.{1,2}(?:/|\Z))[^*?\[{}\\/\x00-\x1f\x7f-\U0010ffff]+"
    r"(?:/(?!\.{1,2}(?:/|\Z))[^*?\[{}\\/\x00-\x1f\x7f-\U0010ffff]+)*"
)
_REFUSED_CHAR: Final = re.compile(r"[\x00-\x1f\ud800-\udfff]")
_PARENT: Final = re.compile(r"(?:\A|/)(\.\.)(?:/|\Z)")


class Pattern:
    """One pattern of the language, immutable; two are equal if their text and case rule are.

    Attributes:
        text: The pattern as it was given.
        normalised: Its canonical text: NFC, no leading `./` or `/`, no empty or `.` segments,
            folded if case is ignored. It reads back as a pattern of the same meaning, and is its
            own normal form.
        case_sensitive: Whether case counts.
    """

    __slots__ = ("_automaton", "_items", "case_sensitive", "normalised", "path", "text")

    text: str
    normalised: str
    case_sensitive: bool
    # The one path a literal pattern names, unescaped; None for the others.
    path: str | None
    _items: Items | None
    _automaton: Automaton | None

    def __init__(
        self,
        text: str,
        *,
        normalised: str,
        path: str | None,
        items: Items | None,
        case_sensitive: bool,
    ) -> None:
        put = object.__setattr__
        put(self, "text", text)
        put(self, "normalised", normalised)
        put(self, "path", path)
        put(self, "_items", items)
        put(self, "case_sensitive", case_sensitive)
        put(self, "_automaton", None)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Pattern does not change; {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Pattern does not change; {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Pattern)
            and self.text == other.text
            and self.case_sensitive == other.case_sensitive
        )

    def __hash__(self) -> int:
        return hash((self.text, self.case_sensitive))

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    @property
    def is_literal(self) -> bool:
        """Whether it names one path (and with it, what lies below): no wildcard, class, brace or
        trailing slash."""
        return self.path is not None

    @property
    def items(self) -> Items:
        return tuple(self.path or "") if self._items is None else self._items

    @property
    def automaton(self) -> Automaton:
        """The compiled pattern; kept, unless the pattern is literal and cheap to compile again."""
        if self._automaton is not None:
            return self._automaton
        automaton = Automaton(compile_pattern(self.items))
        if self.path is None:
            object.__setattr__(self, "_automaton", automaton)
        return automaton


def parse(text: str, *, case_sensitive: bool = True) -> Pattern:
    """Read a pattern.

    Paths are relative, with `/` between segments; leading `./` and `/`, doubled slashes and `/./`
    make no difference. Text is compared in NFC, and by full case folding if `case_sensitive` is
    false.

    - `*` and `?` stay inside a segment and match a leading dot too; `?` is one code point.
    - `[a-z]`, `[!a]` and `[^a]` are classes; a `]` that comes first is literal. A class never
      matches a `/` or a combining mark.
    - `{a,b}` stands for the patterns with each alternative put in its place. It nests,
      alternatives may be empty or hold slashes, `{a}` is the same as `a`.
    - `**` alone in a segment is any number of segments, none included; elsewhere it is `*`.
    - `\\` takes the meaning from the next character.
    - A last segment without wildcards covers everything below, too: `src` matches `src/a.py`. A
      trailing slash means what is strictly below: `src/` matches `src/a.py` but not `src`. After
      braces are put in place, this holds for each of the patterns.

    Raises:
        BadPattern: With the reason and, where there is one, the place.
    """
    if _PLAIN.fullmatch(text) and len(text) <= limits.PATTERN_LEN_MAX:
        same = text if case_sensitive else text.lower()
        return Pattern(text, normalised=same, path=same, items=None, case_sensitive=case_sensitive)
    _refuse_text(text)
    composed = nfc(text)
    try:
        items = tidy(read(composed, folded=not case_sensitive))
        if len(composed) > limits.SHORT_LEN_MAX:
            _refuse_shape(items)
    except BadPattern as bad:
        position = bad.position
        if bad.reason == PARENT:
            position = _parent_position(text)
        elif position is not None and composed != text:
            position = _position_before_nfc(text, position)
        raise BadPattern(text, bad.reason, position) from None
    path = "".join(_literal_chars(items)) if _is_literal(items) else None
    pattern = Pattern(
        text,
        normalised=render(items),
        path=path,
        items=None if path is not None else items,
        case_sensitive=case_sensitive,
    )
    _refuse_meaning(pattern)
    return pattern


def normal_path(path: str, *, case_sensitive: bool = True) -> str:
    """A concrete path in the form that patterns are compared with.

    Raises:
        BadPattern: The text is no path inside the tree; its reason says why.
    """
    if not _PLAIN.fullmatch(path):
        _refuse_chars(path)
        segments = [each for each in nfc(path).split("/") if each not in ("", ".")]
        if not segments:
            raise BadPattern(path, "it names no path")
        if ".." in segments:
            raise BadPattern(path, PARENT, _parent_position(path))
        path = "/".join(segments)
    return path if case_sensitive else fold(path)


def tidy(items: Items) -> Items:
    """Leave out the segments that mean nothing, where no brace has a say in it.

    Raises:
        BadPattern: Nothing is left, or a segment is `..`.
    """
    segments = list(split_at_slashes(items))
    below = len(segments) > 1 and segments[-1] == ()
    # With a brace before it the last dot stays: `{a,b/}/.` is `a` and `b`, but `{a,b/}` is not.
    keep_dot = len(segments) > 1 and any(isinstance(each, Group) for each in segments[-2])
    kept = []
    for at, segment in enumerate(segments):
        if segment == (".", "."):
            raise BadPattern("", PARENT)
        last = at == len(segments) - 1
        if segment and (segment != (".",) or (last and keep_dot)):
            kept.append(segment)
    if not kept:
        raise BadPattern("", "it names no path; write `**` for everything")
    if below:
        kept.append(())
    tidied = list(kept[0])
    for segment in kept[1:]:
        tidied += ("/", *segment)
    return tuple(tidied)


def split_at_slashes(items: Items) -> Iterator[Items]:
    """The items between slashes that stand outside braces; an empty one at each end included."""
    start = 0
    for at, item in enumerate(items):
        if item == "/":
            yield items[start:at]
            start = at + 1
    yield items[start:]


def _is_literal(items: Items) -> bool:
    return items[-1] != "/" and all(isinstance(item, str) for item in items)


def _literal_chars(items: Items) -> Iterator[str]:
    return (item for item in items if isinstance(item, str))


def _refuse_chars(text: str) -> None:
    refused = _REFUSED_CHAR.search(text)
    if refused is None:
        return
    if refused.group() == "\0":
        reason = "a path cannot hold the NUL character"
    elif refused.group() < " ":
        reason = "control characters are not allowed in paths"
    else:
        reason = "half of a surrogate pair is not a character"
    raise BadPattern(text, reason, refused.start())


def _refuse_text(text: str) -> None:
    _refuse_chars(text)
    if not text:
        raise BadPattern(text, "the pattern is empty; write `**` for everything")
    if len(text) > limits.PATTERN_LEN_MAX:
        reason = f"a pattern has at most {limits.PATTERN_LEN_MAX:,} characters"
        raise BadPattern(text, reason, limits.PATTERN_LEN_MAX)


def _parent_position(text: str) -> int | None:
    parent = _PARENT.search(text)
    return None if parent is None else parent.start(1)


def _refuse_shape(items: Items) -> None:
    if _length(items) > limits.PATTERN_LEN_MAX:
        reason = f"it has more than {limits.PATTERN_LEN_MAX:,} characters once it is normalised"
        raise BadPattern("", reason)
    if all(isinstance(item, str) for item in items):
        return
    if _wildcards(items) > limits.WILDCARDS_MAX:
        raise BadPattern("", f"at most {limits.WILDCARDS_MAX} wildcards; send several patterns")
    if sum(1 for _ in _slashes(items)) >= limits.WILD_SEGMENTS_MAX:
        many = limits.WILD_SEGMENTS_MAX
        raise BadPattern("", f"with wildcards, a pattern has at most {many} segments")
    if len(classes_of(items)) > limits.CLASSES_MAX:
        raise BadPattern("", f"at most {limits.CLASSES_MAX} different classes")


def _refuse_meaning(pattern: Pattern) -> None:
    """Refuse what only the compiled pattern shows; most patterns need not be compiled for it."""
    items = pattern.items
    long = pattern.path is None and len(pattern.normalised) > limits.LAZY_LEN_MAX
    classes = classes_of(items) if "[" in pattern.normalised else set()
    only_dot = any("." in each and each.without_dot().example() is None for each in classes)
    groups = [item for item in items if isinstance(item, Group)]
    harmless = len(groups) <= limits.LAZY_GROUPS_MAX and all(map(_is_harmless, groups))
    if harmless and not long and not only_dot:
        return
    try:
        automaton = pattern.automaton
    except BadPattern as bad:
        raise BadPattern(pattern.text, bad.reason) from None
    if only_dot:
        everything = parse("**").automaton
        if not Product(automaton.graph, everything).run(everything.start) & everything.accept:
            raise BadPattern(pattern.text, "no path can match it, as no segment is `.` or `..`")


def _is_harmless(group: Group) -> bool:
    """Whether it holds parts of names only, which can neither vanish nor be `..`."""
    return all(
        each and all(isinstance(char, str) and char not in "/." for char in each)
        for each in group.alternatives
    )


def _length(items: Items) -> int:
    return sum(
        sum(map(_length, item.alternatives)) + 1 if isinstance(item, Group) else 1 for item in items
    )


def _wildcards(items: Items) -> int:
    count = 0
    for item in items:
        if isinstance(item, Group):
            count += sum(map(_wildcards, item.alternatives))
        elif isinstance(item, Star | AnyChar | CharSet):
            count += 1
    return count


def _slashes(items: Items) -> Iterator[str]:
    for item in items:
        if isinstance(item, Group):
            for each in item.alternatives:
                yield from _slashes(each)
        elif item == "/":
            yield "/"


def _position_before_nfc(text: str, position: int) -> int:
    """Where a character of the composed text comes from. Composition never crosses a cluster."""
    composed = 0
    for start, end in _clusters(text):
        composed += len(nfc(text[start:end]))
        if composed > position:
            return start
    return len(text)


def _clusters(text: str) -> Iterable[tuple[int, int]]:
    starts = [at for at, char in enumerate(text) if at == 0 or not is_mark(char)]
    return zip(starts, [*starts[1:], len(text)], strict=True)
