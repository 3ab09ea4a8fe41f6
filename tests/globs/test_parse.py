"""What is a pattern, what its normal form is, and how a text that is none is refused."""

import pytest

from intermute.globs import BadPattern, Pattern, matches, parse


def check(text: str, normalised: str, *, literal: bool, case_sensitive: bool = True) -> None:
    pattern = parse(text, case_sensitive=case_sensitive)
    assert pattern.text == text
    assert pattern.normalised == normalised
    assert pattern.is_literal is literal
    again = parse(normalised, case_sensitive=case_sensitive)
    assert again.normalised == normalised
    assert again.is_literal is literal


@pytest.mark.parametrize(
    ("text", "normalised", "literal"),
    [
        ("src/a.py", "src/a.py", True),
        ("./src//a.py", "src/a.py", True),
        ("/src/./a.py", "src/a.py", True),
        ("src/.", "src", True),
        ("src/", "src/", False),
        ("src//", "src/", False),
        ("src/./", "src/", False),
        (".github/x", ".github/x", True),
        ("...", "...", True),
        ("a]b,c!-^", "a]b,c!-^", True),
        ("a\\b", "ab", True),
        ("a\\*b", "a\\*b", True),
        ("a\\/b", "a/b", True),
        ("{a}", "a", True),
        ("{}a", "a", True),
        ("e\u0301", "\u00e9", True),
        ("./*.py", "*.py", False),
        ("a//**/./b", "a/**/b", False),
        ("[b-ca]", "[a-c]", False),
        ("[^a]", "[!a]", False),
        ("[]a-]", "[\\-\\]a]", False),
        ("[a/b]", "[/a-b]", False),
        ("{a,b}/./c", "{a,b}/c", False),
        ("{a\\,b,c}", "{a\\,b,c}", False),
        ("{a,b/}/.", "{a,b/}/.", False),
    ],
)
def test_normal_forms(text: str, normalised: str, literal: bool) -> None:
    check(text, normalised, literal=literal)


@pytest.mark.parametrize(
    ("text", "normalised", "literal"),
    [
        ("Src/A.py", "src/a.py", True),
        ("STRA\u00dfE", "strasse", True),
        ("[A-C]*", "[A-Ca-c]*", False),
        ("{A,B}\u00c9", "{a,b}\u00e9", False),
    ],
)
def test_normal_forms_without_case(text: str, normalised: str, literal: bool) -> None:
    check(text, normalised, literal=literal, case_sensitive=False)


@pytest.mark.parametrize(
    ("text", "position", "word"),
    [
        ("", None, "empty"),
        ("/", None, "names no path"),
        (".", None, "names no path"),
        ("./", None, "`**`"),
        ("{,}", None, "alternatives names no path"),
        ("{a,}", None, "alternatives names no path"),
        ("{.,b}", None, "alternatives names no path"),
        ("..", 0, "out of the tree"),
        ("a/../b", 2, "out of the tree"),
        ("a/b/..", 4, "out of the tree"),
        ("a/\\.\\.", None, "out of the tree"),
        ("a/{.,b}.", None, "alternatives has a `..`"),
        ("a/.{.,b}/c", None, "alternatives has a `..`"),
        ("{a,../b}", None, "alternatives has a `..`"),
        ("a\0b", 1, "NUL"),
        ("a\nb", 1, "control"),
        ("a\ud800", 1, "surrogate"),
        ("[a", 0, "never closed"),
        ("x[]", 1, "never closed"),
        ("x[a\\", 1, "never closed"),
        ("[z-a]", 1, "backwards"),
        ("[/]", 0, "no character"),
        ("[.]", None, "no path can match"),
        (".[.]", None, "no path can match"),
        ("a\\", 1, "escapes nothing"),
        ("a{b,c", 1, "never closed"),
        ("a{b,{c}", 1, "never closed"),
        ("a}b", 1, "closes no brace"),
        ("*\u0301", 1, "combining"),
        ("{a,\u0301}", 3, "combining"),
        ("\\\u0301", 1, "combining"),
        ("x[\u0301]", 2, "combining"),
        ("e\u0301[", 2, "never closed"),
        ("e\u0301e\u0301}", 4, "closes no brace"),
        ("a" * 1025, 1024, "1,024"),
        ("\u0958" * 600, None, "normalised"),
        ("*" * 129, None, "wildcards"),
        ("*/" * 100 + "a/" * 30, None, "segments"),
        ("{" * 9 + "a" + "}" * 9, 8, "deep"),
        ("{a,b}" * 17, 80, "groups"),
        ("{" + "a," * 128 + "a}", 256, "alternatives"),
        ("".join(f"[a{chr(0x4E00 + each)}]" for each in range(33)), None, "classes"),
        ("{**/,a/,b}" * 16 + "x", None, "combine"),
    ],
)
def test_refusals_say_what_and_where(text: str, position: int | None, word: str) -> None:
    with pytest.raises(BadPattern) as caught:
        parse(text)
    assert word in caught.value.reason
    assert caught.value.position == position
    assert caught.value.pattern == text


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1024,
        "/".join(["segment"] * 128),
        "services/" * 40 + "**/*.py",
        "**/*.{ts,tsx,js,jsx,mjs,cjs,json,md}",
        "src/{a,b,c}/**/{test,spec}_*.py",
        "[0-9a-f]" * 40,
        "{a,{b,{c,{d,e}}}}",
        "[[:alpha:]]",
        "*{a,b}" * 16,
    ],
)
def test_ordinary_and_large_patterns_are_accepted(text: str) -> None:
    assert parse(text).automaton.accept


def test_a_class_folding_to_nothing_is_refused() -> None:
    with pytest.raises(BadPattern, match="no character"):
        parse("[\u00df]", case_sensitive=False)


def test_a_pattern_does_not_change_and_compares_by_text() -> None:
    pattern = parse("src/*.py")
    with pytest.raises(AttributeError):
        pattern.text = "other"
    with pytest.raises(AttributeError):
        del pattern.text
    assert pattern == parse("src/*.py")
    assert hash(pattern) == hash(parse("src/*.py"))
    assert pattern != parse("src/*.py", case_sensitive=False)
    assert pattern != "src/*.py"
    assert repr(pattern) == "Pattern('src/*.py')"
    assert isinstance(pattern, Pattern)


def test_expansions_that_vanish_count_as_the_shorter_pattern() -> None:
    assert matches(parse("a/{.,b}/c"), "a/c")
    assert matches(parse("a/{,b}"), "a/x")
    assert not matches(parse("a/{,b}"), "a")
    assert matches(parse("a/{.,b}"), "a")
