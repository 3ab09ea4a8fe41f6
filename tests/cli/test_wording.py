"""What commands read and say, without a server."""

import io
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from intermute.cli import wording
from intermute.cli.options import Duration
from intermute.cli.paths import Place, escape, read_names
from intermute.globs import matches, parse

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2026-05-01T12:00:30Z", "2026-05-01T12:00:30Z (in 30 s)"),
        ("2026-05-01T12:12:00.5Z", "2026-05-01T12:12:00.5Z (in 12 min)"),
        ("2026-05-01T17:00:00Z", "2026-05-01T17:00:00Z (in 5 h)"),
        ("2026-05-01T11:59:59Z", "2026-05-01T11:59:59Z"),
        ("soon", "soon"),
        (None, "None"),
    ],
)
def test_a_time_is_shown_with_its_distance(stamp: object, expected: str):
    assert wording.until(stamp, now=NOW) == expected


def test_nothing_of_others_reaches_the_terminal_as_a_command():
    members = {
        "held_by": "\x1b[2Jeve",
        "holder": "live",
        "pattern": "a\u202eb",
        "requested": "a",
        "witness": "a\rb",
        "mode": "exclusive",
        "reason": "x\ny\x07",
        "expires_at": "\x1b]0;t\x07",
    }
    lines = list(wording.conflicts({"conflicts": [members]}))
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    assert wording.problem({"code": "c", "detail": "d\x1b"}, 400).isprintable()
    assert wording.problem({}, 502) == "the server answered 502"


def test_what_is_not_listed_is_counted():
    listed = [{"standing": "waiting"}, {"standing": "active"}]
    text = "\n".join(wording.conflicts({"conflicts": listed, "total": 12, "more": True}))
    assert "10 conflicts more" in text
    assert "the place in line would be 2" in text
    assert "there are more" in "\n".join(wording.conflicts({"conflicts": listed, "more": True}))


def test_a_long_set_of_patterns_is_cut():
    members = {"patterns": [f"f{n}" for n in range(9)]}
    assert wording.patterns(members) == "f0, f1, f2, f3, f4 and 4 more"


def test_a_reservation_that_is_over_says_so():
    (line,) = wording.reservation(
        {"id": "r", "agent_id": "a", "patterns": ["x"], "mode": "shared", "released_at": "then"}
    )
    assert "over since then" in line


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("0.5", 0.5)]
)
def test_lengths_of_time_are_read(text: str, seconds: float):
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "m", "soon", "0", "-1", "nan", "inf", "1d", "9999999h"])
def test_other_lengths_of_time_are_not(text: str):
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


@pytest.mark.parametrize("name", ["a", "[id]", "{a,b}", "*", "?", "a\\b", "]", "}", "!x", "a,b"])
def test_an_escaped_path_means_itself(name: str):
    pattern = parse(escape(f"d/{name}"))
    assert pattern.is_literal
    assert matches(pattern, f"d/{name}")


@pytest.mark.parametrize(
    ("data", "nul", "expected"),
    [
        (b"", False, []),
        (b"a\nb\n", False, ["a", "b"]),
        (b"a\r\nb", False, ["a", "b"]),
        (b" a \n", False, [" a "]),
        (b"a\nb\0c", False, ["a\nb", "c"]),
        (b"a\nb", True, ["a\nb"]),
    ],
)
def test_names_are_read(data: bytes, nul: bool, expected: list[str]):
    assert read_names(io.BytesIO(data), nul=nul) == expected


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    top = tmp_path / "top"
    here = top / "odd[1]" / "in"
    here.mkdir(parents=True)
    (top / ".git").write_text("gitdir: elsewhere\n")
    (tmp_path / "link").symlink_to(top)
    monkeypatch.chdir(here)
    return Place.find()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", r"odd\[1\]/in/a"),
        ("*.py", r"odd\[1\]/in/*.py"),
        ("**", r"odd\[1\]/in/**"),
        ("new/", r"odd\[1\]/in/new/"),
        ("../x", r"odd\[1\]/x"),
        ("../../x{a,b}", "x{a,b}"),
        ("../..", "**"),
        (".", r"odd\[1\]/in"),
        ("./", r"odd\[1\]/in/"),
        ("{top}/x?", "x?"),
        ("{top}/odd[1]/in", r"odd\[1\]/in"),
        ("{top}/", "**"),
        ("{link}/odd[1]/in", r"odd\[1\]/in"),
    ],
)
def test_arguments_are_named_from_the_top(place: Place, text: str, expected: str):
    top = Path(place.top)
    text = text.replace("{top}", str(top)).replace("{link}", str(top.parent / "link"))
    assert place.pattern(text) == expected


@pytest.mark.parametrize("text", ["../../..", "../../../x*", "/", "/etc", "/nowhere/x"])
def test_what_lies_outside_is_refused(place: Place, text: str):
    with pytest.raises(click.UsageError):
        place.pattern(text)
    with pytest.raises(click.UsageError):
        place.path(text)


def test_a_dangling_link_is_a_path(place: Place):
    Path("gone[1]").symlink_to("nothing")
    assert place.pattern("gone[1]") == r"odd\[1\]/in/gone\[1\]"
