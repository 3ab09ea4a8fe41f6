"""Patterns as sequences of segments, which is how the index files them."""

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final

from intermute.globs import limits
from intermute.globs.automaton import Automaton
from intermute.globs.graph import compile_segment, contexts_after
from intermute.globs.pattern import Pattern, split_at_slashes, tidy
from intermute.globs.syntax import STAR, Group, Item, Items, Star, render
from intermute.globs.work import COMPILE_CHAR, EDGE, Work


class WildSegment:
    """A segment with wildcards or braces, other than `**`.

    Attributes:
        text: Its canonical text, by which equal segments are known.
        items: Its tree, for whoever compiles it.
        head: What each name it matches begins with.
        tail: What each name it matches ends with.
        run: The longest text between wildcards, which each name it matches has somewhere.
    """

    __slots__ = ("_automaton", "_len", "_only_star", "head", "items", "run", "tail", "text")

    def __init__(self, items: Items) -> None:
        self.items = items
        self.text = render(items)
        self.head = "".join(_literal_run(items))
        self.tail = "".join(_literal_run(reversed(items)))[::-1]
        self.run = _longest_run(items)
        middle = items[len(self.head) : len(items) - len(self.tail)]
        self._only_star = len(middle) == 1 and isinstance(middle[0], Star)
        # How long each name is that it matches, where that is always the same.
        loose = any(isinstance(item, Star | Group) for item in items)
        self._len = None if loose else len(items)
        self._automaton: Automaton | None = None

    def can_meet(self, head: str, tail: str) -> bool:
        """Whether its ends allow a name that begins and ends with these texts.

        When they do, there may still be none.
        """
        return (self.head.startswith(head) or head.startswith(self.head)) and (
            self.tail.endswith(tail) or tail.endswith(self.tail)
        )

    @property
    def automaton(self) -> Automaton:
        if self._automaton is None:
            self._automaton = Automaton(compile_segment(self.items))
        return self._automaton

    def matches(self, name: str, work: Work) -> bool:
        """Whether it matches a name, that is, a segment of a path.

        Raises:
            TooMuchWork: There is less left than would be needed.
        """
        work.spend(EDGE)
        if not (name.startswith(self.head) and name.endswith(self.tail)):
            return False
        if self._only_star:
            return len(name) >= len(self.head) + len(self.tail)
        if self._len is not None and len(name) != self._len:
            return False
        # No pattern begins like that, so it is not taken for one.
        work.spend_once("/" + self.text, len(self.text) * COMPILE_CHAR)
        automaton = self.automaton
        work.spend((len(name) + 1) * automaton.step_work)
        return automaton.read(automaton.start, name + "/") & automaton.accept != 0


class AnySegments(Enum):
    """`**`"""

    GLOB = "**"


GLOB: Final = AnySegments.GLOB

Segment = str | WildSegment | AnySegments


class Filing:
    """One place of a pattern in the index.

    Attributes:
        segments: The segments to follow.
        covers: Whether what lies below is matched too.
        opaque: Whether the pattern is more than its segments say, so that they only narrow it down
            and the whole pattern has to be asked.
    """

    __slots__ = ("covers", "opaque", "segments")

    def __init__(self, segments: tuple[Segment, ...], *, covers: bool, opaque: bool) -> None:
        self.segments = segments
        self.covers = covers
        self.opaque = opaque


def filings_of(pattern: Pattern) -> list[Filing]:
    """Where to file a pattern: at one place, or at one for each of its brace expansions."""
    if pattern.path is not None:
        return [Filing(tuple(pattern.path.split("/")), covers=True, opaque=False)]
    whole = _split(pattern.items)
    if whole is not None:
        return [whole]
    if pattern.automaton.certain:
        variants = _expansions(pattern.items)
        if variants is not None:
            return [_filing_of_variant(each) for each in variants]
    return [Filing(_literal_lead(pattern.items), covers=True, opaque=True)]


def _filing_of_variant(items: Items) -> Filing:
    filing = _split(tidy(items))
    assert filing is not None, "only braces keep a pattern from being split"
    return filing


def _split(items: Items) -> Filing | None:
    """The segments of a pattern, or None if its braces change them."""
    segments: list[Segment] = []
    covers = False
    for part in split_at_slashes(items):
        if not part:
            # A trailing slash: anything, then everything below it.
            segments.append(WildSegment((STAR,)))
            covers = True
        elif part == (".",):
            return None
        elif all(isinstance(item, str) for item in part):
            segments.append("".join(_literal_run(part)))
            covers = True
        elif part == (STAR, STAR):
            if not segments or segments[-1] is not GLOB:
                segments.append(GLOB)
            covers = False
        else:
            sort = _sort(part)
            if sort is None:
                return None
            segments.append(WildSegment(part))
            covers = sort == "l"
    while len(segments) > 1 and segments[-1] is GLOB:
        segments.pop()
        covers = True
    if segments == [GLOB]:
        return Filing((WildSegment((STAR,)),), covers=True, opaque=False)
    return Filing(tuple(segments), covers=covers, opaque=False)


def _sort(part: Items) -> str | None:
    """Whether all expansions of a segment are names without wildcards (`l`), or with (`w`)."""
    if not any(isinstance(item, Group) for item in part):
        return "w"
    if _has_slash(part):
        return None
    # One star alone is on its way to `**`; it ends as a wildcard, which is listed beside it.
    sorts = contexts_after(part) - {"1N"}
    return sorts.pop() if sorts in ({"l"}, {"w"}) else None


def _has_slash(items: Items) -> bool:
    return any(
        item == "/" or (isinstance(item, Group) and any(map(_has_slash, item.alternatives)))
        for item in items
    )


def _expansions(items: Items) -> list[Items] | None:
    """All brace expansions, or None if there are too many."""
    expanded: list[Items] = [()]
    for item in items:
        choices: list[Items] = []
        for each in item.alternatives if isinstance(item, Group) else ((item,),):
            inner = _expansions(each) if isinstance(item, Group) else [each]
            if inner is None:
                return None
            choices += inner
        if len(expanded) * len(choices) > limits.INDEX_VARIANTS_MAX:
            return None
        expanded = [(*before, *choice) for before in expanded for choice in choices]
    return expanded


def _literal_lead(items: Items) -> tuple[str, ...]:
    lead = "".join(_literal_run(items))
    return tuple(lead.split("/")[:-1])


def _longest_run(items: Items) -> str:
    longest = run = ""
    for item in items:
        run = run + item if isinstance(item, str) else ""
        longest = max(longest, run, key=len)
    return longest


def _literal_run(items: Iterable[Item]) -> Iterator[str]:
    for item in items:
        if not isinstance(item, str):
            return
        yield item
