"""The command that checks a saved history: its words, its exit codes, its pictures."""

import re
import xml.etree.ElementTree as ElementTree

import attrs
import pytest

from bench.linearizability.history import History, write
from bench.linearizability.verify import main

from .recorded import HEADER, S, check, conflict, granted, history, release, reserve

BAD = history(
    reserve("a", 0, 1, "src/**", granted("r1", 1)),
    reserve("c", 0, 1, "docs", granted("r2", 2)),
    check("c", 2, 3, "src/b.py", conflict("r1")),
    reserve("b<&>", 2, 3, "src/*.py", granted("r3", 3)),
    release("c", 8, 9, "r2"),
)
GOOD = history(*(call for call in BAD.calls if call.client != "b<&>"))


@pytest.fixture
def verify(tmp_path, capsys):
    def run(*histories, options=()):
        paths = [tmp_path / f"history-{number}.jsonl" for number, _ in enumerate(histories)]
        for path, recorded in zip(paths, histories, strict=True):
            write(path, recorded)
        code = main([*map(str, paths), *options])
        return code, capsys.readouterr()

    return run


def test_a_history_with_an_order_is_0(verify):
    code, said = verify(GOOD)
    assert code == 0
    lines = said.out.splitlines()
    assert lines[0] == f"made up, {HEADER.started_at}: 4 calls, 0 of them without an answer"
    assert re.fullmatch(
        r"search:  linearizable; 2 parts, the largest of 2 calls, \d+ configurations tried",
        lines[1],
    )
    assert lines[2:] == ["witness: no answer says where it stands in the order", "linearizable"]


def test_several_files_of_one_run_are_one_history(verify):
    one, other = History(HEADER, BAD.calls[:2]), History(HEADER, BAD.calls[2:])
    assert verify(one)[0] == 0
    assert verify(one, other)[0] == 1


def test_files_that_are_not_of_one_run_are_2_and_no_violation(verify):
    code, said = verify(GOOD, GOOD)
    assert code == 2
    assert "the files together: client 'a' began" in said.err
    assert not said.out


def test_a_violation_is_1_and_shown_small(verify):
    code, said = verify(BAD)
    assert code == 1
    assert "These 2 calls (of 3) have no order." in said.out
    assert "reserve b<&> exclusive src/*.py for 60 s -> granted r3 with token 3" in said.out
    assert "r1 of a: exclusive src/**" in said.out
    assert "r1 of a is in the way" in said.out
    assert "docs" not in said.out
    assert said.out.endswith("violation\n")


def test_what_overlaps_is_drawn_as_text(verify):
    calls = [
        reserve("ann", 0, 2, "x", granted("r1", 1)),
        reserve("b", 3, 6, "x", conflict("r7")),
        reserve("c", 5, None, "y", None),
        reserve("d", 4, 9, "x", granted("r7", 2)),
    ]
    code, said = verify(history(*calls))
    assert code == 1
    lines = said.out.splitlines()
    start = lines.index("What overlaps, from left to right, not to scale:")
    assert lines[start + 1 : -1] == [
        "    1  ann |-------|",
        " *  2  b                   |---------------|",
        "    3  d                           |---------------...",
    ]


@pytest.mark.parametrize("name", ["found.svg", "found.html"])
def test_the_picture_shows_each_client_and_what_is_stuck(verify, tmp_path, name):
    path = tmp_path / name
    code, said = verify(BAD, options=["--picture", str(path)])
    assert code == 1
    assert f"The picture is in {path}." in said.out
    drawn = path.read_text()
    start, end = drawn.index("<svg"), drawn.index("</svg>") + len("</svg>")
    root = ElementTree.fromstring(drawn[start:end])
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a", "b<&>"} <= set(texts)
    assert "c" not in texts
    classes = [element.get("class") for element in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert classes == [None, "taken", "stuck"]
    assert not re.search(r'(src|href)="?https?:', drawn), "it opens without a network"


def test_without_a_violation_there_is_no_picture(verify, tmp_path):
    path = tmp_path / "found.svg"
    code, said = verify(GOOD, options=["--picture", str(path)])
    assert code == 0
    assert "There is no counterexample" in said.out
    assert not path.exists()


def test_an_order_against_real_time_is_shown_as_a_pair(verify):
    calls = [
        attrs.evolve(reserve("a", 0, 1, "x", granted("r1", 1)), epoch=1, seq=9),
        attrs.evolve(reserve("b", 2, 3, "y", granted("r2", 2)), epoch=1, seq=8),
    ]
    code, said = verify(history(*calls))
    assert code == 1
    assert "The witness is contradicted: the first began after the second was over" in said.out
    assert "b, 2000000 .. 3000000 ns, at (1, 8): reserve b exclusive y" in said.out


def test_what_cannot_be_read_is_2(verify, tmp_path, capsys):
    assert main([str(tmp_path / "missing")]) == 2
    assert "missing" in capsys.readouterr().err
    broken = tmp_path / "broken"
    broken.write_text("{}\n")
    assert main([str(broken)]) == 2
    assert "broken:1: no header of a history" in capsys.readouterr().err
    code, said = verify(history(reserve("a", 0, 1, "[", granted("r1", 1))))
    assert code == 2
    assert "reserve of client 'a' at 0 ns: " in said.err


def written(path, history):
    write(path, history)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda whole: b"", ":1: no header of a history: the file is empty"),
        (lambda whole: whole[:-9], ":6: "),
        (lambda whole: b"\xff\x00" + whole, ":1: no header of a history"),
        (lambda whole: b"[" * 100_000, ":1: no header of a history"),
        (lambda whole: whole + b"[" * 100_000, ":7: "),
        (lambda whole: whole.replace(b'"ttl_ms":60000', b'"ttl_ms":1e308'), "`ttl_ms` is a number"),
        (lambda whole: whole.replace(b'"agent"', b'"key":[{}],"agent"'), "`key` is a text"),
        (lambda whole: whole.replace(b'"fencing_token":1', b'"fencing_token":-1'), "from 1 on"),
    ],
)
def test_a_file_that_is_no_history_is_2_and_says_why(tmp_path, capsys, spoil, why):
    """And never 1, which is what an exception that nobody expects would end with."""
    path = tmp_path / "spoiled"
    path.write_bytes(spoil(written(path, BAD)))
    assert main([str(path)]) == 2
    said = capsys.readouterr()
    assert why in said.err
    assert not said.out


def test_a_history_without_calls_is_not_decided(verify):
    code, said = verify(History(HEADER, ()))
    assert code == 3
    assert said.out.endswith("not decided: there are no calls to check\n")


def test_time_that_is_over_is_3(verify):
    many = [reserve(f"a{n}", 0, 99, "src", granted(f"r{n}"), mode=S) for n in range(40)]
    many.append(check("z", 0, 99, "src", conflict("nobody's")))
    code, said = verify(history(*many), options=["--time-limit", "1e-9"])
    assert code == 3
    assert "search:  unknown (time is over)" in said.out
    last = said.out.splitlines()[-1]
    assert last == "not decided: more may be found with a greater --time-limit or --remembered"
    assert verify(history(*many), options=["--remembered", "100"])[0] == 3


def test_the_language_may_be_plain_and_the_check_in_one_piece(verify):
    plain = history(reserve("a", 0, 1, "src", granted("r1", 1)))
    assert verify(plain, options=["--plain", "--whole"])[0] == 0
    assert verify(BAD, options=["--plain"])[0] == 2
