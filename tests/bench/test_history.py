"""Histories as files: what is written is read, and what is no history is refused with its line."""

import json
import random

import pytest

from bench.linearizability.history import (
    Header,
    History,
    MalformedHistoryError,
    Recorder,
    merge,
    read,
    write,
)

from .recorded import HEADER, Maker, granted, reserve

GOOD = {
    "client": "c",
    "invoke_ns": 1,
    "return_ns": 2,
    "operation": "release",
    "arguments": {"agent": "a", "reservation_id": "r1"},
    "outcome": {"kind": "released"},
}


def lines(*members):
    return "".join(json.dumps(one) + "\n" for one in members)


def file_of(tmp_path, *members, header=None):
    path = tmp_path / "history.jsonl"
    head = {"format": "intermute-history", "version": 1, "server": "x", "started_at": "now"}
    head |= {"clock": "monotonic", "settings": {}} | (header or {})
    path.write_text(lines(head, *members))
    return path


def test_what_is_written_is_read(tmp_path):
    made = Maker(random.Random(4), clients=3, patterns=["a", "a/x"]).history(50)
    made = History(Header(server="s", started_at="2026-01-01", settings={"rate": 3}), made.calls)
    path = tmp_path / "history.jsonl"
    write(path, made)
    assert read(path) == made


def test_a_recorder_keeps_what_ended_and_what_did_not(tmp_path):
    path = tmp_path / "history.jsonl"
    with Recorder(HEADER, path) as recorder:
        first = recorder.begin("a", "reserve", {"agent": "a"}, project="p")
        second = recorder.begin("b", "check", {"patterns": ["x"]})
        third = recorder.begin("c", "check", {"patterns": ["x"]})
        recorder.end(second, {"kind": "free"}, epoch=1, seq=7)
        recorder.unknown(third)
        assert first.invoke_ns <= second.invoke_ns
    calls = {call.client: call for call in read(path).calls}
    assert (calls["a"].outcome, calls["a"].return_ns, calls["a"].project) == (None, None, "p")
    assert (calls["b"].epoch, calls["b"].seq) == (1, 7)
    assert calls["b"].return_ns >= calls["b"].invoke_ns
    assert calls["c"].outcome is None


def test_a_recorder_keeps_in_memory_what_it_has_no_file_for():
    with Recorder(HEADER) as recorder:
        recorder.end(recorder.begin("a", "check", {}), {"kind": "free"})
    (call,) = recorder.history().calls
    assert call.outcome == {"kind": "free"}


def test_a_recorder_never_writes_over_a_history(tmp_path):
    path = tmp_path / "history.jsonl"
    Recorder(HEADER, path).close()
    with pytest.raises(FileExistsError):
        Recorder(HEADER, path)


def test_merged_histories_are_one_in_the_order_of_time():
    one = History(HEADER, (reserve("a", 5, 6, "a", granted("r1")),))
    other = History(HEADER, (reserve("b", 1, 2, "b", granted("r2")),))
    assert [call.client for call in merge([one, other]).calls] == ["b", "a"]
    elsewhere = History(Header(server="x", clock="another"), ())
    with pytest.raises(ValueError, match="different clocks"):
        merge([one, elsewhere])
    with pytest.raises(ValueError, match="no history"):
        merge([])


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"format": "something"}, "1: no header of a history: format 'something'"),
        ({"version": 2}, "1: a history of version 2; this reads version 1"),
        ({"version": "1"}, "1: no header of a history: Expected `int`"),
        ({"settings": []}, "1: no header of a history: Expected `object`"),
    ],
)
def test_another_header_is_refused(tmp_path, header, said):
    with pytest.raises(MalformedHistoryError, match=said):
        read(file_of(tmp_path, header=header))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"client": 3}, "2: Expected `str`, got `int` - at `\\$.client`"),
        ({"invoke_ns": "1"}, "2: Expected `int`"),
        ({"invoke_ns": 3}, "2: it returned at 2 ns, before it began at 3 ns"),
        ({"return_ns": None}, "2: `return_ns` and `outcome` are null together"),
        ({"outcome": None}, "2: `return_ns` and `outcome` are null together"),
        ({"epoch": 1}, "2: `epoch` and `seq` are given together"),
        ({"outcome": None, "return_ns": None, "epoch": 1, "seq": 1}, "2: a call without an answer"),
        ({"arguments": ["x"]}, "2: Expected `object`"),
        ({"retrun_ns": 3}, "2: unknown members \\['retrun_ns'\\]"),
    ],
)
def test_a_line_that_is_no_call_is_refused(tmp_path, changed, said):
    with pytest.raises(MalformedHistoryError, match=said):
        read(file_of(tmp_path, GOOD | changed))


def test_missing_members_broken_lines_and_two_calls_at_once_are_refused(tmp_path):
    without = {name: member for name, member in GOOD.items() if name != "operation"}
    with pytest.raises(MalformedHistoryError, match="2: Object missing required field"):
        read(file_of(tmp_path, without))
    path = file_of(tmp_path, GOOD)
    path.write_text(path.read_text() + '{"client": "c", "invo')
    with pytest.raises(MalformedHistoryError, match="3: Input data was truncated"):
        read(path)
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(MalformedHistoryError, match="1: no header"):
        read(path)
    path.write_text("")
    with pytest.raises(MalformedHistoryError, match="1: no header"):
        read(path)
    again = GOOD | {"invoke_ns": 1, "return_ns": 4}
    with pytest.raises(MalformedHistoryError, match="client 'c' began release at 1 ns, before"):
        read(file_of(tmp_path, GOOD, again))
