"""The exact decision between two patterns, with shortcuts where text alone decides."""

from intermute.globs.alphabet import AnyChar, CharSet
from intermute.globs.pattern import Pattern, normal_path
from intermute.globs.product import Product
from intermute.globs.syntax import Items, Star


def overlap(a: Pattern, b: Pattern) -> bool:
    """Whether some path is matched by both. Exact for every pair of patterns.

    Raises:
        ValueError: One ignores case and the other does not.
    """
    _same_case_rule(a, b)
    if a.path is not None:
        return _literals_meet(a.path, b.path) if b.path is not None else _reaches(a.path, b)
    if b.path is not None:
        return _reaches(b.path, a)
    if a.normalised == b.normalised:
        return True
    if _heads_differ(a.items, b.items) or _tails_differ(a.items, b.items):
        return False
    walk, other = _cheaper_walk(a, b)
    states = walk.run(other.automaton.start, decide_only=True)
    return states & other.automaton.accept != 0


def witness(a: Pattern, b: Pattern) -> str | None:
    """A normalised path that both patterns match, or None if there is none.

    With case ignored, the path is folded.

    Raises:
        ValueError: One ignores case and the other does not.
    """
    _same_case_rule(a, b)
    if a.path is not None and b.path is not None:
        return max(a.path, b.path, key=len) if _literals_meet(a.path, b.path) else None
    path = _common_path(a, b)
    # Either walk finds a path; the other one may find one that does not begin with a dot.
    return _common_path(b, a) if path is not None and "/." in "/" + path else path


def matches(pattern: Pattern, path: str) -> bool:
    """Whether the pattern matches a concrete path, given in any spelling of it.

    Raises:
        BadPattern: `path` is empty, has a `..` segment or a control character.
    """
    path = normal_path(path, case_sensitive=pattern.case_sensitive)
    if pattern.path is not None:
        return path == pattern.path or path.startswith(pattern.path + "/")
    automaton = pattern.automaton
    return automaton.read(automaton.start, path + "/") & automaton.accept != 0


def covers(whole: Pattern, part: Pattern) -> bool:
    """Whether every path that `part` matches is certain to be matched by `whole`.

    True is exact: it is said when the two mean the same text, or when `whole` matches everything
    from the directory on in which all matches of `part` lie. For a `part` without wildcards false
    is exact, too; with wildcards it may only mean that looking at its beginning does not tell.

    Raises:
        ValueError: One ignores case and the other does not.
    """
    _same_case_rule(whole, part)
    if whole.normalised == part.normalised:
        return True
    head = _head(part.items) if part.path is None else part.path + "/"
    if whole.path is not None:
        return head.startswith(whole.path + "/")
    automaton = whole.automaton
    states = automaton.read(automaton.start, head)
    return states & automaton.accept != 0 and states & automaton.everything != 0


def _same_case_rule(a: Pattern, b: Pattern) -> None:
    if a.case_sensitive != b.case_sensitive:
        raise ValueError("patterns with different case rules cannot be compared")


def _literals_meet(one: str, two: str) -> bool:
    return one == two or one.startswith(two + "/") or two.startswith(one + "/")


def _reaches(path: str, pattern: Pattern) -> bool:
    """Whether the pattern matches the path or something below it."""
    whole = path + "/"
    head = _head(pattern.items)
    if head.startswith(whole):
        return True
    if not whole.startswith(head):
        return False
    automaton = pattern.automaton
    return automaton.can_accept(automaton.read(automaton.start, whole))


def _head(items: Items) -> str:
    """What each match begins with, when a `/` is put at its end."""
    head = []
    for item in items:
        if not isinstance(item, str):
            break
        head.append(item)
    return settled("".join(head))


def settled(head: str) -> str:
    """What of a beginning stays: a brace behind it may make a last segment of dots a lone one,
    which vanishes."""
    start = head.rfind("/") + 1
    return head[:start] if head[start:].strip(".") == "" else head


def _heads_differ(a: Items, b: Items) -> bool:
    one, two = _head(a), _head(b)
    return not (one.startswith(two) or two.startswith(one))


def _tail(items: Items) -> str:
    """What each match ends with, so far as the text after the last wildcard tells."""
    tail: list[str] = []
    for item in reversed(items):
        if isinstance(item, Star | AnyChar | CharSet):
            return "".join(reversed(tail))
        if not isinstance(item, str) or item == "/":
            break
        tail.append(item)
    return ""


def _tails_differ(a: Items, b: Items) -> bool:
    one, two = _tail(a), _tail(b)
    return not (one.endswith(two) or two.endswith(one))


def _common_path(walker: Pattern, other: Pattern) -> str | None:
    automaton = other.automaton
    walk = Product(walker.automaton.graph, automaton)
    return walk.path() if walk.run(automaton.start) & automaton.accept else None


def _cheaper_walk(a: Pattern, b: Pattern) -> tuple[Product, Pattern]:
    """A product of the two, and the pattern which is not walked in it."""
    walk_a = len(a.automaton.graph.kinds) * b.automaton.step_cost
    walk_b = len(b.automaton.graph.kinds) * a.automaton.step_cost
    walker, other = (a, b) if walk_a <= walk_b else (b, a)
    return Product(walker.automaton.graph, other.automaton), other
