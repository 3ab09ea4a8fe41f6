"""Which patterns meet, from everyday pairs to the corners of the language."""

import pytest

from intermute.globs import matches, overlap, parse, witness


def check(a: str, b: str, expected: bool, *, case_sensitive: bool = True) -> None:
    one = parse(a, case_sensitive=case_sensitive)
    two = parse(b, case_sensitive=case_sensitive)
    assert overlap(one, two) is expected, f"{a} and {b}"
    assert overlap(two, one) is expected, f"{b} and {a}"
    for found in (witness(one, two), witness(two, one)):
        assert (found is not None) is expected
        if found is not None:
            assert matches(one, found), f"{found} is not in {a}"
            assert matches(two, found), f"{found} is not in {b}"


EVERYDAY = [
    ("src/a.py", "src/a.py", True),
    ("src/a.py", "src/b.py", False),
    ("src/a.py", "src/a.pyi", False),
    ("src", "src/a.py", True),
    ("src", "src2/a.py", False),
    ("src/", "src/a.py", True),
    ("src/", "src", True),
    ("src/", "src/deep/er/a.py", True),
    ("src/", "lib/a.py", False),
    ("src/*", "src/a.py", True),
    ("src/*", "src/a/b.py", False),
    ("src/*", "src", True),
    ("src/*.py", "src/a.py", True),
    ("src/*.py", "src/a.md", False),
    ("src/*.py", "src/*.md", False),
    ("src/*.py", "src/test_*", True),
    ("src/*.py", "lib/*.py", False),
    ("src/*.py", "src/sub/*.py", False),
    ("src/**", "src/a.py", True),
    ("src/**", "src", True),
    ("src/**", "srcs/a.py", False),
    ("src/**", "**/src", True),
    ("src/**/*.py", "src/a.py", True),
    ("src/**/*.py", "src/x/y/z.py", True),
    ("src/**/*.py", "src/**/*.ts", False),
    ("src/**/*.py", "**/test_*", True),
    ("**/*.py", "src/*.py", True),
    ("**/*.py", "src/*.md", False),
    ("**/*.py", "**/*.md", False),
    ("**/*.py", "**", True),
    ("**", "anything", True),
    ("**", "*", True),
    ("*", "src/a.py", False),
    ("*", "src", True),
    ("*.md", "README.md", True),
    ("*.md", "docs/README.md", False),
    ("*.md", "README", False),
    ("*.md", ".md", True),
    ("docs/*.md", "docs/*/x.md", False),
    ("docs/**/x.md", "docs/x.md", True),
    ("docs/**/x.md", "docs/*.md", True),
    ("**/test", "src/test/unit/a.py", True),
    ("**/test", "test", True),
    ("**/test/**", "src/testing/*.py", False),
    ("**/migrations/*", "app/migrations/0001.py", True),
    ("**/migrations/*", "app/*/0001.py", True),
    ("**/migrations/*", "migrations/a/*", False),
    ("src/{a,b}/*.py", "src/b/x.py", True),
    ("src/{a,b}/*.py", "src/c/x.py", False),
    ("src/{a,b}/*.py", "src/[c-z]/x.py", False),
    ("src/{a,b}/*.py", "src/[b-z]/x.py", True),
    ("**/*.{ts,tsx,js,jsx,mjs,cjs,json,md}", "web/app.tsx", True),
    ("**/*.{ts,tsx,js,jsx,mjs,cjs,json,md}", "web/*.{css,scss}", False),
    ("src/{a,b,c}/**/{test,spec}_*.py", "src/b/x/y/spec_z.py", True),
    ("src/{a,b,c}/**/{test,spec}_*.py", "src/b/x/y/tests_*.py", False),
    ("src/{a,b,c}/**/{test,spec}_*.py", "src/*/*.py", True),
    ("Makefile", "{Makefile,*.mk}", True),
    ("a{,.bak}", "a", True),
    ("a{,.bak}", "a.bak", True),
    ("a{,.bak}", "a.back", False),
    (".github/workflows/*.yml", ".github/**", True),
    (".github/workflows/*.yml", "*/workflows/ci.yml", True),
    (".env*", ".env.local", True),
    (".env*", "*.local", True),
    ("*.lock", "*-lock.json", False),
    ("package.json", "**/package.json", True),
    ("packages/*/package.json", "packages/ui/**", True),
    ("packages/*/package.json", "packages/ui/src/**", False),
    ("pkg/v?/*.go", "pkg/v1/x.go", True),
    ("pkg/v?/*.go", "pkg/v10/x.go", False),
    ("log-20[0-9][0-9].txt", "log-1999.txt", False),
    ("log-20[0-9][0-9].txt", "log-20*.txt", True),
    ("[!_]*.py", "__init__.py", False),
    ("[!_]*.py", "main.py", True),
]

assert len(EVERYDAY) >= 60


@pytest.mark.parametrize(("a", "b", "expected"), EVERYDAY)
def test_everyday_pairs(a: str, b: str, expected: bool) -> None:
    check(a, b, expected)


CORNERS = [
    ("a*b*c", "a?c", True),
    ("a*b*c", "ac", False),
    ("a*b*c", "a??c", True),
    ("*a*", "*b*", True),
    ("*a", "*b", False),
    ("a*", "b*", False),
    ("?", "??", False),
    ("[a-m]", "[n-z]", False),
    ("[a-n]", "[n-z]", True),
    ("[!a]", "a", False),
    ("[!a]", "[!b]", True),
    ("[]]", "]", True),
    ("[!]]", "]", False),
    ("[a-]", "-", True),
    ("[a\\]b]", "]", True),
    ("\\*", "*", True),
    ("\\*", "a", False),
    ("\\{a,b\\}", "{a,b}", False),
    ("a,b", "a\\,b", True),
    ("{a}", "a", True),
    ("{a,{b,{c,d}}}/x", "d/x", True),
    ("{a,b/c}/d", "b/c/d", True),
    ("{a,b/c}/d", "b/d", False),
    ("{a/,}b", "b", True),
    ("{a/,}b", "a/b", True),
    ("{,src/}main.py", "main.py", True),
    ("{a,*}", "a/b", True),
    ("{a,*}", "b/c", False),
    ("{*,a}*/x", "p/q/x", True),
    ("*{a,b}*/x", "p/q/x", False),
    ("x**", "x/y", False),
    ("x**y", "xzy", True),
    ("**/**", "a", True),
    ("a/**/b", "a/b", True),
    ("a/**/b", "a/x/y/b", True),
    ("a/**/b", "**/c", True),
    ("a/**/b/*", "**/c", True),
    ("a/**/*.b", "**/*.c", False),
    ("**/", "a", True),
    ("*/", "a", True),
    ("*/", "*", False),
    ("a/", "a/b/c", True),
    ("?", ".*", False),
    ("??", ".*", True),
    ("[.]*", "?", False),
    ("[.a][.b]", ".?", True),
    ("[.][.]*", "??", False),
    ("{[.],a}/b", "?/b", True),
    ("{[.],a}/b", "[.]{,x}/b", False),
    ("\u00e9", "e\u0301", True),
    ("caf?", "cafe\u0301", True),
    ("e?", "e\u0301", False),
    ("*e?", "x\u0301e", False),
    ("Src/a", "src/a", False),
]


@pytest.mark.parametrize(("a", "b", "expected"), CORNERS)
def test_corners_of_the_language(a: str, b: str, expected: bool) -> None:
    check(a, b, expected)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("SRC/A.py", "src/a.PY", True),
        ("[A-C]", "b", True),
        ("[!a]", "A", False),
        ("stra\u00dfe", "STRASSE", True),
        ("\u00c9*", "e\u0301*", True),
        ("\u0130x", "i\u0307x", True),
        ("[\u0391-\u03a9]", "\u03c3", True),
        ("?", "\u00df", False),
    ],
)
def test_case_can_be_ignored(a: str, b: str, expected: bool) -> None:
    check(a, b, expected, case_sensitive=False)


def test_patterns_with_different_case_rules_are_not_compared() -> None:
    with pytest.raises(ValueError, match="case"):
        overlap(parse("a"), parse("a", case_sensitive=False))
    with pytest.raises(ValueError, match="case"):
        witness(parse("a*"), parse("a", case_sensitive=False))


def test_b05_glob_complexity_counts_literal_characters() -> None:
    long = "services/accounting/src/main/resources/templates/invoices/reminder_second_notice.html"
    assert len(long.replace("/", "")) > 50
    check(long, long, True)
    check(long, "services/**/*.html", True)
    check(f"{long}/**/*.x", f"{long}/a.x", True)
    deep = "/".join(f"directory{number}" for number in range(40))
    check(deep, f"{deep}/*.py", True)
    check(f"{deep}/*.md", f"{deep}/*.py", False)
    check("a" * 1024, "a" * 1024, True)


def test_b44_double_star_crosses_directories() -> None:
    check("src/**", "src/a/b/c.py", True)
    check("src/**/*.py", "src/a/b/c.py", True)
    check("src/*/c.py", "src/a/b/c.py", False)
    check("**/c.py", "src/a/b/c.py", True)


def test_b44_a_directory_covers_its_files() -> None:
    check("src", "src/a.py", True)
    check("src/sub", "src/sub/x/y.py", True)
    check("**/test", "lib/test/unit.py", True)
    check("src", "source/a.py", False)


def test_b44_spellings_of_a_path_are_one() -> None:
    check("./x", "x", True)
    check("/x", "x", True)
    check("x//y/./z", "x/y/z", True)
    check("x/.", "x/y", True)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("src/*.py", "src/**", "src/a.py"),
        ("**/*.md", "docs", "docs/a.md"),
        ("src", "src/a.py", "src/a.py"),
        ("*.py", "*.md", None),
        ("**", "**", "a"),
    ],
)
def test_witnesses_are_short_and_readable(a: str, b: str, expected: str | None) -> None:
    assert witness(parse(a), parse(b)) == expected


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("src/*.py", "./src//a.py", True),
        ("src/*.py", "src/a.py/", True),
        ("src/", "src", False),
        ("src/", "src/a", True),
        ("src", "src/a", True),
        ("src", "srca", False),
        ("**", "a/b", True),
        ("*", "a/b", False),
        ("?", "e\u0301", True),
        ("[!a]", "\u0301", False),
    ],
)
def test_a_concrete_path_is_matched(pattern: str, path: str, expected: bool) -> None:
    assert matches(parse(pattern), path) is expected


@pytest.mark.parametrize("path", ["", "/", "a/../b", "..", "a\0b", "\ud800", "a\nb"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"path|tree|surrogate"):
        matches(parse("**"), path)
