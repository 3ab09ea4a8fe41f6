"""Every benchmark works and says something sane; how fast anything is, is not looked at here."""

import json
import math
import random
import select
import socket
import threading
from itertools import combinations

import apsw
import pytest

from bench import load, path_race, waiting
from bench.__main__ import BENCHMARKS, GROUPS, benchmarks_of, main, run
from bench.history import pattern, write_project
from bench.path_race import Answer, check_log, check_round
from bench.push_load import number_of, subject
from bench.report import Bound, Figure, Result, Scale, summary
from bench.resuming import Logged, Subscriber, check
from bench.texts import texts
from bench.websocket import Closed, WebSocket, text_frame
from intermute.globs import overlap, parse
from intermute.storage.files import file_name

# What a benchmark may say that stays zero when all is well.
ZERO_IS_WELL = {"violations", "a command's wait for the disk", "overtaken", "rings not found"}


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_every_benchmark_runs_and_says_something_sane(name):
    shown = []
    members = json.loads(json.dumps(run([name], Scale.TINY, show=shown.append)))
    result = members["benchmarks"][name]
    assert result["figures"]
    for figure in result["figures"]:
        assert math.isfinite(figure["value"]), figure
        assert figure["value"] > 0 or figure["name"] in ZERO_IS_WELL, figure
        assert (figure["target"] is None) == (figure["reached"] is None)
    assert not [text for text in result["warnings"] if "unexpected" in text]
    assert {"cpus", "python", "sqlite", "versions", "commit"} <= members["machine"].keys()
    assert any(line.startswith(name) for line in shown)


def test_a_profile_is_shown_when_asked_for():
    shown = []
    run(["actor"], Scale.TINY, profile=True, show=shown.append)
    assert "under the profiler" in shown[-1]


def test_a_group_is_its_benchmarks_each_once():
    assert benchmarks_of(["resume", "messages"]) == [
        "resume",
        "send",
        "inbox",
        "pipeline",
        "push",
        "fanout",
    ]
    assert benchmarks_of([]) == list(BENCHMARKS)
    assert all(name in BENCHMARKS for group in GROUPS.values() for name in group)


def test_the_summary_shows_what_had_a_target():
    figures = (
        Figure("rate", 9, "", target=10),
        Figure("time", 3, "s", target=4, bound=Bound.AT_MOST),
        Figure("size", 1, ""),
    )
    shown = summary({"one": Result(figures, {}, warnings=("noisy",)).members()})
    assert [line.split() for line in shown[1:3]] == [
        ["one:", "rate", "9", "at", "least", "10", "MISSED"],
        ["one:", "time", "3", "s", "at", "most", "4", "reached"],
    ]
    assert "one" in shown[3]
    assert len(shown) == 4


def test_an_unknown_benchmark_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["nothing"])
    assert "no such benchmark" in capsys.readouterr().err


def test_a_figure_knows_whether_its_target_was_reached():
    assert Figure("rate", 10, "", target=10).reached
    assert not Figure("rate", 9, "", target=10).reached
    assert Figure("time", 10, "", target=10, bound=Bound.AT_MOST).reached
    assert not Figure("time", 11, "", target=10, bound=Bound.AT_MOST).reached
    assert Figure("time", 11, "").reached is None


def test_percentiles_stay_inside():
    assert load.percentile([1.0], 0.999) == 1.0
    assert load.percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0


def test_no_two_patterns_of_a_history_overlap():
    # Packages repeat every 500 patterns, so a stride of theirs puts all of these into one.
    for start in (0, 9):
        patterns = [parse(pattern(start + 500 * ordinal)) for ordinal in range(60)]
        wild = [parse(pattern(ordinal)) for ordinal in range(9, 900, 10)]
        for one, two in combinations([*patterns, *wild], 2):
            assert one == two or not overlap(one, two), (one, two)


# -- The race's judges must be able to find something ---------------------------------------------

AGENTS = ["a", "b", "c"]


def granted(client, seq, reservation_id="r1"):
    return Answer(client, 201, (1, seq), {"id": reservation_id})


def refused(client, seq, holder="a", reservation_id="r1"):
    conflicts = [{"agent_id": holder, "reservation_id": reservation_id}]
    members = {"error": "reservation_conflict", "conflicts": conflicts}
    return Answer(client, 409, (1, seq), members)


def test_a_fair_round_has_nothing_against_it():
    assert check_round([granted(0, 5), refused(1, 6), refused(2, 7)], AGENTS, after=(1, 4)) == []


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([granted(0, 5), granted(1, 6, "r2")], "2 winners"),
        ([refused(0, 5), refused(1, 6)], "0 winners"),
        ([granted(0, 5), refused(1, 5)], "two answers claim one place"),
        ([granted(0, 6), refused(1, 5)], "before anything was granted"),
        ([granted(0, 4), refused(1, 5)], "is claimed after"),
        ([granted(0, 5), refused(1, 6, holder="c")], "a loser was told of"),
        ([granted(0, 5), refused(1, 6, reservation_id="r0")], "a loser was told of"),
        ([granted(0, 5), Answer(1, 503, (1, 6), {})], "a loser was told 503"),
    ],
)
def test_a_bad_round_is_found(answers, says):
    assert any(says in text for text in check_round(answers, AGENTS, after=(1, 4)))


def test_a_log_with_two_holders_at_once_is_found(tmp_path):
    write_project(tmp_path / "data", path_race.PROJECT, active=2)
    found = check_log(tmp_path / "data" / file_name(path_race.PROJECT), rounds=2)
    assert any("was granted while" in text for text in found)


def test_a_log_with_a_grant_too_few_is_found(tmp_path):
    write_project(tmp_path / "data", path_race.PROJECT, active=0, ended=3)
    path = tmp_path / "data" / file_name(path_race.PROJECT)
    assert check_log(path, rounds=3) == []
    assert any("3 grants for 4 rounds" in text for text in check_log(path, rounds=4))


# -- The light WebSocket --------------------------------------------------------------------------

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


@pytest.fixture
def peer():
    """A socket on this machine that says whatever a test wants a server to have said."""
    listener = socket.create_server(("127.0.0.1", 0))
    taken = []

    def open_socket(said):
        def serve():
            made, _ = listener.accept()
            taken.append(made)
            head = b""
            while b"\r\n\r\n" not in head:
                head += made.recv(4096)
            made.sendall(said)

        server = threading.Thread(target=serve)
        server.start()
        try:
            found = WebSocket(listener.getsockname()[1], "/ws")
        finally:
            server.join()
        taken.append(found)
        return found, taken[0]

    yield open_socket
    for made in (*taken, listener):
        made.close()


def hear(found, count):
    """So many texts, waiting until they are there."""
    heard = found.receive()
    while len(heard) < count:
        assert select.select([found], [], [], 10)[0], "nothing came"
        heard += found.receive()
    return heard


def served(payload, kind=0x81):
    size = len(payload)
    if size < 126:
        return bytes((kind, size)) + payload
    if size < 65_536:
        return bytes((kind, 126)) + size.to_bytes(2, "big") + payload
    return bytes((kind, 127)) + size.to_bytes(8, "big") + payload


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_frames_of_all_lengths_are_read_in_pieces_and_at_once(peer, size):
    payload = b"x" * size
    data = served(payload) + served(b"after")
    found, sent = peer(UPGRADED)
    for end in (1, len(served(payload)) - 1, len(served(payload)) + 1, len(data)):
        sent.sendall(data[:end])
        whole = (end > len(served(payload)) - 1) + (end == len(data))
        heard = hear(found, whole)
        sent.sendall(data[end:])
        heard += hear(found, 2 - whole)
        assert heard == [payload, b"after"]


def test_what_comes_with_the_handshake_is_not_lost(peer):
    found, _ = peer(UPGRADED + served(b"early"))
    assert hear(found, 1) == [b"early"]


def test_a_ping_is_answered_and_a_close_is_told(peer):
    found, sent = peer(UPGRADED)
    sent.sendall(served(b"p", 0x89) + served(b"then"))
    assert hear(found, 1) == [b"then"]
    pong = sent.recv(100)
    assert pong[0] == 0x8A
    assert bytes(one ^ key for one, key in zip(pong[6:], pong[2:6], strict=False)) == b"p"
    sent.sendall(served((1013).to_bytes(2, "big") + b"later", 0x88))
    with pytest.raises(Closed) as closed:
        hear(found, 1)
    assert (closed.value.code, closed.value.reason) == (1013, "later")


@pytest.mark.parametrize("size", [0, 5, 126, 70_000])
def test_a_frame_unmasks_to_what_was_sent(size):
    payload = bytes(number % 251 for number in range(size))
    frame = text_frame(payload)
    key, masked = frame[len(frame) - size - 4 : len(frame) - size], frame[len(frame) - size :]
    assert bytes(one ^ key[at % 4] for at, one in enumerate(masked)) == payload


# -- Messages: their texts and numbers, and the judge of feeds ------------------------------------


def test_texts_are_of_one_length_and_the_same_for_the_same_seed():
    found = list(texts(20, 200, seed=4))
    assert {len(text) for text in found} == {200}
    assert len(set(found)) == 20
    assert found == list(texts(20, 200, seed=4))
    assert "".join(found).isascii()


def test_a_frame_says_which_message_it_carries():
    frame = b'{"type":"message.created","data":{"subject":"%b"}}' % subject(123).encode()
    assert number_of(frame) == 123
    assert number_of(b'{"type":"agent.registered"}') is None


LOG = [
    Logged(1, "message.created", "m1", frozenset({"a"})),
    Logged(2, "reservation.created", "r1", None),
    Logged(3, "message.created", "m2", frozenset({"b"})),
]


def subscriber(agent_id, *cursors):
    made = Subscriber("one", agent_id, random.Random(1))
    made.seen = [(each.cursor, each.type, each.entity_id) for each in LOG if each.cursor in cursors]
    return made


def test_feeds_without_gap_or_duplicate_have_nothing_against_them():
    everybody = [subscriber(None, 1, 2, 3), subscriber("a", 1, 2), subscriber("c", 2)]
    assert check(everybody, LOG) == []


def test_bad_feeds_are_found():
    assert any("never saw (2," in text for text in check([subscriber("a", 1)], LOG))
    assert any(
        "should not have seen (3," in text for text in check([subscriber("a", 1, 2, 3)], LOG)
    )
    twice = subscriber("a", 1, 2)
    twice.seen.append(twice.seen[-1])
    assert any("cursor 2 came after 2" in text for text in check([twice], LOG))
    backwards = subscriber("a", 1, 2)
    backwards.seen.reverse()
    assert any("cursor 1 came after 2" in text for text in check([backwards], LOG))
    assert any("gap between cursors 1 and 3" in text for text in check([], [LOG[0], LOG[2]]))


# -- The judge of the line must be able to find something ------------------------------------------


def line_log(path, *happened):
    """A log in which tickets, all for one path, were queued, granted and so on."""
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE events (cursor INTEGER PRIMARY KEY, type, entity_id, data)")
    for kind, ticket_id in happened:
        data = json.dumps({"patterns": ["src"]})
        values = (f"reservation.{kind}", ticket_id, data)
        connection.execute("INSERT INTO events (type, entity_id, data) VALUES (?, ?, ?)", values)
    connection.close()
    return path


@pytest.mark.parametrize(
    ("happened", "says"),
    [
        ("queued 1, queued 2, granted 1, skipped 1, cancelled 2", None),
        ("queued 1, queued 2, granted 2, granted 1", "2 was granted before 1"),
        ("queued 1, queued 2, cancelled 1", "2 never ended"),
    ],
)
def test_the_judge_of_a_line_finds_who_was_overtaken_or_forgotten(tmp_path, happened, says):
    log = line_log(tmp_path / "log", *(each.split() for each in happened.split(", ")))
    assert waiting.check_line(log) == ([] if says is None else [says])
