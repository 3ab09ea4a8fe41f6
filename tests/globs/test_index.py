"""The index: what it finds, and how little it looks at."""

import itertools

import pytest

from intermute.globs import BadPattern, PatternIndex, parse
from intermute.globs.automaton import Automaton, Masks
from intermute.globs.product import Product


def check(filed: list[str], asked: str, expected: list[str]) -> None:
    index: PatternIndex[str] = PatternIndex()
    for text in filed:
        index.add(text, parse(text))
    assert sorted(index.overlapping(parse(asked))) == sorted(expected)
    for text in filed:
        index.remove(text)
    assert list(index.overlapping(parse("**"))) == []


@pytest.mark.parametrize(
    ("filed", "asked", "expected"),
    [
        ([], "a", []),
        (["a", "b"], "a", ["a"]),
        (["a", "a/b", "a/b/c"], "a/b", ["a", "a/b", "a/b/c"]),
        (["a/b", "ab"], "a", ["a/b"]),
        (["*.py", "*.md", "**/*.py"], "x.py", ["**/*.py", "*.py"]),
        (["*.py"], "x.py/y", []),
        (["**/x"], "x/x/x", ["**/x"]),
        (["a/**"], "a", ["a/**"]),
        (["**"], "a/b", ["**"]),
        (["a/"], "a", ["a/"]),
        (["a/{b,c/d}/e"], "a/c/d/e", ["a/{b,c/d}/e"]),
        (["a/{b,c/d}/e"], "a", ["a/{b,c/d}/e"]),
        (["a/{b,c/d}/e"], "a/c/e", []),
        (["a/" + "{b,c/d}" * 5], "a/bbbbb", ["a/" + "{b,c/d}" * 5]),
        (["a/" + "{b,c/d}" * 5], "a/x", []),
        (["a/{b,c}/.", "{[.],a}/{b,c/d}"], "a/b", ["a/{b,c}/.", "{[.],a}/{b,c/d}"]),
        (["a/b", "a/c.py", "b"], "a/*.py", ["a/c.py"]),
        (["a/b", "a/c", "b"], "a/{b,d}", ["a/b"]),
        (["a/b", "b/c", "c"], "*/b", ["a/b", "c"]),
        (["a/x", "b/y"], "**", ["a/x", "b/y"]),
        (["a/*.py", "a/*.md", "a/b*"], "a/*.py", ["a/*.py", "a/b*"]),
        (["a/**/x", "b/**"], "a/*/x", ["a/**/x"]),
        (["{a,b}/*"], "{b,c}/x", ["{a,b}/*"]),
        (["?a/*", "*/*"], "?{a,b}/.", []),
        (["?a/*", "?a", "*/"], "*{a/,}.", ["?a"]),
        (["?a/*/c/*", "?a/c"], "?{a/,b}./c/*", ["?a/c"]),
        (["?a/.", "?a/*x", "?a/.*"], "?{a,b}/{.,.x}", ["?a/.", "?a/*x", "?a/.*"]),
        ([f"*{n}.py" for n in range(20)], "x7.py", ["*7.py"]),
        ([f"x{n}*" for n in range(20)], "x17", ["x1*", "x17*"]),
        ([f"[!a]{n}?*" for n in range(20)], "x17z", ["[!a]1?*", "[!a]17?*"]),
        ([f"?{n}?" for n in range(20)], "x17", ["?1?"]),
    ],
)
def test_searches(filed: list[str], asked: str, expected: list[str]) -> None:
    check(filed, asked, expected)


def test_keys_are_the_callers_and_each_is_found_once() -> None:
    index: PatternIndex[tuple[str, int]] = PatternIndex()
    index.add(("r1", 0), parse("src"))
    index.add(("r1", 1), parse("src"))
    index.add(("r2", 0), parse("{src,src/a,lib/x}/{,y/}z"))
    assert len(index) == 3
    assert ("r1", 1) in index
    assert ("r1", 2) not in index
    found = list(index.overlapping(parse("**")))
    assert sorted(found) == [("r1", 0), ("r1", 1), ("r2", 0)]
    index.remove(("r1", 0))
    assert list(index.overlapping(parse("src/q"))) == [("r1", 1)]


def test_misuse_is_loud_and_changes_nothing() -> None:
    index: PatternIndex[str] = PatternIndex()
    index.add("k", parse("a"))
    with pytest.raises(ValueError, match="in use"):
        index.add("k", parse("b"))
    with pytest.raises(KeyError):
        index.remove("other")
    with pytest.raises(ValueError, match="case"):
        index.add("l", parse("a", case_sensitive=False))
    with pytest.raises(ValueError, match="case"):
        index.overlapping(parse("a", case_sensitive=False))
    assert len(index) == 1


def test_case_can_be_ignored() -> None:
    index: PatternIndex[str] = PatternIndex(case_sensitive=False)
    index.add("k", parse("SRC/*.Py", case_sensitive=False))
    assert list(index.overlapping(parse("src/A.py", case_sensitive=False))) == ["k"]


def test_a_search_does_not_look_at_unrelated_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0
    step = Automaton.step

    def counting_step(self: Automaton, states: int, masks: Masks) -> int:
        nonlocal steps
        steps += 1
        return step(self, states, masks)

    monkeypatch.setattr(Automaton, "step", counting_step)

    def steps_among(packages: int, asked: str) -> int:
        nonlocal steps
        index: PatternIndex[str] = PatternIndex()
        for package, file in itertools.product(range(packages), range(5)):
            for text in (f"pkg{package}/src/f{file}.py", f"pkg{package}/src/*_{file}.py"):
                index.add(text, parse(text))
        pattern = parse(asked)
        assert pattern.automaton
        steps = 0
        assert len(list(index.overlapping(pattern))) > 0
        return steps

    for asked in ("pkg1/src/f1.py", "pkg1/**", "pkg1/src/*.py", "pkg1/{src,lib}/f1.py"):
        assert steps_among(2, asked) == steps_among(200, asked)


def test_the_first_result_does_not_wait_for_the_others() -> None:
    index: PatternIndex[int] = PatternIndex()
    for number in range(1000):
        index.add(number, parse(f"pkg/file{number}.py"))
    found = index.overlapping(parse("pkg/*.py"))
    assert next(found) == 0
    assert list(itertools.islice(found, 3)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("filed", "asked"),
    [
        ("src/*_{}.py", "src/*_{}.py"),
        ("src/f{}_*", "src/f{}_*"),
        ("*{}/x", "*{}/x"),
        ("*{}/*{}", "*{}/*{}"),
        ("**/*_{}.py", "**/*_{}.py"),
        ("lib/**/f{}_*", "**/f{}_*"),
        ("src/m{}_x/*.py", "**/m{}_x/*.py"),
    ],
)
def test_patterns_alike_are_told_apart_by_their_ends(
    filed: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands that differ in a number only: none is walked through to say that it differs."""
    products = 0
    run, read = Product.run, Automaton.read

    def counting_run(self: Product, states: int, **options: bool) -> int:
        nonlocal products
        products += 1
        return run(self, states, **options)

    def counting_read(self: Automaton, states: int, text: str) -> int:
        nonlocal products
        products += 1
        return read(self, states, text)

    index: PatternIndex[int] = PatternIndex()
    for number in range(1000):
        index.add(number, parse(filed.replace("{}", f"{number:04}")))
    monkeypatch.setattr(Product, "run", counting_run)
    monkeypatch.setattr(Automaton, "read", counting_read)
    for number in range(995, 1005):
        pattern = parse(asked.replace("{}", f"{number:04}"))
        assert pattern.automaton
        products = 0
        assert list(index.overlapping(pattern)) == ([number] if number < 1000 else [])
        assert products <= 8, products


def test_a_segment_that_no_name_fits_cannot_be_filed() -> None:
    """The index relies on it: whatever is filed can be passed by `**`."""
    for text in ("[.]/x", "[.][.]", "a/[.]/x", "{[.],[.][.]}/x"):
        with pytest.raises(BadPattern):
            parse(text)
    check(["[.-a]/x", "{[.],a}/x"], "**/x", ["[.-a]/x", "{[.],a}/x"])
