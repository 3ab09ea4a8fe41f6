"""From a pattern's text to a tree, and back to text in one canonical form.

A pattern is a sequence of items. Braces stand for their textual expansions: `{a/,}**` means the
same as the two patterns `a/**` and `**`, even though nothing here ever writes the expansions out.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NoReturn

from intermute.globs import limits
from intermute.globs.alphabet import ANY, AnyChar, CharSet, fold, fold_ranges, is_mark


class BadPattern(ValueError):
    """A text that is no pattern, or no path.

    Attributes:
        pattern: The text as it was given.
        reason: One sentence for a person, saying what is wrong and what to write instead.
        position: Offset of the offending character in `pattern`, in characters from 0; None
            where the fault is not at one place.
    """

    def __init__(self, pattern: str, reason: str, position: int | None = None) -> None:
        where = "" if position is None else f" (at character {position})"
        super().__init__(reason + where)
        self.pattern = pattern
        self.reason = reason
        self.position = position


class Star:
    """One `*` as written. Two of them alone in a segment are a `**`."""

    __slots__ = ()


class Group:
    """A brace group with two alternatives or more."""

    __slots__ = ("alternatives",)

    def __init__(self, alternatives: "tuple[Items, ...]") -> None:
        self.alternatives = alternatives


Item = str | AnyChar | CharSet | Star | Group
Items = tuple[Item, ...]

STAR: Final = Star()

_SPECIAL = frozenset("*?[{}\\")
_SPECIAL_IN_GROUP = _SPECIAL | {","}
_PLAIN_RUN = re.compile(r"[^*?\[{,}\\]+")
_UNBALANCED = "this `}` closes no brace; write `\\}` for the character itself"


def read(text: str, *, folded: bool) -> Items:
    """Read a pattern already in NFC, of any length.

    Raises:
        BadPattern: With `position` counted in `text`.
    """
    items = _Reader(text, folded=folded).read()
    return _fold_items(items) if folded else items


def render(items: Iterable[Item], *, in_group: bool = False) -> str:
    """The canonical text of items, which reads back as the same items."""
    special = _SPECIAL_IN_GROUP if in_group else _SPECIAL
    parts = []
    for item in items:
        if isinstance(item, str):
            parts.append("\\" + item if item in special else item)
        elif isinstance(item, Star):
            parts.append("*")
        elif isinstance(item, AnyChar):
            parts.append("?")
        elif isinstance(item, CharSet):
            parts.append(_render_class(item))
        else:
            inner = ",".join(render(each, in_group=True) for each in item.alternatives)
            parts.append("{" + inner + "}")
    return "".join(parts)


def classes_of(items: Iterable[Item]) -> set[CharSet]:
    found = set()
    for item in items:
        if isinstance(item, CharSet):
            found.add(item)
        elif isinstance(item, Group):
            for each in item.alternatives:
                found |= classes_of(each)
    return found


class _Frame:
    """One open brace: where it stands, the alternatives read so far, and the current one."""

    __slots__ = ("alternatives", "items", "opened_at")

    def __init__(self, opened_at: int) -> None:
        self.opened_at = opened_at
        self.alternatives: list[Items] = []
        self.items: list[Item] = []


class _Reader:
    def __init__(self, text: str, *, folded: bool) -> None:
        self.text = text
        self.folded = folded
        self.at = 0
        self.frames = [_Frame(0)]
        self.groups = 0
        self.commas = 0

    def read(self) -> Items:
        readers = {
            "*": self._star,
            "?": self._any,
            "[": self._class,
            "{": self._open,
            ",": self._comma,
            "}": self._close,
            "\\": self._escape,
        }
        while self.at < len(self.text):
            plain = _PLAIN_RUN.match(self.text, self.at)
            if plain is None:
                readers[self.text[self.at]]()
            else:
                self.frames[-1].items.extend(plain.group())
                self.at = plain.end()
        if len(self.frames) > 1:
            self._fail("this `{` is never closed; write `\\{` for it", self.frames[-1].opened_at)
        return tuple(self.frames[0].items)

    def _fail(self, reason: str, position: int) -> NoReturn:
        raise BadPattern(self.text, reason, position)

    def _pass_special(self) -> None:
        self.at += 1
        self._refuse_mark()

    def _refuse_mark(self) -> None:
        if self.at < len(self.text) and is_mark(self.text[self.at]):
            reason = "a combining mark has to follow its letter, not a special character"
            self._fail(reason, self.at)

    def _star(self) -> None:
        self.frames[-1].items.append(STAR)
        self._pass_special()

    def _any(self) -> None:
        self.frames[-1].items.append(ANY)
        self._pass_special()

    def _escape(self) -> None:
        if self.at + 1 == len(self.text):
            self._fail("a trailing `\\` escapes nothing; write `\\\\` for one", self.at)
        self.at += 1
        self._refuse_mark()
        self.frames[-1].items.append(self.text[self.at])
        self.at += 1

    def _open(self) -> None:
        if len(self.frames) > limits.BRACE_DEPTH_MAX:
            self._fail(f"braces nest at most {limits.BRACE_DEPTH_MAX} deep", self.at)
        self.groups += 1
        if self.groups > limits.BRACE_GROUPS_MAX:
            reason = f"at most {limits.BRACE_GROUPS_MAX} brace groups; send several patterns"
            self._fail(reason, self.at)
        self.frames.append(_Frame(self.at))
        self._pass_special()

    def _comma(self) -> None:
        frame = self.frames[-1]
        if len(self.frames) == 1:
            frame.items.append(",")
            self.at += 1
            return
        self.commas += 1
        if self.groups + self.commas > limits.BRACE_ALTERNATIVES_MAX:
            many = limits.BRACE_ALTERNATIVES_MAX
            self._fail(f"at most {many} alternatives; send several patterns", self.at)
        frame.alternatives.append(tuple(frame.items))
        frame.items = []
        self._pass_special()

    def _close(self) -> None:
        if len(self.frames) == 1:
            self._fail(_UNBALANCED, self.at)
        frame = self.frames.pop()
        frame.alternatives.append(tuple(frame.items))
        outer = self.frames[-1].items
        if len(frame.alternatives) == 1:
            outer.extend(frame.items)
        else:
            outer.append(Group(tuple(frame.alternatives)))
        self._pass_special()

    def _class(self) -> None:
        opened_at = self.at
        self.at += 1
        negated = self.text[self.at : self.at + 1] in ("!", "^")
        self.at += negated
        first = self.at
        ranges: list[tuple[int, int]] = []
        while True:
            char = self.text[self.at : self.at + 1]
            if not char:
                self._fail("this `[` is never closed; write `\\[` for it", opened_at)
            if char == "]" and self.at > first:
                break
            ranges.append(self._range(opened_at))
        self._pass_special()
        listed = CharSet(fold_ranges(ranges) if self.folded else ranges, folded=self.folded)
        chars = listed.negated() if negated else listed
        if chars.example() is None:
            self._fail("this class matches no character that a path can hold", opened_at)
        self.frames[-1].items.append(chars)

    def _range(self, opened_at: int) -> tuple[int, int]:
        start = self.at
        low = self._class_char(opened_at)
        rest = self.text[self.at : self.at + 2]
        if len(rest) < 2 or rest[0] != "-" or rest[1] == "]":
            return low, low
        self.at += 1
        high = self._class_char(opened_at)
        if low > high:
            self._fail("this range runs backwards; its smaller end comes first", start)
        return low, high

    def _class_char(self, opened_at: int) -> int:
        char = self.text[self.at]
        if char == "\\":
            self.at += 1
            if self.at == len(self.text):
                self._fail("this `[` is never closed; write `\\[` for it", opened_at)
            char = self.text[self.at]
        if is_mark(char):
            self._fail("a class holds whole letters, not combining marks", self.at)
        self.at += 1
        return ord(char)


def _fold_items(items: Sequence[Item]) -> Items:
    """Fold the literal runs; a run is folded whole, because folding can compose characters."""
    folded: list[Item] = []
    run: list[str] = []
    for item in items:
        if isinstance(item, str):
            run.append(item)
            continue
        folded += fold("".join(run))
        run = []
        if isinstance(item, Group):
            item = Group(tuple(_fold_items(each) for each in item.alternatives))
        folded.append(item)
    folded += fold("".join(run))
    return tuple(folded)


def _render_class(chars: CharSet) -> str:
    # Control characters are refused in a pattern's text, so only a complement can hold the first.
    negated = chars.ranges[0][0] == 0
    listed = chars.negated() if negated else chars
    parts = []
    for low, high in listed.ranges:
        parts.append(_class_char_text(low))
        if high > low:
            parts.append("-" + _class_char_text(high))
    return "[" + ("!" if negated else "") + "".join(parts) + "]"


def _class_char_text(code: int) -> str:
    char = chr(code)
    return "\\" + char if char in "]\\-!^" else char
